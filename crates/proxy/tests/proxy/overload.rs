//! More requests than the targets take: some wait, in an order and with an end, and the rest are turned away at once.

use model::Exchange;
use testkit::{Client, Gate, Step, Upstream};

use super::gateway::{Gateway, line, one_upstream};

/// A target that answers each request when the gate is open.
fn held(gate: &Gate) -> Upstream {
    Upstream::script([vec![
        Step::ReadHead,
        Step::Await(gate.clone()),
        Step::send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
        Step::Close,
    ]])
}

async fn until_connected(upstream: &Upstream, count: usize) {
    testkit::within("requests at the target", async {
        while upstream.seen().connections.iter().filter(|seen| !seen.received.is_empty()).count() < count {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Sends a request without waiting for its answer.
async fn ask(gateway: &Gateway, path: &str) -> Client {
    let mut client = gateway.client().await;
    client.send(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    client
}

fn waited(record: &Exchange) -> bool {
    record.attempts.first().is_some_and(|attempt| attempt.waited.is_some())
}

#[tokio::test]
async fn what_is_above_the_limit_waits_for_a_place() {
    let gate = Gate::new();
    let target = held(&gate);
    let mut gateway = Gateway::to(&target.url(), "concurrency: 1");
    let mut first = ask(&gateway, "/first").await;
    until_connected(&target, 1).await;
    let mut second = ask(&gateway, "/second").await;
    gateway.until_waiting(1).await;
    assert_eq!(target.connections(), 1, "the target does not know of it");
    gate.open();
    assert_eq!(first.response("GET").await.status, 200);
    assert_eq!(second.response("GET").await.status, 200);
    let records = gateway.records(2).await;
    assert_eq!(records.iter().map(waited).collect::<Vec<_>>(), [false, true]);
    gateway.until_waiting(0).await;
}

#[tokio::test]
async fn who_finds_the_queue_full_is_turned_away_at_once() {
    let gate = Gate::new();
    let target = held(&gate);
    let mut gateway = Gateway::to(&target.url(), "concurrency: 1, queue: { length: 1 }");
    let mut first = ask(&gateway, "/").await;
    until_connected(&target, 1).await;
    let mut second = ask(&gateway, "/").await;
    gateway.until_waiting(1).await;
    let refused = gateway.get("/").await;
    assert_eq!((refused.status, refused.field("retry-after")), (503, Some("5")));
    let record = gateway.record().await;
    assert_eq!(line(&record), "503 gateway queue queue-full");
    assert_eq!(record.detail.as_deref(), Some("queue-length is limited to 1"));
    gate.open();
    assert_eq!(first.response("GET").await.status, 200);
    assert_eq!(second.response("GET").await.status, 200);
}

#[tokio::test]
async fn bodies_that_wait_are_bounded_and_who_is_turned_away_for_theirs_is_told() {
    let target = held(&Gate::new());
    let mut gateway = Gateway::to(&target.url(), "concurrency: 1, queue: { bytes: 1KiB }");
    let _first = ask(&gateway, "/").await;
    until_connected(&target, 1).await;
    let mut client = gateway.client().await;
    client.send(&format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1025\r\n\r\n{:1025}", "")).await;
    assert_eq!(client.response("POST").await.status, 503);
    let record = gateway.record().await;
    assert_eq!(line(&record), "503 gateway queue queue-full");
    assert_eq!(record.detail.as_deref(), Some("queue-bytes is limited to 1024 bytes"));
}

#[tokio::test]
async fn nobody_waits_longer_than_allowed() {
    let target = held(&Gate::new());
    let mut gateway =
        Gateway::to(&target.url(), "concurrency: 1, queue: { wait: 100ms, standing-wait: 50ms }");
    let _first = ask(&gateway, "/").await;
    until_connected(&target, 1).await;
    let (second, third) = tokio::join!(gateway.get("/"), gateway.get("/"));
    assert_eq!((second.status, third.status), (503, 503));
    for record in gateway.records(2).await {
        assert_eq!(line(&record), "503 gateway queue queue-timeout");
    }
    assert_eq!(target.connections(), 1, "neither was begun");
}

#[tokio::test]
async fn the_critical_go_first_and_the_sheddable_are_turned_away_first() {
    let gate = Gate::new();
    let target = held(&gate);
    let text = format!(
        "upstreams: [{{ name: app, targets: [\"{}\"], concurrency: 1, queue: {{ length: 2 }} }}]\n\
         services: [{{ name: shop, upstream: app, routes: [\
         {{ paths: [/health], criticality: critical }}, {{ paths: [/report], criticality: sheddable }}, {{ }}] }}]\n",
        target.url()
    );
    let mut gateway = Gateway::start(&text);
    let mut clients = vec![ask(&gateway, "/first").await];
    until_connected(&target, 1).await;
    let mut report = ask(&gateway, "/report").await;
    gateway.until_waiting(1).await;
    clients.push(ask(&gateway, "/normal").await);
    gateway.until_waiting(2).await;
    clients.push(ask(&gateway, "/health").await);
    assert_eq!(report.response("GET").await.status, 503, "it has made room");
    assert_eq!(line(&gateway.record().await), "503 gateway queue queue-full");
    gate.open();
    for client in &mut clients {
        assert_eq!(client.response("GET").await.status, 200);
    }
    let seen = target.seen();
    let order: Vec<_> = seen
        .connections
        .iter()
        .map(|connection| {
            let head = String::from_utf8_lossy(&connection.received);
            head.split(' ').nth(1).unwrap_or_default().to_owned()
        })
        .collect();
    assert_eq!(order, ["/first", "/health", "/normal"]);
}

#[tokio::test]
async fn a_client_that_leaves_leaves_the_queue() {
    let gate = Gate::new();
    let target = held(&gate);
    let mut gateway = Gateway::to(&target.url(), "concurrency: 1");
    let mut first = ask(&gateway, "/first").await;
    until_connected(&target, 1).await;
    let leaving = ask(&gateway, "/leaving").await;
    gateway.until_waiting(1).await;
    drop(leaving);
    assert_eq!(line(&gateway.record().await), "499 client queue client-gone");
    let mut last = ask(&gateway, "/last").await;
    gateway.until_waiting(1).await;
    gate.open();
    assert_eq!(first.response("GET").await.status, 200);
    assert_eq!(last.response("GET").await.status, 200);
    assert_eq!(target.connections(), 2, "nobody asked for the one who left");
}

#[tokio::test]
async fn an_http2_client_that_closes_its_connection_leaves_the_queue() {
    let gate = Gate::new();
    let target = held(&gate);
    let mut gateway = Gateway::to(&target.url(), "concurrency: 1, request-buffering: false");
    let mut first = ask(&gateway, "/first").await;
    until_connected(&target, 1).await;
    for (body, ends) in [("", true), ("body", true), ("bo", false)] {
        let mut client = gateway.http2_client().await;
        let mut request = client.begin("POST", "/leaving", &[], body.is_empty()).await.unwrap();
        if !body.is_empty() {
            request.send(body.as_bytes(), ends).await;
        }
        gateway.until_waiting(1).await;
        client.abort();
        let line = line(&gateway.record().await);
        assert_eq!(line, "499 client queue client-gone", "{body}, which ends: {ends}");
    }
    gate.open();
    assert_eq!(first.response("GET").await.status, 200);
    assert_eq!(target.connections(), 1, "nobody asked for those who left");
}

#[tokio::test]
async fn a_full_target_does_not_keep_requests_from_another() {
    let (gate, other_gate) = (Gate::new(), Gate::new());
    let (target, other) = (held(&gate), held(&other_gate));
    let text = format!(
        "upstreams: [{{ name: app, targets: [\"{}\", \"{}\"], concurrency: 1 }}]\n\
         services: [{{ name: shop, upstream: app }}]\n",
        target.url(),
        other.url()
    );
    let gateway = Gateway::start(&text);
    let mut clients = vec![ask(&gateway, "/").await, ask(&gateway, "/").await];
    until_connected(&target, 1).await;
    until_connected(&other, 1).await;
    clients.push(ask(&gateway, "/").await);
    gateway.until_waiting(1).await;
    other_gate.open();
    until_connected(&other, 2).await;
    gate.open();
    for client in &mut clients {
        assert_eq!(client.response("GET").await.status, 200);
    }
    assert_eq!((target.connections(), other.connections()), (1, 2));
}

#[tokio::test]
async fn who_waits_during_a_reload_is_served_by_what_serves_then() {
    let gate = Gate::new();
    let target = held(&gate);
    let mut gateway = Gateway::to(&target.url(), "concurrency: 1");
    let mut first = ask(&gateway, "/").await;
    until_connected(&target, 1).await;
    let mut second = ask(&gateway, "/").await;
    gateway.until_waiting(1).await;
    gateway.reload(&one_upstream(&target.url(), "concurrency: 1, timeouts: { await-head: 9s }")).unwrap();
    gateway.until_waiting(1).await;
    gate.open();
    assert_eq!(first.response("GET").await.status, 200);
    assert_eq!(second.response("GET").await.status, 200);
}

#[tokio::test]
async fn who_waits_is_served_after_a_reload_that_was_refused() {
    let gate = Gate::new();
    let target = held(&gate);
    let mut gateway = Gateway::to(&target.url(), "concurrency: 1");
    let mut first = ask(&gateway, "/").await;
    until_connected(&target, 1).await;
    let mut second = ask(&gateway, "/").await;
    gateway.until_waiting(1).await;
    let occupied = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let changed = one_upstream(&target.url(), "concurrency: 1, timeouts: { await-head: 9s }");
    let listeners = format!("listeners: [{{ address: \"{}\" }}]\n", occupied.local_addr().unwrap());
    assert!(gateway.reload(&format!("{changed}{listeners}")).is_err());
    gate.open();
    assert_eq!(first.response("GET").await.status, 200);
    assert_eq!(second.response("GET").await.status, 200);
}

#[tokio::test]
async fn who_comes_during_an_outage_waits_without_an_attempt() {
    let before = held(&open_gate());
    let (address, url) = (before.address(), before.url());
    let mut gateway = Gateway::to(&url, "");
    assert_eq!(gateway.get("/").await.status, 200);
    gateway.record().await;
    drop(before);
    let mut waiting = vec![ask(&gateway, "/finds-the-door-closed").await];
    gateway.until_waiting(1).await;
    waiting.push(ask(&gateway, "/comes-later").await);
    gateway.until_waiting(2).await;
    let _after =
        Upstream::builder().at(address).answer(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec());
    for client in &mut waiting {
        assert_eq!(client.response("GET").await.status, 200);
    }
    let mut attempts: Vec<_> = gateway.records(2).await.iter().map(|record| record.attempts.len()).collect();
    attempts.sort_unstable();
    assert_eq!(attempts, [1, 2]);
}

#[tokio::test]
async fn an_outage_that_lasts_is_told_by_what_happened_to_each_request() {
    let before = held(&open_gate());
    let url = before.url();
    let mut gateway = Gateway::to(&url, "queue: { wait: 200ms, standing-wait: 100ms }");
    assert_eq!(gateway.get("/").await.status, 200);
    gateway.record().await;
    drop(before);
    let mut attempted = ask(&gateway, "/attempted").await;
    gateway.until_waiting(1).await;
    let mut waited = ask(&gateway, "/waited").await;
    gateway.until_waiting(2).await;
    assert_eq!(attempted.response("GET").await.status, 502);
    let answer = waited.response("GET").await;
    assert_eq!((answer.status, answer.field("retry-after")), (503, Some("1")));
    let mut lines: Vec<_> = gateway.records(2).await.iter().map(line).collect();
    lines.sort();
    assert_eq!(
        lines,
        [
            "502 upstream connect connect-refused | upstream connect connect-refused ECONNREFUSED",
            "503 gateway queue queue-timeout"
        ]
    );
}

fn open_gate() -> Gate {
    let gate = Gate::new();
    gate.open();
    gate
}

#[tokio::test]
async fn an_attempt_that_takes_too_long_leaves_time_for_another() {
    let silent = held(&Gate::new());
    let good = held(&open_gate());
    let text = format!(
        "upstreams: [{{ name: app, targets: [\"{}\", \"{}\"], timeouts: {{ attempt: 100ms }} }}]\n\
         services: [{{ name: shop, upstream: app }}]\n",
        silent.url(),
        good.url()
    );
    let mut gateway = Gateway::start(&text);
    let mut tried_both = 0;
    testkit::within("a request that met the silent one", async {
        while tried_both == 0 {
            assert_eq!(gateway.get("/").await.status, 200);
            let record = gateway.record().await;
            if record.attempts.len() == 2 {
                let expect = "200 upstream done ok | upstream await-head await-head-timeout attempt:100ms \
                              | upstream done ok status:200";
                assert_eq!(line(&record), expect);
                tried_both += 1;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn who_was_never_attempted_is_turned_away_by_the_gateway_when_its_time_is_over() {
    let target = held(&Gate::new());
    let text = format!(
        "upstreams: [{{ name: app, targets: [\"{}\"], concurrency: 1 }}]\n\
         services: [{{ name: shop, upstream: app, routes: [\
         {{ paths: [/held] }}, {{ timeouts: {{ total: 200ms }} }}] }}]\n",
        target.url()
    );
    let mut gateway = Gateway::start(&text);
    let _first = ask(&gateway, "/held").await;
    until_connected(&target, 1).await;
    let answer = gateway.get("/").await;
    assert_eq!(answer.status, 503);
    assert!(answer.field("retry-after").is_some());
    assert_eq!(line(&gateway.record().await), "503 gateway queue queue-timeout");
}

#[tokio::test]
async fn a_number_of_requests_at_once_holds_for_repeats_as_well() {
    let gate = Gate::new();
    let closing = Upstream::script([vec![Step::ReadHead, Step::Close]]);
    let one_at_a_time = held(&gate);
    let text = format!(
        "upstreams: [{{ name: app, targets: [\"{}\", \"{}\"], concurrency: 1 }}]\n\
         services: [{{ name: shop, upstream: app }}]\n",
        closing.url(),
        one_at_a_time.url()
    );
    let gateway = Gateway::start(&text);
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(ask(&gateway, "/").await);
    }
    until_connected(&one_at_a_time, 1).await;
    gateway.until_waiting(2).await;
    assert_eq!(one_at_a_time.connections(), 1, "what failed elsewhere waits, too");
    gate.open();
    for client in &mut clients {
        assert_eq!(client.response("GET").await.status, 200);
    }
}
