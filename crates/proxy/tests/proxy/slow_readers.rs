//! Clients that do not take their response: a target has nothing to do with them once it has sent a small one, and larger
//! ones and streams wait.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use testkit::{Client, Gate, Http2Client, Http2Request, Http2Response, Step, Upstream, within};

use super::gateway::{Gateway, line};

/// What a client of HTTP/2 takes without reading (RFC 9113 section 6.9.2), and as much as is held here.
const WINDOW: usize = 65_535;
const HELD: usize = 64 << 10;

fn body(length: usize) -> Vec<u8> {
    (0..length as u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8).collect()
}

fn by_length(body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

fn in_chunks(body: &[u8], kind: &str, end: &str) -> Vec<u8> {
    let mut bytes =
        format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n").into_bytes();
    for chunk in body.chunks(9_001) {
        bytes.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        bytes.extend([chunk, b"\r\n"].concat());
    }
    bytes.extend(end.as_bytes());
    bytes
}

/// Attempts that hold a connection to the only target.
fn in_flight(gateway: &mut Gateway) -> usize {
    let serving = gateway.server().shared().serving.load_full();
    let target = serving.upstreams.values().flat_map(|upstream| &upstream.targets).next().cloned();
    target.unwrap().state.in_flight.load(Ordering::Relaxed)
}

async fn until_done(gateway: &mut Gateway, upstream: &Upstream) {
    // With the request its attempt has begun.
    upstream
        .until("a request", |seen| {
            !seen.packets.is_empty() || !seen.connections.iter().all(|one| one.received.is_empty())
        })
        .await;
    within("the target to be done", async {
        while in_flight(gateway) > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Asks and does not read.
async fn ask(gateway: &Gateway) -> (Http2Client, Http2Request) {
    let mut client = gateway.http2_client().await;
    let request = client.begin("GET", "/", &[], true).await.unwrap();
    (client, request)
}

/// Answers, then serves another request on the same connection.
fn answering(bytes: Vec<u8>) -> Upstream {
    let end = "HTTP/1.1 204 No Content\r\n\r\n";
    let step = Step::send(bytes);
    Upstream::script([vec![Step::ReadHead, step, Step::ReadHead, Step::send(end), Step::AwaitEnd]])
}

#[tokio::test]
async fn a_small_response_gives_its_connection_back_before_its_client_reads() {
    // The library has no room for all that the window takes.
    let body = body(60_000 + HELD);
    let small = &body[..WINDOW + 30_000];
    for (answer, body, trailers) in [
        (by_length(&body), &body[..], 0),
        (in_chunks(small, "text/html", "0\r\n\r\n"), small, 0),
        (in_chunks(small, "text/html", "0\r\nX-Sum: 1\r\n\r\n"), small, 1),
    ] {
        let upstream = answering(answer);
        let mut gateway = Gateway::to(&upstream.url(), "");
        let (_client, request) = ask(&gateway).await;
        until_done(&mut gateway, &upstream).await;
        assert_eq!(gateway.get("/").await.status, 204);
        assert_eq!(upstream.connections(), 1, "the connection was free");
        let response: Http2Response = request.response().await;
        assert!(response.is_complete() && response.body == body);
        assert_eq!(response.trailers.len(), trailers);
        let records = gateway.records(2).await;
        assert_eq!(line(&records[0]), "204 upstream done ok | upstream done ok reused:1 status:204");
        assert_eq!(line(&records[1]), "200 upstream done ok | upstream done ok status:200");
        assert_eq!(records[1].response_body_bytes, body.len() as u64);
    }
}

#[tokio::test]
async fn a_response_without_a_length_is_read_to_the_end_of_its_connection() {
    let body = body(WINDOW + 30_000);
    for scheme in ["http", "uwsgi"] {
        let read = if scheme == "http" { Step::ReadHead } else { Step::ReadPacket };
        let answer = [b"HTTP/1.1 200 OK\r\n\r\n", &body[..]].concat();
        let upstream = Upstream::script([vec![read, Step::send(answer), Step::Close]]);
        let mut gateway = Gateway::to(&upstream.url_as(scheme), "");
        let (_client, request) = ask(&gateway).await;
        until_done(&mut gateway, &upstream).await;
        assert!(request.response().await.body == body);
    }
}

#[tokio::test]
async fn a_client_that_leaves_then_leaves_a_target_that_has_answered() {
    let upstream = answering(by_length(&body(WINDOW + 1000)));
    let mut gateway = Gateway::to(&upstream.url(), "");
    let (client, request) = ask(&gateway).await;
    until_done(&mut gateway, &upstream).await;
    client.abort();
    drop(request);
    let left = gateway.record().await;
    assert_eq!(line(&left), "200 client body client-gone | upstream done ok status:200");
    assert!(left.response_body_bytes <= WINDOW as u64, "{}", left.response_body_bytes);
}

#[tokio::test]
async fn a_client_that_never_reads_runs_out_of_time() {
    let upstream = answering(by_length(&body(WINDOW + 1000)));
    let listener = "listeners: [{ address: \"127.0.0.1:0\", timeouts: { client-send: 300ms } }]\n";
    let one = super::gateway::one_upstream(&upstream.url(), "");
    let mut gateway = Gateway::start(&format!("{listener}{one}"));
    let (_client, request) = ask(&gateway).await;
    assert_eq!(
        line(&gateway.record().await),
        "200 client body client-send-timeout | upstream done ok status:200"
    );
    assert!(!request.response().await.is_complete());
}

#[tokio::test]
async fn a_response_that_breaks_off_while_it_is_read_ahead_is_no_whole_one() {
    let answer = by_length(&body(WINDOW + 1000));
    let cut = answer[..answer.len() - 1].to_vec();
    let upstream = Upstream::script([vec![Step::ReadHead, Step::send(cut), Step::Close]]);
    let mut gateway = Gateway::to(&upstream.url(), "");
    let (_client, request) = ask(&gateway).await;
    assert_eq!(
        line(&gateway.record().await),
        "200 upstream body body-truncated | upstream body body-truncated status:200 fin"
    );
    let response = request.response().await;
    assert!(!response.is_complete() && response.body.len() <= WINDOW, "{:?}", response.reset);
}

#[tokio::test]
async fn what_is_no_small_response_waits_for_its_client() {
    let large = body(WINDOW + HELD + 1);
    let stream = body(WINDOW + 30_000);
    for (answer, body) in [
        (by_length(&large), &large),
        (in_chunks(&large, "text/html", "0\r\n\r\n"), &large),
        (in_chunks(&stream, "text/event-stream; charset=utf-8", "0\r\n\r\n"), &stream),
    ] {
        let sent = Gate::new();
        let upstream = Upstream::script([
            vec![Step::ReadHead, Step::send(answer), Step::Open(sent.clone()), Step::AwaitEnd],
            vec![
                Step::ReadHead,
                Step::send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"),
                Step::Close,
            ],
        ]);
        let mut gateway = Gateway::to(&upstream.url(), "");
        let (_client, request) = ask(&gateway).await;
        sent.passed().await;
        // The only worker has seen what the target sent when it has answered these.
        for _ in 0..3 {
            assert_eq!(gateway.get("/").await.status, 204);
        }
        within("these to be over", async {
            while in_flight(&mut gateway) > 1 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(in_flight(&mut gateway), 1);
        assert_eq!(upstream.connections(), 4);
        assert!(request.response().await.body == *body);
    }
}

#[tokio::test]
async fn the_end_of_a_response_by_http1_is_read_ahead_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.sock");
    let mut read_ahead = 0;
    // What a Unix socket takes of one who does not read is for the kernel to say: somewhere among these lengths it is full.
    for length in (64..512).step_by(24) {
        for chunked in [false, true] {
            let body = body(length << 10);
            let answer = if chunked { in_chunks(&body, "text/html", "0\r\n\r\n") } else { by_length(&body) };
            let sent = Gate::new();
            let upstream = Upstream::script([vec![
                Step::ReadHead,
                Step::send(answer),
                Step::Open(sent.clone()),
                Step::AwaitEnd,
            ]]);
            let mut gateway = Gateway::start(&format!(
                "listeners: [{{ address: \"unix:{}\" }}]\nupstreams: [{{ name: app, targets: [\"{}\"] }}]\n\
                 services: [{{ name: shop, upstream: app, routes: [{{ paths: [/app] }}] }}]\n",
                path.display(),
                upstream.url()
            ));
            let mut client = Client::unix(&path).await;
            client.send("GET /app HTTP/1.1\r\nHost: a\r\n\r\n").await;
            sent.passed().await;
            let mut other = Client::unix(&path).await;
            for _ in 0..5 {
                assert_eq!(other.get("/").await.status, 404, "the worker has had its turn");
            }
            let is_answered = gateway.more_records().iter().any(|record| record.status == 200);
            read_ahead += usize::from(in_flight(&mut gateway) == 0 && !is_answered);
            assert!(client.response("GET").await.body == body, "{length} KiB, chunked: {chunked}");
        }
    }
    assert!(read_ahead > 0, "the target was done before its client had everything");
}

#[tokio::test]
async fn a_slow_client_of_http1_gets_every_byte() {
    /// More than the kernel holds for one that does not read.
    const LENGTH: usize = 8 << 20;
    let body = Arc::new(body(LENGTH));
    for chunked in [false, true] {
        let answer = if chunked { in_chunks(&body, "text/html", "0\r\n\r\n") } else { by_length(&body) };
        let upstream = Upstream::answer(move |_| answer.clone());
        let mut gateway = Gateway::to(&upstream.url(), "");
        let mut client = Client::tcp_with_small_window(gateway.address()).await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let response = client.response("GET").await;
        assert!(response.body == *body, "chunked: {chunked}");
        assert_eq!(line(&gateway.record().await), "200 upstream done ok | upstream done ok status:200");
    }
}
