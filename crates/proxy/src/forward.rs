//! From the client's request to the target's: which fields go on, and what is added about the way.
//!
//! What a client says about itself in `X-Forwarded-*` and its kin is believed only of trusted proxies; otherwise it is
//! replaced by what was seen here.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use model::gateway::{Network, PathChange, PathForm, Route};
use model::{RequestId, RequestIds};
use wire::{Known, RequestHead};

use crate::route::Parameters;

/// The two ends of the client's connection, as sockets or a PROXY header tell them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peer {
    pub client: Option<SocketAddr>,
    pub local: Option<SocketAddr>,
    /// The client's address as text, made once per connection.
    pub client_text: Box<str>,
    /// Whether the peer is a trusted proxy.
    pub trusted: bool,
    pub tls: bool,
    /// The name the client asked for in its TLS handshake, lower case.
    pub server_name: Option<Box<str>>,
}

impl Peer {
    pub(crate) fn new(client: Option<SocketAddr>, local: Option<SocketAddr>, trusted: &[Network]) -> Peer {
        let client_text = client.map(|address| address.ip().to_canonical().to_string()).unwrap_or_default();
        let is_trusted =
            client.is_some_and(|address| trusted.iter().any(|network| network.contains(address.ip())));
        Peer {
            client,
            local,
            client_text: client_text.into(),
            trusted: is_trusted,
            tls: false,
            server_name: None,
        }
    }

    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }
}

/// The address of the real client: the last one in `X-Forwarded-For` that no trusted proxy has, if the peer is one.
pub(crate) fn client_address(head: &RequestHead, peer: &Peer, trusted: &[Network]) -> Option<IpAddr> {
    let own = peer.client.map(|address| address.ip().to_canonical());
    if !peer.trusted {
        return own;
    }
    let mut client = own;
    let lists: Vec<&[u8]> = head.fields.get_all(Known::XForwardedFor).collect();
    for entry in lists.iter().rev().flat_map(|list| list.rsplit(|byte| *byte == b',')) {
        let Some(address) = std::str::from_utf8(entry.trim_ascii()).ok().and_then(parse_address) else {
            break;
        };
        client = Some(address);
        if !trusted.iter().any(|network| network.contains(address)) {
            break;
        }
    }
    client
}

/// An address as proxies write it: bare, with a port, or IPv6 in brackets.
fn parse_address(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
        .or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok())
        .map(|address| address.to_canonical())
}

/// The request id that a trusted proxy gave, if it is one that can be passed on: visible ASCII of at most 64 bytes.
pub(crate) fn external_id(head: &RequestHead, peer: &Peer) -> Option<Box<str>> {
    let id = head.fields.get(Known::XRequestId).filter(|_| peer.trusted)?;
    let fits = !id.is_empty() && id.len() <= 64 && id.iter().all(u8::is_ascii_graphic);
    if fits { std::str::from_utf8(id).ok().map(Into::into) } else { None }
}

/// Makes the client's fields those of the forwarded request. Host and the fields that depend on the target are set per
/// attempt.
pub(crate) fn rewrite_fields(
    head: &mut RequestHead,
    peer: &Peer,
    id: RequestId,
    external_id: Option<&str>,
    ids: &mut RequestIds,
) {
    wire::drop_underscore_names(&mut head.fields);
    head.fields.remove(Known::Expect);
    add_forwarded_for(head, peer);
    let RequestHead { target, fields, .. } = head;
    let scheme = peer.scheme().as_bytes();
    if !peer.trusted || fields.get(Known::XForwardedProto).is_none() {
        fields.set(Known::XForwardedProto, scheme);
    }
    if !peer.trusted || fields.get(Known::XForwardedHost).is_none() {
        if target.authority().is_empty() {
            fields.remove(Known::XForwardedHost);
        } else {
            fields.set(Known::XForwardedHost, target.authority().as_bytes());
        }
    }
    if !peer.trusted || fields.get(Known::XForwardedPort).is_none() {
        let port = target.port().or(peer.local.map(|local| local.port()));
        let mut text = [0u8; 5];
        match port.and_then(|port| format_into(&mut text, format_args!("{port}"))) {
            Some(text) => fields.set(Known::XForwardedPort, text),
            None => {
                fields.remove(Known::XForwardedPort);
            }
        }
    }
    if !peer.trusted {
        fields.remove(Known::XForwardedPrefix);
        fields.remove(Known::XForwardedServer);
    }
    match external_id {
        Some(external) => fields.set(Known::XRequestId, external.as_bytes()),
        None => fields.set(Known::XRequestId, &id.to_ascii()),
    }
    set_trace(head, peer, id, ids);
    head.fields.push_known(Known::Via, b"1.1 clearway");
}

fn add_forwarded_for(head: &mut RequestHead, peer: &Peer) {
    let fields = &mut head.fields;
    let mut forwarded = Vec::new();
    if peer.trusted {
        let earlier: Vec<&[u8]> = fields.get_all(Known::XForwardedFor).collect();
        if !earlier.is_empty() {
            let mut list = earlier.join(&b", "[..]);
            list.extend_from_slice(b", ");
            list.extend_from_slice(peer.client_text.as_bytes());
            fields.set(Known::XForwardedFor, &list);
        } else {
            fields.set(Known::XForwardedFor, peer.client_text.as_bytes());
        }
        if let Some(earlier) = fields.get(Known::Forwarded) {
            forwarded.extend_from_slice(earlier);
            forwarded.extend_from_slice(b", ");
        }
        if fields.get(Known::XRealIp).is_none() {
            fields.set(Known::XRealIp, peer.client_text.as_bytes());
        }
    } else if peer.client_text.is_empty() {
        // A Unix socket: there is no address to tell, and none to believe.
        fields.remove(Known::XForwardedFor);
        fields.remove(Known::XRealIp);
    } else {
        fields.set(Known::XForwardedFor, peer.client_text.as_bytes());
        fields.set(Known::XRealIp, peer.client_text.as_bytes());
    }
    forwarded_element(&mut forwarded, peer, head.target.authority());
    head.fields.set(Known::Forwarded, &forwarded);
}

/// One element of `Forwarded` (RFC 7239 section 4). An IPv6 address, and a host with a port, need quotes.
fn forwarded_element(out: &mut Vec<u8>, peer: &Peer, authority: &str) {
    let address = &*peer.client_text;
    let _ = if address.is_empty() {
        out.write_all(b"for=unknown")
    } else if address.contains(':') {
        write!(out, "for=\"[{address}]\"")
    } else {
        write!(out, "for={address}")
    };
    if authority.contains([':', '[']) {
        let _ = write!(out, ";host=\"{authority}\"");
    } else if !authority.is_empty() {
        let _ = write!(out, ";host={authority}");
    }
    let _ = write!(out, ";proto={}", peer.scheme());
}

/// Keeps a trusted proxy's trace, with a new parent of our own; otherwise begins one (W3C Trace Context section 3.2).
fn set_trace(head: &mut RequestHead, peer: &Peer, id: RequestId, ids: &mut RequestIds) {
    let earlier = head.fields.get(Known::Traceparent).filter(|_| peer.trusted).and_then(parse_traceparent);
    let (trace, flags) = earlier.unwrap_or((id.0, *b"01"));
    if earlier.is_none() {
        head.fields.remove(Known::Tracestate);
    }
    // The span of this hop; never zero because ids are not.
    let span = ids.random() | 1;
    let mut text = [0u8; 55];
    let flags = std::str::from_utf8(&flags).unwrap_or("01");
    if let Some(text) = format_into(&mut text, format_args!("00-{trace:032x}-{span:016x}-{flags}")) {
        head.fields.set(Known::Traceparent, text);
    }
}

fn parse_traceparent(value: &[u8]) -> Option<(u128, [u8; 2])> {
    let text = std::str::from_utf8(value).ok()?;
    let mut parts = text.split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex =
        |part: &str, len| part.len() == len && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if !is_hex(version, 2)
        || version == "ff"
        || !is_hex(trace, 32)
        || !is_hex(parent, 16)
        || !is_hex(flags, 2)
    {
        return None;
    }
    if version == "00" && parts.next().is_some() {
        return None;
    }
    let trace = u128::from_str_radix(trace, 16).ok().filter(|trace| *trace != 0)?;
    let flags = flags.as_bytes();
    Some((trace, [*flags.first()?, *flags.get(1)?]))
}

fn format_into<'a>(buffer: &'a mut [u8], text: std::fmt::Arguments<'_>) -> Option<&'a [u8]> {
    let room = buffer.len();
    let mut rest = &mut *buffer;
    rest.write_fmt(text).ok()?;
    let written = room - rest.len();
    buffer.get(..written)
}

/// The target as the upstream shall see it, and where the application is mounted, if the route changes the path.
#[derive(Debug, Default)]
pub(crate) struct PathRewrite {
    /// `None`: as the head has it.
    pub target: Option<String>,
    pub prefix: Box<str>,
}

pub(crate) fn rewrite_path(head: &RequestHead, route: &Route, parameters: &Parameters) -> PathRewrite {
    let query = head.target.query();
    let with_query = |mut path: String| {
        if let Some(query) = query {
            path.push('?');
            path.push_str(query);
        }
        path
    };
    match &route.path_change {
        PathChange::Keep if route.path == PathForm::AsSent => {
            let target = head.target.as_sent_and_query();
            PathRewrite { target: Some(target.to_owned()), prefix: "".into() }
        }
        PathChange::Keep => PathRewrite::default(),
        PathChange::StripPrefix(prefix) => {
            let path = match route.path {
                PathForm::Canonical => head.target.path(),
                PathForm::AsSent => head.target.as_sent(),
            };
            match path.strip_prefix(&**prefix) {
                Some("") => PathRewrite { target: Some(with_query("/".to_owned())), prefix: prefix.clone() },
                Some(rest) if rest.starts_with('/') => {
                    PathRewrite { target: Some(with_query(rest.to_owned())), prefix: prefix.clone() }
                }
                _ => PathRewrite::default(),
            }
        }
        PathChange::Rewrite(pattern) => {
            let mut path = pattern.to_string();
            for (name, value) in parameters {
                path = path.replace(&format!("{{{name}}}"), value);
            }
            PathRewrite { target: Some(with_query(path)), prefix: "".into() }
        }
    }
}
