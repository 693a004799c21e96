//! When targets are taken out by what requests and checks show, and how they come back.

use testkit::Upstream;

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
fn target(gateway: &mut Gateway, index: usize) -> std::sync::Arc<upstream::TargetState> {
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
    testkit::within("an ejection", async {
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
        testkit::within("answers of all", async {
            while conditions
                .iter()
                .any(|state| state.attempts.load(std::sync::atomic::Ordering::Relaxed) < 10)
            {
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
