//! Targets that want something: a certificate of ours, another name, few streams at once; and how long they may take.

use std::time::Duration;

use testkit::{Authority, BodyEnd, End, Gate, Http2Answer, Http2End, Step, Upstream};

use super::gateway::{Gateway, line, one_upstream};

#[tokio::test]
async fn a_target_gets_the_certificate_and_the_name_that_are_set_for_it() {
    let (servers, clients, others) = (Authority::new(), Authority::new(), Authority::new());
    let upstream = Upstream::builder()
        .mutual_tls(&servers.issue(&["shop.internal"]), &clients)
        .answer(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec());
    let url = upstream.url_as("https");
    let ca = servers.file();
    let settings = |certificate: &testkit::Certificate| {
        format!(
            "tls: {{ ca: \"{}\", server-name: shop.internal, client-certificate: {{ certificate: \"{}\", key: \"{}\" }} }}",
            ca.display(),
            certificate.certificate.display(),
            certificate.key.display()
        )
    };
    let own = clients.issue(&["clearway"]);
    let mut gateway = Gateway::to(&url, &settings(&own));
    assert_eq!(gateway.get("/").await.status, 200);
    assert_eq!(line(&gateway.record().await), "200 upstream done ok | upstream done ok status:200");
    let seen = upstream.seen().connections.remove(0);
    assert_eq!(seen.server_name.as_deref(), Some("shop.internal"));
    assert_eq!(seen.client_certificate, Some(own.der()));
    // The Host stays that of the client: the name is of TLS only.
    assert_eq!(upstream.request().field("host"), Some("test"));

    // One that the target does not believe, and none at all: its alert is the reason.
    let mut gateway = Gateway::to(&url, &settings(&others.issue(&["stranger"])));
    assert_eq!(gateway.get("/").await.status, 502);
    let record = gateway.record().await;
    assert!(record.attempts[0].tls_alert.is_some(), "{}", line(&record));
    let without = format!("tls: {{ ca: \"{}\", server-name: shop.internal }}", ca.display());
    let mut gateway = Gateway::to(&url, &without);
    assert_eq!(gateway.get("/").await.status, 502);
    let record = gateway.record().await;
    assert_eq!(record.attempts[0].tls_alert, Some(116), "certificate_required (RFC 8446 section 6.2)");

    // Without the name it is the host of the target, which the certificate is not for.
    let mut gateway = Gateway::to(&url, &format!("tls: {{ ca: \"{}\" }}", ca.display()));
    assert_eq!(gateway.get("/").await.status, 502);
    assert_eq!(line(&gateway.record().await), "502 upstream tls tls-failed | upstream tls tls-failed");
}

#[tokio::test]
async fn more_requests_than_streams_get_connections_of_their_own() {
    let upstream = Upstream::builder().streams(2).http2(|request| match request.target.as_str() {
        "/held" => Http2Answer { body: Vec::new(), end: Http2End::Stall, ..Http2Answer::ok("") },
        _ => Http2Answer::ok("free"),
    });
    let mut gateway = Gateway::to(&upstream.url_as("h2c"), "");
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut client = gateway.client().await;
        client.send("GET /held HTTP/1.1\r\nHost: test\r\n\r\n").await;
        client.until_arrived(b"\r\n\r\n").await.unwrap();
        held.push(client);
    }
    assert_eq!(upstream.connections(), 2);
    assert_eq!(gateway.get("/").await.body_text(), "free");
    assert_eq!(upstream.connections(), 3);
    // A place that becomes free is taken again before another connection is made.
    drop(held.remove(0));
    assert_eq!(gateway.record().await.status, 200);
    assert_eq!(gateway.record().await.status, 200);
    for _ in 0..3 {
        assert_eq!(gateway.get("/").await.body_text(), "free");
    }
    assert_eq!(upstream.connections(), 3);
}

#[tokio::test]
async fn the_total_time_ends_whatever_is_under_way() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n";
    let drip =
        Step::SendSlowly { bytes: "x".repeat(100_000).into(), piece: 1, gap: Duration::from_millis(20) };
    let total = |upstream: &Upstream| {
        format!(
            "{}listeners: [{{ address: \"127.0.0.1:0\", limits: {{ body-rate: 0 }} }}]\n",
            one_upstream(&upstream.url(), "timeouts: { total: 300ms }")
        )
    };
    // No answer at all.
    let silent = Upstream::script([vec![Step::ReadHead, Step::AwaitEnd]]);
    let mut gateway = Gateway::start(&total(&silent));
    assert_eq!(gateway.get("/").await.status, 504);
    assert_eq!(
        line(&gateway.record().await),
        "504 upstream await-head total-timeout | upstream await-head total-timeout total:300ms"
    );
    // A body that never idles and never ends: the client must not take what it has for the whole.
    let slow = Upstream::script([vec![Step::ReadHead, Step::send(head), drip]]);
    let mut gateway = Gateway::start(&total(&slow));
    let response = gateway.get("/").await;
    assert_eq!((response.status, response.end), (200, BodyEnd::Cut(End::Rst)));
    assert_eq!(
        line(&gateway.record().await),
        "200 upstream body total-timeout | upstream body total-timeout status:200 total:300ms"
    );
    // An upload that goes on and on.
    let taking = Upstream::script([vec![Step::ReadHead, Step::AwaitEnd]]);
    let streaming = total(&taking).replace("timeouts:", "request-buffering: false, timeouts:");
    for (text, expect) in [
        (streaming, "504 upstream send total-timeout | upstream send total-timeout total:300ms"),
        (total(&taking), "504 upstream read-request total-timeout"),
    ] {
        let mut gateway = Gateway::start(&text);
        let mut client = gateway.client().await;
        client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\nhalf").await;
        assert_eq!(client.response("POST").await.status, 504);
        assert_eq!(line(&gateway.record().await), expect);
    }
}

#[tokio::test]
async fn an_attempt_can_outlive_its_client() {
    let (asked, answer, more) = (Gate::new(), Gate::new(), Gate::new());
    let upstream = Upstream::script([vec![
        Step::ReadHead,
        Step::Open(asked.clone()),
        Step::Await(answer.clone()),
        Step::send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf"),
        Step::Await(more.clone()),
        Step::send("half"),
        // The connection is good for another request, because the response was read to its end.
        Step::ReadHead,
        Step::send("HTTP/1.1 204 No Content\r\n\r\n"),
        Step::AwaitEnd,
    ]]);
    let text = format!(
        "upstreams: [{{ name: app, targets: [\"{}\"] }}]\n\
         services: [{{ name: shop, upstream: app, routes: [{{ paths: [/*], when-client-leaves: finish }}] }}]\n",
        upstream.url()
    );
    let mut gateway = Gateway::start(&text);
    let mut client = gateway.client().await;
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
    asked.passed().await;
    client.reset();
    answer.open();
    more.open();
    // Nothing of the answer had left for the client.
    assert_eq!(line(&gateway.record().await), "499 client body client-gone | upstream done ok status:200");
    assert_eq!(gateway.get("/").await.status, 204);
    assert_eq!(upstream.connections(), 1);
}

fn chunk(bytes: usize) -> Vec<u8> {
    [format!("{bytes:x}\r\n").into_bytes(), vec![b'x'; bytes], b"\r\n".to_vec()].concat()
}

const CHUNKED_POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

#[tokio::test]
async fn a_uwsgi_worker_is_not_bothered_before_the_body_is_there() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let upstream = Upstream::script([
        vec![Step::ReadPacket, Step::send(ok), Step::Close],
        vec![Step::ReadPacket, Step::Read(8), Step::send(ok), Step::Close],
    ]);
    let gateway = Gateway::to(&upstream.url_as("uwsgi"), "");
    let mut slow = gateway.client().await;
    slow.send([CHUNKED_POST.as_bytes(), &chunk(4)].concat()).await;
    // The only worker has read that when it has answered this.
    assert_eq!(gateway.get("/").await.status, 200);
    assert_eq!(upstream.connections(), 1);
    slow.send([chunk(4), b"0\r\n\r\n".to_vec()].concat()).await;
    assert_eq!(slow.response("POST").await.status, 200);
    assert_eq!(upstream.connections(), 2);
}

#[tokio::test]
async fn a_collected_body_goes_on_after_an_early_head_and_is_waited_for_by_its_target() {
    const BODY: usize = 12 << 20;
    let request = [CHUNKED_POST.as_bytes(), &chunk(BODY), b"0\r\n\r\n"].concat();
    let early = Upstream::script([vec![
        Step::ReadPacket,
        Step::send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"),
        Step::Read(BODY),
        Step::send("ok"),
        Step::Close,
    ]]);
    let gateway = Gateway::to(&early.url_as("uwsgi"), "");
    let mut client = gateway.client().await;
    client.send(&request).await;
    assert_eq!(client.response("POST").await.body_text(), "ok");

    let deaf = Upstream::script([vec![Step::ReadPacket, Step::Stall]]);
    let mut gateway = Gateway::to(&deaf.url_as("uwsgi"), "timeouts: { send: 300ms }");
    let mut client = gateway.client().await;
    client.send(&request).await;
    assert_eq!(client.response("POST").await.status, 504);
    assert_eq!(
        line(&gateway.record().await),
        "504 upstream send send-timeout | upstream send send-timeout send:300ms"
    );
}

#[tokio::test]
async fn after_an_early_head_both_directions_count_as_progress() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let upstream = Upstream::script([vec![
        Step::ReadHead,
        Step::send(head),
        Step::ReadUntil(b"0\r\n\r\n"),
        Step::send("2\r\nok\r\n0\r\n\r\n"),
        Step::AwaitEnd,
    ]]);
    let settings = "timeouts: { body-idle: 500ms }";
    let mut gateway = Gateway::to(&upstream.url(), settings);
    let mut client = gateway.client().await;
    client.send(CHUNKED_POST).await;
    client.until_arrived(b"\r\n\r\n").await.unwrap();
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        client.send(chunk(1)).await;
    }
    client.send("0\r\n\r\n").await;
    assert_eq!(client.response("POST").await.body_text(), "ok");
    assert_eq!(line(&gateway.record().await), "200 upstream done ok | upstream done ok status:200");

    // A request that stops is its client's doing, even if it is the target that says nothing more.
    let mut gateway = Gateway::to(&upstream.url(), settings);
    let mut client = gateway.client().await;
    client.send(CHUNKED_POST).await;
    assert_eq!(client.response("POST").await.end, BodyEnd::Cut(End::Rst));
    assert_eq!(
        line(&gateway.record().await),
        "200 client body client-body-timeout | client body client-body-timeout status:200 body-idle:500ms"
    );
}

#[tokio::test]
async fn the_total_time_covers_connecting_and_collecting() {
    let ((full, _sockets), (other, _others)) = (testkit::full(), testkit::full());
    let text = format!(
        "upstreams: [{{ name: app, targets: [\"http://{full}\", \"http://{other}\"], \
         timeouts: {{ connect: 200ms, total: 300ms }} }}]\n\
         services: [{{ name: shop, upstream: app }}]\n"
    );
    let mut gateway = Gateway::start(&text);
    assert_eq!(gateway.get("/").await.status, 504);
    assert_eq!(
        line(&gateway.record().await),
        "504 upstream connect total-timeout | upstream connect connect-timeout connect:200ms \
         | upstream connect total-timeout total:300ms"
    );
    let mut gateway = Gateway::to(&format!("uwsgi://{full}"), "timeouts: { total: 300ms }");
    let mut client = gateway.client().await;
    client.send([CHUNKED_POST.as_bytes(), &chunk(4)].concat()).await;
    assert_eq!(client.response("POST").await.status, 504);
    assert_eq!(line(&gateway.record().await), "504 upstream read-request total-timeout");
}
