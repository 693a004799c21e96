//! HTTP/1.1 messages as bytes, appended to a buffer that is reused.

use model::Method;

use crate::fields::Fields;
use crate::head::Version;

/// What ends the data of a chunk.
pub const CHUNK_END: &[u8] = b"\r\n";

/// Appends a request head. `target` is path and query (or `*`), already in the form to be sent.
/// Always HTTP/1.1: a proxy speaks its own version (RFC 9110 section 7.6).
pub fn encode_request_head(out: &mut Vec<u8>, method: &Method, target: &str, fields: &Fields) {
    const VERSION: &[u8] = b" HTTP/1.1\r\n";
    let method = method.as_str().as_bytes();
    out.reserve(method.len() + 1 + target.len() + VERSION.len() + fields.bytes.len() + 2);
    out.extend_from_slice(method);
    out.push(b' ');
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(VERSION);
    fields.encode(out);
    out.extend_from_slice(b"\r\n");
}

/// Appends a response head. An empty reason is replaced by the usual one; a given one must be free of control characters.
/// The version is HTTP/1.1 unless it is [`Version::Http10`].
pub fn encode_response_head(
    out: &mut Vec<u8>,
    version: Version,
    status: u16,
    reason: &[u8],
    fields: &Fields,
) {
    let reason = if reason.is_empty() { self::reason(status).as_bytes() } else { reason };
    out.reserve(STATUS_LINE.len() + reason.len() + 4 + fields.bytes.len());
    const STATUS_LINE: &[u8] = b"HTTP/1.1 200 ";
    let version: &[u8] = match version {
        Version::Http10 => b"HTTP/1.0 ",
        Version::Http11 | Version::Http2 => b"HTTP/1.1 ",
    };
    out.extend_from_slice(version);
    let digit = |value: u16| b'0' + (value % 10) as u8;
    out.extend_from_slice(&[digit(status / 100), digit(status / 10), digit(status), b' ']);
    out.extend_from_slice(reason);
    out.extend_from_slice(b"\r\n");
    fields.encode(out);
    out.extend_from_slice(b"\r\n");
}

/// Appends what precedes the data of a chunk, which is followed by [`CHUNK_END`]. Nothing for no data, because an empty
/// chunk would end the body.
pub fn chunk_head(out: &mut Vec<u8>, len: usize) {
    if len == 0 {
        return;
    }
    let digits = (usize::BITS - len.leading_zeros()).div_ceil(4);
    for position in (0..digits).rev() {
        let digit = (len >> (position * 4)) as u8 & 15;
        out.push(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 });
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the end of a chunked body, with trailer fields if there are any.
pub fn last_chunk(out: &mut Vec<u8>, trailers: Option<&Fields>) {
    out.extend_from_slice(b"0\r\n");
    if let Some(trailers) = trailers {
        trailers.encode(out);
    }
    out.extend_from_slice(b"\r\n");
}

/// The usual reason phrase of a status (the IANA registry); empty for an unregistered one.
pub fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        102 => "Processing",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        208 => "Already Reported",
        226 => "IM Used",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        305 => "Use Proxy",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        423 => "Locked",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        499 => "Client Closed Request",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        506 => "Variant Also Negotiates",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        511 => "Network Authentication Required",
        _ => "",
    }
}
