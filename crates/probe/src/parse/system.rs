//! Logs of the system: the kernel's messages and systemd's, from a file, `dmesg`, or `journalctl`.

use model::evidence::Place;
use model::{Evidence, Moment};

use super::pattern::{Table, patterns};
use super::{Lines, clock};

/// Messages of mm/oom_kill.c, arch/*/mm/fault.c, net/ipv4/tcp_input.c, net/netfilter, net/core/neighbour.c, and of audit.
pub(crate) static KERNEL: Table = Table::new(patterns! {
    "kernel.oom-kill-cgroup" "the kernel killed a process at the memory limit of its group" { "name" "rss" } "Memory cgroup out of memory" r"Killed process (?<pid>\d+) \((?<name>[^)]*)\)(?:.*anon-rss:(?<rss>\d+)kB)?"
    "kernel.oom-kill-host" "the kernel killed a process because the machine had no memory left" { "name" "rss" } "Out of memory: Killed process" r"Killed process (?<pid>\d+) \((?<name>[^)]*)\)(?:.*anon-rss:(?<rss>\d+)kB)?"
    "kernel.oom-details" "what the kernel looked at before it killed" { "constraint" "cgroup" "name" } "oom-kill:constraint=" r"constraint=(?<constraint>\w+)(?:.*?oom_memcg=(?<cgroup>[^,]*))?.*?,task=(?<name>[^,]*),pid=(?<pid>\d+)"
    "kernel.segfault" "a process crashed" { "name" "library" } "segfault at" r"(?<name>\S+)\[(?<pid>\d+)\]: segfault at .*?(?: in (?<library>[^\[ ]+))?(?:\[|$)"
    "kernel.invalid-opcode" "a process used an instruction that the CPU does not have" { "name" "library" } "invalid opcode" r"(?<name>\S+)\[(?<pid>\d+)\] trap invalid opcode.*?(?: in (?<library>[^\[ ]+))?(?:\[|$)"
    "kernel.syn-flood" "more half-open connections than a port's queue holds" { "port" } "Possible SYN flooding on port" r"on port (?:\S*:)?(?<port>\d+)"
    "kernel.conntrack-full" "the table of tracked connections is full" { } "nf_conntrack: table full" ""
    "kernel.neighbour-overflow" "the neighbour table is full" { } "neighbor table overflow" ""
    "kernel.avc-denied" "SELinux forbade something" { "action" "name" "port" "context" } "avc:  denied" r#"\{ (?<action>[a-z_ ]+?) \}.*?pid=(?<pid>\d+).*?comm="(?<name>[^"]*)"(?:.*?dest=(?<port>\d+))?(?:.*?scontext=(?<context>\S+))?"#
    "kernel.avc-denied" "the same with one blank" { "action" "name" "port" "context" } "avc: denied" r#"\{ (?<action>[a-z_ ]+?) \}(?:.*?pid=(?<pid>\d+))?.*?comm="(?<name>[^"]*)"(?:.*?dest=(?<port>\d+))?(?:.*?scontext=(?<context>\S+))?"#
    "kernel.apparmor-denied" "AppArmor forbade something" { "operation" "name" } "apparmor=\"DENIED\"" r#"operation="(?<operation>[^"]*)".*?comm="(?<name>[^"]*)""#
    "kernel.disk-error" "a disk failed" { "device" } "I/O error, dev" r"dev (?<device>\w+)"
    "kernel.hung-task" "a task waits for the disk for minutes" { "name" } "blocked for more than" r"task (?<name>[^:]+):(?<pid>\d+) blocked"
});

/// Messages of systemd about units (core/service.c).
pub(crate) static SYSTEMD: Table = Table::new(patterns! {
    "systemd.exited" "the main process of a unit ended" { "unit" "code" "status" } "Main process exited" r"(?<unit>\S+\.service): Main process exited, code=(?<code>\w+), status=(?<status>\S+)"
    "systemd.failed" "a unit failed" { "unit" "result" } "Failed with result" r"(?<unit>\S+\.service): Failed with result '(?<result>[^']+)'"
    "systemd.restart" "a unit is started again" { "unit" "count" "restarts" } "restart counter is at" r"(?<unit>\S+\.service): .*restart counter is at (?<restarts>\d+)"
    "systemd.gave-up" "a unit failed too often" { "unit" } "Start request repeated too quickly" r"(?<unit>\S+\.service): Start request repeated"
    "systemd.exec-failed" "a unit could not start its program: 203 program, 200 folder, 217 user" { "unit" "status" } "Failed at step" r"(?<unit>\S+\.service): Failed at step (?<status>\w+)"
    "systemd.oom-kill" "a process of a unit was killed for its memory" { "unit" } "killed by the OOM killer" r"(?<unit>\S+\.service): .*killed by the OOM killer"
    "systemd.stopped" "a unit was stopped" { "unit" } "Stopped" r"Stopped (?<unit>\S+)"
    "systemd.started" "a unit was started" { "unit" } "Started" r"^Started (?<unit>\S+)"
});

/// Seconds since the machine started, as `dmesg` writes them, need the start to be times.
pub(crate) fn read(lines: &Lines<'_>, out: &mut Vec<Evidence>) {
    // Documents are for `envelope`.
    for (number, line) in lines.iter().filter(|(_, line)| !line.starts_with('{')) {
        let Some((time, unit_of, message)) = head(line, lines) else { continue };
        let source = match unit_of {
            Origin::Kernel => "kernel log",
            Origin::Systemd | Origin::Other => "system log",
        };
        let found = match unit_of {
            Origin::Kernel => KERNEL.read(message),
            Origin::Systemd => SYSTEMD.read(message),
            Origin::Other => KERNEL.read(message).or_else(|| SYSTEMD.read(message)),
        };
        if let Some(evidence) = found {
            let source = if evidence.kind.starts_with("kernel.") { "kernel log" } else { source };
            out.push(evidence.text(line).from(source).at(Place::file(lines.path, number)).time(time));
        }
    }
}

pub(crate) fn time(line: &str, lines: &Lines<'_>) -> Option<Moment> {
    head(line, lines)?.0
}

#[derive(Clone, Copy)]
enum Origin {
    Kernel,
    Systemd,
    Other,
}

/// Time, who speaks, and the message, of `[ 8123.12] text`, `2026-11-23T07:08:00+00:00 host kernel: text`,
/// `Nov 23 07:08:00 host systemd[1]: text` and `6,1234,8123120000,-;text` of /dev/kmsg.
fn head<'a>(line: &'a str, lines: &Lines<'_>) -> Option<(Option<Moment>, Origin, &'a str)> {
    if let Some((fields, message)) = line.split_once(';')
        && let Some(micros) = fields.split(',').nth(2).and_then(|micros| micros.parse::<f64>().ok())
    {
        let time = lines.boot.map(|boot| boot.plus_seconds(micros / 1e6));
        return Some((time, Origin::Kernel, message));
    }
    if let Some(rest) = line.strip_prefix('[')
        && let Some((stamp, message)) = rest.split_once(']')
        && let Ok(seconds) = stamp.trim().parse::<f64>()
    {
        return Some((
            lines.boot.map(|boot| boot.plus_seconds(seconds)),
            Origin::Kernel,
            message.trim_start(),
        ));
    }
    let (time, rest) =
        match clock::iso(line, lines.zone).or_else(|| clock::syslog(line, lines.zone, lines.now)) {
            Some((time, rest)) => (Some(time), rest.trim_start()),
            None => return Some((None, Origin::Other, line)),
        };
    let (_host, rest) = rest.split_once(' ')?;
    let (who, message) = rest.split_once(": ")?;
    let origin = match who.split('[').next() {
        Some("kernel") => Origin::Kernel,
        Some("systemd") => Origin::Systemd,
        _ => Origin::Other,
    };
    // The kernel's own seconds stand within the line of syslog.
    let message = match message.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((stamp, rest)) if stamp.trim().parse::<f64>().is_ok() => rest.trim_start(),
        _ => message,
    };
    Some((time, origin, message))
}

pub(crate) fn sniff(line: &str) -> bool {
    let kernel_ring = line
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
        .is_some_and(|(stamp, _)| stamp.trim().parse::<f64>().is_ok());
    let record = line.split_once(';').is_some_and(|(fields, _)| {
        let mut numbers = fields.split(',');
        (0..3).all(|_| numbers.next().is_some_and(|number| number.parse::<u64>().is_ok()))
    });
    kernel_ring || record || line.contains(" kernel: ") || line.contains(" systemd[1]: ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_patterns_hold() {
        super::super::pattern::check(&KERNEL);
        super::super::pattern::check(&SYSTEMD);
    }
}
