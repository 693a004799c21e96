//! The plain way through: a request reaches its target, the answer its client, and the record says so.

use testkit::{BodyEnd, Gate, Step, Upstream};

use super::gateway::{Gateway, line};

#[tokio::test]
async fn a_request_goes_through_and_is_recorded() {
    let upstream = Upstream::ok("hello");
    let mut gateway = Gateway::to(&upstream.url(), "");
    let response = gateway.get("/a/b?c=d").await;
    assert_eq!((response.status, response.body_text().as_str()), (200, "hello"));
    assert_eq!(response.end, BodyEnd::Complete);
    let request = upstream.request();
    assert_eq!((request.method.as_str(), request.target.as_str()), ("GET", "/a/b?c=d"));
    assert_eq!(request.field("host"), Some("test"));
    let record = gateway.record().await;
    assert_eq!(line(&record), "200 upstream done ok | upstream done ok status:200");
    assert_eq!((&*record.host, &*record.path), ("test", "/a/b"));
    assert_eq!(record.service.as_deref(), Some("shop"));
    assert_eq!(record.response_body_bytes, 5);
    assert_eq!(response.field("x-request-id"), Some(record.id.to_string().as_str()));
    let attempt = &record.attempts[0];
    assert_eq!(attempt.address, Some(upstream.address()));
    assert!(attempt.connect.is_some() && attempt.await_head.is_some() && attempt.send.is_some());
}

#[tokio::test]
async fn a_body_goes_up_with_its_framing_however_it_is_split() {
    for (request, framing, body) in [
        ("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 11\r\n\r\nhello world", "length", "hello world"),
        (
            "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n6;x=y\r\nhello \r\n5\r\nworld\r\n0\r\nX-Sum: 1\r\n\r\n",
            "chunked",
            "hello world",
        ),
        ("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n", "empty", ""),
    ] {
        for size in [1, 7, 4096] {
            let upstream = Upstream::ok("ok");
            let mut gateway = Gateway::to(&upstream.url(), "request-buffering: false");
            let mut client = gateway.client().await;
            client.send_in_pieces(request.as_bytes(), size).await;
            assert_eq!(client.response("POST").await.status, 200);
            let seen = upstream.request();
            assert_eq!(seen.body_text(), body, "{framing} in pieces of {size}");
            match framing {
                "chunked" => {
                    assert_eq!(seen.field("transfer-encoding"), Some("chunked"));
                    // Python servers take them for header fields.
                    assert_eq!(seen.trailers, []);
                }
                _ => assert_eq!(seen.field("content-length"), Some(body.len().to_string().as_str())),
            }
            assert_eq!(gateway.record().await.request_body_bytes, body.len() as u64);
        }
    }
}

#[tokio::test]
async fn connections_of_both_sides_are_reused() {
    let upstream = Upstream::ok("ok");
    let mut gateway = Gateway::to(&upstream.url(), "");
    let mut client = gateway.client().await;
    for _ in 0..3 {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert_eq!(upstream.connections(), 1);
    let lines: Vec<String> = gateway.records(3).await.iter().map(line).collect();
    assert_eq!(
        lines,
        [
            "200 upstream done ok | upstream done ok status:200",
            "200 upstream done ok | upstream done ok reused:1 status:200",
            "200 upstream done ok | upstream done ok reused:2 status:200",
        ]
    );
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let upstream = Upstream::answer(|request| {
        let body = &request.target;
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    });
    let gateway = Gateway::to(&upstream.url(), "");
    let mut client = gateway.client().await;
    let requests: String = (0..5)
        .map(|n| match n {
            2 => "POST /2 HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc".to_owned(),
            n => format!("GET /{n} HTTP/1.1\r\nHost: test\r\n\r\n"),
        })
        .collect();
    client.send(requests).await;
    for n in 0..5 {
        assert_eq!(client.response("GET").await.body_text(), format!("/{n}"));
    }
}

#[tokio::test]
async fn bodies_without_length_come_whole() {
    for (answer, body) in [
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 9\r\n\r\n", "hello"),
        ("HTTP/1.1 200 OK\r\n\r\nuntil the end", "until the end"),
        ("HTTP/1.0 200 OK\r\n\r\nold", "old"),
    ] {
        let upstream =
            Upstream::script([vec![Step::ReadHead, Step::send(answer), Step::Fin, Step::AwaitEnd]]);
        let gateway = Gateway::to(&upstream.url(), "");
        let response = gateway.get("/").await;
        assert_eq!((response.status, response.body_text().as_str()), (200, body), "{answer}");
        assert_eq!(response.end, BodyEnd::Complete, "{answer}");
    }
}

#[tokio::test]
async fn head_204_and_304_have_no_body() {
    let upstream = Upstream::answer(|request| {
        match request.target.as_str() {
            "/head" => "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n",
            "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
            _ => "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 77\r\n\r\n",
        }
        .into()
    });
    let gateway = Gateway::to(&upstream.url(), "");
    let mut client = gateway.client().await;
    let head = client.exchange("HEAD /head HTTP/1.1\r\nHost: test\r\n\r\n").await;
    assert_eq!((head.status, head.field("content-length")), (200, Some("1234")));
    assert_eq!(client.get("/204").await.status, 204);
    let not_modified = client.get("/304").await;
    assert_eq!((not_modified.status, not_modified.field("etag")), (304, Some("\"x\"")));
    assert_eq!(client.exchange("HEAD /head HTTP/1.1\r\nHost: test\r\n\r\n").await.status, 200);
    // The client keeps its connection; that of the target ends after each HEAD.
    assert_eq!(upstream.connections(), 2);
}

#[tokio::test]
async fn a_stream_is_passed_on_event_by_event() {
    let (first, second) = (Gate::new(), Gate::new());
    let upstream = Upstream::script([vec![
        Step::ReadHead,
        Step::send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Accel-Buffering: no\r\n\r\n"),
        Step::Await(first.clone()),
        Step::send("data: 1\n\n"),
        Step::Await(second.clone()),
        Step::send("data: 2\n\n"),
        Step::Close,
    ]]);
    let gateway = Gateway::to(&upstream.url(), "");
    let mut client = gateway.client().await;
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
    // The head comes before any data, and each event before the next one exists.
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\n") {
        seen.extend(client.read_exactly(1).await.unwrap());
    }
    assert!(String::from_utf8_lossy(&seen).contains("text/event-stream"));
    assert!(!String::from_utf8_lossy(&seen).contains("Accel"));
    first.open();
    assert_eq!(client.read_exactly(14).await.unwrap(), b"9\r\ndata: 1\n\n\r\n");
    second.open();
    assert_eq!(client.read_exactly(19).await.unwrap(), b"9\r\ndata: 2\n\n\r\n0\r\n\r\n");
}

#[tokio::test]
async fn http2_clients_and_upstreams_meet() {
    let upstream = Upstream::builder().http2(|_| testkit::Http2Answer::ok("from h2"));
    let mut gateway = Gateway::to(&upstream.url_as("h2c"), "");
    let mut client = gateway.http2_client().await;
    let response = client.exchange("POST", "/x", &[("x-a", "1")], b"body").await;
    assert_eq!((response.status, response.body_text().as_str()), (200, "from h2"));
    assert!(response.is_complete());
    assert_eq!(gateway.get("/y").await.body_text(), "from h2");
    let requests = upstream.requests();
    assert_eq!(requests[0].body_text(), "body");
    assert_eq!(requests[0].field(":authority"), Some("test"));
    assert_eq!(requests[0].field("x-a"), Some("1"));
    assert_eq!(upstream.connections(), 1);
    let lines: Vec<String> = gateway.records(2).await.iter().map(line).collect();
    assert_eq!(lines[0], "200 upstream done ok | upstream done ok status:200");
    assert_eq!(lines[1], "200 upstream done ok | upstream done ok reused:1 status:200");
}

#[tokio::test]
async fn the_body_of_a_head_response_is_nobodys_response() {
    let upstream = Upstream::script([
        vec![
            Step::ReadHead,
            Step::send("HTTP/1.1 200 OK\r\nContent-Length: 45\r\n\r\n"),
            // What some applications send after all, and what an attacker may have put there.
            Step::send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"),
            Step::AwaitEnd,
        ],
        vec![Step::ReadHead, Step::send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmine"), Step::AwaitEnd],
    ]);
    let gateway = Gateway::to(&upstream.url(), "");
    let mut client = gateway.client().await;
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.response("HEAD").await.status, 200);
    assert_eq!(client.response("GET").await.body_text(), "mine");
}

#[tokio::test]
async fn interim_responses_go_on_at_once_and_within_bounds() {
    let go_on = Gate::new();
    let upstream = Upstream::script([vec![
        Step::ReadHead,
        Step::send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"),
        Step::Await(go_on.clone()),
        Step::send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        Step::AwaitEnd,
    ]]);
    let gateway = Gateway::to(&upstream.url(), "");
    let mut client = gateway.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.until_arrived(b"rel=preload\r\n\r\n").await.unwrap();
    go_on.open();
    let response = client.response("GET").await;
    assert_eq!((response.status, response.informational.len()), (200, 1));

    let endless = Upstream::script([vec![
        Step::ReadHead,
        Step::SendForever("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n".into()),
        Step::Stall,
    ]]);
    let mut gateway = Gateway::to(&endless.url(), "timeouts: { await-head: 300ms }");
    let response = gateway.get("/").await;
    let record = gateway.record().await;
    assert_eq!(response.status, 504, "{} {:?}", line(&record), record.detail);
    // 64 KiB of heads at 92 bytes each, as they are counted, and not the millions that were sent.
    assert!((100..1000).contains(&response.informational.len()), "{}", response.informational.len());
    assert_eq!(
        line(&record),
        "504 upstream await-head await-head-timeout | upstream await-head await-head-timeout await-head:300ms"
    );
}

#[tokio::test]
async fn every_response_has_one_date() {
    let upstream = Upstream::answer(|request| {
        let date = if request.target == "/with" { "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n" } else { "" };
        format!("HTTP/1.1 200 OK\r\n{date}Content-Length: 0\r\n\r\n").into_bytes()
    });
    let gateway = Gateway::to(&upstream.url(), "");
    assert_eq!(gateway.get("/with").await.all("date"), ["Sun, 06 Nov 1994 08:49:37 GMT"]);
    let unknown = Gateway::start("services: []\n");
    for response in [gateway.get("/without").await, unknown.get("/").await] {
        let dates = response.all("date");
        assert_eq!(dates.len(), 1);
        // IMF-fixdate (RFC 9110 section 5.6.7).
        assert!(dates[0].len() == 29 && dates[0].ends_with(" GMT"), "{dates:?}");
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_counted_from_the_request_on() {
    let gone = Gate::new();
    let upstream = Upstream::script([vec![
        Step::ReadHead,
        Step::send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        Step::ReadUntil(b"\r\n\r\nx"),
        Step::Await(gone.clone()),
        Step::Close,
    ]]);
    let mut gateway = Gateway::to(&upstream.url(), "");
    assert_eq!(gateway.get("/").await.status, 200);
    gateway.record().await;
    let mut client = gateway.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx").await;
    upstream.until("the second request", |seen| seen.connections[0].received.ends_with(b"\r\n\r\nx")).await;
    gone.open();
    assert_eq!(client.response("POST").await.status, 502);
    let record = gateway.record().await;
    let attempt = &record.attempts[0];
    assert!(attempt.reuse.is_some() && attempt.bytes_sent > 0);
    assert_eq!(attempt.bytes_acked, Some(attempt.bytes_sent));
}
