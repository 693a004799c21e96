//! HTTP/2 clients that behave badly, or only otherwise than HTTP/1 ones.

use testkit::{Client, End, Step, Upstream, frames};

use super::gateway::{Gateway, line, one_upstream};

/// A listener with these settings in flow style, in front of one upstream.
fn listening(settings: &str, upstream: &Upstream) -> Gateway {
    let listeners = format!("listeners: [{{ address: \"127.0.0.1:0\", {settings} }}]\n");
    Gateway::start(&format!("{listeners}{}", one_upstream(&upstream.url(), "")))
}

/// What a client says first: its preface, and windows that never close.
fn hello() -> Vec<u8> {
    const INITIAL_WINDOW_SIZE: [u8; 2] = [0, 4];
    let window: u32 = (1 << 31) - 1;
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let setting = [&INITIAL_WINDOW_SIZE[..], &window.to_be_bytes()].concat();
    bytes.extend(frames::frame(frames::SETTINGS, 0, 0, &setting));
    bytes.extend(frames::frame(frames::WINDOW_UPDATE, 0, 0, &(window - 65_535).to_be_bytes()));
    bytes
}

fn get(stream: u32) -> Vec<u8> {
    let fields = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "test")];
    frames::headers(stream, frames::END_STREAM, &fields)
}

#[tokio::test]
async fn a_client_that_does_not_read_is_reset_and_holds_no_place() {
    // More than the kernel keeps of a connection, less per stream than the library does.
    const STREAMS: u32 = 100;
    const BODY: usize = 60_000;
    let upstream = Upstream::answer(|_| {
        format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n{}", "x".repeat(BODY)).into_bytes()
    });
    let mut gateway = listening(
        "timeouts: { client-send: 300ms, keep-alive: 1h }, limits: { connections: 1, http2-memory: 16MiB }",
        &upstream,
    );
    let mut client = Client::tcp_with_small_window(gateway.address()).await;
    client.send(hello()).await;
    for number in 0..STREAMS {
        client.send(get(2 * number + 1)).await;
    }
    let timed_out = "499 client body client-send-timeout";
    let mut lines = Vec::new();
    while !lines.iter().any(|known| known == timed_out) {
        lines.push(line(&gateway.record().await));
    }
    assert_eq!(client.end().await.1, End::Rst);
    assert_eq!(gateway.get("/").await.status, 200, "the only place is free again");
}

#[tokio::test]
async fn a_refused_head_request_gets_no_body_and_is_recorded() {
    let upstream = Upstream::ok("ok");
    let mut gateway = Gateway::to(&upstream.url(), "");
    let mut client = gateway.http2_client().await;
    let response = client.exchange("HEAD", "/x", &[("expect", "magic")], b"").await;
    assert_eq!((response.status, response.body.len(), response.is_complete()), (417, 0, true));
    assert_ne!(response.field("content-length"), Some("0"));
    let record = gateway.record().await;
    assert_eq!((record.method.as_str(), &*record.host, &*record.path), ("HEAD", "test", "/x"));
    assert_eq!(line(&record), "417 client read-request expectation-unknown");
}

#[tokio::test]
async fn a_client_that_waits_for_permission_gets_it_only_if_its_body_is_wanted() {
    let expecting = [("expect", "100-continue"), ("content-length", "4")];
    let upstream = Upstream::answer(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec());
    let gateway = Gateway::to(&upstream.url(), "");
    let mut client = gateway.http2_client().await;
    let mut request = client.begin("POST", "/", &expecting, false).await.unwrap();
    assert_eq!(request.informational().await, Some(100));
    request.send(b"body", true).await;
    assert_eq!(request.response().await.status, 200);
    assert_eq!((upstream.request().body_text().as_str(), upstream.request().field("expect")), ("body", None));
    let nothing = Gateway::start("");
    let mut client = nothing.http2_client().await;
    let request = client.begin("POST", "/", &expecting, false).await.unwrap();
    let response = request.response().await;
    assert_eq!((response.status, response.informational), (404, Vec::new()));
}

#[tokio::test]
async fn the_parts_of_a_record_fit_into_the_whole_after_a_quiet_time() {
    let upstream = Upstream::ok("ok");
    let mut gateway = Gateway::to(&upstream.url(), "");
    let mut client = gateway.http2_client().await;
    for _ in 0..2 {
        assert_eq!(client.get("/").await.status, 200);
        let record = gateway.record().await;
        let attempt = &record.attempts[0];
        let send = attempt.send.unwrap().as_micros() as u64;
        assert!(send <= record.timeline.done_micros, "{send} {:?}", record.timeline);
        // It is time itself that must pass here: a worker reads its clock when it has something to do.
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_client_that_floods_after_a_quiet_time_is_told_to_calm_down() {
    const PING: u8 = 6;
    const ENHANCE_YOUR_CALM: u32 = 11;
    let upstream = Upstream::ok("ok");
    let mut gateway = Gateway::to(&upstream.url(), "");
    let mut client = gateway.client().await;
    client.send([hello(), get(1)].concat()).await;
    client.until_arrived(&frames::data(1, 0, b"ok")).await.unwrap();
    assert_eq!(gateway.record().await.status, 200);
    // Longer than a client has to hear the farewell, which must not have begun before.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    client.send(frames::frame(PING, 0, 0, b"12345678").repeat(3000)).await;
    client.until_arrived(&frames::goaway(1, ENHANCE_YOUR_CALM)).await.unwrap();
    assert_eq!(line(&gateway.record().await), "400 client read-request client-flood");
}

#[tokio::test]
async fn a_response_that_fails_at_once_is_seen_as_far_as_it_is_recorded() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in ["3\r\nabc\r\nnot a size", "not a size"] {
        let answer = format!("{head}{body}\r\n");
        let upstream = Upstream::script([vec![Step::ReadHead, Step::send(answer), Step::AwaitEnd]]);
        let mut gateway = Gateway::to(&upstream.url(), "");
        let response = gateway.http2_client().await.get("/").await;
        let record = gateway.record().await;
        assert!(response.reset.is_some(), "{response:?}");
        assert_eq!(
            (u64::from(response.status), response.body.len() as u64),
            (u64::from(record.status), record.response_body_bytes),
            "{body}"
        );
    }
}

/// Two that differ are refused by the library.
#[tokio::test]
async fn a_length_that_is_said_twice_reaches_nobody() {
    let upstream = Upstream::ok("ok");
    let mut gateway = Gateway::to(&upstream.url(), "");
    let mut client = gateway.http2_client().await;
    let twice = [("content-length", "4"), ("content-length", "4")];
    assert_eq!(client.exchange("POST", "/", &twice, b"body").await.status, 400);
    assert_eq!(line(&gateway.record().await), "400 client read-request request-malformed");
    assert_eq!(upstream.connections(), 0);
}
