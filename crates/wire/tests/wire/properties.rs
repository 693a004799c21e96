//! Properties of messages made at random, valid and nearly valid ones.

use proptest::prelude::*;

use crate::invariants;

/// Pieces out of which heads are made: mostly right, some wrong.
fn line() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        "[a-zA-Z][a-zA-Z0-9-]{0,12}",
        "[!-~]{1,4}",
        prop::sample::select(vec![
            "Host",
            "host",
            "Content-Length",
            "Transfer-Encoding",
            "Connection",
            "Expect",
            "Upgrade",
            "TE",
            "Cookie",
            "X_Y",
            "Status",
        ])
        .prop_map(str::to_owned),
    ];
    let value = prop_oneof![
        4 => "[ \t]?[!-~]{0,20}[ \t]{0,2}",
        1 => "[\\x00-\\x20a-z\u{80}-\u{ff}]{0,5}",
        4 => prop::sample::select(vec![
            " a", " 5", " chunked", " close", " keep-alive, x-a", " 100-continue", " websocket", " upgrade", " 200 OK",
        ])
        .prop_map(str::to_owned),
    ];
    let end = prop_oneof![30 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r"), 1 => Just("")];
    (name, prop_oneof![20 => Just(":"), 1 => Just(" :"), 1 => Just("")], value, end)
        .prop_map(|(name, colon, value, end)| format!("{name}{colon}{value}{end}"))
}

fn lines() -> impl Strategy<Value = String> {
    prop::collection::vec(line(), 0..6).prop_map(|lines| lines.concat())
}

fn target() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => "/[a-c./%2e;~{]{0,12}(\\?[!-~]{0,6})?",
        1 => "(http|HTTPS)://[aB.:80]{1,6}/?[a-c?]{0,3}",
        1 => "[\\x00-\\x7f]{0,4}",
        1 => Just("*".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn requests(
        start in prop_oneof![20 => Just(""), 1 => Just("\r\n"), 1 => Just("\n")],
        method in prop_oneof![4 => "(GET|POST|OPTIONS|HEAD)", 1 => "[!-~]{0,34}"],
        target in target(),
        version in prop_oneof![8 => "HTTP/1\\.[01]", 1 => "HTTP/[0-9]\\.[0-9]", 1 => "[ -~]{0,9}"],
        host in prop_oneof![4 => Just("Host: a\r\n"), 1 => Just("")],
        lines in lines(),
        rest in "[ -~\r\n]{0,8}",
    ) {
        invariants::request(format!("{start}{method} {target} {version}\r\n{host}{lines}\r\n{rest}").as_bytes());
    }

    #[test]
    fn responses(
        version in prop_oneof![8 => "HTTP/1\\.[01]", 1 => "HTTP/[0-9]\\.[0-9]", 1 => "[ -~]{0,9}"],
        status in prop_oneof![8 => "[1-5][0-9][0-9]( [ -~\u{e9}]{0,8})?", 1 => "[0-9]{0,4}[ -~]{0,4}"],
        lines in lines(),
        rest in "[ -~\r\n]{0,8}",
    ) {
        invariants::response(format!("{version} {status}\r\n{lines}\r\n{rest}").as_bytes());
    }

    #[test]
    fn bodies(
        chunks in prop::collection::vec(("[0-9a-f]{0,3}", "(;[a-z=\"]{0,5})?", prop::collection::vec(any::<u8>(), 0..20)), 0..6),
        trailers in lines(),
        broken in any::<prop::sample::Index>(),
        byte in prop_oneof![9 => Just(None), 1 => any::<u8>().prop_map(Some)],
    ) {
        let mut bytes = Vec::new();
        for (zeros, extension, data) in &chunks {
            let size = if zeros.len() == 3 { zeros.clone() } else { format!("{:x}", data.len()) };
            bytes.extend_from_slice(&[size.as_bytes(), extension.as_bytes(), b"\r\n", data, b"\r\n"].concat());
        }
        bytes.extend_from_slice(format!("0\r\n{trailers}\r\nnext").as_bytes());
        if let Some(byte) = byte {
            let at = broken.index(bytes.len());
            bytes[at] = byte;
        }
        invariants::body(&bytes);
    }

    #[test]
    fn data_in_chunks(data in prop::collection::vec(any::<u8>(), 0..100)) {
        invariants::rechunked(&data);
    }

    #[test]
    fn paths(path in "/[a-z./%2eE5Ff0;~{A\\\\ ]{0,16}") {
        invariants::canonical_path(path.as_bytes());
    }

    #[test]
    fn streams(stream in "(\u{feff})?[a:\r\n]{0,24}") {
        invariants::event_stream(stream.as_bytes());
    }
}
