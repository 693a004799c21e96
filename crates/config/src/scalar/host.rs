//! Host names: those that requests are matched by, those that targets have, those that are sent.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use model::gateway::{HostMatch, HostRewrite};

use crate::decode::{Complaint, Json, Kind, Scalar};

/// Why a text is no host.
pub(crate) fn host_problem(host: &str) -> Option<&'static str> {
    if let Some(inner) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().is_err().then_some("must hold an IPv6 address inside the brackets");
    }
    if host.parse::<Ipv4Addr>().is_ok() {
        return None;
    }
    if host.is_empty() {
        return Some("must have a host");
    }
    if !host.is_ascii() {
        return Some("must be in ASCII (the `xn--` form of the name)");
    }
    if host.len() > 253 {
        return Some("must have a host of at most 253 characters");
    }
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    if !host.split('.').all(is_label) {
        return Some("must have a host of letters, digits, `-`, `_` and dots");
    }
    // What ends in a number is read as IPv4 by resolvers (WHATWG URL section 3.5), and it is not one.
    let last = host.rsplit('.').next().unwrap_or_default();
    last.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then_some("must have an IPv4 address of four numbers up to 255")
}

/// A host and an optional port. `None` for the port where there is no colon.
pub(crate) fn split_port(authority: &str) -> (&str, Option<&str>) {
    let after_bracket = authority.rfind(']').map_or(0, |at| at + 1);
    match authority.get(after_bracket..).and_then(|rest| rest.rfind(':')) {
        Some(at) => {
            let (host, port) = authority.split_at(after_bracket + at);
            (host, port.strip_prefix(':'))
        }
        None => (authority, None),
    }
}

/// A host that requests are matched by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostPattern(pub(crate) HostMatch);

impl Scalar for HostPattern {
    fn kind() -> Kind {
        Kind {
            name: "host pattern".into(),
            expected: "a host such as shop.example.com or \"*.example.com\"".into(),
            json: Json::Text(None),
        }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        if text == "*" {
            return Err(Self::unlike().hint("a route without `hosts` takes every host"));
        }
        if let Some((_, rest)) = text.split_once("://") {
            let host = split_port(rest.split('/').next().unwrap_or(rest)).0;
            return Err(Self::unlike().hint(format!("write `{host}`")));
        }
        if let (host, Some(port)) = split_port(text)
            && host_problem(host.strip_prefix("*.").unwrap_or(host)).is_none()
            && !port.is_empty()
        {
            let complaint = Complaint::new("must not have a port: the listener decides about ports");
            return Err(complaint.hint(format!("write `{host}`")));
        }
        if let Some(without) = text.strip_suffix('.') {
            return Err(Complaint::new("must not end with a dot").hint(format!("write `{without}`")));
        }
        let lower = text.to_ascii_lowercase();
        let (pattern, host) = match lower.strip_prefix("*.") {
            Some(host) => (HostMatch::Suffix(format!(".{host}").into()), host),
            None => (HostMatch::Exact(lower.as_str().into()), lower.as_str()),
        };
        if host.contains('*') {
            return Err(Complaint::new("must have its only `*` at the beginning, as in *.example.com"));
        }
        if text.starts_with("*.") && host.parse::<IpAddr>().is_ok() {
            return Err(Self::unlike());
        }
        match host_problem(host) {
            Some(problem) => Err(Complaint::new(problem)),
            None => Ok(HostPattern(pattern)),
        }
    }
}

/// The Host that a target sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostSent(pub(crate) HostRewrite);

impl Scalar for HostSent {
    fn kind() -> Kind {
        Kind {
            name: "client, target or a host".into(),
            expected: "client, target, or a host with an optional port".into(),
            json: Json::Text(None),
        }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        match text {
            "client" => return Ok(HostSent(HostRewrite::Client)),
            "target" => return Ok(HostSent(HostRewrite::Target)),
            "upstream" => return Err(Self::unlike().hint("write `target`")),
            _ => {}
        }
        let host = HostAndPort::parse(text).map_err(|complaint| {
            let is_unlike = complaint.message == HostAndPort::unlike().message;
            let Complaint { message, hint, secret } = complaint;
            Complaint { message: if is_unlike { Self::unlike().message } else { message }, hint, secret }
        })?;
        Ok(HostSent(HostRewrite::Set(host.0)))
    }
}

/// A host with an optional port, as a Host field has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostAndPort(pub(crate) Box<str>);

impl Scalar for HostAndPort {
    fn kind() -> Kind {
        Kind { name: "host".into(), expected: "a host with an optional port".into(), json: Json::Text(None) }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        let (host, port) = split_port(text);
        if text.contains('/') {
            return Err(Self::unlike().hint("leave scheme and path away"));
        }
        if let Some(problem) = host_problem(host) {
            return Err(Complaint::new(problem));
        }
        match port.map(str::parse::<u16>) {
            None | Some(Ok(1..)) => Ok(HostAndPort(text.into())),
            Some(_) => Err(Complaint::new("must have a port from 1 to 65535")),
        }
    }
}

/// The name sent and verified in TLS (RFC 6066 section 3 allows no address; rustls verifies one, so it may stand here).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerName(pub(crate) Box<str>);

impl Scalar for ServerName {
    fn kind() -> Kind {
        Kind {
            name: "host name".into(),
            expected: "a host name such as shop.example.com".into(),
            json: Json::Text(None),
        }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        if text.parse::<Ipv6Addr>().is_ok() {
            return Ok(ServerName(text.into()));
        }
        match host_problem(text) {
            Some(problem) => Err(Complaint::new(problem)),
            None => Ok(ServerName(text.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scalar::check;

    #[test]
    fn patterns() {
        let check =
            |text: &str, expected: &str| check(text, |HostPattern(host)| format!("{host:?}"), expected);
        check("Shop.Example.com", "= Exact(\"shop.example.com\")");
        check("*.example.org", "= Suffix(\".example.org\")");
        check("127.0.0.1", "= Exact(\"127.0.0.1\")");
        check("[::1]", "= Exact(\"[::1]\")");
        check("localhost", "= Exact(\"localhost\")");
        check(
            "example.com:8080",
            "! must not have a port: the listener decides about ports (write `example.com`)",
        );
        check(
            "https://example.com/x",
            "! must be a host such as shop.example.com or \"*.example.com\" (write `example.com`)",
        );
        check("a.*.com", "! must have its only `*` at the beginning, as in *.example.com");
        check("shop.*", "! must have its only `*` at the beginning, as in *.example.com");
        check(
            "*",
            "! must be a host such as shop.example.com or \"*.example.com\" (a route without `hosts` takes every host)",
        );
        check("größe.de", "! must be in ASCII (the `xn--` form of the name)");
        check("example.com.", "! must not end with a dot (write `example.com`)");
        check("a b", "! must have a host of letters, digits, `-`, `_` and dots");
        check("127.0.0.256", "! must have an IPv4 address of four numbers up to 255");
    }

    #[test]
    fn hosts_that_are_sent() {
        let check = |text: &str, expected: &str| check(text, |HostSent(host)| format!("{host:?}"), expected);
        check("client", "= Client");
        check("target", "= Target");
        check("a.example:8443", "= Set(\"a.example:8443\")");
        check("a.example:0", "! must have a port from 1 to 65535");
        check("upstream", "! must be client, target, or a host with an optional port (write `target`)");
    }
}
