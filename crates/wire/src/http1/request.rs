//! Request heads (RFC 9112 section 3) and the rules that make smuggling impossible (sections 6 and 11.2).

use model::{Fault, Method};

use super::facts::{self, FramingError};
use super::{HeadLimits, VersionText, version};
use crate::head::{Framing, RequestHead, Version};
use crate::known::Known;
use crate::lines::{self, LineError, line_feed};
use crate::path;
use crate::rules::rules;
use crate::scan::{is_token_byte, list};

/// What the head of a request says about its body and its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestFacts {
    /// [`Framing::Close`] does not occur.
    pub framing: Framing,
    /// Whether the client means to send another request on this connection.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends a body. Never on HTTP/1.0 and never without a body.
    pub expect_continue: bool,
    /// Whether the client offers an upgrade: HTTP/1.1, `Upgrade`, and `Connection: upgrade`. RFC 9110 section 7.8 allows to
    /// ignore any offer. Those of HTTP/2 and TLS do not count, or the upstream's consent would open a tunnel past every policy;
    /// nor do those with a body, whose last byte and the tunnel's first one servers do not tell apart alike.
    pub upgrade: bool,
}

rules! {
    /// The rule that a request head broke.
    RequestError {
        ConnectNotImplemented "CONNECT is not served (RFC 9110 9.3.6)",
        ConnectionFieldInHttp2 "HTTP/2 has no fields about the connection (RFC 9113 8.2.2)",
        ConnectionOptionsTooMany "Connection must not list more than 64 options",
        ContentLengthInvalid "Content-Length must be one decimal number (RFC 9110 8.6)",
        ContentLengthRepeated "Content-Length must not be repeated (RFC 9112 6.3)",
        ContentLengthWithTransferEncoding "Content-Length and Transfer-Encoding exclude each other (RFC 9112 6.1)",
        EmptyLines "at most two empty lines may precede a request (RFC 9112 2.2)",
        ExpectationUnknown "Expect must be 100-continue (RFC 9110 10.1.1)",
        HeadTooLarge "the request head is larger than allowed",
        HostDisagrees "Host must agree with the target's authority (RFC 9112 3.2)",
        HostInvalid "Host must be a host and an optional port (RFC 9112 3.2)",
        HostMissing "HTTP/1.1 requests must have a Host (RFC 9112 3.2)",
        HostRepeated "Host must not be repeated (RFC 9112 3.2)",
        MethodInvalid "the method must be a token of at most 32 bytes (RFC 9112 3.1)",
        PathControl "the path must not hold control characters, escaped or not",
        PathEscapeInvalid "a % in the path must be followed by two hex digits (RFC 3986 2.1)",
        RequestLineInvalid "the request line must be method, target and version, one space between them (RFC 9112 3)",
        TargetInvalid "the target must be an absolute path or URL of visible ASCII without fragment, or * with OPTIONS (RFC 9112 3.2)",
        TargetTooLong "the request target is longer than allowed",
        TlsHandshake "a TLS handshake came where HTTP in the clear is spoken",
        TransferCodingUnknown "the only transfer coding served is chunked (RFC 9112 6.1)",
        TransferEncodingInHttp10 "HTTP/1.0 has no Transfer-Encoding (RFC 9112 6.1)",
        TransferEncodingInvalid "Transfer-Encoding must be a single, final chunked (RFC 9112 6.1)",
        UserinfoInAuthority "an authority must not hold user information (RFC 9110 4.2.4)",
        VersionUnsupported "the version must be HTTP/1.0 or HTTP/1.1 (RFC 9110 2.5)",
        ..Line(LineError) "A rule of lines."
    }
}

impl RequestError {
    /// The fault of an exchange that ends with this.
    pub fn fault(self) -> Fault {
        match self {
            RequestError::ConnectNotImplemented | RequestError::TransferCodingUnknown => {
                Fault::RequestNotImplemented
            }
            RequestError::ExpectationUnknown => Fault::ExpectationUnknown,
            RequestError::HeadTooLarge | RequestError::Line(LineError::TooManyFields) => {
                Fault::RequestHeadTooLarge
            }
            RequestError::TargetTooLong => Fault::RequestTargetTooLong,
            RequestError::VersionUnsupported => Fault::RequestVersionUnsupported,
            RequestError::ConnectionFieldInHttp2
            | RequestError::ConnectionOptionsTooMany
            | RequestError::ContentLengthInvalid
            | RequestError::ContentLengthRepeated
            | RequestError::ContentLengthWithTransferEncoding
            | RequestError::EmptyLines
            | RequestError::HostDisagrees
            | RequestError::HostInvalid
            | RequestError::HostMissing
            | RequestError::HostRepeated
            | RequestError::Line(_)
            | RequestError::MethodInvalid
            | RequestError::PathControl
            | RequestError::PathEscapeInvalid
            | RequestError::RequestLineInvalid
            | RequestError::TargetInvalid
            | RequestError::TlsHandshake
            | RequestError::TransferEncodingInHttp10
            | RequestError::TransferEncodingInvalid
            | RequestError::UserinfoInAuthority => Fault::RequestMalformed,
        }
    }
}

impl From<LineError> for RequestError {
    fn from(error: LineError) -> RequestError {
        RequestError::Line(error)
    }
}

impl From<FramingError> for RequestError {
    fn from(error: FramingError) -> RequestError {
        match error {
            FramingError::LengthInvalid => RequestError::ContentLengthInvalid,
            FramingError::CodingInvalid => RequestError::TransferEncodingInvalid,
            FramingError::CodingUnknown => RequestError::TransferCodingUnknown,
        }
    }
}

/// Reads a request head from all bytes received so far: how many it took and what it says, or `None` if it is not complete.
/// On an error, method and path are in `head` if the request line could be read; the fields are not.
pub fn parse_request(
    bytes: &[u8],
    limits: &HeadLimits,
    head: &mut RequestHead,
) -> Result<Option<(usize, RequestFacts)>, RequestError> {
    head.clear();
    // Nothing beyond the limit is looked at, so that it holds whatever the size of a read.
    let window = bytes.get(..limits.head_bytes).unwrap_or(bytes);
    let parsed = match request_line(window, limits, head)? {
        Some(start) => lines::parse(window, start, limits.fields, &mut head.fields)?,
        None => None,
    };
    let Some(consumed) = parsed else {
        return if bytes.len() >= limits.head_bytes { Err(RequestError::HeadTooLarge) } else { Ok(None) };
    };
    let facts = check(head).inspect_err(|_| head.fields.clear())?;
    Ok(Some((consumed, facts)))
}

/// Reads the request line into `head` and gives the position after it.
fn request_line(
    bytes: &[u8],
    limits: &HeadLimits,
    head: &mut RequestHead,
) -> Result<Option<usize>, RequestError> {
    let Some(start) = skip_empty_lines(bytes)? else { return Ok(None) };
    let Some(space) = method_end(bytes, start)? else { return Ok(None) };
    head.method = Method::parse(bytes.get(start..space).unwrap_or_default())
        .map_err(|_| RequestError::MethodInvalid)?;
    let target_start = space + 1;
    let rest = bytes.get(target_start..).unwrap_or_default();
    // One byte more than allowed: the space after a target of the longest length must be seen.
    let scan = path::scan(rest.get(..limits.target_bytes.saturating_add(1)).unwrap_or(rest));
    if scan.len > limits.target_bytes {
        return Err(RequestError::TargetTooLong);
    }
    let target_end = target_start + scan.len;
    match bytes.get(target_end) {
        None => return Ok(None),
        Some(b' ') if scan.len > 0 => {}
        // HTTP/0.9, or a missing part: no space, or two of them.
        Some(b' ' | b'\r' | b'\n') => return Err(RequestError::RequestLineInvalid),
        Some(_) => return Err(RequestError::TargetInvalid),
    }
    let Some(end) = request_version(bytes, target_end + 1, head)? else { return Ok(None) };
    head.target.parse(rest.get(..scan.len).unwrap_or_default(), scan, &head.method)?;
    Ok(Some(end))
}

/// Robust servers ignore an empty line before a request (RFC 9112 section 2.2): old clients sent one after a body.
fn skip_empty_lines(bytes: &[u8]) -> Result<Option<usize>, RequestError> {
    let mut at = 0;
    loop {
        match bytes.get(at) {
            None => return Ok(None),
            Some(b'\r') if at == 4 => return Err(RequestError::EmptyLines),
            Some(b'\r') => match line_feed(bytes, at)? {
                Some(()) => at += 2,
                None => return Ok(None),
            },
            Some(b'\n') => return Err(LineError::BareLf.into()),
            // The first byte of a TLS handshake record (RFC 8446 section 5.1).
            Some(0x16) => return Err(RequestError::TlsHandshake),
            Some(_) => return Ok(Some(at)),
        }
    }
}

/// Where the space after the method stands.
fn method_end(bytes: &[u8], start: usize) -> Result<Option<usize>, RequestError> {
    const METHOD_MAX: usize = 32;
    let rest = bytes.get(start..).unwrap_or_default();
    let length = rest.iter().take(METHOD_MAX + 1).take_while(|byte| is_token_byte(**byte)).count();
    match rest.get(length) {
        _ if length > METHOD_MAX => Err(RequestError::MethodInvalid),
        None => Ok(None),
        Some(b' ') if length > 0 => Ok(Some(start + length)),
        Some(_) => Err(RequestError::MethodInvalid),
    }
}

/// Reads version and line end, and gives the position after them. A minor version above 1 is served as HTTP/1.1
/// (RFC 9110 section 2.5); nothing of it is forwarded.
fn request_version(
    bytes: &[u8],
    start: usize,
    head: &mut RequestHead,
) -> Result<Option<usize>, RequestError> {
    let rest = bytes.get(start..).unwrap_or_default();
    let Some(parsed) = version(rest).map_err(|()| RequestError::RequestLineInvalid)? else { return Ok(None) };
    let end = start + 8;
    match bytes.get(end) {
        None => return Ok(None),
        Some(b'\r') => {}
        Some(b'\n') => return Err(LineError::BareLf.into()),
        Some(_) => return Err(RequestError::RequestLineInvalid),
    }
    let Some(()) = line_feed(bytes, end)? else { return Ok(None) };
    head.version = match parsed {
        VersionText::Major1 { minor: 0 } => Version::Http10,
        VersionText::Major1 { .. } => Version::Http11,
        VersionText::Other => return Err(RequestError::VersionUnsupported),
    };
    Ok(Some(end + 2))
}

/// The rules that span fields.
fn check(head: &mut RequestHead) -> Result<RequestFacts, RequestError> {
    let framing = request_framing(head)?;
    if head.version == Version::Http11 && !head.fields.may_have(Known::Host) {
        return Err(RequestError::HostMissing);
    }
    head.target.agree_with_host(&head.fields)?;
    let has_body = !matches!(framing, Framing::None | Framing::Length(0));
    let expect_continue = expects_continue(head)? && head.version == Version::Http11 && has_body;
    let options = facts::connection_options(&head.fields).ok_or(RequestError::ConnectionOptionsTooMany)?;
    let keep_alive = !options.close && (head.version == Version::Http11 || options.keep_alive);
    let upgrade = options.upgrade && head.version == Version::Http11 && !has_body && offers_upgrade(head);
    Ok(RequestFacts { framing, keep_alive, expect_continue, upgrade })
}

/// Checks a request that came by HTTP/2, after [`RequestHead::set_target`]: the fields that would frame or route it otherwise once it
/// is sent on as HTTP/1.1. Without `Content-Length` the framing is [`Framing::Chunked`]; a caller that knows that the stream has
/// ended knows better.
pub fn check_http2_request(head: &RequestHead) -> Result<RequestFacts, RequestError> {
    const FORBIDDEN: [Known; 5] = [
        Known::Connection,
        Known::KeepAlive,
        Known::ProxyConnection,
        Known::TransferEncoding,
        Known::Upgrade,
    ];
    let fields = &head.fields;
    let forbidden = FORBIDDEN.iter().any(|known| fields.get(*known).is_some());
    if forbidden || fields.get_all(Known::Te).any(|value| !value.eq_ignore_ascii_case(b"trailers")) {
        return Err(RequestError::ConnectionFieldInHttp2);
    }
    if head.target.authority().is_empty() {
        return Err(RequestError::HostMissing);
    }
    let framing = content_length(head)?.map_or(Framing::Chunked, Framing::Length);
    let expect_continue = expects_continue(head)? && framing != Framing::Length(0);
    Ok(RequestFacts { framing, keep_alive: true, expect_continue, upgrade: false })
}

fn expects_continue(head: &RequestHead) -> Result<bool, RequestError> {
    let mut values = head.fields.get_all(Known::Expect).peekable();
    let expects = values.peek().is_some();
    if values.all(|value| value.eq_ignore_ascii_case(b"100-continue")) {
        Ok(expects)
    } else {
        Err(RequestError::ExpectationUnknown)
    }
}

fn request_framing(head: &RequestHead) -> Result<Framing, RequestError> {
    let fields = &head.fields;
    if fields.may_have(Known::TransferEncoding) {
        if fields.get(Known::ContentLength).is_some() {
            return Err(RequestError::ContentLengthWithTransferEncoding);
        }
        if head.version == Version::Http10 {
            return Err(RequestError::TransferEncodingInHttp10);
        }
        facts::check_transfer_encoding(fields)?;
        return Ok(Framing::Chunked);
    }
    Ok(content_length(head)?.map_or(Framing::None, Framing::Length))
}

fn content_length(head: &RequestHead) -> Result<Option<u64>, RequestError> {
    let mut lengths = head.fields.get_all(Known::ContentLength);
    let Some(length) = lengths.next() else { return Ok(None) };
    if lengths.next().is_some() {
        return Err(RequestError::ContentLengthRepeated);
    }
    Ok(Some(facts::content_length(length)?))
}

fn offers_upgrade(head: &RequestHead) -> bool {
    let mut protocols = head.fields.get_all(Known::Upgrade).flat_map(list).peekable();
    protocols.peek().is_some()
        && protocols.all(|protocol| {
            let name = protocol.split(|byte| *byte == b'/').next().unwrap_or_default();
            !["h2", "h2c", "http", "tls"].iter().any(|refused| name.eq_ignore_ascii_case(refused.as_bytes()))
        })
}
