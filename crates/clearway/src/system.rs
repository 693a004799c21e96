//! What the process asks of the system: descriptors, signals, and how much it uses.

use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Raises the limit of open files to what the system allows: each proxied request needs two. Returns the limit.
pub(crate) fn raise_open_files_limit() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live local of the right type, for both calls.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) != 0 {
            return None;
        }
        let before = limit.rlim_cur;
        limit.rlim_cur = limit.rlim_max;
        if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) != 0 {
            limit.rlim_cur = before;
        }
    }
    Some(limit.rlim_cur)
}

/// Turns huge pages off: the allocator's arenas are mostly untouched, and a huge page around each touched part of them
/// makes a process that rests in 13 MiB one of 27 MiB. To be called before there is much memory.
pub(crate) fn turn_huge_pages_off() {
    // SAFETY: the call takes numbers only. Where it is not known, nothing changes.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
}

/// A file that reaches the limit of file sizes (ulimit -f) is a full disk for whoever writes it, not the end of the process.
pub(crate) fn survive_file_size_limit() {
    // SAFETY: to ignore a signal takes no function of ours.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// Signals to stop end the process from now on, as if nobody had ever listened for them.
pub(crate) fn die_of_signals() {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: the default action is no function of ours, and the runtime's handler that it replaces stays loaded.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// The user the process acts as.
pub(crate) fn user_id() -> u32 {
    // SAFETY: the call takes nothing, cannot fail, and touches no memory of ours.
    unsafe { libc::geteuid() }
}

/// From now on what is said to standard error goes here.
pub(crate) fn replace_standard_error(by: BorrowedFd<'_>) -> std::io::Result<()> {
    // SAFETY: the call takes numbers only; nobody here closes the descriptor 2.
    match unsafe { libc::dup2(by.as_raw_fd(), libc::STDERR_FILENO) } {
        -1 => Err(std::io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Sends a signal to another process, which may be gone.
pub(crate) fn signal(pid: u32, signal: i32) {
    if let Ok(pid) = i32::try_from(pid) {
        // SAFETY: the call takes numbers only.
        unsafe { libc::kill(pid, signal) };
    }
}

/// A descriptor that was passed to this process is not passed on. Fails if it is not open.
pub(crate) fn close_in_children(descriptor: i32) -> std::io::Result<()> {
    // SAFETY: the call takes numbers only.
    match unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) } {
        -1 => Err(std::io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// What the process uses, as `/proc` says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    pub(crate) cpu_seconds: f64,
    pub(crate) resident_bytes: u64,
    pub(crate) virtual_bytes: u64,
    pub(crate) open_files: u64,
    pub(crate) threads: u64,
}

impl Usage {
    /// `None` where there is no `/proc`.
    pub(crate) fn now() -> Option<Usage> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let open_files = fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
        Usage::parse(&stat, open_files, page_bytes(), ticks_per_second())
    }

    /// proc_pid_stat(5): the name in parentheses may hold anything; fields after it are counted from 3.
    fn parse(stat: &str, open_files: u64, page_bytes: u64, ticks_per_second: u64) -> Option<Usage> {
        let (_, rest) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Usage {
            cpu_seconds: (field(14)? + field(15)?) as f64 / ticks_per_second as f64,
            resident_bytes: field(24)? * page_bytes,
            virtual_bytes: field(23)?,
            open_files,
            threads: field(20)?,
        })
    }
}

fn page_bytes() -> u64 {
    // SAFETY: the call only reads a number.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

fn ticks_per_second() -> u64 {
    // SAFETY: the call only reads a number.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).unwrap_or(100).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_found_behind_a_hostile_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 5 0 100 4096000 300 1 1 1";
        let usage = Usage::parse(stat, 9, 4096, 100);
        let expect = Usage {
            cpu_seconds: 3.0,
            resident_bytes: 300 * 4096,
            virtual_bytes: 4_096_000,
            open_files: 9,
            threads: 5,
        };
        assert_eq!(usage, Some(expect));
        assert_eq!(Usage::parse("7 (a", 0, 4096, 100), None);
    }
}
