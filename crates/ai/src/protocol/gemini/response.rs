//! Whole answers of Google's protocol.

use serde_json::{Value, json};

use super::{encode_usage, reason_of, stop_of, usage};
use crate::Protocol;
use crate::fields::{Object, list_at, text_at};
use crate::form::{Block, Citation, Response, Signature, Stop, ToolUse};
use crate::protocol::thread;

pub(in crate::protocol) fn decode(value: &Value) -> Option<Response> {
    let id = text_at(value, "/responseId").to_owned();
    let candidate = list_at(value, "/candidates").first();
    let blocked = text_at(value, "/promptFeedback/blockReason");
    if candidate.is_none() && blocked.is_empty() {
        return None;
    }
    let mut blocks = Vec::new();
    for part in candidate.map(|candidate| list_at(candidate, "/content/parts")).unwrap_or_default() {
        if let Some(block) = decode_part(part, &id, blocks.len()) {
            merge(&mut blocks, block);
        }
    }
    if let Some(candidate) = candidate
        && let Some(Block::Text { citations, .. }) =
            blocks.iter_mut().rev().find(|block| matches!(block, Block::Text { .. }))
    {
        citations.extend(decode_citations(candidate));
    }
    let mut stop = match candidate {
        Some(candidate) => stop_of(text_at(candidate, "/finishReason")),
        None => Stop::Filtered,
    };
    if stop == Stop::End && blocks.iter().any(|block| matches!(block, Block::ToolUse(_))) {
        stop = Stop::ToolUse;
    }
    Some(Response {
        id,
        model: text_at(value, "/modelVersion").to_owned(),
        blocks,
        stop,
        stop_sequence: None,
        usage: value.get("usageMetadata").map(usage).unwrap_or_default(),
    })
}

/// Texts that follow each other are one.
fn merge(blocks: &mut Vec<Block>, block: Block) {
    match (blocks.last_mut(), block) {
        (Some(Block::Text { text, .. }), Block::Text { text: more, .. }) => text.push_str(&more),
        (Some(Block::Thinking { text, signature: None }), Block::Thinking { text: more, signature }) => {
            text.push_str(&more);
            if let (Some(Block::Thinking { signature: place, .. }), Some(found)) =
                (blocks.last_mut(), signature)
            {
                *place = Some(found);
            }
        }
        (_, block) => blocks.push(block),
    }
}

pub(super) fn signature(part: &Value) -> Option<Signature> {
    let value = part.get("thoughtSignature")?.as_str()?.to_owned();
    Some(Signature { by: Protocol::Gemini, value })
}

/// A call without an id gets one that no other answer has.
pub(super) fn call_id(call: &Value, response_id: &str, number: usize) -> String {
    match text_at(call, "/id") {
        "" if response_id.is_empty() => format!("call_{number}"),
        "" => format!("call_{response_id}_{number}"),
        id => id.to_owned(),
    }
}

fn decode_part(part: &Value, response_id: &str, number: usize) -> Option<Block> {
    if let Some(text) = part.get("text").and_then(Value::as_str) {
        let is_thought = part.get("thought").is_some_and(|thought| *thought == true);
        return match is_thought {
            true => Some(Block::Thinking { text: text.to_owned(), signature: signature(part) }),
            false if text.is_empty() => None,
            false => Some(Block::text(text)),
        };
    }
    let call = part.get("functionCall")?;
    Some(Block::ToolUse(ToolUse {
        id: call_id(call, response_id, number),
        name: text_at(call, "/name").to_owned(),
        input: thread::input_text(call.get("args").cloned()),
        signature: signature(part),
    }))
}

pub(super) fn decode_citations(candidate: &Value) -> Vec<Citation> {
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let grounding = list_at(candidate, "/groundingMetadata/groundingChunks").iter().map(|chunk| Citation {
        title: some(text_at(chunk, "/web/title")),
        url: some(text_at(chunk, "/web/uri")),
        quote: None,
        document: None,
    });
    let sources = list_at(candidate, "/citationMetadata/citationSources").iter().map(|source| Citation {
        title: some(text_at(source, "/title")),
        url: some(text_at(source, "/uri")),
        quote: None,
        document: None,
    });
    grounding.chain(sources).filter(|citation| citation.url.is_some()).collect()
}

pub(super) fn encode_citations(citations: &[Citation]) -> Option<Value> {
    let sources: Vec<Value> = citations
        .iter()
        .filter_map(|citation| {
            let url = citation.url.as_ref()?;
            Some(json!({ "uri": url, "title": citation.title }))
        })
        .collect();
    (!sources.is_empty()).then(|| json!({ "citationSources": sources }))
}

pub(in crate::protocol) fn encode(response: &Response) -> Value {
    let mut parts = Vec::new();
    let mut cited = Vec::new();
    for block in &response.blocks {
        match block {
            Block::Text { text, citations } => {
                cited.extend(citations.iter().cloned());
                parts.push(json!({ "text": text }));
            }
            Block::Refusal(text) => parts.push(json!({ "text": text })),
            Block::Thinking { text, signature } => {
                let mut part = Object::default();
                part.set("text", text.as_str()).set("thought", true);
                part.set_some("thoughtSignature", signature.as_ref().map(abroad));
                parts.push(part.value());
            }
            Block::ThinkingRedacted(data) => {
                parts.push(json!({ "text": "", "thought": true, "thoughtSignature": abroad(data) }))
            }
            Block::ToolUse(ToolUse { id, name, input, signature }) => {
                parts.push(encode_call(id, name, input, signature.as_ref()));
            }
            Block::Audio(_) | Block::CachePoint | Block::File(_) | Block::Image(_) | Block::ToolResult(_) => {
            }
        }
    }
    let mut candidate = Object::default();
    candidate.set("content", json!({ "role": "model", "parts": parts }));
    candidate.set("finishReason", reason_of(response.stop)).set("index", 0);
    candidate.set_some("citationMetadata", encode_citations(&cited));
    json!({
        "candidates": [candidate.value()],
        "usageMetadata": encode_usage(&response.usage),
        "modelVersion": response.model,
        "responseId": response.id,
    })
}

/// SDKs decode the proof as Base64 and encode it again, so that one of another protocol must be Base64, too.
pub(super) fn abroad(signature: &Signature) -> String {
    use base64::Engine;
    match signature.by {
        Protocol::Gemini => signature.value.clone(),
        _ => base64::engine::general_purpose::STANDARD.encode(signature.abroad(Protocol::Gemini)),
    }
}

pub(super) fn encode_call(id: &str, name: &str, input: &str, signature: Option<&Signature>) -> Value {
    let mut part = Object::default();
    part.set("functionCall", json!({ "id": id, "name": name, "args": thread::input_value(input) }));
    part.set_some("thoughtSignature", signature.map(abroad));
    part.value()
}

/// The reverse: what an SDK sends back, in either alphabet of Base64.
pub(super) fn from_client(text: &str) -> Signature {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};
    let bytes = STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok();
    let foreign = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    match foreign.map(|foreign| Signature::from_client(&foreign, Protocol::Gemini)) {
        Some(signature) if signature.by != Protocol::Gemini => signature,
        _ => Signature { by: Protocol::Gemini, value: text.to_owned() },
    }
}
