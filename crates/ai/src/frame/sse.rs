//! Server-sent events (the HTML standard, section 9.2) as AI providers use them: a name, and data.

use super::{Broken, FRAME_BYTES_MAX, Frame};
use wire::sse::Framer;

#[derive(Debug)]
pub struct Sse {
    framer: Framer,
    /// What there is of the next event.
    begun: Vec<u8>,
}

impl Default for Sse {
    fn default() -> Sse {
        Sse { framer: Framer::new(FRAME_BYTES_MAX), begun: Vec::new() }
    }
}

impl Sse {
    pub(super) fn push(&mut self, mut bytes: &[u8], out: &mut Vec<Frame>) -> Result<(), Broken> {
        loop {
            let end = self.framer.next_event(bytes).map_err(|_| Broken("an event is larger than 16 MiB"))?;
            let Some((event, rest)) = end.and_then(|end| bytes.split_at_checked(end)) else {
                self.begun.extend_from_slice(bytes);
                return Ok(());
            };
            if self.begun.is_empty() {
                read(event, out);
            } else {
                self.begun.extend_from_slice(event);
                read(&self.begun, out);
                self.begun.clear();
            }
            bytes = rest;
        }
    }

    pub(super) fn end(&mut self, out: &mut Vec<Frame>) {
        read(&std::mem::take(&mut self.begun), out);
    }

    /// Whether the stream ended without the empty line that would have ended its last event.
    pub fn is_inside_event(&self) -> bool {
        self.framer.is_inside_event()
    }
}

/// Reads the lines of one event. One without data is none.
fn read(event: &[u8], out: &mut Vec<Frame>) {
    let event = event.strip_prefix(b"\xef\xbb\xbf").unwrap_or(event);
    let mut frame = Frame::default();
    let mut has_data = false;
    for line in event.split(|byte| matches!(byte, b'\n' | b'\r')) {
        let (field, value) = match line.iter().position(|byte| *byte == b':') {
            Some(colon) => {
                let (field, value) = line.split_at(colon);
                let value = value.get(1..).unwrap_or_default();
                (field, value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line, &b""[..]),
        };
        match field {
            b"data" => {
                if has_data {
                    frame.data.push(b'\n');
                }
                has_data = true;
                frame.data.extend_from_slice(value);
            }
            b"event" => frame.name = String::from_utf8_lossy(value).into_owned(),
            // Comments, ids and times to reconnect mean nothing here.
            _ => {}
        }
    }
    if has_data {
        out.push(frame);
    }
}
