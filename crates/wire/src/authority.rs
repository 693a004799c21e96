//! `host [":" port]` (RFC 3986 section 3.2), as it stands in `Host`, in an absolute target and in `:authority`.
//!
//! Stricter than RFC 3986: a registered name is made of letters, digits and `-._~` only. Escapes and sub-delimiters (the comma
//! among them) stand in no name that resolves, but do harm where an application puts the host into links or logs.

use std::net::Ipv6Addr;
use std::ops::Range;

use crate::scan::{HOST, class};

/// The longest host name: what DNS can carry.
pub(crate) const HOST_MAX: usize = 255;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuthorityError {
    Malformed,
    Userinfo,
}

/// Where the parts stand in the bytes that were parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authority {
    /// Without brackets, and without the dot of the DNS root at its end.
    pub(crate) host: Range<usize>,
    pub(crate) port: Option<u16>,
}

pub(crate) fn parse(bytes: &[u8]) -> Result<Authority, AuthorityError> {
    let malformed = AuthorityError::Malformed;
    let (host, after) = if bytes.first() == Some(&b'[') {
        let close = bytes.iter().position(|byte| *byte == b']').ok_or(malformed)?;
        let text = bytes.get(1..close).and_then(|text| std::str::from_utf8(text).ok()).ok_or(malformed)?;
        text.parse::<Ipv6Addr>().map_err(|_| malformed)?;
        (1..close, close + 1)
    } else {
        let end = bytes.iter().position(|byte| class(*byte) & HOST == 0).unwrap_or(bytes.len());
        let name = bytes.get(..end).unwrap_or_default();
        let name = name.strip_suffix(b".").unwrap_or(name);
        if name.is_empty() || name.len() > HOST_MAX {
            return Err(if bytes.contains(&b'@') { AuthorityError::Userinfo } else { malformed });
        }
        (0..name.len(), end)
    };
    match bytes.get(after..).unwrap_or_default() {
        [] => Ok(Authority { host, port: None }),
        [b':', digits @ ..] if !digits.contains(&b'@') => {
            Ok(Authority { host, port: Some(port(digits).ok_or(malformed)?) })
        }
        rest if rest.contains(&b'@') => Err(AuthorityError::Userinfo),
        _ => Err(malformed),
    }
}

/// One to five digits without leading zero, at most 65,535. The empty port that RFC 3986 allows is sent by nobody and refused.
fn port(digits: &[u8]) -> Option<u16> {
    if digits.is_empty() || digits.len() > 5 || (digits.len() > 1 && digits.starts_with(b"0")) {
        return None;
    }
    let value = digits.iter().try_fold(0u32, |value, digit| {
        digit.is_ascii_digit().then(|| value * 10 + u32::from(digit - b'0'))
    })?;
    u16::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: Result<(&str, Option<u16>), AuthorityError>) {
        let parsed = parse(text.as_bytes());
        let parsed = parsed.map(|authority| (text.get(authority.host).unwrap(), authority.port));
        assert_eq!(parsed, expect, "{text:?}");
    }

    #[test]
    fn hosts_and_ports() {
        check("example.com", Ok(("example.com", None)));
        check("Example.com:8080", Ok(("Example.com", Some(8080))));
        check("example.com.:80", Ok(("example.com", Some(80))));
        check("my_host~1", Ok(("my_host~1", None)));
        check("192.0.2.1:0", Ok(("192.0.2.1", Some(0))));
        check("[2001:db8::1]:443", Ok(("2001:db8::1", Some(443))));
        check("[::ffff:192.0.2.1]", Ok(("::ffff:192.0.2.1", None)));
        check(&"a".repeat(255), Ok((&"a".repeat(255), None)));
        let long = "a".repeat(256);
        for text in [
            "",
            ".",
            ":80",
            "a:",
            "a:65536",
            "a:080",
            "a:+80",
            "a:80:80",
            "a,b",
            "a b",
            "a/b",
            "a%2eb",
            "a!b",
            "é",
            "[::1",
            "[::1]x",
            "[::1]:",
            "[fe80::1%25eth0]",
            "[v1.x]",
            "[]",
            "::1",
            "a\\b",
            long.as_str(),
        ] {
            check(text, Err(AuthorityError::Malformed));
        }
        for text in ["user@a", "user:pw@a:80", "@a", "a:80@b", "[::1]@b"] {
            check(text, Err(AuthorityError::Userinfo));
        }
    }
}
