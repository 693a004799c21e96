//! Field names that the gateway, or a rule of HTTP, looks at, as small ids, and how a field of each is treated on its way.
//!
//! A name is found by one hash over its length and four of its letters, and one comparison. The table is made at compile
//! time, and a new name that collides does not compile: change a multiplier in [`slot`] then.

/// How a field is treated on its way through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Treatment {
    /// It is forwarded in a head, but may not stand in a trailer section: RFC 9110 section 6.5.1 forbids there all that frames,
    /// routes, authenticates, modifies the request, controls the response or says how to read the content, which is nearly
    /// every name we know.
    Plain,
    /// It concerns one connection only and is not forwarded (RFC 9110 section 7.6.1). Proxy credentials are among them: they are
    /// meant for the next proxy, which we are. `Trailer` is not: it announces what we do forward.
    HopByHop,
    /// As plain; and a sender cannot have it dropped by naming it in `Connection`. Without it the next server would see another
    /// message, miss a credential that a policy has already checked, or what browsers and caches are told to do.
    Protected,
    /// As protected; and frameworks and proxies believe it about who sent a request and how it came, so that it must come from
    /// a trusted proxy or from us.
    Testimony,
    /// It is forwarded, also as a trailer: its definition permits that, or we do not know it.
    Trailing,
}

macro_rules! known {
    ($($variant:ident $name:literal $treatment:ident;)*) => {
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
        const TREATMENTS: &[Treatment] = &[Treatment::Trailing, $(Treatment::$treatment,)*];
    };
}

known! {
    Accept "Accept" Plain;
    AcceptEncoding "Accept-Encoding" Plain;
    AcceptLanguage "Accept-Language" Plain;
    AcceptRanges "Accept-Ranges" Plain;
    Age "Age" Plain;
    Allow "Allow" Plain;
    AltSvc "Alt-Svc" Plain;
    Authorization "Authorization" Protected;
    CacheControl "Cache-Control" Protected;
    CfConnectingIp "CF-Connecting-IP" Testimony;
    ClientCert "Client-Cert" Testimony;
    ClientCertChain "Client-Cert-Chain" Testimony;
    ClientIp "Client-IP" Testimony;
    Connection "Connection" HopByHop;
    ContentDisposition "Content-Disposition" Plain;
    ContentEncoding "Content-Encoding" Protected;
    ContentLanguage "Content-Language" Plain;
    ContentLength "Content-Length" Protected;
    ContentLocation "Content-Location" Plain;
    ContentRange "Content-Range" Protected;
    ContentType "Content-Type" Protected;
    Cookie "Cookie" Protected;
    Date "Date" Plain;
    Etag "ETag" Trailing;
    Expect "Expect" Protected;
    Expires "Expires" Plain;
    FastlyClientIp "Fastly-Client-IP" Testimony;
    FlyClientIp "Fly-Client-IP" Testimony;
    Forwarded "Forwarded" Testimony;
    FrontEndHttps "Front-End-Https" Testimony;
    GrpcMessage "Grpc-Message" Trailing;
    GrpcStatus "Grpc-Status" Trailing;
    Host "Host" Protected;
    Http2Settings "HTTP2-Settings" HopByHop;
    IdempotencyKey "Idempotency-Key" Protected;
    IfMatch "If-Match" Plain;
    IfModifiedSince "If-Modified-Since" Plain;
    IfNoneMatch "If-None-Match" Plain;
    IfRange "If-Range" Plain;
    IfUnmodifiedSince "If-Unmodified-Since" Plain;
    KeepAlive "Keep-Alive" HopByHop;
    LastModified "Last-Modified" Plain;
    Link "Link" Plain;
    Location "Location" Plain;
    MaxForwards "Max-Forwards" Plain;
    Origin "Origin" Protected;
    Pragma "Pragma" Plain;
    ProxyAuthenticate "Proxy-Authenticate" HopByHop;
    ProxyAuthenticationInfo "Proxy-Authentication-Info" HopByHop;
    ProxyAuthorization "Proxy-Authorization" HopByHop;
    ProxyConnection "Proxy-Connection" HopByHop;
    Range "Range" Protected;
    Referer "Referer" Plain;
    RemoteUser "Remote-User" Testimony;
    RetryAfter "Retry-After" Plain;
    SecWebsocketAccept "Sec-WebSocket-Accept" Protected;
    SecWebsocketExtensions "Sec-WebSocket-Extensions" Protected;
    SecWebsocketKey "Sec-WebSocket-Key" Protected;
    SecWebsocketProtocol "Sec-WebSocket-Protocol" Protected;
    SecWebsocketVersion "Sec-WebSocket-Version" Protected;
    Server "Server" Plain;
    SetCookie "Set-Cookie" Protected;
    Status "Status" Plain;
    StrictTransportSecurity "Strict-Transport-Security" Protected;
    Te "TE" HopByHop;
    Traceparent "traceparent" Protected;
    Tracestate "tracestate" Protected;
    Trailer "Trailer" Plain;
    TransferEncoding "Transfer-Encoding" HopByHop;
    TrueClientIp "True-Client-IP" Testimony;
    Upgrade "Upgrade" HopByHop;
    UserAgent "User-Agent" Plain;
    Vary "Vary" Protected;
    Via "Via" Protected;
    Warning "Warning" Plain;
    WwwAuthenticate "WWW-Authenticate" Protected;
    XAccelBuffering "X-Accel-Buffering" Plain;
    XApiKey "X-Api-Key" Protected;
    XArrClientCert "X-ARR-ClientCert" Testimony;
    XClientCert "X-Client-Cert" Testimony;
    XClientIp "X-Client-IP" Testimony;
    XClusterClientIp "X-Cluster-Client-IP" Testimony;
    XEnvoyExternalAddress "X-Envoy-External-Address" Testimony;
    XEnvoyInternal "X-Envoy-Internal" Testimony;
    XForwardedFor "X-Forwarded-For" Testimony;
    XForwardedHost "X-Forwarded-Host" Testimony;
    XForwardedPort "X-Forwarded-Port" Testimony;
    XForwardedPrefix "X-Forwarded-Prefix" Testimony;
    XForwardedProto "X-Forwarded-Proto" Testimony;
    XForwardedServer "X-Forwarded-Server" Testimony;
    XOriginalForwardedFor "X-Original-Forwarded-For" Testimony;
    XOriginalHost "X-Original-Host" Testimony;
    XOriginalUri "X-Original-URI" Testimony;
    XOriginalUrl "X-Original-URL" Testimony;
    XRealIp "X-Real-Ip" Testimony;
    XRemoteUser "X-Remote-User" Testimony;
    XRequestId "X-Request-Id" Protected;
    XRewriteUrl "X-Rewrite-URL" Testimony;
    XScheme "X-Scheme" Testimony;
    XSslClientCert "X-SSL-Client-Cert" Testimony;
    XSslClientVerify "X-SSL-Client-Verify" Testimony;
    XUrlScheme "X-Url-Scheme" Testimony;
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

    /// How a field of this name is treated; of any other name, what its name itself does not say.
    #[inline]
    pub(crate) fn treatment(self) -> Treatment {
        TREATMENTS.get(self as usize).copied().unwrap_or(Treatment::Plain)
    }

    /// A bit of its own for each name.
    #[inline]
    pub(crate) const fn bit(self) -> u128 {
        1 << (self as u8)
    }
}

/// The bits of all names that are treated so.
#[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
pub(crate) const fn bits_of(treatment: Treatment) -> u128 {
    let mut bits = 0;
    let mut id = 0;
    while id < TREATMENTS.len() {
        if TREATMENTS[id] as u8 == treatment as u8 {
            bits |= 1 << id;
        }
        id += 1;
    }
    bits
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
    let hash = length.wrapping_mul(51)
        + letter(*first) * 47
        + letter(middle) * 22
        + letter(last_but_one) * 209
        + letter(*last) * 69;
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
