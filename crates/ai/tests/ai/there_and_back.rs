//! What is written in a protocol and read again is what it was, but for what the writer names as lost.

use ai::form::{Block, Event, Losses, Request, Role, Signature, Turn};
use ai::protocol::{INGRESS, StreamEnd, StreamSettings};
use ai::tap::Reader;
use ai::{Protocol, Speak};
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestError};

use crate::pivot::{aspects, essence, events, folded, request, response};

/// What a protocol has no words for, and why that is no loss to speak of.
fn is_known(protocol: Protocol, aspect: &str, before: &Request) -> bool {
    match (protocol, aspect) {
        // Not to think is what models do that nobody tells to think.
        (_, "thinking") => before.thinking.and_then(ai::form::Thinking::effort).is_none(),
        // It is the only one with which Anthropic's models think.
        (Protocol::Anthropic, "temperature") => before.sampling.temperature == Some(1.0),
        _ => false,
    }
}

fn check_request(protocol: Protocol, before: &Request) -> Result<(), TestCaseError> {
    let mut losses = Losses::default();
    let body = protocol.encode_request(before, &mut losses);
    let read = protocol.decode_request(body.to_string().as_bytes());
    let mut after = read.map_err(|reject| TestCaseError::fail(format!("{reject:?} in {body:#}")))?;
    let names: Vec<&str> = losses.names().collect();
    let read = aspects(&after);
    for (aspect, value) in aspects(before) {
        let other = read.get(&aspect).cloned().unwrap_or_default();
        prop_assert!(
            value == other
                || names.contains(&if aspect == "thought" { "thinking" } else { &aspect })
                || is_known(protocol, &aspect, before),
            "{} changed and {names:?} does not name it: {value} became {other} in {body:#}",
            aspect,
        );
    }
    // What was read is written in the same way again.
    after.model.clone_from(&before.model);
    let again = protocol.encode_request(&after, &mut Losses::default());
    prop_assert_eq!(again, body);
    Ok(())
}

fn encoded(protocol: Protocol, events: &[Event]) -> Vec<u8> {
    let settings = StreamSettings { unix_seconds: 1, usage: true, whole_tool_calls: false };
    let mut encoder = protocol.stream_encoder(settings);
    let mut bytes = Vec::new();
    events.iter().for_each(|event| encoder.event(event, &mut bytes));
    bytes
}

fn decoded(protocol: Protocol, bytes: &[u8], piece: usize) -> Result<Vec<Event>, TestCaseError> {
    let mut reader = Reader::new(protocol);
    let mut events = Vec::new();
    for piece in bytes.chunks(piece) {
        reader.push(piece, &mut events).map_err(|problem| TestCaseError::fail(format!("{problem:?}")))?;
    }
    reader.end(StreamEnd::Eof, &mut events).map_err(|problem| TestCaseError::fail(format!("{problem:?}")))?;
    Ok(events)
}

/// Tries the check on many of these for every protocol of clients, and tells all that fail.
fn for_each<T: std::fmt::Debug, S: Strategy<Value = T>>(
    strategy: impl Fn(Protocol) -> S,
    check: impl Fn(Protocol, &T) -> Result<(), TestCaseError>,
) {
    let mut wrong = Vec::new();
    for protocol in INGRESS {
        let config = ProptestConfig {
            failure_persistence: None,
            rng_seed: RngSeed::Fixed(7),
            ..ProptestConfig::with_cases(100)
        };
        let mut runner = proptest::test_runner::TestRunner::new(config);
        if let Err(TestError::Fail(why, _)) = runner.run(&strategy(*protocol), |case| check(*protocol, &case))
        {
            wrong.push(format!("{}: {why}", protocol.id()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn requests() {
    for_each(request, check_request);
}

#[test]
fn answers() {
    for_each(response, |protocol, before| {
        let body = protocol.encode_response(before, 1);
        let after = protocol.decode_response(body.to_string().as_bytes());
        let after = after.map_err(|problem| TestCaseError::fail(format!("{problem:?} in {body:#}")))?;
        prop_assert_eq!(essence(&after), essence(before), "in {:#}", body);
        Ok(())
    });
}

#[test]
fn streams() {
    let cases = |protocol| (response(protocol), 1..9usize);
    for_each(cases, |protocol, (before, piece)| {
        let bytes = encoded(protocol, &events(before, *piece));
        let after = decoded(protocol, &bytes, bytes.len().max(1))?;
        let text = String::from_utf8_lossy(&bytes);
        prop_assert_eq!(essence(&folded(&after)), essence(before), "in {}", text);
        // However the bytes are cut, the same is read.
        for size in [1, 2, 3, 7, 100] {
            prop_assert_eq!(&decoded(protocol, &bytes, size)?, &after, "in pieces of {} of {}", size, text);
        }
        Ok(())
    });
}

/// A stream that is cut, wherever, is not read as if it were whole, until the reason to stop has come.
#[test]
fn cut_streams() {
    for_each(response, |protocol, whole| {
        let bytes = encoded(protocol, &events(whole, 5));
        // All of the end, and samples before it.
        let cuts = (0..bytes.len()).filter(|cut| cut % 97 == 0 || cut + 300 > bytes.len());
        for cut in cuts.collect::<Vec<_>>() {
            let mut reader = Reader::new(protocol);
            let mut events = Vec::new();
            let read = reader.push(&bytes[..cut], &mut events);
            let ended = read.and_then(|()| reader.end(StreamEnd::Eof, &mut events));
            if ended.is_ok() {
                let text = String::from_utf8_lossy(&bytes[..cut]);
                prop_assert!(reader.heard.stop.is_some(), "cut at {} of {}", cut, text);
                let (read, said) = (essence(&folded(&events)), essence(whole));
                prop_assert_eq!(
                    &read[..read.len() - 1],
                    &said[..said.len() - 1],
                    "cut at {} of {}",
                    cut,
                    text
                );
            }
        }
        Ok(())
    });
}

/// Decoders meet whatever providers and clients send.
#[test]
fn nothing_panics() {
    for_each(
        |_| proptest::collection::vec(any::<u8>(), 0..200),
        |protocol, bytes| {
            let _ = protocol.decode_response(bytes);
            let _ = protocol.decode_request(bytes);
            let _ = decoded(protocol, bytes, 7);
            Ok(())
        },
    );
}

#[test]
fn thoughts_of_another_provider_are_left_out_and_named() {
    let thought = |by: Protocol| Block::Thinking {
        text: "hm".to_owned(),
        signature: Some(Signature { by, value: "proof".to_owned() }),
    };
    for protocol in Protocol::ALL {
        let foreign = if *protocol == Protocol::Gemini { Protocol::Anthropic } else { Protocol::Gemini };
        let request = Request {
            model: "anthropic.m".to_owned(),
            turns: vec![
                Turn { role: Role::User, blocks: vec![Block::text("a")] },
                Turn { role: Role::Assistant, blocks: vec![thought(foreign), Block::text("b")] },
                Turn { role: Role::User, blocks: vec![Block::text("c")] },
            ],
            ..Request::default()
        };
        let mut losses = Losses::default();
        let body = protocol.encode_request(&request, &mut losses).to_string();
        assert!(!body.contains("proof"), "{body}");
        assert!(body.contains("\"b\""), "{body}");
        assert_eq!(losses.names().collect::<Vec<_>>(), ["thinking"], "{} {body}", protocol.id());
    }
}
