//! HTTP/1.1 heads: from bytes to [`RequestHead`](crate::RequestHead) and [`ResponseHead`](crate::ResponseHead), and how the body
//! after them is framed.
//!
//! Parsing starts again from the first byte each time, so that state that could disagree with the bytes does not exist. What can
//! never become valid is refused at once, with the same error that the whole head would have got. A caller that is fed drop by
//! drop asks [`Arrival`] whether there is something new to find: otherwise the work would grow with the square of the head.
//! The scanner is our own, because each broken rule is recorded by name.

mod arrival;
mod facts;
mod request;
mod response;

pub use arrival::Arrival;

pub use request::{RequestError, RequestFacts, check_http2_request, parse_request};
pub(crate) use response::parse_cgi_response;
pub use response::{ResponseError, ResponseFacts, check_http2_response, parse_response};

/// What an HTTP/2 connection begins with (RFC 9113 section 3.4).
pub const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Limits of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// The whole head, start line and empty line included.
    pub head_bytes: usize,
    /// How many fields, repeated names counted each time.
    pub fields: usize,
    /// The request target; not used for responses.
    pub target_bytes: usize,
}

/// The part of a start line that names the version.
enum VersionText {
    Major1 { minor: u8 },
    Other,
}

/// Reads `HTTP/d.d` at the start of `bytes`: `None` while what is there could become one, an error otherwise.
/// The name is case-sensitive (RFC 9112 section 2.3).
fn version(bytes: &[u8]) -> Result<Option<VersionText>, ()> {
    const NAME: &[u8] = b"HTTP/";
    if let Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor]) = bytes.first_chunk::<8>()
        && major.is_ascii_digit()
        && minor.is_ascii_digit()
    {
        return Ok(Some(if *major == b'1' {
            VersionText::Major1 { minor: minor - b'0' }
        } else {
            VersionText::Other
        }));
    }
    let fits = bytes.iter().take(8).enumerate().all(|(at, byte)| match at {
        5 | 7 => byte.is_ascii_digit(),
        6 => *byte == b'.',
        _ => NAME.get(at) == Some(byte),
    });
    if fits && bytes.len() < 8 { Ok(None) } else { Err(()) }
}
