//! Configurations of the running proxies: found by their command lines, read through their own view of the file system.

use std::fs;
use std::path::PathBuf;

use model::Evidence;
use model::evidence::Place;
use model::report::Skipped;

use super::proxies::Front;
use super::{Scene, targets};
use crate::config::{self, Configuration, Files, Format, Software, Source};
use crate::host::process;
use crate::host::product::{Product, Tier};

/// Where products look without being told, by Debian, Red Hat and their own defaults.
const USUAL: &[(Product, &[&str])] = &[
    (
        Product::Nginx,
        &["/etc/nginx/nginx.conf", "/usr/local/nginx/conf/nginx.conf", "/usr/local/etc/nginx/nginx.conf"],
    ),
    (
        Product::Apache,
        &["/etc/apache2/apache2.conf", "/etc/httpd/conf/httpd.conf", "/usr/local/apache2/conf/httpd.conf"],
    ),
    (Product::Haproxy, &["/etc/haproxy/haproxy.cfg", "/usr/local/etc/haproxy/haproxy.cfg"]),
    (Product::Caddy, &["/etc/caddy/Caddyfile", "/usr/local/etc/Caddyfile"]),
    (Product::Envoy, &["/etc/envoy/envoy.yaml"]),
];

/// The disk as a process sees it.
pub(super) struct Seen {
    root: Option<PathBuf>,
}

impl Seen {
    pub(super) fn by(pid: u32) -> Seen {
        let root = process::folder(pid).join("root");
        // Without the right to follow it, the own view is the best there is.
        Seen { root: fs::read_dir(&root).is_ok().then_some(root) }
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        match &self.root {
            Some(root) => root.join(path.trim_start_matches('/')),
            None => PathBuf::from(path),
        }
    }

    fn real(&self, path: &str) -> String {
        self.path(path).display().to_string()
    }
}

impl Files for Seen {
    fn text(&self, path: &str) -> Result<String, String> {
        config::Disk.text(&self.real(path))
    }

    fn matching(&self, pattern: &str) -> Vec<String> {
        let Some(root) = self.root.as_ref().map(|root| root.display().to_string()) else {
            return config::Disk.matching(pattern);
        };
        let found = config::Disk.matching(&self.real(pattern));
        found
            .into_iter()
            .map(|path| {
                path.strip_prefix(&root)
                    .map_or(path.clone(), |below| format!("/{}", below.trim_start_matches('/')))
            })
            .collect()
    }
}

/// Reads what a proxy was started with, and adds it to what is known.
pub(super) fn read_proxy(scene: &mut Scene, front: &Front, configuration: &mut Configuration) {
    if front.product.tier() != Tier::Proxy || front.product == Product::Clearway {
        return;
    }
    let seen = Seen::by(front.pid);
    let Some(path) = path_of(scene, front, &seen) else {
        scene.skipped.push(Skipped {
            check: format!("the configuration of {}", front.product.name()),
            reason: "its command line names none, and there is none where it usually is".to_owned(),
            needs: "--config FILE".to_owned(),
        });
        return;
    };
    let text = match seen.text(&path) {
        Ok(text) => text,
        Err(reason) => {
            scene.skipped.push(Skipped {
                check: format!("read {path}"),
                reason,
                needs: "root, or a file that can be read".to_owned(),
            });
            return;
        }
    };
    let software = super::software::of_proxy(scene, front.pid, front.product);
    let format = match front.product {
        Product::Nginx => Format::from_name("nginx-conf"),
        Product::Apache => Format::from_name("apache-conf"),
        Product::Haproxy => Format::from_name("haproxy-conf"),
        Product::Caddy => Format::from_name("caddyfile"),
        Product::Envoy => Format::from_name("envoy-yaml"),
        _ => None,
    };
    let read = config::read_sources(&[Source { path: path.clone(), text, format }], &seen, &software);
    let age = age(scene, front, &seen, &read);
    scene.evidence.extend(age);
    scene.evidence.push(
        Evidence::new("read")
            .with("what", "configuration")
            .with("product", front.product.name())
            .with("path", &path)
            .text(format!("{path} was read"))
            .from("configuration")
            .at(Place::file(path.as_str(), 0)),
    );
    absorb(scene, configuration, read);
}

/// Whether a file was changed after the proxy had read it: its workers are as old as the last reload.
fn age(scene: &Scene, front: &Front, seen: &Seen, read: &Configuration) -> Option<Evidence> {
    // The others take a new configuration without a new process.
    if !matches!(front.product, Product::Nginx | Product::Apache | Product::Haproxy) {
        return None;
    }
    let of_proxy = |process: &&process::Process| process.pid == front.pid || process.ppid == front.pid;
    let ran_for = scene.host.processes.values().filter(of_proxy).filter_map(targets::age).min()?;
    let since = |path: &String| {
        let changed = fs::metadata(seen.path(path)).ok()?.modified().ok()?;
        Some(changed.elapsed().ok()?.as_secs())
    };
    let (since, path) = read.read.iter().filter_map(|path| Some((since(path)?, path))).min()?;
    // The clock of processes counts whole seconds.
    let newer = since + 1 < ran_for;
    let by = ran_for.abs_diff(since);
    let told = if newer { "changed" } else { "has not been changed" };
    Some(
        Evidence::new("config-age")
            .with("product", front.product.name())
            .with("path", path)
            .with("newer", targets::yes(newer))
            .with("by", by)
            .text(format!("{path} {told} since {} read it, {ran_for} s ago", front.product.name()))
            .from("configuration")
            .at(Place::file(path.as_str(), 0)),
    )
}

/// Adds what was read, its evidence and its problems.
pub(super) fn absorb(scene: &mut Scene, configuration: &mut Configuration, read: Configuration) {
    scene.evidence.extend(read.evidence.iter().cloned());
    scene.configurations.extend(read.read.iter().cloned());
    for problem in read.problems.iter().filter(|problem| problem.fatal) {
        scene.skipped.push(Skipped {
            check: format!("read {}:{}", problem.path, problem.line),
            reason: problem.message.clone(),
            needs: "a configuration that its product accepts".to_owned(),
        });
    }
    configuration.sites.extend(read.sites);
    configuration.servers.extend(read.servers);
    configuration.wide.extend(read.wide);
    configuration.software.extend(read.software);
}

/// The main file of a proxy.
fn path_of(scene: &Scene, front: &Front, seen: &Seen) -> Option<String> {
    let process = scene.host.processes.get(&front.pid)?;
    // nginx gives itself a title of one word: `nginx: master process /usr/sbin/nginx -c /x -g daemon off;`.
    let words: Vec<&str> =
        process.command.iter().flat_map(|word| word.split(' ')).filter(|word| !word.is_empty()).collect();
    let after = |option: &str| {
        let at = words.iter().position(|word| *word == option)?;
        words.get(at + 1).map(|value| (*value).to_owned())
    };
    let cwd = process::working_directory(front.pid);
    let whole = |path: String| {
        if path.starts_with('/') {
            return path;
        }
        let prefix = after("-p").map(PathBuf::from).or_else(|| cwd.clone()).unwrap_or_default();
        prefix.join(path).display().to_string()
    };
    let named = match front.product {
        Product::Nginx => after("-c").map(whole).or_else(|| {
            after("-p").map(|prefix| format!("{}/conf/nginx.conf", prefix.trim_end_matches('/')))
        }),
        Product::Apache => after("-f").map(whole),
        Product::Haproxy => after("-f").map(whole),
        Product::Caddy => after("--config").map(whole).or_else(|| {
            cwd.clone()
                .map(|cwd| cwd.join("Caddyfile").display().to_string())
                .filter(|path| seen.path(path).exists())
        }),
        Product::Envoy => after("-c").or_else(|| after("--config-path")).map(whole),
        _ => None,
    };
    named.or_else(|| {
        let (_, paths) = USUAL.iter().find(|(product, _)| *product == front.product)?;
        paths.iter().find(|path| seen.path(path).exists()).map(|path| (*path).to_owned())
    })
}

/// The version of a product as the configuration reader takes it.
pub(super) fn software_of(product: &str, version: &str) -> Software {
    Software { product: product.to_owned(), version: version.to_owned(), origin: config::Origin::default() }
}
