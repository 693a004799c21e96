//! Where server-sent events end.

use wire::sse::{EventTooLarge, Framer};

/// The events of a stream given in these pieces, and whether it ended inside one.
pub(crate) fn events<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, Vec<u8>, bool) {
    let mut framer = Framer::new(usize::MAX);
    let (mut events, mut event) = (Vec::new(), Vec::new());
    for mut piece in pieces {
        while let Some(end) = framer.next_event(piece).unwrap() {
            event.extend_from_slice(&piece[..end]);
            events.push(std::mem::take(&mut event));
            piece = &piece[end..];
        }
        event.extend_from_slice(piece);
    }
    (events, event, framer.is_inside_event())
}

fn check(stream: &str, expect: &[&str], rest: &str, inside: bool) {
    let expect =
        (expect.iter().map(|event| event.as_bytes().to_vec()).collect(), rest.as_bytes().to_vec(), inside);
    assert_eq!(events([stream.as_bytes()]), expect, "{stream:?}");
    assert_eq!(events(stream.as_bytes().chunks(1)), expect, "{stream:?} byte by byte");
}

#[test]
fn events_end_with_an_empty_line() {
    check("data: a\n\ndata: b\n\n", &["data: a\n\n", "data: b\n\n"], "", false);
    check("data: a\r\n\r\nid\r\n\r\n", &["data: a\r\n\r", "\nid\r\n\r"], "\n", false);
    check("data: a\r\rdata: b\r\r", &["data: a\r\r", "data: b\r\r"], "", false);
    check("a\n\r\nb\r\n\nc\r\n", &["a\n\r", "\nb\r\n\n"], "c\r\n", true);
    check("event: x\ndata: a\ndata\n\nrest", &["event: x\ndata: a\ndata\n\n"], "rest", true);
    check("\n\n\r\n\rdata: a\n\n", &["\n\n\r\n\rdata: a\n\n"], "", false);
    check(": ping\n\n:\n", &[": ping\n\n"], ":\n", false);
    check(":c\ndata: a\n", &[], ":c\ndata: a\n", true);
    check("", &[], "", false);
    check("\u{feff}data: a\n\n", &["\u{feff}data: a\n\n"], "", false);
    check("\u{feff}\n\ndata: a\n\n", &["\u{feff}\n\ndata: a\n\n"], "", false);
    check("\u{feff}:c\n", &[], "\u{feff}:c\n", false);
    check("\u{fee0}\n\n", &["\u{fee0}\n\n"], "", false);
    check("a\n\u{feff}\n\n", &["a\n\u{feff}\n\n"], "", false);
}

#[test]
fn events_are_bounded_but_streams_are_not() {
    let mut framer = Framer::new(16);
    for _ in 0..100 {
        assert_eq!(framer.next_event(b"data: 12345678\n\n"), Ok(Some(16)));
        assert_eq!(framer.next_event(b"\n"), Ok(None), "empty lines end no event and count for none");
    }
    assert_eq!(framer.next_event(b"data: 123456789\n"), Ok(None));
    assert_eq!(framer.next_event(b"\n"), Err(EventTooLarge));
}
