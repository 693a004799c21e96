//! Each upstream address against the socket table: who listens there, with how long a queue; paths of Unix sockets; Python
//! servers that listen where no proxy sends.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use model::evidence::Place;
use model::{Evidence, Moment};

use super::Scene;
use crate::host::Host;
use crate::host::process::{self, Process};
use crate::host::product::{Product, Tier};
use crate::host::sockets::{self, Address, Backlog, Socket, State};

pub(super) fn look(scene: &mut Scene) {
    let backlogs = sockets::backlogs().unwrap_or_default();
    let mut sent_to = BTreeSet::new();
    for index in 0..scene.upstreams.len() {
        let Some(upstream) = scene.upstreams.get(index).cloned() else { break };
        for address in &upstream.addresses {
            sent_to.insert(address.clone());
            let evidence = target(scene, address, &backlogs);
            let product = evidence.get("product").map(str::to_owned);
            scene.evidence.push(evidence);
            if upstream.written != address.to_string() {
                // The proxy's log names what is written.
                let named = target(scene, address, &backlogs).with("addr", upstream.written.clone());
                scene.evidence.push(named);
            }
            if let Address::Unix(path) = address {
                let evidence = socket_file(scene, path);
                scene.evidence.push(evidence);
            }
            if let (Some(product), Some(known)) = (product, scene.upstreams.get_mut(index)) {
                known.product =
                    known.product.or_else(|| ALL.iter().copied().find(|known| known.name() == product));
            }
        }
    }
    strays(scene, &sent_to);
}

const ALL: &[Product] = &[
    Product::Gunicorn,
    Product::Uvicorn,
    Product::Hypercorn,
    Product::Daphne,
    Product::Uwsgi,
    Product::ModWsgi,
    Product::DevelopmentServer,
    Product::Nginx,
    Product::Haproxy,
    Product::Apache,
    Product::Caddy,
    Product::Envoy,
    Product::Clearway,
];

/// Whether anything listens at an address, in the proxy's namespace or in another.
pub(crate) fn target(scene: &Scene, address: &Address, backlogs: &[Backlog]) -> Evidence {
    let host = &scene.host;
    let own = scene.proxy_netns.unwrap_or(host.own_netns);
    let here = host.listeners(own, address).into_iter().next().map(|socket| (own, socket));
    // An address of a container is in a namespace of its own.
    let loopback = matches!(address, Address::Inet(inet) if inet.ip().is_loopback());
    let elsewhere = || {
        let others = host.sockets.keys().filter(|netns| **netns != own);
        others.filter_map(|netns| Some((*netns, *host.listeners(*netns, address).first()?))).next()
    };
    let found = here.or_else(|| if loopback { None } else { elsewhere() });
    let evidence = Evidence::new("target")
        .with("addr", address)
        .with_some("port", address.port())
        .from("socket table")
        .at(place(address));
    let Some((netns, socket)) = found else {
        return evidence.with("listening", "no").text(format!("nothing listens at {address}"));
    };
    let backlog = (netns == host.own_netns)
        .then(|| backlogs.iter().find(|backlog| backlog.local == socket.local))
        .flatten();
    let owner = host.owners_of(socket).into_iter().next().map(|owner| host.master_of(owner));
    let (waiting, max) = match backlog {
        Some(backlog) => (u64::from(backlog.waiting), Some(backlog.max)),
        None => (socket.receive_queue, None),
    };
    let (busy, workers) = busy(host, netns, socket, owner);
    let by = owner.map_or_else(
        || "a process that may not be seen".to_owned(),
        |owner| format!("{} ({})", name(owner), owner.pid),
    );
    let queue = max.map(|max| format!(", {waiting} connections wait of at most {max}")).unwrap_or_default();
    evidence
        .with("listening", "yes")
        .with("bind", &socket.local)
        .with_some("pid", owner.map(|owner| owner.pid))
        .with_some("by", owner.map(|owner| owner.name.clone()))
        .with_some("product", owner.and_then(|owner| owner.product).map(Product::name))
        .with("queue", waiting)
        .with_some("backlog", max)
        .with_some("age", owner.and_then(age))
        .with("netns", if netns == own { "own" } else { "other" })
        .with_some("busy", busy)
        .with_some("workers", workers)
        .text(format!("{by} listens at {}{queue}", socket.local))
}

/// How many workers have a request: established connections to the address, one per worker at most.
fn busy(
    host: &Host,
    netns: u64,
    listener: &Socket,
    owner: Option<&Process>,
) -> (Option<usize>, Option<usize>) {
    let Some(master) = owner else { return (None, None) };
    let workers: Vec<u32> = host.workers_of(master).iter().map(|worker| worker.pid).collect();
    if workers.is_empty() {
        return (None, None);
    }
    // Which connections are theirs may not be seen.
    if workers.iter().all(|pid| process::sockets_of(*pid).is_none()) {
        return (None, Some(workers.len()));
    }
    let connections = host.sockets.get(&netns).into_iter().flatten().filter(|socket| {
        matches!(socket.state, State::Established | State::CloseWait)
            && match (&socket.local, &listener.local) {
                (Address::Inet(local), Address::Inet(bound)) => local.port() == bound.port(),
                (local, bound) => local == bound,
            }
    });
    let busy: BTreeSet<u32> = connections
        .filter_map(|socket| host.owners.get(&socket.inode))
        .flatten()
        .copied()
        .filter(|pid| workers.contains(pid))
        .collect();
    (Some(busy.len()), Some(workers.len()))
}

fn place(address: &Address) -> Place {
    match address {
        Address::Inet(inet) if inet.is_ipv6() => Place::file("/proc/net/tcp6", 0),
        Address::Inet(_) => Place::file("/proc/net/tcp", 0),
        Address::Unix(_) => Place::file("/proc/net/unix", 0),
    }
}

pub(crate) fn name(process: &Process) -> &str {
    match process.product {
        Some(product) => product.name(),
        None => &process.name,
    }
}

/// Seconds since a process started.
pub(crate) fn age(process: &Process) -> Option<u64> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(Moment(now.as_millis() as i64).seconds_since(process.started?).max(0.0) as u64)
}

/// The path of a Unix socket, as the proxy sees it, and whether its user may connect.
pub(crate) fn socket_file(scene: &Scene, path: &str) -> Evidence {
    let root = scene.proxy_pid.map(|pid| process::folder(pid).join("root")).filter(|root| root.exists());
    let seen =
        root.as_ref().map_or_else(|| PathBuf::from(path), |root| root.join(path.trim_start_matches('/')));
    let metadata = fs::symlink_metadata(&seen);
    let here = Path::new(path).exists();
    let listening = scene
        .host
        .sockets
        .values()
        .flatten()
        .any(|socket| socket.state == State::Listen && socket.local == Address::Unix(path.to_owned()));
    let evidence = Evidence::new("socket-file")
        .with("addr", format!("unix:{path}"))
        .with("listening", yes(listening))
        .from("file system")
        .at(Place::file(path, 0));
    let Ok(metadata) = metadata else {
        let text = if here {
            format!("{path} is there, but not in the proxy's view of the file system")
        } else {
            format!("{path} does not exist")
        };
        return evidence.with("exists", yes(here)).with("seen-by-proxy", "no").text(text);
    };
    let mode = metadata.mode() & 0o7777;
    let blocked = proxy_user(scene).and_then(|(uid, gid)| blocked_by(&seen, root.as_deref(), uid, gid));
    let shown = |blocked: &PathBuf| {
        root.as_ref()
            .and_then(|root| blocked.strip_prefix(root).ok())
            .map_or_else(|| blocked.clone(), |below| Path::new("/").join(below))
    };
    let blocked = blocked.as_ref().map(shown);
    let text = match &blocked {
        Some(by) => format!("{path} has mode {mode:o}; {} keeps the proxy's user out", by.display()),
        None => format!("{path} has mode {mode:o}"),
    };
    evidence
        .with("exists", "yes")
        .with("seen-by-proxy", "yes")
        .with("is-socket", yes(metadata.file_type().is_socket()))
        .with("mode", format!("{mode:o}"))
        .with("owner", metadata.uid())
        .with("reachable", yes(blocked.is_none()))
        .with_some("blocked-by", blocked.map(|by| by.display().to_string()))
        .text(text)
}

pub(crate) fn yes(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

/// The user that the proxy's workers run as.
pub(crate) fn proxy_user(scene: &Scene) -> Option<(u32, u32)> {
    let master = scene.host.processes.get(&scene.proxy_pid?)?;
    let workers = scene.host.workers_of(master);
    let process = workers.first().copied().unwrap_or(master);
    Some((process.uid, process.gid))
}

/// The folder that may not be passed through, or the socket that may not be written to.
fn blocked_by(path: &Path, root: Option<&Path>, uid: u32, gid: u32) -> Option<PathBuf> {
    if uid == 0 {
        return None;
    }
    let may = |path: &Path, bit: u32| {
        let Ok(metadata) = fs::metadata(path) else { return true };
        let shift = if metadata.uid() == uid {
            6
        } else if metadata.gid() == gid {
            3
        } else {
            0
        };
        metadata.mode() >> shift & bit != 0
    };
    let mut folders: Vec<&Path> = path
        .ancestors()
        .skip(1)
        .take_while(|folder| root.is_none_or(|root| folder.starts_with(root)))
        .collect();
    folders.reverse();
    folders
        .into_iter()
        .find(|folder| !may(folder, 1))
        .or_else(|| (!may(path, 2)).then_some(path))
        .map(Path::to_owned)
}

/// Python servers that listen where none of the proxies sends.
fn strays(scene: &mut Scene, sent_to: &BTreeSet<Address>) {
    let mut found = Vec::new();
    for (netns, sockets) in &scene.host.sockets {
        for socket in sockets.iter().filter(|socket| socket.state == State::Listen) {
            let owners = scene.host.owners_of(socket);
            let Some(owner) = owners.first().map(|owner| scene.host.master_of(owner)) else { continue };
            if owner.product.is_none_or(|product| product.tier() != Tier::Server) {
                continue;
            }
            if sent_to.iter().any(|address| socket.local.serves(address)) {
                continue;
            }
            let own = *netns == scene.proxy_netns.unwrap_or(scene.host.own_netns);
            found.push(
                Evidence::new("stray-listener")
                    .with("bind", &socket.local)
                    .with_some("port", socket.local.port())
                    .with("pid", owner.pid)
                    .with("product", name(owner))
                    .with("by", &owner.name)
                    .with_some("age", age(owner))
                    .with("netns", if own { "own" } else { "other" })
                    .text(format!(
                        "{} ({}) listens at {}, where no proxy sends",
                        name(owner),
                        owner.pid,
                        socket.local
                    ))
                    .from("socket table")
                    .at(place(&socket.local)),
            );
        }
    }
    scene.evidence.extend(found);
}
