//! When targets are taken out by what requests and checks show, and how they come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use testkit::{Authority, Http2Answer, Step, Upstream, within};
use upstream::TargetState;

use super::gateway::Gateway;

fn saying(status: &'static str) -> Upstream {
    Upstream::answer(move |_| format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").into_bytes())
}

fn several(targets: &[&Upstream], more: &str) -> String {
    let targets: Vec<String> = targets.iter().map(|target| format!("\"{}\"", target.url())).collect();
    format!(
        "upstreams: [{{ name: app, targets: [{}], {more} }}]\nservices: [{{ name: shop, upstream: app }}]\n",
        targets.join(", ")
    )
}

/// What the process knows of the target at this place.
fn target(gateway: &mut Gateway, index: usize) -> Arc<TargetState> {
    let serving = gateway.server().shared().serving.load();
    serving.upstreams.get("app").unwrap().targets.get(index).unwrap().state.clone()
}

const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx";

#[tokio::test]
async fn ejections_follow_their_settings() {
    let (bad, good) = (saying("503 Service Unavailable"), saying("200 OK"));
    let mut gateway = Gateway::start(&several(&[&bad, &good], "health: { eject-after: 1, ejection: 1m }"));
    let mut client = gateway.client().await;
    let mut failed = 0;
    for _ in 0..40 {
        failed += usize::from(client.exchange(POST).await.status == 503);
    }
    assert_eq!((failed, bad.requests().len()), (1, 1));
    assert_eq!(target(&mut gateway, 0).why().as_deref(), Some("503"));

    let mut gateway = Gateway::start(&several(&[&bad, &good], "health: { eject-after: 1, ejected-max: 0% }"));
    let mut client = gateway.client().await;
    for _ in 0..40 {
        client.exchange(POST).await;
    }
    assert_eq!(target(&mut gateway, 0).condition(), upstream::health::Condition::Up { since: None });
}

#[tokio::test]
async fn a_target_that_answers_500_more_often_than_its_siblings_is_ejected() {
    let (bad, good) = (saying("500 Internal Server Error"), saying("200 OK"));
    let mut gateway = Gateway::start(&several(&[&bad, &good], "health: { ejection: 1m }"));
    let mut client = gateway.client().await;
    let state = target(&mut gateway, 0);
    within("an ejection", async {
        while state.why().is_none() {
            client.get("/").await;
        }
    })
    .await;
    let why = state.why().unwrap();
    assert!(why.starts_with("100% of its requests failed, "), "{why}");
    let before = bad.requests().len();
    for _ in 0..20 {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert_eq!(bad.requests().len(), before);
}

#[tokio::test]
async fn where_all_targets_answer_500_or_there_is_one_nobody_is_ejected() {
    let bad = [saying("500 Internal Server Error"), saying("500 Internal Server Error")];
    for targets in [&[&bad[0], &bad[1]][..], &[&bad[0]]] {
        let mut gateway = Gateway::start(&several(targets, "health: { failure-share-requests: 5 }"));
        let mut client = gateway.client().await;
        let conditions: Vec<_> = (0..targets.len()).map(|index| target(&mut gateway, index)).collect();
        // Both have shown what they do.
        within("answers of all", async {
            while conditions.iter().any(|state| state.attempts.load(Ordering::Relaxed) < 10) {
                assert_eq!(client.get("/").await.status, 500);
            }
        })
        .await;
        if targets.len() == 1 {
            assert_eq!(conditions[0].why(), None);
        }
        assert!(conditions.iter().any(|state| state.why().is_none()));
    }
}

/// Answers checks with 200 or 500, and everything else with 200.
fn checked(is_well: &Arc<AtomicBool>) -> Upstream {
    let is_well = is_well.clone();
    Upstream::answer(move |request| {
        let fails = request.target == "/healthz" && !is_well.load(Ordering::Relaxed);
        let status = if fails { "500 Internal Server Error" } else { "200 OK" };
        format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").into_bytes()
    })
}

async fn until(state: &TargetState, condition: &str) {
    within(condition, async {
        while state.condition().id() != condition {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Until so many more checks have come to something.
async fn until_checked(state: &TargetState, more: u64) {
    let all = || state.checks().0 + state.checks().1;
    let before = all();
    within("checks", async {
        while all() < before + more {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Requests that are not checks.
fn asked(upstream: &Upstream) -> usize {
    upstream.requests().iter().filter(|request| request.target != "/healthz").count()
}

const FREQUENT: &str = "health: { check: { http: /healthz, interval: 10ms }, slow-start: 0s }";

#[tokio::test]
async fn a_target_whose_checks_fail_gets_nothing_until_they_pass() {
    let well = [Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(true))];
    let targets = [checked(&well[0]), checked(&well[1])];
    let mut gateway = Gateway::start(&several(&[&targets[0], &targets[1]], FREQUENT));
    let state = target(&mut gateway, 0);
    until(&state, "down").await;
    assert_eq!(state.why().as_deref(), Some("check GET /healthz answered 500"));
    let before = asked(&targets[0]);
    let mut client = gateway.client().await;
    for _ in 0..20 {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert_eq!((asked(&targets[0]), asked(&targets[1])), (before, 20 - before));
    let check = targets[0].requests().remove(0);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(check.field("user-agent"), Some(&*format!("clearway-health-check/{version}")));
    assert_eq!(check.field("host"), Some(&*targets[0].address().to_string()));

    well[0].store(true, Ordering::Relaxed);
    until(&state, "up").await;
    assert_eq!(state.why(), None);
    within("a request to the one that is back", async {
        while asked(&targets[0]) == before {
            assert_eq!(client.get("/").await.status, 200);
        }
    })
    .await;
}

#[tokio::test]
async fn where_all_targets_are_down_they_are_asked_all_the_same() {
    let ill = Arc::new(AtomicBool::new(false));
    let targets = [checked(&ill), checked(&ill)];
    for targets in [&[&targets[0], &targets[1]][..], &[&targets[0]]] {
        let mut gateway = Gateway::start(&several(targets, FREQUENT));
        for index in 0..targets.len() {
            until(&target(&mut gateway, index), "down").await;
        }
        assert_eq!(gateway.get("/").await.status, 200);
    }
}

#[tokio::test]
async fn a_reload_keeps_what_checks_have_said_and_without_checks_it_is_forgotten() {
    let ill = Arc::new(AtomicBool::new(false));
    let upstream = checked(&ill);
    let mut gateway = Gateway::start(&several(&[&upstream], FREQUENT));
    let state = target(&mut gateway, 0);
    until(&state, "down").await;
    let other = FREQUENT.replace("interval: 10ms", "interval: 1h");
    gateway.reload(&several(&[&upstream], &other)).unwrap();
    assert!(Arc::ptr_eq(&state, &target(&mut gateway, 0)));
    assert_eq!(state.condition().id(), "down");
    gateway.reload(&several(&[&upstream], "health: { slow-start: 0s }")).unwrap();
    assert_eq!(state.condition().id(), "up");
    gateway.reload(&several(&[&upstream], FREQUENT)).unwrap();
    until(&state, "down").await;
    // Nobody checks a target that is gone.
    gateway.reload(&several(&[&saying("200 OK")], FREQUENT)).unwrap();
    until_checked(&target(&mut gateway, 0), 1).await;
    let before = state.checks().1;
    until_checked(&target(&mut gateway, 0), 10).await;
    // One may have been under way.
    assert!(state.checks().1 <= before + 1, "{before} {}", state.checks().1);
}

#[tokio::test]
async fn a_check_finds_a_closed_door_before_a_request_does() {
    let going = saying("200 OK");
    let address = going.address();
    let settings = "health: { check: { tcp: true, interval: 10ms }, slow-start: 0s }";
    let mut gateway = Gateway::start(&several(&[&going, &saying("200 OK")], settings));
    let state = target(&mut gateway, 0);
    until_checked(&state, 1).await;
    assert_eq!(state.checks().1, 0);
    drop(going);
    until(&state, "unreachable").await;
    assert_eq!(state.why().as_deref(), Some("connect-refused"));
    let back = Upstream::builder().at(address).answer(|_| b"HTTP/1.1 200 OK\r\n\r\n".to_vec());
    until(&state, "up").await;
    drop(back);
}

#[tokio::test]
async fn checks_speak_the_protocol_of_their_target() {
    let settings = "health: { check: { http: \"/healthz?full=1\", host: shop.internal, status: [204], interval: 10ms } }";
    let passes = async |gateway: &mut Gateway| {
        let state = target(gateway, 0);
        until_checked(&state, 1).await;
        assert_eq!(state.checks().1, 0, "{:?}", state.why());
    };
    let one = |url: &str, more: &str| super::gateway::one_upstream(url, &format!("{settings}{more}"));
    let answer = || Http2Answer { status: Some(204), body: Vec::new(), ..Http2Answer::ok("") };
    let h2c = Upstream::builder().http2(move |_| answer());
    passes(&mut Gateway::start(&one(&h2c.url_as("h2c"), ""))).await;
    let request = h2c.requests().remove(0);
    assert_eq!((&*request.target, request.field(":authority")), ("/healthz?full=1", Some("shop.internal")));

    let authority = Authority::new();
    let certificate = authority.issue(&["127.0.0.1"]);
    let tls = format!(", tls: {{ ca: \"{}\" }}", authority.file().display());
    let https = Upstream::builder().tls(&certificate, &["h2"]).http2(move |_| answer());
    passes(&mut Gateway::start(&one(&https.url_as("https"), &tls))).await;
    let old = Upstream::builder()
        .tls(&certificate, &["http/1.1"])
        .answer(|_| b"HTTP/1.1 204 No Content\r\n\r\n".to_vec());
    passes(&mut Gateway::start(&one(&old.url_as("https"), &tls))).await;
    assert_eq!(old.requests().remove(0).field("host"), Some("shop.internal"));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let unix = Upstream::builder().unix(&path).answer(|_| b"HTTP/1.1 204 No Content\r\n\r\n".to_vec());
    passes(&mut Gateway::start(&one(&unix.url(), ""))).await;

    let uwsgi = Upstream::script([vec![
        Step::ReadPacket,
        Step::send("HTTP/1.1 204 No Content\r\n\r\n"),
        Step::Close,
    ]]);
    passes(&mut Gateway::start(&one(&uwsgi.url_as("uwsgi"), ""))).await;
    let packet = uwsgi.seen().packets.remove(0);
    assert_eq!(packet.get("PATH_INFO"), Some("/healthz"));
    assert_eq!(packet.get("HTTP_HOST"), Some("shop.internal"));

    let proxied = Upstream::script([vec![
        Step::ReadUntil(b"PROXY UNKNOWN\r\n"),
        Step::ReadHead,
        Step::send("HTTP/1.1 204 No Content\r\n\r\n"),
        Step::Close,
    ]]);
    passes(&mut Gateway::start(&one(&proxied.url(), ", proxy-protocol: v1"))).await;
}

#[tokio::test]
async fn the_health_service_of_grpc_is_asked_and_understood() {
    let serving = |status: u8| {
        let mut answer = Http2Answer::ok("");
        answer.body = vec![vec![0, 0, 0, 0, 2, 8, status].into()];
        answer.trailers = vec![("grpc-status", "0")];
        answer
    };
    let refused = || Http2Answer {
        body: Vec::new(),
        fields: vec![("grpc-status", "12".to_owned())],
        ..Http2Answer::ok("")
    };
    type Answer = Box<dyn Fn() -> Http2Answer + Send + Sync>;
    let cases: [(Answer, Option<&str>); 4] = [
        (Box::new(move || serving(1)), None),
        (Box::new(move || serving(2)), Some("check grpc shop.Orders says NOT_SERVING")),
        (
            Box::new(refused),
            Some("check grpc shop.Orders is answered UNIMPLEMENTED: the server has no health service"),
        ),
        (
            Box::new(|| Http2Answer::ok("hello")),
            Some("check grpc shop.Orders is not answered as the protocol says"),
        ),
    ];
    for (answer, why) in cases {
        let upstream = Upstream::builder().http2(move |_| answer());
        let settings = "health: { check: { grpc: shop.Orders, interval: 10ms, fall: 1 } }";
        let mut gateway = Gateway::to(&upstream.url_as("h2c"), settings);
        let state = target(&mut gateway, 0);
        until_checked(&state, 1).await;
        if why.is_some() {
            until(&state, "down").await;
        }
        assert_eq!(state.why().as_deref(), why);
        let request = upstream.requests().remove(0);
        assert_eq!(request.target, "/grpc.health.v1.Health/Check");
        assert_eq!(request.body, b"\0\0\0\0\x0d\x0a\x0bshop.Orders");
    }
}

#[tokio::test]
async fn a_check_has_a_time_limit() {
    let silent = Upstream::script([vec![Step::ReadHead, Step::AwaitEnd]]);
    let settings = "health: { check: { http: /healthz, interval: 10ms, timeout: 20ms, fall: 1 } }";
    let mut gateway = Gateway::to(&silent.url(), settings);
    let state = target(&mut gateway, 0);
    until(&state, "down").await;
    assert_eq!(state.why().as_deref(), Some("check GET /healthz was not answered within 20ms"));
}

#[tokio::test]
async fn a_reload_that_is_refused_leaves_the_checks_as_they_were() {
    let upstream = checked(&Arc::new(AtomicBool::new(true)));
    let text = several(&[&upstream], FREQUENT);
    let mut gateway = Gateway::start(&text);
    let state = target(&mut gateway, 0);
    until_checked(&state, 2).await;
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("ca.pem");
    std::fs::write(&broken, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    let rare = text.replace("interval: 10ms", "interval: 1h").replace(
        "upstreams: [",
        &format!(
            "upstreams: [{{ name: later, targets: [\"https://127.0.0.1:1\"], tls: {{ ca: \"{}\" }} }}, ",
            broken.display()
        ),
    );
    // The name comes after `app`, whose checks are handed over before the reload fails.
    gateway.reload(&rare).unwrap_err();
    until_checked(&state, 3).await;
}

#[tokio::test]
async fn requests_that_wait_go_to_a_target_that_accepts_again_though_its_checks_fail() {
    let ill = Arc::new(AtomicBool::new(false));
    let before = checked(&ill);
    let address = before.address();
    let settings = FREQUENT.replace("interval: 10ms", "interval: 10ms, fall: 1");
    let mut gateway = Gateway::start(&several(&[&before], &settings));
    let state = target(&mut gateway, 0);
    until(&state, "down").await;
    drop(before);
    until(&state, "unreachable").await;
    let mut client = gateway.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let shared = gateway.server().shared().clone();
    let waiting = || shared.serving.load().upstreams.get("app").unwrap().waiting();
    within("a request that waits", async {
        while waiting() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let after =
        Upstream::builder().at(address).answer(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec());
    assert_eq!(client.response("GET").await.status, 200);
    drop(after);
}

#[tokio::test]
async fn a_check_that_breaks_off_says_how() {
    let why = async |url: &str, path: &str| {
        let settings = format!("health: {{ check: {{ http: \"{path}\", interval: 10ms, fall: 1 }} }}");
        let mut gateway = Gateway::to(url, &settings);
        let state = target(&mut gateway, 0);
        until(&state, "down").await;
        state.why().unwrap()
    };
    let closing = Upstream::script([vec![Step::ReadHead, Step::Close]]);
    assert_eq!(why(&closing.url(), "/healthz?token=secret").await, "check GET /healthz: early-close");
    let babbling = Upstream::script([vec![Step::ReadHead, Step::send("SSH-2.0-x\r\n\r\n"), Step::Close]]);
    let said = why(&babbling.url(), "/healthz").await;
    assert!(
        said.starts_with("check GET /healthz: response-malformed (") && said.contains("SSH-2.0-x"),
        "{said}"
    );
    let strange = Upstream::builder()
        .tls(&Authority::new().issue(&["127.0.0.1"]), &["h2"])
        .http2(|_| Http2Answer::ok(""));
    let said = why(&strange.url_as("https"), "/healthz").await;
    assert!(said.starts_with("check GET /healthz: tls-failed ("), "{said}");
    // What is no good path for a request that is routed is sent as it is written.
    let upstream = saying("503 Service Unavailable");
    assert_eq!(why(&upstream.url(), "/%zz/../x").await, "check GET /%zz/../x answered 503");
    assert_eq!(upstream.requests().remove(0).target, "/%zz/../x");
}
