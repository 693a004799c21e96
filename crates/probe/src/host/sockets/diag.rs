//! The kernel's socket diagnosis over netlink (sock_diag(7)): for listening sockets, how many connections wait and how many
//! may. Needs no rights; tells of the namespace it is asked in.

use std::io;
use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::Address;

/// `linux/sock_diag.h`
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// `linux/unix_diag.h`: names and queues are wanted.
const UDIAG_SHOW_NAME: u32 = 1;
const UDIAG_SHOW_RQLEN: u32 = 0x10;
const UNIX_DIAG_NAME: u16 = 0;
const UNIX_DIAG_RQLEN: u16 = 4;
const TCP_LISTEN: u32 = 10;
/// One answer of the kernel.
const ANSWER_BYTES: usize = 64 << 10;
/// Answers to one question: far above what a machine's listening sockets need.
const ANSWERS_MAX: usize = 1_000;

/// A listening socket and its queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backlog {
    pub local: Address,
    /// Connections that wait to be accepted.
    pub waiting: u32,
    /// How many may; the kernel lets one more in.
    pub max: u32,
}

/// The queues of all listening sockets of this namespace.
pub fn backlogs() -> io::Result<Vec<Backlog>> {
    let mut found = Vec::new();
    for family in [libc::AF_INET as u8, libc::AF_INET6 as u8] {
        ask(&inet_request(family), &mut |message| found.extend(inet_answer(message)))?;
    }
    ask(&unix_request(), &mut |message| found.extend(unix_answer(message)))?;
    Ok(found)
}

/// `struct inet_diag_req_v2` behind a header.
fn inet_request(family: u8) -> Vec<u8> {
    let mut body = vec![family, libc::IPPROTO_TCP as u8, 0, 0];
    body.extend((1_u32 << TCP_LISTEN).to_ne_bytes());
    body.resize(56, 0);
    with_header(body)
}

/// `struct unix_diag_req` behind a header.
fn unix_request() -> Vec<u8> {
    let mut body = vec![libc::AF_UNIX as u8, 0, 0, 0];
    body.extend((1_u32 << TCP_LISTEN).to_ne_bytes());
    body.extend(0_u32.to_ne_bytes());
    body.extend((UDIAG_SHOW_NAME | UDIAG_SHOW_RQLEN).to_ne_bytes());
    body.resize(24, 0);
    with_header(body)
}

fn with_header(body: Vec<u8>) -> Vec<u8> {
    let mut message = Vec::with_capacity(16 + body.len());
    message.extend((16 + body.len() as u32).to_ne_bytes());
    message.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message.extend(((libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16).to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    message
}

/// Sends a question and gives each message of the answer, without its header.
fn ask(request: &[u8], take: &mut dyn FnMut(&[u8])) -> io::Result<()> {
    // SAFETY: a plain system call; the descriptor is owned from here on.
    let socket = unsafe {
        let raw =
            libc::socket(libc::AF_NETLINK, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, libc::NETLINK_SOCK_DIAG);
        if raw < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(raw)
    };
    let wait = libc::timeval { tv_sec: 1, tv_usec: 0 };
    // SAFETY: the pointers are to values that outlive the calls, with their sizes.
    let sent = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVTIMEO,
            (&raw const wait).cast(),
            size_of::<libc::timeval>() as u32,
        );
        libc::send(socket.as_raw_fd(), request.as_ptr().cast(), request.len(), 0)
    };
    if sent < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut buffer = vec![0_u8; ANSWER_BYTES];
    for _ in 0..ANSWERS_MAX {
        // SAFETY: the buffer is as long as is said.
        let length = unsafe { libc::recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        let Ok(length) = usize::try_from(length) else { return Err(io::Error::last_os_error()) };
        let mut rest = buffer.get(..length).unwrap_or_default();
        while let Some((kind, body, after)) = message(rest) {
            match i32::from(kind) {
                libc::NLMSG_DONE => return Ok(()),
                libc::NLMSG_ERROR => return Err(io::Error::other("the kernel refused the question")),
                _ => take(body),
            }
            rest = after;
        }
        if length == 0 {
            return Ok(());
        }
    }
    Ok(())
}

/// The first message: its kind, its body, and what follows it.
fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32_at(bytes, 0)? as usize;
    let kind = u16_at(bytes, 4)?;
    if length < 16 {
        return None;
    }
    let next = length.next_multiple_of(4).min(bytes.len());
    Some((kind, bytes.get(16..length)?, bytes.get(next..)?))
}

/// `struct inet_diag_msg`: state, ports and addresses, then the queues.
fn inet_answer(body: &[u8]) -> Option<Backlog> {
    let port = u16::from_be_bytes(body.get(4..6)?.try_into().ok()?);
    let address = body.get(8..24)?;
    let ip = match i32::from(*body.first()?) {
        libc::AF_INET => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(address.get(..4)?).ok()?)),
        _ => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?)),
    };
    Some(Backlog {
        local: Address::Inet(SocketAddr::new(ip, port)),
        waiting: u32_at(body, 56)?,
        max: u32_at(body, 60)?,
    })
}

/// `struct unix_diag_msg` and its attributes.
fn unix_answer(body: &[u8]) -> Option<Backlog> {
    let (mut name, mut queue) = (None, None);
    let mut rest = body.get(16..)?;
    while let (Some(length), Some(kind)) = (u16_at(rest, 0), u16_at(rest, 2)) {
        let length = usize::from(length);
        let Some(value) = rest.get(4..length) else { break };
        match kind {
            UNIX_DIAG_NAME => name = Some(String::from_utf8_lossy(value).replace('\0', "@")),
            UNIX_DIAG_RQLEN => queue = Some((u32_at(value, 0)?, u32_at(value, 4)?)),
            _ => {}
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    let (waiting, max) = queue?;
    Some(Backlog { local: Address::Unix(name?.trim_end_matches('@').to_owned()), waiting, max })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}
