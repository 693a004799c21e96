//! What a process and all it started have used, from `/proc`: CPU time and memory.
//!
//! Times are those of `/proc/PID/stat`, which counts all threads, also those that have ended, in clock ticks; over a
//! run of seconds the tick is a rounding error. Memory of the kernel (socket buffers) is not in it.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, bail};

/// A process, told from a later one with the same id by its start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    pub(crate) pid: u32,
    started: u64,
}

/// Memory of a process tree in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// Resident, pages that processes share counted in each.
    pub(crate) rss: u64,
    /// Of that, heaps and stacks, pages that the tree shares since a fork counted once. Unlike RSS or PSS it does not
    /// depend on who else runs the same program.
    pub(crate) anonymous: u64,
}

/// The fields of `/proc/PID/stat` that matter here; times in ticks.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    own: u64,
    /// Of children that ended and were waited for.
    reaped: u64,
    started: u64,
}

/// The process with all its living descendants.
pub(crate) fn tree(root: u32) -> Vec<Member> {
    members(root).into_iter().map(|(pid, stat)| Member { pid, started: stat.started }).collect()
}

pub(crate) fn is_alive(member: &Member) -> bool {
    read_stat(member.pid).is_some_and(|stat| stat.started == member.started)
}

/// User and system time of the process and its descendants since their start.
pub(crate) fn cpu(root: u32) -> anyhow::Result<Duration> {
    let members = members(root);
    if members.is_empty() {
        bail!("process {root} has ended");
    }
    let ticks: u64 = members.iter().map(|(_, stat)| stat.own + stat.reaped).sum();
    // SAFETY: sysconf touches no memory of ours.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    let per_second = u64::try_from(per_second).context("failed to read the length of a clock tick")?;
    Ok(Duration::from_micros(ticks * 1_000_000 / per_second))
}

pub(crate) fn memory(root: u32) -> anyhow::Result<Memory> {
    let mut sum = Memory { rss: 0, anonymous: 0 };
    for (pid, _) in members(root) {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
        sum.rss += kilobytes(&text, "Rss:")?;
        sum.anonymous += kilobytes(&text, "Pss_Anon:")?;
    }
    if sum.rss == 0 {
        bail!("process {root} has ended");
    }
    Ok(sum)
}

fn kilobytes(text: &str, name: &str) -> anyhow::Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(number.with_context(|| format!("failed to find '{name}' in smaps_rollup"))? * 1024)
}

fn members(root: u32) -> Vec<(u32, Stat)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut all: BTreeMap<u32, Stat> = pids.filter_map(|pid| Some((pid, read_stat(pid)?))).collect();
    let mut found = Vec::new();
    let mut waiting = vec![root];
    while let Some(pid) = waiting.pop() {
        waiting.extend(all.iter().filter(|(_, stat)| stat.parent == pid).map(|(pid, _)| *pid));
        found.extend(all.remove_entry(&pid));
    }
    found
}

/// `None` when there is no such process, or only its name is left until its parent asks for it.
fn read_stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The second field is the name in parentheses, and may hold spaces and parentheses itself.
    let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
    // Numbered as in proc(5), where the state after the name is field 3.
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    if fields.first() == Some(&"Z") {
        return None;
    }
    Some(Stat {
        parent: u32::try_from(number(4)?).ok()?,
        own: number(14)? + number(15)?,
        reaped: number(16)? + number(17)?,
        started: number(22)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let text = "42 (a) b (c) S 7 42 42 0 -1 4194560 1 2 3 4 100 20 3 4 20 0 1 0 999 1 2 3";
        assert_eq!(parse_stat(text), Some(Stat { parent: 7, own: 120, reaped: 7, started: 999 }));
    }

    #[test]
    fn a_zombie_is_not_alive() {
        let text = "42 (a) Z 7 42 42 0 -1 4194560 1 2 3 4 100 20 3 4 20 0 1 0 999 1 2 3";
        assert_eq!(parse_stat(text), None);
    }

    #[test]
    fn this_process_has_used_memory_and_a_tree() {
        let own = std::process::id();
        let used = memory(own).unwrap();
        assert!(used.anonymous > 0 && used.rss > used.anonymous, "{used:?}");
        assert!(tree(own).iter().any(|member| member.pid == own && is_alive(member)));
        assert!(cpu(own).is_ok());
    }
}
