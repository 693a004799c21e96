//! Field names that the gateway, or a rule of HTTP, looks at, as small ids.
//!
//! A name is found by one hash over its length and four of its letters, and one comparison. The table is made at compile
//! time, and a new name that collides does not compile: change a multiplier in [`slot`] then.

macro_rules! known {
    ($($variant:ident $name:literal;)*) => {
        /// A well-known field name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Known {
            /// Any other name.
            Other,
            $(#[doc = concat!("`", $name, "`")] $variant,)*
        }

        const NAMES: &[&str] = &["", $($name,)*];
        const ALL: &[Known] = &[Known::Other, $(Known::$variant,)*];
    };
}

known! {
    Accept "Accept";
    AcceptEncoding "Accept-Encoding";
    AcceptLanguage "Accept-Language";
    AcceptRanges "Accept-Ranges";
    Age "Age";
    Allow "Allow";
    AltSvc "Alt-Svc";
    Authorization "Authorization";
    CacheControl "Cache-Control";
    Connection "Connection";
    ContentDisposition "Content-Disposition";
    ContentEncoding "Content-Encoding";
    ContentLanguage "Content-Language";
    ContentLength "Content-Length";
    ContentLocation "Content-Location";
    ContentRange "Content-Range";
    ContentType "Content-Type";
    Cookie "Cookie";
    Date "Date";
    Etag "ETag";
    Expect "Expect";
    Expires "Expires";
    Forwarded "Forwarded";
    GrpcMessage "Grpc-Message";
    GrpcStatus "Grpc-Status";
    Host "Host";
    Http2Settings "HTTP2-Settings";
    IdempotencyKey "Idempotency-Key";
    IfMatch "If-Match";
    IfModifiedSince "If-Modified-Since";
    IfNoneMatch "If-None-Match";
    IfRange "If-Range";
    IfUnmodifiedSince "If-Unmodified-Since";
    KeepAlive "Keep-Alive";
    LastModified "Last-Modified";
    Link "Link";
    Location "Location";
    MaxForwards "Max-Forwards";
    Origin "Origin";
    Pragma "Pragma";
    ProxyAuthenticate "Proxy-Authenticate";
    ProxyAuthenticationInfo "Proxy-Authentication-Info";
    ProxyAuthorization "Proxy-Authorization";
    ProxyConnection "Proxy-Connection";
    Range "Range";
    Referer "Referer";
    RetryAfter "Retry-After";
    SecWebsocketAccept "Sec-WebSocket-Accept";
    SecWebsocketExtensions "Sec-WebSocket-Extensions";
    SecWebsocketKey "Sec-WebSocket-Key";
    SecWebsocketProtocol "Sec-WebSocket-Protocol";
    SecWebsocketVersion "Sec-WebSocket-Version";
    Server "Server";
    SetCookie "Set-Cookie";
    Status "Status";
    StrictTransportSecurity "Strict-Transport-Security";
    Te "TE";
    Traceparent "traceparent";
    Tracestate "tracestate";
    Trailer "Trailer";
    TransferEncoding "Transfer-Encoding";
    Upgrade "Upgrade";
    UserAgent "User-Agent";
    Vary "Vary";
    Via "Via";
    Warning "Warning";
    WwwAuthenticate "WWW-Authenticate";
    XAccelBuffering "X-Accel-Buffering";
    XApiKey "X-Api-Key";
    XForwardedFor "X-Forwarded-For";
    XForwardedHost "X-Forwarded-Host";
    XForwardedPort "X-Forwarded-Port";
    XForwardedPrefix "X-Forwarded-Prefix";
    XForwardedProto "X-Forwarded-Proto";
    XForwardedServer "X-Forwarded-Server";
    XRealIp "X-Real-Ip";
    XRequestId "X-Request-Id";
}

impl Known {
    /// The id of a name, whatever its case.
    #[inline]
    pub fn lookup(name: &[u8]) -> Known {
        let id = usize::from(TABLE.get(slot(name)).copied().unwrap_or(0));
        match FOLDED.get(id) {
            Some(candidate) if candidate.is(name) => ALL.get(id).copied().unwrap_or(Known::Other),
            _ => Known::Other,
        }
    }

    /// The name in its usual case; empty for [`Known::Other`].
    #[inline]
    pub fn name(self) -> &'static str {
        NAMES.get(self as usize).copied().unwrap_or("")
    }

    /// A bit of its own for each name.
    #[inline]
    pub(crate) fn bit(self) -> u128 {
        1 << (self as u8)
    }
}

const SLOTS: usize = 512;
const TABLE: [u8; SLOTS] = table();

/// Where a name stands in the table: from its length and its first, middle, last but one and last letter.
#[inline]
const fn slot(name: &[u8]) -> usize {
    let length = name.len();
    let (Some(first), Some(last)) = (name.first(), name.last()) else { return 0 };
    #[expect(
        clippy::indexing_slicing,
        reason = "`get` is not const here; both are below length, which is not 0"
    )]
    let (middle, last_but_one) = (name[length / 2], name[length.saturating_sub(2)]);
    let hash = length.wrapping_mul(21)
        + letter(*first) * 97
        + letter(middle) * 193
        + letter(last_but_one) * 223
        + letter(*last) * 107;
    hash % SLOTS
}

const fn letter(byte: u8) -> usize {
    (byte | 0x20) as usize
}

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
const fn table() -> [u8; SLOTS] {
    assert!(NAMES.len() <= 128, "each name must have a bit of a u128");
    let mut table = [0; SLOTS];
    let mut id = 1;
    while id < NAMES.len() {
        let slot = slot(NAMES[id].as_bytes());
        assert!(table[slot] == 0, "two names share a slot");
        table[slot] = id as u8;
        id += 1;
    }
    table
}

/// The longest name, rounded up.
const NAME_MAX: usize = 32;

/// A name as it is compared: several bytes at a time, which is what makes the lookup cheap.
struct Folded {
    len: usize,
    lower: [u8; NAME_MAX],
    /// The bit in which upper and lower case differ, for letters; 0 for the others, which must match exactly.
    case: [u8; NAME_MAX],
}

static FOLDED: [Folded; NAMES.len()] = folded();

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
const fn folded() -> [Folded; NAMES.len()] {
    let mut all = [const { Folded { len: 0, lower: [0; NAME_MAX], case: [0; NAME_MAX] } }; NAMES.len()];
    let mut id = 0;
    while id < NAMES.len() {
        let name = NAMES[id].as_bytes();
        all[id].len = name.len();
        let mut at = 0;
        while at < name.len() {
            all[id].lower[at] = name[at].to_ascii_lowercase();
            all[id].case[at] = if name[at].is_ascii_alphabetic() { 0x20 } else { 0 };
            at += 1;
        }
        id += 1;
    }
    all
}

impl Folded {
    /// Whether `name` is this name, whatever its case. The empty name is none.
    #[inline]
    fn is(&self, name: &[u8]) -> bool {
        name.len() == self.len
            && match name.len() {
                0 => false,
                1..4 => self.matches::<1>(name),
                4..8 => self.matches::<4>(name),
                _ => self.matches::<8>(name),
            }
    }

    /// Compares pieces of `N` bytes, the last one aligned to the end; `name` has at least `N` bytes.
    #[inline]
    fn matches<const N: usize>(&self, name: &[u8]) -> bool {
        let Some(last) = name.len().checked_sub(N) else { return false };
        let mut at = 0;
        while at < last {
            if !self.matches_at::<N>(name, at) {
                return false;
            }
            at += N;
        }
        self.matches_at::<N>(name, last)
    }

    #[inline]
    fn matches_at<const N: usize>(&self, name: &[u8], at: usize) -> bool {
        match (word::<N>(name, at), word::<N>(&self.lower, at), word::<N>(&self.case, at)) {
            (Some(name), Some(lower), Some(case)) => (name ^ lower) & !case == 0,
            _ => false,
        }
    }
}

/// `N` bytes (at most 8) as a number.
#[inline]
fn word<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let piece = bytes.get(at..)?.first_chunk::<N>()?;
    let mut word = [0; 8];
    *word.first_chunk_mut::<N>()? = *piece;
    Some(u64::from_le_bytes(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case_and_no_other_is() {
        for known in ALL.iter().filter(|known| **known != Known::Other) {
            let name = known.name();
            assert_eq!(Known::lookup(name.as_bytes()), *known);
            assert_eq!(Known::lookup(name.to_lowercase().as_bytes()), *known);
            assert_eq!(Known::lookup(name.to_uppercase().as_bytes()), *known);
            assert_eq!(Known::lookup(name.replace('-', "_").as_bytes()) == *known, !name.contains('-'));
            assert_eq!(Known::lookup(format!("{name}x").as_bytes()), Known::Other);
        }
        for known in ALL {
            // Bytes that differ from the right ones in the bit of the case only: CR for `-`, `@` for a backtick.
            let name = known.name().as_bytes();
            for at in 0..name.len() {
                let mut other = name.to_vec();
                other[at] ^= 0x20;
                assert_eq!(Known::lookup(&other) == *known, name[at].is_ascii_alphabetic());
                other[at] = name[at] ^ 0x80;
                assert_eq!(Known::lookup(&other), Known::Other);
            }
        }
        for other in ["", "x", "-", "host ", "\u{212a}eep-alive"] {
            assert_eq!(Known::lookup(other.as_bytes()), Known::Other, "{other}");
        }
    }
}
