//! Counters of the kernel: `/proc/net/netstat` and `snmp`, pressure, connection tracking, ports.

use std::fs;

/// A counter of `/proc/net/netstat` or `/proc/net/snmp`, as `nstat` names it: `TcpExtListenOverflows`, `TcpRetransSegs`.
pub fn counter(name: &str) -> Option<u64> {
    ["/proc/self/net/netstat", "/proc/self/net/snmp"]
        .iter()
        .find_map(|path| parse(&fs::read_to_string(path).ok()?, name))
}

/// Pairs of lines: names, then values, each beginning with the same word.
fn parse(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines();
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let (prefix, names) = names.split_once(':')?;
        let Some(wanted) = name.strip_prefix(prefix) else { continue };
        let (_, values) = values.split_once(':')?;
        let at = names.split_whitespace().position(|known| known == wanted);
        if let Some(value) = at.and_then(|at| values.split_whitespace().nth(at)) {
            return value.parse().ok();
        }
    }
    None
}

/// The shares of the last ten seconds in which some, and all, tasks waited for `cpu`, `memory` or `io`.
pub fn pressure(resource: &str) -> Option<(f64, f64)> {
    let text = fs::read_to_string(format!("/proc/pressure/{resource}")).ok()?;
    let of = |kind: &str| {
        let line = text.lines().find(|line| line.starts_with(kind))?;
        line.split_once("avg10=")?.1.split(' ').next()?.parse().ok()
    };
    Some((of("some")?, of("full").unwrap_or(0.0)))
}

/// Entries of the connection tracking table, and how many it holds.
pub fn conntrack() -> Option<(u64, u64)> {
    let read =
        |name: &str| fs::read_to_string(format!("/proc/sys/net/netfilter/{name}")).ok()?.trim().parse().ok();
    Some((read("nf_conntrack_count")?, read("nf_conntrack_max")?))
}

/// The first and the last local port for connections.
pub fn local_ports() -> Option<(u32, u32)> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut ports = text.split_whitespace().map(str::parse);
    Some((ports.next()?.ok()?, ports.next()?.ok()?))
}

/// A value of `/proc/sys`.
pub fn sysctl(path: &str) -> Option<u64> {
    fs::read_to_string(format!("/proc/sys/{path}")).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_their_names() {
        let text = "TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 0 7 9\nIpExt: InNoRoutes\nIpExt: 3\n";
        assert_eq!(parse(text, "TcpExtListenOverflows"), Some(7));
        assert_eq!(parse(text, "IpExtInNoRoutes"), Some(3));
        assert_eq!(parse(text, "TcpExtNothing"), None);
        assert!(counter("TcpRetransSegs").is_some());
    }
}
