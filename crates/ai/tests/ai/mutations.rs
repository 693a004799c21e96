//! What the cases of `golden` become when bytes and values of them change: nothing that arrives may end a decoder in a panic, and what
//! it accepts every encoder can write. The same mutations on every machine; for a longer run raise [`ROUNDS`].

use ai::form::{Event, Losses};
use ai::protocol::{INGRESS, StreamEnd, StreamSettings};
use ai::tap::Reader;
use ai::{Protocol, Speak, frame};
use serde_json::{Value, json};

use crate::golden::{framed, inputs};

/// Of each case.
const ROUNDS: u64 = 300;

/// A row of numbers that looks random and is the same every time (xorshift, G. Marsaglia 2003).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below.max(1) as u64) as usize
    }
}

/// Changes, takes away or repeats a few bytes.
fn change_bytes(bytes: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..=numbers.next(3) {
        let at = numbers.next(out.len());
        match numbers.next(4) {
            0 => out.truncate(at),
            1 => out.splice(at..at, [b"{}[]\",:\n\\0e-"[numbers.next(12)]]).for_each(drop),
            2 => {
                let end = (at + numbers.next(40)).min(out.len());
                let piece = out[at..end].to_vec();
                out.splice(at..at, piece).for_each(drop);
            }
            _ if at < out.len() => out[at] = numbers.next(256) as u8,
            _ => {}
        }
    }
    out
}

/// Puts something else in the place of one value.
fn change_value(value: &mut Value, numbers: &mut Numbers) {
    let others = [
        json!(null),
        json!(true),
        json!(-1),
        json!(1e300),
        json!("x"),
        json!([]),
        json!({}),
        json!([[{}]]),
        json!(""),
    ];
    let inside = match value {
        Value::Array(list) if !list.is_empty() => {
            let at = numbers.next(list.len());
            list.get_mut(at)
        }
        Value::Object(map) if !map.is_empty() => {
            let at = numbers.next(map.len());
            map.values_mut().nth(at)
        }
        _ => None,
    };
    match inside {
        Some(inside) if numbers.next(5) > 0 => change_value(inside, numbers),
        _ => *value = others[numbers.next(others.len())].clone(),
    }
}

/// Mutations of what is JSON: of its bytes, and of its values.
fn of_json(bytes: &[u8], number: u64) -> Vec<u8> {
    let mut numbers = Numbers(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    if number.is_multiple_of(4) {
        return change_bytes(bytes, &mut numbers);
    }
    let mut value: Value = serde_json::from_slice(bytes).unwrap();
    for _ in 0..=numbers.next(2) {
        change_value(&mut value, &mut numbers);
    }
    value.to_string().into_bytes()
}

#[test]
fn requests() {
    let mut accepted = 0;
    for (path, from) in inputs("requests") {
        let bytes = std::fs::read(&path).unwrap();
        for number in 0..ROUNDS {
            let Ok(request) = from.decode_request(&of_json(&bytes, number)) else { continue };
            accepted += 1;
            for to in Protocol::ALL {
                let body = to.encode_request(&request, &mut Losses::default());
                assert!(body.is_object());
            }
        }
    }
    assert!(accepted > ROUNDS, "most changes make no request worthless, {accepted} are read");
}

#[test]
fn answers() {
    let mut accepted = 0;
    for (path, from) in inputs("answers") {
        let bytes = std::fs::read(&path).unwrap();
        for number in 0..ROUNDS {
            let Ok(response) = from.decode_response(&of_json(&bytes, number)) else { continue };
            accepted += 1;
            for to in INGRESS {
                assert!(to.encode_response(&response, 1).is_object());
            }
        }
    }
    assert!(accepted > ROUNDS, "most changes make no answer worthless, {accepted} are read");
}

/// The data of one event, changed.
fn change_stream(bytes: &[u8], from: Protocol, number: u64) -> Vec<u8> {
    let mut numbers = Numbers(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    if number.is_multiple_of(4) {
        return change_bytes(bytes, &mut numbers);
    }
    let mut frames = Vec::new();
    from.framing().push(bytes, &mut frames).unwrap();
    let at = numbers.next(frames.len());
    let mut out = Vec::new();
    for (index, frame) in frames.into_iter().enumerate() {
        let mut value = serde_json::from_slice(&frame.data).unwrap_or(Value::Null);
        if index == at && value.is_object() {
            change_value(&mut value, &mut numbers);
        }
        match from {
            Protocol::Bedrock => frame::aws::encode(&frame.name, value.to_string().as_bytes(), &mut out),
            _ if value.is_null() => out.extend_from_slice(b"data: [DONE]\n\n"),
            _ => out.extend_from_slice(format!("event: {}\ndata: {value}\n\n", frame.name).as_bytes()),
        }
    }
    out
}

/// What is read, and how it ended, however the bytes are cut.
fn read(bytes: &[u8], from: Protocol, piece: usize) -> (Vec<Event>, bool) {
    let mut reader = Reader::new(from);
    let mut events = Vec::new();
    let pushed = bytes.chunks(piece).try_for_each(|piece| reader.push(piece, &mut events));
    let ended = pushed.and_then(|()| reader.end(StreamEnd::Eof, &mut events));
    (events, ended.is_ok())
}

#[test]
fn streams() {
    let mut accepted = 0;
    for (path, from) in inputs("streams") {
        let bytes = std::fs::read(&path).unwrap();
        let bytes = if from == Protocol::Bedrock { framed(&bytes) } else { bytes };
        for number in 0..ROUNDS {
            let changed = change_stream(&bytes, from, number);
            let (events, is_whole) = read(&changed, from, changed.len().max(1));
            assert_eq!(
                read(&changed, from, 13),
                (events.clone(), is_whole),
                "{}",
                String::from_utf8_lossy(&changed)
            );
            assert_eq!(is_whole, events.contains(&Event::End));
            accepted += u64::from(is_whole);
            for to in INGRESS {
                let settings =
                    StreamSettings { unix_seconds: 1, usage: true, whole_tool_calls: number % 2 == 0 };
                let mut encoder = to.stream_encoder(settings);
                let mut out = Vec::new();
                events.iter().for_each(|event| encoder.event(event, &mut out));
            }
        }
    }
    assert!(accepted > ROUNDS, "most changes make no stream worthless, {accepted} are read to their end");
}
