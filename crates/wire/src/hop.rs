//! Fields that concern one connection only and are not forwarded (RFC 9110 section 7.6.1), and names that are not safe to forward.

use crate::fields::{Field, Fields};
use crate::known::Known;
use crate::scan::list;

/// What the dropped fields said that matters beyond the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HopByHop {
    /// `TE: trailers`: the sender keeps trailer fields. gRPC servers refuse calls without it.
    pub te_trailers: bool,
}

/// Drops the fields that concern one connection, and those that `Connection` names unless they are protected.
///
/// `Trailer` stays: RFC 9110 no longer counts it among them, and it announces what we do forward. Proxy credentials go: they
/// are meant for the next proxy, which we are.
pub fn strip_hop_by_hop(fields: &mut Fields) -> HopByHop {
    strip(fields, is_hop_by_hop)
}

/// The same for a message that may become a tunnel: keeps `Upgrade` and writes the `Connection: upgrade` that belongs to it.
pub fn strip_hop_by_hop_but_upgrade(fields: &mut Fields) -> HopByHop {
    let hop = strip(fields, |known| is_hop_by_hop(known) && known != Known::Upgrade);
    fields.push_known(Known::Connection, b"upgrade");
    hop
}

fn strip(fields: &mut Fields, is_hop: impl Fn(Known) -> bool) -> HopByHop {
    let te_trailers =
        fields.get_all(Known::Te).flat_map(list).any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
    // Whether Upgrade goes is the caller's decision; `Connection: upgrade` only accompanies it.
    fields.doom_named_by(Known::Connection, |field| is_protected(field) || field.known == Known::Upgrade);
    fields.remove_doomed(is_hop);
    HopByHop { te_trailers }
}

fn is_hop_by_hop(known: Known) -> bool {
    matches!(
        known,
        Known::Connection
            | Known::Http2Settings
            | Known::KeepAlive
            | Known::ProxyAuthenticate
            | Known::ProxyAuthenticationInfo
            | Known::ProxyAuthorization
            | Known::ProxyConnection
            | Known::Te
            | Known::TransferEncoding
            | Known::Upgrade
    )
}

/// Fields that a sender cannot have dropped by naming them in `Connection`: without them the next server would see another
/// message, trust another client, or miss a credential that a policy has already checked.
fn is_protected(field: &Field<'_>) -> bool {
    match field.known {
        // What the message is and where its body ends.
        Known::Host
        | Known::ContentLength
        | Known::ContentType
        | Known::ContentEncoding
        | Known::ContentRange
        | Known::Range
        | Known::Expect
        // Who sent it, as told by proxies before us or by ourselves.
        | Known::Forwarded
        | Known::Via
        | Known::XForwardedFor
        | Known::XForwardedHost
        | Known::XForwardedPort
        | Known::XForwardedPrefix
        | Known::XForwardedProto
        | Known::XForwardedServer
        | Known::XRealIp
        // How it is found again.
        | Known::IdempotencyKey
        | Known::Traceparent
        | Known::Tracestate
        | Known::XRequestId
        // What it proves, and what browsers are told to enforce.
        | Known::Authorization
        | Known::Cookie
        | Known::Origin
        | Known::SecWebsocketAccept
        | Known::SecWebsocketExtensions
        | Known::SecWebsocketKey
        | Known::SecWebsocketProtocol
        | Known::SecWebsocketVersion
        | Known::SetCookie
        | Known::StrictTransportSecurity
        | Known::WwwAuthenticate
        | Known::XApiKey
        // What caches may do with it.
        | Known::CacheControl
        | Known::Vary => true,
        _ => false,
    }
}

/// Drops fields with an underscore in their name and says how many. WSGI and CGI turn `-` into `_`, so that a server cannot tell
/// `X_Forwarded_For` from the `X-Forwarded-For` that we vouch for.
pub fn drop_underscore_names(fields: &mut Fields) -> usize {
    if !fields.underscores {
        return 0;
    }
    let before = fields.len();
    fields.retain(|field| field.known != Known::Other || !field.name.contains(&b'_'));
    fields.underscores = false;
    before - fields.len()
}
