//! What is answered to those who may ask.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::gateway::{CALL, Interface, Response};

fn document(response: &Response) -> Value {
    serde_json::from_str(&response.body).unwrap()
}

#[tokio::test]
async fn readiness_ends_with_draining_and_health_does_not() {
    let interface = Interface::start().await;
    let status = async |path: &str| interface.ask("GET", path, "localhost", &[]).await.status;
    assert_eq!((status("/readyz").await, status("/healthz").await), (200, 200));
    interface.gateway.draining.store(1, Ordering::Relaxed);
    assert_eq!((status("/readyz").await, status("/healthz").await), (503, 200));
}

#[tokio::test]
async fn metrics_are_text() {
    let interface = Interface::start().await;
    let response = interface.ask("GET", "/metrics", "127.0.0.1:8081", &[]).await;
    assert_eq!(response.body, "clearway_build_info 1\n");
    assert!(response.head.contains("content-type: text/plain; version=0.0.4"), "{}", response.head);
    assert!(response.head.contains("cache-control: no-store"), "{}", response.head);
}

#[tokio::test]
async fn calls_routes_and_upstreams_are_documents() {
    let interface = Interface::start().await;
    let calls = document(&interface.operator("/api/v1/calls").await);
    assert_eq!(calls, json!({ "calls": [{ "id": CALL }] }));
    let calls = document(&interface.operator("/api/v1/calls?limit=1&status=5xx&since=10m").await);
    assert_eq!(calls, json!({ "calls": [{ "id": CALL }], "next": CALL }));
    let call = document(&interface.operator(&format!("/api/v1/calls/{CALL}")).await);
    assert_eq!(call, json!({ "id": CALL }));
    let routes = document(&interface.operator("/api/v1/routes").await);
    assert_eq!(routes.pointer("/0/service"), Some(&json!("shop")));
    let upstreams = document(&interface.operator("/api/v1/upstreams").await);
    assert_eq!(upstreams.pointer("/0/targets/0/target"), Some(&json!("http://app:8000")));
    assert_eq!(upstreams.pointer("/0/in_flight"), Some(&json!(3)));
}

#[tokio::test]
async fn incidents_are_documents_and_only_one_alone_has_its_report() {
    let interface = Interface::start().await;
    let mut expected = json!({
        "id": CALL, "service": "shop", "state": "open", "began": "1970-01-01T00:00:00.000Z",
        "opened": "1970-01-01T00:00:03.000Z", "reopened": 0, "requests": 20, "failed": 10, "peak_share": 0.5,
        "usual_share": 0.05, "cause": "firewall-drop", "confidence": 0.91, "summary": "dropped",
    });
    let listed = document(&interface.operator("/api/v1/incidents?open=true&service=shop&since=1h").await);
    assert_eq!(listed, json!({ "incidents": [expected] }));
    expected["report"] = json!({ "version": 1 });
    assert_eq!(document(&interface.operator(&format!("/api/v1/incidents/{CALL}")).await), expected);
}

#[tokio::test]
async fn nonsense_is_refused_with_what_would_be_right() {
    let interface = Interface::start().await;
    for (path, status, part) in [
        ("/api/v1/calls?status=7xx", 400, "from 1xx to 5xx"),
        ("/api/v1/calls?fault=rest", 400, "faults are"),
        ("/api/v1/calls?stats=5xx", 400, "unknown field `stats`"),
        ("/api/v1/calls?limit=many", 400, "limit"),
        ("/api/v1/incidents?since=1", 400, "since"),
        ("/api/v1/incidents?limit=0", 400, "between 1 and 1000"),
        ("/api/v1/incidents/7", 400, "not the id of an incident"),
        ("/api/v1/incidents/0193a7c1-5a3e-7c2f-8d41-000000000000", 404, "no incident with this id"),
        ("/api/v1/calls/7", 400, "not the id of a call"),
        ("/api/v1/calls/0193a7c1-5a3e-7c2f-8d41-000000000000", 404, "no call with this id"),
    ] {
        let response = interface.operator(path).await;
        let problem = document(&response);
        assert_eq!((response.status, problem.get("status")), (status, Some(&json!(status))), "{path}");
        let detail = problem.get("detail").and_then(Value::as_str).unwrap();
        assert!(detail.contains(part), "{path}: {detail}");
        assert!(response.head.contains("content-type: application/problem+json"), "{}", response.head);
    }
}
