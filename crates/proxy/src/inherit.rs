//! Listening sockets that were there before this process: given by a service manager, or by the process whose place this
//! one takes. Which of them belongs to which listener, and what becomes of the rest.
//!
//! A socket that nobody accepts from must not stay in a group that shares its port: the kernel goes on giving it
//! connections. So every socket that comes is accepted from, however many workers there are.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::gateway::{ListenAddress, Listener};
use socket2::{Domain, SockAddr, SockRef, Socket as RawSocket, Type};

use crate::bind::{Bound, BoundSocket, SocketFile, bind_tcp, covers, is_same_file};

/// Sockets of one address that are bound and listen already.
#[derive(Debug)]
pub struct Inherited {
    /// As the configuration of the process before named it; otherwise as it is bound.
    pub configured: ListenAddress,
    pub bound: ListenAddress,
    /// What the service manager calls it.
    pub name: Option<Box<str>>,
    pub owner: Owner,
    pub sockets: Vec<OwnedFd>,
}

/// Who keeps a socket open when this process has closed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The service manager, for the next start: it also removes the file of a Unix socket.
    Manager,
    /// Nobody: it is this process's own, once the one before is gone.
    Process,
}

impl Inherited {
    /// A descriptor that was passed in, if it is a socket that listens for connections.
    pub fn of(socket: OwnedFd, name: Option<Box<str>>, owner: Owner) -> io::Result<Inherited> {
        let bound = listening_address(&SockRef::from(&socket))?;
        Ok(Inherited { configured: bound.clone(), bound, name, owner, sockets: vec![socket] })
    }

    /// The same sockets once more; `None` where there are no descriptors left.
    pub(crate) fn try_clone(&self) -> Option<Inherited> {
        let sockets = self.sockets.iter().map(OwnedFd::try_clone).collect::<io::Result<_>>().ok()?;
        let Inherited { configured, bound, name, owner, sockets: _ } = self;
        let (configured, bound, name) = (configured.clone(), bound.clone(), name.clone());
        Some(Inherited { configured, bound, name, owner: *owner, sockets })
    }

    /// How well it suits a listener, best first; `None` if it is another address's.
    fn fitness(&self, listener: &Listener) -> Option<(Fit, bool)> {
        let fit = if self.configured == listener.address {
            Fit::Configured
        } else if is_same(&self.bound, &listener.address) {
            Fit::Same
        } else if takes_all_of(&self.bound, &listener.address) {
            Fit::Covers
        } else {
            return None;
        };
        Some((fit, self.name.as_deref() != Some(&*listener.name)))
    }

    /// Makes the sockets ready for so many workers. Where these are more and no other can be bound beside them, they
    /// share.
    pub(crate) fn adopt(self, workers: usize) -> io::Result<Bound> {
        let mut kept = Vec::new();
        for socket in &self.sockets {
            kept.push(socket.try_clone()?);
        }
        let mut sockets = Vec::new();
        for socket in self.sockets {
            sockets.push(accepting(socket, &self.bound)?);
        }
        for number in sockets.len()..workers {
            let another = match (&self.bound, kept.first()) {
                (ListenAddress::Tcp(address), Some(one)) if SockRef::from(one).reuse_port()? => {
                    bind_tcp(*address).ok()
                }
                _ => None,
            };
            match another {
                Some(another) => {
                    kept.push(another.as_fd().try_clone_to_owned()?);
                    sockets.push(BoundSocket::Tcp(another));
                }
                None => {
                    let one = kept.get(number % kept.len().max(1)).ok_or(io::ErrorKind::NotConnected)?;
                    sockets.push(accepting(one.try_clone()?, &self.bound)?);
                }
            }
        }
        Ok(Bound { address: self.bound, sockets, kept, file: None, owner: self.owner })
    }
}

/// The file of a Unix socket that is this process's own from now on.
pub(crate) fn file(bound: &ListenAddress, owner: Owner) -> Option<SocketFile> {
    match (bound, owner) {
        (ListenAddress::Unix(path), Owner::Process) => SocketFile::new(path).ok(),
        (ListenAddress::Tcp(_), _) | (_, Owner::Manager) => None,
    }
}

/// How an inherited socket suits a listener; the first is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Configured,
    Same,
    /// systemd's `ListenStream=80` is all of IPv6, which takes IPv4 too: meant by whoever writes `0.0.0.0:80`.
    Covers,
}

/// Finds the socket of each listener; takes those that suit out of `inherited`. The best fit wins, then the name.
pub(crate) fn assign(
    listeners: &[Arc<Listener>],
    inherited: &mut Vec<Inherited>,
) -> HashMap<ListenAddress, Inherited> {
    let mut assigned = HashMap::new();
    for fit in [Fit::Configured, Fit::Same, Fit::Covers] {
        for listener in listeners {
            if assigned.contains_key(&listener.address) {
                continue;
            }
            let suits = |one: &Inherited| one.fitness(listener).filter(|(found, _)| *found == fit);
            let best = inherited.iter().enumerate().filter_map(|(at, one)| Some((suits(one)?, at))).min();
            if let Some((_, at)) = best {
                let mut found = inherited.swap_remove(at);
                // Several sockets of one address share its port: all of them are to be accepted from.
                while let Some(at) = inherited.iter().position(|other| is_same(&other.bound, &found.bound)) {
                    found.sockets.extend(inherited.swap_remove(at).sockets);
                }
                assigned.insert(listener.address.clone(), found);
            }
        }
    }
    assigned
}

/// What to say of a socket of the service manager that no listener takes: its connections would wait for ever.
pub(crate) fn unserved(inherited: &Inherited) -> String {
    let Inherited { bound, name, .. } = inherited;
    let named = name.as_deref().map(|name| format!(" (\"{name}\")")).unwrap_or_default();
    format!(
        "the service manager passes a socket for {bound}{named}, and no listener has this address; configure the \
         listener, or take its ListenStream= out of the socket unit"
    )
}

fn accepting(socket: OwnedFd, bound: &ListenAddress) -> io::Result<BoundSocket> {
    Ok(match bound {
        ListenAddress::Tcp(_) => {
            let socket = RawSocket::from(socket);
            socket.set_nonblocking(true)?;
            BoundSocket::Tcp(socket)
        }
        ListenAddress::Unix(_) => {
            let listener = UnixListener::from(socket);
            listener.set_nonblocking(true)?;
            BoundSocket::Unix(listener)
        }
    })
}

/// The address of a socket that listens for connections, or what it is instead.
fn listening_address(socket: &SockRef<'_>) -> io::Result<ListenAddress> {
    let other = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, what.to_owned());
    if socket.r#type()? != Type::STREAM {
        return Err(other("it is no stream socket; use ListenStream="));
    }
    if !socket.is_listener()? {
        return Err(other("it does not listen; Accept= of the socket unit must be no"));
    }
    let address = socket.local_addr()?;
    match (address.as_socket(), path_of(&address)) {
        (Some(address), _) => Ok(ListenAddress::Tcp(address)),
        (None, Some(path)) => Ok(ListenAddress::Unix(path)),
        (None, None) => Err(other("its address is neither IP nor a path")),
    }
}

fn path_of(address: &SockAddr) -> Option<PathBuf> {
    (address.domain() == Domain::UNIX).then(|| address.as_pathname().map(Path::to_owned)).flatten()
}

fn is_same(one: &ListenAddress, other: &ListenAddress) -> bool {
    match (one, other) {
        (ListenAddress::Tcp(one), ListenAddress::Tcp(other)) => one.port() != 0 && one == other,
        (ListenAddress::Unix(one), ListenAddress::Unix(other)) => one == other || is_same_file(one, other),
        (ListenAddress::Tcp(_), ListenAddress::Unix(_)) | (ListenAddress::Unix(_), ListenAddress::Tcp(_)) => {
            false
        }
    }
}

fn takes_all_of(one: &ListenAddress, other: &ListenAddress) -> bool {
    let (ListenAddress::Tcp(one @ SocketAddr::V6(_)), ListenAddress::Tcp(other)) = (one, other) else {
        return false;
    };
    one.ip().is_unspecified() && other.ip().is_unspecified() && covers(*one, *other)
}
