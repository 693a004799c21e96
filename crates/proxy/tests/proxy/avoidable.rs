//! No avoidable 502: what another target, another attempt or a little patience can answer is answered, and nothing is
//! executed twice for it.

use std::time::Duration;

use model::RetryRule;
use testkit::{Http2Answer, Http2End, Step, Upstream};

use super::gateway::{Gateway, line};

fn saying(status: &'static str) -> Upstream {
    Upstream::answer(move |_| format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").into_bytes())
}

fn several(targets: &[&str], more: &str) -> String {
    let targets = targets.join("\", \"");
    format!(
        "upstreams: [{{ name: app, targets: [\"{targets}\"]{more} }}]\nservices: [{{ name: shop, upstream: app }}]\n"
    )
}

const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx";

#[tokio::test]
async fn a_target_that_only_answers_503_is_asked_around_and_then_ejected() {
    let (bad, good) = (saying("503 Service Unavailable"), saying("200 OK"));
    let mut gateway = Gateway::start(&several(&[&bad.url(), &good.url()], ""));
    let mut client = gateway.client().await;
    for _ in 0..40 {
        assert_eq!(client.get("/").await.status, 200);
    }
    let records = gateway.records(40).await;
    let around = records.iter().filter(|record| record.attempts.len() == 2).count();
    assert_eq!(around, bad.requests().len(), "each of its answers was asked around");
    assert!((1..=5).contains(&around), "and then it was ejected: {around}");
    let asked = records.iter().find(|record| record.attempts.len() == 2).unwrap();
    let statuses: Vec<_> = asked.attempts.iter().map(|attempt| attempt.status).collect();
    assert_eq!((asked.status, statuses), (200, vec![Some(503), Some(200)]));
    assert_eq!(asked.attempts[1].why, Some(RetryRule::BadAnswer));
}

#[tokio::test]
async fn other_methods_get_the_answer_that_came_and_no_more_than_until_the_ejection() {
    let (bad, good) = (saying("503 Service Unavailable"), saying("200 OK"));
    let gateway = Gateway::start(&several(&[&bad.url(), &good.url()], ""));
    let mut client = gateway.client().await;
    let mut failed = 0;
    for _ in 0..40 {
        failed += usize::from(client.exchange(POST).await.status == 503);
    }
    assert!((1..=5).contains(&failed), "{failed}");
    assert_eq!(bad.requests().len(), failed, "none was executed twice");
    assert_eq!(good.requests().len(), 40 - failed);
}

#[tokio::test]
async fn the_only_target_is_waited_for_while_it_restarts() {
    let before = saying("200 OK");
    let address = before.address();
    let mut gateway = Gateway::to(&before.url(), "");
    assert_eq!(gateway.get("/").await.status, 200);
    gateway.record().await;
    drop(before);
    let mut waiting = Vec::new();
    for request in ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", POST, "GET /leaving HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let mut client = gateway.client().await;
        client.send(request).await;
        waiting.push(client);
        // The first one finds the door closed; the others are spared that.
        gateway.until_waiting(waiting.len()).await;
    }
    let leaving = waiting.pop();
    drop(leaving);
    let left = gateway.record().await;
    assert_eq!(line(&left), "499 client queue client-gone");
    let after = Upstream::builder()
        .at(address)
        .answer(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nback".to_vec());
    for client in &mut waiting {
        assert_eq!(client.response("GET").await.body_text(), "back");
    }
    let mut rules = Vec::new();
    for record in gateway.records(2).await {
        let last = record.attempts.last().unwrap();
        assert!(last.waited.is_some(), "{}", line(&record));
        rules.push(last.why);
    }
    assert!(rules.contains(&Some(RetryRule::Unsent)) && rules.contains(&None), "{rules:?}");
    assert_eq!(after.requests().len(), 2);
}

#[tokio::test]
async fn a_target_that_never_accepted_is_not_waited_for() {
    let (refused, _socket) = testkit::refused();
    let mut gateway = Gateway::to(&format!("http://{refused}"), "");
    assert_eq!(gateway.get("/").await.status, 502);
    let record = gateway.record().await;
    assert_eq!(
        line(&record),
        "502 upstream connect connect-refused | upstream connect connect-refused ECONNREFUSED"
    );
}

#[tokio::test]
async fn an_idempotent_request_that_met_a_dying_worker_is_sent_again_and_another_is_not() {
    let dying = [
        vec![Step::ReadHead, Step::Close],
        vec![Step::ReadHead, Step::send("HTTP/1.1 204 No Content\r\n\r\n"), Step::AwaitEnd],
    ];
    let upstream = Upstream::script(dying.clone());
    let mut gateway = Gateway::to(&upstream.url(), "");
    assert_eq!(gateway.get("/").await.status, 204);
    let record = gateway.record().await;
    assert_eq!(
        line(&record),
        "204 upstream done ok | upstream await-head early-close fin | upstream done ok status:204"
    );
    assert_eq!(record.attempts[1].why, Some(RetryRule::Idempotent));

    let reading = [vec![Step::ReadHead, Step::Read(1), Step::Close], dying[1].clone()];
    let upstream = Upstream::script(reading.clone());
    let mut gateway = Gateway::to(&upstream.url(), "");
    assert_eq!(gateway.client().await.exchange(POST).await.status, 502);
    assert_eq!(
        line(&gateway.record().await),
        "502 upstream await-head early-close | upstream await-head early-close fin"
    );
    assert_eq!(upstream.connections(), 1);

    // Its client says that it can be repeated.
    let upstream = Upstream::script(reading);
    let mut gateway = Gateway::to(&upstream.url(), "");
    let keyed = POST.replace("Host: a", "Host: a\r\nIdempotency-Key: 7");
    assert_eq!(gateway.client().await.exchange(&keyed).await.status, 204);
    assert_eq!(gateway.record().await.attempts[1].why, Some(RetryRule::IdempotencyKey));
}

#[tokio::test]
async fn a_slow_target_gets_next_to_nothing() {
    let fast = saying("200 OK");
    let slow = Upstream::script([vec![
        Step::ReadHead,
        Step::SendSlowly {
            bytes: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".into(),
            piece: 20,
            gap: Duration::from_millis(50),
        },
        Step::AwaitEnd,
    ]]);
    let gateway = Gateway::start(&several(&[&fast.url(), &slow.url()], ""));
    let mut client = gateway.client().await;
    for _ in 0..200 {
        assert_eq!(client.get("/").await.status, 200);
    }
    let to_slow = slow.seen().connections.iter().filter(|connection| !connection.received.is_empty()).count();
    assert!((1..=10).contains(&to_slow), "{to_slow} of 200");
}

#[tokio::test]
async fn a_target_that_is_down_during_a_reload_is_found_again() {
    let going = saying("200 OK");
    // Slower, so that the other one is preferred as long as it is there.
    let staying = Upstream::script([vec![
        Step::ReadHead,
        Step::SendSlowly {
            bytes: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".into(),
            piece: 30,
            gap: Duration::from_millis(20),
        },
        Step::Close,
    ]]);
    let (address, url) = (going.address(), going.url());
    let text = |more: &str| several(&[&url, &staying.url()], more);
    let mut gateway = Gateway::start(&text(""));
    let mut requests = 0;
    while going.requests().is_empty() || staying.connections() == 0 {
        assert_eq!(gateway.get("/").await.status, 200);
        requests += 1;
    }
    drop(going);
    gateway.records(requests).await;
    assert_eq!(gateway.get("/").await.status, 200);
    assert_eq!(gateway.record().await.attempts.len(), 2, "one found the door closed");
    gateway.reload(&text(", timeouts: { await-head: 9s }")).unwrap();
    let back =
        Upstream::builder().at(address).answer(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec());
    testkit::within("a request to the one that is back", async {
        while back.requests().is_empty() {
            assert_eq!(gateway.get("/").await.status, 200);
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_switched_off_is_off() {
    let (bad, good) = (saying("503 Service Unavailable"), saying("200 OK"));
    let targets = [&*bad.url(), &*good.url()];
    let gateway = Gateway::start(&several(&targets, ", retries: { bad-answers: false }"));
    let mut client = gateway.client().await;
    let mut statuses = Vec::new();
    for _ in 0..20 {
        statuses.push(client.get("/").await.status);
    }
    assert_eq!(statuses.iter().filter(|status| **status == 503).count(), bad.requests().len());
    assert!(!bad.requests().is_empty());

    let dying = Upstream::script([vec![Step::ReadHead, Step::Close]]);
    let mut gateway = Gateway::to(&dying.url(), "retries: { attempts: 1 }");
    assert_eq!(gateway.get("/").await.status, 502);
    assert_eq!(gateway.record().await.attempts.len(), 1);
}

#[tokio::test]
async fn a_target_that_resets_streams_of_a_kept_connection_is_ejected_like_any_other() {
    let resetting = Upstream::builder().http2(|_| Http2Answer {
        status: None,
        body: Vec::new(),
        end: Http2End::Reset(h2::Reason::INTERNAL_ERROR),
        ..Http2Answer::ok("")
    });
    let good = saying("200 OK");
    let url = resetting.url().replace("http:", "h2c:");
    let gateway = Gateway::start(&several(&[&url, &good.url()], ", balance: round-robin"));
    let mut client = gateway.client().await;
    let mut lost = 0;
    for _ in 0..40 {
        lost += usize::from(client.exchange(POST).await.status == 502);
    }
    assert_eq!(lost, 5, "five in a row, as with every other failure");
}

#[tokio::test]
async fn refused_connections_use_up_no_attempts() {
    let (one, _one) = testkit::refused();
    let (two, _two) = testkit::refused();
    let (three, _three) = testkit::refused();
    let good = saying("200 OK");
    let urls = [one, two, three].map(|address| format!("http://{address}"));
    let targets = [&*urls[0], &*urls[1], &*urls[2], &*good.url()].map(str::to_owned);
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    let mut gateway = Gateway::start(&several(&targets, ", retries: { attempts: 2 }"));
    assert_eq!(gateway.get("/").await.status, 200);
    assert!(gateway.record().await.attempts.len() <= 4);
}
