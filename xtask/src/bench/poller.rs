//! Waits for many sockets at once, to the microsecond: a clock of milliseconds would blur what is measured.
//!
//! A thin cover over epoll; it owns no sockets.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// How many ready sockets one wait reports.
const EVENTS_MAX: usize = 256;

pub(super) struct Poller {
    epoll: OwnedFd,
    events: Vec<libc::epoll_event>,
}

impl Poller {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: epoll_create1 touches no memory of ours; PR_SET_TIMERSLACK neither.
        let fd = unsafe {
            libc::prctl(libc::PR_SET_TIMERSLACK, 1);
            libc::epoll_create1(libc::EPOLL_CLOEXEC)
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and ours alone.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { epoll, events: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX] })
    }

    /// Reports `token` whenever `socket` can be read, or has ended.
    pub(super) fn add(&self, socket: &impl AsRawFd, token: usize) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: token as u64 };
        // SAFETY: both descriptors are open, and the event lives through the call.
        let result = unsafe {
            libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, socket.as_raw_fd(), &raw mut event)
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// The tokens of sockets that are ready, after at most `time`.
    pub(super) fn wait(&mut self, time: Duration) -> io::Result<Vec<usize>> {
        let time = libc::timespec {
            tv_sec: libc::time_t::try_from(time.as_secs()).unwrap_or(1),
            tv_nsec: time.subsec_nanos().into(),
        };
        // SAFETY: the buffer has room for as many events as are asked for, the time lives, no signals are masked.
        let count = unsafe {
            libc::epoll_pwait2(
                self.epoll.as_raw_fd(),
                self.events.as_mut_ptr(),
                EVENTS_MAX as i32,
                &raw const time,
                std::ptr::null(),
            )
        };
        match usize::try_from(count) {
            Ok(count) => Ok(self.events.iter().take(count).map(|event| event.u64 as usize).collect()),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() == io::ErrorKind::Interrupted { Ok(Vec::new()) } else { Err(error) }
            }
        }
    }
}
