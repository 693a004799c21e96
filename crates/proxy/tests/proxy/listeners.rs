//! How clients come in: TLS by name, HTTP/2 by ALPN, Unix sockets, the PROXY protocol, and limits on connections.

use testkit::{Authority, Certificate, Client, End, Http2Client, Upstream};

use super::gateway::{Gateway, line, one_upstream};

fn tls_listener(certificates: &[&Certificate]) -> String {
    let files: Vec<String> = certificates
        .iter()
        .map(|files| {
            format!(
                "{{ certificate: \"{}\", key: \"{}\" }}",
                files.certificate.display(),
                files.key.display()
            )
        })
        .collect();
    format!("listeners: [{{ address: \"127.0.0.1:0\", tls: {{ certificates: [{}] }} }}]\n", files.join(", "))
}

#[tokio::test]
async fn certificates_are_chosen_by_name_and_read_again() {
    let authority = Authority::new();
    let (first, second) = (authority.issue(&["one.test"]), authority.issue(&["two.test", "*.two.test"]));
    let upstream = Upstream::ok("secret");
    let text = format!("{}{}", one_upstream(&upstream.url(), ""), tls_listener(&[&first, &second]));
    let mut gateway = Gateway::start(&text);
    let address = gateway.address();
    for (name, shown) in [("one.test", &first), ("two.test", &second), ("a.two.test", &second)] {
        let mut client = Client::tls(address, &authority, name, &["http/1.1"]).await.unwrap();
        assert_eq!(client.stream().peer_certificate(), Some(shown.der()), "{name}");
        let response = client.exchange(&format!("GET / HTTP/1.1\r\nHost: {name}\r\n\r\n")).await;
        assert_eq!((response.status, response.body_text().as_str()), (200, "secret"));
    }
    assert_eq!(upstream.requests()[0].field("x-forwarded-proto"), Some("https"));
    // No certificate has this name: the first is shown, and the client refuses it.
    Client::tls(address, &authority, "three.test", &[]).await.unwrap_err();
    let before = second.der();
    let renewed = authority.issue(&["two.test", "*.two.test"]);
    assert_ne!(renewed.der(), before);
    assert_eq!(gateway.server().reload_certificates(), Vec::<String>::new());
    let client = Client::tls(address, &authority, "two.test", &[]).await.unwrap();
    assert_eq!(client.stream().peer_certificate(), Some(renewed.der()));
    // A file that is broken leaves the last good one serving, and is named.
    std::fs::write(&renewed.certificate, "no certificate").unwrap();
    let problems = gateway.server().reload_certificates();
    assert!(problems[0].contains("two.test"), "{problems:?}");
    Client::tls(address, &authority, "two.test", &[]).await.unwrap();
}

#[tokio::test]
async fn a_request_for_another_certificates_host_is_misdirected() {
    let authority = Authority::new();
    let (first, second) = (authority.issue(&["one.test", "uno.test"]), authority.issue(&["two.test"]));
    let upstream = Upstream::ok("ok");
    let text = format!("{}{}", one_upstream(&upstream.url(), ""), tls_listener(&[&first, &second]));
    let mut gateway = Gateway::start(&text);
    let mut client = Client::tls(gateway.address(), &authority, "one.test", &[]).await.unwrap();
    let mut ask =
        async |host: &str| client.exchange(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await.status;
    assert_eq!(ask("one.test").await, 200);
    assert_eq!(ask("uno.test").await, 200, "the same certificate serves it");
    assert_eq!(ask("two.test").await, 421);
    assert_eq!(line(&gateway.records(3).await[2]), "421 client policy misdirected");
}

#[tokio::test]
async fn http2_is_agreed_by_alpn_or_known_before() {
    let authority = Authority::new();
    let certificate = authority.issue(&["one.test"]);
    let upstream = Upstream::ok("ok");
    let text = format!("{}{}", one_upstream(&upstream.url(), ""), tls_listener(&[&certificate]));
    let gateway = Gateway::start(&text);
    let client = Client::tls(gateway.address(), &authority, "one.test", &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(client.stream().alpn(), Some(&b"h2"[..]));
    let mut client = Http2Client::over(client).await;
    let response = client.exchange("GET", "/", &[(":authority", "one.test")], b"").await;
    assert_eq!((response.status, response.is_complete()), (200, true));
    let plain = Gateway::to(&upstream.url(), "");
    assert_eq!(plain.http2_client().await.get("/").await.status, 200);
}

#[tokio::test]
async fn unix_sockets_on_both_sides() {
    let directory = tempfile::tempdir().unwrap();
    let (inner, outer) = (directory.path().join("app.sock"), directory.path().join("gateway.sock"));
    let upstream = Upstream::builder()
        .unix(&inner)
        .answer(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec());
    let text = format!(
        "{}listeners: [{{ address: \"unix:{}\" }}]\n",
        one_upstream(&format!("unix:{}", inner.display()), ""),
        outer.display()
    );
    let mut gateway = Gateway::start(&text);
    let response = Client::unix(&outer).await.get("/").await;
    assert_eq!((response.status, response.body_text().as_str()), (200, "ok"));
    let request = upstream.request();
    assert_eq!(request.field("x-forwarded-for"), None, "there is no address to tell");
    assert_eq!(request.field("forwarded"), Some("for=unknown;host=test;proto=http"));
    let record = gateway.record().await;
    assert_eq!((record.client, record.attempts[0].address), (None, None));
}

#[tokio::test]
async fn a_proxy_header_names_the_client_if_a_trusted_proxy_sends_it() {
    let upstream = Upstream::ok("ok");
    let listener = "listeners: [{ address: \"127.0.0.1:0\", proxy-protocol: require }]\n";
    let text = format!("{}{listener}trusted-proxies: [127.0.0.1/32]\n", one_upstream(&upstream.url(), ""));
    let mut gateway = Gateway::start(&text);
    let mut client = gateway.client().await;
    client.send("PROXY TCP4 203.0.113.7 198.51.100.1 5555 443\r\n").await;
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(upstream.request().field("x-forwarded-for"), Some("203.0.113.7"));
    assert_eq!(gateway.record().await.client, Some("203.0.113.7".parse().unwrap()));
    // Without the header, and from somebody who is not trusted, there is no conversation.
    let mut client = gateway.client().await;
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
    assert!(client.try_response("GET").await.is_err());
    let elsewhere = "trusted-proxies: [192.0.2.0/24]\n";
    let untrusted = Gateway::start(&format!("{}{listener}{elsewhere}", one_upstream(&upstream.url(), "")));
    let mut client = untrusted.client().await;
    client.send("PROXY TCP4 203.0.113.7 198.51.100.1 5555 443\r\n").await;
    assert!(matches!(client.end().await.1, End::Fin | End::Rst));
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn a_proxy_that_names_no_client_does_not_vouch_for_what_it_says() {
    let upstream = Upstream::ok("ok");
    let mut gateway = Gateway::start(&format!(
        "{}listeners: [{{ address: \"127.0.0.1:0\", proxy-protocol: require }}]\ntrusted-proxies: [127.0.0.1, 203.0.113.7]\n",
        one_upstream(&upstream.url(), "")
    ));
    let signature = b"\r\n\r\n\0\r\nQUIT\n";
    let local = [signature, &b"\x20\0\0\0"[..]].concat();
    let unspecified = [signature, &b"\x21\0\0\0"[..]].concat();
    let unknown = b"PROXY UNKNOWN\r\n".to_vec();
    // A trusted proxy in front of the one that speaks is named, and believed.
    let named = b"PROXY TCP4 203.0.113.7 198.51.100.1 5555 443\r\n".to_vec();
    for (header, client, forwarded_for, proto) in [
        (&unknown, "127.0.0.1", "127.0.0.1", "http"),
        (&local, "127.0.0.1", "127.0.0.1", "http"),
        (&unspecified, "127.0.0.1", "127.0.0.1", "http"),
        (&named, "192.0.2.66", "192.0.2.66, 203.0.113.7", "https"),
    ] {
        let mut connection = gateway.client().await;
        connection.send(header).await;
        let said = "X-Forwarded-For: 192.0.2.66\r\nX-Forwarded-Proto: https\r\nX-Request-Id: mine\r\n";
        let response = connection.exchange(&format!("GET / HTTP/1.1\r\nHost: test\r\n{said}\r\n")).await;
        assert_eq!(response.status, 200);
        let request = upstream.requests().pop().unwrap();
        assert_eq!(request.field("x-forwarded-for"), Some(forwarded_for));
        assert_eq!(request.field("x-forwarded-proto"), Some(proto));
        let record = gateway.record().await;
        assert_eq!(record.client, Some(client.parse().unwrap()));
        assert_eq!(record.external_id.as_deref(), (proto == "https").then_some("mine"));
    }
}

#[tokio::test]
async fn a_proxy_header_tells_the_target_who_the_client_is() {
    let upstream = Upstream::script([vec![
        testkit::Step::ReadUntil(b"\r\n\r\n"),
        testkit::Step::send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        testkit::Step::AwaitEnd,
    ]]);
    let gateway = Gateway::to(&upstream.url(), "proxy-protocol: v1");
    assert_eq!(gateway.get("/").await.status, 200);
    let received = upstream.seen().connections[0].received.clone();
    let received = String::from_utf8_lossy(&received);
    let port = gateway.address().port();
    assert!(received.starts_with("PROXY TCP4 127.0.0.1 127.0.0.1 "), "{received}");
    assert!(received.contains(&format!(" {port}\r\nGET / HTTP/1.1\r\n")), "{received}");
}

#[tokio::test]
async fn a_target_that_wants_a_proxy_header_gets_one_for_a_client_without_address() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.sock");
    let local: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    for (version, header) in [("v1", &b"PROXY UNKNOWN\r\n"[..]), ("v2", local)] {
        let upstream = Upstream::script([vec![
            testkit::Step::ReadUntil(b"test\r\n"),
            testkit::Step::send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
            testkit::Step::AwaitEnd,
        ]]);
        let gateway = Gateway::start(&format!(
            "{}listeners: [{{ address: \"unix:{}\" }}]\n",
            one_upstream(&upstream.url(), &format!("proxy-protocol: {version}")),
            path.display()
        ));
        assert_eq!(Client::unix(&path).await.get("/").await.status, 200);
        let received = upstream.seen().connections[0].received.clone();
        let expected = [header, b"GET / HTTP/1.1\r\n"].concat();
        assert!(received.starts_with(&expected), "{}", String::from_utf8_lossy(&received));
        drop(gateway);
    }
}

#[tokio::test]
async fn connections_above_the_limit_are_refused_and_recorded() {
    let upstream = Upstream::ok("ok");
    let listener = "listeners: [{ address: \"127.0.0.1:0\", limits: { connections: 1 } }]\n";
    let mut gateway = Gateway::start(&format!("{}{listener}", one_upstream(&upstream.url(), "")));
    let mut first = gateway.client().await;
    assert_eq!(first.get("/").await.status, 200);
    let refused = gateway.client().await.try_response("GET").await.unwrap();
    assert_eq!((refused.status, refused.field("retry-after")), (503, Some("1")));
    assert_eq!(line(&gateway.records(2).await[1]), "503 gateway accept overloaded");
    assert_eq!(first.get("/").await.status, 200);
}
