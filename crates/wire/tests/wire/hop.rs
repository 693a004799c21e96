//! What is not forwarded.

use wire::{
    Fields, drop_testimony, drop_underscore_names, filter_trailers, strip_hop_by_hop,
    strip_hop_by_hop_but_upgrade,
};

fn fields(lines: &str) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in lines.split('|').filter_map(|line| line.split_once(": ")) {
        fields.push(name.as_bytes(), value.as_bytes());
    }
    fields
}

fn text(fields: &Fields) -> String {
    let line =
        |field: wire::Field<'_>| format!("{}: {}", field.name.escape_ascii(), field.value.escape_ascii());
    fields.iter().map(line).collect::<Vec<_>>().join("|")
}

#[test]
fn fields_of_one_connection_are_dropped() {
    for (lines, expect) in [
        ("Host: a|Connection: keep-alive|Accept: b", "Host: a|Accept: b"),
        ("Host: a|Accept: b", "Host: a|Accept: b"),
        (
            "Keep-Alive: 5|Proxy-Connection: x|TE: gzip|Transfer-Encoding: chunked|Upgrade: h2c|HTTP2-Settings: x|A: b",
            "A: b",
        ),
        (
            "Proxy-Authorization: x|Proxy-Authenticate: y|Proxy-Authentication-Info: z|Trailer: T",
            "Trailer: T",
        ),
        ("Connection: close, x-a ,,X-B|X-A: 1|x-b: 2|X-C: 3|x-a: 4", "X-C: 3"),
        ("Connection: x-a|Connection: x-b|X-A: 1|X-B: 2|X-C: 3", "X-C: 3"),
        ("X-A: 1|Connection: X-A", ""),
        // Named, but protected.
        (
            "Connection: Host, Content-Length, Authorization, Cookie|Host: a|Content-Length: 5|Authorization: x|Cookie: y",
            "Host: a|Content-Length: 5|Authorization: x|Cookie: y",
        ),
        (
            "Connection: x-forwarded-for, X-Real-IP, forwarded, x-request-id, traceparent, x-api-key|X-Forwarded-For: 1|X-Real-Ip: 2|\
          Forwarded: for=3|X-Request-Id: 4|traceparent: 5|X-Api-Key: 6",
            "X-Forwarded-For: 1|X-Real-Ip: 2|Forwarded: for=3|X-Request-Id: 4|traceparent: 5|X-Api-Key: 6",
        ),
        (
            "Connection: X-Forwarded-Ssl, client-cert|X-Forwarded-Ssl: on|Client-Cert: c",
            "X-Forwarded-Ssl: on|Client-Cert: c",
        ),
        ("Connection: accept|Accept: b|C: d", "C: d"),
    ] {
        let mut fields = fields(lines);
        let hop = strip_hop_by_hop(&mut fields);
        assert_eq!(text(&fields), expect, "{lines}");
        assert!(!hop.te_trailers);
    }
    let mut fields = fields("TE: gzip;q=1, Trailers|A: b");
    assert!(strip_hop_by_hop(&mut fields).te_trailers);
    assert_eq!(text(&fields), "A: b");
}

#[test]
fn an_upgrade_is_kept_where_it_is_wanted() {
    let mut fields =
        fields("Connection: Upgrade, X-A, keep-alive|Upgrade: websocket|X-A: 1|Sec-WebSocket-Key: k");
    strip_hop_by_hop_but_upgrade(&mut fields);
    assert_eq!(text(&fields), "Upgrade: websocket|Sec-WebSocket-Key: k|Connection: upgrade");
}

#[test]
fn testimony_is_dropped_whatever_its_name() {
    // What proxies add to the family of X-Forwarded-For, and what others say instead of it.
    let testimony = [
        "CF-Connecting-IP",
        "Client-Cert",
        "Client-IP",
        "Forwarded",
        "Front-End-Https",
        "True-Client-IP",
        "X-Client-Cert",
        "X-Client-IP",
        "X-Envoy-External-Address",
        "X-Forwarded",
        "X-Forwarded-Client-Cert",
        "X-Forwarded-For",
        "X-Forwarded-Port",
        "X-Forwarded-Prefix",
        "X-Forwarded-Protocol",
        "X-Forwarded-Scheme",
        "X-Forwarded-Ssl",
        "X-Forwarded-User",
        "X-Forwarded-",
        "X-Original-URL",
        "X-Real-IP",
        "X-Rewrite-URL",
    ];
    for name in testimony {
        for name in [name.to_owned(), name.to_lowercase(), name.to_uppercase()] {
            let mut fields = fields(&format!("Accept: a|{name}: x|X-B: b"));
            drop_testimony(&mut fields);
            assert_eq!(text(&fields), "Accept: a|X-B: b", "{name}");
        }
    }
    let others = "X-Forwardedness: 1|X-Forwarde: 2|X-Original-Filename: 3|Via: 4|Host: a|X: 5";
    let mut fields = fields(others);
    drop_testimony(&mut fields);
    assert_eq!(text(&fields), others);
}

#[test]
fn trailers_are_those_that_change_nothing() {
    let mut trailers = fields(
        "grpc-status: 0|grpc-message: m|grpc-status-details-bin: d|x-own: 1|ETag: e|content-length: 5|set-cookie: a|\
         authorization: b|x-forwarded-for: 1|x-forwarded-ssl: on|x_y: 2|cache-control: c|te: t",
    );
    filter_trailers(&mut trailers);
    assert_eq!(text(&trailers), "grpc-status: 0|grpc-message: m|grpc-status-details-bin: d|x-own: 1|ETag: e");
}

#[test]
fn names_with_underscores_are_dropped() {
    let mut fields = fields("X_Forwarded_For: 1|X-Ok: 2|_: 3|Content_Length: 4|a: b_c");
    assert_eq!(drop_underscore_names(&mut fields), 3);
    assert_eq!(text(&fields), "X-Ok: 2|a: b_c");
    assert_eq!(drop_underscore_names(&mut fields), 0);
    fields.push(b"y_z", b"");
    assert_eq!(drop_underscore_names(&mut fields), 1);

    let (_, mut head) =
        crate::request::parse(b"GET / HTTP/1.1\r\nHost: a\r\nTransfer_Encoding:chunked\r\nA_B: c\r\n\r\n");
    assert_eq!(drop_underscore_names(&mut head.fields), 2);
    assert_eq!(text(&head.fields), "Host: a");
}
