//! PROXY protocol headers, both versions, both ways.

use wire::proxy_protocol::{Addresses, ProxyProtocolError, encode_v1, encode_v2, parse};

const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn addresses(source: &str, destination: &str) -> Option<Addresses> {
    Some((source.parse().unwrap(), destination.parse().unwrap()))
}

/// Checks a header that is followed by other bytes, and that no part of it is judged in another way.
fn check(header: &[u8], expect: Result<Option<Addresses>, ProxyProtocolError>) {
    let message = [header, b"GET"].concat();
    let expect = expect.map(|addresses| Some((header.len(), addresses)));
    for end in 0..header.len() {
        let part = parse(&message[..end]);
        assert!(part == Ok(None) || (expect.is_err() && part == expect), "{part:?} after {end} bytes");
    }
    assert_eq!(parse(&message), expect, "{}", header.escape_ascii());
}

#[test]
fn version_1() {
    let both = addresses("192.0.2.1:56324", "198.51.100.1:443");
    check(b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n", Ok(both));
    check(b"PROXY TCP6 2001:db8::1 ::1 0 65535\r\n", Ok(addresses("[2001:db8::1]:0", "[::1]:65535")));
    check(b"PROXY UNKNOWN\r\n", Ok(None));
    check(b"PROXY UNKNOWN ffff:f...f:ffff \x01 65535 65535\r\n", Ok(None));
    use ProxyProtocolError::*;
    for (line, expect) in [
        ("PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\n", Malformed),
        ("PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\rx", Malformed),
        ("PROXY TCP4  192.0.2.1 198.51.100.1 56324 443\r\n", Malformed),
        ("PROXY TCP4 192.0.2.1 198.51.100.1 56324 443 \r\n", Malformed),
        ("PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n", Malformed),
        ("PROXY TCP4 192.0.2.01 198.51.100.1 1 2\r\n", Malformed),
        ("PROXY TCP4 192.0.2.1 198.51.100.1 01 2\r\n", Malformed),
        ("PROXY TCP4 192.0.2.1 198.51.100.1 +1 2\r\n", Malformed),
        ("PROXY TCP4 192.0.2.1 198.51.100.1 65536 2\r\n", Malformed),
        ("PROXY TCP4 ::1 ::1 1 2\r\n", Malformed),
        ("PROXY TCP6 192.0.2.1 ::1 1 2\r\n", Malformed),
        ("PROXY UDP4 192.0.2.1 192.0.2.1 1 2\r\n", Unsupported),
        ("PROXY \r\n", Unsupported),
        ("GET / HTTP/1.1\r\n", Missing),
        ("proxy TCP4", Missing),
        ("\r\n\r\nGET", Missing),
    ] {
        check(line.as_bytes(), Err(expect));
        assert!(expect.rule().len() > 10);
    }
    let long = format!("PROXY UNKNOWN {}", "x".repeat(107 - 16));
    check(format!("{long}\r\n").as_bytes(), Ok(None));
    check(format!("{long}x\r\n").as_bytes(), Err(Malformed));
    assert_eq!(parse(format!("{long}xx").as_bytes()), Err(Malformed), "no end in sight");
}

#[test]
fn version_2() {
    let v2 = |rest: &[u8]| [V2, rest].concat();
    let ipv4 = [192, 0, 2, 1, 198, 51, 100, 1, 0xdc, 4, 1, 0xbb];
    let both = addresses("192.0.2.1:56324", "198.51.100.1:443");
    check(&v2(&[&[0x21, 0x11, 0, 12][..], &ipv4].concat()), Ok(both));
    check(&v2(&[&[0x21, 0x11, 0, 17][..], &ipv4, &[4, 0, 2, 9, 9]].concat()), Ok(both));
    let ipv6 = [[0u8; 15].as_slice(), &[1], &[0xfe; 16], &[0, 1, 0, 2]].concat();
    let fe = "[fefe:fefe:fefe:fefe:fefe:fefe:fefe:fefe]:2";
    check(&v2(&[&[0x21, 0x21, 0, 36][..], &ipv6].concat()), Ok(addresses("[::1]:1", fe)));
    check(&v2(&[0x20, 0, 0, 0]), Ok(None));
    check(&v2(&[&[0x20, 0x11, 0, 12][..], &ipv4].concat()), Ok(None));
    check(&v2(&[0x21, 0, 0, 2, 1, 1]), Ok(None));
    check(&v2(&[&[0x21, 0x31, 0, 216][..], &[7; 216]].concat()), Ok(None));
    use ProxyProtocolError::*;
    for (rest, expect) in [
        (&[0x11, 0x11, 0, 12][..], Unsupported),
        (&[0x22, 0x11, 0, 12], Unsupported),
        (&[0x21, 0x12, 0, 12], Unsupported),
        (&[0x21, 0x41, 0, 12], Unsupported),
        (&[0x21, 0x11, 0, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], Malformed),
        (&[0x21, 0x21, 0, 12], Malformed),
        (&[0x21, 0x11, 0x08, 0], TooLarge),
        (&[0x20, 0x00, 0xff, 0xff], TooLarge),
    ] {
        check(&v2(rest), Err(expect));
    }
    assert_eq!(parse(b"\r\n\r\n\0\r\nQUIT\r"), Err(Missing));
}

#[test]
fn what_is_encoded_is_read_back() {
    for (source, destination, v1, read) in [
        ("192.0.2.1:1", "198.51.100.1:2", "PROXY TCP4 192.0.2.1 198.51.100.1 1 2\r\n", None),
        ("[2001:db8::1]:1", "[::1]:2", "PROXY TCP6 2001:db8::1 ::1 1 2\r\n", None),
        // What a dual-stack listener says about IPv4 clients.
        (
            "[::ffff:192.0.2.1]:1",
            "[::ffff:198.51.100.1]:2",
            "PROXY TCP4 192.0.2.1 198.51.100.1 1 2\r\n",
            addresses("192.0.2.1:1", "198.51.100.1:2"),
        ),
        (
            "192.0.2.1:1",
            "[::1]:2",
            "PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n",
            addresses("[::ffff:192.0.2.1]:1", "[::1]:2"),
        ),
    ] {
        let given = addresses(source, destination);
        let read = read.or(given);
        let mut out = Vec::new();
        encode_v1(&mut out, given);
        assert_eq!(String::from_utf8(out.clone()).unwrap(), v1);
        assert_eq!(parse(&out), Ok(Some((out.len(), read))));
        out.clear();
        encode_v2(&mut out, given);
        assert_eq!(parse(&out), Ok(Some((out.len(), read))));
    }
    for encode in [encode_v1, encode_v2] {
        let mut out = Vec::new();
        encode(&mut out, None);
        assert_eq!(parse(&out), Ok(Some((out.len(), None))));
    }
}
