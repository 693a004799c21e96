//! Binding: one socket per worker and listener, the file of a Unix socket, and who else might hold an address.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use model::gateway::ListenAddress;
use socket2::{Domain, Protocol, Socket as RawSocket, Type};

use crate::inherit::Owner;

/// Connections the kernel may hold before we accept them; it takes the smaller of this and `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// A bound socket, not yet registered with a runtime.
#[derive(Debug)]
pub(crate) enum BoundSocket {
    Tcp(RawSocket),
    Unix(std::os::unix::net::UnixListener),
}

impl BoundSocket {
    /// Lets the kernel accept. Separate from binding, because a connection that is made to a socket which is given up
    /// again is lost, although another one of ours may have served it.
    pub(crate) fn listen(&self) -> io::Result<()> {
        match self {
            BoundSocket::Tcp(socket) => socket.listen(BACKLOG),
            // It does from its birth: its path was nobody's before.
            BoundSocket::Unix(_) => Ok(()),
        }
    }
}

/// Sockets that are bound to the same address, one per worker.
#[derive(Debug)]
pub(crate) struct Bound {
    /// With the real port.
    pub address: ListenAddress,
    /// At least one for each worker.
    pub sockets: Vec<BoundSocket>,
    /// Each of them once more, to be handed over one day; those that share a queue count once.
    pub kept: Vec<OwnedFd>,
    pub file: Option<SocketFile>,
    pub owner: Owner,
}

impl Bound {
    fn own(address: ListenAddress, sockets: Vec<BoundSocket>, file: Option<SocketFile>) -> io::Result<Bound> {
        let mut kept = Vec::new();
        for socket in &sockets {
            match socket {
                BoundSocket::Tcp(socket) => kept.push(socket.as_fd().try_clone_to_owned()?),
                BoundSocket::Unix(listener) if kept.is_empty() => {
                    kept.push(listener.as_fd().try_clone_to_owned()?);
                }
                // One queue for all workers.
                BoundSocket::Unix(_) => {}
            }
        }
        Ok(Bound { address, sockets, kept, file, owner: Owner::Process })
    }
}

/// The file of a Unix socket, which outlives the socket's last descriptor: removed with this, unless it is not ours any
/// more.
///
/// It is to be dropped before the socket closes. As long as somebody listens, no other process takes the path over,
/// and nobody who found the file is refused.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl SocketFile {
    pub(crate) fn new(path: &Path) -> io::Result<SocketFile> {
        Ok(SocketFile { path: path.to_owned(), identity: identity(path)? })
    }

    /// Another process looks after it from now on.
    pub(crate) fn leave(mut self) {
        // The file of no path is nobody's.
        self.path = PathBuf::new();
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            // Left behind, it would only be replaced at the next start.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

pub(crate) fn is_same_file(one: &Path, other: &Path) -> bool {
    matches!((identity(one), identity(other)), (Ok(one), Ok(other)) if one == other)
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = std::fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

/// Binds one socket per worker. All are bound before the first accepts, so that a failure costs nobody a connection.
/// `own` are addresses that this process has bound already: an address and "all addresses" can have the same port.
/// The more exact one gets the connections, and the other one all of them from when that one closes.
pub(crate) fn bind(address: &ListenAddress, workers: usize, own: &[ListenAddress]) -> io::Result<Bound> {
    match address {
        ListenAddress::Tcp(address) => {
            if !own.iter().any(|own| matches!(own, ListenAddress::Tcp(own) if covers(*own, *address))) {
                refuse_if_in_use(*address)?;
            }
            let first = bind_tcp(*address)?;
            let bound = first.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
            let mut sockets = vec![BoundSocket::Tcp(first)];
            for _ in 1..workers {
                sockets.push(BoundSocket::Tcp(bind_tcp(bound)?));
            }
            Bound::own(ListenAddress::Tcp(bound), sockets, None)
        }
        ListenAddress::Unix(path) => {
            remove_stale(path)?;
            let listener = std::os::unix::net::UnixListener::bind(path)?;
            let file = Some(SocketFile::new(path)?);
            listener.set_nonblocking(true)?;
            // As other proxies do: whoever can reach the directory may connect.
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
            let mut sockets = Vec::new();
            for _ in 1..workers {
                sockets.push(BoundSocket::Unix(listener.try_clone()?));
            }
            sockets.push(BoundSocket::Unix(listener));
            Bound::own(address.clone(), sockets, file)
        }
    }
}

/// Whether two sockets would take some of the same connections.
pub(crate) fn covers(one: SocketAddr, other: SocketAddr) -> bool {
    let is_all = |all: IpAddr, some: IpAddr| match all {
        IpAddr::V4(all) => all.is_unspecified() && some.to_canonical().is_ipv4(),
        // Our sockets for all of IPv6 take IPv4, too.
        IpAddr::V6(all) => all.is_unspecified(),
    };
    let (one_ip, other_ip) = (one.ip(), other.ip());
    let is_same = one_ip.to_canonical() == other_ip.to_canonical();
    one.port() == other.port() && (is_same || is_all(one_ip, other_ip) || is_all(other_ip, one_ip))
}

/// A socket that shares its port can be bound beside another process of the same user, which would then get half of the
/// connections. Binding one that does not share finds out. Where we have sockets ourselves it would find those.
fn refuse_if_in_use(address: SocketAddr) -> io::Result<()> {
    if address.port() == 0 {
        return Ok(());
    }
    let probe = RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    probe.set_reuse_address(true)?;
    if address.is_ipv6() {
        probe.set_only_v6(false)?;
    }
    probe.bind(&address.into())?;
    probe.listen(1)
}

pub(crate) fn bind_tcp(address: SocketAddr) -> io::Result<RawSocket> {
    let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// A socket file that nobody listens on is left over from a process that was killed.
fn remove_stale(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            std::fs::remove_file(path)
        }
        Ok(_) => Err(io::Error::new(io::ErrorKind::AlreadyExists, "the path exists and is not a socket")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
