//! Listeners: names and addresses are unique, certificates are there.

use std::net::SocketAddr;
use std::sync::Arc;

use model::gateway::{ListenAddress, Listener, ListenerLimits, ListenerTimeouts, ListenerTls, ProxyProtocol};

use super::files;
use super::names::Names;
use crate::ctx::Ctx;
use crate::decode::At;
use crate::shape;
use crate::tree::Place;

/// What else of the configuration a listener must fit to.
pub(crate) struct Around {
    pub(crate) has_trusted_proxies: bool,
    pub(crate) admin: SocketAddr,
}

pub(crate) fn listeners(
    shapes: &[At<shape::Listener>],
    around: &Around,
    ctx: &mut Ctx,
) -> Vec<Arc<Listener>> {
    let mut names = Names::new("listener");
    let mut addresses: Vec<(ListenAddress, Place)> = Vec::new();
    let mut all = Vec::new();
    for shape in shapes {
        let tls = tls(shape, ctx);
        let limits = limits(&shape.limits, ctx);
        let Some(at) = shape.address.given() else { continue };
        let address = match &at.0 {
            ListenAddress::Tcp(address) => ListenAddress::Tcp(*address),
            ListenAddress::Unix(path) => ListenAddress::Unix(ctx.resolve(at.place, path)),
        };
        check_address(&address, at.place, &addresses, around, ctx);
        check_proxy_protocol(shape, &address, around, ctx);
        addresses.push((address.clone(), at.place));
        let name: Arc<str> = match shape.name.given() {
            Some(name) => name.0.as_ref().into(),
            None => address.to_string().into(),
        };
        if let Some(given) = shape.name.given() {
            names.claim_text(&name, given.place, ctx);
        }
        all.push(Arc::new(Listener {
            name,
            address,
            tls,
            http2: shape.http2.value,
            proxy_protocol: shape.proxy_protocol.value,
            timeouts: timeouts(&shape.timeouts),
            limits,
        }));
    }
    all
}

fn check_address(
    address: &ListenAddress,
    place: Place,
    others: &[(ListenAddress, Place)],
    around: &Around,
    ctx: &mut Ctx,
) {
    let is_any_port = matches!(address, ListenAddress::Tcp(address) if address.port() == 0);
    if is_any_port {
        if place.line > 0 {
            let message = "address: port 0 takes any free port, another one at each start";
            ctx.warn(place, message, "name a port");
        }
        return;
    }
    if let Some((_, first)) = others.iter().find(|(other, _)| other == address) {
        let first = ctx.place_seen_from(*first, place);
        ctx.error_with(
            place,
            format!("address: there is a listener on `{address}` already, at {first}"),
            "remove one of the two",
        );
    }
    if let ListenAddress::Tcp(address) = address
        && collide(*address, around.admin)
    {
        let message =
            format!("address: `{address}` takes the address of the management interface, {}", around.admin);
        ctx.error_with(place, message, "choose another port, here or for `admin`");
    }
}

/// Whether the kernel refuses the second of the two: the address of all interfaces takes the port on each one.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    // `[::]` also takes IPv4 connections; `0.0.0.0` leaves IPv6 alone.
    let covers =
        |all: SocketAddr, one: SocketAddr| all.ip().is_unspecified() && (all.is_ipv6() || one.is_ipv4());
    a.port() == b.port() && (a.ip() == b.ip() || covers(a, b) || covers(b, a))
}

/// A header from everyone would let every client choose its address.
fn check_proxy_protocol(shape: &shape::Listener, address: &ListenAddress, around: &Around, ctx: &mut Ctx) {
    let required = shape.proxy_protocol.value == ProxyProtocol::Require;
    // Whoever can open the Unix socket is let in by its file mode.
    if required && !around.has_trusted_proxies && matches!(address, ListenAddress::Tcp(_)) {
        ctx.error_with(
            shape.proxy_protocol.place,
            "proxy-protocol: `require` needs `trusted-proxies`, because the header is only taken from them",
            "for example `trusted-proxies: [10.0.0.0/8]` at the top level",
        );
    }
}

fn tls(shape: &shape::Listener, ctx: &mut Ctx) -> Option<ListenerTls> {
    let certificates = shape.tls.given()?.certificates.given()?;
    let read = |certificate: &At<shape::Certificate>| files::certificate(certificate, ctx);
    Some(ListenerTls { certificates: certificates.iter().filter_map(read).collect() })
}

fn timeouts(shape: &shape::ListenerTimeouts) -> ListenerTimeouts {
    ListenerTimeouts {
        client_head: shape.client_head.0,
        client_body_idle: shape.client_body_idle.0,
        client_send: shape.client_send.0,
        keep_alive: shape.keep_alive.0,
    }
}

fn limits(shape: &shape::ListenerLimits, ctx: &mut Ctx) -> ListenerLimits {
    if shape.target.0 > shape.head.0 {
        let place = if shape.target.given { shape.target.place } else { shape.head.place };
        let message =
            format!("limits: `target` ({}) must fit into `head` ({})", shape.target.0, shape.head.0);
        ctx.error(place, message);
    }
    ListenerLimits {
        head_bytes: shape.head.0,
        fields: shape.fields.number(),
        target_bytes: shape.target.0,
        connections: shape.connections.number(),
        requests_per_connection: shape.requests_per_connection.number(),
        body_rate: shape.body_rate.number(),
        http2_streams: shape.http2_streams.number(),
        http2_resets: shape.http2_resets.number(),
        http2_frames: shape.http2_frames.number(),
        http2_memory: shape.http2_memory.0,
    }
}
