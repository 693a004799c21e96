//! What must hold for any bytes at all. Used by the properties and by the corpus harness.

use model::Method;
use wire::{
    BodyError, Fields, Framing, HeadLimits, Known, RequestHead, ResponseHead, Version, encode_request_head,
    encode_response_head, parse_request, parse_response, path, proxy_protocol, strip_hop_by_hop, uwsgi,
};

/// Small enough that mutations of short messages meet every one of them.
const TIGHT: HeadLimits = HeadLimits { head_bytes: 120, fields: 4, target_bytes: 24 };

/// Ends of the parts of a message to try: all of a short one, some fifty of a long one.
fn ends(len: usize) -> impl Iterator<Item = usize> {
    let step = (len / 50).max(1);
    (0..=len).filter(move |end| end % step == 0 || *end == len || len - *end < 4)
}

/// Checks that a parser that reads from the start gives one answer, whatever more is behind, and never changes its mind.
fn check_parts<T: PartialEq + std::fmt::Debug, E: PartialEq + std::fmt::Debug>(
    bytes: &[u8],
    mut parse: impl FnMut(&[u8]) -> Result<Option<(usize, T)>, E>,
) -> Result<Option<(usize, T)>, E> {
    let whole = parse(bytes);
    for end in ends(bytes.len()) {
        let part = parse(&bytes[..end]);
        let same = match (&whole, &part) {
            (Ok(Some((consumed, _))), Ok(None)) => end < *consumed,
            (Ok(Some((consumed, _))), Ok(Some(_))) => end >= *consumed && part == whole,
            (Ok(None) | Err(_), Ok(None)) => true,
            (Err(_), Err(_)) => part == whole,
            _ => false,
        };
        assert!(same, "{part:?} after {end} bytes but {whole:?} for all of {}", bytes.escape_ascii());
    }
    if let Ok(Some((consumed, _))) = &whole {
        assert_eq!(parse(&bytes[..*consumed]), whole, "{}", bytes.escape_ascii());
    }
    whole
}

pub(crate) fn request(bytes: &[u8]) {
    for limits in [&crate::request::LIMITS, &TIGHT] {
        let parsed = check_parts(bytes, |part| {
            let mut head = RequestHead::default();
            let facts = parse_request(part, limits, &mut head)?;
            assert!(facts.is_some() || head.fields.is_empty());
            Ok::<_, wire::RequestError>(facts.map(|(consumed, facts)| (consumed, (facts, comparable(&head)))))
        });
        let Ok(Some((consumed, (facts, _)))) = parsed else { continue };
        assert!(consumed <= limits.head_bytes && facts.framing != Framing::Close);
        let mut head = RequestHead::default();
        parse_request(bytes, limits, &mut head).unwrap();
        assert!(head.fields.len() <= limits.fields);
        agrees_with_httparse(&bytes[..consumed], &head);
        survives_encoding(&head);
    }
}

fn comparable(head: &RequestHead) -> (Method, Version, Fields, String) {
    let target = &head.target;
    let text = format!("{} {} {:?}", target.authority(), target.as_sent_and_query(), target.path_and_query());
    (head.method.clone(), head.version, head.fields.clone(), text)
}

/// Whatever we accept, a lenient parser accepts and reads alike.
fn agrees_with_httparse(bytes: &[u8], head: &RequestHead) {
    let mut headers = [httparse::EMPTY_HEADER; 100];
    let mut request = httparse::Request::new(&mut headers);
    let status = request.parse(bytes);
    let Ok(httparse::Status::Complete(consumed)) = status else {
        // httparse knows no minor version above 1.
        assert_eq!(status, Err(httparse::Error::Version), "{}", bytes.escape_ascii());
        return;
    };
    assert_eq!(consumed, bytes.len());
    assert_eq!(request.method, Some(head.method.as_str()));
    let theirs: Vec<_> =
        request.headers.iter().map(|header| (header.name.as_bytes(), header.value)).collect();
    let ours: Vec<_> = head.fields.iter().map(|field| (field.name, field.value)).collect();
    assert_eq!(theirs, ours, "{}", bytes.escape_ascii());
}

/// What is forwarded is read by the next server as what we have read.
fn survives_encoding(head: &RequestHead) {
    let target = &head.target;
    let mut canonical = String::new();
    if target.path() != "*" {
        path::canonicalize(target.path(), &mut canonical).unwrap();
        assert_eq!(canonical, target.path(), "a canonical path must stay");
    }
    let mut out = Vec::new();
    encode_request_head(&mut out, &head.method, target.path_and_query(), &head.fields);
    if head.fields.get(Known::Host).is_none() {
        return;
    }
    let (result, again) = crate::request::parse(&out);
    assert_eq!(result.unwrap().unwrap().0, out.len(), "{}", out.escape_ascii());
    assert_eq!((&again.method, &again.fields), (&head.method, &head.fields));
    assert_eq!(again.target.path_and_query(), target.path_and_query());
    assert_eq!(again.target.host(), target.host());

    let mut stripped = head.fields.clone();
    strip_hop_by_hop(&mut stripped);
    wire::drop_underscore_names(&mut stripped);
    assert!(stripped.get(Known::Host).is_some() && stripped.get(Known::Connection).is_none());
    assert_eq!(stripped.get(Known::ContentLength), head.fields.get(Known::ContentLength));
    assert!(stripped.iter().all(|field| !field.name.contains(&b'_')));
}

pub(crate) fn response(bytes: &[u8]) {
    for method in [Method::Get, Method::Head, Method::Connect] {
        for limits in [&crate::response::LIMITS, &TIGHT] {
            response_as(bytes, &method, |part, head| parse_response(part, limits, &method, head));
            response_as(bytes, &method, |part, head| uwsgi::parse_head(part, limits, &method, head));
        }
    }
}

fn response_as(
    bytes: &[u8],
    method: &Method,
    parse: impl Fn(&[u8], &mut ResponseHead) -> crate::response::Parsed,
) {
    let parsed = check_parts(bytes, |part| {
        let mut head = ResponseHead::default();
        let facts = parse(part, &mut head)?;
        assert!(facts.is_some() || head.fields.is_empty());
        let head = (head.status, head.version, head.reason, head.fields);
        Ok::<_, wire::ResponseError>(facts.map(|(consumed, facts)| (consumed, (facts, head))))
    });
    let Ok(Some((_, (facts, (status, version, reason, fields))))) = parsed else { return };
    assert!((100..=599).contains(&status));
    assert!(!facts.keep_alive || facts.framing != Framing::Close);
    let mut out = Vec::new();
    encode_response_head(&mut out, version, status, &reason, &fields);
    let (result, again) = crate::response::parse(&out, method);
    let (consumed, _) = result.unwrap_or_else(|error| panic!("{error:?}: {}", out.escape_ascii())).unwrap();
    assert_eq!(consumed, out.len());
    assert_eq!((again.status, again.fields), (status, fields));
}

pub(crate) fn body(bytes: &[u8]) {
    for framing in [Framing::None, Framing::Length(0), Framing::Length(7), Framing::Chunked, Framing::Close] {
        let whole = crate::body::decode(framing, [bytes]);
        for size in [1, 2, 3, 7, 64] {
            let cut = crate::body::decode(framing, bytes.chunks(size));
            assert_eq!(cut, whole, "{framing:?} in pieces of {size}: {}", bytes.escape_ascii());
        }
        if let (Ok((data, left, _)), Framing::Chunked) = (&whole, framing) {
            rechunked(data);
            assert_eq!(
                crate::body::decode(framing, [&bytes[..bytes.len() - left]]).map(|again| again.0).as_ref(),
                Ok(data)
            );
            assert_eq!(
                crate::body::decode(framing, [&bytes[..bytes.len() - left - 1]]),
                Err(BodyError::Truncated),
                "{}",
                bytes.escape_ascii()
            );
        }
    }
}

/// Data that we chunk is read back as it was.
pub(crate) fn rechunked(data: &[u8]) {
    let mut out = Vec::new();
    for piece in data.chunks(5) {
        wire::chunk_head(&mut out, piece.len());
        out.extend_from_slice(piece);
        out.extend_from_slice(wire::CHUNK_END);
    }
    wire::last_chunk(&mut out, None);
    assert_eq!(
        crate::body::decode(Framing::Chunked, [out.as_slice()]),
        Ok((data.to_vec(), 0, "[]".to_owned()))
    );
}

pub(crate) fn canonical_path(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut once = String::new();
    if path::canonicalize(&text, &mut once).is_err() {
        return;
    }
    assert!(once.starts_with('/') && once.bytes().all(|byte| byte.is_ascii_graphic()), "{text:?} {once:?}");
    assert!(once.split('/').all(|segment| segment != "." && segment != ".."), "{text:?} {once:?}");
    let mut twice = String::new();
    path::canonicalize(&once, &mut twice).unwrap();
    assert_eq!(once, twice);
    let (mut sent, mut forwarded) = (Vec::new(), Vec::new());
    path::decode(&text, &mut sent);
    path::decode(&once, &mut forwarded);
    if !sent.split(|byte| *byte == b'/').any(|segment| segment == b"." || segment == b"..") {
        assert_eq!(sent, forwarded, "without dot segments an application sees the same path");
    }
}

pub(crate) fn proxy_protocol_header(bytes: &[u8]) {
    let parsed = check_parts(bytes, proxy_protocol::parse);
    if let Ok(Some((_, addresses))) = parsed {
        for encode in [proxy_protocol::encode_v1, proxy_protocol::encode_v2] {
            let mut out = Vec::new();
            encode(&mut out, addresses);
            let ports = |addresses: proxy_protocol::Addresses| (addresses.0.port(), addresses.1.port());
            let (consumed, again) = proxy_protocol::parse(&out).unwrap().unwrap();
            assert_eq!((consumed, again.map(ports)), (out.len(), addresses.map(ports)));
        }
    }
}

pub(crate) fn event_stream(bytes: &[u8]) {
    let whole = crate::sse::events([bytes]);
    for size in [1, 2, 3, 7] {
        assert_eq!(crate::sse::events(bytes.chunks(size)), whole, "{}", bytes.escape_ascii());
    }
    let (events, rest, inside) = whole;
    assert_eq!([events.concat(), rest.clone()].concat(), bytes);
    assert!(!inside || !rest.is_empty());
}
