//! A second attempt beside one that takes long: the first good answer counts, and the record tells of both.

use std::sync::atomic::Ordering;
use std::time::Duration;

use model::{Exchange, RetryRule};
use testkit::{Client, Gate, Step, Upstream};

use super::gateway::{Gateway, line};

fn answering(status: &'static str) -> Upstream {
    Upstream::answer(move |_| {
        format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").into_bytes()
    })
}

/// Opens one gate when it has a request, and answers when the other one is open.
fn held(begun: &Gate, gate: &Gate) -> Upstream {
    Upstream::script([vec![
        Step::ReadHead,
        Step::Open(begun.clone()),
        Step::Await(gate.clone()),
        Step::send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nheld"),
        Step::Close,
    ]])
}

fn two(first: &Upstream, second: &Upstream) -> Gateway {
    Gateway::start(&format!(
        "upstreams: [{{ name: app, targets: [\"{}\", \"{}\"], retries: {{ hedge: 20ms }} }}]\n\
         services: [{{ name: shop, upstream: app }}]\n",
        first.url(),
        second.url()
    ))
}

fn rules(record: &Exchange) -> Vec<Option<RetryRule>> {
    record.attempts.iter().map(|attempt| attempt.why).collect()
}

/// The first record with two attempts, of requests that are all answered 200.
async fn until_hedged(gateway: &mut Gateway) -> Exchange {
    testkit::within("a request to the slow one", async {
        loop {
            assert_eq!(gateway.get("/").await.status, 200);
            let record = gateway.record().await;
            if record.attempts.len() > 1 {
                return record;
            }
        }
    })
    .await
}

#[tokio::test]
async fn another_target_answers_for_one_that_takes_long() {
    let slow = held(&Gate::new(), &Gate::new());
    let good = answering("200 OK");
    let mut gateway = two(&slow, &good);
    let record = until_hedged(&mut gateway).await;
    assert_eq!(line(&record), "200 upstream done ok | gateway await-head ok | upstream done ok status:200");
    assert_eq!(rules(&record), [None, Some(RetryRule::Hedged)]);
    let seen = slow.seen();
    assert_eq!(seen.connections.len(), 1);
}

#[tokio::test]
async fn the_first_one_may_still_be_faster() {
    let (begun, gate) = (Gate::new(), Gate::new());
    let (one, other) = (held(&begun, &gate), held(&begun, &gate));
    let mut gateway = two(&one, &other);
    let mut client = gateway.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    testkit::within("both attempts", async {
        while one.connections() + other.connections() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    begun.passed().await;
    gate.open();
    assert_eq!(client.response("GET").await.body_text(), "held");
    let record = gateway.record().await;
    let mut answered = record.attempts.iter().filter(|attempt| attempt.status.is_some());
    assert_eq!(answered.next().unwrap().status, Some(200));
    assert_eq!(record.attempts.last().unwrap().status, Some(200), "the last one is the one that answered");
    assert_eq!(record.attempts.len(), 2);
    assert!(rules(&record).contains(&Some(RetryRule::Hedged)));
}

/// A request whose two attempts run.
async fn both_run(gateway: &Gateway, one: &Upstream, other: &Upstream) -> Client {
    let mut client = gateway.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    for target in [one, other] {
        target
            .until("the request", |seen| seen.connections.iter().any(|seen| !seen.received.is_empty()))
            .await;
    }
    client
}

#[tokio::test]
async fn who_ends_both_attempts_is_told_of_both() {
    let (begun, gate) = (Gate::new(), Gate::new());
    let (one, other) = (held(&begun, &gate), held(&begun, &gate));
    let mut gateway = two(&one, &other);
    drop(both_run(&gateway, &one, &other).await);
    let left = gateway.record().await;
    let each = "client await-head client-gone";
    assert_eq!(line(&left), format!("499 {each} | {each} | {each}"));
    assert_eq!(rules(&left), [Some(RetryRule::Hedged), None]);

    let (one, other) = (held(&begun, &gate), held(&begun, &gate));
    let mut gateway = two(&one, &other);
    let shared = gateway.server().shared().clone();
    let _client = both_run(&gateway, &one, &other).await;
    assert!(!gateway.drain(Duration::from_millis(50)).await.unwrap());
    let cut = shared.records.take(Vec::new()).remove(0);
    let each = "operator await-head draining";
    assert_eq!(line(&cut), format!("503 {each} | {each} | {each}"));
    assert_eq!(rules(&cut), [Some(RetryRule::Hedged), None]);
}

#[tokio::test]
async fn a_bad_answer_does_not_win() {
    let (begun, gate) = (Gate::new(), Gate::new());
    let (slow, bad) = (held(&begun, &gate), answering("503 Service Unavailable"));
    let mut gateway = two(&slow, &bad);
    // Whichever is asked first: the bad one's answer is asked around, or is the hedge that does not win.
    let mut client = gateway.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    begun.passed().await;
    let shared = gateway.server().shared().clone();
    testkit::within("the answer of the bad one", async {
        let attempts =
            |target: &std::sync::Arc<upstream::Target>| target.state.attempts.load(Ordering::Relaxed);
        while shared.serving.load().upstreams.get("app").unwrap().targets.iter().map(attempts).sum::<u64>()
            == 0
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
    gate.open();
    assert_eq!(client.response("GET").await.body_text(), "held");
    let record = gateway.record().await;
    assert_eq!(record.attempts.last().unwrap().status, Some(200));
    assert_eq!(record.attempts.first().unwrap().status, Some(503));
}

/// Answers nothing, and closes when the gate is open.
fn closing(begun: &Gate, gate: &Gate) -> Upstream {
    Upstream::script([vec![
        Step::ReadHead,
        Step::Open(begun.clone()),
        Step::Await(gate.clone()),
        Step::Close,
    ]])
}

async fn until_both(one: &Upstream, other: &Upstream) {
    testkit::within("both attempts", async {
        while one.connections() + other.connections() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_second_one_goes_on_alone_and_its_client_may_leave() {
    let (begun, gate) = (Gate::new(), Gate::new());
    // One closes when it is told to; the other stays silent.
    let (one, silent) = (closing(&begun, &gate), held(&begun, &Gate::new()));
    let mut gateway = two(&one, &silent);
    let mut client = gateway.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    until_both(&one, &silent).await;
    gate.open();
    let shared = gateway.server().shared().clone();
    let failures = |target: &std::sync::Arc<upstream::Target>| target.state.failures.load(Ordering::Relaxed);
    testkit::within("the failure of one attempt", async {
        while shared.serving.load().upstreams.get("app").unwrap().targets.iter().map(failures).sum::<u64>()
            == 0
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(client);
    let record = gateway.record().await;
    assert_eq!(record.status, 499);
    let endings: Vec<_> =
        record.attempts.iter().map(|attempt| attempt.ending.fault.map(model::Fault::id)).collect();
    assert!(endings.contains(&Some("early-close")) && endings.contains(&Some("client-gone")), "{endings:?}");
}

#[tokio::test]
async fn the_time_of_the_exchange_ends_a_second_attempt_that_is_alone() {
    let (begun, gate) = (Gate::new(), Gate::new());
    let (one, silent) = (closing(&begun, &gate), held(&begun, &Gate::new()));
    let text = format!(
        "upstreams: [{{ name: app, targets: [\"{}\", \"{}\"], retries: {{ hedge: 20ms }}, timeouts: {{ total: 400ms }} }}]\n\
         services: [{{ name: shop, upstream: app }}]\n",
        one.url(),
        silent.url()
    );
    let mut gateway = Gateway::start(&text);
    let mut client = gateway.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    until_both(&one, &silent).await;
    gate.open();
    assert_eq!(client.response("GET").await.status, 504);
    let record = gateway.record().await;
    assert_eq!(record.ending.fault, Some(model::Fault::TotalTimeout));
    assert_eq!(record.attempts.len(), 2);
}

#[tokio::test]
async fn what_must_not_be_executed_twice_is_not_hedged() {
    let (begun, gate) = (Gate::new(), Gate::new());
    let (one, other) = (held(&begun, &gate), held(&begun, &gate));
    let mut gateway = two(&one, &other);
    let mut posting = gateway.client().await;
    posting.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx").await;
    begun.passed().await;
    // By the time that this one is hedged the other would have been, too.
    let mut getting = gateway.client().await;
    getting.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    testkit::within("the second attempt of the GET", async {
        while one.connections() + other.connections() < 3 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    gate.open();
    assert_eq!(posting.response("POST").await.status, 200);
    assert_eq!(getting.response("GET").await.status, 200);
    let mut attempts: Vec<_> = gateway
        .records(2)
        .await
        .iter()
        .map(|record| (record.method.as_str().to_owned(), record.attempts.len()))
        .collect();
    attempts.sort();
    assert_eq!(attempts, [("GET".to_owned(), 2), ("POST".to_owned(), 1)]);
}
