//! Where a request would like to go: the key of a hash, and the cookie of a sticky upstream.
//!
//! Looked at only for upstreams that want it. Cookies and parameters are read here for routes as well.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Instant;

use model::gateway::{Balance, HashKey};
use upstream::{Affinity, Lease, Upstream};
use wire::{Known, RequestHead, ResponseHead};

/// What of the request the upstream's choice depends on.
pub(crate) fn of(upstream: &Upstream, head: &RequestHead, client: Option<IpAddr>) -> Affinity {
    if !upstream.wants_affinity() {
        return Affinity::default();
    }
    let settings = &upstream.settings;
    let key = match &settings.balance {
        Balance::Hash { key, .. } => hash_of(key, head, client),
        Balance::LeastRequests | Balance::PeakEwma | Balance::Random | Balance::RoundRobin => None,
    };
    let target = settings.stickiness.as_ref().and_then(|stickiness| {
        // A name may stand twice, for two paths; one of them may be ours.
        let mut tokens = cookies(head, &stickiness.cookie).filter_map(token_of);
        tokens.find(|token| upstream.has_token(*token))
    });
    Affinity { key, target }
}

/// An empty value is a key like any other; a missing one is none.
fn hash_of(key: &HashKey, head: &RequestHead, client: Option<IpAddr>) -> Option<u64> {
    match key {
        HashKey::ClientAddress => client.map(|address| match address.to_canonical() {
            IpAddr::V4(address) => upstream::key(&address.octets()),
            IpAddr::V6(address) => upstream::key(&address.octets()),
        }),
        HashKey::Cookie(name) => cookies(head, name).next().map(upstream::key),
        // Over HTTP/2 it is no field.
        HashKey::Header(name) if **name == *"host" => Some(upstream::key(head.target.host().as_bytes())),
        HashKey::Header(name) => head.fields.find(name.as_bytes()).map(upstream::key),
        HashKey::Query(name) => query_value(head, name).map(|value| upstream::key(&value)),
    }
}

/// Tells the client the target that it stays with, unless its cookie names one already that is not out.
pub(crate) fn stick(lease: &Lease, now: Instant, request: &RequestHead, response: &mut ResponseHead) {
    let Some(stickiness) = &lease.upstream().settings.stickiness else { return };
    let target = lease.target();
    let mut named = cookies(request, &stickiness.cookie).filter_map(token_of);
    if named.any(|token| token == target.token || lease.upstream().keeps(token, now)) {
        return;
    }
    let mut cookie = format!("{}={:016x}; Path=/; HttpOnly; SameSite=Lax", stickiness.cookie, target.token);
    if let Some(age) = stickiness.max_age {
        cookie.push_str(&format!("; Max-Age={}", age.as_secs()));
    }
    // As the client came, also before a trusted proxy.
    if request.fields.get(Known::XForwardedProto) == Some(b"https") {
        cookie.push_str("; Secure");
    }
    response.fields.push_known(Known::SetCookie, cookie.as_bytes());
}

fn token_of(value: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(value).ok().filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}

/// The values of the cookies of this name.
pub(crate) fn cookies<'h>(head: &'h RequestHead, name: &'h str) -> impl Iterator<Item = &'h [u8]> {
    let crumbs = head.fields.get_all(Known::Cookie).flat_map(|line| line.split(|byte| *byte == b';'));
    crumbs.filter_map(move |crumb| {
        let crumb = crumb.trim_ascii();
        let at = crumb.iter().position(|byte| *byte == b'=').unwrap_or(crumb.len());
        let (found, value) = crumb.split_at_checked(at)?;
        (found == name.as_bytes()).then(|| value.get(1..).unwrap_or_default())
    })
}

/// The first value of the query parameter of this name, decoded as HTML forms encode it.
fn query_value<'h>(head: &'h RequestHead, name: &str) -> Option<Cow<'h, [u8]>> {
    head.target.query()?.split('&').find_map(|pair| {
        let (found, value) = pair.split_once('=').unwrap_or((pair, ""));
        (*form_decoded(found) == *name.as_bytes()).then(|| form_decoded(value))
    })
}

fn form_decoded(text: &str) -> Cow<'_, [u8]> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut decoded = Vec::with_capacity(text.len());
    wire::path::decode(&text.replace('+', " "), &mut decoded);
    Cow::Owned(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(target: &str, fields: &str) -> RequestHead {
        let text = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let limits = wire::http1::HeadLimits { head_bytes: 4096, fields: 20, target_bytes: 1000 };
        let mut head = RequestHead::default();
        wire::parse_request(text.as_bytes(), &limits, &mut head).unwrap().unwrap();
        head
    }

    #[test]
    fn keys_are_found_where_they_stand() {
        let head = head(
            "/?b=2&us%65r=al%69ce+x&user=second&c",
            "X-Tenant: shop\r\nCookie: a=1; session=s%1; empty=\r\nCookie: session=2\r\n",
        );
        let of = |key: HashKey| hash_of(&key, &head, Some("192.0.2.1".parse().unwrap()));
        assert_eq!(of(HashKey::Header("x-tenant".into())), Some(upstream::key(b"shop")));
        assert_eq!(of(HashKey::Header("x-other".into())), None);
        assert_eq!(of(HashKey::Header("host".into())), Some(upstream::key(b"a")));
        assert_eq!(of(HashKey::Cookie("session".into())), Some(upstream::key(b"s%1")));
        assert_eq!(of(HashKey::Cookie("empty".into())), Some(upstream::key(b"")));
        assert_eq!(of(HashKey::Cookie("sess".into())), None);
        assert_eq!(of(HashKey::Query("user".into())), Some(upstream::key(b"alice x")));
        assert_eq!(of(HashKey::Query("c".into())), Some(upstream::key(b"")));
        assert_eq!(of(HashKey::Query("d".into())), None);
        assert_eq!(of(HashKey::ClientAddress), Some(upstream::key(&[192, 0, 2, 1])));
        let mapped = hash_of(&HashKey::ClientAddress, &head, Some("::ffff:192.0.2.1".parse().unwrap()));
        assert_eq!(mapped, of(HashKey::ClientAddress), "the same client on an IPv6 listener");
    }
}
