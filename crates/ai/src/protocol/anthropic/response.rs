//! Whole answers of the messages protocol.

use serde_json::{Value, json};

use super::{encode_usage, reason_of, stop_of, usage};
use crate::Protocol;
use crate::fields::{Object, list_at, text_at};
use crate::form::{Block, Citation, Response, Signature, ToolUse};
use crate::protocol::thread;

pub(in crate::protocol) fn decode(value: &Value) -> Option<Response> {
    let content = value.get("content")?.as_array()?;
    Some(Response {
        id: text_at(value, "/id").to_owned(),
        model: text_at(value, "/model").to_owned(),
        blocks: content.iter().filter_map(decode_block).collect(),
        stop: stop_of(text_at(value, "/stop_reason")),
        stop_sequence: value.get("stop_sequence").and_then(Value::as_str).map(str::to_owned),
        usage: value.get("usage").map(usage).unwrap_or_default(),
    })
}

fn decode_block(block: &Value) -> Option<Block> {
    let text = |key: &str| text_at(block, key).to_owned();
    let sign = |value: String| Signature { by: Protocol::Anthropic, value };
    Some(match text_at(block, "/type") {
        "text" => Block::Text {
            text: text("/text"),
            citations: list_at(block, "/citations").iter().map(decode_citation).collect(),
        },
        "thinking" => Block::Thinking {
            text: text("/thinking"),
            signature: Some(text("/signature")).filter(|text| !text.is_empty()).map(sign),
        },
        "redacted_thinking" => Block::ThinkingRedacted(sign(text("/data"))),
        "tool_use" => Block::ToolUse(ToolUse {
            id: text("/id"),
            name: text("/name"),
            input: thread::input_text(block.get("input").cloned()),
            signature: None,
        }),
        // What the provider's own tools did is between it and the model.
        _ => return None,
    })
}

pub(super) fn decode_citation(citation: &Value) -> Citation {
    let text = |key: &str| citation.get(key).and_then(Value::as_str).map(str::to_owned);
    Citation {
        title: text("title").or_else(|| text("document_title")),
        url: text("url"),
        quote: text("cited_text"),
        document: citation.get("document_index").and_then(Value::as_u64),
    }
}

pub(super) fn encode_citation(citation: &Citation) -> Value {
    match &citation.url {
        Some(url) => json!({
            "type": "web_search_result_location", "url": url, "title": citation.title,
            "cited_text": citation.quote.as_deref().unwrap_or_default(), "encrypted_index": "",
        }),
        None => json!({
            "type": "char_location", "cited_text": citation.quote.as_deref().unwrap_or_default(),
            "document_index": citation.document.unwrap_or_default(), "document_title": citation.title,
            "start_char_index": 0, "end_char_index": 0,
        }),
    }
}

pub(in crate::protocol) fn encode(response: &Response) -> Value {
    let mut content = Vec::new();
    for block in &response.blocks {
        match block {
            Block::Text { text, citations } => {
                let mut out = Object::default();
                out.set("type", "text").set("text", text.as_str());
                out.set_list("citations", citations.iter().map(encode_citation).collect());
                content.push(out.value());
            }
            Block::Refusal(text) => content.push(json!({ "type": "text", "text": text })),
            Block::Thinking { text, signature } => {
                let signature = signature.as_ref().map(|signature| signature.abroad(Protocol::Anthropic));
                content.push(json!({
                    "type": "thinking", "thinking": text, "signature": signature.unwrap_or_default(),
                }));
            }
            Block::ThinkingRedacted(data) => content.push(json!({
                "type": "redacted_thinking", "data": data.abroad(Protocol::Anthropic),
            })),
            Block::ToolUse(ToolUse { id, name, input, signature }) => {
                // A call has no place for a proof of its own: it travels as a thought before it.
                if let Some(signature) = signature {
                    content.push(json!({
                        "type": "thinking", "thinking": "", "signature": signature.abroad(Protocol::Anthropic),
                    }));
                }
                content.push(json!({
                    "type": "tool_use", "id": id, "name": name, "input": thread::input_value(input),
                }));
            }
            Block::Audio(_) | Block::CachePoint | Block::File(_) | Block::Image(_) | Block::ToolResult(_) => {
            }
        }
    }
    json!({
        "id": response.id,
        "type": "message",
        "role": "assistant",
        "model": response.model,
        "content": content,
        "stop_reason": reason_of(response.stop),
        "stop_sequence": response.stop_sequence,
        "usage": encode_usage(&response.usage),
    })
}
