//! Counters and tables of the kernel, the second time: what they do while the doctor looks.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use model::evidence::Place;
use model::{Evidence, Want};

use super::{Answer, Budget, skipped, tcp};
use crate::discover::Scene;
use crate::host::counters;
use crate::host::sockets::{self, Address, State};

/// How long a counter is watched.
const WATCHED: Duration = Duration::from_millis(400);

/// A counter, and how it rises while connections go on.
pub(super) fn counter(scene: &Scene, want: &Want, budget: &Budget) -> Answer {
    let Some(name) = want.get("name") else { return Answer::default() };
    let Some(before) = counters::counter(name) else {
        return Answer {
            skipped: vec![skipped(want, "the kernel has no such counter", "")],
            ..Answer::default()
        };
    };
    // A connection of one's own moves the counters of a queue that is full now.
    for upstream in scene.upstreams.iter().take(2) {
        if let Some(Address::Inet(address)) = upstream.addresses.first() {
            let _ = tcp::stream(*address, budget.at_most(WATCHED / 2));
        }
    }
    std::thread::sleep(budget.at_most(WATCHED));
    let after = counters::counter(name).unwrap_or(before);
    let delta = after.saturating_sub(before);
    let evidence = Evidence::new("counter")
        .with("name", name)
        .with("value", after)
        .with("delta", delta)
        .text(format!("{name} is {after}, and rose by {delta} while the doctor looked"))
        .from("kernel counters")
        .at(Place::file("/proc/net/netstat", 0));
    Answer { evidence: vec![evidence], ..Answer::default() }
}

pub(super) fn conntrack(_scene: &Scene, want: &Want, _budget: &Budget) -> Answer {
    let Some((entries, max)) = counters::conntrack() else {
        return Answer {
            skipped: vec![skipped(want, "connections are not tracked here", "")],
            ..Answer::default()
        };
    };
    let evidence = Evidence::new("conntrack")
        .with("entries", entries)
        .with("max", max)
        .text(format!("{entries} of {max} entries"))
        .from("connection tracking")
        .at(Place::file("/proc/sys/net/netfilter/nf_conntrack_count", 0));
    Answer { evidence: vec![evidence], ..Answer::default() }
}

pub(super) fn pressure(_scene: &Scene, want: &Want, _budget: &Budget) -> Answer {
    let mut answer = Answer::default();
    for resource in ["cpu", "memory", "io"] {
        if want.get("resource").is_some_and(|wanted| wanted != resource) {
            continue;
        }
        let Some((some, full)) = counters::pressure(resource) else { continue };
        answer.evidence.push(
            Evidence::new("pressure")
                .with("resource", resource)
                .with("some", some)
                .with("full", full)
                .text(format!("tasks waited for {resource} {some} % of the last 10 s"))
                .from("pressure")
                .at(Place::file(format!("/proc/pressure/{resource}"), 0)),
        );
    }
    if answer.evidence.is_empty() {
        answer.skipped.push(skipped(want, "the kernel tells no pressure", "a kernel with CONFIG_PSI"));
    }
    answer
}

/// Connections to an address against the local ports there are for them.
pub(super) fn ports(scene: &Scene, want: &Want, _budget: &Budget) -> Answer {
    let Some(addr) = want.get("addr") else { return Answer::default() };
    let (Some(Address::Inet(address)), Some((first, last))) = (tcp::resolve(addr), counters::local_ports())
    else {
        return Answer::default();
    };
    let pid = scene.proxy_pid.unwrap_or(std::process::id());
    let to = |socket: &&sockets::Socket| socket.peer == Some(Address::Inet(address));
    let sockets = sockets::of_process(pid);
    let used = sockets.iter().filter(to).count();
    let waiting = sockets.iter().filter(to).filter(|socket| socket.state == State::TimeWait).count();
    let max = last.saturating_sub(first) + 1;
    let evidence = Evidence::new("ports")
        .with("addr", addr)
        .with("used", used)
        .with("max", max)
        .with("waiting", waiting)
        .text(format!("{used} connections to {addr}, {waiting} of them in TIME_WAIT, of {max} local ports"))
        .from("socket table")
        .at(Place::file("/proc/net/tcp", 0));
    Answer { evidence: vec![evidence], ..Answer::default() }
}

/// Room on the file systems that the chain writes to.
pub(super) fn disk(scene: &Scene, want: &Want, _budget: &Budget) -> Answer {
    let setting = |name: &str| {
        let of = scene.evidence.iter().find(|item| item.kind == "setting" && item.get("name") == Some(name));
        of.and_then(|item| item.get("value")).filter(|value| value.starts_with('/')).map(PathBuf::from)
    };
    let mut paths: Vec<(&str, PathBuf)> = Vec::new();
    let usual = ["/var/lib/nginx/proxy", "/var/cache/nginx", "/var/lib/nginx"].map(PathBuf::from);
    let temp = setting("temp-path").or_else(|| usual.iter().find(|path| path.exists()).cloned());
    paths.extend(temp.map(|path| ("proxy-temp", path)));
    let body = setting("body-temp-path")
        .or_else(|| Some(PathBuf::from("/var/lib/nginx/body")).filter(|path| path.exists()));
    paths.extend(body.map(|path| ("client-body", path)));
    paths.extend(
        scene
            .workers
            .first()
            .and_then(|pid| crate::host::process::working_directory(*pid))
            .map(|path| ("app", path)),
    );
    paths.extend(
        scene.logs.first().and_then(|log| log.path.parent().map(PathBuf::from)).map(|path| ("log", path)),
    );
    paths.push(("app", PathBuf::from("/tmp")));
    let mut answer = Answer::default();
    for (what, path) in paths {
        if want.get("what").is_some_and(|wanted| wanted != what && !(what == "log" && wanted == "app")) {
            continue;
        }
        let Some((free, inodes)) = room(&path) else { continue };
        answer.evidence.push(
            Evidence::new("disk")
                .with("path", path.display())
                .with("what", what)
                .with("free", free)
                .with("free-inodes", inodes)
                .text(format!("{} has {free} bytes and {inodes} inodes free", path.display()))
                .from("file systems")
                .at(Place::file(path.display().to_string(), 0)),
        );
    }
    answer
}

fn room(path: &std::path::Path) -> Option<(u64, u64)> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).ok()?;
    let mut stat = std::mem::MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: the path ends with a nought, and the buffer is of the type that the call fills.
    let stat = unsafe {
        if libc::statvfs(path.as_ptr(), stat.as_mut_ptr()) != 0 {
            return None;
        }
        stat.assume_init()
    };
    Some((stat.f_bavail.saturating_mul(stat.f_frsize), stat.f_favail))
}

/// The entry of the neighbour table for an address on the own network.
pub(super) fn neighbour(_scene: &Scene, want: &Want, _budget: &Budget) -> Answer {
    let Some(addr) = want.get("addr") else { return Answer::default() };
    let Some(Address::Inet(address)) = tcp::resolve(addr) else { return Answer::default() };
    if address.ip().is_loopback() {
        return Answer::default();
    }
    let said = Command::new("ip").args(["neigh", "show", &address.ip().to_string()]).output();
    let line = said
        .ok()
        .map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned())
        .filter(|line| !line.is_empty());
    let line = line.or_else(|| arp(&address.ip().to_string()));
    let Some(line) = line else {
        return Answer {
            skipped: vec![skipped(want, "the neighbour table has no entry for it", "")],
            ..Answer::default()
        };
    };
    let state = line.rsplit(' ').next().unwrap_or_default().to_ascii_lowercase();
    // What is asked for in vain becomes FAILED a moment later.
    let state = if state == "incomplete" { "failed".to_owned() } else { state };
    let evidence = Evidence::new("neighbour")
        .with("addr", addr)
        .with("state", state)
        .text(line)
        .from("neighbour table")
        .at(Place::Object(format!("ip neigh {}", address.ip())));
    Answer { evidence: vec![evidence], ..Answer::default() }
}

/// The older table, for machines without the command: flag 2 is that of a complete entry.
fn arp(ip: &str) -> Option<String> {
    let table = fs::read_to_string("/proc/net/arp").ok()?;
    let line = table.lines().find(|line| line.split_whitespace().next() == Some(ip))?;
    let complete = line.split_whitespace().nth(2) == Some("0x2");
    Some(format!("{ip} {}", if complete { "REACHABLE" } else { "FAILED" }))
}
