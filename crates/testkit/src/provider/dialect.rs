//! The protocols as providers speak them: written from the vendors' references, and from nothing of Clearway's.

mod anthropic;
mod bedrock;
mod chat;
mod cohere;
mod gemini;
mod responses;

use serde_json::{Value, json};

use super::fault::Trouble;
use super::{Asked, Said};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Anthropic,
    Bedrock,
    Chat,
    Cohere,
    Gemini,
    Responses,
}

/// A stream: what comes before the first word, what is said, and how it ends.
#[derive(Debug, Default)]
pub(super) struct Events {
    pub(super) before: Vec<Vec<u8>>,
    pub(super) content: Vec<Vec<u8>>,
    pub(super) end: Vec<Vec<u8>>,
}

/// Status, fields and body of an error.
pub(super) type ErrorAnswer = (u16, Vec<(&'static str, &'static str)>, Value);

/// What is counted: 10 tokens in, 3 of them from a cache, and 4 out.
pub(super) const INPUT: u64 = 10;
pub(super) const CACHED: u64 = 3;
pub(super) const OUTPUT: u64 = 4;
/// What every call gets, whole and in the pieces of a stream.
pub(super) const ARGUMENTS: &str = r#"{"city": "Paris"}"#;
pub(super) const ARGUMENT_PIECES: [&str; 2] = [r#"{"city""#, r#": "Paris"}"#];

impl Dialect {
    /// By the place, and whether a stream is wanted.
    pub(super) fn of(path: &str, body: &Value) -> Option<(Dialect, bool)> {
        let stream = body.get("stream") == Some(&Value::Bool(true));
        Some(match path {
            _ if path.ends_with("/chat/completions") => (Dialect::Chat, stream),
            _ if path.ends_with("/responses") => (Dialect::Responses, stream),
            _ if path.ends_with("/messages") => (Dialect::Anthropic, stream),
            _ if path.ends_with(":generateContent") => (Dialect::Gemini, false),
            _ if path.ends_with(":streamGenerateContent") => (Dialect::Gemini, true),
            _ if path.ends_with("/converse") => (Dialect::Bedrock, false),
            _ if path.ends_with("/converse-stream") => (Dialect::Bedrock, true),
            _ if path.ends_with("/v2/chat") => (Dialect::Cohere, stream),
            _ => return None,
        })
    }

    pub(super) fn whole(self, asked: &Asked, said: &Said) -> Value {
        match self {
            Dialect::Anthropic => anthropic::whole(asked, said),
            Dialect::Bedrock => bedrock::whole(said),
            Dialect::Chat => chat::whole(asked, said),
            Dialect::Cohere => cohere::whole(said),
            Dialect::Gemini => gemini::whole(asked, said),
            Dialect::Responses => responses::whole(asked, said),
        }
    }

    pub(super) fn events(self, asked: &Asked, said: &Said) -> Events {
        match self {
            Dialect::Anthropic => anthropic::events(asked, said),
            Dialect::Bedrock => bedrock::events(said),
            Dialect::Chat => chat::events(asked, said),
            Dialect::Cohere => cohere::events(said),
            Dialect::Gemini => gemini::events(asked, said),
            Dialect::Responses => responses::events(asked, said),
        }
    }

    pub(super) fn stream_media_type(self) -> &'static str {
        match self {
            Dialect::Bedrock => "application/vnd.amazon.eventstream",
            _ => "text/event-stream",
        }
    }

    /// Names of the functions that a request offers.
    pub(super) fn tools(self, body: &Value) -> Vec<String> {
        let (list, name) = match self {
            Dialect::Anthropic => ("/tools", "/name"),
            Dialect::Bedrock => ("/toolConfig/tools", "/toolSpec/name"),
            Dialect::Chat | Dialect::Cohere => ("/tools", "/function/name"),
            Dialect::Gemini => ("/tools/0/functionDeclarations", "/name"),
            Dialect::Responses => ("/tools", "/name"),
        };
        let tools = body.pointer(list).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        tools.iter().filter_map(|tool| Some(tool.pointer(name)?.as_str()?.to_owned())).collect()
    }

    /// Whether what was said last has the result of a function.
    pub(super) fn has_result(self, body: &Value) -> bool {
        let list = match self {
            Dialect::Gemini => "contents",
            Dialect::Responses => "input",
            _ => "messages",
        };
        let last = body.get(list).and_then(Value::as_array).and_then(|list| list.last());
        let text = last.map(Value::to_string).unwrap_or_default();
        ["\"tool\"", "tool_result", "toolResult", "functionResponse", "function_call_output"]
            .iter()
            .any(|mark| text.contains(mark))
    }

    pub(super) fn error(self, trouble: Trouble) -> ErrorAnswer {
        let (status, mut fields, body) = match self {
            Dialect::Anthropic => anthropic::error(trouble),
            Dialect::Bedrock => bedrock::error(trouble),
            Dialect::Chat | Dialect::Responses => chat::error(trouble),
            Dialect::Cohere => cohere::error(trouble),
            Dialect::Gemini => gemini::error(trouble),
        };
        if trouble == Trouble::Limited {
            fields.push(("retry-after", "7"));
        }
        (status, fields, body)
    }

    /// The error in the middle of a stream.
    pub(super) fn error_event(self, trouble: Trouble) -> Vec<u8> {
        let (_, _, body) = self.error(trouble);
        match self {
            Dialect::Anthropic => sse("error", &body),
            Dialect::Bedrock => bedrock::exception(trouble),
            Dialect::Chat | Dialect::Gemini => sse("", &body),
            Dialect::Cohere => cohere::error_event(),
            Dialect::Responses => responses::error_event(&body),
        }
    }
}

impl Said {
    pub(super) fn text(&self) -> String {
        self.words.concat()
    }
}

/// A server-sent event; without a name where it is empty.
fn sse(name: &str, data: &Value) -> Vec<u8> {
    match name {
        "" => format!("data: {data}\n\n"),
        name => format!("event: {name}\ndata: {data}\n\n"),
    }
    .into_bytes()
}

/// The arguments of a call, as an object.
fn arguments() -> Value {
    json!({ "city": "Paris" })
}
