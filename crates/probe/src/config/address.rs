//! Addresses as configurations write them, and when a server's address is the one a proxy sends to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address with its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Ip(IpAddr, u16),
    Name(String, u16),
    Unix(String),
}

impl Address {
    /// Reads `127.0.0.1:8000`, `[::1]:8000`, `name:8000`, `:8000`, `*:8000`, `unix:/run/app.sock`; the port where none is written
    /// is `port`. `None` for what is not known before run time.
    pub fn parse(text: &str, port: Option<u16>) -> Option<Address> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.trim_start_matches("//");
            let path = if path.starts_with(['/', '@', '.']) { path.to_owned() } else { format!("/{path}") };
            return (path.len() > 1).then_some(Address::Unix(path));
        }
        if text.contains(['$', '{', '%', '<', ' ', '/']) {
            return None;
        }
        let (host, written) = split(text)?;
        let port = match written {
            Some(written) => written.parse().ok()?,
            None => port?,
        };
        Some(match host {
            "" | "*" => Address::Ip(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port),
            host => match host.trim_start_matches('[').trim_end_matches(']').parse() {
                Ok(ip) => Address::Ip(ip, port),
                Err(_) => Address::Name(host.to_ascii_lowercase(), port),
            },
        })
    }

    pub fn port(&self) -> Option<u16> {
        match self {
            Address::Ip(_, port) | Address::Name(_, port) => Some(*port),
            Address::Unix(_) => None,
        }
    }

    /// The addresses that a connection to it tries: `localhost` is one of each family.
    pub fn tried(&self) -> Vec<Address> {
        match self {
            Address::Name(name, port) if name == "localhost" => vec![
                Address::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST), *port),
                Address::Ip(IpAddr::V6(Ipv6Addr::LOCALHOST), *port),
            ],
            other => vec![other.clone()],
        }
    }

    /// Whether a socket bound to this address surely gets what is sent to `target`, both on one host.
    pub fn covers(&self, target: &Address) -> bool {
        match (self, target) {
            (Address::Unix(bound), Address::Unix(path)) => bound == path,
            (Address::Ip(bound, port), Address::Ip(ip, target)) if port == target => {
                let loopback = ip.is_loopback();
                match bound {
                    IpAddr::V4(bound) if bound.is_unspecified() => {
                        ip.is_ipv4() && loopback || *ip == IpAddr::V4(*bound)
                    }
                    // Linux binds `::` for both families unless told otherwise.
                    IpAddr::V6(bound) if bound.is_unspecified() => loopback || ip.is_unspecified(),
                    bound => bound == ip,
                }
            }
            (Address::Name(bound, port), Address::Name(name, target)) => bound == name && port == target,
            (Address::Name(..), Address::Ip(..)) => {
                self.tried().iter().any(|tried| tried != self && tried.covers(target))
            }
            _ => false,
        }
    }

    /// Whether it takes connections of other hosts, under whatever address they know it.
    pub fn is_open(&self) -> bool {
        matches!(self, Address::Ip(ip, _) if ip.is_unspecified())
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Ip(IpAddr::V4(ip), port) => write!(f, "{ip}:{port}"),
            Address::Ip(IpAddr::V6(ip), port) => write!(f, "[{ip}]:{port}"),
            Address::Name(name, port) => write!(f, "{name}:{port}"),
            Address::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

/// Host and port. An IPv6 address without brackets has no port.
fn split(text: &str) -> Option<(&str, Option<&str>)> {
    if text.starts_with('[') != text.contains(']') {
        return None;
    }
    if let Some(end) = text.rfind(']') {
        let (host, rest) = text.split_at(end + 1);
        return match rest.strip_prefix(':') {
            Some(port) => Some((host, Some(port))),
            None => rest.is_empty().then_some((host, None)),
        };
    }
    match text.matches(':').count() {
        0 => Some((text, None)),
        1 => text.split_once(':').map(|(host, port)| (host, Some(port))),
        _ => Some((text, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        let check = |text: &str, expected: &str| {
            let shown =
                Address::parse(text, Some(80)).map_or("none".to_owned(), |address| address.to_string());
            assert_eq!(shown, expected, "{text}");
        };
        check("127.0.0.1:8000", "127.0.0.1:8000");
        check("127.0.0.1", "127.0.0.1:80");
        check("[::1]:8000", "[::1]:8000");
        check("::1", "[::1]:80");
        check(":8000", "0.0.0.0:8000");
        check("*:8000", "0.0.0.0:8000");
        check("App.Internal:8000", "app.internal:8000");
        check("unix:/run/app.sock", "unix:/run/app.sock");
        check("unix:///run/app.sock", "unix:/run/app.sock");
        check("unix:run/app.sock", "unix:/run/app.sock");
        check("$backend", "none");
        check("host:99999", "none");
        check("[::1", "none");
    }

    #[test]
    fn a_bind_covers_what_reaches_it() {
        let check = |bind: &str, target: &str, expected: bool| {
            let address = |text| Address::parse(text, None).unwrap();
            assert_eq!(address(bind).covers(&address(target)), expected, "{bind} {target}");
        };
        check("0.0.0.0:8000", "127.0.0.1:8000", true);
        check("0.0.0.0:8000", "127.0.0.1:8001", false);
        check("0.0.0.0:8000", "[::1]:8000", false);
        check("[::]:8000", "127.0.0.1:8000", true);
        check("127.0.0.1:8000", "127.0.0.1:8000", true);
        check("127.0.0.1:8000", "10.0.0.1:8000", false);
        // Another host may have it.
        check("0.0.0.0:8000", "10.0.0.1:8000", false);
        check("localhost:8000", "127.0.0.1:8000", true);
        check("unix:/run/a.sock", "unix:/run/a.sock", true);
        check("unix:/run/a.sock", "127.0.0.1:80", false);
    }
}
