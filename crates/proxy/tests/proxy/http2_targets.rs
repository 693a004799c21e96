//! HTTP/2 towards targets: when a shared connection is no longer to be trusted, and what its exchanges owe each other.

use testkit::{Gate, Step, Upstream, frames};

use super::gateway::{Gateway, line};

/// A connection of HTTP/2 up to and with its first request.
fn begun() -> Vec<Step> {
    vec![Step::ReadPreface, Step::Send(frames::settings().into()), request()]
}

fn request() -> Step {
    Step::ReadFrame { kind: frames::HEADERS, flags: frames::END_HEADERS }
}

fn head(stream: u32, flags: u8) -> Vec<u8> {
    frames::headers(stream, frames::END_HEADERS | flags, &[(":status", "200")])
}

/// A head and a body that is not at its end.
fn half(stream: u32) -> Step {
    Step::send([head(stream, 0), frames::data(stream, 0, b"half")].concat())
}

fn other_half(stream: u32) -> Step {
    Step::send(frames::data(stream, frames::END_STREAM, b"half"))
}

/// Answers so many requests after the first one, and then no more.
fn answering(mut steps: Vec<Step>, requests: u32) -> Vec<Step> {
    steps.push(Step::send(head(1, frames::END_STREAM)));
    for number in 1..requests {
        steps.push(request());
        steps.push(Step::send(head(1 + 2 * number, frames::END_STREAM)));
    }
    steps.push(Step::AwaitEnd);
    steps
}

#[tokio::test]
async fn a_connection_that_fell_silent_is_given_up_and_its_exchanges_go_on() {
    let speak = Gate::new();
    let silent =
        [begun(), vec![half(1), request(), Step::Await(speak.clone()), other_half(1), Step::AwaitEnd]]
            .concat();
    let upstream = Upstream::script([silent, answering(begun(), 2)]);
    let mut gateway = Gateway::to(&upstream.url_as("h2c"), "timeouts: { await-head: 300ms }");
    let mut held = gateway.client().await;
    held.send("GET /held HTTP/1.1\r\nHost: test\r\n\r\n").await;
    held.until_arrived(b"half").await.unwrap();
    assert_eq!(gateway.get("/").await.status, 504);
    assert_eq!(gateway.get("/").await.status, 200);
    assert_eq!(gateway.get("/").await.status, 200);
    assert_eq!(upstream.connections(), 2);
    speak.open();
    assert_eq!(held.response("GET").await.body_text(), "halfhalf");
    let lines: Vec<String> = gateway.records(4).await.iter().map(line).collect();
    assert_eq!(
        lines[0],
        "504 upstream await-head await-head-timeout | \
         upstream await-head await-head-timeout reused:0 await-head:300ms"
    );
    assert_eq!(lines[1], "200 upstream done ok | upstream done ok status:200");
    assert_eq!(lines[2], "200 upstream done ok | upstream done ok reused:1 status:200");
}

#[tokio::test]
async fn a_connection_that_speaks_is_kept_when_one_of_its_exchanges_runs_out_of_time() {
    // The second request is never answered; a PING of the target says that it is there.
    let ping = frames::frame(6, 0, 0, &[0; 8]);
    let steps = [
        answering(begun(), 1)[..4].to_vec(),
        vec![request(), Step::send(ping), request(), Step::send(head(5, frames::END_STREAM)), Step::AwaitEnd],
    ]
    .concat();
    let upstream = Upstream::script([steps]);
    let gateway = Gateway::to(&upstream.url_as("h2c"), "timeouts: { await-head: 300ms }");
    assert_eq!(gateway.get("/").await.status, 200);
    assert_eq!(gateway.get("/").await.status, 504);
    assert_eq!(gateway.get("/").await.status, 200);
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn a_connection_that_says_goaway_gets_no_more_requests() {
    let finish = Gate::new();
    let leaving = [
        begun(),
        vec![
            Step::send(frames::goaway(1, frames::NO_ERROR)),
            half(1),
            Step::Await(finish.clone()),
            other_half(1),
            Step::AwaitEnd,
        ],
    ]
    .concat();
    let upstream = Upstream::script([leaving, answering(begun(), 3)]);
    let mut gateway = Gateway::to(&upstream.url_as("h2c"), "");
    let mut held = gateway.client().await;
    held.send("GET /held HTTP/1.1\r\nHost: test\r\n\r\n").await;
    held.until_arrived(b"half").await.unwrap();
    for _ in 0..3 {
        assert_eq!(gateway.get("/").await.status, 200);
    }
    assert_eq!(upstream.connections(), 2);
    finish.open();
    assert_eq!(held.response("GET").await.body_text(), "halfhalf");
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
