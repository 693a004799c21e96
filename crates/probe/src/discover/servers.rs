//! The servers behind the upstreams: master and workers, their command line and configuration, and what limits them.

use model::Evidence;
use model::evidence::Place;
use model::report::Skipped;

use super::configuration::{Seen, absorb};
use super::{Scene, targets};
use crate::config::{Configuration, Files, Format, Source, read_sources};
use crate::host::process::{self, Process};
use crate::host::product::{Product, Tier};
use crate::host::sockets::Address;
use crate::host::{Host, cgroup};

/// Workers of one server that are looked at one by one.
const WORKERS_MAX: usize = 64;

pub(super) fn behind(scene: &mut Scene) {
    let mut masters: Vec<u32> = Vec::new();
    let mut hops: Vec<(String, u32)> = Vec::new();
    for evidence in scene.evidence.iter().filter(|evidence| evidence.kind == "target") {
        if let (Some(addr), Some(pid)) =
            (evidence.get("addr"), evidence.get("pid").and_then(|pid| pid.parse().ok()))
        {
            hops.push((addr.to_owned(), pid));
        }
    }
    for upstream in scene.upstreams.clone() {
        let found = hops.iter().find(|(addr, _)| {
            *addr == upstream.written || upstream.addresses.iter().any(|known| known.to_string() == *addr)
        });
        match found {
            Some((_, pid)) => {
                if !masters.contains(pid) {
                    masters.push(*pid);
                }
            }
            None => scene.add_hop("nobody", None, upstream.written.clone(), String::new()),
        }
    }
    // Servers that run and do not listen where they should are as telling.
    for product in [Product::Gunicorn, Product::Uvicorn, Product::Hypercorn, Product::Daphne, Product::Uwsgi]
    {
        for master in scene.host.masters(product) {
            if !masters.contains(&master.pid) && (scene.upstreams.is_empty() || near(scene, master)) {
                masters.push(master.pid);
            }
        }
    }
    let mut read = Configuration::default();
    for pid in masters {
        let addresses = || hops.iter().filter(|(_, owner)| *owner == pid).map(|(addr, _)| addr.clone());
        one(scene, pid, &addresses().collect::<Vec<_>>(), &mut read);
    }
}

/// Servers whose descriptors may not be looked into own the sockets that their command lines name.
pub(super) fn owners_by_command(host: &mut Host) {
    let mut found: Vec<(u64, u32)> = Vec::new();
    for product in [Product::Gunicorn, Product::Uvicorn, Product::Hypercorn, Product::Daphne, Product::Uwsgi]
    {
        for master in host.masters(product) {
            if process::sockets_of(master.pid).is_some() {
                continue;
            }
            let netns = master.netns.unwrap_or(host.own_netns);
            let read = read_sources(&[command_line(master)], &Seen::by(master.pid), &[]);
            let binds = read.servers.iter().flat_map(|server| &server.binds);
            for address in binds.filter_map(|bind| Address::parse(&bind.address)) {
                let named = host.listening(netns).filter(|socket| socket.local == address);
                found.extend(named.map(|socket| (socket.inode, master.pid)));
            }
        }
    }
    for (inode, pid) in found {
        host.owners.entry(inode).or_insert_with(|| vec![pid]);
    }
}

fn command_line(master: &Process) -> Source {
    Source {
        path: format!("/proc/{}/cmdline", master.pid),
        text: master.command.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
        format: Format::from_name("server-command"),
    }
}

/// Whether a server that listens nowhere it is asked for may be the one that should: it is in the same namespace.
fn near(scene: &Scene, master: &Process) -> bool {
    master.netns.is_none() || master.netns == scene.proxy_netns.or(Some(scene.host.own_netns))
}

fn one(scene: &mut Scene, pid: u32, addresses: &[String], read: &mut Configuration) {
    let Some(master) = scene.host.processes.get(&pid).cloned() else { return };
    let Some(product) = master.product else {
        let evidence = evidence(scene, &master, addresses.first());
        scene.evidence.push(evidence);
        return;
    };
    let workers: Vec<Process> =
        scene.host.workers_of(&master).into_iter().take(WORKERS_MAX).cloned().collect();
    for process in std::iter::once(&master).chain(&workers) {
        let evidence = evidence(scene, process, addresses.first());
        scene.evidence.push(evidence);
    }
    if product.tier() == Tier::Server {
        scene.workers.push(pid);
        scene.workers.extend(workers.iter().map(|worker| worker.pid));
        settings(scene, &master, addresses, read);
    }
    if let Some(group) = cgroup::of(pid) {
        scene.evidence.push(of_group(&group, pid));
    }
    let version = super::software::version_of(scene, pid, product);
    let detail = match workers.len() {
        0 => format!("pid {pid}"),
        1 => format!("pid {pid}, 1 worker"),
        count => format!("pid {pid}, {count} workers"),
    };
    let address = addresses.first().cloned().unwrap_or_else(|| super::proxies::first_listener(scene, pid));
    scene.add_hop(product.name(), version, address, detail);
}

/// A process as evidence.
pub(crate) fn evidence(scene: &Scene, process: &Process, bind: Option<&String>) -> Evidence {
    let role = match process.product {
        Some(product) if product.tier() == Tier::Proxy => "proxy",
        _ => scene.host.role_of(process).name(),
    };
    let descriptors = process::descriptors(process.pid);
    let wait = process::wchan(process.pid, process.pid);
    let name = targets::name(process);
    let state = match process.state {
        'T' | 't' => ", stopped by a signal",
        'D' => ", waits for a disk or device",
        'Z' => ", is dead and not yet collected",
        _ => "",
    };
    Evidence::new("process")
        .with("pid", process.pid)
        .with("ppid", process.ppid)
        .with("name", &process.name)
        .with_some("product", process.product.map(Product::name))
        .with("role", role)
        .with("state", process.state)
        .with_some("age", targets::age(process))
        .with("rss", process.rss_bytes)
        .with("threads", process.threads)
        .with_some("fds", descriptors.map(|(open, _)| open))
        .with_some("fds-max", descriptors.map(|(_, max)| max))
        .with_some("same-file", process::same_file(process.pid).filter(|count| *count > 1))
        .with_some("wchan", wait)
        .with_some("bind", bind)
        .text(format!("{name} {role} {} runs{state}", process.pid))
        .from("processes")
        .at(Place::Process(process.pid))
}

pub(crate) fn of_group(group: &cgroup::Cgroup, pid: u32) -> Evidence {
    let kills = group
        .oom_kills
        .map(|kills| format!(", {kills} processes were killed for memory"))
        .unwrap_or_default();
    Evidence::new("cgroup")
        .with("path", &group.path)
        .with("pid", pid)
        .with_some("memory", group.memory_bytes)
        .with_some("memory-max", group.memory_bytes_max)
        .with_some("oom-kills", group.oom_kills)
        .with_some("pids", group.pids)
        .with_some("pids-max", group.pids_max)
        .with_some("throttled", group.throttled)
        .with_some("frozen", group.frozen.map(targets::yes))
        .text(format!("the group of pid {pid}{kills}"))
        .from("control group")
        .at(Place::file(&group.path, 0))
}

/// The settings of a server: its command line, and the configuration that it names.
fn settings(scene: &mut Scene, master: &Process, addresses: &[String], read: &mut Configuration) {
    let seen = Seen::by(master.pid);
    let mut sources = vec![command_line(master)];
    for (path, format) in configurations_of(master) {
        match seen.text(&path) {
            Ok(text) => sources.push(Source { path, text, format }),
            Err(reason) => scene.skipped.push(Skipped {
                check: format!("read {path}"),
                reason,
                needs: "root, or a file that can be read".to_owned(),
            }),
        }
    }
    let software: Vec<_> =
        super::software::version_of(scene, master.pid, master.product.unwrap_or(Product::Gunicorn))
            .map(|version| super::configuration::software_of(targets::name(master), &version))
            .into_iter()
            .collect();
    let mut configuration = read_sources(&sources, &seen, &software);
    // Rules join a server with its proxy by the address that the proxy sends to.
    for evidence in &mut configuration.evidence {
        if evidence.kind == "setting" && evidence.get("role") == Some("server") {
            *evidence = evidence.clone().with("pid", master.pid).with_some("bind", addresses.first());
        }
    }
    absorb(scene, read, configuration);
}

fn quoted(word: &str) -> String {
    let plain =
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./:=,@%+".contains(&b));
    if plain { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

/// Files of its own that a command line names, or that the product finds by itself.
fn configurations_of(master: &Process) -> Vec<(String, Option<Format>)> {
    let cwd = process::working_directory(master.pid).unwrap_or_default();
    let whole = |path: &str| cwd.join(path).display().to_string();
    let words = &master.command;
    let after = |options: &[&str]| {
        words.iter().enumerate().find_map(|(index, word)| {
            let long =
                options.iter().find_map(|option| word.strip_prefix(&format!("{option}="))).map(str::to_owned);
            let next = || options.contains(&word.as_str()).then(|| words.get(index + 1).cloned()).flatten();
            long.or_else(next)
        })
    };
    match master.product {
        Some(Product::Gunicorn) => {
            // The command line reader follows `-c` itself; the file of the working directory is read without being named.
            let usual = cwd.join("gunicorn.conf.py");
            if after(&["-c", "--config"]).is_none() && usual.exists() {
                return vec![(usual.display().to_string(), Format::from_name("gunicorn-conf"))];
            }
            Vec::new()
        }
        Some(Product::Uwsgi) => {
            let ini = after(&["--ini", "--ini-paste"])
                .or_else(|| words.iter().find(|word| word.ends_with(".ini")).cloned());
            ini.map(|path| (whole(&path), Format::from_name("uwsgi-ini"))).into_iter().collect()
        }
        _ => Vec::new(),
    }
}
