//! Exchanges for the tests of this module.

use std::time::Duration;

use model::{
    Attempt, Ending, Exchange, Fault, Limit, LimitName, Method, Party, PeerEnd, Phase, Protocol, RequestId,
    Reuse, Timeline,
};

/// An ordinary request that was answered.
pub(super) fn answered() -> Exchange {
    Exchange {
        id: "0193a7c1-5a3e-7c2f-8d41-2f6f0c9b7a10".parse::<RequestId>().unwrap(),
        started_unix_micros: 1_764_000_000_123_456,
        listener: "0.0.0.0:8080".into(),
        client: Some("192.0.2.1".parse().unwrap()),
        protocol: Protocol::Http11,
        tls: false,
        method: Method::Get,
        host: "shop.test".into(),
        path: "/items/1".into(),
        service: Some("shop".into()),
        route: Some("/items/*".into()),
        consumer: None,
        external_id: None,
        status: 200,
        ending: Ending::ANSWERED,
        detail: None,
        request_body_bytes: 0,
        response_body_bytes: 512,
        timeline: Timeline {
            head_micros: 20,
            body_micros: None,
            response_micros: Some(1_100),
            done_micros: 1_234,
        },
        ai: None,
        attempts: vec![Attempt {
            upstream: "shop".into(),
            target: "http://app:8000".into(),
            address: Some("192.0.2.7:8000".parse().unwrap()),
            started_micros: 25,
            reuse: Some(Reuse { requests: 7, idle: Duration::from_micros(1_500) }),
            resolve: None,
            connect: None,
            tls: None,
            send: Some(Duration::from_micros(12)),
            await_head: Some(Duration::from_micros(1_050)),
            total: Duration::from_micros(1_200),
            bytes_sent: 301,
            bytes_received: 702,
            bytes_acked: None,
            status: Some(200),
            ending: Ending::ANSWERED,
            peer_end: None,
            errno: None,
            why: None,
            waited: None,
            tls_alert: None,
            limit: None,
            detail: None,
        }],
    }
}

/// A request that failed, with every fact that there can be.
pub(super) fn failed() -> Exchange {
    let ending =
        Ending { by: Party::Upstream, during: Phase::AwaitHead, fault: Some(Fault::AwaitHeadTimeout) };
    let mut exchange = answered();
    exchange.protocol = Protocol::Http2;
    exchange.tls = true;
    exchange.method = Method::Extension("PROPFIND".into());
    exchange.path = "/items/\"\u{1b}[2J".into();
    exchange.consumer = Some("mobile".into());
    exchange.external_id = Some("edge-7".into());
    exchange.status = 504;
    exchange.ending = ending;
    exchange.detail = Some("no head in time".into());
    exchange.request_body_bytes = 10;
    exchange.timeline.body_micros = Some(24);
    let attempt = exchange.attempts.first_mut().unwrap();
    attempt.resolve = Some(Duration::from_micros(1));
    attempt.connect = Some(Duration::from_micros(2));
    attempt.tls = Some(Duration::from_micros(3));
    attempt.bytes_acked = Some(300);
    attempt.status = None;
    attempt.ending = ending;
    attempt.peer_end = Some(PeerEnd::Rst);
    attempt.errno = Some(104);
    attempt.tls_alert = Some(40);
    attempt.limit = Some(Limit::Time { name: LimitName::AwaitHead, max: Duration::from_secs(60) });
    attempt.detail = Some("first bytes: \\x00".into());
    exchange
}
