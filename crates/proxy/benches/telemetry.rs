//! What log line and metrics cost per exchange. `cargo bench -p proxy`; a number to read, not a test.

#![expect(clippy::print_stdout, reason = "it prints its numbers")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use model::{Attempt, Ending, Exchange, Method, Protocol, RequestIds, Reuse, Timeline};
use proxy::telemetry::{log, metrics::Metrics};

const EXCHANGES: usize = 1_000;
const ROUNDS: usize = 200;

fn main() {
    let mut ids = RequestIds::new(7);
    let exchanges: Vec<Exchange> = (0..EXCHANGES).map(|n| exchange(&mut ids, n as u64)).collect();
    let mut out = Vec::new();
    report("log line, JSON", &exchanges, |exchange| {
        log::json(&mut out, exchange);
        out.clear();
    });
    report("log line, human", &exchanges, |exchange| {
        log::human(&mut out, exchange);
        out.clear();
    });
    let mut metrics = Metrics::default();
    report("metrics", &exchanges, |exchange| metrics.observe(exchange));
}

fn report(what: &str, exchanges: &[Exchange], mut work: impl FnMut(&Exchange)) {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        exchanges.iter().for_each(|exchange| work(black_box(exchange)));
        best = best.min(started.elapsed());
    }
    println!("{what}: {} ns", best.as_nanos() / exchanges.len() as u128);
}

/// An ordinary call of an API.
fn exchange(ids: &mut RequestIds, n: u64) -> Exchange {
    let started = 1_764_000_000_000_000 + n * 37;
    let micros = Duration::from_micros;
    Exchange {
        id: ids.next(started),
        started_unix_micros: started,
        listener: "0.0.0.0:8080".into(),
        client: Some([192, 0, 2, n as u8].into()),
        protocol: Protocol::Http11,
        tls: false,
        method: Method::Get,
        host: "api.example.com".into(),
        path: format!("/v1/orders/{n}/items").into(),
        service: Some("orders".into()),
        route: Some("/v1/orders/*".into()),
        consumer: None,
        external_id: None,
        status: 200,
        ending: Ending::ANSWERED,
        detail: None,
        request_body_bytes: 0,
        response_body_bytes: 431,
        timeline: Timeline {
            head_micros: 11,
            body_micros: None,
            response_micros: Some(812 + n),
            done_micros: 840 + n,
        },
        ai: None,
        attempts: vec![Attempt {
            upstream: "orders".into(),
            target: "http://10.0.0.7:8000".into(),
            address: Some(([10, 0, 0, 7], 8000).into()),
            started_micros: 14,
            reuse: Some(Reuse { requests: 17, idle: micros(2_345 + n) }),
            resolve: None,
            connect: None,
            tls: None,
            send: Some(micros(9)),
            await_head: Some(micros(790 + n)),
            total: micros(815 + n),
            bytes_sent: 512,
            bytes_received: 655,
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
