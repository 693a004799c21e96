//! What an active check asks for, and what it expects.

use std::ops::RangeInclusive;

use crate::decode::{Complaint, Json, Kind, Scalar};

/// A path, with a query if need be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CheckPath(pub(crate) Box<str>);

/// What may stand in a path and a query (RFC 3986 section 3.3 and 3.4).
fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&byte)
}

impl Scalar for CheckPath {
    fn kind() -> Kind {
        Kind {
            name: "path".into(),
            expected: "a path such as /healthz, with a query if need be".into(),
            json: Json::Text(Some("^/[A-Za-z0-9._~!$&'()*+,;=:@/?%-]*$")),
        }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        if text.starts_with('/') && text.len() <= 1024 && text.bytes().all(is_path_byte) {
            return Ok(CheckPath(text.into()));
        }
        let complaint = Self::unlike();
        if text.contains("://") {
            return Err(complaint.hint("leave scheme and host away; `host` sets another Host"));
        }
        let rooted = format!("/{text}");
        let usable = !text.is_empty() && !text.starts_with('/') && Self::parse(&rooted).is_ok();
        Err(if usable { complaint.hint(format!("write `{rooted}`")) } else { complaint })
    }
}

/// The name of a gRPC service; empty is the whole server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GrpcService(pub(crate) Box<str>);

impl Scalar for GrpcService {
    fn kind() -> Kind {
        Kind {
            name: "service name".into(),
            expected: "the full name of a gRPC service such as shop.Orders, at most 127 characters; \"\" for the server"
                .into(),
            json: Json::Text(Some("^[A-Za-z0-9._-]{0,127}$")),
        }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if text.len() <= 127 && text.bytes().all(is_name) {
            return Ok(GrpcService(text.into()));
        }
        let complaint = Self::unlike();
        let name = text.trim_matches('/').split('/').next().unwrap_or_default();
        let usable = name != text && Self::parse(name).is_ok();
        Err(if usable { complaint.hint(format!("write `{name}`")) } else { complaint })
    }
}

/// A status, or a range of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StatusRange(pub(crate) RangeInclusive<u16>);

impl Scalar for StatusRange {
    fn kind() -> Kind {
        Kind {
            name: "status or range".into(),
            expected: "a status such as 200, or a range such as 200-299".into(),
            json: Json::Text(Some("^[1-5][0-9][0-9](-[1-5][0-9][0-9])?$")),
        }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        let status = |text: &str| text.parse::<u16>().ok().filter(|status| (200..=599).contains(status));
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        if let Some(class) = text.strip_suffix("xx").filter(|class| matches!(*class, "2" | "3" | "4" | "5")) {
            return Err(Self::unlike().hint(format!("write `{class}00-{class}99`")));
        }
        match (status(first), status(last)) {
            (Some(first), Some(last)) if first <= last => Ok(StatusRange(first..=last)),
            (Some(first), Some(last)) => {
                Err(Complaint::new("must begin with the smaller status")
                    .hint(format!("write `{last}-{first}`")))
            }
            _ => Err(Self::unlike()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scalar::check;

    #[test]
    fn paths_services_and_statuses() {
        let path = |text: &str, expected: &str| check(text, |CheckPath(path)| path.into(), expected);
        let unlike = "! must be a path such as /healthz, with a query if need be";
        path("/healthz?full=1", "= /healthz?full=1");
        path("healthz", &format!("{unlike} (write `/healthz`)"));
        path(
            "http://127.0.0.1/healthz",
            &format!("{unlike} (leave scheme and host away; `host` sets another Host)"),
        );
        path("/a b", unlike);
        path("", unlike);
        let service = |text: &str, expected: &str| check(text, |GrpcService(name)| name.into(), expected);
        service("shop.Orders", "= shop.Orders");
        service("", "= ");
        service(
            "/shop.Orders/Get",
            "! must be the full name of a gRPC service such as shop.Orders, at most 127 characters; \"\" for the server \
             (write `shop.Orders`)",
        );
        let status =
            |text: &str, expected: &str| check(text, |StatusRange(range)| format!("{range:?}"), expected);
        let unlike = "! must be a status such as 200, or a range such as 200-299";
        status("204", "= 204..=204");
        status("200-299", "= 200..=299");
        status("2xx", &format!("{unlike} (write `200-299`)"));
        status("299-200", "! must begin with the smaller status (write `200-299`)");
        status("20", unlike);
        status("100", unlike);
    }
}
