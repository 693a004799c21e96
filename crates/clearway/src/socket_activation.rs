//! Sockets that the service manager has bound for this process (sd_listen_fds(3)): systemd's socket units.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::fd::{FromRawFd, OwnedFd};

use anyhow::{Context, anyhow, bail};
use model::gateway::ListenAddress;
use proxy::{Inherited, Owner};

use crate::system;

/// What a manager sets. Meant for this process alone, so that no process that this one starts may see it.
pub(crate) const VARIABLES: [&str; 3] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// The first descriptor that is passed.
const FIRST: i32 = 3;
/// More sockets than anyone configures; bounds what a broken environment can make us do.
const SOCKETS_MAX: i32 = 1024;

/// The sockets that were passed; none if nothing was, or not to this process. To be called once, and before anything
/// is opened.
pub(crate) fn sockets() -> anyhow::Result<Vec<Inherited>> {
    let [pid, count, names] = VARIABLES.map(std::env::var_os);
    let own = std::process::id().to_string();
    if pid.is_none_or(|pid| *pid != *own) {
        return Ok(Vec::new());
    }
    let count = count_of(count)?;
    let names = names.and_then(|names| names.into_string().ok()).unwrap_or_default();
    let mut names = names.split(':');
    let mut sockets = Vec::new();
    for number in FIRST..FIRST + count {
        let name = names.next().filter(|name| !name.is_empty());
        let named = name.map(|name| format!(" (\"{name}\")")).unwrap_or_default();
        let socket =
            passed(number).and_then(|socket| Inherited::of(socket, name.map(Box::from), Owner::Manager));
        sockets.push(socket.with_context(|| {
            format!("failed to use descriptor {number}{named}, which the service manager passes")
        })?);
    }
    Ok(sockets)
}

fn count_of(text: Option<OsString>) -> anyhow::Result<i32> {
    let text = text.unwrap_or_default();
    let count = text.to_str().and_then(|text| text.parse().ok());
    match count {
        Some(count @ 0..=SOCKETS_MAX) => Ok(count),
        Some(_) | None => {
            bail!(
                "LISTEN_FDS is {text:?}, and must be a number from 0 to {SOCKETS_MAX}; the service manager sets it"
            )
        }
    }
}

fn passed(number: i32) -> std::io::Result<OwnedFd> {
    system::close_in_children(number)?;
    // SAFETY: it is open, as was just seen, and by the protocol it is this process's to own; nobody else takes it, because
    // this is called once and before anything is opened.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// The socket for the management address, taken out of the list.
pub(crate) fn take_management(
    sockets: &mut Vec<Inherited>,
    address: SocketAddr,
) -> anyhow::Result<Option<std::net::TcpListener>> {
    let wanted = ListenAddress::Tcp(address);
    let Some(at) = sockets.iter().position(|socket| socket.bound == wanted && address.port() != 0) else {
        return Ok(None);
    };
    let socket =
        sockets.swap_remove(at).sockets.pop().ok_or_else(|| anyhow!("a socket must have a descriptor"))?;
    let listener = std::net::TcpListener::from(socket);
    listener.set_nonblocking(true)?;
    Ok(Some(listener))
}
