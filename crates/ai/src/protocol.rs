//! The wire formats, and what each must be able to do. One folder per protocol; a new one is a folder and a line in each `match`.
//!
//! Decoders and encoders of streams keep state, are told how a stream ends, and never own a socket.

mod anthropic;
mod bedrock;
mod chat;
mod cohere;
mod gemini;
mod responses;
mod thread;

use serde_json::Value;

use crate::fields::Reject;
use crate::form::{Event, Losses, Request, Response};
use crate::frame::{self, Frame};
use crate::problem::Problem;

pub use model::AiProtocol as Protocol;

/// The protocols that clients may speak to Clearway.
pub const INGRESS: &[Protocol] =
    &[Protocol::Anthropic, Protocol::Bedrock, Protocol::Chat, Protocol::Gemini, Protocol::Responses];

/// What a protocol can do.
pub trait Speak: Sized {
    /// Reads a client's request. Where model and streaming stand in the path, the caller fills them in.
    fn decode_request(self, body: &[u8]) -> Result<Request, Reject>;
    /// Writes a request for a provider, whose name of the model is in it.
    fn encode_request(self, request: &Request, losses: &mut Losses) -> Value;
    /// Reads a provider's whole answer.
    fn decode_response(self, body: &[u8]) -> Result<Response, Problem>;
    /// Writes a whole answer for a client. The time is that of the answer, in seconds since 1970.
    fn encode_response(self, response: &Response, unix_seconds: u64) -> Value;
    /// The framing of this protocol's streams.
    fn framing(self) -> frame::Framing;
    fn stream_decoder(self) -> StreamDecoder;
    fn stream_encoder(self, settings: StreamSettings) -> StreamEncoder;
    /// The media type of this protocol's streams.
    fn stream_media_type(self) -> &'static str;
    /// The body of an error.
    fn error_body(self, told: &Told<'_>) -> Value;
    /// An error in the middle of a stream, in an event that the protocol's clients raise as one.
    fn error_event(self, told: &Told<'_>, out: &mut Vec<u8>);
    /// Bytes that every client of the protocol passes over, to keep the hops between alive while a model thinks.
    fn keep_alive(self, out: &mut Vec<u8>);
}

impl Speak for Protocol {
    fn decode_request(self, body: &[u8]) -> Result<Request, Reject> {
        match self {
            Protocol::Anthropic => anthropic::request::decode(body),
            Protocol::Bedrock => bedrock::request::decode(body),
            Protocol::Chat => chat::request::decode(body),
            Protocol::Cohere => Err(Reject::new("", "Cohere's protocol is spoken to providers only")),
            Protocol::Gemini => gemini::request::decode(body),
            Protocol::Responses => responses::request::decode(body),
        }
    }

    fn encode_request(self, request: &Request, losses: &mut Losses) -> Value {
        match self {
            Protocol::Anthropic => anthropic::request::encode(request, losses),
            Protocol::Bedrock => bedrock::request::encode(request, losses),
            Protocol::Chat => chat::request::encode(request, losses),
            Protocol::Cohere => cohere::request::encode(request, losses),
            Protocol::Gemini => gemini::request::encode(request, losses),
            Protocol::Responses => responses::request::encode(request, losses),
        }
    }

    fn decode_response(self, body: &[u8]) -> Result<Response, Problem> {
        let value = whole(body)?;
        let response = match self {
            Protocol::Anthropic => anthropic::response::decode(&value),
            Protocol::Bedrock => bedrock::response::decode(&value),
            Protocol::Chat => chat::response::decode(&value),
            Protocol::Cohere => match cohere::failed(&value) {
                Some(problem) => return Err(problem),
                None => cohere::response::decode(&value),
            },
            Protocol::Gemini => gemini::response::decode(&value),
            Protocol::Responses => responses::response::decode(&value),
        };
        response
            .ok_or_else(|| Problem::unreadable(200, "the provider's answer lacks what its protocol demands"))
    }

    fn encode_response(self, response: &Response, unix_seconds: u64) -> Value {
        match self {
            Protocol::Anthropic => anthropic::response::encode(response),
            Protocol::Bedrock => bedrock::response::encode(response),
            Protocol::Chat | Protocol::Cohere => chat::response::encode(response, unix_seconds),
            Protocol::Gemini => gemini::response::encode(response),
            Protocol::Responses => responses::response::encode(response, unix_seconds),
        }
    }

    fn framing(self) -> frame::Framing {
        match self {
            Protocol::Bedrock => frame::Framing::Aws(frame::aws::Decoder::default()),
            Protocol::Anthropic
            | Protocol::Chat
            | Protocol::Cohere
            | Protocol::Gemini
            | Protocol::Responses => frame::Framing::Sse(frame::Sse::default()),
        }
    }

    fn stream_decoder(self) -> StreamDecoder {
        let state = match self {
            Protocol::Anthropic => Decoding::Anthropic(Default::default()),
            Protocol::Bedrock => Decoding::Bedrock(Default::default()),
            Protocol::Chat => Decoding::Chat(Default::default()),
            Protocol::Cohere => Decoding::Cohere(Default::default()),
            Protocol::Gemini => Decoding::Gemini(Default::default()),
            Protocol::Responses => Decoding::Responses(Default::default()),
        };
        StreamDecoder { state, is_ended: false }
    }

    fn stream_encoder(self, settings: StreamSettings) -> StreamEncoder {
        match self {
            Protocol::Anthropic => StreamEncoder::Anthropic(Default::default()),
            Protocol::Bedrock => StreamEncoder::Bedrock(Default::default()),
            Protocol::Chat | Protocol::Cohere => StreamEncoder::Chat(chat::stream::Encoder::new(settings)),
            Protocol::Gemini => StreamEncoder::Gemini(gemini::stream::Encoder::new(settings)),
            Protocol::Responses => StreamEncoder::Responses(responses::stream::Encoder::new(settings)),
        }
    }

    fn stream_media_type(self) -> &'static str {
        match self {
            Protocol::Bedrock => "application/vnd.amazon.eventstream",
            Protocol::Anthropic
            | Protocol::Chat
            | Protocol::Cohere
            | Protocol::Gemini
            | Protocol::Responses => "text/event-stream",
        }
    }

    fn error_body(self, told: &Told<'_>) -> Value {
        match self {
            Protocol::Anthropic => anthropic::error(told),
            Protocol::Bedrock => bedrock::error(told),
            Protocol::Chat | Protocol::Cohere | Protocol::Responses => chat::error(told),
            Protocol::Gemini => gemini::error(told),
        }
    }

    fn error_event(self, told: &Told<'_>, out: &mut Vec<u8>) {
        match self {
            Protocol::Anthropic => sse("error", &anthropic::error(told), out),
            Protocol::Bedrock => {
                let body = bedrock::error(told).to_string();
                frame::aws::encode_exception(bedrock::stream::exception(told.status), body.as_bytes(), out);
            }
            Protocol::Chat | Protocol::Cohere => sse("", &chat::error(told), out),
            Protocol::Gemini => sse("", &gemini::error(told), out),
            Protocol::Responses => sse("error", &responses::error_event(told), out),
        }
    }

    fn keep_alive(self, out: &mut Vec<u8>) {
        match self {
            Protocol::Anthropic => out.extend_from_slice(b"event: ping\ndata: {\"type\": \"ping\"}\n\n"),
            // Empty lines end no event. A comment would be one for google-genai, which does not know them.
            Protocol::Chat | Protocol::Cohere | Protocol::Gemini | Protocol::Responses => {
                out.extend_from_slice(b"\n\n");
            }
            // A message of a type that SDKs do not know is passed over by them.
            Protocol::Bedrock => frame::aws::encode("ping", b"{}", out),
        }
    }
}

/// Reads a whole answer that should be JSON, and no error.
fn whole(body: &[u8]) -> Result<Value, Problem> {
    let text = body.trim_ascii();
    let value = match (text.first(), serde_json::from_slice::<Value>(text)) {
        (None, _) => return Err(Problem::unreadable(200, "the provider answered 200 with an empty body")),
        (_, Ok(value)) => value,
        (Some(b'<'), Err(_)) => {
            return Err(Problem::unreadable(200, "the provider answered 200 with a page instead of JSON"));
        }
        (Some(_), Err(error)) => {
            let message = format!("the provider answered 200 with broken JSON: {error}");
            return Err(Problem::unreadable(200, &message));
        }
    };
    match Problem::inside(&value) {
        Some(problem) => Err(problem),
        None => Ok(value),
    }
}

/// An error as a client is told of it.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    pub status: u16,
    /// The permanent public name: a fault's id, or the provider's own code.
    pub code: &'a str,
    pub message: &'a str,
    pub param: Option<&'a str>,
    pub request_id: &'a str,
}

/// What an encoder of a stream must know beside the events.
#[derive(Clone, Debug, Default)]
pub struct StreamSettings {
    pub unix_seconds: u64,
    /// Whether a client of the chat protocol asked for the usage.
    pub usage: bool,
    /// Tool calls go out whole, in one piece: what Mistral's client wants.
    pub whole_tool_calls: bool,
}

/// What must stand in the head of an error beside its body: Bedrock's SDKs take the kind from a field.
pub fn error_field(protocol: Protocol, status: u16) -> Option<(&'static str, &'static str)> {
    (protocol == Protocol::Bedrock).then(|| ("x-amzn-ErrorType", bedrock::error_type(status)))
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// The connection ended as it should.
    Eof,
    /// It broke.
    Error,
}

/// Reads one provider's stream.
#[derive(Debug)]
pub struct StreamDecoder {
    state: Decoding,
    is_ended: bool,
}

#[derive(Debug)]
enum Decoding {
    Anthropic(anthropic::stream::Decoder),
    Bedrock(bedrock::stream::Decoder),
    Chat(chat::stream::Decoder),
    Cohere(cohere::stream::Decoder),
    Gemini(gemini::stream::Decoder),
    Responses(responses::stream::Decoder),
}

impl StreamDecoder {
    /// Reads a frame; what it means is added to `out`.
    pub fn frame(&mut self, frame: &Frame, out: &mut Vec<Event>) -> Result<(), Problem> {
        if self.is_ended {
            return Ok(());
        }
        if frame.is_exception {
            return Err(bedrock::stream::problem(frame));
        }
        let first = out.len();
        if frame.data.trim_ascii() == b"[DONE]" {
            if let Decoding::Chat(decoder) = &mut self.state {
                decoder.done(out);
            }
        } else if !frame.data.is_empty() {
            let value: Value = serde_json::from_slice(&frame.data).map_err(|error| {
                Problem::unreadable(200, &format!("the provider's stream has broken JSON: {error}"))
            })?;
            if let Some(problem) = Problem::inside(&value) {
                return Err(problem);
            }
            match &mut self.state {
                Decoding::Anthropic(decoder) => decoder.value(&value, out),
                Decoding::Bedrock(decoder) => decoder.value(&frame.name, &value, out),
                Decoding::Chat(decoder) => decoder.value(&value, out),
                Decoding::Cohere(decoder) => decoder.value(&value, out)?,
                Decoding::Gemini(decoder) => decoder.value(&value, out),
                Decoding::Responses(decoder) => decoder.value(&value, out)?,
            }
        }
        self.is_ended = out.get(first..).unwrap_or_default().contains(&Event::End);
        Ok(())
    }

    /// The stream is over. One that never said so itself is a fault, and is never completed here.
    pub fn end(&mut self, why: StreamEnd, out: &mut Vec<Event>) -> Result<(), Problem> {
        if self.is_ended {
            return Ok(());
        }
        // Some providers of the chat protocol leave `[DONE]` out, Gemini has no terminal event: there, the reason to stop is it.
        if why == StreamEnd::Eof {
            match &mut self.state {
                Decoding::Chat(decoder) if decoder.has_stopped() => decoder.done(out),
                Decoding::Gemini(decoder) if decoder.has_stopped() => decoder.done(out),
                Decoding::Bedrock(decoder) if decoder.has_stopped() => decoder.done(out),
                _ => {}
            }
        }
        self.is_ended = out.contains(&Event::End);
        if self.is_ended {
            return Ok(());
        }
        Err(Problem::unreadable(200, "the provider's stream ended before its answer did"))
    }
}

/// Writes a stream for one client.
#[derive(Debug)]
pub enum StreamEncoder {
    Anthropic(anthropic::stream::Encoder),
    Bedrock(bedrock::stream::Encoder),
    Chat(chat::stream::Encoder),
    Gemini(gemini::stream::Encoder),
    Responses(responses::stream::Encoder),
}

impl StreamEncoder {
    pub fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        match self {
            StreamEncoder::Anthropic(encoder) => encoder.event(event, out),
            StreamEncoder::Bedrock(encoder) => encoder.event(event, out),
            StreamEncoder::Chat(encoder) => encoder.event(event, out),
            StreamEncoder::Gemini(encoder) => encoder.event(event, out),
            StreamEncoder::Responses(encoder) => encoder.event(event, out),
        }
    }
}

/// Appends a server-sent event; without a name where it is empty.
fn sse(name: &str, value: &Value, out: &mut Vec<u8>) {
    if !name.is_empty() {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(name.as_bytes());
        out.push(b'\n');
    }
    out.extend_from_slice(b"data: ");
    // JSON text has no line ends of its own.
    out.extend_from_slice(value.to_string().as_bytes());
    out.extend_from_slice(b"\n\n");
}
