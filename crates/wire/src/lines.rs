//! Field lines (RFC 9112 section 5): the block after a start line, and the trailer section.
//!
//! Stricter than the RFC asks of a recipient: nothing is repaired. Each rule has its name, for the record.

use crate::fields::Fields;
use crate::known::Known;
use crate::rules::rules;
use crate::scan::{find_colon, find_control, is_token_byte};

rules! {
    /// A rule of lines that a message broke.
    LineError {
        BareCr "a CR must be followed by LF (RFC 9112 2.2)",
        BareLf "a line must end with CRLF, not LF alone (RFC 9112 2.2)",
        ColonMissing "a field line must have a colon (RFC 9112 5)",
        ControlInValue "a field value must not hold control characters (RFC 9110 5.5)",
        NameEmpty "a field name must not be empty (RFC 9110 5.1)",
        NameInvalid "a field name must be a token (RFC 9110 5.1)",
        Nul "a head must not hold NUL (RFC 9110 5.5)",
        ObsFold "a field must not be folded over lines (RFC 9112 5.2)",
        TooManyFields "there are more fields than allowed",
        WhitespaceAroundValue "a field value must not begin or end with white space (RFC 9113 8.2.1)",
        WhitespaceInName "there must be no white space in a field name or before its colon (RFC 9112 5.1)",
    }
}

/// Reads field lines from `start` up to and with the empty line, and appends them. Gives the position after the empty line,
/// or `None` if it has not arrived. On anything but that position, `fields` is left empty.
pub(crate) fn parse(
    bytes: &[u8],
    start: usize,
    fields_max: usize,
    fields: &mut Fields,
) -> Result<Option<usize>, LineError> {
    let end = parse_lines(bytes, start, fields_max, fields);
    if !matches!(end, Ok(Some(_))) {
        fields.clear();
    }
    end
}

fn parse_lines(
    bytes: &[u8],
    start: usize,
    fields_max: usize,
    fields: &mut Fields,
) -> Result<Option<usize>, LineError> {
    let mut at = start;
    // Lines that stand on the wire exactly as they would be encoded are copied together: `pending` is where the run of
    // them that has not been copied yet begins.
    let mut pending = start;
    loop {
        match bytes.get(at) {
            None => return Ok(None),
            Some(b'\r') => {
                let Some(()) = line_feed(bytes, at)? else { return Ok(None) };
                fields.bytes.extend_from_slice(bytes.get(pending..at).unwrap_or_default());
                return Ok(Some(at + 2));
            }
            Some(b' ' | b'\t') => return Err(LineError::ObsFold),
            Some(_) if fields.entries.len() >= fields_max => return Err(LineError::TooManyFields),
            Some(_) => {}
        }
        let Some(line) = parse_line(bytes, at)? else { return Ok(None) };
        let name_len = line.colon - at;
        let value_len = line.value_end - line.value_start;
        if line.known == Known::Other {
            fields.underscores |= bytes.get(at..line.colon).unwrap_or_default().contains(&b'_');
        }
        let as_encoded = line.value_start == line.colon + 2
            && line.value_end + 2 == line.end
            && bytes.get(line.colon + 1) == Some(&b' ');
        if as_encoded {
            fields.note(line.known, fields.bytes.len() + (at - pending), name_len, value_len);
        } else {
            fields.bytes.extend_from_slice(bytes.get(pending..at).unwrap_or_default());
            let name = bytes.get(at..line.colon).unwrap_or_default();
            let value = bytes.get(line.value_start..line.value_end).unwrap_or_default();
            fields.push_line(line.known, name, value);
            pending = line.end;
        }
        at = line.end;
    }
}

struct Line {
    known: Known,
    colon: usize,
    value_start: usize,
    value_end: usize,
    /// After the CRLF.
    end: usize,
}

#[inline]
fn parse_line(bytes: &[u8], at: usize) -> Result<Option<Line>, LineError> {
    let Some(colon) = find_colon(bytes, at) else {
        return check_name(bytes, at, bytes.len()).map(|()| None);
    };
    let name = bytes.get(at..colon).unwrap_or_default();
    let known = Known::lookup(name);
    if known == Known::Other {
        if name.is_empty() {
            return Err(LineError::NameEmpty);
        }
        check_name(bytes, at, colon)?;
    }
    let mut value_start = colon + 1;
    while let Some(b' ' | b'\t') = bytes.get(value_start) {
        value_start += 1;
    }
    let mut from = value_start;
    let stop = loop {
        let Some(stop) = find_control(bytes, from) else { return Ok(None) };
        match bytes.get(stop) {
            Some(b'\r') => break stop,
            Some(b'\t') => from = stop + 1,
            Some(b'\n') => return Err(LineError::BareLf),
            Some(0) => return Err(LineError::Nul),
            _ => return Err(LineError::ControlInValue),
        }
    };
    let Some(()) = line_feed(bytes, stop)? else { return Ok(None) };
    let mut value_end = stop;
    while value_end > value_start && matches!(bytes.get(value_end - 1), Some(b' ' | b'\t')) {
        value_end -= 1;
    }
    Ok(Some(Line { known, colon, value_start, value_end, end: stop + 2 }))
}

/// Whether the CR at `at` is followed by LF; `None` if nothing follows yet.
#[inline]
pub(crate) fn line_feed(bytes: &[u8], at: usize) -> Result<Option<()>, LineError> {
    match bytes.get(at + 1) {
        None => Ok(None),
        Some(b'\n') => Ok(Some(())),
        Some(_) => Err(LineError::BareCr),
    }
}

/// Checks a name, or what has arrived of it. A CR at the very end of `bytes` says nothing yet.
fn check_name(bytes: &[u8], start: usize, end: usize) -> Result<(), LineError> {
    let name = bytes.get(start..end).unwrap_or_default();
    let Some(offset) = name.iter().position(|byte| !is_token_byte(*byte)) else { return Ok(()) };
    match name.get(offset) {
        Some(b' ' | b'\t') => Err(LineError::WhitespaceInName),
        Some(b'\n') => Err(LineError::BareLf),
        Some(0) => Err(LineError::Nul),
        Some(b'\r') => match line_feed(bytes, start + offset)? {
            Some(()) => Err(LineError::ColonMissing),
            None => Ok(()),
        },
        _ => Err(LineError::NameInvalid),
    }
}
