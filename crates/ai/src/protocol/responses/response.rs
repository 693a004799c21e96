//! Whole answers of the responses protocol.

use serde_json::{Value, json};

use super::{encode_usage, encrypted, sign, usage};
use crate::fields::{list_at, put, text_at};
use crate::form::{Block, Citation, Response, Stop, ToolUse};
use crate::protocol::thread;

pub(in crate::protocol) fn decode(value: &Value) -> Option<Response> {
    let output = value.get("output")?.as_array()?;
    let mut blocks = Vec::new();
    for item in output {
        match text_at(item, "/type") {
            "message" => {
                for part in list_at(item, "/content") {
                    blocks.push(match text_at(part, "/type") {
                        "refusal" => Block::Refusal(text_at(part, "/refusal").to_owned()),
                        _ => Block::Text {
                            text: text_at(part, "/text").to_owned(),
                            citations: list_at(part, "/annotations").iter().filter_map(citation).collect(),
                        },
                    });
                }
            }
            "function_call" => blocks.push(Block::ToolUse(ToolUse {
                id: text_at(item, "/call_id").to_owned(),
                name: text_at(item, "/name").to_owned(),
                input: thread::input_text(item.get("arguments").cloned()),
                signature: None,
            })),
            "reasoning" => blocks.push(reasoning(item)),
            _ => {}
        }
    }
    Some(Response {
        id: text_at(value, "/id").to_owned(),
        model: text_at(value, "/model").to_owned(),
        stop: stop(value, blocks.iter().any(|block| matches!(block, Block::ToolUse(_)))),
        blocks,
        stop_sequence: None,
        usage: value.get("usage").map(usage).unwrap_or_default(),
    })
}

fn reasoning(item: &Value) -> Block {
    let summary: Vec<&str> = list_at(item, "/summary").iter().map(|part| text_at(part, "/text")).collect();
    let content: Vec<&str> = list_at(item, "/content").iter().map(|part| text_at(part, "/text")).collect();
    let text = if summary.is_empty() { content.join("") } else { summary.join("\n\n") };
    let encrypted = text_at(item, "/encrypted_content");
    let signature = (!encrypted.is_empty()).then(|| sign(text_at(item, "/id"), encrypted));
    Block::Thinking { text, signature }
}

pub(super) fn citation(note: &Value) -> Option<Citation> {
    let url = text_at(note, "/url");
    let title = text_at(note, "/title");
    (!url.is_empty()).then(|| Citation {
        title: (!title.is_empty()).then(|| title.to_owned()),
        url: Some(url.to_owned()),
        quote: None,
        document: None,
    })
}

pub(super) fn stop(response: &Value, has_calls: bool) -> Stop {
    match (text_at(response, "/status"), text_at(response, "/incomplete_details/reason")) {
        (_, "max_output_tokens") => Stop::Length,
        (_, "content_filter") => Stop::Filtered,
        ("incomplete", _) => Stop::Length,
        _ if has_calls => Stop::ToolUse,
        _ => Stop::End,
    }
}

/// The frame of a response, before anything is in it.
pub(super) fn shell(id: &str, model: &str, unix_seconds: u64, status: &str, output: Vec<Value>) -> Value {
    json!({
        "id": id,
        "object": "response",
        "created_at": unix_seconds,
        "status": status,
        "background": false,
        "error": null,
        "incomplete_details": null,
        "instructions": null,
        "max_output_tokens": null,
        "metadata": {},
        "model": model,
        "output": output,
        "parallel_tool_calls": true,
        "previous_response_id": null,
        "reasoning": { "effort": null, "summary": null },
        "service_tier": "default",
        "store": false,
        "temperature": null,
        "text": { "format": { "type": "text" } },
        "tool_choice": "auto",
        "tools": [],
        "top_p": null,
        "truncation": "disabled",
        "usage": null,
        "user": null,
    })
}

/// Sets what the end of an answer tells.
pub(super) fn close(response: &mut Value, stop: Stop, usage: &crate::form::Usage) {
    let reason = match stop {
        Stop::Length => Some("max_output_tokens"),
        Stop::Filtered => Some("content_filter"),
        Stop::End | Stop::Pause | Stop::Sequence | Stop::ToolUse => None,
    };
    put(response, "status", if reason.is_some() { "incomplete" } else { "completed" });
    if let Some(reason) = reason {
        put(response, "incomplete_details", json!({ "reason": reason }));
    }
    put(response, "usage", encode_usage(usage));
}

pub(super) fn annotation(citation: &Citation) -> Option<Value> {
    let url = citation.url.as_ref()?;
    let title = citation.title.as_deref().unwrap_or_default();
    Some(json!({ "type": "url_citation", "url": url, "title": title, "start_index": 0, "end_index": 0 }))
}

pub(super) fn message_item(id: &str, status: &str, content: Vec<Value>) -> Value {
    json!({ "id": id, "type": "message", "status": status, "role": "assistant", "content": content })
}

pub(super) fn call_item(id: &str, status: &str, call: &ToolUse) -> Value {
    json!({
        "id": id, "type": "function_call", "status": status,
        "call_id": call.id, "name": call.name, "arguments": call.input,
    })
}

pub(super) fn reasoning_item(id: &str, text: &str, signature: Option<&crate::form::Signature>) -> Value {
    let summary = if text.is_empty() { json!([]) } else { json!([{ "type": "summary_text", "text": text }]) };
    let mut item = json!({ "id": id, "type": "reasoning", "summary": summary });
    if let Some(signature) = signature {
        let (own, encrypted) = encrypted(signature);
        if let Some(own) = own {
            put(&mut item, "id", own);
        }
        put(&mut item, "encrypted_content", encrypted);
    }
    item
}

/// Ids of items are made of the response's, so that they are unique.
pub(super) fn item_id(kind: &str, response_id: &str, index: usize) -> String {
    format!("{kind}_{}_{index}", response_id.trim_start_matches("resp_"))
}

pub(in crate::protocol) fn encode(response: &Response, unix_seconds: u64) -> Value {
    let mut output: Vec<Value> = Vec::new();
    for (index, block) in response.blocks.iter().enumerate() {
        let part = match block {
            Block::Text { text, citations } => {
                let notes: Vec<Value> = citations.iter().filter_map(annotation).collect();
                json!({ "type": "output_text", "text": text, "annotations": notes, "logprobs": [] })
            }
            Block::Refusal(text) => json!({ "type": "refusal", "refusal": text }),
            Block::Thinking { text, signature } => {
                let id = item_id("rs", &response.id, index);
                output.push(reasoning_item(&id, text, signature.as_ref()));
                continue;
            }
            Block::ThinkingRedacted(data) => {
                output.push(reasoning_item(&item_id("rs", &response.id, index), "", Some(data)));
                continue;
            }
            Block::ToolUse(call) => {
                output.push(call_item(&item_id("fc", &response.id, index), "completed", call));
                continue;
            }
            Block::Audio(_) | Block::CachePoint | Block::File(_) | Block::Image(_) | Block::ToolResult(_) => {
                continue;
            }
        };
        output.push(message_item(&item_id("msg", &response.id, index), "completed", vec![part]));
    }
    let mut value = shell(&response.id, &response.model, unix_seconds, "completed", output);
    close(&mut value, response.stop, &response.usage);
    value
}
