//! Listens to an answer whose bytes go on as they are: what it used, whether it has begun, and whether it is whole.

use crate::Protocol;
use crate::form::{Delta, Event, Stop, Usage};
use crate::frame::{Broken, Frame, Framing};
use crate::problem::Problem;
use crate::protocol::{Speak, StreamDecoder, StreamEnd};

/// What is known of a streamed answer so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Heard {
    pub usage: Usage,
    /// Bytes of text, thought and arguments: what is known of the output where the provider tells no usage.
    pub output_bytes: u64,
    /// A client that has everything so far has seen something of the answer.
    pub has_content: bool,
    pub stop: Option<Stop>,
    /// The terminal event has come.
    pub is_ended: bool,
    /// The provider's name for the answer's model.
    pub model: Option<Box<str>>,
}

impl Heard {
    pub fn hear(&mut self, event: &Event) {
        self.has_content |= event.is_content();
        match event {
            Event::Start { model, .. } if !model.is_empty() => self.model = Some(model.as_str().into()),
            Event::Delta { delta: Delta::Text(text) | Delta::Input(text), .. } => {
                self.output_bytes += text.len() as u64;
            }
            Event::Usage(usage) => self.usage.update(*usage),
            Event::Stop { stop, .. } => self.stop = Some(*stop),
            Event::End => self.is_ended = true,
            Event::Start { .. }
            | Event::BlockStart { .. }
            | Event::BlockStop { .. }
            | Event::Delta { .. } => {}
        }
    }
}

/// Reads one stream: frames, and what they mean.
#[derive(Debug)]
pub struct Reader {
    framing: Framing,
    decoder: StreamDecoder,
    frames: Vec<Frame>,
    pub heard: Heard,
}

impl Reader {
    pub fn new(protocol: Protocol) -> Reader {
        Reader {
            framing: protocol.framing(),
            decoder: protocol.stream_decoder(),
            frames: Vec::new(),
            heard: Heard::default(),
        }
    }

    /// With the stream in another framing than the protocol's usual one.
    pub fn with_framing(self, framing: Framing) -> Reader {
        Reader { framing, ..self }
    }

    /// Reads on; what it means is added to `events`.
    pub fn push(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), Problem> {
        let broken = self.framing.push(bytes, &mut self.frames);
        self.take_frames(events)?;
        broken.map_err(unreadable)
    }

    /// The stream is over.
    pub fn end(&mut self, why: StreamEnd, events: &mut Vec<Event>) -> Result<(), Problem> {
        let broken = match why {
            StreamEnd::Eof => self.framing.end(&mut self.frames),
            StreamEnd::Error => Ok(()),
        };
        self.take_frames(events)?;
        broken.map_err(unreadable)?;
        let first = events.len();
        let ended = self.decoder.end(why, events);
        for event in events.get(first..).unwrap_or_default() {
            self.heard.hear(event);
        }
        ended
    }

    /// Whether the stream ended without the empty line that ends an event: four SDKs would lose that event.
    pub fn lacks_empty_line(&self) -> bool {
        matches!(&self.framing, Framing::Sse(sse) if sse.is_inside_event())
    }

    fn take_frames(&mut self, events: &mut Vec<Event>) -> Result<(), Problem> {
        let first = events.len();
        let mut result = Ok(());
        for frame in self.frames.drain(..) {
            result = self.decoder.frame(&frame, events);
            if result.is_err() {
                break;
            }
        }
        for event in events.get(first..).unwrap_or_default() {
            self.heard.hear(event);
        }
        result
    }
}

fn unreadable(broken: Broken) -> Problem {
    Problem::unreadable(200, &format!("the provider's stream cannot be read: {}", broken.0))
}
