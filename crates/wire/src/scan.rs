//! Byte classes, and searches that look at eight bytes at a time. No `unsafe`, so no vector intrinsics: on heads of a few
//! hundred bytes this is within a few nanoseconds of them.

/// A character of a token (RFC 9110 section 5.6.2).
pub(crate) const TOKEN: u8 = 1;
/// May not stand in a request target.
pub(crate) const TARGET_END: u8 = 1 << 1;
/// Begins the query.
pub(crate) const QUERY: u8 = 1 << 2;
/// Makes a path worth a look before it can be called canonical: `%`, and what RFC 3986 does not allow unescaped.
pub(crate) const UNCANONICAL: u8 = 1 << 3;
/// May be part of a dot segment.
pub(crate) const DOT: u8 = 1 << 4;
/// A character of a host name as we accept it.
pub(crate) const HOST: u8 = 1 << 5;
/// Unreserved (RFC 3986 section 2.3).
pub(crate) const UNRESERVED: u8 = 1 << 6;

const CLASSES: [u8; 256] = classes();

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let byte = index as u8;
        let mut class = 0;
        if byte.is_ascii_alphanumeric() {
            class |= TOKEN | HOST | UNRESERVED;
        }
        if matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        ) {
            class |= TOKEN;
        }
        if matches!(byte, b'-' | b'.' | b'_' | b'~') {
            class |= HOST | UNRESERVED;
        }
        if byte <= b' ' || byte >= 0x7f || byte == b'#' {
            class |= TARGET_END;
        }
        if matches!(byte, b'%' | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}') {
            class |= UNCANONICAL;
        }
        if byte == b'?' {
            class |= QUERY;
        }
        if byte == b'.' {
            class |= DOT;
        }
        table[index] = class;
        index += 1;
    }
    table
}

/// The classes of a byte.
#[inline]
pub(crate) fn class(byte: u8) -> u8 {
    CLASSES.get(usize::from(byte)).copied().unwrap_or(0)
}

#[inline]
pub(crate) fn is_token_byte(byte: u8) -> bool {
    class(byte) & TOKEN != 0
}

pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| is_token_byte(*byte))
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// The high bit of each byte of `word` that is below `limit` (at most 0x80). Exact up to and including the first hit;
/// a borrow may mark bytes after it, which callers never look at.
#[inline]
fn below(word: u64, limit: u64) -> u64 {
    word.wrapping_sub(ONES * limit) & !word & HIGHS
}

#[inline]
fn find(bytes: &[u8], from: usize, word: impl Fn(u64) -> u64, byte: impl Fn(u8) -> bool) -> Option<usize> {
    let mut rest = bytes.get(from..)?;
    let mut at = from;
    while let Some((chunk, tail)) = rest.split_first_chunk::<8>() {
        let hits = word(u64::from_le_bytes(*chunk));
        if hits != 0 {
            return Some(at + (hits.trailing_zeros() / 8) as usize);
        }
        at += 8;
        rest = tail;
    }
    rest.iter().position(|b| byte(*b)).map(|offset| at + offset)
}

/// The first control character (0x00 to 0x1F, 0x7F) at or after `from`.
#[inline]
pub(crate) fn find_control(bytes: &[u8], from: usize) -> Option<usize> {
    find(
        bytes,
        from,
        |word| below(word, 0x20) | below(word ^ (ONES * 0x7f), 1),
        |byte| byte.is_ascii_control(),
    )
}

/// The first colon at or after `from`.
#[inline]
pub(crate) fn find_colon(bytes: &[u8], from: usize) -> Option<usize> {
    find(bytes, from, |word| below(word ^ (ONES * 0x3a), 1), |byte| byte == b':')
}

/// Removes optional whitespace (SP, HTAB) at both ends.
#[inline]
pub(crate) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The elements of a comma-separated list, trimmed; empty ones are passed over (RFC 9110 section 5.6.1).
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(trim).filter(|element| !element.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn word_searches_agree_with_byte_searches() {
        for byte in 0..=255u8 {
            for length in 0..20 {
                for at in 0..length {
                    // 0x80 and 0xFF beside the hit: neighbours must not lend or borrow.
                    for filler in [b'a', 0x80, 0xff, b' '] {
                        let mut bytes = vec![filler; length];
                        bytes[at] = byte;
                        let control = bytes.iter().position(|b| b.is_ascii_control());
                        assert_eq!(find_control(&bytes, 0), control, "{byte:#x} at {at} of {length}");
                        let colon = bytes.iter().position(|b| *b == b':');
                        assert_eq!(find_colon(&bytes, 0), colon, "{byte:#x} at {at} of {length}");
                    }
                }
            }
        }
        assert_eq!(find_colon(b":a:b", 1), Some(2));
        assert_eq!(find_colon(b":", 2), None);
    }

    #[test]
    fn lists_are_trimmed_and_skip_empty_elements() {
        assert_eq!(list(b" a ,,\tb c, ").collect::<Vec<_>>(), [b"a".as_slice(), b"b c"]);
        assert_eq!(list(b"").count(), 0);
    }
}
