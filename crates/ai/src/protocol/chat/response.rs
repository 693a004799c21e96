//! Whole answers of the chat protocol.

use serde_json::{Value, json};

use super::{reason_of, stop_of};
use crate::Protocol;
use crate::fields::{Object, count_at, list_at, text_at};
use crate::form::{Block, Citation, Response, Signature, Stop, ToolUse, Usage};
use crate::protocol::thread;

pub(in crate::protocol) fn decode(value: &Value) -> Option<Response> {
    let choice = list_at(value, "/choices").first()?;
    let message = choice.get("message")?;
    let mut blocks = Vec::new();
    // Gateways have thoughts with their proofs; of the others, not all have the same name for them.
    blocks.extend(list_at(message, "/thinking_blocks").iter().map(decode_thought));
    let thought = ["/reasoning_content", "/reasoning"].map(|key| text_at(message, key));
    if let Some(text) = thought.into_iter().find(|text| !text.is_empty() && blocks.is_empty()) {
        blocks.push(Block::Thinking { text: text.to_owned(), signature: None });
    }
    match message.get("content") {
        Some(Value::String(text)) if !text.is_empty() => {
            blocks.push(Block::Text { text: text.clone(), citations: citations(message) });
        }
        // Mistral's models that reason answer in pieces.
        Some(Value::Array(parts)) => parts.iter().for_each(|part| match text_at(part, "/type") {
            "thinking" => {
                let text: String =
                    list_at(part, "/thinking").iter().map(|part| text_at(part, "/text")).collect();
                blocks.push(Block::Thinking { text, signature: None });
            }
            _ if !text_at(part, "/text").is_empty() => blocks.push(Block::text(text_at(part, "/text"))),
            _ => {}
        }),
        _ => {}
    }
    let refusal = text_at(message, "/refusal");
    if !refusal.is_empty() {
        blocks.push(Block::Refusal(refusal.to_owned()));
    }
    for (index, call) in list_at(message, "/tool_calls").iter().enumerate() {
        blocks.push(Block::ToolUse(ToolUse {
            id: match text_at(call, "/id") {
                "" => format!("call_{index}"),
                id => id.to_owned(),
            },
            name: text_at(call, "/function/name").to_owned(),
            input: thread::input_text(
                call.pointer("/function/arguments").cloned().filter(|value| !value.is_null()),
            ),
            signature: None,
        }));
    }
    let mut stop = stop_of(text_at(choice, "/finish_reason"));
    // Some providers say "stop" also when they call tools.
    if stop == Stop::End && blocks.iter().any(|block| matches!(block, Block::ToolUse(_))) {
        stop = Stop::ToolUse;
    }
    Some(Response {
        id: text_at(value, "/id").to_owned(),
        model: text_at(value, "/model").to_owned(),
        blocks,
        stop,
        stop_sequence: None,
        usage: usage(value.get("usage").or_else(|| value.pointer("/x_groq/usage"))),
    })
}

fn citations(message: &Value) -> Vec<Citation> {
    let text_of = |value: &Value, pointer: &str| {
        Some(text_at(value, pointer).to_owned()).filter(|text| !text.is_empty())
    };
    list_at(message, "/annotations")
        .iter()
        .filter(|note| text_at(note, "/type") == "url_citation")
        .map(|note| Citation {
            title: text_of(note, "/url_citation/title"),
            url: text_of(note, "/url_citation/url"),
            quote: None,
            document: None,
        })
        .collect()
}

/// In this protocol the prompt's tokens include those that came from a cache.
pub(in crate::protocol) fn usage(value: Option<&Value>) -> Usage {
    let Some(value) = value.filter(|value| value.is_object()) else { return Usage::default() };
    let prompt = count_at(value, "/prompt_tokens");
    // DeepSeek has a name of its own.
    let cached = count_at(value, "/prompt_tokens_details/cached_tokens")
        .max(count_at(value, "/prompt_cache_hit_tokens"));
    let audio_input = count_at(value, "/prompt_tokens_details/audio_tokens");
    let written = count_at(value, "/prompt_tokens_details/cache_write_tokens");
    let completion = count_at(value, "/completion_tokens");
    let audio_output = count_at(value, "/completion_tokens_details/audio_tokens");
    Usage {
        input: prompt.saturating_sub(cached).saturating_sub(audio_input).saturating_sub(written),
        cache_read: cached,
        cache_write: written,
        cache_write_long: 0,
        audio_input,
        output: completion.saturating_sub(audio_output),
        reasoning: count_at(value, "/completion_tokens_details/reasoning_tokens"),
        audio_output,
    }
}

pub(in crate::protocol) fn encode_usage(usage: &Usage) -> Value {
    json!({
        "prompt_tokens": usage.input_all(),
        "completion_tokens": usage.output_all(),
        "total_tokens": usage.total(),
        "prompt_tokens_details": { "cached_tokens": usage.cache_read, "audio_tokens": usage.audio_input },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": usage.audio_output,
        },
    })
}

/// The reverse of [`thinking_block`], and of one that only its provider can read.
fn decode_thought(block: &Value) -> Block {
    let sign = |text: &str| Signature::from_client(text, Protocol::Chat);
    match text_at(block, "/data") {
        "" => {
            let signature = text_at(block, "/signature");
            let signature = Some(signature).filter(|text| !text.is_empty()).map(sign);
            Block::Thinking { text: text_at(block, "/thinking").to_owned(), signature }
        }
        data => Block::ThinkingRedacted(sign(data)),
    }
}

/// A thought as a message and a delta carry it.
pub(super) fn thinking_block(text: &str, signature: Option<&Signature>) -> Value {
    let signature = signature.map(|signature| signature.abroad(Protocol::Chat));
    json!({ "type": "thinking", "thinking": text, "signature": signature })
}

pub(super) fn annotation(citation: &Citation) -> Option<Value> {
    let url = citation.url.as_ref()?;
    Some(json!({
        "type": "url_citation",
        "url_citation": { "url": url, "title": citation.title, "start_index": 0, "end_index": 0 },
    }))
}

pub(in crate::protocol) fn encode(response: &Response, unix_seconds: u64) -> Value {
    let mut message = Object::default();
    let (mut text, mut refusal, mut thought) = (String::new(), String::new(), String::new());
    let (mut calls, mut thoughts, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    for block in &response.blocks {
        match block {
            Block::Text { text: more, citations } => {
                text.push_str(more);
                notes.extend(citations.iter().filter_map(annotation));
            }
            Block::Refusal(more) => refusal.push_str(more),
            Block::Thinking { text, signature } => {
                thought.push_str(text);
                if signature.is_some() {
                    thoughts.push(thinking_block(text, signature.as_ref()));
                }
            }
            Block::ThinkingRedacted(data) => {
                thoughts.push(json!({ "type": "redacted_thinking", "data": data.abroad(Protocol::Chat) }));
            }
            Block::ToolUse(ToolUse { id, name, input, signature }) => {
                let mut call = Object::default();
                call.set("id", id.as_str()).set("type", "function");
                call.set("function", json!({ "name": name, "arguments": input }));
                call.set_some(
                    "signature",
                    signature.as_ref().map(|signature| signature.abroad(Protocol::Chat)),
                );
                calls.push(call.value());
            }
            Block::Audio(_) | Block::CachePoint | Block::File(_) | Block::Image(_) | Block::ToolResult(_) => {
            }
        }
    }
    let none_or = |text: String| if text.is_empty() { Value::Null } else { Value::String(text) };
    let is_silent = text.is_empty() && (!calls.is_empty() || !refusal.is_empty());
    message.set("role", "assistant");
    message.set("content", if is_silent { Value::Null } else { Value::String(text) });
    message.set("refusal", none_or(refusal));
    message.set_some("reasoning_content", Some(thought).filter(|text| !text.is_empty()));
    message
        .set_list("thinking_blocks", thoughts)
        .set_list("annotations", notes)
        .set_list("tool_calls", calls);
    json!({
        "id": response.id,
        "object": "chat.completion",
        "created": unix_seconds,
        "model": response.model,
        "choices": [{
            "index": 0,
            "message": message.value(),
            "logprobs": null,
            "finish_reason": reason_of(response.stop),
        }],
        "usage": encode_usage(&response.usage),
    })
}
