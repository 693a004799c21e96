//! Discovery: which proxy serves a URL, where it sends it, which server is behind, what it runs on, what it talks to, and
//! where all of them write their logs.
//!
//! Goes from the outside in, from each hop to the next, and says what it could not see. Read only.

mod configuration;
pub(crate) mod dependencies;
mod logs;
mod proxies;
pub(crate) mod servers;
mod software;
pub(crate) mod targets;
mod url;

use std::collections::BTreeSet;
use std::path::PathBuf;

use model::Evidence;
use model::evidence::Place;
use model::report::{Hop, HopState, Skipped};

use crate::check;
use crate::config::Configuration;
use crate::host::Host;
use crate::host::product::Product;
use crate::host::sockets::{self, Address};
use crate::parse::Format;

pub use url::{ParseUrlError, Url};

/// What was found on the machine.
#[derive(Debug, Default)]
pub struct Scene {
    pub url: Option<Url>,
    pub host: Host,
    pub chain: Vec<Hop>,
    pub evidence: Vec<Evidence>,
    pub skipped: Vec<Skipped>,
    /// Logs to read, each once.
    pub logs: Vec<LogFile>,
    /// Files of configurations that were read.
    pub configurations: BTreeSet<String>,
    /// The upstreams of the URL, or of all sites.
    pub upstreams: Vec<Upstream>,
    /// Processes of the servers behind them.
    pub workers: Vec<u32>,
    /// Open connections of those to others: address, product and process.
    pub peers: Vec<Peer>,
    /// Network namespace of the proxy.
    pub proxy_netns: Option<u64>,
    pub proxy_pid: Option<u32>,
}

/// Targets of one's own that are looked at: those of a service fail alike, and the name of each is looked up.
const OWN_TARGETS_MAX: usize = 8;

/// A log and what is known of its form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogFile {
    pub path: PathBuf,
    pub format: Option<Format>,
    /// Whose it is.
    pub product: &'static str,
}

/// Where a proxy sends requests.
#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    /// As it is written in the configuration.
    pub written: String,
    /// The addresses it stands for; empty where it does not resolve.
    pub addresses: Vec<Address>,
    /// `http`, `https`, `uwsgi` ...
    pub scheme: String,
    /// The path that the proxy sends, for the URL that was asked about.
    pub uri: String,
    /// The Host that it sends.
    pub host: String,
    /// The product of the server behind it, once known.
    pub product: Option<Product>,
}

/// An open connection of a worker.
#[derive(Clone, Debug, PartialEq)]
pub struct Peer {
    pub pid: u32,
    pub address: Address,
    pub product: &'static str,
}

/// Where this process itself sends requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnTarget {
    /// As it is told in `failure`: `127.0.0.1:8000`, `app:8000`, `unix:/run/app.sock`.
    pub address: String,
    /// `http`, `https`, `uwsgi`.
    pub scheme: String,
}

/// Looks at the machine for the targets of this process, which is the proxy before them.
pub fn behind(targets: &[OwnTarget]) -> Scene {
    let mut scene = looked_at(None);
    scene.proxy_pid = Some(std::process::id());
    scene.proxy_netns = Some(scene.host.own_netns);
    for OwnTarget { address, scheme } in targets.iter().take(OWN_TARGETS_MAX) {
        scene.upstreams.push(Upstream {
            written: address.clone(),
            addresses: check::resolve(address).into_iter().collect(),
            scheme: scheme.clone(),
            uri: "/".to_owned(),
            host: address.strip_prefix("unix:").map_or(address.as_str(), |_| "localhost").to_owned(),
            product: None,
        });
    }
    targets::look(&mut scene);
    servers::behind(&mut scene);
    dependencies::look(&mut scene);
    software::look(&mut scene);
    logs::find(&mut scene, &[]);
    scene
}

/// Looks at the machine for one URL, or for every proxy on it.
pub fn discover(url: Option<Url>) -> Scene {
    let mut scene = looked_at(url);
    let fronts = proxies::in_front(&mut scene);
    let mut configuration = Configuration::default();
    for front in &fronts {
        configuration::read_proxy(&mut scene, front, &mut configuration);
    }
    proxies::choose(&mut scene, &fronts, &configuration);
    targets::look(&mut scene);
    servers::behind(&mut scene);
    dependencies::look(&mut scene);
    software::look(&mut scene);
    logs::find(&mut scene, &fronts);
    containers(&mut scene);
    scene
}

/// Containers that the chain may stand on, with the logs of those that serve an upstream or have ended.
fn containers(scene: &mut Scene) {
    let found = match crate::docker::look() {
        Ok(found) => found,
        Err(skipped) => {
            scene.skipped.push(skipped);
            return;
        }
    };
    for container in found {
        let serves = |item: &Evidence| {
            item.get("addr").is_some_and(|addr| {
                scene
                    .upstreams
                    .iter()
                    .any(|upstream| upstream.addresses.iter().any(|a| a.to_string() == addr))
            })
        };
        let ended = container.evidence.iter().any(|item| item.get("state") != Some("running"));
        if (ended || container.evidence.iter().any(serves))
            && let Some(path) = container.log.filter(|path| path.is_file())
        {
            scene.add_log(LogFile { path, format: Some(Format::Container), product: "container" });
        }
        scene.evidence.extend(container.evidence);
    }
}

/// What every look begins with: processes and sockets.
fn looked_at(url: Option<Url>) -> Scene {
    let mut host = Host::read();
    if !host.sees_all {
        servers::owners_by_command(&mut host);
    }
    let mut scene = Scene { url, host, ..Scene::default() };
    scene.evidence.push(
        Evidence::new("read")
            .with("what", "processes")
            .text(format!("{} processes were looked at", scene.host.processes.len()))
            .from("processes")
            .at(Place::file("/proc", 0)),
    );
    scene.evidence.push(
        Evidence::new("read")
            .with("what", "sockets")
            .text("listening sockets were read")
            .from("socket table")
            .at(Place::file("/proc/net/tcp", 0)),
    );
    if !scene.host.sees_all {
        scene.skipped.push(Skipped {
            check: "processes of other users".to_owned(),
            reason: "their descriptors and namespaces may not be looked into".to_owned(),
            needs: "root".to_owned(),
        });
    }
    scene
}

impl Scene {
    /// How many connections wait at each upstream of this machine now; nothing where the kernel does not tell.
    pub fn queues(&self) -> Vec<(String, f64)> {
        let backlogs = sockets::backlogs().unwrap_or_default();
        let of = |upstream: &Upstream| {
            let waits = |address: &Address| backlogs.iter().find(|known| known.local.serves(address));
            let backlog = upstream.addresses.iter().find_map(waits)?;
            Some((upstream.written.clone(), f64::from(backlog.waiting)))
        };
        self.upstreams.iter().filter_map(of).collect()
    }

    /// A process as evidence, and as a part of the chain.
    pub(crate) fn add_hop(
        &mut self,
        product: &str,
        version: Option<String>,
        address: String,
        detail: String,
    ) {
        let hop = Hop {
            product: product.to_owned(),
            version,
            address,
            detail,
            state: HopState::Unknown,
            note: None,
        };
        let same = |known: &Hop| known.product == hop.product && known.address == hop.address;
        if !self.chain.iter().any(same) {
            self.chain.push(hop);
        }
    }

    pub(crate) fn add_log(&mut self, log: LogFile) {
        if !self.logs.iter().any(|known| known.path == log.path) {
            self.logs.push(log);
        }
    }
}
