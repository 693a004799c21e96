//! `application/vnd.amazon.eventstream`: length-prefixed messages with headers and two CRC-32 checksums, as AWS documents them
//! in "Amazon Transcribe: event stream encoding" and Smithy's "Amazon Event Stream Specification".

use super::{Broken, Frame};

/// The specification's own limit of a payload is 24 MiB, that of headers 128 KiB.
const MESSAGE_BYTES_MAX: usize = (24 << 20) + (128 << 10) + 16;
const PRELUDE_BYTES: usize = 12;
const CHECKSUM_BYTES: usize = 4;

#[derive(Debug, Default)]
pub struct Decoder {
    begun: Vec<u8>,
}

impl Decoder {
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Vec<Frame>) -> Result<(), Broken> {
        self.begun.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(rest) = self.begun.get(at..).filter(|rest| rest.len() >= PRELUDE_BYTES) {
            if number(rest, 8) != Some(crc32(rest.get(..8).unwrap_or_default())) {
                return Err(Broken("a message's checksum is wrong"));
            }
            let total = number(rest, 0).unwrap_or(0) as usize;
            let headers = number(rest, 4).unwrap_or(0) as usize;
            if total > MESSAGE_BYTES_MAX || total < PRELUDE_BYTES + headers + CHECKSUM_BYTES {
                return Err(Broken("a message's lengths make no sense"));
            }
            let Some(message) = rest.get(..total) else { break };
            let (content, checksum) = message.split_at(total - CHECKSUM_BYTES);
            if number(checksum, 0) != Some(crc32(content)) {
                return Err(Broken("a message's checksum is wrong"));
            }
            let (headers, payload) = content.get(PRELUDE_BYTES..).unwrap_or_default().split_at(headers);
            out.push(read(headers, payload)?);
            at += total;
        }
        self.begun.drain(..at);
        Ok(())
    }

    pub(super) fn end(&mut self) -> Result<(), Broken> {
        if self.begun.is_empty() { Ok(()) } else { Err(Broken("the stream ends in the middle of a message")) }
    }
}

fn read(mut headers: &[u8], payload: &[u8]) -> Result<Frame, Broken> {
    let mut frame = Frame { data: payload.to_vec(), ..Frame::default() };
    while let Some((name, value, rest)) = header(headers) {
        match name {
            b":event-type" => frame.name = text(value),
            b":exception-type" | b":error-code" => {
                frame.name = text(value);
                frame.is_exception = true;
            }
            _ => {}
        }
        headers = rest;
    }
    if headers.is_empty() { Ok(frame) } else { Err(Broken("a message's headers cannot be read")) }
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

/// The next header: its name, its value, and what follows.
fn header(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    let (kind, rest) = rest.split_first()?;
    let (length, rest) = match kind {
        0 | 1 => (0, rest),
        2 => (1, rest),
        3 => (2, rest),
        4 => (4, rest),
        5 | 8 => (8, rest),
        6 | 7 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        9 => (16, rest),
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(length)?;
    Some((name, value, rest))
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|four| u32::from_be_bytes(*four))
}

/// Appends an event with a JSON payload.
pub fn encode(name: &str, payload: &[u8], out: &mut Vec<u8>) {
    message(
        &[(":event-type", name), (":content-type", "application/json"), (":message-type", "event")],
        payload,
        out,
    );
}

/// Appends an exception: SDKs raise it as an error of this name.
pub fn encode_exception(name: &str, payload: &[u8], out: &mut Vec<u8>) {
    let headers =
        [(":exception-type", name), (":content-type", "application/json"), (":message-type", "exception")];
    message(&headers, payload, out);
}

fn message(headers: &[(&str, &str)], payload: &[u8], out: &mut Vec<u8>) {
    /// The type of a string.
    const STRING: u8 = 7;
    let mut head = Vec::new();
    for (name, value) in headers {
        head.push(name.len() as u8);
        head.extend_from_slice(name.as_bytes());
        head.push(STRING);
        head.extend_from_slice(&(value.len() as u16).to_be_bytes());
        head.extend_from_slice(value.as_bytes());
    }
    let start = out.len();
    let total = PRELUDE_BYTES + head.len() + payload.len() + CHECKSUM_BYTES;
    out.extend_from_slice(&(total as u32).to_be_bytes());
    out.extend_from_slice(&(head.len() as u32).to_be_bytes());
    let prelude = crc32(out.get(start..).unwrap_or_default());
    out.extend_from_slice(&prelude.to_be_bytes());
    out.extend_from_slice(&head);
    out.extend_from_slice(payload);
    let checksum = crc32(out.get(start..).unwrap_or_default());
    out.extend_from_slice(&checksum.to_be_bytes());
}

/// CRC-32 as in gzip (IEEE 802.3).
fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}
