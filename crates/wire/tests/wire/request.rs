//! Request heads: what is understood, what is refused and by which rule.

use model::{Fault, Method};
use wire::{Framing, HeadLimits, LineError, RequestError, RequestFacts, RequestHead, Version, parse_request};

pub(crate) const LIMITS: HeadLimits =
    HeadLimits { head_bytes: 32 * 1024, fields: 100, target_bytes: 8 * 1024 };

fn parse(bytes: &[u8]) -> (Result<Option<(usize, RequestFacts)>, RequestError>, RequestHead) {
    let mut head = RequestHead::default();
    (parse_request(bytes, &LIMITS, &mut head), head)
}

#[test]
fn a_usual_request() {
    let bytes = b"POST /a/../v1/items?q=1&r HTTP/1.1\r\nHost: API.example.com:8080\r\naccept:*/*\r\nContent-Length: 5  \r\n\
        X-Empty:\r\nCookie: a=b\r\n\r\nhello";
    let (result, head) = parse(bytes);
    let (consumed, facts) = result.unwrap().unwrap();
    assert_eq!(&bytes[consumed..], b"hello");
    assert_eq!(
        facts,
        RequestFacts {
            framing: Framing::Length(5),
            keep_alive: true,
            expect_continue: false,
            upgrade: false
        }
    );
    assert_eq!((&head.method, head.version), (&Method::Post, Version::Http11));
    let target = &head.target;
    assert_eq!(
        (target.path(), target.as_sent(), target.query()),
        ("/v1/items", "/a/../v1/items", Some("q=1&r"))
    );
    assert_eq!(target.path_and_query(), "/v1/items?q=1&r");
    assert_eq!(target.as_sent_and_query(), "/a/../v1/items?q=1&r");
    assert_eq!(
        (target.authority(), target.host(), target.port()),
        ("api.example.com:8080", "api.example.com", Some(8080))
    );
    assert_eq!(
        format!("{head:?}"),
        "RequestHead { method: Post, version: Http11, target: api.example.com:8080/v1/items?[...], fields: \
         [Host: API.example.com:8080, accept: */*, Content-Length: 5, X-Empty: , Cookie: [3 bytes]] }"
    );
    let mut out = Vec::new();
    wire::encode_request_head(&mut out, &head.method, target.path_and_query(), &head.fields);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "POST /v1/items?q=1&r HTTP/1.1\r\nHost: API.example.com:8080\r\naccept: */*\r\nContent-Length: 5\r\n\
         X-Empty: \r\nCookie: a=b\r\n\r\n"
    );
}

#[test]
fn a_broken_rule_is_named() {
    let (result, head) = parse(b"GET /x HTTP/1.1\r\nHost : a\r\n\r\n");
    assert_eq!(result, Err(RequestError::Line(LineError::WhitespaceInName)));
    assert_eq!(result.unwrap_err().fault(), Fault::RequestMalformed);
    assert_eq!((head.target.path(), head.fields.len()), ("/x", 0));
}
