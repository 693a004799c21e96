//! Processes, from `/proc` (proc(5)).

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use model::Moment;

use super::product::{self, Product};

/// Processes that are looked at; a machine with more is beyond a diagnosis of seconds.
const PROCESSES_MAX: usize = 20_000;
/// Descriptors of one process that are looked at.
const DESCRIPTORS_MAX: usize = 100_000;

/// One process.
#[derive(Clone, Debug)]
pub struct Process {
    pub pid: u32,
    pub ppid: u32,
    /// The name the kernel knows it by, at most 15 characters.
    pub name: String,
    pub command: Vec<String>,
    pub exe: Option<PathBuf>,
    /// R, S, D, T, Z.
    pub state: char,
    pub threads: u32,
    pub rss_bytes: u64,
    /// When it started.
    pub started: Option<Moment>,
    pub uid: u32,
    pub gid: u32,
    pub netns: Option<u64>,
    pub product: Option<Product>,
}

/// All processes that can be seen.
pub fn all() -> BTreeMap<u32, Process> {
    let boot = boot_time();
    let pids = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.take(PROCESSES_MAX).filter_map(|pid| read(pid, boot)).map(|process| (process.pid, process)).collect()
}

/// Reads one process; `None` once it is gone.
pub fn read(pid: u32, boot: Option<Moment>) -> Option<Process> {
    let folder = folder(pid);
    let stat = parse_stat(&fs::read_to_string(folder.join("stat")).ok()?)?;
    let status = fs::read_to_string(folder.join("status")).unwrap_or_default();
    let id = |name: &str| field(&status, name).and_then(|ids| ids.split_whitespace().nth(1)?.parse().ok());
    let command = fs::read(folder.join("cmdline")).unwrap_or_default();
    let command: Vec<String> = command
        .split(|byte| *byte == 0)
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect::<Vec<_>>();
    let command = trimmed(command);
    let exe = fs::read_link(folder.join("exe")).ok();
    let product = product::of(&stat.name, &command, exe.as_deref());
    // SAFETY: sysconf reads a constant of the system.
    let (ticks, page) = unsafe { (libc::sysconf(libc::_SC_CLK_TCK), libc::sysconf(libc::_SC_PAGESIZE)) };
    Some(Process {
        pid,
        ppid: stat.ppid,
        name: stat.name,
        command,
        exe,
        state: stat.state,
        threads: stat.threads,
        rss_bytes: stat.rss_pages.saturating_mul(page.max(1) as u64),
        started: boot.map(|boot| boot.plus_seconds(stat.start_ticks as f64 / ticks.max(1) as f64)),
        uid: id("Uid").unwrap_or(0),
        gid: id("Gid").unwrap_or(0),
        netns: namespace(pid, "net"),
        product,
    })
}

/// Titles that a process gave itself leave empty words behind.
fn trimmed(mut words: Vec<String>) -> Vec<String> {
    while words.last().is_some_and(String::is_empty) {
        words.pop();
    }
    words
}

pub(crate) fn folder(pid: u32) -> PathBuf {
    Path::new("/proc").join(pid.to_string())
}

/// What of `/proc/PID/stat` is used.
struct Stat {
    name: String,
    state: char,
    ppid: u32,
    threads: u32,
    start_ticks: u64,
    rss_pages: u64,
}

/// The name stands in parentheses and may hold some itself: the last one ends it.
fn parse_stat(text: &str) -> Option<Stat> {
    let (before, rest) = text.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
    Some(Stat {
        name: name.to_owned(),
        state: fields.first()?.chars().next()?,
        ppid: number(1)? as u32,
        threads: number(17)? as u32,
        start_ticks: number(19)?,
        rss_pages: number(21)?,
    })
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

/// When the machine started.
pub fn boot_time() -> Option<Moment> {
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let seconds: f64 = uptime.split(' ').next()?.parse().ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some(Moment(now.as_millis() as i64).plus_seconds(-seconds))
}

/// The inode of a namespace.
pub fn namespace(pid: u32, kind: &str) -> Option<u64> {
    let link = fs::read_link(folder(pid).join("ns").join(kind)).ok()?;
    link.to_str()?.split_once('[')?.1.strip_suffix(']')?.parse().ok()
}

/// The inodes of the sockets that a process has open; `None` where it may not be looked into.
pub fn sockets_of(pid: u32) -> Option<Vec<u64>> {
    let entries = match fs::read_dir(folder(pid).join("fd")) {
        Ok(entries) => entries,
        // Gone since: nothing is hidden.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Some(Vec::new()),
        Err(_) => return None,
    };
    let links = entries.flatten().take(DESCRIPTORS_MAX).filter_map(|entry| fs::read_link(entry.path()).ok());
    Some(
        links
            .filter_map(|link| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok())
            .collect(),
    )
}

/// How many descriptors it has open, and how many it may.
pub fn descriptors(pid: u32) -> Option<(usize, u64)> {
    let open = fs::read_dir(folder(pid).join("fd")).ok()?.take(DESCRIPTORS_MAX).count();
    let limits = fs::read_to_string(folder(pid).join("limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    Some((open, line.split_whitespace().next()?.parse().ok()?))
}

/// How many of its descriptors are of one and the same file, for the file with the most; devices do not count.
pub fn same_file(pid: u32) -> Option<usize> {
    let mut counts: HashMap<PathBuf, usize> = HashMap::new();
    for entry in fs::read_dir(folder(pid).join("fd")).ok()?.flatten().take(DESCRIPTORS_MAX) {
        if let Ok(path) = fs::read_link(entry.path())
            && path.starts_with("/")
            && !path.starts_with("/dev")
        {
            *counts.entry(path).or_default() += 1;
        }
    }
    counts.into_values().max()
}

/// Where it writes standard output and standard error, if those are files.
pub fn output_files(pid: u32) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = ["1", "2"]
        .iter()
        .filter_map(|number| fs::read_link(folder(pid).join("fd").join(number)).ok())
        .filter(|path| {
            path.starts_with("/")
                && !path.starts_with("/dev")
                && !path.to_string_lossy().ends_with(" (deleted)")
        })
        .collect();
    files.dedup();
    files
}

/// Files that it has open for writing at their end, as logs are.
pub fn appended_files(pid: u32) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder(pid).join("fd")) else { return Vec::new() };
    let mut files = Vec::new();
    for entry in entries.flatten().take(DESCRIPTORS_MAX) {
        let info = folder(pid).join("fdinfo").join(entry.file_name());
        let flags = fs::read_to_string(info)
            .ok()
            .and_then(|info| u32::from_str_radix(field(&info, "flags")?.trim(), 8).ok());
        if flags.is_some_and(|flags| flags & libc::O_APPEND as u32 != 0)
            && let Ok(path) = fs::read_link(entry.path())
            && path.starts_with("/")
            && !path.starts_with("/dev")
            && !path.starts_with("/memfd:")
        {
            files.push(path);
        }
    }
    files.sort();
    files.dedup();
    files
}

/// What a thread waits for in the kernel; empty where it may not be seen or it runs.
pub fn wchan(pid: u32, thread: u32) -> Option<String> {
    let wchan = fs::read_to_string(folder(pid).join("task").join(thread.to_string()).join("wchan")).ok()?;
    Some(wchan).filter(|wchan| !wchan.is_empty() && wchan != "0")
}

/// What a thread waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// recv, accept, poll, lock, sleep, disk, send, running, other.
    pub kind: &'static str,
    /// The system call or the place in the kernel.
    pub call: String,
    /// The descriptor that the call is about.
    pub descriptor: Option<u32>,
}

/// By `/proc/PID/task/TID/syscall` where that may be read, else by the name of the place in the kernel; `None` where neither
/// may.
pub fn thread_wait(pid: u32, thread: u32) -> Option<Wait> {
    let folder = folder(pid).join("task").join(thread.to_string());
    let state = parse_stat(&fs::read_to_string(folder.join("stat")).ok()?)?.state;
    if state == 'R' {
        return Some(Wait { kind: "running", call: "running".to_owned(), descriptor: None });
    }
    if matches!(state, 'T' | 't') {
        return Some(Wait { kind: "stopped", call: "stopped".to_owned(), descriptor: None });
    }
    let place = fs::read_to_string(folder.join("wchan")).unwrap_or_default();
    let place = if place == "0" { String::new() } else { place };
    let Ok(call) = fs::read_to_string(folder.join("syscall")) else {
        return (!place.is_empty()).then(|| Wait {
            kind: of_place(&place),
            call: place.clone(),
            descriptor: None,
        });
    };
    let mut words = call.split_whitespace();
    let number: i64 = words.next()?.parse().ok()?;
    let mut arguments = words.map_while(|word| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok());
    let (first, second) = (arguments.next(), arguments.next());
    let (kind, name) = of_call(number);
    let (kind, descriptor) = match (kind, first, second) {
        ("recv" | "send" | "accept" | "connect", Some(first), _) => (kind, u32::try_from(first).ok()),
        // Libraries that wait with a limit poll the one socket that they then read.
        ("poll", Some(address), Some(1)) if matches!(name, "poll" | "ppoll") => match polled(pid, address) {
            Some((descriptor, reads)) if socket_at(pid, descriptor).is_some() => {
                (if reads { "recv" } else { "send" }, Some(descriptor))
            }
            _ => (kind, None),
        },
        _ => (kind, None),
    };
    // A read of a pipe or file is no reception: the place in the kernel tells.
    let kind = if kind == "recv" && place.contains("pipe") { "poll" } else { kind };
    Some(Wait {
        kind,
        call: if place.is_empty() { name.to_owned() } else { format!("{name}, {place}") },
        descriptor,
    })
}

/// The only descriptor that a call of `poll` waits for, and whether it waits to read: from the memory of the process, which is
/// not stopped for it.
fn polled(pid: u32, address: u64) -> Option<(u32, bool)> {
    use std::os::unix::fs::FileExt;
    let memory = fs::File::open(folder(pid).join("mem")).ok()?;
    let mut entry = [0; 8];
    memory.read_exact_at(&mut entry, address).ok()?;
    let [a, b, c, d, e, f, ..] = entry;
    let events = i16::from_ne_bytes([e, f]);
    Some((u32::try_from(i32::from_ne_bytes([a, b, c, d])).ok()?, events & libc::POLLIN != 0))
}

/// What a system call waits for.
fn of_call(number: i64) -> (&'static str, &'static str) {
    match number {
        libc::SYS_read => ("recv", "read"),
        libc::SYS_recvfrom => ("recv", "recvfrom"),
        libc::SYS_recvmsg => ("recv", "recvmsg"),
        libc::SYS_readv => ("recv", "readv"),
        libc::SYS_write => ("send", "write"),
        libc::SYS_sendto => ("send", "sendto"),
        libc::SYS_sendmsg => ("send", "sendmsg"),
        libc::SYS_writev => ("send", "writev"),
        libc::SYS_accept4 => ("accept", "accept4"),
        libc::SYS_accept => ("accept", "accept"),
        libc::SYS_connect => ("connect", "connect"),
        libc::SYS_futex => ("lock", "futex"),
        libc::SYS_nanosleep => ("sleep", "nanosleep"),
        libc::SYS_clock_nanosleep => ("sleep", "clock_nanosleep"),
        libc::SYS_epoll_pwait => ("poll", "epoll_pwait"),
        libc::SYS_ppoll => ("poll", "ppoll"),
        libc::SYS_pselect6 => ("poll", "pselect6"),
        libc::SYS_wait4 => ("wait", "wait4"),
        libc::SYS_waitid => ("wait", "waitid"),
        libc::SYS_flock => ("lock", "flock"),
        libc::SYS_fcntl => ("lock", "fcntl"),
        libc::SYS_fsync => ("disk", "fsync"),
        libc::SYS_fdatasync => ("disk", "fdatasync"),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_poll => ("poll", "poll"),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_select => ("poll", "select"),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_epoll_wait => ("poll", "epoll_wait"),
        -1 => ("running", "no system call"),
        _ => ("other", "another system call"),
    }
}

fn of_place(place: &str) -> &'static str {
    const PLACES: &[(&str, &str)] = &[
        ("nanosleep", "sleep"),
        ("futex", "lock"),
        ("ep_poll", "poll"),
        ("poll", "poll"),
        ("select", "poll"),
        ("inet_csk_accept", "accept"),
        ("accept", "accept"),
        ("sk_wait_data", "recv"),
        ("wait_woken", "recv"),
        ("unix_stream_read", "recv"),
        ("recv", "recv"),
        ("sk_stream_wait", "send"),
        ("pipe", "poll"),
        ("io_schedule", "disk"),
        ("do_wait", "wait"),
    ];
    PLACES.iter().find(|(part, _)| place.contains(part)).map_or("other", |(_, kind)| kind)
}

/// The inode of the socket at a descriptor.
pub fn socket_at(pid: u32, descriptor: u32) -> Option<u64> {
    let link = fs::read_link(folder(pid).join("fd").join(descriptor.to_string())).ok()?;
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// The threads of a process, the main one first.
pub fn threads(pid: u32) -> Vec<u32> {
    let entries = fs::read_dir(folder(pid).join("task")).into_iter().flatten().flatten();
    let mut threads: Vec<u32> =
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    threads.sort_unstable();
    threads
}

/// Names and values of its environment; `None` where it may not be looked into.
pub fn environment(pid: u32) -> Option<Vec<(String, String)>> {
    let bytes = fs::read(folder(pid).join("environ")).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    Some(
        text.split('\0')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
    )
}

/// The folder it works in.
pub fn working_directory(pid: u32) -> Option<PathBuf> {
    fs::read_link(folder(pid).join("cwd")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_hold_parentheses() {
        let stat = parse_stat("42 (a) (b)) S 7 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 3 0 12345 1000 77 1 1")
            .expect("a line");
        assert_eq!(
            (stat.name.as_str(), stat.state, stat.ppid, stat.threads, stat.start_ticks, stat.rss_pages),
            ("a) (b)", 'S', 7, 3, 12345, 77)
        );
        assert!(parse_stat("42 (a S 7").is_none());
    }

    #[test]
    fn this_process_is_seen() {
        let own = all().remove(&std::process::id()).expect("this process");
        assert!(own.exe.is_some() && own.rss_bytes > 0 && own.started.is_some());
        assert_eq!(own.netns, namespace(std::process::id(), "net"));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
        let inode: u64 = {
            use std::os::fd::AsRawFd;
            let link = fs::read_link(format!("/proc/self/fd/{}", listener.as_raw_fd())).expect("a link");
            link.to_str()
                .and_then(|link| link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok())
                .expect("an inode")
        };
        assert!(sockets_of(std::process::id()).expect("own descriptors").contains(&inode));
    }
}
