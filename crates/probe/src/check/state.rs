//! What the machine looks like now: targets, socket paths, processes, what threads wait for, connections, control groups.

use std::collections::BTreeMap;
use std::time::Duration;

use model::evidence::Place;
use model::{Evidence, Want};

use super::{Answer, Budget, skipped, tcp};
use crate::discover::{Scene, dependencies, servers, targets};
use crate::host::process;
use crate::host::sockets::{self, Address};
use crate::host::{Host, cgroup as group};

/// Threads of one process that are looked at.
const THREADS_MAX: usize = 256;
/// Workers whose threads are looked at.
const PROCESSES_MAX: usize = 64;
/// How often, and how long apart: the doctor's own requests wake threads for a moment.
const SAMPLES: usize = 3;
const SAMPLE_GAP: Duration = Duration::from_millis(30);

/// Whether anything listens there now.
pub(super) fn target(scene: &Scene, want: &Want, _budget: &Budget) -> Answer {
    let Some(addr) = want.get("addr") else { return Answer::default() };
    // What was seen at first is worth more: by now the doctor's own requests may wait there.
    if scene.evidence.iter().any(|item| item.kind == "target" && item.get("addr") == Some(addr)) {
        return Answer::default();
    }
    let Some(address) = tcp::resolve(addr) else {
        return Answer {
            skipped: vec![skipped(want, format!("'{addr}' has no address here"), "")],
            ..Answer::default()
        };
    };
    let fresh = Scene {
        host: Host::read(),
        proxy_netns: scene.proxy_netns,
        proxy_pid: scene.proxy_pid,
        ..Scene::default()
    };
    let evidence =
        targets::target(&fresh, &address, &sockets::backlogs().unwrap_or_default()).with("addr", addr);
    Answer { evidence: vec![evidence], ..Answer::default() }
}

pub(super) fn socket_file(scene: &Scene, want: &Want, _budget: &Budget) -> Answer {
    match want.get("addr").and_then(Address::parse) {
        Some(Address::Unix(path)) => {
            Answer { evidence: vec![targets::socket_file(scene, &path)], ..Answer::default() }
        }
        _ => Answer::default(),
    }
}

/// Discovery has told all of them.
pub(super) fn nothing_more(_scene: &Scene, _want: &Want, _budget: &Budget) -> Answer {
    Answer::default()
}

pub(super) fn processes(scene: &Scene, want: &Want, _budget: &Budget) -> Answer {
    let boot = process::boot_time();
    let pids: Vec<u32> = match want.get("pid").and_then(|pid| pid.parse().ok()) {
        Some(pid) => vec![pid],
        None => scene.workers.iter().copied().chain(scene.proxy_pid).collect(),
    };
    let now = pids.iter().filter_map(|pid| process::read(*pid, boot));
    Answer {
        evidence: now.map(|process| servers::evidence(scene, &process, None)).collect(),
        ..Answer::default()
    }
}

pub(super) fn peers(scene: &Scene, _want: &Want, _budget: &Budget) -> Answer {
    let evidence = dependencies::peers(scene).into_iter().map(|(_, evidence)| evidence).collect();
    Answer { evidence, ..Answer::default() }
}

pub(super) fn cgroup(scene: &Scene, want: &Want, _budget: &Budget) -> Answer {
    let pid = want.get("pid").and_then(|pid| pid.parse().ok()).or_else(|| scene.workers.first().copied());
    let found = pid.and_then(|pid| Some((pid, group::of(pid)?)));
    Answer {
        evidence: found.map(|(pid, group)| servers::of_group(&group, pid)).into_iter().collect(),
        ..Answer::default()
    }
}

/// What the threads of the workers wait for, by the kernel: no Python is asked, so that nothing is stopped.
pub(super) fn stacks(scene: &Scene, want: &Want, _budget: &Budget) -> Answer {
    let mut answer = Answer::default();
    let wanted = |pid: &&u32| want.get("pid").is_none_or(|wanted| wanted == pid.to_string());
    let pids: Vec<u32> = scene.workers.iter().filter(wanted).copied().take(PROCESSES_MAX).collect();
    let mut seen: BTreeMap<(u32, u32), Vec<Option<process::Wait>>> = BTreeMap::new();
    for sample in 0..SAMPLES {
        if sample > 0 {
            std::thread::sleep(SAMPLE_GAP);
        }
        for pid in &pids {
            for thread in process::threads(*pid).into_iter().take(THREADS_MAX) {
                seen.entry((*pid, thread)).or_default().push(process::thread_wait(*pid, thread));
            }
        }
    }
    for pid in &pids {
        let threads = seen.iter().filter(|((of, _), _)| of == pid);
        let waits = threads.filter_map(|((_, thread), waits)| Some((*thread, steady(waits)?)));
        answer.evidence.extend(of_process(scene, *pid, waits));
    }
    if answer.evidence.is_empty() {
        answer.skipped.push(skipped(
            want,
            "the threads of the workers may not be looked at",
            "the server's user, or root",
        ));
    }
    answer
}

/// Where a thread was seen most often: one that works for a moment is not at work. Without the right to see where it waits, that
/// is nowhere.
fn steady(waits: &[Option<process::Wait>]) -> Option<process::Wait> {
    let kind = |wait: &Option<process::Wait>| wait.as_ref().map(|wait| wait.kind);
    let often =
        |wait: &&Option<process::Wait>| waits.iter().filter(|other| kind(other) == kind(wait)).count();
    waits.iter().max_by_key(often).cloned().flatten()
}

/// Threads of a process that stand at the same place are one stack.
fn of_process(scene: &Scene, pid: u32, waits: impl Iterator<Item = (u32, process::Wait)>) -> Vec<Evidence> {
    let mut places: BTreeMap<(bool, &'static str, String, &'static str), (u32, usize)> = BTreeMap::new();
    for (thread, wait) in waits {
        let library = wait.descriptor.and_then(|descriptor| library_at(scene, pid, descriptor)).unwrap_or("");
        let entry = places.entry((thread == pid, wait.kind, wait.call, library)).or_insert((thread, 0));
        entry.1 += 1;
    }
    places
        .into_iter()
        .map(|((main, kind, call, library), (thread, same))| {
            let of = if library.is_empty() { String::new() } else { format!(" for {library}") };
            let threads = if same > 1 {
                format!("{same} threads of pid {pid}")
            } else {
                format!("thread {thread} of pid {pid}")
            };
            Evidence::new("stack")
                .with("pid", pid)
                .with("thread", thread)
                .with("main", targets::yes(main))
                .with("blocked-in", kind)
                .with("function", &call)
                .with_some("library", Some(library).filter(|library| !library.is_empty()))
                .with("same", same)
                .text(format!("{threads}: {kind}{of} ({call})"))
                .from("kernel stacks")
                .at(Place::Process(pid))
        })
        .collect()
}

/// The library that a descriptor most likely belongs to: by whom its socket is connected to.
fn library_at(scene: &Scene, pid: u32, descriptor: u32) -> Option<&'static str> {
    let inode = process::socket_at(pid, descriptor)?;
    let socket = scene.host.sockets.values().flatten().find(|socket| socket.inode == inode);
    let peer = match socket {
        Some(socket) => socket.peer.clone(),
        // Opened since the snapshot.
        None => sockets::of_process(pid).into_iter().find(|socket| socket.inode == inode)?.peer,
    };
    let peer = peer?;
    let known = scene.peers.iter().find(|known| known.address == peer).map(|known| known.product);
    Some(match (known, peer.port()) {
        (Some("postgresql"), _) | (_, Some(5432 | 6432)) => "psycopg2",
        (Some("mysql"), _) | (_, Some(3306)) => "pymysql",
        (Some("redis"), _) | (_, Some(6379)) => "redis",
        (Some("rabbitmq"), _) | (_, Some(5672)) => "pika",
        // The other end of a connection that was made, not accepted.
        _ if called(scene, pid, inode) => "requests",
        _ => return None,
    })
}

/// Whether a socket was connected by the process: its own end is no port that is listened on.
fn called(scene: &Scene, pid: u32, inode: u64) -> bool {
    let of = |sockets: &[sockets::Socket]| {
        sockets.iter().find(|socket| socket.inode == inode).and_then(|socket| socket.local.port())
    };
    let local =
        scene.host.sockets.values().find_map(|sockets| of(sockets)).or_else(|| of(&sockets::of_process(pid)));
    let listened = |port: u16| {
        scene
            .host
            .sockets
            .values()
            .flatten()
            .any(|socket| socket.state == sockets::State::Listen && socket.local.port() == Some(port))
    };
    local.is_some_and(|port| !listened(port))
}
