//! The URL that a diagnosis is about.

use std::fmt;
use std::str::FromStr;

/// `http://host:port/path`; the query is kept apart, because it may hold secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    pub tls: bool,
    /// A name or an address, without brackets.
    pub host: String,
    pub port: u16,
    /// With a leading slash.
    pub path: String,
    pub query: Option<String>,
}

/// Why a text is no URL; a fragment that fits "failed to read the URL: ...".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseUrlError(pub String);

impl fmt::Display for ParseUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ParseUrlError {}

impl FromStr for Url {
    type Err = ParseUrlError;

    fn from_str(text: &str) -> Result<Url, ParseUrlError> {
        let fail = |why: &str| ParseUrlError(format!("'{text}' {why}, as in http://127.0.0.1:8080/path"));
        let (tls, rest) = match text.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some(_) => return Err(fail("must begin with http:// or https://")),
            None => (false, text),
        };
        if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(fail("must have no blanks"));
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        // A user in front of the host is nobody's business here.
        let authority = authority.rsplit('@').next().unwrap_or(authority);
        let (host, port) =
            split_port(authority).ok_or_else(|| fail("must have a host and a port from 1 to 65535"))?;
        if host.is_empty() {
            return Err(fail("must have a host"));
        }
        let rest = rest.split('#').next().unwrap_or("");
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (rest, None),
        };
        let path = if path.is_empty() { "/".to_owned() } else { path.to_owned() };
        Ok(Url { tls, host, port: port.unwrap_or(if tls { 443 } else { 80 }), path, query })
    }
}

fn split_port(authority: &str) -> Option<(String, Option<u16>)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        return match rest.strip_prefix(':') {
            Some(port) => Some((host.to_owned(), Some(nonzero(port)?))),
            None => rest.is_empty().then(|| (host.to_owned(), None)),
        };
    }
    match authority.split_once(':') {
        Some((host, port)) => Some((host.to_owned(), Some(nonzero(port)?))),
        None => Some((authority.to_owned(), None)),
    }
}

fn nonzero(port: &str) -> Option<u16> {
    port.parse().ok().filter(|port| *port != 0)
}

impl Url {
    /// Path and query, as a request has them.
    pub fn request_target(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }

    /// The value of a field Host.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let default = if self.tls { 443 } else { 80 };
        if self.port == default { host } else { format!("{host}:{}", self.port) }
    }
}

/// Without the query.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", if self.tls { "https" } else { "http" }, self.authority(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let shown = match text.parse::<Url>() {
            Ok(url) => format!("{url} {} {}", url.port, url.request_target()),
            Err(error) => error.to_string(),
        };
        assert_eq!(shown, expected);
    }

    #[test]
    fn urls_are_read() {
        check("http://shop.example/cart?id=7#x", "http://shop.example/cart 80 /cart?id=7");
        check("https://u:p@[::1]:8443", "https://[::1]:8443/ 8443 /");
        check("127.0.0.1:8080/x", "http://127.0.0.1:8080/x 8080 /x");
        check("localhost", "http://localhost/ 80 /");
        check("ftp://x/", "'ftp://x/' must begin with http:// or https://, as in http://127.0.0.1:8080/path");
        check(
            "http://x:0/",
            "'http://x:0/' must have a host and a port from 1 to 65535, as in http://127.0.0.1:8080/path",
        );
        check("http:///x", "'http:///x' must have a host, as in http://127.0.0.1:8080/path");
        check("http://a b/", "'http://a b/' must have no blanks, as in http://127.0.0.1:8080/path");
    }
}
