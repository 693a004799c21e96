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
