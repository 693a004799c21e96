//! What happens to a request on its way: which route takes it, what the target sees of it, and what never gets there.

use std::fmt::Write;
use std::time::Duration;

use testkit::{BodyEnd, End, Gate, Request, Step, Upstream};

use super::gateway::{Gateway, line, one_upstream};

fn echo_target() -> Upstream {
    Upstream::answer(|request: &Request| {
        let body = format!("{} {}", request.method, request.target);
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    })
}

#[tokio::test]
async fn routes_are_found_by_all_their_conditions() {
    let upstream = echo_target();
    let mut gateway = Gateway::start(&format!(
        r#"
upstreams: [{{ name: app, targets: ["{}"] }}]
services:
  - name: shop
    upstream: app
    routes:
      - {{ name: exact, hosts: [shop.test], paths: [/exact] }}
      - {{ name: item, hosts: [shop.test], paths: ["/items/{{id}}"], methods: [GET], rewrite: "/v2/{{id}}" }}
      - {{ name: stripped, hosts: [shop.test], paths: [/api/*], strip-prefix: /api }}
      - {{ name: regex, hosts: [shop.test], paths: ["~ /v[0-9]+/.*"] }}
      - {{ name: header, hosts: [cond.test], headers: {{ x-version: "2" }} }}
      - {{ name: query, hosts: [cond.test], query: {{ beta: {{ present: true }} }} }}
      - {{ name: cookie, hosts: [cond.test], cookies: {{ group: b }} }}
      - {{ name: wild, hosts: ["*.wild.test"] }}
      - {{ name: high, hosts: [prio.test], paths: [/*], priority: 1 }}
      - {{ name: low, hosts: [prio.test], paths: [/exact] }}
"#,
        upstream.url()
    ));
    for (host, request, extra, expected) in [
        ("shop.test", "GET /exact", "", "exact GET /exact"),
        ("SHOP.test:80", "GET /exact", "", "exact GET /exact"),
        ("shop.test", "GET /exact/", "", "404"),
        ("shop.test", "GET /items/7?a=b", "", "item GET /v2/7?a=b"),
        ("shop.test", "GET /items/", "", "404"),
        ("shop.test", "DELETE /items/7", "", "405 allow GET"),
        ("shop.test", "GET /api/x?y", "", "stripped GET /x?y"),
        ("shop.test", "GET /api", "", "stripped GET /"),
        ("shop.test", "GET /apix", "", "404"),
        ("shop.test", "GET /x/../api/%7Ex", "", "stripped GET /~x"),
        ("shop.test", "GET /v12/x", "", "regex GET /v12/x"),
        ("cond.test", "GET /", "X-Version: 2\r\n", "header GET /"),
        ("cond.test", "GET /", "X-Version: 3\r\n", "404"),
        ("cond.test", "GET /?beta", "", "query GET /?beta"),
        ("cond.test", "GET /", "Cookie: a=1; group=b\r\n", "cookie GET /"),
        ("a.b.wild.test", "GET /", "", "wild GET /"),
        ("wild.test", "GET /", "", "404"),
        ("prio.test", "GET /exact", "", "high GET /exact"),
        ("other.test", "GET /", "", "404"),
    ] {
        let mut client = gateway.client().await;
        let response = client.exchange(&format!("{request} HTTP/1.1\r\nHost: {host}\r\n{extra}\r\n")).await;
        let record = gateway.record().await;
        let mut got = match response.status {
            200 => format!("{} {}", record.route.as_deref().unwrap_or("-"), response.body_text()),
            status => status.to_string(),
        };
        if let Some(allow) = response.field("allow") {
            write!(got, " allow {allow}").unwrap();
        }
        assert_eq!(got, expected, "{host} {request} {extra}");
    }
}

/// Requests that must not reach anybody: the answer's status, the fault of the record, and a closed connection.
#[tokio::test]
async fn malformed_requests_are_refused_recorded_and_reach_nobody() {
    let upstream = echo_target();
    let mut gateway = Gateway::to(&upstream.url(), "");
    let long = "x".repeat(9000);
    let many: String = (0..101).map(|n| format!("X-{n}: y\r\n")).collect();
    let large = format!("X: {}\r\n", "y".repeat(33_000));
    for (status, fault, request) in [
        (
            400,
            "request-malformed",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            400,
            "request-malformed",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        ),
        (400, "request-malformed", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc"),
        (
            501,
            "request-not-implemented",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        ),
        (
            400,
            "request-malformed",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n",
        ),
        (
            400,
            "request-malformed",
            "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (400, "request-malformed", "GET / HTTP/1.1\nHost: a\n\n"),
        (400, "request-malformed", "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n"),
        (400, "request-malformed", "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n"),
        (400, "request-malformed", "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n"),
        (400, "request-malformed", "GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
        (400, "request-malformed", "GET / HTTP/1.1\r\n\r\n"),
        (400, "request-malformed", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        (400, "request-malformed", "GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n"),
        (400, "request-malformed", "GET /a\x01b HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "request-malformed", "GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n"),
        (501, "request-not-implemented", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"),
        (505, "request-version-unsupported", "GET / HTTP/3.0\r\nHost: a\r\n\r\n"),
        (417, "expectation-unknown", "GET / HTTP/1.1\r\nHost: a\r\nExpect: magic\r\n\r\n"),
        (414, "request-target-too-long", &format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n")),
        (431, "request-head-too-large", &format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n")),
        (431, "request-head-too-large", &format!("GET / HTTP/1.1\r\nHost: a\r\n{large}\r\n")),
        (400, "request-malformed", "\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03"),
    ] {
        let mut client = gateway.client().await;
        client.send(request).await;
        let response = client.response("GET").await;
        let shown = request.get(..80).unwrap_or(request).escape_debug().to_string();
        assert_eq!(response.status, status, "{shown}");
        assert_eq!(response.field("connection"), Some("close"), "{shown}");
        assert_eq!(client.end().await, (Vec::new(), End::Fin), "{shown}");
        let record = gateway.record().await;
        assert_eq!(line(&record), format!("{status} client read-request {fault}"), "{shown}");
    }
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn what_was_read_of_a_refused_request_is_recorded() {
    let upstream = echo_target();
    let mut gateway = Gateway::to(&upstream.url(), "");
    let bad_field = "Host: a\r\nBad Field: x\r\n\r\n";
    for (request, expected) in [
        (format!("POST /bad?x HTTP/1.1\r\n{bad_field}"), "POST /bad"),
        (format!("HEAD /bad HTTP/1.1\r\n{bad_field}"), "HEAD /bad"),
        (format!("POST bad HTTP/1.1\r\n{bad_field}"), "POST "),
        (format!("P@ST /bad HTTP/1.1\r\n{bad_field}"), "GET "),
    ] {
        // Also behind a request that was none of that.
        for before in [0, 1] {
            let mut client = gateway.client().await;
            for _ in 0..before {
                let post = "POST /before HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
                assert_eq!(client.exchange(post).await.status, 200);
                gateway.record().await;
            }
            let response = client.exchange(&request).await;
            assert_eq!((response.status, response.end), (400, BodyEnd::Complete), "{request}");
            assert_eq!(client.end().await, (Vec::new(), End::Fin), "{request}");
            let record = gateway.record().await;
            assert_eq!(format!("{} {}", record.method.as_str(), record.path), expected);
            assert_eq!(record.request_body_bytes, 0);
        }
    }
}

#[tokio::test]
async fn bodies_have_a_limit_whether_they_tell_their_length_or_not() {
    let upstream = echo_target();
    let text = format!(
        "upstreams: [{{ name: app, targets: [\"{}\"] }}]\n\
         services: [{{ name: shop, upstream: app, routes: [{{ paths: [/*], body-max: 10B }}] }}]\n",
        upstream.url()
    );
    let mut gateway = Gateway::start(&text);
    for (request, status) in [
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789", 200),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n0123456789a", 413),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n0123456789a\r\n0\r\n\r\n",
            413,
        ),
    ] {
        assert_eq!(gateway.client().await.exchange(request).await.status, status, "{request}");
        let record = gateway.record().await;
        assert_eq!(record.status, status, "{request}");
    }
}

#[tokio::test]
async fn what_a_client_says_about_itself_is_believed_of_trusted_proxies_only() {
    let said = "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Prefix: /p\r\nX-Real-IP: 203.0.113.9\r\n\
                Forwarded: for=203.0.113.9\r\nX-Request-Id: theirs\r\nX_Forwarded_For: 203.0.113.9\r\n\
                traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00\r\nConnection: X-Forwarded-For, x-drop\r\n\
                X-Drop: 1\r\nX-Keep: 1\r\nX-Forwarded-Ssl: on\r\nCF-Connecting-IP: 203.0.113.9\r\nX-Original-URL: /admin\r\n";
    for (trusted, expected) in [
        (
            "",
            "127.0.0.1 | http | - | 127.0.0.1 | - | - | - | for=127.0.0.1;host=test;proto=http | ours | fresh trace",
        ),
        (
            "trusted-proxies: [127.0.0.0/8]\n",
            "203.0.113.9, 127.0.0.1 | https | /p | 203.0.113.9 | on | 203.0.113.9 | /admin | \
             for=203.0.113.9, for=127.0.0.1;host=test;proto=http | theirs | same trace",
        ),
    ] {
        let upstream = echo_target();
        let mut gateway = Gateway::start(&format!("{}{trusted}", one_upstream(&upstream.url(), "")));
        let response =
            gateway.client().await.exchange(&format!("GET / HTTP/1.1\r\nHost: test\r\n{said}\r\n")).await;
        let request = upstream.request();
        let field = |name: &str| request.field(name).unwrap_or("-").to_owned();
        let record = gateway.record().await;
        let id = record.id.to_string();
        let id = if field("x-request-id") == id { "ours".to_owned() } else { field("x-request-id") };
        let trace = field("traceparent");
        assert_eq!(trace.len(), 55);
        let trace = if trace.contains("0af7651916cd43dd8448eb211c80319c") { "same" } else { "fresh" };
        let got = [
            field("x-forwarded-for"),
            field("x-forwarded-proto"),
            field("x-forwarded-prefix"),
            field("x-real-ip"),
            field("x-forwarded-ssl"),
            field("cf-connecting-ip"),
            field("x-original-url"),
            field("forwarded"),
            id,
            format!("{trace} trace"),
        ];
        assert_eq!(got.join(" | "), expected);
        assert_eq!((request.field("x-drop"), request.field("x-keep")), (None, Some("1")));
        assert_eq!((request.field("x_forwarded_for"), request.field("via")), (None, Some("1.1 clearway")));
        assert_eq!(response.field("x-request-id"), request.field("x-request-id"));
        let client = if trusted.is_empty() { "127.0.0.1" } else { "203.0.113.9" };
        assert_eq!(record.client, Some(client.parse().unwrap()));
    }
}

#[tokio::test]
async fn a_client_that_waits_for_permission_gets_it_only_if_its_body_is_wanted() {
    let upstream = echo_target();
    let gateway = Gateway::to(&upstream.url(), "");
    let mut client = gateway.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n").await;
    client.until_arrived(b"100 Continue\r\n\r\n").await.unwrap();
    client.send("body").await;
    let response = client.response("POST").await;
    assert_eq!((response.status, response.informational.len()), (200, 1));
    assert_eq!(upstream.request().field("expect"), None);
    let nothing = Gateway::start("");
    let mut client = nothing.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n").await;
    let response = client.response("POST").await;
    assert_eq!((response.status, response.informational.len()), (404, 0));
}

#[tokio::test]
async fn a_client_that_leaves_cancels_the_attempt() {
    let asked = Gate::new();
    let upstream = Upstream::script([vec![Step::ReadHead, Step::Open(asked.clone()), Step::AwaitEnd]]);
    let mut gateway = Gateway::to(&upstream.url(), "");
    let mut client = gateway.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    asked.passed().await;
    drop(client);
    let record = gateway.record().await;
    assert_eq!(line(&record), "499 client await-head client-gone | client await-head client-gone");
    upstream.until("the end of the attempt", |seen| seen.connections[0].end.is_some()).await;
}

#[tokio::test]
async fn upgraded_connections_are_tunnels_and_refused_ones_are_not() {
    let upstream = Upstream::script([
        vec![
            Step::ReadHead,
            Step::send(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\nfirst",
            ),
            Step::Read(4),
            Step::send("pong"),
            Step::AwaitEnd,
        ],
        vec![
            Step::ReadHead,
            Step::send("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"),
            Step::AwaitEnd,
        ],
    ]);
    let mut gateway = Gateway::to(&upstream.url(), "");
    let ask = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
    let mut client = gateway.client().await;
    client.send(format!("{ask}ping")).await;
    let head = client.response("GET").await;
    assert_eq!((head.status, head.field("upgrade")), (101, Some("echo")));
    assert_eq!(client.read_exactly(9).await.unwrap(), b"firstpong");
    client.finish().await;
    assert_eq!(client.end().await, (Vec::new(), End::Fin));
    let record = gateway.record().await;
    assert_eq!(line(&record), "101 client done ok | client done ok status:101");
    assert_eq!((record.request_body_bytes, record.response_body_bytes), (4, 9));
    let mut client = gateway.client().await;
    let refused = client.exchange(ask).await;
    assert_eq!((refused.status, refused.end), (403, BodyEnd::Complete));
}

#[tokio::test]
async fn error_answers_can_be_replaced_and_can_keep_quiet() {
    let directory = tempfile::tempdir().unwrap();
    let page = directory.path().join("502.html");
    std::fs::write(&page, "<p>{status} {request_id} {fault}</p>").unwrap();
    let (refused, _socket) = testkit::refused();
    let service = |more: &str| format!("services: [{{ name: shop, to: \"http://{refused}\"{more} }}]\n");
    let mut replaced = Gateway::start(&service(&format!(", error-pages: {{ 502: \"{}\" }}", page.display())));
    let response = replaced.get("/").await;
    let id = replaced.record().await.id;
    assert_eq!(response.body_text(), format!("<p>502 {id} connect-refused</p>"));
    assert!(response.field("content-type").unwrap().starts_with("text/html"));
    let quiet = Gateway::start(&service(", expose-fault: false"));
    let response = quiet.get("/").await;
    assert!(response.body_text().contains("\"type\":\"about:blank\""), "{}", response.body_text());
    assert!(!response.body_text().contains("connect-refused"), "{}", response.body_text());
}

#[tokio::test]
async fn another_target_is_tried_when_no_connection_could_be_made() {
    let upstream = echo_target();
    let (refused, _socket) = testkit::refused();
    let text = format!(
        "upstreams: [{{ name: app, targets: [\"http://{refused}\", \"{}\"] }}]\n\
         services: [{{ name: shop, upstream: app }}]\n",
        upstream.url()
    );
    let mut gateway = Gateway::start(&text);
    for _ in 0..4 {
        let response =
            gateway.client().await.exchange("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx").await;
        assert_eq!(response.status, 200);
    }
    let lines: Vec<String> = gateway.records(4).await.iter().map(line).collect();
    let failed = "200 upstream done ok | upstream connect connect-refused ECONNREFUSED | upstream done ok";
    // Once: after that only probes go there.
    assert_eq!(lines.iter().filter(|line| line.starts_with(failed)).count(), 1, "{lines:?}");
}

#[tokio::test]
async fn slow_heads_end_in_408_and_idle_connections_in_silence() {
    let upstream = echo_target();
    let listener = "listeners: [{ address: \"127.0.0.1:0\", timeouts: { client-head: 200ms, client-body-idle: 200ms, keep-alive: 200ms } }]\n";
    let mut gateway = Gateway::start(&format!("{}{listener}", one_upstream(&upstream.url(), "")));
    let mut client = gateway.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n").await;
    assert_eq!(client.response("GET").await.status, 408);
    assert_eq!(line(&gateway.record().await), "408 client read-request client-head-timeout");
    let mut client = gateway.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf").await;
    assert_eq!(client.response("POST").await.status, 408);
    assert_eq!(line(&gateway.record().await), "408 client read-request client-body-timeout");
    let mut client = gateway.client().await;
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(client.end().await, (Vec::new(), End::Fin));
    assert_eq!(gateway.records(1).await[0].status, 200);
    assert_eq!(gateway.more_records(), []);
}

#[tokio::test]
async fn an_upgrade_behind_tls_gets_http1_where_others_get_http2() {
    let authority = testkit::Authority::new();
    let certificate = authority.issue(&["localhost", "127.0.0.1"]);
    let upstream = Upstream::builder().tls(&certificate, &["h2", "http/1.1"]).script([vec![
        Step::ReadUntil(b"\r\n\r\n"),
        Step::send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\nhello"),
        Step::AwaitEnd,
    ]]);
    let settings = format!("tls: {{ ca: \"{}\" }}", authority.file().display());
    let mut gateway = Gateway::to(&upstream.url_as("https"), &settings);
    let mut client = gateway.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n").await;
    assert_eq!(client.response("GET").await.status, 101);
    assert_eq!(client.read_exactly(5).await.unwrap(), b"hello");
    drop(client);
    assert_eq!(gateway.record().await.status, 101);
    let answering =
        Upstream::builder().tls(&certificate, &["h2", "http/1.1"]).http2(|_| testkit::Http2Answer::ok("two"));
    let mut gateway = Gateway::to(&answering.url_as("https"), &settings);
    assert_eq!(gateway.get("/").await.body_text(), "two");
    assert_eq!(line(&gateway.record().await), "200 upstream done ok | upstream done ok status:200");
}

/// Takes the ten seconds in which no pace is asked for.
/// Sends a body byte by byte until it is too much for the gateway; gives the record.
async fn drip(mut gateway: Gateway) -> String {
    let mut client = gateway.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n").await;
    let dripping = async {
        loop {
            client.send("x").await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let record = tokio::select! {
        record = gateway.record() => record,
        () = dripping => unreachable!("it never ends"),
    };
    assert_eq!(client.response("POST").await.status, 408);
    line(&record)
}

#[tokio::test]
async fn a_body_that_drips_ends_in_408_and_one_that_its_target_takes_slowly_does_not() {
    /// More than the buffers of both connections hold.
    const BODY: usize = 32 << 20;
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let patient = Upstream::script([vec![Step::ReadHead, Step::AwaitEnd]]);
    let go_on = Gate::new();
    let busy = Upstream::script([vec![
        Step::ReadHead,
        Step::Await(go_on.clone()),
        Step::Read(BODY),
        Step::send(answer),
        Step::AwaitEnd,
    ]]);
    let taken = Gateway::to(&busy.url(), "");
    let mut slow = taken.client().await;
    let upload = tokio::spawn(async move {
        slow.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {BODY}\r\n\r\n")).await;
        slow.response_while_sending("POST", &vec![b'x'; BODY]).await.map(|response| response.status)
    });
    // The messages of a gRPC stream come when there is something to say.
    let grpc = Upstream::script([vec![
        Step::ReadHead,
        Step::ReadUntil(b"0\r\n\r\n"),
        Step::send(answer),
        Step::AwaitEnd,
    ]]);
    let streaming = Gateway::to(&grpc.url(), "");
    let mut stream = streaming.client().await;
    let kind = "Content-Type: application/grpc+proto\r\nTransfer-Encoding: chunked";
    stream.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{kind}\r\n\r\n1\r\nx\r\n")).await;
    let (streamed, collected) = tokio::join!(
        drip(Gateway::to(&patient.url(), "request-buffering: false")),
        drip(Gateway::to(&patient.url(), ""))
    );
    assert_eq!(
        streamed,
        "408 client send client-body-timeout | client send client-body-timeout body-rate:240"
    );
    assert_eq!(collected, "408 client read-request client-body-timeout");
    go_on.open();
    assert_eq!(upload.await.unwrap().unwrap(), 200);
    stream.send("0\r\n\r\n").await;
    assert_eq!(stream.response("POST").await.status, 200);
}

#[tokio::test]
async fn a_guarded_path_is_guarded_however_it_is_written() {
    let upstream = echo_target();
    let text = format!(
        "upstreams: [{{ name: app, targets: [\"{}\"] }}]\n\
         consumers: [{{ name: alice, api-keys: [a-long-key-of-alices] }}]\n\
         services:\n\
         - name: shop\n  \
           upstream: app\n  \
           routes:\n  \
           - {{ name: guarded, paths: [/admin/*, \"/v1:predict\"], policies: [{{ api-key: {{}} }}] }}\n  \
           - {{ name: open, paths: [/*] }}\n",
        upstream.url()
    );
    let mut gateway = Gateway::start(&text);
    let mut client = gateway.client().await;
    for path in [
        "/admin/x",
        "/admin%2Fx",
        "//admin/x",
        "/%61dmin%2fx",
        "/x%2F..%2Fadmin/x",
        "/admin%5cx",
        "/v1%3Apredict",
    ] {
        assert_eq!(client.get(path).await.status, 401, "{path}");
        let record = gateway.record().await;
        assert_eq!(record.route.as_deref(), Some("guarded"), "{path}");
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nX-API-Key: a-long-key-of-alices\r\n\r\n");
        assert_eq!(client.exchange(&request).await.status, 200, "{path}");
        let record = gateway.record().await;
        assert_eq!(record.consumer.as_deref(), Some("alice"), "{path}");
    }
    for path in ["/a%2Fb", "//x", "/administrators%2Fx", "/admin%252Fx"] {
        assert_eq!(client.get(path).await.status, 200, "{path}");
        assert_eq!(gateway.record().await.route.as_deref(), Some("open"), "{path}");
    }
}

#[tokio::test]
async fn what_is_forwarded_is_rebuilt_not_copied() {
    let upstream = echo_target();
    let gateway = Gateway::to(&upstream.url(), "");
    let mut client = gateway.client().await;
    client.exchange("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 003\r\nTrailer: X-Sum\r\n\r\nabc").await;
    let seen = upstream.request();
    assert_eq!((seen.field("content-length"), seen.body_text().as_str()), (Some("3"), "abc"));
    assert_eq!(seen.field("trailer"), None);
}
