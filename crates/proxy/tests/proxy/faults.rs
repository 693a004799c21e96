//! The fault matrix: each step of an upstream's conversation, broken in each way, on fresh and reused connections, behind
//! HTTP/1.1, TLS, HTTP/2 and uwsgi, for HTTP/1.1 and HTTP/2 clients.
//!
//! Two lines per case in `faults.txt`: what the client saw, and the record. The file is regenerated with
//! `UPDATE_EXPECT=1` and read, never typed. Left out because they cannot be: a reset, garbage or a truncation before
//! there is a connection; a fault of TLS on a reused connection, whose handshake is over.

use std::fmt::Write;
use std::path::Path;

use testkit::{
    Authority, BodyEnd, Client, Gate, Http2Answer, Http2End, Http2Response, Response, Step, Upstream, frames,
};

use super::gateway::{Gateway, line, one_upstream};

const TIMEOUTS: &str =
    "timeouts: { connect: 300ms, tls: 300ms, send: 300ms, await-head: 300ms, body-idle: 300ms }";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// The table as it grows.
#[derive(Default)]
struct Table(String);

/// The protocol of the client, the method, and whether the upstream's connection has served a request before.
#[derive(Clone, Copy)]
enum Client1 {
    Get,
    Post,
    ReusedGet,
    ReusedPost,
    Http2Get,
}

impl Client1 {
    const ALL: [Client1; 5] =
        [Client1::Get, Client1::Post, Client1::ReusedGet, Client1::ReusedPost, Client1::Http2Get];

    fn name(self) -> &'static str {
        match self {
            Client1::Get => "GET",
            Client1::Post => "POST",
            Client1::ReusedGet => "GET, reused",
            Client1::ReusedPost => "POST, reused",
            Client1::Http2Get => "GET by HTTP/2",
        }
    }

    fn is_reused(self) -> bool {
        matches!(self, Client1::ReusedGet | Client1::ReusedPost)
    }

    fn method(self) -> &'static str {
        match self {
            Client1::Post | Client1::ReusedPost => "POST",
            Client1::Get | Client1::ReusedGet | Client1::Http2Get => "GET",
        }
    }

    /// What an upstream reads before it answers.
    fn reading(self) -> Vec<Step> {
        match self.method() {
            "POST" => vec![Step::ReadHead, Step::Read(4)],
            _ => vec![Step::ReadHead],
        }
    }
}

/// What an upstream does instead of answering as it should.
fn http1_faults() -> Vec<(&'static str, Vec<Step>)> {
    let many: String = (0..300).map(|n| format!("X-{n}: y\r\n")).collect();
    let begun = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let answers: [(&str, &str, Step); 20] = [
        ("await head: close", "", Step::Close),
        ("await head: reset", "", Step::Rst),
        ("await head: stall", "", Step::Stall),
        ("await head: garbage", "SSH-2.0-OpenSSH_9.2\r\n\r\n", Step::Stall),
        ("await head: a TLS alert", "\x15\x03\x01\x00\x02\x02\x28", Step::Stall),
        ("await head: truncate, close", "HTTP/1.1 200 OK\r\nX: y\r\n", Step::Close),
        ("await head: truncate, reset", "HTTP/1.1 200 OK\r\nX: y\r\n", Step::Rst),
        ("await head: truncate, stall", "HTTP/1.1 200 OK\r\nX: y\r\n", Step::Stall),
        ("await head: oversize, fields", &format!("HTTP/1.1 200 OK\r\n{many}\r\n"), Step::Stall),
        (
            "await head: oversize, bytes",
            &format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(70_000)),
            Step::Stall,
        ),
        (
            "await head: two lengths",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok",
            Step::Stall,
        ),
        (
            "await head: length and coding",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            Step::Stall,
        ),
        ("await head: 101 unasked", "HTTP/1.1 101 Switching Protocols\r\n\r\n", Step::Stall),
        ("body: truncate, close", begun, Step::Close),
        ("body: truncate, reset", begun, Step::Rst),
        ("body: truncate, stall", begun, Step::Stall),
        ("chunked body: truncate, close", chunked, Step::Close),
        ("chunked body: truncate, stall", chunked, Step::Stall),
        ("chunked body: garbage", chunked, Step::send("zz\r\n")),
        ("body: oversize", &format!("{OK}surplus"), Step::AwaitEnd),
    ];
    let steps = |text: &str, last: Step| match text {
        "" => vec![last],
        text => vec![Step::send(text), last],
    };
    answers.into_iter().map(|(name, text, last)| (name, steps(text, last))).collect()
}

impl Table {
    /// One request; what came of it. The gate opens when the beginning of a body has come.
    async fn case(&mut self, name: &str, gateway: &mut Gateway, client: Client1) {
        self.gated_case(name, gateway, client, None).await;
    }

    async fn gated_case(&mut self, name: &str, gateway: &mut Gateway, client: Client1, gate: Option<Gate>) {
        let seen = match client {
            Client1::Http2Get => {
                let mut connection = gateway.http2_client().await;
                let request = connection.begin("GET", "/", &[], true).await.unwrap();
                seen_http2(&request.response_opening(gate).await)
            }
            _ => {
                let mut connection = gateway.client().await;
                if client.is_reused() {
                    assert_eq!(exchange(&mut connection, "GET").await, "200 complete", "{name}");
                    gateway.record().await;
                }
                gated_exchange(&mut connection, client.method(), gate).await
            }
        };
        let record = gateway.record().await;
        assert_eq!(gateway.more_records(), [], "{name}: one exchange, one record");
        let name = format!("{name}; {}", client.name());
        writeln!(self.0, "{name}\n    client: {seen}\n    record: {}", line(&record)).unwrap();
    }

    fn check(self, file: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/proxy").join(file);
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&path, &self.0).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        for (number, (got, want)) in self.0.lines().zip(expected.lines()).enumerate() {
            assert_eq!(got, want, "{file}:{}", number + 1);
        }
        assert_eq!(self.0.lines().count(), expected.lines().count(), "{file}");
    }
}

async fn exchange(client: &mut Client, method: &str) -> String {
    gated_exchange(client, method, None).await
}

async fn gated_exchange(client: &mut Client, method: &str, gate: Option<Gate>) -> String {
    let body = if method == "POST" { "Content-Length: 4\r\n\r\nbody" } else { "\r\n" };
    client.send(format!("{method} / HTTP/1.1\r\nHost: test\r\n{body}")).await;
    if let Some(gate) = gate {
        client.until_arrived(b"hello").await.unwrap();
        gate.open();
    }
    match client.try_response(method).await {
        Ok(response) => seen(&response),
        Err(end) => format!("no answer, {end:?}").to_lowercase(),
    }
}

fn seen(response: &Response) -> String {
    let end = match response.end {
        BodyEnd::Complete => "complete".to_owned(),
        BodyEnd::Close => "ended by close".to_owned(),
        BodyEnd::Cut(end) => format!("cut {end:?}").to_lowercase(),
    };
    format!("{} {end}", response.status)
}

fn seen_http2(response: &Http2Response) -> String {
    match (&response.reset, &response.failed) {
        (Some(reason), _) => format!("{} reset {reason:?}", response.status),
        (None, Some(_)) => format!("{} failed", response.status),
        (None, None) => format!("{} complete", response.status),
    }
}

#[tokio::test]
async fn http1_upstreams() {
    let mut table = Table::default();
    for (name, fault) in http1_faults() {
        for client in Client1::ALL {
            // The beginning of a body reaches the client before it breaks off: what happens when both come at once is a
            // matter of time, and has a test of its own.
            let gate = Some(Gate::new())
                .filter(|_| fault.len() == 2 && name.contains("body: ") && !name.contains("oversize"));
            let mut script = client.reading();
            for (number, step) in fault.iter().enumerate() {
                if let (Some(gate), 1) = (&gate, number) {
                    script.push(Step::Await(gate.clone()));
                }
                script.push(step.clone());
            }
            let upstream = if client.is_reused() {
                script.splice(0..0, [Step::ReadHead, Step::send(OK)]);
                let mut second = client.reading();
                second.extend([Step::send(OK), Step::AwaitEnd]);
                Upstream::script([script, second])
            } else {
                Upstream::script([script])
            };
            let mut gateway = Gateway::to(&upstream.url(), TIMEOUTS);
            table.gated_case(name, &mut gateway, client, gate).await;
        }
    }
    table.check("faults_http1.txt");
}

#[tokio::test]
async fn a_body_that_breaks_off_at_once_never_looks_whole() {
    for _ in 0..20 {
        let begun = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello";
        let upstream = Upstream::script([vec![Step::ReadHead, Step::send(begun), Step::Close]]);
        let mut gateway = Gateway::to(&upstream.url(), TIMEOUTS);
        let seen = exchange(&mut gateway.client().await, "GET").await;
        let record = line(&gateway.record().await);
        let end = "upstream body body-truncated | upstream body body-truncated status:200 fin";
        // As long as nothing was sent, the client can have an honest answer.
        match seen.as_str() {
            "502 complete" => assert_eq!(record, format!("502 {end}")),
            "200 cut rst" | "no answer, rst" => assert_eq!(record, format!("200 {end}")),
            other => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn before_there_is_a_connection() {
    let mut table = Table::default();
    for client in [Client1::Get, Client1::Post, Client1::Http2Get] {
        let (refused, _socket) = testkit::refused();
        let mut gateway = Gateway::to(&format!("http://{refused}"), TIMEOUTS);
        table.case("connect: refuse", &mut gateway, client).await;
        let (full, _sockets) = testkit::full();
        let mut gateway = Gateway::to(&format!("http://{full}"), TIMEOUTS);
        table.case("connect: stall", &mut gateway, client).await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.sock");
        let _sockets = testkit::full_unix(&path);
        let mut gateway = Gateway::to(&format!("unix:{}", path.display()), TIMEOUTS);
        table.case("connect: stall of a Unix socket", &mut gateway, client).await;
        let mut gateway = Gateway::to("unix:/nowhere/app.sock", TIMEOUTS);
        table.case("connect: no socket file", &mut gateway, client).await;
        // RFC 6761 section 6.4: names under .invalid never resolve.
        let mut gateway = Gateway::to("http://app.invalid", "timeouts: { connect: 9s }");
        table.case("resolve: refuse", &mut gateway, client).await;
        // A runtime that nobody drives never answers.
        let undriven = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let text = one_upstream("http://app.example", TIMEOUTS);
        let mut gateway = Gateway::resolving_on(&text, undriven.handle().clone());
        table.case("resolve: stall", &mut gateway, client).await;
        undriven.shutdown_background();
    }
    table.check("faults_connect.txt");
}

#[tokio::test]
async fn tls_upstreams() {
    let mut table = Table::default();
    let authority = Authority::new();
    let other = Authority::new();
    let ca = format!("{TIMEOUTS}, tls: {{ ca: \"{}\", http2: false }}", authority.file().display());
    let answering = |certificate: &testkit::Certificate, steps: Vec<Step>| {
        Upstream::builder().tls(certificate, &["http/1.1"]).script([steps])
    };
    let begun = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello";
    // One per client: a gate that is open stays open.
    let gates = [Gate::new(), Gate::new()];
    let cases: [(&str, Upstream); 8] = [
        (
            "tls: none",
            answering(
                &authority.issue(&["localhost", "127.0.0.1"]),
                vec![Step::ReadHead, Step::send(OK), Step::AwaitEnd],
            ),
        ),
        (
            "tls: an unknown authority",
            answering(&other.issue(&["localhost", "127.0.0.1"]), vec![Step::Stall]),
        ),
        ("tls: another name", answering(&authority.issue(&["elsewhere.test"]), vec![Step::Stall])),
        (
            "tls: garbage",
            Upstream::script([vec![
                Step::ReadSome,
                Step::send("HTTP/1.1 400 Bad Request\r\n\r\n"),
                Step::Stall,
            ]]),
        ),
        ("tls: close", Upstream::script([vec![Step::ReadSome, Step::Close]])),
        ("tls: reset", Upstream::script([vec![Step::ReadSome, Step::Rst]])),
        ("tls: stall", Upstream::script([vec![Step::ReadSome, Step::Stall]])),
        (
            "body: truncate without close_notify",
            Upstream::builder().tls(&authority.issue(&["localhost", "127.0.0.1"]), &["http/1.1"]).script(
                gates.clone().map(|gate| {
                    vec![Step::ReadHead, Step::send(begun), Step::Await(gate), Step::FinRaw, Step::AwaitEnd]
                }),
            ),
        ),
    ];
    for (name, upstream) in &cases {
        for (client, gate) in [Client1::Get, Client1::Http2Get].into_iter().zip(&gates) {
            let mut gateway = Gateway::to(&upstream.url_as("https"), &ca);
            let gate = Some(gate.clone()).filter(|_| name.starts_with("body"));
            table.gated_case(name, &mut gateway, client, gate).await;
        }
    }
    table.check("faults_tls.txt");
}

/// How HTTP/2 upstreams fail; those with a gate wait there for the client to have the beginning of the body.
fn http2_faults() -> Vec<(&'static str, Upstream, Option<Gate>)> {
    let frames_of = |after: Vec<Step>| {
        let mut steps = vec![Step::ReadPreface, Step::Send(frames::settings().into())];
        // The request's HEADERS, with END_HEADERS.
        steps.push(Step::ReadFrame { kind: 1, flags: 4 });
        steps.extend(after);
        Upstream::script([steps])
    };
    let after_half = |gate: &Gate, end: Vec<Step>| {
        let mut steps = vec![
            Step::Send(frames::headers(1, 4, &[(":status", "200")]).into()),
            Step::Send(frames::data(1, 0, b"hello").into()),
            Step::Await(gate.clone()),
        ];
        steps.extend(end);
        frames_of(steps)
    };
    let answering = |status, end: Http2End| {
        Upstream::builder().http2(move |_| Http2Answer {
            status,
            end: end.clone(),
            ..Http2Answer::ok("hello")
        })
    };
    let reset = |code| answering(None, Http2End::Reset(code));
    let cut = |end| answering(Some(200), end);
    // Not `Close`: what was not read by then would make it a reset.
    let close = || vec![Step::Fin, Step::AwaitEnd];
    let http1 = "HTTP/1.1 400 Bad Request\r\n\r\n";
    let (closed, was_reset) = (Gate::new(), Gate::new());
    vec![
        ("await head: close", frames_of(close()), None),
        ("await head: reset of the connection", frames_of(vec![Step::Rst]), None),
        ("await head: stall", frames_of(vec![Step::Stall]), None),
        ("await head: garbage", frames_of(vec![Step::send("HTTP/1.1 200 OK\r\n\r\n"), Step::Stall]), None),
        ("await head: goaway", frames_of(vec![Step::Send(frames::goaway(0, 0).into()), Step::Close]), None),
        ("await head: stream refused", reset(h2::Reason::REFUSED_STREAM), None),
        ("await head: stream reset", reset(h2::Reason::INTERNAL_ERROR), None),
        ("body: stream reset", cut(Http2End::Reset(h2::Reason::INTERNAL_ERROR)), None),
        ("body: stall", cut(Http2End::Stall), None),
        ("body: close", after_half(&closed, close()), Some(closed)),
        ("body: reset of the connection", after_half(&was_reset, vec![Step::Rst]), Some(was_reset)),
        (
            "connect: not HTTP/2",
            Upstream::script([vec![Step::ReadSome, Step::send(http1), Step::Close]]),
            None,
        ),
    ]
}

#[tokio::test]
async fn http2_upstreams() {
    let mut table = Table::default();
    let (of_http1, of_http2) = (http2_faults(), http2_faults());
    for (http1, http2) in of_http1.into_iter().zip(of_http2) {
        for (client, (name, upstream, gate)) in [(Client1::Get, http1), (Client1::Http2Get, http2)] {
            let mut gateway = Gateway::to(&upstream.url_as("h2c"), TIMEOUTS);
            table.gated_case(name, &mut gateway, client, gate).await;
        }
    }
    table.check("faults_http2.txt");
}

#[tokio::test]
async fn uwsgi_upstreams() {
    let mut table = Table::default();
    let gate = Gate::new();
    let scripts: [(&str, Vec<Step>); 5] = [
        (
            "none",
            vec![Step::ReadPacket, Step::send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), Step::Close],
        ),
        ("await head: close", vec![Step::ReadPacket, Step::Close]),
        ("await head: reset", vec![Step::ReadPacket, Step::Rst]),
        ("await head: stall", vec![Step::ReadPacket, Step::Stall]),
        (
            "body: truncate, close",
            vec![
                Step::ReadPacket,
                Step::send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"),
                Step::Await(gate.clone()),
                Step::Close,
            ],
        ),
    ];
    for (name, script) in scripts {
        let upstream = Upstream::script([script]);
        let mut gateway = Gateway::to(&upstream.url_as("uwsgi"), TIMEOUTS);
        let gate = Some(gate.clone()).filter(|_| name.starts_with("body"));
        table.gated_case(name, &mut gateway, Client1::Get, gate).await;
    }
    table.check("faults_uwsgi.txt");
}

#[tokio::test]
async fn while_the_request_is_sent() {
    let body = vec![b'x'; 8 << 20];
    let mut request =
        format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    request.extend_from_slice(&body);
    let mut table = Table::default();
    for (name, script) in [
        ("send: stall", vec![Step::ReadHead, Step::Stall]),
        (
            "send: an early answer, then close",
            vec![
                Step::ReadHead,
                Step::send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig"),
                Step::Fin,
                Step::AwaitEnd,
            ],
        ),
    ] {
        let upstream = Upstream::script([script]);
        let mut gateway = Gateway::to(&upstream.url(), TIMEOUTS);
        let mut client = gateway.client().await;
        let seen = match client.response_while_sending("POST", &request).await {
            Ok(response) => seen(&response),
            Err(end) => format!("no answer, {end:?}"),
        };
        drop(client);
        let record = gateway.record().await;
        writeln!(table.0, "{name}\n    client: {seen}\n    record: {}", line(&record)).unwrap();
    }
    table.check("faults_send.txt");
}
