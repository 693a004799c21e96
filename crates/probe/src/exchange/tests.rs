//! Exchanges in, lines of evidence out.

use std::time::Duration;

use model::{Ending, LimitName, Method, Protocol, RequestId, Reuse, Timeline};

use super::*;

fn exchange(fault: Option<(model::Phase, Fault)>) -> Exchange {
    let ending = fault.map_or(Ending::ANSWERED, |(during, fault)| Ending::failed(during, fault));
    Exchange {
        id: "0193a7c1-5a3e-7c2f-8d41-2f6f0c9b7a10".parse::<RequestId>().expect("an id"),
        started_unix_micros: 1_763_881_617_120_000,
        listener: "main".into(),
        client: Some([192, 0, 2, 7].into()),
        protocol: Protocol::Http11,
        tls: false,
        method: Method::Post,
        host: "shop.example".into(),
        path: "/cart".into(),
        service: Some("shop".into()),
        route: Some("cart".into()),
        consumer: None,
        external_id: None,
        status: fault.map_or(200, |(_, fault)| fault.status()),
        ending,
        detail: None,
        request_body_bytes: 3,
        response_body_bytes: 0,
        timeline: Timeline { done_micros: 9_000, ..Timeline::default() },
        attempts: Vec::new(),
        ai: None,
    }
}

fn attempt(fault: Option<(model::Phase, Fault)>) -> Attempt {
    Attempt {
        upstream: "shop".into(),
        target: "http://127.0.0.1:8000".into(),
        address: Some(([127, 0, 0, 1], 8000).into()),
        started_micros: 1_000,
        why: None,
        waited: None,
        reuse: None,
        resolve: None,
        connect: None,
        tls: None,
        send: None,
        await_head: None,
        total: Duration::from_micros(2_500),
        bytes_sent: 120,
        bytes_received: 0,
        bytes_acked: None,
        status: None,
        ending: fault.map_or(Ending::ANSWERED, |(during, fault)| Ending::failed(during, fault)),
        peer_end: None,
        errno: None,
        tls_alert: None,
        limit: None,
        detail: None,
    }
}

fn failed(during: model::Phase, fault: Fault) -> Exchange {
    let fault = Some((during, fault));
    Exchange { attempts: vec![attempt(fault)], ..exchange(fault) }
}

#[track_caller]
fn check(exchange: &Exchange, expected: &[&str]) {
    let shown: Vec<String> = evidence(exchange).iter().map(ToString::to_string).collect();
    assert_eq!(shown, expected);
}

#[test]
fn a_reset_of_a_reused_connection_says_everything_that_tells_its_cause() {
    let mut exchange = failed(model::Phase::AwaitHead, Fault::Reset);
    let attempt = &mut exchange.attempts[0];
    attempt.reuse = Some(Reuse { requests: 3, idle: Duration::from_millis(1_999) });
    attempt.peer_end = Some(PeerEnd::Rst);
    attempt.errno = Some(104);
    attempt.bytes_acked = Some(0);
    check(
        &exchange,
        &[
            "2025-11-23T07:06:57.123Z failure proxy=clearway phase=head how=reset fault=reset status=502 method=POST \
           uri=/cart host=shop.example server=shop retries=0 client=192.0.2.7 upstream=127.0.0.1:8000 group=shop \
           scheme=http errno=104 elapsed=0.0025 reused=yes idle=1.999 end=rst sent=120 acked=0 received=0 \
           source=\"clearway record\" at=\"exchange 0193a7c1-5a3e-7c2f-8d41-2f6f0c9b7a10\" \
           text=\"POST shop.example/cart 502: reset during await-head at 127.0.0.1:8000 after 0.003 s, attempt 1 of 1\"",
        ],
    );
}

#[test]
fn an_attempt_that_was_made_up_for_is_told_and_one_that_went_well_is_not() {
    check(&Exchange { attempts: vec![attempt(None)], ..exchange(None) }, &[]);
    let refused = attempt(Some((model::Phase::Connect, Fault::ConnectRefused)));
    let told = evidence(&Exchange { attempts: vec![refused, attempt(None)], ..exchange(None) });
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].get("status"), told[0].get("retries")), (Some("200"), Some("1")));
}

#[test]
fn what_failed_without_an_attempt_or_after_it_is_told_once() {
    let mut queued = exchange(Some((model::Phase::Queue, Fault::QueueFull)));
    queued.detail = Some("100 wait".into());
    let told = evidence(&queued);
    assert_eq!(told.len(), 1);
    let fields = ["phase", "how", "detail", "status", "upstream"].map(|name| told[0].get(name));
    assert_eq!(fields, [Some("select"), Some("overflow"), Some("100 wait"), Some("503"), None]);
    let gone = Exchange {
        attempts: vec![attempt(None)],
        ..exchange(Some((model::Phase::AwaitHead, Fault::ClientGone)))
    };
    let told = evidence(&gone);
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].get("how"), told[0].get("upstream")), (Some("aborted"), Some("127.0.0.1:8000")));
}

#[test]
fn an_upstreams_own_error_is_its_own() {
    let answered = Attempt { status: Some(502), ..attempt(None) };
    let own = Exchange { status: 502, attempts: vec![answered.clone()], ..exchange(None) };
    let told = evidence(&own);
    assert_eq!((told[0].kind.as_ref(), told[0].get("own")), ("request", Some("yes")));
    let good = Attempt { status: Some(200), ..attempt(None) };
    let mended = evidence(&Exchange { attempts: vec![answered, good], ..exchange(None) });
    assert_eq!((mended[0].get("own"), mended[0].get("upstream-status")), (Some("no"), Some("502, 200")));
    assert!(is_failed(&own));
}

/// Where a fault can end an exchange, and what it is told as.
#[test]
fn every_fault_has_a_phase_and_a_way() {
    let mut told = String::new();
    for fault in Fault::ALL {
        let exchange = failed(model::Phase::AwaitHead, *fault);
        let evidence = evidence(&exchange);
        assert_eq!(evidence.len(), 1, "{fault}");
        let field = |name| evidence[0].get(name).unwrap_or("-").to_owned();
        told.push_str(&format!("{fault} {} {}\n", field("phase"), field("how")));
    }
    assert_eq!(
        told,
        "request-malformed client invalid-request\nrequest-head-too-large client header-too-big-request\n\
         request-target-too-long client header-too-big-request\nrequest-body-too-large client body-too-large\n\
         request-not-implemented client invalid-request\nrequest-length-required client body-too-large\n\
         request-version-unsupported client invalid-request\nexpectation-unknown client invalid-request\n\
         misdirected client invalid-request\nclient-head-timeout client timeout\nclient-body-timeout client timeout\n\
         client-tls-failed client handshake\nclient-flood client invalid-request\nclient-gone client aborted\n\
         client-send-timeout client timeout\nnot-configured select other\nno-route select other\n\
         method-not-allowed select other\nunauthenticated select other\nforbidden select other\n\
         overloaded head overflow\ndraining select disabled\nqueue-full select overflow\nqueue-timeout select timeout\n\
         no-target select no-live\ninternal head other\n\
         limit-exceeded select overflow\n\
         ai-request-malformed client invalid-request\nmodel-unknown select other\n\
         upstream-credentials head other\nprovider-failed head other\nprovider-overloaded head other\n\
         provider-rate-limited head other\nprovider-unreadable head other\nstream-unfinished body truncated\n\
         lanes-resting select no-live\ndns-failed resolve timeout\nconnect-refused connect refused\n\
         connect-timeout connect timeout\nconnect-failed connect other\ntls-failed tls handshake\ntls-timeout tls timeout\n\
         send-timeout send timeout\nsend-failed send other\nawait-head-timeout head timeout\nearly-close head closed\n\
         reset head reset\nstream-refused head goaway\nresponse-malformed head invalid-header\n\
         response-head-too-large head header-too-big\nbody-truncated body truncated\nbody-reset body reset\n\
         body-malformed body invalid-chunk\nbody-idle-timeout body timeout\ntotal-timeout head timeout\n"
    );
}

#[test]
fn what_else_is_known_of_an_attempt_tells_more_than_its_fault() {
    #[track_caller]
    fn how(fault: Fault, change: impl FnOnce(&mut Attempt), expected: &str) {
        let mut exchange = failed(model::Phase::Connect, fault);
        change(&mut exchange.attempts[0]);
        assert_eq!(evidence(&exchange)[0].get("how"), Some(expected), "{fault}");
    }
    for (fault, number, expected) in [
        (Fault::ConnectRefused, 111, "refused"),
        (Fault::ConnectRefused, 2, "no-file"),
        (Fault::ConnectFailed, 113, "unreachable-host"),
        (Fault::ConnectFailed, 101, "unreachable-network"),
        (Fault::ConnectFailed, 13, "permission"),
        (Fault::ConnectFailed, 104, "reset"),
        (Fault::Overloaded, 24, "no-descriptors"),
        (Fault::Overloaded, 23, "no-descriptors"),
        (Fault::Overloaded, 99, "no-ports"),
        (Fault::Overloaded, 11, "overflow"),
        (Fault::SendFailed, 32, "broken-pipe"),
    ] {
        how(fault, |attempt| attempt.errno = Some(number), expected);
    }
    for (fault, detail, expected) in [
        (Fault::DnsFailed, "DNS error: no records found for Query { name: Name(\"app.\") }", "not-found"),
        (Fault::DnsFailed, "DNS error: error response: Server Failure", "server-failed"),
        (Fault::DnsFailed, "no answer from the name servers", "timeout"),
        (Fault::TlsFailed, "received corrupt message of type InvalidContentType", "wrong-version"),
        (Fault::TlsFailed, "invalid peer certificate: UnknownIssuer", "verify"),
        (
            Fault::TlsFailed,
            "invalid peer certificate: certificate expired: verification time 9 (UNIX), but certificate is not valid after 8 (1 \
             seconds ago)",
            "expired",
        ),
        (
            Fault::TlsFailed,
            "invalid peer certificate: certificate not valid for name \"a\"; certificate is only valid for b",
            "name-mismatch",
        ),
        (Fault::TlsFailed, "received fatal alert: HandshakeFailure", "handshake"),
        (
            Fault::ResponseMalformed,
            "a response must begin with HTTP/ and a version (RFC 9112 4); first bytes: \"x\"",
            "not-http",
        ),
        (
            Fault::ResponseMalformed,
            "repeated Content-Length fields must be equal (RFC 9112 6.3)",
            "duplicate-length",
        ),
        (
            Fault::ResponseMalformed,
            "Content-Length and Transfer-Encoding exclude each other (RFC 9112 6.1)",
            "length-and-chunked",
        ),
        (
            Fault::ResponseMalformed,
            "Content-Length must be one decimal number (RFC 9110 8.6)",
            "invalid-length",
        ),
    ] {
        how(fault, |attempt| attempt.detail = Some(detail.into()), expected);
    }
    how(Fault::TlsFailed, |attempt| attempt.tls_alert = Some(112), "unknown-name");
    how(Fault::TlsFailed, |attempt| attempt.peer_end = Some(PeerEnd::Fin), "closed");
    how(Fault::EarlyClose, |attempt| attempt.bytes_received = 12, "truncated");
}

#[test]
fn limits_and_addresses_are_written_as_rules_compare_them() {
    let mut slow = failed(model::Phase::AwaitHead, Fault::AwaitHeadTimeout);
    let attempt = &mut slow.attempts[0];
    attempt.limit = Some(Limit::Time { name: LimitName::AwaitHead, max: Duration::from_secs(60) });
    assert_eq!(evidence(&slow)[0].get("limit"), Some("60"));
    for (target, address) in [
        ("unix:/run/app.sock", "unix:/run/app.sock"),
        ("uwsgi://127.0.0.1:3031", "127.0.0.1:3031"),
        ("uwsgi:///run/app.sock", "unix:/run/app.sock"),
        ("https://app.example/base", "app.example:443"),
        ("http://[::1]:8000", "[::1]:8000"),
    ] {
        slow.attempts[0].target = target.into();
        slow.attempts[0].address = None;
        assert_eq!(evidence(&slow)[0].get("upstream"), Some(address));
    }
}

#[test]
fn traffic_is_counted_and_what_was_read_is_said() {
    assert_eq!(traffic(&[]), []);
    let told = traffic(&[failed(model::Phase::AwaitHead, Fault::Reset), exchange(None)]);
    assert_eq!(
        told[0].to_string(),
        "traffic proxy=clearway requests=2 failed=1 from=2025-11-23T07:06:57.120Z to=2025-11-23T07:06:57.120Z median=0.009 \
         p95=0.009 last-good=2025-11-23T07:06:57.120Z last-failed=2025-11-23T07:06:57.120Z \
         source=\"clearway record\" at=\"clearway calls\" text=\"2 requests, 1 of them failed\""
    );
    assert_eq!(told[1].get("what"), Some("proxy-log"));
}

#[test]
fn every_field_is_a_declared_one() {
    let declared =
        |kind: &str| crate::kinds().find(|known| known.name == kind).expect("a declared kind").fields;
    let mut own = failed(model::Phase::AwaitHead, Fault::Reset);
    own.attempts[0].status = Some(500);
    for found in evidence(&own).iter().chain(&traffic(&[own.clone()])) {
        for (name, _) in &found.fields {
            assert!(declared(&found.kind).iter().any(|field| field.name == name), "{} {name}", found.kind);
        }
    }
}
