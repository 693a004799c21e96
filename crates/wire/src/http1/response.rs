//! Response heads (RFC 9112 section 4) and the length of the body after them (section 6.3).

use model::{Fault, Method};

use super::facts::{self, FramingError};
use super::{HeadLimits, VersionText, version};
use crate::head::{Framing, ResponseHead, Version};
use crate::known::Known;
use crate::lines::{self, LineError, line_feed};
use crate::rules::rules;
use crate::scan::find_control;

/// What the head of a response says about its body and its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseFacts {
    /// [`Framing::None`] for HEAD, 1xx, 204 and 304, whatever the fields say.
    pub framing: Framing,
    /// Whether the connection may be used again once the body has been read.
    pub keep_alive: bool,
    /// Another head follows: 1xx, but not 101.
    pub informational: bool,
    /// The connection is a tunnel from here on: 101, or 2xx to `CONNECT`. Only a request that offered it may believe it.
    pub upgrade: bool,
}

rules! {
    /// The rule that a response head broke.
    ResponseError {
        ConnectionOptionsTooMany "Connection must not list more than 64 options",
        ContentLengthDiffers "repeated Content-Length fields must be equal (RFC 9112 6.3)",
        ContentLengthInvalid "Content-Length must be one decimal number (RFC 9110 8.6)",
        ContentLengthWithTransferEncoding "Content-Length and Transfer-Encoding exclude each other (RFC 9112 6.1)",
        HeadTooLarge "the response head is larger than allowed",
        NotHttp "a response must begin with HTTP/ and a version (RFC 9112 4)",
        StatusInvalid "the status must be 100 to 599 (RFC 9110 15)",
        StatusLineInvalid "the status line must be version, status and reason, one space between them (RFC 9112 4)",
        TransferCodingUnknown "the only transfer coding served is chunked (RFC 9112 6.1)",
        TransferEncodingInHttp10 "HTTP/1.0 has no Transfer-Encoding (RFC 9112 6.1)",
        TransferEncodingInvalid "Transfer-Encoding must be a single, final chunked (RFC 9112 6.1)",
        VersionUnsupported "the version must be HTTP/1.0 or HTTP/1.1 (RFC 9110 2.5)",
        ..Line(LineError) "A rule of lines."
    }
}

impl ResponseError {
    /// The fault of an attempt that ends with this.
    pub fn fault(self) -> Fault {
        match self {
            ResponseError::HeadTooLarge | ResponseError::Line(LineError::TooManyFields) => {
                Fault::ResponseHeadTooLarge
            }
            ResponseError::ConnectionOptionsTooMany
            | ResponseError::ContentLengthDiffers
            | ResponseError::ContentLengthInvalid
            | ResponseError::ContentLengthWithTransferEncoding
            | ResponseError::Line(_)
            | ResponseError::NotHttp
            | ResponseError::StatusInvalid
            | ResponseError::StatusLineInvalid
            | ResponseError::TransferCodingUnknown
            | ResponseError::TransferEncodingInHttp10
            | ResponseError::TransferEncodingInvalid
            | ResponseError::VersionUnsupported => Fault::ResponseMalformed,
        }
    }
}

impl From<LineError> for ResponseError {
    fn from(error: LineError) -> ResponseError {
        ResponseError::Line(error)
    }
}

impl From<FramingError> for ResponseError {
    fn from(error: FramingError) -> ResponseError {
        match error {
            FramingError::LengthInvalid => ResponseError::ContentLengthInvalid,
            FramingError::CodingInvalid => ResponseError::TransferEncodingInvalid,
            FramingError::CodingUnknown => ResponseError::TransferCodingUnknown,
        }
    }
}

/// Reads a response head from all bytes received so far: how many it took and what it says, or `None` if it is not complete.
/// The method is that of the request it answers: it decides whether a body follows.
///
/// Framing fields that cannot mean anything (any in 1xx and 204, equal repeated lengths) are removed from the head.
/// On an error the status is in `head` if the status line could be read; the fields are not.
pub fn parse_response(
    bytes: &[u8],
    limits: &HeadLimits,
    request_method: &Method,
    head: &mut ResponseHead,
) -> Result<Option<(usize, ResponseFacts)>, ResponseError> {
    head.clear();
    // Nothing beyond the limit is looked at, so that it holds whatever the size of a read.
    let window = bytes.get(..limits.head_bytes).unwrap_or(bytes);
    let parsed = match status_line(window, head)? {
        Some(start) => lines::parse(window, start, limits.fields, &mut head.fields)?,
        None => None,
    };
    let Some(consumed) = parsed else {
        return if bytes.len() >= limits.head_bytes { Err(ResponseError::HeadTooLarge) } else { Ok(None) };
    };
    let facts = check(head, request_method).inspect_err(|_| head.fields.clear())?;
    Ok(Some((consumed, facts)))
}

/// Reads a response head without status line (RFC 3875 section 6): the status is a field, 200 if there is none.
pub(crate) fn parse_cgi_response(
    bytes: &[u8],
    limits: &HeadLimits,
    request_method: &Method,
    head: &mut ResponseHead,
) -> Result<Option<(usize, ResponseFacts)>, ResponseError> {
    head.clear();
    head.version = Version::Http10;
    let window = bytes.get(..limits.head_bytes).unwrap_or(bytes);
    let Some(consumed) = lines::parse(window, 0, limits.fields, &mut head.fields)? else {
        return if bytes.len() >= limits.head_bytes { Err(ResponseError::HeadTooLarge) } else { Ok(None) };
    };
    let facts = check_cgi(head, request_method).inspect_err(|_| head.fields.clear())?;
    Ok(Some((consumed, facts)))
}

fn check_cgi(head: &mut ResponseHead, request_method: &Method) -> Result<ResponseFacts, ResponseError> {
    head.status = match head.fields.get(Known::Status) {
        None if head.fields.is_empty() => return Err(ResponseError::NotHttp),
        None => 200,
        Some([hundreds @ b'1'..=b'5', tens @ b'0'..=b'9', ones @ b'0'..=b'9', reason @ ..])
            if matches!(reason, [] | [b' ', ..]) =>
        {
            head.reason.extend_from_slice(reason.get(1..).unwrap_or_default());
            [hundreds, tens, ones].into_iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'))
        }
        Some(_) => return Err(ResponseError::StatusInvalid),
    };
    head.fields.remove(Known::Status);
    check(head, request_method)
}

/// Reads the status line into `head` and gives the position after it.
///
/// The space after the status may be missing when the reason is: several small servers leave it out, and nothing else
/// could be meant. A status of 600 or more is refused as RFC 9110 section 15 calls it invalid and no client agrees with
/// another what it means.
fn status_line(bytes: &[u8], head: &mut ResponseHead) -> Result<Option<usize>, ResponseError> {
    let Some(parsed) = version(bytes).map_err(|()| ResponseError::NotHttp)? else { return Ok(None) };
    head.version = match parsed {
        VersionText::Major1 { minor: 0 } => Version::Http10,
        VersionText::Major1 { .. } => Version::Http11,
        VersionText::Other => return Err(ResponseError::VersionUnsupported),
    };
    let mut status = 0u16;
    for at in 8..12 {
        match (at, bytes.get(at)) {
            (_, None) => return Ok(None),
            (8, Some(b' ')) => {}
            (9.., Some(digit @ b'0'..=b'9')) => status = status * 10 + u16::from(digit - b'0'),
            _ => return Err(ResponseError::StatusLineInvalid),
        }
    }
    let reason_start = match bytes.get(12) {
        None => return Ok(None),
        Some(b' ') => 13,
        Some(b'\r' | b'\n') => 12,
        Some(_) => return Err(ResponseError::StatusLineInvalid),
    };
    if !(100..=599).contains(&status) {
        return Err(ResponseError::StatusInvalid);
    }
    let mut from = reason_start;
    let reason_end = loop {
        let Some(stop) = find_control(bytes, from) else { return Ok(None) };
        match bytes.get(stop) {
            Some(b'\r') => break stop,
            Some(b'\t') => from = stop + 1,
            Some(b'\n') => return Err(LineError::BareLf.into()),
            _ => return Err(ResponseError::StatusLineInvalid),
        }
    };
    let Some(()) = line_feed(bytes, reason_end)? else { return Ok(None) };
    head.status = status;
    head.reason.extend_from_slice(bytes.get(reason_start..reason_end).unwrap_or_default());
    Ok(Some(reason_end + 2))
}

/// The rules that span fields.
fn check(head: &mut ResponseHead, request_method: &Method) -> Result<ResponseFacts, ResponseError> {
    let announced = announced_framing(head)?;
    let options = facts::connection_options(&head.fields).ok_or(ResponseError::ConnectionOptionsTooMany)?;
    let persistent = !options.close && (head.version == Version::Http11 || options.keep_alive);
    let tunnel = *request_method == Method::Connect && matches!(head.status, 200..=299);
    if tunnel || matches!(head.status, 100..=199 | 204) {
        // Neither may be sent in these (RFC 9110 section 8.6, RFC 9112 section 6.1); passed on, they could be believed.
        head.fields.remove(Known::ContentLength);
        head.fields.remove(Known::TransferEncoding);
        let upgrade = tunnel || head.status == 101;
        let informational = head.status < 200 && !upgrade;
        // A server that announces a body here may send it, too.
        let clean = matches!(announced, Framing::Length(0) | Framing::Close);
        let keep_alive = !upgrade && (informational || clean) && persistent;
        return Ok(ResponseFacts { framing: Framing::None, keep_alive, informational, upgrade });
    }
    let no_body = *request_method == Method::Head || head.status == 304;
    let framing = if no_body { Framing::None } else { announced };
    let keep_alive = persistent && framing != Framing::Close;
    Ok(ResponseFacts { framing, keep_alive, informational: false, upgrade: false })
}

/// Checks a response that came by HTTP/2, whose library has read it: what frames it elsewhere must be one thing. A body without
/// a length is given as chunked.
pub fn check_http2_response(head: &mut ResponseHead) -> Result<Framing, ResponseError> {
    match announced_framing(head)? {
        Framing::Length(length) => Ok(Framing::Length(length)),
        Framing::Chunked | Framing::Close | Framing::None => Ok(Framing::Chunked),
    }
}

/// What the fields announce, whether or not a body can follow.
fn announced_framing(head: &mut ResponseHead) -> Result<Framing, ResponseError> {
    let fields = &mut head.fields;
    if fields.may_have(Known::TransferEncoding) {
        if fields.get(Known::ContentLength).is_some() {
            return Err(ResponseError::ContentLengthWithTransferEncoding);
        }
        if head.version == Version::Http10 {
            return Err(ResponseError::TransferEncodingInHttp10);
        }
        facts::check_transfer_encoding(fields)?;
        return Ok(Framing::Chunked);
    }
    let mut lengths = fields.get_all(Known::ContentLength);
    let Some(first) = lengths.next() else { return Ok(Framing::Close) };
    let length = facts::content_length(first)?;
    let mut repeated = false;
    for other in lengths {
        if facts::content_length(other)? != length {
            return Err(ResponseError::ContentLengthDiffers);
        }
        repeated = true;
    }
    if repeated {
        // Application and server both wrote it; RFC 9110 section 8.6 allows to keep one.
        let mut seen = false;
        fields.retain(|field| {
            let keep = field.known != Known::ContentLength || !seen;
            seen |= field.known == Known::ContentLength;
            keep
        });
    }
    Ok(Framing::Length(length))
}
