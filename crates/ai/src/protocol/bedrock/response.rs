//! Whole answers of converse.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{encode_usage, reason_of, stop_of, usage};
use crate::Protocol;
use crate::fields::{put, text_at};
use crate::form::{Block, Response, Signature, ToolUse};
use crate::protocol::thread;

pub(in crate::protocol) fn decode(value: &Value) -> Option<Response> {
    let content = value.pointer("/output/message/content")?.as_array()?;
    Some(Response {
        id: String::new(),
        model: String::new(),
        blocks: content.iter().filter_map(decode_block).collect(),
        stop: stop_of(text_at(value, "/stopReason")),
        stop_sequence: None,
        usage: value.get("usage").map(usage).unwrap_or_default(),
    })
}

fn decode_block(block: &Value) -> Option<Block> {
    if let Some(text) = block.get("text").and_then(Value::as_str) {
        return Some(Block::text(text));
    }
    if let Some(call) = block.get("toolUse") {
        return Some(Block::ToolUse(ToolUse {
            id: text_at(call, "/toolUseId").to_owned(),
            name: text_at(call, "/name").to_owned(),
            input: thread::input_text(call.get("input").cloned()),
            signature: None,
        }));
    }
    let thought = block.get("reasoningContent")?;
    if let Some(data) = thought.get("redactedContent").and_then(Value::as_str) {
        return Some(Block::ThinkingRedacted(own(data)));
    }
    let signature = text_at(thought, "/reasoningText/signature");
    Some(Block::Thinking {
        text: text_at(thought, "/reasoningText/text").to_owned(),
        signature: (!signature.is_empty()).then(|| own(signature)),
    })
}

pub(super) fn own(value: &str) -> Signature {
    Signature { by: Protocol::Bedrock, value: value.to_owned() }
}

/// Redacted content is bytes, which SDKs decode from Base64 and encode again.
pub(super) fn redacted_abroad(data: &Signature) -> String {
    match data.by {
        Protocol::Bedrock => data.value.clone(),
        _ => STANDARD.encode(data.abroad(Protocol::Bedrock)),
    }
}

/// The reverse.
pub(super) fn from_client(text: &str) -> Signature {
    let foreign = STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    match foreign.map(|foreign| Signature::from_client(&foreign, Protocol::Bedrock)) {
        Some(signature) if signature.by != Protocol::Bedrock => signature,
        _ => own(text),
    }
}

pub(in crate::protocol) fn encode(response: &Response) -> Value {
    let content: Vec<Value> = response.blocks.iter().filter_map(encode_block).collect();
    json!({
        "output": { "message": { "role": "assistant", "content": content } },
        "stopReason": reason_of(response.stop),
        "usage": encode_usage(&response.usage),
        "metrics": { "latencyMs": 0 },
    })
}

fn encode_block(block: &Block) -> Option<Value> {
    Some(match block {
        Block::Text { text, .. } | Block::Refusal(text) => json!({ "text": text }),
        Block::Thinking { text, signature } => {
            let signature = signature.as_ref().map(|signature| signature.abroad(Protocol::Bedrock));
            let mut thought = json!({ "text": text });
            if let Some(signature) = signature {
                put(&mut thought, "signature", signature);
            }
            json!({ "reasoningContent": { "reasoningText": thought } })
        }
        Block::ThinkingRedacted(data) => {
            json!({ "reasoningContent": { "redactedContent": redacted_abroad(data) } })
        }
        Block::ToolUse(ToolUse { id, name, input, .. }) => {
            json!({ "toolUse": { "toolUseId": id, "name": name, "input": thread::input_value(input) } })
        }
        Block::Audio(_) | Block::CachePoint | Block::File(_) | Block::Image(_) | Block::ToolResult(_) => {
            return None;
        }
    })
}
