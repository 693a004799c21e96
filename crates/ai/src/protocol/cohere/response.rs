//! Whole answers of Cohere's protocol.

use serde_json::Value;

use super::{stop_of, usage};
use crate::fields::{list_at, text_at};
use crate::form::{Block, Citation, Response, ToolUse};
use crate::protocol::thread;

pub(in crate::protocol) fn decode(value: &Value) -> Option<Response> {
    // Errors have a text in its place.
    let message = value.get("message").filter(|message| message.is_object())?;
    let mut blocks = Vec::new();
    let mut citations: Vec<Citation> = list_at(message, "/citations").iter().map(decode_citation).collect();
    for part in list_at(message, "/content") {
        match text_at(part, "/type") {
            "thinking" => {
                let text = text_at(part, "/thinking").to_owned();
                blocks.push(Block::Thinking { text, signature: None });
            }
            _ => {
                let text = text_at(part, "/text").to_owned();
                blocks.push(Block::Text { text, citations: std::mem::take(&mut citations) });
            }
        }
    }
    for call in list_at(message, "/tool_calls") {
        blocks.push(Block::ToolUse(ToolUse {
            id: text_at(call, "/id").to_owned(),
            name: text_at(call, "/function/name").to_owned(),
            input: thread::input_text(call.pointer("/function/arguments").cloned()),
            signature: None,
        }));
    }
    Some(Response {
        id: text_at(value, "/id").to_owned(),
        model: String::new(),
        blocks,
        stop: stop_of(text_at(value, "/finish_reason")),
        stop_sequence: None,
        usage: value.get("usage").map(usage).unwrap_or_default(),
    })
}

pub(super) fn decode_citation(citation: &Value) -> Citation {
    let source = list_at(citation, "/sources").first();
    let text = |pointer: &str| {
        source.map(|source| text_at(source, pointer).to_owned()).filter(|text| !text.is_empty())
    };
    let quote = text_at(citation, "/text").to_owned();
    Citation {
        title: text("/document/title"),
        url: text("/document/url"),
        quote: Some(quote).filter(|quote| !quote.is_empty()),
        document: None,
    }
}
