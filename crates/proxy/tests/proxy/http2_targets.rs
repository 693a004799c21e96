//! HTTP/2 towards targets: when a shared connection is no longer to be trusted, and what its exchanges owe each other.

use testkit::{Gate, Http2Answer, Http2End, Step, Upstream, frames};

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

#[tokio::test]
async fn clients_that_do_not_read_leave_the_others_their_share_of_a_connection() {
    const STALLED: u32 = 16;
    let piece = [0; 16 << 10];
    let held = Gate::new();
    let mut steps = begun();
    steps.push(Step::send(head(1, frames::END_STREAM)));
    steps.extend((0..STALLED).map(|_| request()));
    // All that a stream may send before it is read, for each of them.
    for stream in (0..STALLED).map(|number| 3 + 2 * number) {
        steps.push(Step::send([head(stream, 0), frames::data(stream, 0, &piece).repeat(16)].concat()));
    }
    steps.push(Step::Open(held.clone()));
    let last = 3 + 2 * STALLED;
    steps.extend([request(), half(last), other_half(last), Step::AwaitEnd]);
    let upstream = Upstream::script([steps]);
    let gateway = Gateway::to(&upstream.url_as("h2c"), "");
    assert_eq!(gateway.get("/").await.status, 200);
    let mut slow = gateway.http2_client().await;
    let mut unread = Vec::new();
    for _ in 0..STALLED {
        unread.push(slow.begin("GET", "/", &[], true).await.unwrap());
    }
    held.passed().await;
    assert_eq!(gateway.get("/").await.body_text(), "halfhalf");
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn a_connection_takes_no_more_streams_than_its_window_has_room_for() {
    let upstream = Upstream::builder().http2(|request| match request.target.as_str() {
        "/held" => Http2Answer { end: Http2End::Stall, ..Http2Answer::ok("") },
        _ => Http2Answer::ok("free"),
    });
    let gateway = Gateway::to(&upstream.url_as("h2c"), "");
    assert_eq!(gateway.get("/").await.status, 200);
    let mut client = gateway.http2_client().await;
    let mut held = Vec::new();
    for _ in 0..64 {
        held.push(client.begin("GET", "/held", &[], true).await.unwrap());
    }
    upstream.until("the requests that are held", |seen| seen.requests.len() == 65).await;
    assert_eq!(upstream.connections(), 1);
    assert_eq!(gateway.get("/").await.body_text(), "free");
    assert_eq!(upstream.connections(), 2);
}

#[tokio::test]
async fn a_query_that_http1_lets_through_reaches_a_target_of_http2() {
    let upstream = Upstream::builder().http2(|_| Http2Answer::ok(""));
    let gateway = Gateway::to(&upstream.url_as("h2c"), "");
    assert_eq!(gateway.get("/a?q=<x>&r=\"`{|}^\\\"&s=%3c").await.status, 200);
    assert_eq!(upstream.request().target, "/a?q=%3Cx%3E&r=%22`{|}^\\%22&s=%3c");
}

/// Those that gRPC needs, one of an application, and some that a recipient would take for fields of the head.
const TRAILERS: [(&str, &str); 9] = [
    ("grpc-status", "0"),
    ("grpc-message", "fine"),
    ("grpc-status-details-bin", "AA"),
    ("x-own", "1"),
    ("authorization", "Bearer x"),
    ("x-forwarded-for", "203.0.113.9"),
    ("x-forwarded-ssl", "on"),
    ("x_forwarded_user", "root"),
    ("set-cookie", "a=b"),
];

#[tokio::test]
async fn trailers_that_could_change_the_message_do_not_pass() {
    let upstream =
        Upstream::builder().http2(|_| Http2Answer { trailers: TRAILERS.to_vec(), ..Http2Answer::ok("body") });
    let gateway = Gateway::to(&upstream.url_as("h2c"), "");
    let passed = TRAILERS[..4].iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let passed: Vec<_> = passed.collect();
    let mut client = gateway.http2_client().await;
    let mut request = client.begin("POST", "/", &[("te", "trailers")], false).await.unwrap();
    request.send(b"body", false).await;
    request.send_trailers(&TRAILERS);
    assert_eq!(request.response().await.trailers, passed);
    assert_eq!(upstream.request().trailers, passed);
    assert_eq!(gateway.get("/").await.trailers, passed);
}

#[tokio::test]
async fn a_length_that_is_said_twice_is_passed_on_once_or_refused() {
    let answer = |lengths: [&str; 2]| {
        let [first, second] = lengths;
        let fields = [(":status", "200"), ("content-length", first), ("content-length", second)];
        [
            begun(),
            vec![Step::send(
                [
                    frames::headers(1, frames::END_HEADERS, &fields),
                    frames::data(1, frames::END_STREAM, b"hello"),
                ]
                .concat(),
            )],
            vec![Step::AwaitEnd],
        ]
        .concat()
    };
    for (lengths, status) in [(["5", "5"], 200), (["5", "6"], 502), (["6", "5"], 502)] {
        let upstream = Upstream::script([answer(lengths)]);
        let mut gateway = Gateway::to(&upstream.url_as("h2c"), "");
        let response = gateway.get("/").await;
        assert_eq!(response.status, status, "{lengths:?}");
        let own = response.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        assert_eq!(own.count(), 1);
        let fault = gateway.record().await.ending.fault;
        assert_eq!(fault, Some(model::Fault::ResponseMalformed).filter(|_| status == 502), "{lengths:?}");
    }
}
