//! Any exchange at all, for property tests of the block format.

use std::net::{SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::time::Duration;

use model::{
    AiCall, AiProtocol, Attempt, Ending, Exchange, Fault, Limit, LimitName, Method, Party, PeerEnd, Phase,
    Protocol, RequestId, RetryRule, Reuse, Timeline, Usage,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// Few distinct names, so that tables are used, and any text now and then.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![3 => select(vec!["", "orders", "/v1/orders", "api.example.com"]).prop_map(str::to_owned), 1 => ".{0,40}"]
}

fn shared() -> impl Strategy<Value = Arc<str>> {
    text().prop_map(Arc::from)
}

fn boxed() -> impl Strategy<Value = Box<str>> {
    text().prop_map(Box::from)
}

/// Like the ones that occur, and all others.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![3 => 0u64..100_000, 1 => any::<u64>()]
}

fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (0u64..10_000_000).prop_map(Duration::from_micros),
        (any::<u64>(), 0u32..1_000_000_000).prop_map(|(seconds, nanos)| Duration::new(seconds, nanos)),
    ]
}

fn ending() -> impl Strategy<Value = Ending> {
    let anyone = (select(Party::ALL), select(Phase::ALL), option::of(select(Fault::ALL)));
    prop_oneof![Just(Ending::ANSWERED), anyone.prop_map(|(by, during, fault)| Ending { by, during, fault })]
}

fn method() -> impl Strategy<Value = Method> {
    prop_oneof![
        select(vec![
            Method::Connect,
            Method::Delete,
            Method::Get,
            Method::Head,
            Method::Options,
            Method::Patch,
            Method::Post,
            Method::Put,
            Method::Trace,
        ]),
        "[A-Z]{1,32}".prop_map(|token| Method::Extension(token.into())),
    ]
}

fn limit() -> impl Strategy<Value = Limit> {
    let name = || select(LimitName::ALL);
    prop_oneof![
        (name(), number()).prop_map(|(name, max)| Limit::Bytes { name, max }),
        (name(), number()).prop_map(|(name, max)| Limit::Count { name, max }),
        (name(), duration()).prop_map(|(name, max)| Limit::Time { name, max }),
    ]
}

fn socket_address() -> impl Strategy<Value = SocketAddr> {
    let scoped = (any::<[u8; 16]>(), any::<u16>(), any::<u32>(), any::<u32>());
    prop_oneof![
        any::<([u8; 4], u16)>().prop_map(SocketAddr::from),
        scoped.prop_map(|(ip, port, flow, scope)| SocketAddrV6::new(ip.into(), port, flow, scope).into()),
    ]
}

fn attempt() -> impl Strategy<Value = Attempt> {
    let who = (shared(), shared(), option::of(socket_address()), number());
    let reuse = option::of((any::<u32>(), duration()).prop_map(|(requests, idle)| Reuse { requests, idle }));
    let step = || option::of(duration());
    let steps = (step(), step(), step(), step(), step(), duration());
    let bytes = (number(), number(), option::of(number()), option::of(any::<u16>()));
    let trouble = (
        ending(),
        option::of(select(vec![PeerEnd::Fin, PeerEnd::Rst])),
        option::of(any::<i32>()),
        option::of(any::<u8>()),
        option::of(limit()),
        option::of(boxed()),
    );
    let before = (option::of(select(RetryRule::ALL)), option::of(duration()));
    (who, before, reuse, steps, bytes, trouble).prop_map(|(who, before, reuse, steps, bytes, trouble)| {
        Attempt {
            why: before.0,
            waited: before.1,
            upstream: who.0,
            target: who.1,
            address: who.2,
            started_micros: who.3,
            reuse,
            resolve: steps.0,
            connect: steps.1,
            tls: steps.2,
            send: steps.3,
            await_head: steps.4,
            total: steps.5,
            bytes_sent: bytes.0,
            bytes_received: bytes.1,
            bytes_acked: bytes.2,
            status: bytes.3,
            ending: trouble.0,
            peer_end: trouble.1,
            errno: trouble.2,
            tls_alert: trouble.3,
            limit: trouble.4,
            detail: trouble.5,
        }
    })
}

prop_compose! {
    fn ai_call()(
        protocol in select(AiProtocol::ALL),
        (operation, asked) in (boxed(), boxed()),
        (provider, model, key) in (option::of(shared()), option::of(shared()), option::of(shared())),
        (stream, usage_is_estimated) in (any::<bool>(), any::<bool>()),
        inputs in (number(), number(), number(), number(), number()),
        outputs in (number(), number(), number()),
        (cost_nanos, first_content_micros) in (option::of(number()), option::of(number())),
        losses in vec(boxed(), 0..3),
    ) -> AiCall {
        let usage = Usage {
            input: inputs.0,
            cache_read: inputs.1,
            cache_write: inputs.2,
            cache_write_long: inputs.3,
            audio_input: inputs.4,
            output: outputs.0,
            reasoning: outputs.1,
            audio_output: outputs.2,
        };
        AiCall {
            protocol,
            operation,
            asked,
            provider,
            model,
            key,
            stream,
            usage,
            usage_is_estimated,
            cost_nanos,
            first_content_micros,
            losses,
        }
    }
}

prop_compose! {
    pub(crate) fn exchange()(
        (id, started_unix_micros) in (any::<u128>(), number()),
        (listener, host, path) in (shared(), boxed(), boxed()),
        client in option::of(any::<std::net::IpAddr>()),
        (protocol, tls, method) in (select(Protocol::ALL), any::<bool>(), method()),
        (service, route, consumer) in (option::of(shared()), option::of(shared()), option::of(shared())),
        (external_id, detail) in (option::of(boxed()), option::of(boxed())),
        (status, ending) in (any::<u16>(), ending()),
        (request_body_bytes, response_body_bytes) in (number(), number()),
        (head_micros, body_micros) in (number(), option::of(number())),
        (response_micros, done_micros) in (option::of(number()), number()),
        attempts in vec(attempt(), 0..4),
        ai in option::of(ai_call()),
    ) -> Exchange {
        Exchange {
            id: RequestId(id),
            started_unix_micros,
            listener,
            client,
            protocol,
            tls,
            method,
            host,
            path,
            service,
            route,
            consumer,
            external_id,
            status,
            ending,
            detail,
            request_body_bytes,
            response_body_bytes,
            timeline: Timeline { head_micros, body_micros, response_micros, done_micros },
            attempts,
            ai: ai.map(Box::new),
        }
    }
}
