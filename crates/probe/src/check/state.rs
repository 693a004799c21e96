//! What the machine looks like now: targets, socket paths, processes, what threads wait for, connections, control groups.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use model::evidence::Place;
use model::{Evidence, Want};

use super::{Answer, Budget, python, skipped, tcp};
use crate::discover::{Scene, dependencies, servers, targets};
use crate::host::process;
use crate::host::sockets::{self, Address};
use crate::host::{Host, cgroup as group};

/// Threads of one process that are looked at.
const THREADS_MAX: usize = 256;
/// Workers whose threads are looked at.
const PROCESSES_MAX: usize = 64;
/// Processes whose Python frames are asked for.
const PYTHONS_MAX: usize = 8;
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
    let mut evidence: Vec<Evidence> =
        dependencies::peers(scene).into_iter().map(|(_, evidence)| evidence).collect();
    evidence.extend(dependencies::stuck(scene));
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
pub(super) fn stacks(scene: &Scene, want: &Want, budget: &Budget) -> Answer {
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
    // Those of the workers that answer requests, side by side; the kernel's view alone where there is no py-spy.
    let limit = budget.at_most(Duration::from_secs(2));
    let frames: Vec<(u32, HashMap<u32, python::Frame>)> = std::thread::scope(|scope| {
        let asking: Vec<_> = pids
            .iter()
            .rev()
            .take(PYTHONS_MAX)
            .map(|pid| (*pid, scope.spawn(move || python::frames(*pid, limit))))
            .collect();
        asking.into_iter().filter_map(|(pid, asked)| Some((pid, asked.join().ok()?.ok()?))).collect()
    });
    for pid in &pids {
        let threads = seen.iter().filter(|((of, _), _)| of == pid);
        let waits = threads.filter_map(|((_, thread), waits)| Some((*thread, steady(waits)?)));
        let frames = frames.iter().find(|(of, _)| of == pid).map(|(_, frames)| frames);
        answer.evidence.extend(of_process(scene, *pid, waits, frames.unwrap_or(&HashMap::new())));
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

/// Where threads stand: what they wait for, in which place of the kernel, for whom, and in which line of the application.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Standing {
    main: bool,
    kind: &'static str,
    call: String,
    library: &'static str,
    frame: Option<python::Frame>,
}

/// Threads of a process that stand at the same place are one stack.
fn of_process(
    scene: &Scene,
    pid: u32,
    waits: impl Iterator<Item = (u32, process::Wait)>,
    frames: &HashMap<u32, python::Frame>,
) -> Vec<Evidence> {
    let mut places: BTreeMap<Standing, (u32, usize)> = BTreeMap::new();
    for (thread, wait) in waits {
        let frame = frames.get(&thread).cloned();
        let by_socket = wait.descriptor.and_then(|descriptor| library_at(scene, pid, descriptor));
        let library = frame.as_ref().and_then(|frame| frame.library).or(by_socket).unwrap_or("");
        let standing = Standing { main: thread == pid, kind: wait.kind, call: wait.call, library, frame };
        places.entry(standing).or_insert((thread, 0)).1 += 1;
    }
    places.into_iter().map(|(standing, (thread, same))| stack(pid, standing, thread, same)).collect()
}

fn stack(pid: u32, standing: Standing, thread: u32, same: usize) -> Evidence {
    let Standing { main, kind, call, library, frame } = standing;
    let of = if library.is_empty() { String::new() } else { format!(" for {library}") };
    let threads = if same > 1 {
        format!("{same} threads of pid {pid}")
    } else {
        format!("thread {thread} of pid {pid}")
    };
    let at = frame
        .as_ref()
        .map(|frame| format!(" in {} ({}:{})", frame.function, frame.file, frame.line))
        .unwrap_or_default();
    let source = if frame.is_some() { "py-spy and kernel stacks" } else { "kernel stacks" };
    Evidence::new("stack")
        .with("pid", pid)
        .with("thread", thread)
        .with("main", targets::yes(main))
        .with("blocked-in", kind)
        .with("function", frame.as_ref().map_or(call.as_str(), |frame| frame.function.as_str()))
        .with_some("file", frame.as_ref().map(|frame| &frame.file))
        .with_some("line", frame.as_ref().map(|frame| frame.line))
        .with_some("library", Some(library).filter(|library| !library.is_empty()))
        .with("same", same)
        .text(format!("{threads}: {kind}{of}{at} ({call})"))
        .from(source)
        .at(Place::Process(pid))
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
