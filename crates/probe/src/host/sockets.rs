//! Sockets, from `/proc/PID/net` and from the kernel's socket diagnosis (sock_diag(7)), which alone knows how many connections
//! may wait at a listening socket.

mod diag;

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::process;

pub use diag::{Backlog, backlogs};

/// Sockets of one namespace that are kept: more connections than that say no more.
const SOCKETS_MAX: usize = 200_000;

/// The end of a connection, or where one may be made to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    Inet(SocketAddr),
    /// A path, or `@name` for one without a file.
    Unix(String),
}

impl Address {
    /// Reads `127.0.0.1:8000`, `[::1]:8000`, `unix:/run/app.sock`, `*:80`.
    pub fn parse(text: &str) -> Option<Address> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Some(Address::Unix(path.trim_end_matches(':').to_owned()));
        }
        if let Some(port) = text.strip_prefix("*:").or_else(|| text.strip_prefix(':')) {
            return Some(Address::Inet(SocketAddr::new(
                IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                port.parse().ok()?,
            )));
        }
        text.parse().ok().map(Address::Inet)
    }

    /// Whether a socket that is bound here takes connections to that address.
    pub fn serves(&self, asked: &Address) -> bool {
        match (self, asked) {
            (Address::Inet(bound), Address::Inet(asked)) => {
                let all = match bound.ip() {
                    IpAddr::V4(ip) => ip.is_unspecified() && asked.is_ipv4(),
                    // Unless it says otherwise, such a socket takes IPv4 as well.
                    IpAddr::V6(ip) => ip.is_unspecified(),
                };
                bound.port() == asked.port() && (all || unmapped(bound.ip()) == unmapped(asked.ip()))
            }
            (Address::Unix(bound), Address::Unix(asked)) => bound == asked,
            _ => false,
        }
    }

    pub fn port(&self) -> Option<u16> {
        match self {
            Address::Inet(address) => Some(address.port()),
            Address::Unix(_) => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Inet(address) => {
                write!(f, "{}", SocketAddr::new(unmapped(address.ip()), address.port()))
            }
            Address::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

/// An IPv4 address that stands in an IPv6 one.
fn unmapped(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(six) => six.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        IpAddr::V4(_) => ip,
    }
}

/// What of a socket's state is told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The other side has closed; this one has not.
    CloseWait,
    Established,
    Listen,
    Other,
    TimeWait,
}

/// One socket.
#[derive(Clone, Debug)]
pub struct Socket {
    pub local: Address,
    pub peer: Option<Address>,
    pub state: State,
    pub inode: u64,
    /// Bytes that wait to be read; for a listening socket of TCP, connections that wait to be accepted.
    pub receive_queue: u64,
    /// Bytes that the other side has not acknowledged.
    pub send_queue: u64,
    pub retransmits: u64,
    pub uid: u32,
}

/// The sockets of the namespace that a process is in.
pub fn of_process(pid: u32) -> Vec<Socket> {
    let folder = process::folder(pid).join("net");
    let mut sockets = Vec::new();
    for (file, six) in [("tcp", false), ("tcp6", true)] {
        if let Ok(text) = fs::read_to_string(folder.join(file)) {
            sockets.extend(text.lines().skip(1).filter_map(|line| tcp_line(line, six)).take(SOCKETS_MAX));
        }
    }
    if let Ok(text) = fs::read_to_string(folder.join("unix")) {
        sockets.extend(text.lines().skip(1).filter_map(unix_line).take(SOCKETS_MAX));
    }
    sockets
}

/// A line of `/proc/net/tcp` and `tcp6`.
fn tcp_line(line: &str, six: bool) -> Option<Socket> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let field = |index: usize| fields.get(index).copied();
    let (sent, received) = field(4)?.split_once(':')?;
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let state = match field(3)? {
        "0A" => State::Listen,
        "01" => State::Established,
        "08" => State::CloseWait,
        "06" => State::TimeWait,
        _ => State::Other,
    };
    let peer = inet(field(2)?, six)?;
    Some(Socket {
        local: Address::Inet(inet(field(1)?, six)?),
        peer: (peer.port() != 0).then_some(Address::Inet(peer)),
        state,
        inode: field(9)?.parse().ok()?,
        receive_queue: hex(received)?,
        send_queue: hex(sent)?,
        retransmits: hex(field(6)?)?,
        uid: field(7)?.parse().ok()?,
    })
}

/// `0100007F:1F40`: words in the order of this machine's bytes.
fn inet(text: &str, six: bool) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word =
        |index: usize| u32::from_str_radix(ip.get(index * 8..index * 8 + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip = if six {
        let mut bytes = [0; 16];
        for (index, part) in bytes.chunks_mut(4).enumerate() {
            part.copy_from_slice(&word(index)?);
        }
        IpAddr::V6(Ipv6Addr::from(bytes))
    } else {
        IpAddr::V4(Ipv4Addr::from(word(0)?))
    };
    Some(SocketAddr::new(ip, port))
}

/// A line of `/proc/net/unix`: flag 10000 is that of listening sockets (`__SO_ACCEPTCON`).
fn unix_line(line: &str) -> Option<Socket> {
    let mut fields = line.split_whitespace();
    let flags = fields.nth(3)?;
    let (_kind, state, inode) = (fields.next()?, fields.next()?, fields.next()?);
    let path = fields.next()?;
    let listens = u32::from_str_radix(flags, 16).is_ok_and(|flags| flags & 0x10000 != 0);
    let state = match (listens, state) {
        (true, _) => State::Listen,
        (false, "03") => State::Established,
        _ => State::Other,
    };
    Some(Socket {
        local: Address::Unix(path.to_owned()),
        peer: None,
        state,
        inode: inode.parse().ok()?,
        receive_queue: 0,
        send_queue: 0,
        retransmits: 0,
        uid: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_tables() {
        let line = "   0: 0100007F:1F40 00000000:0000 0A 00000000:00000003 00:00000000 00000000  1000        0 4711 1 0 100 0 0 10 0";
        let socket = tcp_line(line, false).expect("a socket");
        assert_eq!(
            (socket.local.to_string().as_str(), socket.state, socket.receive_queue, socket.inode),
            ("127.0.0.1:8000", State::Listen, 3, 4711)
        );
        let six = "0: 0000000000000000FFFF00000100007F:1F40 0000000000000000FFFF00000100007F:C350 01 00000000:00000000 00:00000000 00000002 0 0 9 1";
        let socket = tcp_line(six, true).expect("a socket");
        assert_eq!((socket.local.to_string(), socket.retransmits), ("127.0.0.1:8000".to_owned(), 2));
        let unix = "0000000000000000: 00000002 00000000 00010000 0001 01 812 /run/app.sock";
        let socket = unix_line(unix).expect("a socket");
        assert_eq!((socket.local.to_string().as_str(), socket.state), ("unix:/run/app.sock", State::Listen));
        assert!(tcp_line("nonsense", false).is_none() && unix_line("0: 1").is_none());
    }

    #[test]
    fn a_socket_of_all_addresses_serves_each() {
        let serves = |bound: &str, asked: &str| {
            Address::parse(bound).expect("bound").serves(&Address::parse(asked).expect("asked"))
        };
        assert!(
            serves("0.0.0.0:80", "127.0.0.1:80")
                && serves("[::]:80", "127.0.0.1:80")
                && serves("[::]:80", "[::1]:80")
        );
        assert!(
            !serves("0.0.0.0:80", "[::1]:80")
                && !serves("127.0.0.1:80", "10.0.0.1:80")
                && !serves("0.0.0.0:80", "127.0.0.1:81")
        );
        assert!(serves("unix:/a", "unix:/a") && !serves("unix:/a", "unix:/b"));
    }

    #[test]
    fn the_kernel_says_how_many_may_wait() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = Address::Inet(listener.local_addr().expect("an address"));
        let found = backlogs()
            .expect("socket diagnosis")
            .into_iter()
            .find(|backlog| backlog.local == address)
            .expect("the listener");
        assert_eq!((found.waiting, found.max), (0, 128));
        let _waiting =
            std::net::TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
        let found = backlogs()
            .expect("socket diagnosis")
            .into_iter()
            .find(|backlog| backlog.local == address)
            .expect("the listener");
        assert_eq!(found.waiting, 1);
    }
}
