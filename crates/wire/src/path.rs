//! One canonical form of a path, which routes and policies see and which is forwarded.
//!
//! - Escapes of unreserved characters are decoded (`%7E` is `~`), the hex digits of the others are upper case
//!   (RFC 3986 sections 6.2.2.1 and 6.2.2.2).
//! - Dot segments, plain or escaped, are resolved and never climb above the root (section 5.2.4).
//! - Visible ASCII that RFC 3986 wants escaped in a path (`"<>\^`, backtick, `{|}`) is escaped: sloppy clients send it, and
//!   servers that take `\` for `/` must not meet it.
//! - `%2F`, `%5C`, `;` and `//` stay as they are: what they mean is the application's affair, and decoding them would change
//!   which resource is named.
//! - Control characters, NUL among them, are refused, plain or escaped; so are broken escapes, and raw bytes from 0x80 up.
//!   nginx passes those on, Uvicorn with h11 refuses them; servers disagree whether they are Latin-1 or UTF-8, and every
//!   client library escapes them.
//!
//! The form is a fixed point: the canonical form of a canonical path is itself.

use memchr::memmem;

use crate::scan::{DOT, QUERY, TARGET_END, UNCANONICAL, UNRESERVED, class};

/// Why a path has no canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PathError {
    /// A control character, plain or escaped.
    Control,
    /// A `%` without two hex digits.
    Escape,
    /// It does not begin with a slash, or holds a byte that no path may hold.
    Invalid,
}

/// What one look at a request target told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scan {
    /// The bytes before the first that may not stand in a target.
    pub(crate) len: usize,
    /// Where the question mark stands.
    pub(crate) query: Option<usize>,
    /// The classes of all bytes before it.
    pub(crate) classes: u8,
}

#[inline]
pub(crate) fn scan(bytes: &[u8]) -> Scan {
    let mut classes = 0;
    let mut query = None;
    let mut rest = bytes.iter().enumerate();
    for (at, byte) in rest.by_ref() {
        let class = class(*byte);
        if class & (TARGET_END | QUERY) != 0 {
            if class & QUERY != 0 {
                query = Some(at);
                break;
            }
            return Scan { len: at, query, classes };
        }
        classes |= class;
    }
    let len = rest.find(|(_, byte)| class(**byte) & TARGET_END != 0).map_or(bytes.len(), |(at, _)| at);
    Scan { len, query, classes }
}

/// Whether a path with these classes is canonical as it stands. May say no for one that is.
#[inline]
pub(crate) fn is_plainly_canonical(path: &[u8], classes: u8) -> bool {
    classes & UNCANONICAL == 0 && (classes & DOT == 0 || memmem::find(path, b"/.").is_none())
}

/// Appends the canonical form of an absolute path (without query). On an error, `out` holds a part of it.
pub fn canonicalize(path: &str, out: &mut String) -> Result<(), PathError> {
    let root = out.len();
    let mut segments = path.strip_prefix('/').ok_or(PathError::Invalid)?.split('/').peekable();
    while let Some(segment) = segments.next() {
        let mark = out.len();
        out.push('/');
        append_segment(segment, out)?;
        let up = match out.get(mark + 1..) {
            Some(".") => false,
            Some("..") => true,
            _ => continue,
        };
        out.truncate(mark);
        if up {
            let parent = out.get(root..).and_then(|resolved| resolved.rfind('/'));
            out.truncate(root + parent.unwrap_or(0));
        }
        // A dot segment at the end names a directory.
        if segments.peek().is_none() {
            out.push('/');
        }
    }
    Ok(())
}

fn append_segment(segment: &str, out: &mut String) -> Result<(), PathError> {
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let (high, low) = (bytes.next().and_then(hex), bytes.next().and_then(hex));
                let (Some(high), Some(low)) = (high, low) else { return Err(PathError::Escape) };
                let decoded = high << 4 | low;
                if decoded.is_ascii_control() {
                    return Err(PathError::Control);
                }
                if class(decoded) & UNRESERVED != 0 {
                    out.push(char::from(decoded))
                } else {
                    escape(decoded, out)
                }
            }
            0..0x20 | 0x7f => return Err(PathError::Control),
            b' ' | b'#' | b'?' | 0x80.. => return Err(PathError::Invalid),
            _ if class(byte) & UNCANONICAL != 0 => escape(byte, out),
            _ => out.push(char::from(byte)),
        }
    }
    Ok(())
}

/// Appends the bytes that a path stands for: each escape decoded, `%2F` too. What WSGI calls `PATH_INFO`.
/// A broken escape stays as it is; a canonical path has none.
pub fn decode(path: &str, out: &mut Vec<u8>) {
    let mut rest = path.as_bytes();
    while let Some(position) = memchr::memchr(b'%', rest) {
        let (plain, escape) = rest.split_at_checked(position).unwrap_or((rest, b""));
        out.extend_from_slice(plain);
        rest = match *escape {
            [_, high, low, ref after @ ..] if let (Some(high), Some(low)) = (hex(high), hex(low)) => {
                out.push(high << 4 | low);
                after
            }
            _ => {
                out.push(b'%');
                escape.get(1..).unwrap_or_default()
            }
        };
    }
    out.extend_from_slice(rest);
}

/// The path as servers take it that decode it before they look at its segments, as WSGI and ASGI servers do: no escapes
/// but of what cannot stand in a path, `%2F` and `%5C` as slashes, several slashes as one, dot segments resolved. `None`
/// if that is the canonical path itself.
pub fn as_decoded(canonical: &str) -> Option<String> {
    let bytes = canonical.as_bytes();
    if memchr::memchr(b'%', bytes).is_none() && memmem::find(bytes, b"//").is_none() {
        return None;
    }
    let mut decoded = Vec::with_capacity(bytes.len());
    decode(canonical, &mut decoded);
    let mut path = String::with_capacity(bytes.len());
    let mut segments =
        decoded.split(|byte| matches!(byte, b'/' | b'\\')).filter(|part| !part.is_empty()).peekable();
    while let Some(segment) = segments.next() {
        match segment {
            b"." => {}
            b".." => path.truncate(path.rfind('/').unwrap_or(0)),
            _ => {
                path.push('/');
                for byte in segment {
                    if class(*byte) & (UNCANONICAL | TARGET_END | QUERY) != 0 || !byte.is_ascii_graphic() {
                        escape(*byte, &mut path);
                    } else {
                        path.push(char::from(*byte));
                    }
                }
                continue;
            }
        }
        if segments.peek().is_none() {
            path.push('/');
        }
    }
    if path.is_empty() || (decoded.ends_with(b"/") && !path.ends_with('/')) {
        path.push('/');
    }
    Some(path).filter(|path| path != canonical)
}

fn escape(byte: u8, out: &mut String) {
    let digit = |value: u8| char::from(if value < 10 { b'0' + value } else { b'A' + value - 10 });
    out.push('%');
    out.push(digit(byte >> 4));
    out.push(digit(byte & 15));
}

pub(crate) fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expect: Result<&str, PathError>) {
        let mut out = String::from("before");
        let result = canonicalize(path, &mut out).map(|()| out.strip_prefix("before").unwrap());
        assert_eq!(result, expect, "{path:?}");
        let scan = scan(path.as_bytes());
        let whole = path.starts_with('/') && scan.len == path.len() && scan.query.is_none();
        if whole && is_plainly_canonical(path.as_bytes(), scan.classes) {
            assert_eq!(expect, Ok(path), "the short way must agree");
        }
        if let Ok(canonical) = expect {
            let mut again = String::new();
            canonicalize(canonical, &mut again).unwrap();
            assert_eq!(again, canonical, "a canonical path must stay");
        }
    }

    #[test]
    fn canonical_forms() {
        for (path, expect) in [
            ("/", "/"),
            ("/a/b.c/~d_-e", "/a/b.c/~d_-e"),
            ("/%7Euser/%61%2d%2E%5f", "/~user/a-._"),
            ("/a%2fb%5cc%3b", "/a%2Fb%5Cc%3B"),
            ("/a;v=1//b/;c", "/a;v=1//b/;c"),
            ("/%e4%BD%a0", "/%E4%BD%A0"),
            ("/%25%32%65", "/%252e"),
            ("/%252e%252e/", "/%252e%252e/"),
            ("/a+b:c@d!$&'()*,=", "/a+b:c@d!$&'()*,="),
            ("/{id}|<\">\\^`", "/%7Bid%7D%7C%3C%22%3E%5C%5E%60"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/b/..", "/a/"),
            ("/a/b/.", "/a/b/"),
            ("/..", "/"),
            ("/.", "/"),
            ("/../../a", "/a"),
            ("/a//../b", "/a/b"),
            ("//..//a", "//a"),
            ("/a/%2e%2E/b/%2e/.%2e", "/"),
            ("/a/...", "/a/..."),
            ("/.well-known/x", "/.well-known/x"),
            ("/a/..%2Fb/..;/c", "/a/..%2Fb/..;/c"),
            ("/a/.../..a/.b./", "/a/.../..a/.b./"),
        ] {
            check(path, Ok(expect));
        }
    }

    #[test]
    fn what_servers_make_of_a_path_that_decode_it_first() {
        for (path, expect) in [
            ("/", None),
            ("/a/b;c=1", None),
            ("/caf%C3%A9/a%20b", None),
            ("/admin%2Fx", Some("/admin/x")),
            ("/a%5C..%5Cb", Some("/b")),
            ("//admin///x", Some("/admin/x")),
            ("/admin/x//", Some("/admin/x/")),
            ("/a/..%2Fadmin%2F", Some("/admin/")),
            ("/v1%3Apredict", Some("/v1:predict")),
            ("/%2F", Some("/")),
            ("/%2F..%2F..", Some("/")),
            ("/a%3Fb%23c%25", None),
            // Decoded once: what it then says is the application's affair.
            ("/admin%252Fx", None),
        ] {
            assert_eq!(as_decoded(path).as_deref(), expect, "{path}");
        }
    }

    #[test]
    fn paths_without_a_canonical_form() {
        for path in ["/%", "/%4", "/%4g", "/%g4", "/%%41", "/% 41", "/%4/1", "/%+1"] {
            check(path, Err(PathError::Escape));
        }
        for path in ["/%00", "/a%1f", "/%7F/../b", "/a\0", "/a\tb", "/\x7f", "/%0d%0a"] {
            check(path, Err(PathError::Control));
        }
        for path in ["", "a", "*", "/a b", "/a#b", "/a?b", "/é"] {
            check(path, Err(PathError::Invalid));
        }
    }

    #[test]
    fn a_target_ends_where_it_must() {
        assert_eq!(scan(b"/a.b?c?d HTTP"), Scan { len: 8, query: Some(4), classes: scan(b"/a.b").classes });
        for end in [b' ', b'#', 0, b'\t', b'\r', b'\n', 0x7f, 0x80, 0xff] {
            assert_eq!(scan(&[b'/', end]).len, 1);
            assert_eq!(scan(&[b'/', b'?', b'x', end]).len, 3);
        }
    }
}
