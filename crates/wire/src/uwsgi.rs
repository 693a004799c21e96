//! The uwsgi protocol (uwsgi-docs, Protocol.html): a request is one packet of WSGI variables, followed by the body; the
//! response is plain HTTP, or CGI with a `Status` field, and ends with the connection.
//!
//! The variables are those of nginx's `uwsgi_params`, so that an application finds what it found behind nginx.

use std::io::Write;
use std::net::SocketAddr;

use model::Method;

use crate::fields::{Field, Fields};
use crate::head::{RequestHead, ResponseHead};
use crate::http1::{HeadLimits, ResponseError, ResponseFacts, parse_cgi_response, parse_response};
use crate::known::Known;

/// A request to be sent as a packet. Hop-by-hop fields and names with underscores must have been dropped.
#[derive(Clone, Copy, Debug)]
pub struct UwsgiRequest<'a> {
    /// Method and fields are taken from it.
    pub head: &'a RequestHead,
    /// `PATH_INFO`: the forwarded path without `script_name`, decoded (see [`crate::path::decode`]).
    pub path: &'a [u8],
    /// `SCRIPT_NAME`: the prefix under which the application is published; empty for none.
    pub script_name: &'a [u8],
    /// `REQUEST_URI`: path and query as they would be forwarded over HTTP.
    pub request_uri: &'a str,
    /// Without question mark; empty for none.
    pub query: &'a str,
    /// `REMOTE_ADDR` and `REMOTE_PORT`; `None` for a client on a Unix socket.
    pub remote: Option<SocketAddr>,
    /// `SERVER_NAME`: the host asked for.
    pub server_name: &'a str,
    /// `SERVER_PORT`; `None` for a listener on a Unix socket.
    pub server_port: Option<u16>,
    /// Whether the client spoke TLS.
    pub https: bool,
    /// `None` for a body of unknown length; `Some(0)` for none.
    pub content_length: Option<u64>,
}

/// The variables do not fit into a packet, whose size is a 16 bit number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

const HEADER_LEN: usize = 4;

/// Appends the packet. On an error, `out` is as it was.
pub fn encode(out: &mut Vec<u8>, request: &UwsgiRequest<'_>) -> Result<(), TooLarge> {
    let start = out.len();
    let encoded = encode_packet(out, start, request);
    if encoded.is_err() {
        out.truncate(start);
    }
    encoded
}

fn encode_packet(out: &mut Vec<u8>, start: usize, request: &UwsgiRequest<'_>) -> Result<(), TooLarge> {
    // modifier1 (0 is WSGI), size of the variables, modifier2.
    out.extend_from_slice(&[0; HEADER_LEN]);
    let fields = &request.head.fields;
    variable(out, b"QUERY_STRING", request.query.as_bytes())?;
    variable(out, b"REQUEST_METHOD", request.head.method.as_str().as_bytes())?;
    variable(out, b"CONTENT_TYPE", fields.get(Known::ContentType).unwrap_or_default())?;
    display(out, b"CONTENT_LENGTH", request.content_length)?;
    variable(out, b"REQUEST_URI", request.request_uri.as_bytes())?;
    variable(out, b"SCRIPT_NAME", request.script_name)?;
    variable(out, b"PATH_INFO", request.path)?;
    // uWSGI answers in the version it is told, and an answer in HTTP/2.0 would not be HTTP/1.1 any more.
    variable(out, b"SERVER_PROTOCOL", b"HTTP/1.1")?;
    variable(out, b"REQUEST_SCHEME", if request.https { b"https" } else { b"http" })?;
    if request.https {
        variable(out, b"HTTPS", b"on")?;
    }
    display(out, b"REMOTE_ADDR", request.remote.map(|remote| remote.ip().to_canonical()))?;
    display(out, b"REMOTE_PORT", request.remote.map(|remote| remote.port()))?;
    variable(out, b"SERVER_NAME", request.server_name.as_bytes())?;
    display(out, b"SERVER_PORT", request.server_port)?;
    http_variables(out, fields)?;
    let size = u16::try_from(out.len() - start - HEADER_LEN).map_err(|_| TooLarge)?;
    if let Some(slot) = out.get_mut(start + 1..start + 3) {
        slot.copy_from_slice(&size.to_le_bytes());
    }
    Ok(())
}

/// `HTTP_NAME` for each field, in upper case with `_` for `-`; fields of one name become one, as RFC 9110 section 5.3 allows.
fn http_variables(out: &mut Vec<u8>, fields: &Fields) -> Result<(), TooLarge> {
    for (index, field) in fields.iter().enumerate() {
        let repeats = |earlier: Field<'_>| same_name(&earlier, &field);
        if is_variable_of_its_own(&field) || fields.iter().take(index).any(repeats) {
            continue;
        }
        let name_slot = reserve_length(out);
        out.extend_from_slice(b"HTTP_");
        out.extend(
            field.name.iter().map(|byte| if *byte == b'-' { b'_' } else { byte.to_ascii_uppercase() }),
        );
        fill_length(out, name_slot)?;
        let separator: &[u8] = if field.known == Known::Cookie { b"; " } else { b", " };
        let value_slot = reserve_length(out);
        out.extend_from_slice(field.value);
        for later in fields.iter().skip(index + 1).filter(|later| same_name(later, &field)) {
            out.extend_from_slice(separator);
            out.extend_from_slice(later.value);
        }
        fill_length(out, value_slot)?;
    }
    Ok(())
}

/// Fields that do not become `HTTP_` variables: PEP 3333 has two under other names, and `HTTP_PROXY` would set the proxy of
/// every HTTP client in a CGI environment (httpoxy, CVE-2016-5385).
fn is_variable_of_its_own(field: &Field<'_>) -> bool {
    matches!(field.known, Known::ContentLength | Known::ContentType)
        || field.name.eq_ignore_ascii_case(b"proxy")
}

fn same_name(left: &Field<'_>, right: &Field<'_>) -> bool {
    left.known == right.known && (left.known != Known::Other || left.name.eq_ignore_ascii_case(right.name))
}

fn variable(out: &mut Vec<u8>, name: &[u8], value: &[u8]) -> Result<(), TooLarge> {
    for part in [name, value] {
        let slot = reserve_length(out);
        out.extend_from_slice(part);
        fill_length(out, slot)?;
    }
    Ok(())
}

fn display(out: &mut Vec<u8>, name: &[u8], value: Option<impl std::fmt::Display>) -> Result<(), TooLarge> {
    let slot = reserve_length(out);
    out.extend_from_slice(name);
    fill_length(out, slot)?;
    let slot = reserve_length(out);
    if let Some(value) = value {
        write!(out, "{value}").expect("writing to memory must work");
    }
    fill_length(out, slot)
}

/// Leaves room for the length of the string that is written next.
fn reserve_length(out: &mut Vec<u8>) -> usize {
    let slot = out.len();
    out.extend_from_slice(&[0; 2]);
    slot
}

fn fill_length(out: &mut [u8], slot: usize) -> Result<(), TooLarge> {
    let length = u16::try_from(out.len() - slot - 2).map_err(|_| TooLarge)?;
    if let Some(room) = out.get_mut(slot..slot + 2) {
        room.copy_from_slice(&length.to_le_bytes());
    }
    Ok(())
}

/// Reads the head of a response, as [`parse_response`] does; one without status line is read as CGI.
pub fn parse_head(
    bytes: &[u8],
    limits: &HeadLimits,
    request_method: &Method,
    head: &mut ResponseHead,
) -> Result<Option<(usize, ResponseFacts)>, ResponseError> {
    const HTTP: &[u8] = b"HTTP/";
    let compared = bytes.len().min(HTTP.len());
    if bytes.get(..compared) == HTTP.get(..compared) {
        parse_response(bytes, limits, request_method, head)
    } else {
        parse_cgi_response(bytes, limits, request_method, head)
    }
}
