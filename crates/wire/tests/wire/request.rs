//! Request heads: what is understood, what is refused and by which rule.

use model::{Fault, Method};
use wire::RequestError::*;
use wire::{
    Framing, H2_PREFACE, HeadLimits, LineError, RequestError, RequestFacts, RequestHead, Version,
    parse_request,
};

pub(crate) const LIMITS: HeadLimits =
    HeadLimits { head_bytes: 32 * 1024, fields: 100, target_bytes: 8 * 1024 };

pub(crate) type Parsed = Result<Option<(usize, RequestFacts)>, RequestError>;

pub(crate) fn parse(bytes: &[u8]) -> (Parsed, RequestHead) {
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
fn what_a_broken_head_leaves_behind() {
    let (result, head) = parse(b"GET /x HTTP/1.1\r\nHost : a\r\n\r\n");
    assert_eq!(result, Err(Line(LineError::WhitespaceInName)));
    assert_eq!((head.target.path(), head.fields.len()), ("/x", 0), "the record wants the path");
    let (result, head) = parse(b"PUT /y HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    assert_eq!(result, Err(HostRepeated));
    assert_eq!((&head.method, head.target.path(), head.fields.len()), (&Method::Put, "/y", 0));
}

/// Checks a whole message, and that no shorter part of it is judged in another way.
pub(crate) fn check_refused(bytes: &[u8], expect: RequestError) {
    let (result, head) = parse(bytes);
    assert_eq!(result, Err(expect), "{}", bytes.escape_ascii());
    assert!(head.fields.is_empty());
    for end in 0..bytes.len() {
        let part = parse(&bytes[..end]).0;
        assert!(part == Ok(None) || part == Err(expect), "{part:?} after {}", bytes[..end].escape_ascii());
    }
    assert!(matches!(expect.fault().status(), 400 | 414 | 417 | 431 | 501 | 505));
    assert!(expect.rule().len() > 10);
}

/// `GET / HTTP/1.1` with a Host and these lines.
fn with_lines(lines: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n").into_bytes()
}

/// `GET target HTTP/1.1` with a Host.
fn with_target(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()
}

#[test]
fn broken_lines() {
    use LineError::*;
    for (lines, expect) in [
        ("a: b\nc: d", BareLf),
        ("a: b\n", BareLf),
        ("a\n: b", BareLf),
        ("\na: b", BareLf),
        ("a: b\rc: d", BareCr),
        ("a: b\r\rc: d", BareCr),
        ("a\r: b", BareCr),
        ("a:\r b", BareCr),
        ("\ra: b", BareCr),
        ("a: b\r\n c", ObsFold),
        ("a: b\r\n\tc", ObsFold),
        (" a: b", ObsFold),
        ("a: b\0c", Nul),
        ("a\0: b", Nul),
        ("a : b", WhitespaceInName),
        ("a\t: b", WhitespaceInName),
        ("a b: c", WhitespaceInName),
        (": b", NameEmpty),
        (":", NameEmpty),
        ("a", ColonMissing),
        ("a\r\nb: c", ColonMissing),
        ("a: \x01b", ControlInValue),
        ("a: b\x7f", ControlInValue),
        ("a: b\x0b", ControlInValue),
        ("a: \x08", ControlInValue),
        ("a(b): c", NameInvalid),
        ("a\u{e9}: b", NameInvalid),
        ("\"a\": b", NameInvalid),
        ("\x01a: b", NameInvalid),
        ("Transfer-Encoding\x0b: chunked", NameInvalid),
        ("Content-Length\u{a0}: 5", NameInvalid),
        ("Transfer-Encoding : chunked", WhitespaceInName),
        ("Transfer-Encoding: \x0bchunked", ControlInValue),
        ("X: y\r\n\r", BareCr),
    ] {
        check_refused(&with_lines(lines), Line(expect));
    }
    let many = "a: b\r\n".repeat(99);
    assert!(parse(&with_lines(many.trim_end())).0.unwrap().is_some(), "100 fields are allowed");
    check_refused(&with_lines(&"a: b\r\n".repeat(100)), Line(TooManyFields));
    assert_eq!(Line(TooManyFields).fault(), Fault::RequestHeadTooLarge);
}

#[test]
fn ambiguous_bodies() {
    for (lines, expect) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", ContentLengthWithTransferEncoding),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0", ContentLengthWithTransferEncoding),
        ("Transfer-Encoding: gzip\r\nContent-Length: 5", ContentLengthWithTransferEncoding),
        ("Content-Length: 5\r\nContent-Length: 6", ContentLengthRepeated),
        ("Content-Length: 5\r\ncontent-length: 5", ContentLengthRepeated),
        ("Content-Length: 5, 5", ContentLengthInvalid),
        ("Content-Length: 5,5", ContentLengthInvalid),
        ("Content-Length: +5", ContentLengthInvalid),
        ("Content-Length: -5", ContentLengthInvalid),
        ("Content-Length: 0x5", ContentLengthInvalid),
        ("Content-Length: 5 5", ContentLengthInvalid),
        ("Content-Length: 5_0", ContentLengthInvalid),
        ("Content-Length: 5.0", ContentLengthInvalid),
        ("Content-Length: 5e1", ContentLengthInvalid),
        ("Content-Length: \"5\"", ContentLengthInvalid),
        ("Content-Length: \u{663}", ContentLengthInvalid),
        ("Content-Length:", ContentLengthInvalid),
        ("Content-Length: 18446744073709551616", ContentLengthInvalid),
        ("Content-Length: 18446744073709551615", ContentLengthInvalid),
        ("Content-Length: 9223372036854775808", ContentLengthInvalid),
        ("Content-Length: 000000000000000000005", ContentLengthInvalid),
        ("Transfer-Encoding: gzip", TransferCodingUnknown),
        ("Transfer-Encoding: gzip, chunked", TransferCodingUnknown),
        ("Transfer-Encoding: identity", TransferCodingUnknown),
        ("Transfer-Encoding: xchunked", TransferCodingUnknown),
        ("Transfer-Encoding: chunked, chunked", TransferEncodingInvalid),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", TransferEncodingInvalid),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", TransferEncodingInvalid),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", TransferEncodingInvalid),
        ("Transfer-Encoding: chunked, gzip", TransferEncodingInvalid),
        ("Transfer-Encoding: ,chunked", TransferEncodingInvalid),
        ("Transfer-Encoding: chunked,", TransferEncodingInvalid),
        ("Transfer-Encoding: chunked;q=1", TransferEncodingInvalid),
        ("Transfer-Encoding: \"chunked\"", TransferEncodingInvalid),
        ("Transfer-Encoding: chunked chunked", TransferEncodingInvalid),
        ("Transfer-Encoding: chun\tked", TransferEncodingInvalid),
        ("Transfer-Encoding: chunked\u{a0}", TransferEncodingInvalid),
        ("Transfer-Encoding:", TransferEncodingInvalid),
    ] {
        check_refused(&with_lines(lines), expect);
    }
    check_refused(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", TransferEncodingInHttp10);
    assert_eq!(TransferCodingUnknown.fault(), Fault::RequestNotImplemented);
}

#[test]
fn wrong_targets_and_hosts() {
    for (target, expect) in [
        ("/a b", RequestLineInvalid),
        ("", RequestLineInvalid),
        ("/a\tb", TargetInvalid),
        ("/a\0b", TargetInvalid),
        ("/a\x7f", TargetInvalid),
        ("/a#b", TargetInvalid),
        ("/a?b#c", TargetInvalid),
        ("/\u{e9}", TargetInvalid),
        ("/?q=\u{e9}", TargetInvalid),
        ("a", TargetInvalid),
        ("?a", TargetInvalid),
        ("*", TargetInvalid),
        ("*?a", TargetInvalid),
        ("a:80", TargetInvalid),
        ("ftp://a/", TargetInvalid),
        ("http:/a/", TargetInvalid),
        ("http:///", TargetInvalid),
        ("http://a:b/", TargetInvalid),
        ("http://b/", HostDisagrees),
        ("http://a:81/", HostDisagrees),
        ("https://a:80/", HostDisagrees),
        ("http://a@a/", UserinfoInAuthority),
        ("http://a:80@a/", UserinfoInAuthority),
        ("/%", PathEscapeInvalid),
        ("/%zz?%zz", PathEscapeInvalid),
        ("/%00", PathControl),
        ("/a%0d%0ab", PathControl),
    ] {
        check_refused(&with_target(target), expect);
    }
    for (host, expect) in [
        ("", HostMissing),
        ("Host: a\r\nHost: a\r\n", HostRepeated),
        ("Host: a\r\nhOST: b\r\n", HostRepeated),
        ("Host:\r\n", HostInvalid),
        ("Host: a,b\r\n", HostInvalid),
        ("Host: a b\r\n", HostInvalid),
        ("Host: a/b\r\n", HostInvalid),
        ("Host: http://a\r\n", HostInvalid),
        ("Host: a:\r\n", HostInvalid),
        ("Host: a:80:80\r\n", HostInvalid),
        ("Host: a:http\r\n", HostInvalid),
        ("Host: a:65536\r\n", HostInvalid),
        ("Host: [::1\r\n", HostInvalid),
        ("Host: %61\r\n", HostInvalid),
        ("Host: user@a\r\n", UserinfoInAuthority),
    ] {
        check_refused(format!("GET / HTTP/1.1\r\n{host}\r\n").as_bytes(), expect);
    }
    check_refused(b"GET / HTTP/1.0\r\nHost: a b\r\n\r\n", HostInvalid);
    let long = format!("/{}", "a".repeat(LIMITS.target_bytes - 1));
    assert!(parse(&with_target(&long)).0.unwrap().is_some());
    let too_long = with_target(&format!("{long}a"));
    assert_eq!(parse(&too_long).0, Err(TargetTooLong));
    assert_eq!(parse(&too_long[..5 + long.len()]).0, Err(TargetTooLong), "refused before its end");
    assert_eq!(TargetTooLong.fault().status(), 414);
}

#[test]
fn wrong_request_lines() {
    for (message, expect) in [
        ("GET / HTTP/2.0\r\n\r\n", VersionUnsupported),
        ("GET / HTTP/0.9\r\n\r\n", VersionUnsupported),
        ("GET / HTTP/3.1\r\n\r\n", VersionUnsupported),
        ("GET /\r\n\r\n", RequestLineInvalid),
        ("GET /\n\n", RequestLineInvalid),
        ("GET / \r\n\r\n", RequestLineInvalid),
        ("GET / http/1.1\r\n\r\n", RequestLineInvalid),
        ("GET / HTTP/1.10\r\n\r\n", RequestLineInvalid),
        ("GET / HTTP/11\r\n\r\n", RequestLineInvalid),
        ("GET / HTTP/1\r\n\r\n", RequestLineInvalid),
        ("GET / HTTP/1.1 \r\n\r\n", RequestLineInvalid),
        ("GET / HTTP/1.1 HTTP/1.1\r\n\r\n", RequestLineInvalid),
        ("GET / HTTP/1.1\0\r\n\r\n", RequestLineInvalid),
        ("GET /  HTTP/1.1\r\n\r\n", RequestLineInvalid),
        ("GET  / HTTP/1.1\r\n\r\n", RequestLineInvalid),
        ("GET / HTTP/1.1\n\n", Line(LineError::BareLf)),
        ("GET / HTTP/1.1\rHost: a\r\n\r\n", Line(LineError::BareCr)),
        ("GET\t/ HTTP/1.1\r\n\r\n", MethodInvalid),
        (" GET / HTTP/1.1\r\n\r\n", MethodInvalid),
        ("G(T / HTTP/1.1\r\n\r\n", MethodInvalid),
        ("G\0T / HTTP/1.1\r\n\r\n", MethodInvalid),
        ("\u{feff}GET / HTTP/1.1\r\n\r\n", MethodInvalid),
        ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA / HTTP/1.1\r\n\r\n", MethodInvalid),
        ("\x16\x03\x01\x02\0\x01\0", TlsHandshake),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", ConnectNotImplemented),
        ("CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", ConnectNotImplemented),
        ("\nGET / HTTP/1.1\r\n\r\n", Line(LineError::BareLf)),
        ("\rGET / HTTP/1.1\r\n\r\n", Line(LineError::BareCr)),
        ("\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n", EmptyLines),
    ] {
        check_refused(message.as_bytes(), expect);
    }
    check_refused(H2_PREFACE, VersionUnsupported);
    check_refused(&with_lines("Expect: 200-ok"), ExpectationUnknown);
    check_refused(&with_lines("Expect: 100-continue, x"), ExpectationUnknown);
    check_refused(&with_lines(&format!("Connection: {}", "x,".repeat(65))), ConnectionOptionsTooMany);
    assert_eq!(ExpectationUnknown.fault().status(), 417);
    assert_eq!(VersionUnsupported.fault().status(), 505);
}

#[test]
fn a_head_of_the_largest_size_is_read_and_a_larger_one_refused_at_once() {
    let start = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
    let fill = LIMITS.head_bytes - start.len() - 4;
    let largest = format!("{start}{}\r\n\r\n", "x".repeat(fill));
    assert_eq!(parse(largest.as_bytes()).0.unwrap().unwrap().0, LIMITS.head_bytes);
    let larger = format!("{start}{}\r\n\r\n", "x".repeat(fill + 1));
    assert_eq!(parse(larger.as_bytes()).0, Err(HeadTooLarge));
    assert_eq!(parse(&larger.as_bytes()[..LIMITS.head_bytes]).0, Err(HeadTooLarge));
    assert_eq!(parse(&larger.as_bytes()[..LIMITS.head_bytes - 1]).0, Ok(None));
    let long_name = format!("GET / HTTP/1.1\r\n{}", "x".repeat(LIMITS.head_bytes));
    assert_eq!(parse(long_name.as_bytes()).0, Err(HeadTooLarge));
}

#[test]
fn facts_about_body_and_connection() {
    let usual =
        RequestFacts { framing: Framing::None, keep_alive: true, expect_continue: false, upgrade: false };
    let closing = RequestFacts { keep_alive: false, ..usual };
    let upgrading = RequestFacts { upgrade: true, ..usual };
    let chunked = RequestFacts { framing: Framing::Chunked, ..usual };
    let length = |length| RequestFacts { framing: Framing::Length(length), ..usual };
    for (version, lines, expect) in [
        ("1.1", "", usual),
        ("1.1", "Connection: close", closing),
        ("1.1", "Connection: Keep-Alive, CLOSE", closing),
        ("1.1", "Connection: x\r\nConnection: , close ,", closing),
        ("1.1", "Connection: closed", usual),
        ("1.0", "", closing),
        ("1.0", "Connection: Keep-Alive", usual),
        ("1.0", "Connection: keep-alive, close", closing),
        ("1.0", "Proxy-Connection: keep-alive", closing),
        ("1.2", "", usual),
        ("1.9", "", usual),
        ("1.1", "Content-Length: 0", length(0)),
        ("1.1", "Content-Length: 007", length(7)),
        ("1.1", "Content-Length: \t5 ", length(5)),
        ("1.1", "Content-Length: 9223372036854775807", length(i64::MAX as u64)),
        ("1.0", "Connection: keep-alive\r\nContent-Length: 5", length(5)),
        ("1.1", "Transfer-Encoding: chunked", chunked),
        ("1.1", "transfer-encoding:CHUNKED\t", chunked),
        ("1.1", "Expect: 100-continue", usual),
        ("1.1", "Expect: 100-Continue\r\nContent-Length: 0", length(0)),
        (
            "1.1",
            "Expect: 100-Continue\r\nContent-Length: 5",
            RequestFacts { expect_continue: true, ..length(5) },
        ),
        (
            "1.1",
            "Expect: 100-continue\r\nTransfer-Encoding: chunked",
            RequestFacts { expect_continue: true, ..chunked },
        ),
        ("1.0", "Expect: 100-continue\r\nContent-Length: 5", RequestFacts { keep_alive: false, ..length(5) }),
        ("1.1", "Connection: Upgrade\r\nUpgrade: websocket", upgrading),
        ("1.1", "Connection: keep-alive, upgrade\r\nUpgrade: foo/2", upgrading),
        ("1.1", "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 5", length(5)),
        ("1.1", "Connection: upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked", chunked),
        ("1.1", "Upgrade: websocket", usual),
        ("1.1", "Connection: upgrade", usual),
        ("1.1", "Connection: upgrade\r\nUpgrade: ,", usual),
        ("1.0", "Connection: keep-alive, upgrade\r\nUpgrade: websocket", usual),
        ("1.1", "Connection: upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk", usual),
        ("1.1", "Connection: upgrade\r\nUpgrade: websocket, H2C", usual),
        ("1.1", "Connection: upgrade\r\nUpgrade: TLS/1.0, HTTP/1.1", usual),
        ("1.1", "Connection: upgrade\r\nUpgrade: HTTP/2.0", usual),
    ] {
        let lines = if lines.is_empty() { String::new() } else { format!("{lines}\r\n") };
        let message = format!("GET / HTTP/{version}\r\nHost: a\r\n{lines}\r\nrest");
        let facts = parse(message.as_bytes()).0.map(|complete| {
            complete.map(|(consumed, facts)| {
                assert_eq!(consumed, message.len() - 4);
                facts
            })
        });
        assert_eq!(facts, Ok(Some(expect)), "HTTP/{version} {lines:?}");
    }
}

#[test]
fn every_form_of_target() {
    for (message, expect) in [
        ("GET / HTTP/1.0\r\n\r\n", "|/|/|None|"),
        ("GET /a?b?c HTTP/1.1\r\nHost: a\r\n\r\n", "a|/a|/a|Some(\"b?c\")|/a?b?c"),
        ("GET /? HTTP/1.1\r\nHost: a\r\n\r\n", "a|/|/|Some(\"\")|/?"),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "a|*|*|None|*"),
        ("GET http://A.b:80/%7ec/?d HTTP/1.1\r\nHost: a.B\r\n\r\n", "a.b:80|/~c/|/%7ec/|Some(\"d\")|/~c/?d"),
        ("GET HTTPS://a HTTP/1.1\r\nHost: a:443\r\n\r\n", "a|/|/|None|/"),
        ("GET http://a?b=/ HTTP/1.1\r\nHost: a\r\n\r\n", "a|/|/|Some(\"b=/\")|/?b=/"),
        ("OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n", "a|*|*|None|*"),
        ("OPTIONS http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "a|/|/|None|/"),
        ("GET http://a/ HTTP/1.0\r\n\r\n", "a|/|/|None|/"),
        (
            "GET /http://b/ HTTP/1.1\r\nHost: [2001:DB8::1]:8080\r\n\r\n",
            "[2001:db8::1]:8080|/http://b/|/http://b/|None|",
        ),
        ("\r\n\r\nGET //a/./b HTTP/1.1\r\nHost: a.\r\n\r\n", "a.|//a/b|//a/./b|None|//a/b"),
        ("GET /a/./?/../ HTTP/1.1\r\nHost: a\r\n\r\n", "a|/a/|/a/./|Some(\"/../\")|/a/?/../"),
    ] {
        let (result, head) = parse(message.as_bytes());
        assert!(matches!(result, Ok(Some(_))), "{message:?} {result:?}");
        let t = &head.target;
        let text =
            format!("{}|{}|{}|{:?}|{}", t.authority(), t.path(), t.as_sent(), t.query(), t.path_and_query());
        assert!(text.starts_with(expect), "{message:?}\n{text}\n{expect}");
    }
    let (_, head) = parse(b"GET / HTTP/1.1\r\nHost: [2001:DB8::1]:8080\r\n\r\n");
    assert_eq!((head.target.host(), head.target.port()), ("2001:db8::1", Some(8080)));
    let (_, head) = parse(b"GET / HTTP/1.1\r\nHost: a.\r\n\r\n");
    assert_eq!((head.target.authority(), head.target.host()), ("a.", "a"));
}

#[test]
fn requests_that_came_as_http2() {
    let check = |lines: &[(&str, &str)], expect: Result<Framing, RequestError>| {
        let mut head = RequestHead { version: Version::Http2, ..RequestHead::default() };
        let filled = lines
            .iter()
            .try_for_each(|(name, value)| head.fields.push_checked(name.as_bytes(), value.as_bytes()));
        let facts = filled
            .map_err(RequestError::from)
            .and_then(|()| head.set_target(b"/", None))
            .and_then(|()| wire::check_http2_request(&head));
        assert!(!facts.is_ok_and(|facts| facts.upgrade || !facts.keep_alive));
        assert_eq!(facts.map(|facts| facts.framing), expect, "{lines:?}");
    };
    check(&[("host", "a")], Ok(Framing::Chunked));
    check(&[("host", "a"), ("content-length", "5"), ("te", "trailers")], Ok(Framing::Length(5)));
    check(&[("host", "a"), ("expect", "100-continue")], Ok(Framing::Chunked));
    check(&[], Err(HostMissing));
    check(&[("host", "a"), ("content-length", "+5")], Err(ContentLengthInvalid));
    check(&[("host", "a"), ("content-length", "5"), ("content-length", "5")], Err(ContentLengthRepeated));
    check(&[("host", "a"), ("expect", "x")], Err(ExpectationUnknown));
    for (name, value) in [
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("keep-alive", "5"),
        ("proxy-connection", "x"),
        ("te", "gzip"),
        ("te", "trailers, deflate"),
    ] {
        check(&[("host", "a"), (name, value)], Err(ConnectionFieldInHttp2));
    }
    for (name, value, expect) in [
        ("", "a", LineError::NameEmpty),
        (":path", "a", LineError::NameInvalid),
        ("a b", "a", LineError::NameInvalid),
        ("a", "b\r\nc: d", LineError::ControlInValue),
        ("a", "b\0", LineError::ControlInValue),
        ("a", "b\x7f", LineError::ControlInValue),
        ("a", " b", LineError::WhitespaceAroundValue),
        ("a", "b\t", LineError::WhitespaceAroundValue),
    ] {
        check(&[("host", "a"), (name, value)], Err(Line(expect)));
    }
}

#[test]
fn targets_that_did_not_come_as_http1() {
    let check = |method: Method,
                 fields: &[&str],
                 raw: &str,
                 authority: Option<&str>,
                 expect: Result<&str, RequestError>| {
        let mut head = RequestHead { method, version: Version::Http2, ..RequestHead::default() };
        fields.iter().for_each(|host| head.fields.push(b"host", host.as_bytes()));
        let result = head.set_target(raw.as_bytes(), authority.map(str::as_bytes));
        let target = format!("{}{}", head.target.authority(), head.target.path_and_query());
        assert_eq!(result.map(|()| target.as_str()), expect, "{raw} {authority:?} {fields:?}");
    };
    check(Method::Get, &[], "/a/%2e/b?c", Some("EXAMPLE.com:443"), Ok("example.com:443/a/b?c"));
    check(Method::Get, &["a"], "/", None, Ok("a/"));
    check(Method::Get, &["A"], "/", Some("a"), Ok("a/"));
    check(Method::Get, &[], "/", None, Ok("/"));
    check(Method::Options, &[], "*", Some("a"), Ok("a*"));
    check(Method::Get, &["b"], "/", Some("a"), Err(HostDisagrees));
    check(Method::Get, &["a", "a"], "/", Some("a"), Err(HostRepeated));
    check(Method::Get, &[], "*", Some("a"), Err(TargetInvalid));
    check(Method::Get, &[], "", Some("a"), Err(TargetInvalid));
    check(Method::Get, &[], "http://a/", Some("a"), Err(TargetInvalid));
    check(Method::Get, &[], "/a b", Some("a"), Err(TargetInvalid));
    check(Method::Get, &[], "/a\r\nX: y", Some("a"), Err(TargetInvalid));
    check(Method::Get, &[], "/", Some(""), Err(HostInvalid));
    check(Method::Get, &[], "/", Some("u@a"), Err(UserinfoInAuthority));
    check(Method::Connect, &[], "/", Some("a"), Err(ConnectNotImplemented));
}
