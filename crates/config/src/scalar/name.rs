//! Names: of resources, headers, parameters, cookies, methods, statuses, files.

use std::path::PathBuf;

use model::Method;

use crate::decode::{Complaint, Json, Kind, Scalar};
use crate::suggest::nearest;

/// The name of a resource; it stands in records, metrics and commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name(pub(crate) Box<str>);

impl Scalar for Name {
    fn kind() -> Kind {
        Kind {
            name: "name".into(),
            expected: "a name of letters, digits, `-`, `_` and dots, at most 64 characters".into(),
            json: Json::Text(Some("^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")),
        }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        let rest = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if first && text.len() <= 64 && text.bytes().all(rest) {
            return Ok(Name(text.into()));
        }
        let replaced: String =
            text.trim().chars().map(|c| if c == ' ' || c == '/' { '-' } else { c }).collect();
        let replaced = replaced.trim_matches('-');
        let complaint = Self::unlike();
        let usable = replaced != text && !replaced.is_empty() && Self::parse(replaced).is_ok();
        Err(if usable { complaint.hint(format!("write `{replaced}`")) } else { complaint })
    }
}

/// The name of a route: like [`Name`], and the text of a path, because that is the default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text(pub(crate) Box<str>);

impl Scalar for Text {
    fn kind() -> Kind {
        Kind { name: "text".into(), expected: "a text".into(), json: Json::Text(None) }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        match text.chars().any(char::is_control) {
            true => Err(Complaint::new("must not hold control characters")),
            false => Ok(Text(text.into())),
        }
    }
}

/// `token` of RFC 9110 section 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// The name of a header, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeaderName(pub(crate) Box<str>);

impl Scalar for HeaderName {
    fn kind() -> Kind {
        Kind {
            name: "header name".into(),
            expected: "the name of a header such as x-version".into(),
            json: Json::Text(Some("^[!#$%&'*+.^`|~0-9A-Za-z-]+$")),
        }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        if let Some(name) = text.strip_suffix(':') {
            return Err(Self::unlike().hint(format!("write `{name}`")));
        }
        if !is_token(text) {
            return Err(Self::unlike());
        }
        if text.contains('_') {
            // WSGI cannot tell X_Y from X-Y, so such fields are dropped before anything sees them.
            return Err(Complaint::new("can never match: headers with `_` in their name are dropped")
                .hint(format!("write `{}`", text.replace('_', "-"))));
        }
        Ok(HeaderName(text.to_ascii_lowercase().into()))
    }
}

/// The name of a query parameter, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QueryName(pub(crate) Box<str>);

impl Scalar for QueryName {
    fn kind() -> Kind {
        Kind {
            name: "parameter name".into(),
            expected: "the name of a query parameter".into(),
            json: Json::Text(None),
        }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        if text.is_empty() || text.contains(['=', '&', '?', '#']) || text.chars().any(char::is_control) {
            return Err(Self::unlike().hint("write only the name, without `?`, `=` and `&`"));
        }
        Ok(QueryName(text.into()))
    }
}

/// The name of a cookie (RFC 6265 section 4.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CookieName(pub(crate) Box<str>);

impl Scalar for CookieName {
    fn kind() -> Kind {
        Kind {
            name: "cookie name".into(),
            expected: "the name of a cookie".into(),
            json: Json::Text(Some("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")),
        }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        if is_token(text) { Ok(CookieName(text.into())) } else { Err(Self::unlike()) }
    }
}

/// A request method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MethodName(pub(crate) Method);

const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"];

impl Scalar for MethodName {
    fn kind() -> Kind {
        Kind {
            name: "method".into(),
            expected: "a method such as GET or POST".into(),
            json: Json::Text(Some("^[A-Z0-9!#$%&'*+.^_`|~-]{1,32}$")),
        }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        if text == "*" || text.eq_ignore_ascii_case("any") || text.eq_ignore_ascii_case("all") {
            return Err(Self::unlike().hint("a route without `methods` takes every method"));
        }
        let upper = text.to_ascii_uppercase();
        if upper != text && is_token(text) {
            // Methods are case-sensitive (RFC 9110 section 9.1): `get` would match nothing that anybody sends.
            let near = nearest(&upper, METHODS).unwrap_or(&upper);
            return Err(Complaint::new("must be in capital letters").hint(format!("did you mean `{near}`?")));
        }
        match Method::parse(text.as_bytes()) {
            Ok(Method::Connect) => Err(Complaint::new("must not be CONNECT: it is not proxied")),
            Ok(method) => Ok(MethodName(method)),
            Err(_) => Err(Self::unlike()),
        }
    }
}

/// The known method that an unknown one probably was meant to be.
pub(crate) fn misspelt(method: &Method) -> Option<&'static str> {
    match method {
        Method::Extension(token) => nearest(token, METHODS),
        _ => None,
    }
}

/// An error status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status(pub(crate) u16);

impl Scalar for Status {
    fn kind() -> Kind {
        Kind {
            name: "status".into(),
            expected: "an error status from 400 to 599".into(),
            json: Json::Text(Some("^[45][0-9][0-9]$")),
        }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        let complaint = Self::unlike();
        match text.parse() {
            Ok(status @ 400..=599) if text.len() == 3 => Ok(Status(status)),
            _ if text.ends_with("xx") => Err(complaint.hint("name each status on a line of its own")),
            _ => Err(complaint),
        }
    }
}

/// A path of a file; a relative one is relative to the file that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FilePath(pub(crate) PathBuf);

impl Scalar for FilePath {
    fn kind() -> Kind {
        Kind { name: "file path".into(), expected: "the path of a file".into(), json: Json::Text(None) }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        if text.is_empty() || text.contains('\0') {
            return Err(Self::unlike());
        }
        if text.starts_with("~/") {
            return Err(Complaint::new("must not begin with `~`").hint("write the whole path"));
        }
        if text.contains("-----BEGIN") {
            let mut complaint = Complaint::new("must be a path, not the content of the file");
            complaint.secret = true;
            return Err(complaint);
        }
        Ok(FilePath(text.strip_prefix("file://").unwrap_or(text).into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scalar::check;

    #[test]
    fn names() {
        let unlike = "! must be a name of letters, digits, `-`, `_` and dots, at most 64 characters";
        let check = |text: &str, expected: &str| check(text, |Name(name)| name.into(), expected);
        check("shop-1.eu_x", "= shop-1.eu_x");
        check("my shop", &format!("{unlike} (write `my-shop`)"));
        check("/shop/", &format!("{unlike} (write `shop`)"));
        check("-x", &format!("{unlike} (write `x`)"));
        check("", unlike);
        check(&"x".repeat(65), unlike);
    }

    #[test]
    fn headers_parameters_and_cookies() {
        check("X-Version", |HeaderName(name)| name.into(), "= x-version");
        check(
            "x_version",
            |HeaderName(name)| name.into(),
            "! can never match: headers with `_` in their name are dropped (write `x-version`)",
        );
        check(
            "x-version:",
            |HeaderName(name)| name.into(),
            "! must be the name of a header such as x-version (write `x-version`)",
        );
        check("page", |QueryName(name)| name.into(), "= page");
        check(
            "?page",
            |QueryName(name)| name.into(),
            "! must be the name of a query parameter (write only the name, without `?`, `=` and `&`)",
        );
        check("session", |CookieName(name)| name.into(), "= session");
        check("a=b", |CookieName(name)| name.into(), "! must be the name of a cookie");
    }

    #[test]
    fn methods_and_statuses() {
        let method = |text: &str, expected: &str| check(text, |MethodName(name)| name.to_string(), expected);
        method("GET", "= GET");
        method("PROPFIND", "= PROPFIND");
        method("get", "! must be in capital letters (did you mean `GET`?)");
        method("pots", "! must be in capital letters (did you mean `POST`?)");
        method("G T", "! must be a method such as GET or POST");
        method("CONNECT", "! must not be CONNECT: it is not proxied");
        method("*", "! must be a method such as GET or POST (a route without `methods` takes every method)");
        assert_eq!(misspelt(&Method::Extension("PSOT".into())), Some("POST"));
        assert_eq!(misspelt(&Method::Extension("PROPFIND".into())), None);

        let status = |text: &str, expected: &str| check(text, |Status(status)| status.to_string(), expected);
        status("502", "= 502");
        status("200", "! must be an error status from 400 to 599");
        status("5xx", "! must be an error status from 400 to 599 (name each status on a line of its own)");
    }

    #[test]
    fn files() {
        let check =
            |text: &str, expected: &str| check(text, |FilePath(path)| path.display().to_string(), expected);
        check("tls/cert.pem", "= tls/cert.pem");
        check("file:///etc/x", "= /etc/x");
        check("~/x", "! must not begin with `~` (write the whole path)");
        check("-----BEGIN CERTIFICATE-----", "! must be a path, not the content of the file");
    }
}
