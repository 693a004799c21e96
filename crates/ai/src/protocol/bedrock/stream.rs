//! Streams of converse-stream: messages of AWS's event stream.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::response::{own, redacted_abroad};
use super::{encode_usage, error_type, reason_of, stop_of, usage};
use crate::Protocol;
use crate::fields::text_at;
use crate::form::{BlockStart, Delta, Event, Usage};
use crate::frame::{Frame, aws};
use crate::problem::{ErrorHead, Problem};

/// An exception in the middle of a stream, whose status was 200.
pub(in crate::protocol) fn problem(frame: &Frame) -> Problem {
    let status = match frame.name.as_str() {
        "throttlingException" => 429,
        "validationException" => 400,
        "serviceUnavailableException" => 503,
        "modelStreamErrorException" => 424,
        _ => 500,
    };
    Problem::of_answer(ErrorHead { status, error_type: Some(&frame.name), retry_after: None }, &frame.data)
}

/// The exception that tells a client of this status: those of a stream begin with a small letter.
pub(in crate::protocol) fn exception(status: u16) -> &'static str {
    match error_type(status) {
        "ThrottlingException" => "throttlingException",
        "ValidationException" | "ResourceNotFoundException" | "AccessDeniedException" => {
            "validationException"
        }
        "ServiceUnavailableException" => "serviceUnavailableException",
        "ModelErrorException" | "ModelTimeoutException" => "modelStreamErrorException",
        _ => "internalServerException",
    }
}

#[derive(Debug, Default)]
pub(in crate::protocol) struct Decoder {
    is_started: bool,
    /// Our number for each of the protocol's.
    blocks: BTreeMap<u64, usize>,
    count: usize,
    has_stopped: bool,
}

impl Decoder {
    pub(in crate::protocol) fn value(&mut self, name: &str, value: &Value, out: &mut Vec<Event>) {
        if !self.is_started {
            self.is_started = true;
            out.push(Event::Start { id: String::new(), model: String::new() });
        }
        let number = value.get("contentBlockIndex").and_then(Value::as_u64).unwrap_or_default();
        match name {
            "contentBlockStart" => {
                if let Some(call) = value.pointer("/start/toolUse") {
                    let (id, name) = (text_at(call, "/toolUseId"), text_at(call, "/name"));
                    let block =
                        BlockStart::ToolUse { id: id.to_owned(), name: name.to_owned(), signature: None };
                    self.begin(number, block, out);
                }
            }
            "contentBlockDelta" => self.delta(number, value, out),
            "contentBlockStop" => {
                if let Some(index) = self.blocks.remove(&number) {
                    out.push(Event::BlockStop { index });
                }
            }
            "messageStop" => {
                self.has_stopped = true;
                out.push(Event::Stop { stop: stop_of(text_at(value, "/stopReason")), sequence: None });
            }
            "metadata" => {
                if let Some(value) = value.get("usage") {
                    out.push(Event::Usage(usage(value)));
                }
                if self.has_stopped {
                    out.push(Event::End);
                }
            }
            _ => {}
        }
    }

    fn begin(&mut self, number: u64, block: BlockStart, out: &mut Vec<Event>) -> usize {
        let index = self.count;
        self.count += 1;
        self.blocks.insert(number, index);
        out.push(Event::BlockStart { index, block });
        index
    }

    /// Texts and thoughts begin with their first piece.
    fn delta(&mut self, number: u64, value: &Value, out: &mut Vec<Event>) {
        let Some(delta) = value.get("delta") else { return };
        let thought = delta.get("reasoningContent");
        if let Some(data) = thought.and_then(|thought| thought.get("redactedContent")).and_then(Value::as_str)
        {
            self.begin(number, BlockStart::ThinkingRedacted(own(data)), out);
            return;
        }
        let kind = if thought.is_some() { BlockStart::Thinking } else { BlockStart::Text };
        let index = match self.blocks.get(&number) {
            Some(index) => *index,
            None => self.begin(number, kind, out),
        };
        let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let delta = match thought {
            Some(thought) => match text(thought, "signature") {
                Some(signature) => Some(Delta::Signature(own(&signature))),
                None => text(thought, "text").map(Delta::Text),
            },
            None => match delta.get("toolUse") {
                Some(call) => text(call, "input").map(Delta::Input),
                None => text(delta, "text").map(Delta::Text),
            },
        };
        if let Some(delta) = delta {
            out.push(Event::Delta { index, delta });
        }
    }

    pub(in crate::protocol) fn has_stopped(&self) -> bool {
        self.has_stopped
    }

    pub(in crate::protocol) fn done(&mut self, out: &mut Vec<Event>) {
        out.push(Event::End);
    }
}

#[derive(Debug, Default)]
pub struct Encoder {
    thoughts: BTreeSet<usize>,
    usage: Usage,
}

impl Encoder {
    pub(in crate::protocol) fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        match event {
            Event::Start { .. } => message("messageStart", &json!({ "role": "assistant" }), out),
            Event::BlockStart { index, block } => match block {
                BlockStart::ToolUse { id, name, .. } => {
                    let start = json!({ "toolUse": { "toolUseId": id, "name": name } });
                    let value = json!({ "contentBlockIndex": index, "start": start });
                    message("contentBlockStart", &value, out);
                }
                BlockStart::Thinking => {
                    self.thoughts.insert(*index);
                }
                BlockStart::ThinkingRedacted(data) => {
                    let thought = json!({ "reasoningContent": { "redactedContent": redacted_abroad(data) } });
                    message(
                        "contentBlockDelta",
                        &json!({ "contentBlockIndex": index, "delta": thought }),
                        out,
                    );
                }
                BlockStart::Refusal | BlockStart::Text => {}
            },
            Event::Delta { index, delta } => {
                let is_thought = self.thoughts.contains(index);
                let delta = match delta {
                    Delta::Text(text) if is_thought => json!({ "reasoningContent": { "text": text } }),
                    Delta::Text(text) => json!({ "text": text }),
                    Delta::Input(input) => json!({ "toolUse": { "input": input } }),
                    Delta::Signature(signature) => {
                        json!({ "reasoningContent": { "signature": signature.abroad(Protocol::Bedrock) } })
                    }
                    Delta::Citation(_) => return,
                };
                message("contentBlockDelta", &json!({ "contentBlockIndex": index, "delta": delta }), out);
            }
            Event::BlockStop { index } => {
                message("contentBlockStop", &json!({ "contentBlockIndex": index }), out);
            }
            Event::Usage(usage) => self.usage.update(*usage),
            Event::Stop { stop, .. } => {
                message("messageStop", &json!({ "stopReason": reason_of(*stop) }), out)
            }
            Event::End => {
                let usage = encode_usage(&self.usage);
                message("metadata", &json!({ "usage": usage, "metrics": { "latencyMs": 0 } }), out);
            }
        }
    }
}

fn message(name: &str, value: &Value, out: &mut Vec<u8>) {
    aws::encode(name, value.to_string().as_bytes(), out);
}
