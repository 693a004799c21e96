//! What the fields of a head say about body and connection, for both directions.

use crate::fields::Fields;
use crate::known::Known;
use crate::scan::{is_token, list};

/// Why the framing fields of a message cannot be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FramingError {
    LengthInvalid,
    CodingInvalid,
    CodingUnknown,
}

/// The one value a `Content-Length` field may have: digits only, at most `i64::MAX`, because the next server may count signed.
/// Lists of equal values, which RFC 9110 section 8.6 lets a recipient repair, are refused.
pub(crate) fn content_length(value: &[u8]) -> Result<u64, FramingError> {
    if value.is_empty() || value.len() > 20 {
        return Err(FramingError::LengthInvalid);
    }
    value
        .iter()
        .try_fold(0u64, |length, digit| {
            let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
            length.checked_mul(10)?.checked_add(digit)
        })
        .filter(|length| i64::try_from(*length).is_ok())
        .ok_or(FramingError::LengthInvalid)
}

/// Whether the transfer coding is a single final `chunked`, the only one served.
/// A well-formed list that ends in `chunked` but begins with other codings is unknown; anything else is invalid.
pub(crate) fn check_transfer_encoding(fields: &Fields) -> Result<(), FramingError> {
    let mut values = fields.get_all(Known::TransferEncoding);
    let (first, second) = (values.next(), values.next());
    if second.is_none() && first.is_some_and(|value| value.eq_ignore_ascii_case(b"chunked")) {
        return Ok(());
    }
    // Empty elements would be passed over by a lenient reader; what several fields join to is left unsaid as well.
    if second.is_some() {
        return Err(FramingError::CodingInvalid);
    }
    let mut elements =
        first.unwrap_or_default().split(|byte| *byte == b',').map(crate::scan::trim).peekable();
    let mut unknown = false;
    while let Some(element) = elements.next() {
        let is_chunked = element.eq_ignore_ascii_case(b"chunked");
        let is_last = elements.peek().is_none();
        if !is_token(element) || (is_chunked && !is_last) {
            return Err(FramingError::CodingInvalid);
        }
        unknown |= !is_chunked;
    }
    Err(if unknown { FramingError::CodingUnknown } else { FramingError::CodingInvalid })
}

/// The options of `Connection` that say something about the connection itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConnectionOptions {
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
    pub(crate) upgrade: bool,
}

/// How many options all `Connection` fields of a head may list. Every one of them may cost a look at every field, and
/// nobody sends more than five.
const OPTIONS_MAX: usize = 64;

/// `None` if there are too many.
pub(crate) fn connection_options(fields: &Fields) -> Option<ConnectionOptions> {
    let mut options = ConnectionOptions::default();
    let mut count = 0;
    for option in fields.get_all(Known::Connection).flat_map(list) {
        count += 1;
        if count > OPTIONS_MAX {
            return None;
        }
        options.close |= option.eq_ignore_ascii_case(b"close");
        options.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        options.upgrade |= option.eq_ignore_ascii_case(b"upgrade");
    }
    Some(options)
}
