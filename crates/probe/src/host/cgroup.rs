//! The control group of a process: limits and what they have done, in both versions of the interface (cgroups(7)).

use std::fs;
use std::path::{Path, PathBuf};

use super::process;

/// Limits and counters of a group; what is not limited or not told is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cgroup {
    pub path: String,
    pub memory_bytes: Option<u64>,
    pub memory_bytes_max: Option<u64>,
    pub oom_kills: Option<u64>,
    pub pids: Option<u64>,
    pub pids_max: Option<u64>,
    /// The share of scheduling periods in which it was throttled.
    pub throttled: Option<f64>,
    pub frozen: Option<bool>,
}

/// The group of a process.
pub fn of(pid: u32) -> Option<Cgroup> {
    let text = fs::read_to_string(process::folder(pid).join("cgroup")).ok()?;
    read(&text, Path::new("/sys/fs/cgroup"))
}

/// Reads the files of the groups that `/proc/PID/cgroup` names.
fn read(text: &str, root: &Path) -> Option<Cgroup> {
    let lines: Vec<(&str, &str)> = text
        .lines()
        .filter_map(|line| {
            let (_, rest) = line.split_once(':')?;
            rest.split_once(':')
        })
        .collect();
    let of = |controller: &str| -> Option<PathBuf> {
        let (names, path) =
            lines.iter().find(|(names, _)| names.split(',').any(|name| name == controller))?;
        let below = path.trim_start_matches('/');
        // Version 1 mounts each controller, or those that belong together, in a folder of its own.
        [controller, names].iter().map(|folder| root.join(folder).join(below)).find(|path| path.is_dir())
    };
    let unified = lines
        .iter()
        .find(|(names, _)| names.is_empty())
        .map(|(_, path)| root.join(path.trim_start_matches('/')));
    let unified = unified
        .filter(|folder| folder.join("cgroup.controllers").exists() || folder.join("memory.max").exists());
    if let Some(folder) =
        unified.filter(|folder| folder.join("memory.current").exists() || of("memory").is_none())
    {
        return Some(second(&folder));
    }
    first(of("memory"), of("pids"), of("cpu"), of("freezer"))
}

fn second(folder: &Path) -> Cgroup {
    Cgroup {
        path: folder.display().to_string(),
        memory_bytes: number(&folder.join("memory.current")),
        memory_bytes_max: number(&folder.join("memory.max")),
        oom_kills: keyed(&folder.join("memory.events"), "oom_kill"),
        pids: number(&folder.join("pids.current")),
        pids_max: number(&folder.join("pids.max")),
        throttled: throttled(&folder.join("cpu.stat")),
        frozen: keyed(&folder.join("cgroup.events"), "frozen").map(|frozen| frozen == 1),
    }
}

fn first(
    memory: Option<PathBuf>,
    pids: Option<PathBuf>,
    cpu: Option<PathBuf>,
    freezer: Option<PathBuf>,
) -> Option<Cgroup> {
    let path = memory.as_ref().or(pids.as_ref()).or(cpu.as_ref()).or(freezer.as_ref())?.display().to_string();
    let of = |folder: &Option<PathBuf>, file: &str| folder.as_ref().map(|folder| folder.join(file));
    Some(Cgroup {
        path,
        memory_bytes: of(&memory, "memory.usage_in_bytes").and_then(|file| number(&file)),
        // Without a limit it is the largest number of whole pages.
        memory_bytes_max: of(&memory, "memory.limit_in_bytes")
            .and_then(|file| number(&file))
            .filter(|max| *max < 1 << 60),
        oom_kills: of(&memory, "memory.oom_control").and_then(|file| keyed(&file, "oom_kill")),
        pids: of(&pids, "pids.current").and_then(|file| number(&file)),
        pids_max: of(&pids, "pids.max").and_then(|file| number(&file)),
        throttled: of(&cpu, "cpu.stat").and_then(|file| throttled(&file)),
        frozen: of(&freezer, "freezer.state")
            .and_then(|file| fs::read_to_string(file).ok())
            .map(|state| state.trim() == "FROZEN"),
    })
}

/// `max` is no number: there is no limit.
fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

fn keyed(file: &Path, key: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

fn throttled(file: &Path) -> Option<f64> {
    let periods = keyed(file, "nr_periods")?;
    (periods > 0).then(|| keyed(file, "nr_throttled").unwrap_or(0) as f64 / periods as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(folder).expect("a folder");
        files.iter().for_each(|(name, text)| fs::write(folder.join(name), text).expect("a file"));
    }

    #[test]
    fn both_versions_are_read() {
        let root = tempfile::tempdir().expect("a folder");
        let files = [
            ("cgroup.controllers", "memory pids\n"),
            ("memory.current", "1000\n"),
            ("memory.max", "max\n"),
            ("memory.events", "low 0\noom 3\noom_kill 2\n"),
            ("pids.current", "9\n"),
            ("pids.max", "64\n"),
            ("cpu.stat", "usage_usec 5\nnr_periods 10\nnr_throttled 4\n"),
            ("cgroup.events", "populated 1\nfrozen 0\n"),
        ];
        write(&root.path().join("system.slice/web.service"), &files);
        let group = read("0::/system.slice/web.service\n", root.path()).expect("a group");
        assert_eq!(
            (group.memory_bytes, group.memory_bytes_max, group.oom_kills),
            (Some(1000), None, Some(2))
        );
        assert_eq!((group.pids_max, group.throttled, group.frozen), (Some(64), Some(0.4), Some(false)));

        let root = tempfile::tempdir().expect("a folder");
        let memory = [
            ("memory.usage_in_bytes", "7\n"),
            ("memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"),
        ];
        write(&root.path().join("memory/web"), &memory);
        write(&root.path().join("cpu,cpuacct/web"), &[("cpu.stat", "nr_periods 0\n")]);
        write(&root.path().join("freezer/web"), &[("freezer.state", "FROZEN\n")]);
        let group =
            read("9:memory:/web\n4:cpu,cpuacct:/web\n3:freezer:/web\n0::/\n", root.path()).expect("a group");
        assert_eq!((group.memory_bytes, group.memory_bytes_max, group.oom_kills), (Some(7), None, Some(1)));
        assert_eq!((group.throttled, group.frozen), (None, Some(true)));
    }
}
