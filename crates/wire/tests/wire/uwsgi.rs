//! uwsgi packets and the responses to them.

use model::Method;
use wire::uwsgi::{TooLarge, UwsgiRequest, encode, parse_head};
use wire::{Framing, RequestHead, ResponseError, ResponseHead};

/// The variables of a packet as `NAME=value` lines, after checking its header.
fn variables(packet: &[u8]) -> String {
    let (header, mut rest) = packet.split_at(4);
    assert_eq!((header[0], header[3]), (0, 0), "modifiers");
    assert_eq!(usize::from(u16::from_le_bytes([header[1], header[2]])), rest.len());
    let mut string = || {
        let (length, after) = rest.split_at_checked(2)?;
        let (text, after) = after.split_at(usize::from(u16::from_le_bytes([length[0], length[1]])));
        rest = after;
        Some(text.escape_ascii().to_string())
    };
    let mut lines = Vec::new();
    while let Some(name) = string() {
        lines.push(format!("{name}={}", string().unwrap()));
    }
    lines.join("\n")
}

fn head(bytes: &[u8]) -> RequestHead {
    let (result, head) = crate::request::parse(bytes);
    result.unwrap().unwrap();
    head
}

fn request(head: &RequestHead) -> UwsgiRequest<'_> {
    UwsgiRequest {
        head,
        path: b"/a/b c",
        script_name: b"",
        request_uri: head.target.path_and_query(),
        query: head.target.query().unwrap_or_default(),
        remote: Some("[::ffff:192.0.2.7]:50000".parse().unwrap()),
        server_name: head.target.host(),
        server_port: Some(8080),
        https: false,
        content_length: Some(5),
    }
}

#[test]
fn a_packet_has_the_variables_of_nginx() {
    let head = head(
        b"POST /a%2Fb%20c?q=1 HTTP/1.1\r\nHost: Api.example:8080\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\
          Cookie: a=1\r\nX-Many: 1\r\ncookie: b=2\r\nProxy: evil\r\nx-many: 2\r\n\r\n",
    );
    let mut out = b"kept".to_vec();
    encode(&mut out, &request(&head)).unwrap();
    assert_eq!(
        variables(out.strip_prefix(b"kept").unwrap()),
        "QUERY_STRING=q=1\nREQUEST_METHOD=POST\nCONTENT_TYPE=text/plain\nCONTENT_LENGTH=5\nREQUEST_URI=/a%2Fb%20c?q=1\n\
         SCRIPT_NAME=\nPATH_INFO=/a/b c\nSERVER_PROTOCOL=HTTP/1.1\nREQUEST_SCHEME=http\nREMOTE_ADDR=192.0.2.7\n\
         REMOTE_PORT=50000\nSERVER_NAME=api.example\nSERVER_PORT=8080\nHTTP_HOST=Api.example:8080\n\
         HTTP_COOKIE=a=1; b=2\nHTTP_X_MANY=1, 2"
    );
}

#[test]
fn what_is_unknown_is_empty() {
    let head = head(b"GET / HTTP/1.0\r\n\r\n");
    let mut out = Vec::new();
    let request = UwsgiRequest {
        remote: None,
        server_port: None,
        https: true,
        content_length: None,
        script_name: b"/app",
        ..request(&head)
    };
    encode(&mut out, &request).unwrap();
    assert_eq!(
        variables(&out),
        "QUERY_STRING=\nREQUEST_METHOD=GET\nCONTENT_TYPE=\nCONTENT_LENGTH=\nREQUEST_URI=/\nSCRIPT_NAME=/app\n\
         PATH_INFO=/a/b c\nSERVER_PROTOCOL=HTTP/1.1\nREQUEST_SCHEME=https\nHTTPS=on\nREMOTE_ADDR=\nREMOTE_PORT=\n\
         SERVER_NAME=\nSERVER_PORT="
    );
}

#[test]
fn a_packet_that_does_not_fit_is_not_begun() {
    let mut head = head(b"GET / HTTP/1.0\r\n\r\n");
    for _ in 0..4 {
        head.fields.push(b"X", "v".repeat(16_000).as_bytes());
        head.fields.push(b"Y", b"");
    }
    let mut out = b"kept".to_vec();
    encode(&mut out, &request(&head)).unwrap();
    out.truncate(4);
    head.fields.push(b"X", "v".repeat(1_600).as_bytes());
    assert_eq!(encode(&mut out, &request(&head)), Err(TooLarge));
    assert_eq!(out, b"kept");
    head.fields.push(b"X", "v".repeat(16_000).as_bytes());
    assert_eq!(encode(&mut out, &request(&head)), Err(TooLarge), "one variable alone");
}

#[test]
fn responses_are_http_or_cgi() {
    let check = |message: &str, expect: Result<(u16, &str, Framing), ResponseError>| {
        let mut head = ResponseHead::default();
        for end in 0..=message.len() {
            let parsed =
                parse_head(&message.as_bytes()[..end], &crate::response::LIMITS, &Method::Get, &mut head);
            let part = parsed.map(|complete| complete.map(|(_, facts)| facts));
            if end < message.len() {
                assert!(part == Ok(None) || part.err() == expect.err(), "{part:?} after {end} bytes");
                continue;
            }
            let whole = part.map(|facts| facts.unwrap());
            assert!(whole.is_err() || head.fields.find(b"status").is_none());
            let reason = String::from_utf8(head.reason.clone()).unwrap();
            assert_eq!(
                whole.map(|facts| (head.status, reason.as_str(), facts.framing)),
                expect,
                "{message:?}"
            );
            assert!(!whole.is_ok_and(|facts| message.starts_with('S') && facts.keep_alive));
        }
    };
    check("HTTP/1.1 201 Made\r\nContent-Length: 5\r\n\r\n", Ok((201, "Made", Framing::Length(5))));
    check("HTTP/1.0 200 OK\r\n\r\n", Ok((200, "OK", Framing::Close)));
    check("Status: 404 Not Here\r\nX: y\r\n\r\n", Ok((404, "Not Here", Framing::Close)));
    check("Status: 204\r\n\r\n", Ok((204, "", Framing::None)));
    check("Content-Type: a/b\r\n\r\n", Ok((200, "", Framing::Close)));
    check("Status: 2000\r\n\r\n", Err(ResponseError::StatusInvalid));
    check("Status: 600 X\r\n\r\n", Err(ResponseError::StatusInvalid));
    check("\r\n", Err(ResponseError::NotHttp));
    check("Status: 200\r\nTransfer-Encoding: chunked\r\n\r\n", Err(ResponseError::TransferEncodingInHttp10));
    check("HTTP/2.0 200 OK\r\n\r\n", Err(ResponseError::VersionUnsupported));
}
