//! Nanoseconds per head of a usual size, with reused structures: `cargo bench -p wire`. Not a test; compare runs on one machine only.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints, and a broken message must stop it"
)]

use std::hint::black_box;
use std::time::Instant;

use model::Method;
use wire::{
    BodyDecoder, Framing, HeadLimits, Known, RequestHead, ResponseHead, Version, encode_request_head,
    encode_response_head, parse_request, parse_response, strip_hop_by_hop,
};

const LIMITS: HeadLimits = HeadLimits { head_bytes: 64 * 1024, fields: 100, target_bytes: 8 * 1024 };

const REQUEST: &[u8] = b"POST /v1/projects/42/items?limit=10&sort=name HTTP/1.1\r\nHost: api.example.com\r\n\
    User-Agent: python-requests/2.32.3\r\nAccept-Encoding: gzip, deflate\r\nAccept: */*\r\nConnection: keep-alive\r\n\
    Content-Type: application/json\r\nAuthorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl\r\n\
    Content-Length: 42\r\n\r\n";

const LOWER_CASE: &[u8] = b"GET /v1/items HTTP/1.1\r\nhost: api.example.com\r\naccept: */*\r\naccept-encoding: gzip, deflate\r\n\
    connection: keep-alive\r\nuser-agent: python-httpx/0.28.1\r\nx-tenant: blue\r\nx-request-id: 0190f5fe\r\ncookie: a=b\r\n\r\n";

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: gunicorn\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nConnection: keep-alive\r\n\
    Content-Type: application/json\r\nContent-Length: 1234\r\nX-Request-Id: 0190f5fe-aaaa\r\n\r\n";

const CHUNKED: &[u8] = b"80\r\n0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\
    0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\r\n0\r\n\r\n";

fn time(name: &str, mut work: impl FnMut()) {
    const ROUNDS: u32 = 200_000;
    let mut best = f64::INFINITY;
    for _ in 0..7 {
        let start = Instant::now();
        (0..ROUNDS).for_each(|_| work());
        best = best.min(start.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS));
    }
    println!("{name:<44}{best:>8.0} ns");
}

fn main() {
    let mut head = RequestHead::default();
    for (name, bytes) in [("request of a script", REQUEST), ("request in lower case", LOWER_CASE)] {
        time(&format!("parse {name} ({} bytes)", bytes.len()), || {
            black_box(parse_request(black_box(bytes), &LIMITS, &mut head).unwrap());
        });
    }
    parse_request(REQUEST, &LIMITS, &mut head).unwrap();
    let mut out = Vec::new();
    time("encode request", || {
        out.clear();
        encode_request_head(&mut out, &head.method, head.target.path_and_query(), black_box(&head.fields));
        black_box(&out);
    });
    let mut path = head.clone();
    time("parse, strip, add four fields, encode", || {
        parse_request(black_box(REQUEST), &LIMITS, &mut path).unwrap();
        strip_hop_by_hop(&mut path.fields);
        wire::drop_underscore_names(&mut path.fields);
        path.fields.set(Known::XForwardedFor, b"192.0.2.7");
        path.fields.set(Known::XForwardedProto, b"https");
        path.fields.set(Known::XForwardedHost, b"api.example.com");
        path.fields.set(Known::XRequestId, b"0190f5feaaaabbbbccccddddeeeeffff");
        out.clear();
        encode_request_head(&mut out, &path.method, path.target.path_and_query(), &path.fields);
        black_box(&out);
    });
    let mut response = ResponseHead::default();
    time(&format!("parse response ({} bytes)", RESPONSE.len()), || {
        black_box(parse_response(black_box(RESPONSE), &LIMITS, &Method::Get, &mut response).unwrap());
    });
    time("encode response", || {
        out.clear();
        encode_response_head(&mut out, Version::Http11, 200, &response.reason, black_box(&response.fields));
        black_box(&out);
    });
    let mut decoder = BodyDecoder::default();
    time("decode a chunk of 128 bytes and the end", || {
        decoder.reset(Framing::Chunked);
        let mut input = black_box(CHUNKED);
        while !decoder.is_done() {
            let step = decoder.decode(input).unwrap();
            input = input.split_at(step.consumed).1;
        }
    });
    let mut headers = [httparse::EMPTY_HEADER; 100];
    time("for comparison: httparse, request of a script", || {
        let mut request = httparse::Request::new(&mut headers);
        black_box(request.parse(black_box(REQUEST)).unwrap());
    });
}
