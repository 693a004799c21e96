//! From the client's request to the target's: which fields go on, and what is added about the way.
//!
//! What a client says about itself in `X-Forwarded-*` and its kin is believed only of trusted proxies; otherwise it is
//! dropped, and what was seen here is said instead.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};

use model::RequestId;
use model::gateway::{Network, PathChange, PathForm, Route};
use wire::{Fields, Known, RequestHead};

use crate::route::Parameters;
use crate::worker::Worker;

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
    worker: &Worker,
) {
    wire::drop_underscore_names(&mut head.fields);
    head.fields.remove(Known::Expect);
    let trace = take_trace(head, peer);
    if peer.trusted {
        extend_testimony(head, peer);
    } else {
        wire::drop_testimony(&mut head.fields);
        worker.vouchers.append(head, peer);
    }
    let fields = &mut head.fields;
    fields.remove(Known::XRequestId);
    match external_id {
        Some(external) => fields.push_known(Known::XRequestId, external.as_bytes()),
        None => fields.push_known(Known::XRequestId, &id.to_ascii()),
    }
    // The span of this hop; never zero, as the trace context forbids.
    let span = worker.ids.borrow_mut().random() | 1;
    fields.push_known(Known::Traceparent, &traceparent(trace.unwrap_or((id.0, *b"01")), span));
}

/// The fields that say how a request of an untrusted client came. They are the same for all requests of one client to
/// one host, and are made once for them.
#[derive(Debug)]
pub(crate) struct Vouchers(RefCell<Box<[Option<Voucher>]>>);

#[derive(Debug)]
struct Voucher {
    client: Option<IpAddr>,
    port: Option<u16>,
    tls: bool,
    authority: Box<str>,
    fields: Fields,
}

/// Clients whose fields are kept per worker: each takes some 400 bytes.
const VOUCHERS: usize = 256;

impl Vouchers {
    pub(crate) fn new() -> Vouchers {
        Vouchers(RefCell::new((0..VOUCHERS).map(|_| None).collect()))
    }

    fn append(&self, head: &mut RequestHead, peer: &Peer) {
        let client = peer.client.map(|address| address.ip());
        let port = peer.local.map(|local| local.port());
        let mut slots = self.0.borrow_mut();
        let Some(slot) = slots.get_mut(slot_of(client)) else { return };
        let authority = head.target.authority();
        let fits = slot.as_ref().is_some_and(|voucher| {
            *voucher.authority == *authority
                && voucher.client == client
                && voucher.port == port
                && voucher.tls == peer.tls
        });
        if !fits {
            let fields = vouch(peer, authority, head.target.port().or(port));
            *slot = Some(Voucher { client, port, tls: peer.tls, authority: authority.into(), fields });
        }
        if let Some(voucher) = slot {
            head.fields.append(&voucher.fields);
        }
    }
}

/// Neighbouring addresses get slots of their own.
fn slot_of(client: Option<IpAddr>) -> usize {
    let last = match client {
        None => 0,
        Some(IpAddr::V4(address)) => address.to_bits(),
        Some(IpAddr::V6(address)) => (address.to_bits() ^ (address.to_bits() >> 64)) as u32,
    };
    (last ^ (last >> 8)) as usize % VOUCHERS
}

fn vouch(peer: &Peer, authority: &str, port: Option<u16>) -> Fields {
    let mut fields = Fields::new();
    if !peer.client_text.is_empty() {
        fields.push_known(Known::XForwardedFor, peer.client_text.as_bytes());
        fields.push_known(Known::XRealIp, peer.client_text.as_bytes());
    }
    fields.push_known(Known::XForwardedProto, peer.scheme().as_bytes());
    if !authority.is_empty() {
        fields.push_known(Known::XForwardedHost, authority.as_bytes());
    }
    if let Some(port) = port {
        fields.push_known(Known::XForwardedPort, port.to_string().as_bytes());
    }
    fields.push_known(Known::Forwarded, forwarded_element(peer, authority).as_bytes());
    fields.push_known(Known::Via, VIA);
    fields
}

/// RFC 9110 section 7.6.3: the version received and a pseudonym.
const VIA: &[u8] = b"1.1 clearway";

/// Adds this hop to what a trusted proxy said.
fn extend_testimony(head: &mut RequestHead, peer: &Peer) {
    let RequestHead { target, fields, .. } = head;
    let own = vouch(peer, target.authority(), target.port().or(peer.local.map(|local| local.port())));
    for list in [Known::XForwardedFor, Known::Forwarded] {
        let earlier: Vec<&[u8]> = fields.get_all(list).chain(own.get(list)).collect();
        if !earlier.is_empty() {
            let joined = earlier.join(&b", "[..]);
            fields.set(list, &joined);
        }
    }
    for single in [Known::XRealIp, Known::XForwardedProto, Known::XForwardedHost, Known::XForwardedPort] {
        if let (None, Some(value)) = (fields.get(single), own.get(single)) {
            fields.push_known(single, value);
        }
    }
    fields.push_known(Known::Via, VIA);
}

/// One element of `Forwarded` (RFC 7239 section 4). An IPv6 address, and a host with a port, need quotes.
fn forwarded_element(peer: &Peer, authority: &str) -> String {
    let address = &*peer.client_text;
    let mut element = match address {
        "" => "for=unknown".to_owned(),
        _ if address.contains(':') => format!("for=\"[{address}]\""),
        _ => format!("for={address}"),
    };
    if authority.contains([':', '[']) {
        element += &format!(";host=\"{authority}\"");
    } else if !authority.is_empty() {
        element += &format!(";host={authority}");
    }
    element + ";proto=" + peer.scheme()
}

/// Takes a trusted proxy's trace out of the request, to be continued with a parent of our own; anybody else's is dropped
/// and a new one begins (W3C Trace Context section 3.2).
fn take_trace(head: &mut RequestHead, peer: &Peer) -> Option<(u128, [u8; 2])> {
    let earlier = head.fields.get(Known::Traceparent).filter(|_| peer.trusted).and_then(parse_traceparent);
    head.fields.remove(Known::Traceparent);
    if earlier.is_none() {
        head.fields.remove(Known::Tracestate);
    }
    earlier
}

/// `00-TRACE-SPAN-FLAGS`, version 0 of the W3C trace context.
fn traceparent((trace, flags): (u128, [u8; 2]), span: u64) -> [u8; 55] {
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-01";
    let (trace, span) = (model::hex(trace.to_be_bytes()), model::hex(span.to_be_bytes()));
    for (place, part) in [(3..35, trace.as_flattened()), (36..52, span.as_flattened()), (53..55, &flags[..])]
    {
        if let Some(place) = text.get_mut(place) {
            place.copy_from_slice(part);
        }
    }
    text
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
        // Never of a path as sent: the configuration refuses the two together.
        PathChange::StripPrefix(prefix) => match head.target.path().strip_prefix(&**prefix) {
            Some("") => PathRewrite { target: Some(with_query("/".to_owned())), prefix: prefix.clone() },
            Some(rest) if rest.starts_with('/') => {
                PathRewrite { target: Some(with_query(rest.to_owned())), prefix: prefix.clone() }
            }
            _ => PathRewrite::default(),
        },
        PathChange::Rewrite(pattern) => {
            let mut path = pattern.to_string();
            for (name, value) in parameters {
                path = path.replace(&format!("{{{name}}}"), value);
            }
            PathRewrite { target: Some(with_query(path)), prefix: "".into() }
        }
    }
}
