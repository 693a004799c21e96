//! A connection to an address, as the proxy would make it: in its network namespace where that is another.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use model::evidence::Place;
use model::{Evidence, Want};

use super::{Answer, Budget, probed, skipped};
use crate::discover::{Scene, targets};
use crate::host::sockets::Address;

/// Long enough for a SYN that is sent again once.
const WAIT: Duration = Duration::from_millis(1_500);

pub(super) fn probe(scene: &Scene, want: &Want, budget: &Budget) -> Answer {
    let Some(addr) = want.get("addr") else { return Answer::default() };
    let Some(address) = resolve(addr) else {
        let reason = format!("'{addr}' has no address here");
        return Answer { skipped: vec![skipped(want, reason, "")], ..Answer::default() };
    };
    let begun = Instant::now();
    let other = scene.proxy_netns.filter(|netns| *netns != scene.host.own_netns);
    let result = match (other, scene.proxy_pid) {
        (Some(_), Some(pid)) => match in_namespace_of(pid, || connect(&address, budget.at_most(WAIT))) {
            Some(result) => result,
            None => {
                return Answer {
                    skipped: vec![skipped(want, "the proxy's network namespace may not be entered", "root")],
                    ..Answer::default()
                };
            }
        },
        _ => match (&address, targets::proxy_user(scene)) {
            // Whether the path may be entered depends on who comes.
            (Address::Unix(path), Some((user, group))) => {
                as_user(user, group, || unix_stream(path).map(|_| ()))
                    .unwrap_or_else(|| connect(&address, budget.at_most(WAIT)))
            }
            _ => connect(&address, budget.at_most(WAIT)),
        },
    };
    let evidence = evidence(addr, result.as_ref().copied(), begun.elapsed().as_secs_f64());
    let word = evidence.get("result").unwrap_or_default().to_owned();
    Answer {
        evidence: vec![evidence],
        probed: vec![probed(format!("connect {addr}"), word, begun)],
        ..Answer::default()
    }
}

/// The first address that a text stands for.
pub(crate) fn resolve(addr: &str) -> Option<Address> {
    Address::parse(addr).or_else(|| addr.to_socket_addrs().ok()?.next().map(Address::Inet))
}

fn connect(address: &Address, wait: Duration) -> io::Result<()> {
    match address {
        Address::Inet(address) => stream(*address, wait).map(|_| ()),
        Address::Unix(path) => unix_stream(path).map(|_| ()),
    }
}

/// A connection within a time, which is never nought.
pub(super) fn stream(address: SocketAddr, wait: Duration) -> io::Result<TcpStream> {
    TcpStream::connect_timeout(&address, wait.max(Duration::from_millis(50)))
}

/// A connection to a Unix socket, at once: where its queue is full, a blocking one would wait without limit.
pub(super) fn unix_stream(path: impl AsRef<std::path::Path>) -> io::Result<UnixStream> {
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&socket2::SockAddr::unix(path)?)?;
    socket.set_nonblocking(false)?;
    Ok(UnixStream::from(std::os::fd::OwnedFd::from(socket)))
}

/// What came of a connection, as evidence.
pub(super) fn evidence(addr: &str, result: Result<(), &io::Error>, elapsed: f64) -> Evidence {
    let (word, errno) = match result {
        Ok(()) => ("open", None),
        Err(error) => (word(error), error.raw_os_error()),
    };
    Evidence::new("tcp-probe")
        .with("addr", addr)
        .with("from", "here")
        .with("result", word)
        .with_some("errno", errno)
        .with("elapsed", format!("{elapsed:.3}"))
        .text(format!("a connection to {addr}: {word} after {:.0} ms", elapsed * 1000.0))
        .from("tcp probe")
        .at(Place::Probe(format!("connect {addr}")))
        .time(super::http::now())
}

pub(super) fn word(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => "refused",
        Some(libc::ETIMEDOUT) => "timeout",
        Some(libc::EHOSTUNREACH) => "unreachable-host",
        Some(libc::ENETUNREACH) => "unreachable-network",
        Some(libc::EACCES | libc::EPERM) => "permission",
        Some(libc::ENOENT) => "no-file",
        Some(libc::EAGAIN) => "queue-full",
        _ if matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) => "timeout",
        _ => "error",
    }
}

/// Runs a step with the rights that a user has to files, on a thread of its own, which ends with them. `None` without the right
/// to become that user.
fn as_user<T: Send>(user: u32, group: u32, step: impl FnOnce() -> T + Send) -> Option<T> {
    // SAFETY: it only asks.
    if unsafe { libc::geteuid() } != 0 {
        return None;
    }
    std::thread::scope(|scope| {
        let other = scope.spawn(move || {
            // SAFETY: the system call reads one group; called directly, it is about this thread alone, which ends.
            let grouped = unsafe { libc::syscall(libc::SYS_setgroups, 1_usize, &raw const group) } == 0;
            // SAFETY: both are about this thread alone, and drop the rights that root has to files.
            unsafe {
                libc::setfsgid(group);
                libc::setfsuid(user);
            }
            grouped.then(step)
        });
        other.join().ok().flatten()
    })
}

/// Runs a step in the network namespace of a process: on a thread of its own, which ends in it. `None` without the right.
fn in_namespace_of<T: Send>(pid: u32, step: impl FnOnce() -> T + Send) -> Option<T> {
    let namespace = std::fs::File::open(format!("/proc/{pid}/ns/net")).ok()?;
    std::thread::scope(|scope| {
        let entered = scope.spawn(|| {
            use std::os::fd::AsRawFd;
            // SAFETY: the descriptor is open; the thread ends without ever leaving the namespace.
            let entered = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) } == 0;
            entered.then(step)
        });
        entered.join().ok().flatten()
    })
}
