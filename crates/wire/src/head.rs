//! Message heads, whichever protocol they came by. They are kept and filled again for each message.

use std::fmt;

use model::Method;

use crate::authority::{self, AuthorityError};
use crate::fields::Fields;
use crate::http1::RequestError;
use crate::known::Known;
use crate::path::{self, PathError, Scan};

/// The version a message came in. HTTP/1.2 and above count as 1.1 (RFC 9110 section 2.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    #[default]
    Http11,
    /// HTTP/2
    Http2,
}

/// How the end of a body is told (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    #[default]
    None,
    /// It has this many bytes. May be 0: then the message says so.
    Length(u64),
    /// It ends with its last chunk.
    Chunked,
    /// It ends with the connection. Responses only.
    Close,
}

/// The head of a request.
#[derive(Clone, Debug, Default)]
pub struct RequestHead {
    /// A token of at most 32 bytes; never `CONNECT`.
    pub method: Method,
    /// What the client spoke.
    pub version: Version,
    /// What it asks for.
    pub target: Target,
    /// All fields, `Host` among them.
    pub fields: Fields,
}

/// The head of a response.
#[derive(Clone, Debug, Default)]
pub struct ResponseHead {
    /// 100 to 599.
    pub status: u16,
    /// What the upstream spoke.
    pub version: Version,
    /// As sent, without control characters; may be empty, and is on HTTP/2.
    pub reason: Vec<u8>,
    /// All fields.
    pub fields: Fields,
}

impl RequestHead {
    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.method = Method::default();
        self.version = Version::default();
        self.target.clear();
        self.fields.clear();
    }

    /// Sets the target of a request that did not come as HTTP/1.1, from `:path` and `:authority`, after method and fields:
    /// `*` needs `OPTIONS`, and a `Host` field must agree with the authority (RFC 9113 section 8.3.1) or stands in for it.
    /// With neither, the authority is empty. On an error the target may hold the path.
    pub fn set_target(&mut self, raw: &[u8], authority: Option<&[u8]>) -> Result<(), RequestError> {
        self.target.clear();
        if self.method == Method::Connect {
            return Err(RequestError::ConnectNotImplemented);
        }
        let scan = path::scan(raw);
        if scan.len != raw.len() || !matches!(raw.first(), Some(b'/' | b'*')) {
            return Err(RequestError::TargetInvalid);
        }
        self.target.set_path(raw, scan, &self.method)?;
        if let Some(authority) = authority {
            self.target.set_authority(authority, RequestError::HostInvalid)?;
        }
        self.target.agree_with_host(&self.fields)
    }
}

impl ResponseHead {
    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.status = 0;
        self.version = Version::default();
        self.reason.clear();
        self.fields.clear();
    }
}

/// What a request asks for: the path in the form it was sent and in the one canonical form, the query, and the authority on
/// which target and `Host` agree.
#[derive(Clone, Default)]
pub struct Target {
    /// The target as sent, then `path?query` again if canonicalisation changed the path, then the authority.
    text: String,
    sent: Span,
    path: Span,
    query: Option<Span>,
    /// Canonical path with query.
    path_and_query: Span,
    /// As sent, with query.
    sent_and_query: Span,
    authority: Span,
    host: Span,
    port: Option<u16>,
    scheme: Option<AbsoluteScheme>,
}

/// Positions in the text of a target.
#[derive(Clone, Copy, Default)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn new(start: usize, end: usize) -> Span {
        let narrow = |at: usize| u32::try_from(at).expect("a target must stay below 4 GiB");
        Span { start: narrow(start), end: narrow(end) }
    }

    fn of(self, text: &str) -> &str {
        text.get(self.start as usize..self.end as usize).unwrap_or("")
    }
}

/// The scheme of an absolute target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbsoluteScheme {
    /// `http`, port 80
    Http,
    /// `https`, port 443
    Https,
}

impl AbsoluteScheme {
    fn default_port(self) -> u16 {
        match self {
            AbsoluteScheme::Http => 80,
            AbsoluteScheme::Https => 443,
        }
    }
}

impl Target {
    pub(crate) fn clear(&mut self) {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        *self = Target { text, ..Target::default() };
    }

    /// The canonical path; begins with a slash, or is `*`. Empty in a head that is not filled.
    pub fn path(&self) -> &str {
        self.path.of(&self.text)
    }

    /// The path as sent, without query.
    pub fn as_sent(&self) -> &str {
        self.sent.of(&self.text)
    }

    /// What follows the question mark, as sent: visible ASCII without `#`. Escapes in it are not checked.
    pub fn query(&self) -> Option<&str> {
        self.query.map(|query| query.of(&self.text))
    }

    /// The canonical path with the query, as it is forwarded.
    pub fn path_and_query(&self) -> &str {
        self.path_and_query.of(&self.text)
    }

    /// The path as sent with the query, for routes with `path: as-sent`.
    pub fn as_sent_and_query(&self) -> &str {
        self.sent_and_query.of(&self.text)
    }

    /// `host[:port]` in lower case, IPv6 in brackets; empty if there is none (HTTP/1.0).
    pub fn authority(&self) -> &str {
        self.authority.of(&self.text)
    }

    /// The host in lower case, without port, brackets and the dot of the DNS root; empty if there is none.
    pub fn host(&self) -> &str {
        self.host.of(&self.text)
    }

    /// The port, if the authority has one.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The scheme of an absolute target (`GET http://host/ HTTP/1.1`); `None` for the usual form.
    pub fn scheme(&self) -> Option<AbsoluteScheme> {
        self.scheme
    }

    /// Reads the target of a request line, in any form. The scan must have covered all of it.
    pub(crate) fn parse(&mut self, raw: &[u8], scan: Scan, method: &Method) -> Result<(), RequestError> {
        self.clear();
        if *method == Method::Connect {
            return Err(RequestError::ConnectNotImplemented);
        }
        match raw.first() {
            Some(b'/') => self.set_path(raw, scan, method),
            Some(b'*') if raw.len() == 1 => self.set_path(raw, scan, method),
            _ => self.parse_absolute(raw, method),
        }
    }

    /// Absolute form (RFC 9112 section 3.2.2).
    fn parse_absolute(&mut self, raw: &[u8], method: &Method) -> Result<(), RequestError> {
        let (scheme, rest) = if let Some(rest) = strip_prefix_ignore_case(raw, b"http://") {
            (AbsoluteScheme::Http, rest)
        } else if let Some(rest) = strip_prefix_ignore_case(raw, b"https://") {
            (AbsoluteScheme::Https, rest)
        } else {
            return Err(RequestError::TargetInvalid);
        };
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, b""));
        if path.first() == Some(&b'/') {
            self.set_path(path, path::scan(path), method)?;
        } else if path.is_empty() && *method == Method::Options {
            // RFC 9112 section 3.2.4: an absolute target without path is how a proxy is asked for `*`.
            self.set_path(b"*", path::scan(b"*"), method)?;
        } else {
            self.set_empty_path(path);
        }
        self.scheme = Some(scheme);
        self.set_authority(authority, RequestError::TargetInvalid)
    }

    /// `?query` or nothing after the authority: the path is `/`.
    fn set_empty_path(&mut self, query: &[u8]) {
        self.text.push('/');
        self.text.push_str(ascii(query));
        self.set_sent(1, (!query.is_empty()).then_some(1));
        self.path = self.sent;
        self.path_and_query = self.sent_and_query;
    }

    /// `raw` is scanned: visible ASCII that begins with `/`, or `*`.
    fn set_path(&mut self, raw: &[u8], scan: Scan, method: &Method) -> Result<(), RequestError> {
        let path_len = scan.query.unwrap_or(raw.len());
        self.text.push_str(ascii(raw));
        self.set_sent(path_len, scan.query);
        self.path = self.sent;
        self.path_and_query = self.sent_and_query;
        let sent = raw.get(..path_len).unwrap_or_default();
        if sent.first() == Some(&b'*') {
            return if raw.len() == 1 && *method == Method::Options {
                Ok(())
            } else {
                Err(RequestError::TargetInvalid)
            };
        }
        if path::is_plainly_canonical(sent, scan.classes) {
            return Ok(());
        }
        let start = self.text.len();
        let canonical = path::canonicalize(ascii(sent), &mut self.text);
        if let Err(error) = canonical {
            self.text.truncate(start);
            return Err(match error {
                PathError::Control => RequestError::PathControl,
                PathError::Escape => RequestError::PathEscapeInvalid,
                PathError::Invalid => RequestError::TargetInvalid,
            });
        }
        let path = Span::new(start, self.text.len());
        if path.of(&self.text) == self.as_sent() {
            self.text.truncate(start);
            return Ok(());
        }
        self.path = path;
        self.text.push_str(ascii(raw.get(path_len..).unwrap_or_default()));
        self.path_and_query = Span::new(start, self.text.len());
        Ok(())
    }

    fn set_sent(&mut self, path_len: usize, query: Option<usize>) {
        let end = self.text.len();
        self.sent = Span::new(0, path_len);
        self.sent_and_query = Span::new(0, end);
        self.query = query.map(|mark| Span::new(mark + 1, end));
    }

    fn set_authority(&mut self, raw: &[u8], malformed: RequestError) -> Result<(), RequestError> {
        let parsed = authority::parse(raw).map_err(|error| match error {
            AuthorityError::Malformed => malformed,
            AuthorityError::Userinfo => RequestError::UserinfoInAuthority,
        })?;
        let start = self.text.len();
        self.text.push_str(ascii(raw));
        if let Some(added) = self.text.get_mut(start..) {
            added.make_ascii_lowercase();
        }
        self.authority = Span::new(start, self.text.len());
        self.host = Span::new(start + parsed.host.start, start + parsed.host.end);
        self.port = parsed.port;
        Ok(())
    }

    /// Takes the authority from `Host`, or checks that the one of the target is the same. At most one `Host` may be there.
    pub(crate) fn agree_with_host(&mut self, fields: &Fields) -> Result<(), RequestError> {
        let mut hosts = fields.get_all(Known::Host);
        let Some(host) = hosts.next() else { return Ok(()) };
        if hosts.next().is_some() {
            return Err(RequestError::HostRepeated);
        }
        if self.authority().is_empty() {
            return self.set_authority(host, RequestError::HostInvalid);
        }
        let parsed = authority::parse(host).map_err(|error| match error {
            AuthorityError::Malformed => RequestError::HostInvalid,
            AuthorityError::Userinfo => RequestError::UserinfoInAuthority,
        })?;
        let name = host.get(parsed.host).unwrap_or_default();
        let default_port = self.scheme.map(AbsoluteScheme::default_port);
        let same_port = self.port.or(default_port) == parsed.port.or(default_port);
        if same_port && name.eq_ignore_ascii_case(self.host().as_bytes()) {
            Ok(())
        } else {
            Err(RequestError::HostDisagrees)
        }
    }
}

/// Text of bytes that a scan has found to be ASCII.
fn ascii(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or("")
}

fn strip_prefix_ignore_case<'a>(bytes: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = bytes.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// Without the query: its values stay out of logs.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let query = if self.query.is_some() { "?[...]" } else { "" };
        write!(f, "{}{}{query}", self.authority(), self.path())
    }
}
