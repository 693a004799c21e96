//! Tells the service manager how the process is doing (sd_notify(3)): when it is ready, reloads, stops, or hands over to
//! another process. Without one, nothing is told.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// A manager takes a message within microseconds; one that takes none for so long will not be waited for.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// The variable that names the socket of the manager.
const SOCKET: &str = "NOTIFY_SOCKET";

/// The way to the service manager, if there is one.
#[derive(Debug)]
pub(crate) struct ServiceManager {
    to: Option<(UnixDatagram, SocketAddr)>,
}

impl ServiceManager {
    pub(crate) fn from_environment() -> ServiceManager {
        let to = std::env::var_os(SOCKET).and_then(|name| {
            let socket = UnixDatagram::unbound().ok()?;
            socket.set_write_timeout(Some(SEND_TIMEOUT)).ok()?;
            Some((socket, address(&name)?))
        });
        ServiceManager { to }
    }

    /// It serves.
    pub(crate) fn ready(&self, status: &str) {
        self.send(&format!("READY=1\n{}", status_line(status)));
    }

    /// It reads its configuration again; [`ServiceManager::ready`] follows. The time tells the manager that this answers
    /// its own signal (`Type=notify-reload`).
    pub(crate) fn reloading(&self) {
        let time = monotonic_micros();
        self.send(&format!(
            "RELOADING=1\nMONOTONIC_USEC={time}\n{}",
            status_line("reading the configuration")
        ));
    }

    pub(crate) fn stopping(&self, status: &str) {
        self.send(&format!("STOPPING=1\n{}", status_line(status)));
    }

    /// Another process is the service from now on. Only the main process is believed (`NotifyAccess=main`), so that the old
    /// one says it.
    pub(crate) fn main_process(&self, pid: u32) {
        self.send(&format!("MAINPID={pid}\n{}", status_line(&format!("process {pid} has taken over"))));
    }

    fn send(&self, message: &str) {
        if let Some((socket, address)) = &self.to {
            // A manager that does not listen does not want to know.
            let _ = socket.send_to_addr(message.as_bytes(), address);
        }
    }
}

/// A path, or a name in the abstract namespace behind an `@`.
fn address(name: &OsStr) -> Option<SocketAddr> {
    match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name).ok(),
        [b'/', ..] => SocketAddr::from_pathname(name).ok(),
        _ => None,
    }
}

/// One line, whatever is in it.
fn status_line(status: &str) -> String {
    format!("STATUS={}\n", status.replace(['\n', '\r'], " "))
}

fn monotonic_micros() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live local of the right type.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1_000
}
