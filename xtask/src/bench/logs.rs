//! Where the proxies' log lines go, and how many came: a proxy that drops its log would be measured too cheap.
//!
//! What stands in the lines is not looked at.

use std::fs::{self, OpenOptions};
use std::io;
use std::mem;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::process::{hurry, pause};

/// How long a proxy may keep lines in its buffers after a run: Caddy and Envoy write once a second.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(4);
/// Of 1,000 requests this many must have a line; a few requests of the load generator are cut off at the end of a run.
const PERMILLE_MIN: u64 = 995;

pub(super) enum Log {
    File(PathBuf),
    Off,
    Socket(Sink),
}

impl Log {
    /// The lines that came since the last call, after waiting until there are `expected` or nothing more can come.
    pub(super) fn take(&self, expected: u64) -> anyhow::Result<u64> {
        let end = Instant::now() + FLUSH_TIME_MAX;
        let lines = loop {
            let lines = match self {
                Self::File(path) => count_lines(path)?,
                Self::Off => return Ok(0),
                Self::Socket(sink) => sink.count.load(Ordering::Relaxed),
            };
            if lines >= expected || Instant::now() > end {
                break lines;
            }
            pause(Duration::from_millis(100))?;
        };
        match self {
            Self::File(path) if !path.exists() => {}
            // All of them append, so they go on at the new end; gigabytes of log lines would only be kept for nothing.
            Self::File(path) => OpenOptions::new()
                .write(true)
                .open(path)
                .and_then(|file| file.set_len(0))
                .with_context(|| format!("failed to empty {}", path.display()))?,
            Self::Off => {}
            Self::Socket(sink) => sink.count.store(0, Ordering::Relaxed),
        }
        Ok(lines)
    }
}

/// Whether `lines` are enough for `requests`.
pub(super) fn is_complete(lines: u64, requests: u64) -> bool {
    lines >= requests * PERMILLE_MIN / 1000
}

fn count_lines(path: &Path) -> anyhow::Result<u64> {
    use std::io::Read;
    let mut file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error).with_context(|| format!("failed to open {}", path.display())),
    };
    let mut buffer = vec![0; 1 << 20];
    let mut lines = 0;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(lines);
        }
        lines += memchr::memchr_iter(b'\n', buffer.get(..read).unwrap_or_default()).count() as u64;
    }
}

/// A datagram socket like `/dev/log`, with a thread that reads and counts what arrives.
pub(super) struct Sink {
    count: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sink {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let socket =
            UnixDatagram::bind(path).with_context(|| format!("failed to bind {}", path.display()))?;
        // The thread looks at `stop` this often.
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let count = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (count, stop) = (Arc::clone(&count), Arc::clone(&stop));
            move || {
                // The queue of a datagram socket holds 10 lines.
                hurry();
                while !stop.load(Ordering::Relaxed) {
                    if let Ok(received) = receive(&socket) {
                        count.fetch_add(received, Ordering::Relaxed);
                    }
                }
            }
        });
        Ok(Self { count, stop, thread: Some(thread) })
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// How many datagrams one system call takes in. The kernel holds 10 for such a socket, so more is of no use.
const BATCH: usize = 16;

/// Waits for datagrams and drops what is in them: the buffers are shorter than a line, which costs the sender nothing.
fn receive(socket: &UnixDatagram) -> io::Result<u64> {
    let mut bytes = [0_u8; 64];
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: all-zero is a valid mmsghdr: no name, no buffers, no control data.
    let mut headers: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
    for header in &mut headers {
        header.msg_hdr.msg_iov = &raw mut part;
        header.msg_hdr.msg_iovlen = 1;
    }
    // SAFETY: every header names one live buffer, the same for all, which nobody reads.
    let count = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            BATCH as libc::c_uint,
            libc::MSG_WAITFORONE,
            std::ptr::null_mut(),
        )
    };
    u64::try_from(count).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_counts_datagrams_until_they_are_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let log = Log::Socket(Sink::open(&path).unwrap());
        let sender = UnixDatagram::unbound().unwrap();
        for _ in 0..100 {
            sender.send_to(&[b'x'; 300], &path).unwrap();
        }
        assert_eq!(log.take(100).unwrap(), 100);
        assert_eq!(log.take(0).unwrap(), 0);
    }

    #[test]
    fn lines_of_a_file_are_taken_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, "a\nb\nc\n").unwrap();
        let log = Log::File(path);
        assert_eq!(log.take(3).unwrap(), 3);
        assert_eq!(log.take(0).unwrap(), 0);
    }

    #[test]
    fn one_request_in_two_hundred_may_lack_its_line() {
        assert!(is_complete(995, 1000));
        assert!(!is_complete(994, 1000));
    }
}
