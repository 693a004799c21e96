//! Every endpoint denies by default.

use admin::Permission;

use crate::gateway::{CALL, Interface, TOKEN};

/// A path that the endpoint answers.
fn path(pattern: &str) -> String {
    pattern.replace("{id}", CALL)
}

#[tokio::test]
async fn endpoints_answer_those_who_may_and_nobody_else() {
    let interface = Interface::start().await;
    let right = format!("Authorization: Bearer {TOKEN}");
    let wrong: &[&[&str]] = &[
        &[],
        &["Authorization: Bearer wrong"],
        &["Authorization: Bearer"],
        &["Authorization: Bearer  "],
        &["Authorization: Basic Y3dfYWRtaW5fa25vd24="],
        &["Cookie: token=cw_admin_known"],
    ];
    let endpoints = admin::endpoints();
    assert!(endpoints.iter().any(|(_, permission)| *permission == Permission::Operator));
    for (pattern, permission) in endpoints {
        let path = path(pattern);
        for fields in wrong {
            let response = interface.ask("GET", &path, "localhost", fields).await;
            let expect = if permission == Permission::Open { 200 } else { 401 };
            assert_eq!(response.status, expect, "{path} {fields:?}");
            assert_eq!(response.body.contains("clearway admin-token rotate"), expect == 401, "{path}");
            assert_eq!(
                response.head.contains("www-authenticate: bearer"),
                expect == 401,
                "{path} {fields:?}"
            );
        }
        let response = interface.ask("GET", &path, "localhost", &[&right]).await;
        assert_eq!(response.status, 200, "{path}");
        // A page of a stranger's name, even with the token; a probe may have any name for us.
        let expect = if permission == Permission::Open { 200 } else { 421 };
        for host in ["attacker.test", "clearway.monitoring.svc:8081"] {
            let response = interface.ask("GET", &path, host, &[&right]).await;
            assert_eq!(response.status, expect, "{path} as {host}");
        }
    }
}

#[tokio::test]
async fn what_is_no_endpoint_is_denied_too() {
    let interface = Interface::start().await;
    let right = format!("Authorization: Bearer {TOKEN}");
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/nothing"),
        ("POST", "/api/v1/calls"),
        ("DELETE", "/api/v1/routes"),
        ("GET", "/api/v1/calls/"),
        ("GET", "/api/v1/calls/a/b"),
        ("GET", "//healthz"),
        ("GET", "/healthz/../api/v1/calls"),
        ("GET", "/%68ealthz"),
        ("OPTIONS", "*"),
    ] {
        let response = interface.ask(method, path, "localhost", &[]).await;
        assert_eq!(response.status, 401, "{method} {path}");
        let response = interface.ask(method, path, "localhost", &[&right]).await;
        assert!(matches!(response.status, 400 | 404 | 405), "{method} {path}: {}", response.status);
        let response = interface.ask(method, path, "attacker.test", &[&right]).await;
        assert_eq!(response.status, 421, "{method} {path}");
    }
}

#[tokio::test]
async fn open_endpoints_are_read_only() {
    let interface = Interface::start().await;
    assert_eq!(interface.ask("POST", "/healthz", "localhost", &[]).await.status, 405);
    let head = interface.ask("HEAD", "/healthz", "localhost", &[]).await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}
