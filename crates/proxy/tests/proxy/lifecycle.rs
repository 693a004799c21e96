//! Reload and drain: nothing that is under way is lost, nothing that is refused has an effect.

use std::time::Duration;

use proxy::telemetry::exposition::Exposition;
use proxy::telemetry::metrics::Metrics;
use testkit::{Authority, BodyEnd, Client, End, Gate, Step, Upstream};

use super::gateway::{Gateway, checked, line, one_upstream};

#[tokio::test]
async fn a_reload_swaps_what_is_served_and_keeps_connections_of_both_sides() {
    let upstream = Upstream::ok("old");
    let other = Upstream::ok("new");
    let text = one_upstream(&upstream.url(), "");
    let mut gateway = Gateway::start(&text);
    let mut client = gateway.client().await;
    assert_eq!(client.get("/").await.body_text(), "old");
    gateway.reload(&one_upstream(&upstream.url(), "")).unwrap();
    assert_eq!(client.get("/").await.body_text(), "old");
    assert_eq!(upstream.connections(), 1, "an unchanged upstream keeps its connections");
    gateway.reload(&one_upstream(&other.url(), "")).unwrap();
    assert_eq!(client.get("/").await.body_text(), "new", "on the same client connection");
}

#[tokio::test]
async fn a_reload_that_cannot_be_leaves_everything_as_it_was() {
    let upstream = Upstream::ok("old");
    let mut gateway = Gateway::to(&upstream.url(), "");
    let (taken, _socket) = {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        (socket.local_addr().unwrap(), socket)
    };
    let text = format!("{}listeners: [{{ address: \"{taken}\" }}]\n", one_upstream(&upstream.url(), ""));
    let error = gateway.reload(&text).unwrap_err();
    assert!(error.0[0].contains("in use"), "{error:?}");
    assert_eq!(gateway.get("/").await.body_text(), "old");
}

#[tokio::test]
async fn a_start_and_a_reload_that_fail_leave_no_socket_file() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first.sock"), folder.path().join("second.sock"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    let listeners = |path: &std::path::Path, more: &str| {
        format!("listeners: [{{ address: \"unix:{}\" }}{more}]\n", path.display())
    };
    let in_use = format!(", {{ address: \"{taken}\" }}");
    let registry = upstream::Registry::new(upstream::Resolver::new(tokio::runtime::Handle::current()));
    proxy::Server::start(checked(&listeners(&first, &in_use)), registry).unwrap_err();
    assert!(!first.exists());

    let mut gateway = Gateway::start(&listeners(&first, ""));
    gateway.reload(&listeners(&second, &in_use)).unwrap_err();
    assert_eq!((first.exists(), second.exists()), (true, false));
    gateway.reload(&listeners(&second, "")).unwrap();
    assert_eq!((first.exists(), second.exists()), (false, true));
}

#[tokio::test]
async fn a_process_that_ends_leaves_the_socket_of_its_successor_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.sock");
    let (asked, answer) = (Gate::new(), Gate::new());
    let upstream = Upstream::script([vec![
        Step::ReadHead,
        Step::Open(asked.clone()),
        Step::Await(answer.clone()),
        Step::send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold"),
        Step::AwaitEnd,
    ]]);
    let listener = format!("listeners: [{{ address: \"unix:{}\" }}]\n", path.display());
    let mut old = Gateway::start(&format!("{}{listener}", one_upstream(&upstream.url(), "")));
    let mut client = Client::unix(&path).await;
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
    asked.passed().await;
    let drained = old.drain(Duration::from_secs(20));
    // The file goes first, so that a client finds either nothing or somebody who answers.
    testkit::within("the file to go", async {
        while path.exists() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let other = Upstream::ok("new");
    let new = Gateway::start(&format!("{}{listener}", one_upstream(&other.url(), "")));
    answer.open();
    assert_eq!(client.response("GET").await.body_text(), "old");
    drop(client);
    assert!(drained.await.unwrap(), "everything was finished in time");
    assert_eq!(Client::unix(&path).await.get("/").await.body_text(), "new");
    drop(new);
}

#[tokio::test]
async fn connections_of_a_removed_listener_end_after_what_is_under_way() {
    let (asked, answer) = (Gate::new(), Gate::new());
    let upstream = Upstream::script([
        vec![
            Step::ReadHead,
            Step::Open(asked.clone()),
            Step::Await(answer.clone()),
            Step::send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone"),
            Step::AwaitEnd,
        ],
        vec![Step::ReadHead, Step::send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nidle"), Step::AwaitEnd],
    ]);
    let mut gateway = Gateway::to(&upstream.url(), "");
    let mut busy = gateway.client().await;
    busy.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
    asked.passed().await;
    let mut idle = gateway.client().await;
    assert_eq!(idle.get("/").await.body_text(), "idle");
    let mut silent = gateway.client().await;
    let http2 = gateway.http2_client().await;
    let elsewhere = "listeners: [{ address: \"127.0.0.2:0\" }]\n";
    gateway.reload(&format!("{}{elsewhere}", one_upstream(&upstream.url(), ""))).unwrap();
    assert_eq!(idle.end().await.1, End::Fin);
    assert_eq!(silent.end().await.1, End::Fin);
    http2.closed().await.unwrap();
    answer.open();
    let response = busy.response("GET").await;
    assert_eq!((response.body_text().as_str(), response.field("connection")), ("done", Some("close")));
    assert_eq!(busy.end().await.1, End::Fin);
}

#[tokio::test]
async fn a_request_on_its_way_to_a_removed_listener_is_answered_and_is_the_last() {
    let upstream = Upstream::ok("ok");
    let mut gateway = Gateway::to(&upstream.url(), "");
    let mut client = gateway.client().await;
    assert_eq!(client.get("/").await.field("connection"), None);
    client.send("GET / HTTP/1.1\r\n").await;
    let elsewhere = "listeners: [{ address: \"127.0.0.2:0\" }]\n";
    gateway.reload(&format!("{}{elsewhere}", one_upstream(&upstream.url(), ""))).unwrap();
    client.send("Host: test\r\n\r\n").await;
    let response = client.response("GET").await;
    assert_eq!((response.status, response.field("connection")), (200, Some("close")));
    assert_eq!(client.end().await.1, End::Fin);
}

#[tokio::test]
async fn a_listener_moves_between_one_address_and_all_addresses() {
    let upstream = Upstream::ok("ok");
    let text = |addresses: &[&str]| {
        let listeners: Vec<String> =
            addresses.iter().map(|address| format!("{{ address: \"{address}\" }}")).collect();
        format!("{}listeners: [{}]\n", one_upstream(&upstream.url(), ""), listeners.join(", "))
    };
    let mut gateway = Gateway::start(&text(&["127.0.0.1:0"]));
    let address = gateway.address();
    let one = address.to_string();
    let (all, all_v6) = (format!("0.0.0.0:{}", address.port()), format!("[::]:{}", address.port()));
    for next in [&[&*all][..], &[&*one], &[&*all_v6], &[&*all, &*one]] {
        // The socket that it came by takes what is queued before it closes.
        let mut before = Client::tcp(address).await;
        gateway.reload(&text(next)).unwrap();
        assert_eq!(before.get("/").await.status, 200, "{next:?}");
        assert_eq!(Client::tcp(address).await.get("/").await.status, 200, "{next:?}");
    }
    // What can be reached by a reload can be started with.
    gateway.drain(Duration::from_secs(20)).await.unwrap();
    let mut gateway = Gateway::start(&text(&[&all, &one]));
    assert_eq!(Client::tcp(address).await.get("/").await.status, 200);
    // A reload that is refused for another reason leaves the port as it was.
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap();
    gateway.reload(&text(&[&all])).unwrap();
    let error = gateway.reload(&text(&[&one, &taken.to_string()])).unwrap_err();
    assert_eq!(error.0.len(), 1, "{error:?}");
    assert!(error.0[0].starts_with(&format!("{taken} is in use by another process")), "{error:?}");
    assert_eq!(Client::tcp(address).await.get("/").await.status, 200);
    // A port of which another program has one address is not ours.
    let error = gateway.reload(&text(&[&format!("0.0.0.0:{}", taken.port())])).unwrap_err();
    assert!(error.0[0].contains("in use by another process"), "{error:?}");
}

#[tokio::test]
async fn a_socket_file_that_somebody_replaced_is_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.sock");
    let listener = format!("listeners: [{{ address: \"unix:{}\" }}]\n", path.display());
    let mut gateway = Gateway::start(&listener);
    std::fs::remove_file(&path).unwrap();
    let _theirs = std::os::unix::net::UnixListener::bind(&path).unwrap();
    gateway.drain(Duration::from_secs(20)).await.unwrap();
    assert!(path.exists());
}

#[tokio::test]
async fn certificates_of_an_upstream_are_read_again() {
    let (authority, other) = (Authority::new(), Authority::new());
    let certificate = authority.issue(&["localhost", "127.0.0.1"]);
    let upstream = Upstream::builder()
        .tls(&certificate, &["http/1.1"])
        .answer(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec());
    let file = authority.file();
    let right = std::fs::read(&file).unwrap();
    let text = one_upstream(&upstream.url_as("https"), &format!("tls: {{ ca: \"{}\" }}", file.display()));
    let mut gateway = Gateway::start(&text);
    assert_eq!(gateway.get("/").await.status, 200);
    std::fs::copy(other.file(), &file).unwrap();
    gateway.reload(&text).unwrap();
    assert_eq!(gateway.get("/").await.status, 502, "the authority is no longer believed");
    std::fs::write(&file, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    assert!(gateway.reload(&text).is_err());
    std::fs::write(&file, right).unwrap();
    gateway.reload(&text).unwrap();
    assert_eq!(gateway.get("/").await.status, 200);
}

#[tokio::test]
async fn a_drain_finishes_what_is_in_flight_and_says_that_it_is_the_last() {
    let (asked, answer) = (Gate::new(), Gate::new());
    let upstream = Upstream::script([vec![
        Step::ReadHead,
        Step::Open(asked.clone()),
        Step::Await(answer.clone()),
        Step::send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone"),
        Step::AwaitEnd,
    ]]);
    let mut gateway = Gateway::to(&upstream.url(), "");
    let shared = gateway.server().shared().clone();
    let mut client = gateway.client().await;
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
    asked.passed().await;
    let address = gateway.address();
    let drained = gateway.drain(Duration::from_secs(20));
    closed(address).await;
    answer.open();
    let response = client.response("GET").await;
    assert_eq!((response.status, response.end), (200, BodyEnd::Complete));
    assert_eq!(response.field("connection"), Some("close"));
    drop(client);
    assert!(drained.await.unwrap(), "everything was finished in time");
    let records = shared.records.take(Vec::new());
    let answered: Vec<String> = records.iter().filter(|record| record.status == 200).map(line).collect();
    assert_eq!(answered, ["200 upstream done ok | upstream done ok status:200"]);
}

/// A drain has begun when nobody accepts any more.
async fn closed(address: std::net::SocketAddr) {
    testkit::within("a closed listener", async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_drain_waits_for_what_is_finished_without_its_client() {
    for http2 in [false, true] {
        let (left, rest) = (Gate::new(), Gate::new());
        let upstream = Upstream::script([vec![
            Step::ReadHead,
            Step::send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndo"),
            Step::Await(rest.clone()),
            Step::send("ne"),
            Step::AwaitEnd,
        ]]);
        let route = "routes: [{ paths: [/*], when-client-leaves: finish }]";
        let text =
            one_upstream(&upstream.url(), "").replace("upstream: app", &format!("upstream: app, {route}"));
        let mut gateway = Gateway::start(&text);
        let shared = gateway.server().shared().clone();
        if http2 {
            let mut client = gateway.http2_client().await;
            let request = client.begin("GET", "/", &[], true).await.unwrap();
            let response = tokio::spawn(request.response_opening(Some(left.clone())));
            left.passed().await;
            client.abort();
            response.abort();
        } else {
            let mut client = gateway.client().await;
            client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
            client.until_arrived(b"do").await.unwrap();
        }
        let address = gateway.address();
        let drained = gateway.drain(Duration::from_secs(20));
        closed(address).await;
        rest.open();
        assert!(drained.await.unwrap());
        let lines: Vec<String> = shared.records.take(Vec::new()).iter().map(line).collect();
        assert_eq!(lines, ["200 client body client-gone | upstream done ok status:200"], "HTTP/2: {http2}");
    }
}

#[tokio::test]
async fn an_idle_http2_client_that_says_nothing_does_not_hold_a_drain() {
    let upstream = Upstream::ok("ok");
    let mut gateway = Gateway::to(&upstream.url(), "");
    let mut client = gateway.client().await;
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    client.send(testkit::frames::settings()).await;
    client.until_arrived(&testkit::frames::frame(testkit::frames::SETTINGS, 1, 0, b"")).await.unwrap();
    // Never reads the PING by which the gateway asks whether its farewell has been heard.
    assert!(gateway.drain(Duration::from_secs(20)).await.unwrap());
}

#[tokio::test]
async fn what_is_in_flight_when_the_grace_time_ends_gets_an_honest_end() {
    let begun = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello";
    let upgraded = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\nhello";
    let upstream = Upstream::script([
        vec![Step::ReadHead, Step::Stall],
        vec![Step::ReadHead, Step::send(begun), Step::Stall],
        vec![Step::ReadHead, Step::send(upgraded), Step::Stall],
        vec![Step::ReadHead, Step::Stall],
    ]);
    let mut gateway = Gateway::to(&upstream.url(), "");
    let shared = gateway.server().shared().clone();
    let mut waiting = gateway.client().await;
    waiting.send("GET /waiting HTTP/1.1\r\nHost: test\r\n\r\n").await;
    upstream.until("the request", |seen| seen.connections.len() == 1).await;
    let mut reading = gateway.client().await;
    reading.send("GET /reading HTTP/1.1\r\nHost: test\r\n\r\n").await;
    reading.until_arrived(b"hello").await.unwrap();
    let mut talking = gateway.client().await;
    let ask = "GET /talking HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
    talking.send(ask).await;
    talking.until_arrived(b"hello").await.unwrap();
    let mut stream = gateway.http2_client().await;
    let stream = stream.begin("GET", "/waiting", &[], true).await.unwrap();
    upstream.until("the last request", |seen| seen.connections.len() == 4).await;

    assert!(!gateway.drain(Duration::from_millis(200)).await.unwrap());
    let response = waiting.response("GET").await;
    assert_eq!((response.status, response.field("connection")), (503, Some("close")));
    assert!(response.body_text().contains("\"fault\":\"draining\""), "{}", response.body_text());
    assert_eq!(reading.response("GET").await.end, BodyEnd::Cut(End::Rst));
    assert_eq!(stream.response().await.status, 503);
    let mut lines: Vec<String> = shared
        .records
        .take(Vec::new())
        .iter()
        .map(|record| format!("{} {} {}", record.path, record.protocol.id(), line(record)))
        .collect();
    lines.sort();
    assert_eq!(
        lines,
        [
            "/reading HTTP/1.1 200 operator body draining | operator body draining status:200",
            "/talking HTTP/1.1 101 operator body draining | operator body draining status:101",
            "/waiting HTTP/1.1 503 operator await-head draining | operator await-head draining",
            "/waiting HTTP/2 503 operator await-head draining | operator await-head draining",
        ]
    );
}

#[tokio::test]
async fn what_waits_when_the_grace_time_ends_says_what_for() {
    let upstream = Upstream::script([vec![Step::ReadHead, Step::Stall]]);
    let mut gateway = Gateway::to(&upstream.url(), "concurrency: 1");
    let shared = gateway.server().shared().clone();
    let mut uploading = gateway.client().await;
    let head = "POST /uploading HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
    uploading.send(head).await;
    uploading.until_arrived(b"100 Continue").await.unwrap();
    let mut asking = gateway.client().await;
    asking.send("GET /asking HTTP/1.1\r\nHost: a\r\n\r\n").await;
    upstream.until("the request", |seen| seen.connections.len() == 1).await;
    let mut queued = gateway.client().await;
    queued.send("POST /queued HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody").await;
    gateway.until_waiting(1).await;
    assert!(!gateway.drain(Duration::from_millis(50)).await.unwrap());
    let records = shared.records.take(Vec::new());
    let mut lines: Vec<String> =
        records.iter().map(|record| format!("{} {}", record.path, line(record))).collect();
    lines.sort();
    assert_eq!(
        lines,
        [
            "/asking 503 operator await-head draining | operator await-head draining",
            "/queued 503 operator queue draining",
            "/uploading 503 operator read-request draining",
        ]
    );

    let upstream = Upstream::ok("ok");
    let mut gateway = Gateway::to(&upstream.url(), "pool: { idle-max: 0 }");
    let shared = gateway.server().shared().clone();
    assert_eq!(gateway.get("/").await.status, 200);
    gateway.record().await;
    drop(upstream);
    let mut waiting = gateway.client().await;
    waiting.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    gateway.until_waiting(1).await;
    assert!(!gateway.drain(Duration::from_millis(50)).await.unwrap());
    let lines: Vec<String> = shared.records.take(Vec::new()).iter().map(line).collect();
    assert_eq!(
        lines,
        ["503 operator queue draining | upstream connect connect-refused ECONNREFUSED"],
        "it waited for a target that accepts again"
    );
}

#[tokio::test]
async fn a_reload_forgets_the_series_of_what_it_removed_and_no_others() {
    let upstream = Upstream::ok("ok");
    let other = Upstream::ok("ok");
    let text = |targets: &[&str], paths: &[&str]| {
        let routes: Vec<String> = paths.iter().map(|path| format!("{{ paths: [{path}] }}")).collect();
        format!(
            "upstreams: [{{ name: app, targets: [\"{}\"] }}]\n\
             services: [{{ name: shop, upstream: app, routes: [{}] }}]\n",
            targets.join("\", \""),
            routes.join(", ")
        )
    };
    let (stays, goes) = (upstream.url(), other.url());
    let mut gateway = Gateway::start(&text(&[&stays, &goes], &["/stays", "/goes"]));
    let mut metrics = Metrics::default();
    for target in ["/stays", "/goes", "/stays", "/goes"] {
        assert_eq!(gateway.get(target).await.status, 200);
    }
    gateway.records(4).await.iter().for_each(|exchange| metrics.observe(exchange));
    let shared = gateway.server().shared().clone();
    let series = |metrics: &Metrics| {
        let mut text = Exposition::default();
        metrics.write(&mut text, &shared);
        let text = text.into_text();
        let of = |family: &str, label: &str| -> Vec<String> {
            let lines = text.lines().filter(|line| line.starts_with(&format!("{family}{{")));
            let mut found: Vec<String> = lines
                .map(|line| {
                    let value = line.split_once(&format!("{label}=\"")).unwrap().1.split('"').next().unwrap();
                    format!("{value} {}", line.rsplit(' ').next().unwrap())
                })
                .collect();
            found.sort();
            found
        };
        (of("clearway_requests_total", "route"), of("clearway_attempts_total", "target"))
    };
    let (routes, targets) = series(&metrics);
    assert_eq!(routes, ["/goes 2", "/stays 2"]);
    assert_eq!(targets.len(), 2, "{targets:?}");
    gateway.reload(&text(&[&stays], &["/stays"])).unwrap();
    metrics.forget_unserved(&shared);
    let (routes, targets) = series(&metrics);
    assert_eq!(routes, ["/stays 2"]);
    assert_eq!(targets.len(), 1, "{targets:?}");
    assert!(targets[0].starts_with(&stays), "{targets:?}");
}
