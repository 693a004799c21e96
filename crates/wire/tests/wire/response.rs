//! Response heads: what is understood, what is refused and by which rule.

use model::{Fault, Method};
use wire::ResponseError::*;
use wire::{
    Framing, HeadLimits, LineError, ResponseError, ResponseFacts, ResponseHead, Version, parse_response,
};

pub(crate) const LIMITS: HeadLimits = HeadLimits { head_bytes: 64 * 1024, fields: 256, target_bytes: 0 };

pub(crate) type Parsed = Result<Option<(usize, ResponseFacts)>, ResponseError>;

pub(crate) fn parse(bytes: &[u8], method: &Method) -> (Parsed, ResponseHead) {
    let mut head = ResponseHead::default();
    (parse_response(bytes, &LIMITS, method, &mut head), head)
}

#[test]
fn a_usual_response() {
    let bytes = b"HTTP/1.1 200 Very fine\r\ncontent-length:5\r\nSet-Cookie: a=b\r\nx:\t1\t2 \r\n\r\nhello";
    let (result, head) = parse(bytes, &Method::Get);
    let (consumed, facts) = result.unwrap().unwrap();
    assert_eq!(&bytes[consumed..], b"hello");
    let expect =
        ResponseFacts { framing: Framing::Length(5), keep_alive: true, informational: false, upgrade: false };
    assert_eq!(facts, expect);
    assert_eq!(
        (head.status, head.version, head.reason.as_slice()),
        (200, Version::Http11, &b"Very fine"[..])
    );
    let mut out = Vec::new();
    wire::encode_response_head(&mut out, head.version, head.status, &head.reason, &head.fields);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "HTTP/1.1 200 Very fine\r\ncontent-length: 5\r\nSet-Cookie: a=b\r\nx: 1\t2\r\n\r\n"
    );
    let mut out = Vec::new();
    wire::encode_response_head(&mut out, Version::Http10, 404, b"", &wire::Fields::new());
    assert_eq!(out, b"HTTP/1.0 404 Not Found\r\n\r\n");
}

pub(crate) fn check_refused(bytes: &[u8], expect: ResponseError) {
    let (result, head) = parse(bytes, &Method::Get);
    assert_eq!(result, Err(expect), "{}", bytes.escape_ascii());
    assert!(head.fields.is_empty());
    for end in 0..bytes.len() {
        let part = parse(&bytes[..end], &Method::Get).0;
        assert!(part == Ok(None) || part == Err(expect), "{part:?} after {}", bytes[..end].escape_ascii());
    }
    assert!(matches!(expect.fault(), Fault::ResponseMalformed | Fault::ResponseHeadTooLarge));
    assert!(expect.rule().len() > 10);
}

#[test]
fn broken_responses() {
    for (message, expect) in [
        ("<html>", NotHttp),
        ("HTTP 200 OK\r\n\r\n", NotHttp),
        ("http/1.1 200 OK\r\n\r\n", NotHttp),
        ("HTTP/1.1\r\n\r\n", StatusLineInvalid),
        ("\r\nHTTP/1.1 200 OK\r\n\r\n", NotHttp),
        ("ICY 200 OK\r\n\r\n", NotHttp),
        ("HTTP/x.1 200 OK\r\n\r\n", NotHttp),
        ("HTTP/2.0 200 OK\r\n\r\n", VersionUnsupported),
        ("HTTP/0.9 200 OK\r\n\r\n", VersionUnsupported),
        ("HTTP/1.1  200 OK\r\n\r\n", StatusLineInvalid),
        ("HTTP/1.1\t200 OK\r\n\r\n", StatusLineInvalid),
        ("HTTP/1.1 20 OK\r\n\r\n", StatusLineInvalid),
        ("HTTP/1.1 2000 OK\r\n\r\n", StatusLineInvalid),
        ("HTTP/1.1 200OK\r\n\r\n", StatusLineInvalid),
        ("HTTP/1.1 +20 OK\r\n\r\n", StatusLineInvalid),
        ("HTTP/1.1 200\tOK\r\n\r\n", StatusLineInvalid),
        ("HTTP/1.1 099 OK\r\n\r\n", StatusInvalid),
        ("HTTP/1.1 000 OK\r\n\r\n", StatusInvalid),
        ("HTTP/1.1 600 OK\r\n\r\n", StatusInvalid),
        ("HTTP/1.1 999 OK\r\n\r\n", StatusInvalid),
        ("HTTP/1.1 200 O\0K\r\n\r\n", StatusLineInvalid),
        ("HTTP/1.1 200 O\x1bK\r\n\r\n", StatusLineInvalid),
        ("HTTP/1.1 200 OK\n\n", Line(LineError::BareLf)),
        ("HTTP/1.1 200\n\n", Line(LineError::BareLf)),
        ("HTTP/1.1 200 OK\rX: y\r\n\r\n", Line(LineError::BareCr)),
    ] {
        check_refused(message.as_bytes(), expect);
    }
    for (lines, expect) in [
        ("Content-Length: 5\r\nContent-Length: 6", ContentLengthDiffers),
        ("Content-Length: 5, 5", ContentLengthInvalid),
        ("Content-Length: 5\r\nContent-Length: x", ContentLengthInvalid),
        ("Content-Length: -1", ContentLengthInvalid),
        ("Content-Length:", ContentLengthInvalid),
        ("Content-Length: 99999999999999999999", ContentLengthInvalid),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", ContentLengthWithTransferEncoding),
        ("Transfer-Encoding: identity", TransferCodingUnknown),
        ("Transfer-Encoding: gzip, chunked", TransferCodingUnknown),
        ("Transfer-Encoding: chunked, chunked", TransferEncodingInvalid),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", TransferEncodingInvalid),
        ("Transfer-Encoding: chunked, gzip", TransferEncodingInvalid),
        ("X: y\r\n z", Line(LineError::ObsFold)),
        ("X : y", Line(LineError::WhitespaceInName)),
        ("X", Line(LineError::ColonMissing)),
        ("X: a\0b", Line(LineError::Nul)),
        ("X: a\nY: b", Line(LineError::BareLf)),
        ("X: a\rY: b", Line(LineError::BareCr)),
        ("X\u{e9}: a", Line(LineError::NameInvalid)),
    ] {
        check_refused(format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n").as_bytes(), expect);
    }
    check_refused(b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", TransferEncodingInHttp10);
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(257));
    check_refused(many.as_bytes(), Line(LineError::TooManyFields));
    let large = format!("HTTP/1.1 200 OK\r\nA: {}", "b".repeat(LIMITS.head_bytes));
    assert_eq!(parse(large.as_bytes(), &Method::Get).0, Err(HeadTooLarge));
}

#[test]
fn where_the_body_ends() {
    use Framing::{Chunked, Close, Length};
    let none = Framing::None;
    for (method, head, framing, keep_alive) in [
        (Method::Get, "1.1 200 OK|Content-Length: 0", Length(0), true),
        (Method::Get, "1.1 200 |Content-Length: 5", Length(5), true),
        (Method::Get, "1.1 200|Content-Length: 5", Length(5), true),
        (Method::Get, "1.2 200 OK|Content-Length: 5", Length(5), true),
        (Method::Get, "1.1 200 \u{e9}|X: \u{e9}|Content-Length: 5|Content-Length: 5", Length(5), true),
        (Method::Get, "1.1 200 OK|Content-Length: 5|Connection: close", Length(5), false),
        (Method::Get, "1.0 200 OK|Content-Length: 5", Length(5), false),
        (Method::Get, "1.0 200 OK|Content-Length: 5|Connection: Keep-Alive", Length(5), true),
        (Method::Get, "1.1 200 OK", Close, false),
        (Method::Get, "1.1 200 OK|Connection: keep-alive", Close, false),
        (Method::Get, "1.1 200 OK|Transfer-Encoding: Chunked", Chunked, true),
        (Method::Post, "1.1 503 Busy|Transfer-Encoding: chunked|Connection: x, close", Chunked, false),
        (Method::Head, "1.1 200 OK|Content-Length: 5", none, true),
        (Method::Head, "1.1 200 OK|Transfer-Encoding: chunked", none, true),
        (Method::Head, "1.1 200 OK", none, true),
        (Method::Get, "1.1 304 Not Modified|Content-Length: 5", none, true),
        (Method::Get, "1.1 204 No Content", none, true),
        (Method::Get, "1.1 204 No Content|Content-Length: 0", none, true),
        // The length of a 204 announces bytes that must not be taken for the next response.
        (Method::Get, "1.1 204 No Content|Content-Length: 5", none, false),
        (Method::Get, "1.1 204 No Content|Transfer-Encoding: chunked", none, false),
        (Method::Get, "1.1 205 Reset Content|Content-Length: 0", Length(0), true),
    ] {
        let message = format!("HTTP/{}\r\n\r\n", head.replace('|', "\r\n"));
        let (result, parsed) = parse(message.as_bytes(), &method);
        let facts = result.unwrap().unwrap().1;
        let expect = ResponseFacts { framing, keep_alive, informational: false, upgrade: false };
        assert_eq!(facts, expect, "{method} {head}");
        assert!(parsed.fields.get_all(wire::Known::ContentLength).count() <= 1);
        assert!(parsed.status != 204 || parsed.fields.is_empty(), "nothing that frames may be forwarded");
    }
}

#[test]
fn heads_that_are_not_the_last() {
    for (method, head, informational, upgrade) in [
        (Method::Get, "100 Continue", true, false),
        (Method::Get, "103 Early Hints|Link: </a>|Content-Length: 5", true, false),
        (Method::Get, "199 X", true, false),
        (Method::Get, "101 Switching Protocols|Connection: upgrade|Upgrade: websocket", false, true),
        (Method::Connect, "200 OK|Content-Length: 5", false, true),
        (Method::Connect, "204 OK", false, true),
    ] {
        let message = format!("HTTP/1.1 {}\r\n\r\n", head.replace('|', "\r\n"));
        let facts = parse(message.as_bytes(), &method).0.unwrap().unwrap().1;
        let expect =
            ResponseFacts { framing: Framing::None, keep_alive: informational, informational, upgrade };
        assert_eq!(facts, expect, "{method} {head}");
    }
    let refused = parse(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\n", &Method::Connect).0;
    assert_eq!(refused.unwrap().unwrap().1.framing, Framing::Length(5));
}
