//! Streams of the chat protocol.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::response::{annotation, encode_usage, usage};
use super::{reason_of, stop_of};
use crate::Protocol;
use crate::fields::{list_at, put, text_at};
use crate::form::{BlockStart, Delta, Event, Signature, Stop};
use crate::protocol::{StreamSettings, sse};

/// Reads chunks. The protocol numbers only tool calls; blocks are made of what changes.
#[derive(Debug, Default)]
pub(in crate::protocol) struct Decoder {
    is_started: bool,
    /// The block of text, refusal or thought that is open, and its kind.
    open: Option<(usize, Kind)>,
    /// Blocks of tool calls, by the protocol's number.
    calls: BTreeMap<u64, usize>,
    blocks: usize,
    stop: Option<Stop>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Refusal,
    Text,
    Thinking,
}

impl Decoder {
    pub(in crate::protocol) fn value(&mut self, chunk: &Value, out: &mut Vec<Event>) {
        if !self.is_started {
            self.is_started = true;
            let (id, model) = (text_at(chunk, "/id").to_owned(), text_at(chunk, "/model").to_owned());
            out.push(Event::Start { id, model });
        }
        if let Some(choice) = list_at(chunk, "/choices").first() {
            self.choice(choice, out);
        }
        let usage =
            usage(chunk.get("usage").filter(|usage| !usage.is_null()).or(chunk.pointer("/x_groq/usage")));
        if !usage.is_empty() {
            out.push(Event::Usage(usage));
        }
    }

    fn choice(&mut self, choice: &Value, out: &mut Vec<Event>) {
        if let Some(delta) = choice.get("delta") {
            for key in ["/reasoning_content", "/reasoning"] {
                self.text(Kind::Thinking, text_at(delta, key), out);
            }
            for block in list_at(delta, "/thinking_blocks") {
                self.thought(block, out);
            }
            match delta.get("content") {
                Some(Value::String(text)) => self.text(Kind::Text, text, out),
                Some(Value::Array(parts)) => {
                    for part in parts {
                        let thought = list_at(part, "/thinking").iter().map(|part| text_at(part, "/text"));
                        self.text(Kind::Thinking, &thought.collect::<String>(), out);
                        self.text(Kind::Text, text_at(part, "/text"), out);
                    }
                }
                _ => {}
            }
            self.text(Kind::Refusal, text_at(delta, "/refusal"), out);
            for (index, call) in list_at(delta, "/tool_calls").iter().enumerate() {
                self.call(index as u64, call, out);
            }
        }
        let reason = text_at(choice, "/finish_reason");
        if !reason.is_empty() && self.stop.is_none() {
            let stop = match stop_of(reason) {
                Stop::End if !self.calls.is_empty() => Stop::ToolUse,
                stop => stop,
            };
            self.close(out);
            for index in std::mem::take(&mut self.calls).into_values() {
                out.push(Event::BlockStop { index });
            }
            self.stop = Some(stop);
            out.push(Event::Stop { stop, sequence: None });
        }
    }

    fn text(&mut self, kind: Kind, text: &str, out: &mut Vec<Event>) {
        if text.is_empty() {
            return;
        }
        let index = match self.open {
            Some((index, open)) if open == kind => index,
            _ => {
                self.close(out);
                let block = match kind {
                    Kind::Refusal => BlockStart::Refusal,
                    Kind::Text => BlockStart::Text,
                    Kind::Thinking => BlockStart::Thinking,
                };
                let index = self.begin(block, out);
                self.open = Some((index, kind));
                index
            }
        };
        out.push(Event::Delta { index, delta: Delta::Text(text.to_owned()) });
    }

    /// A gateway's proof of the thought that has just come in pieces, or what only its provider can read.
    fn thought(&mut self, block: &Value, out: &mut Vec<Event>) {
        let sign = |text: &str| Signature::from_client(text, Protocol::Chat);
        let (signature, data) = (text_at(block, "/signature"), text_at(block, "/data"));
        if !data.is_empty() {
            self.close(out);
            let index = self.begin(BlockStart::ThinkingRedacted(sign(data)), out);
            out.push(Event::BlockStop { index });
        } else if let Some((index, Kind::Thinking)) = self.open.filter(|_| !signature.is_empty()) {
            out.push(Event::Delta { index, delta: Delta::Signature(sign(signature)) });
        }
    }

    fn call(&mut self, place: u64, call: &Value, out: &mut Vec<Event>) {
        let number = call.get("index").and_then(Value::as_u64).unwrap_or(place);
        let (id, name) = (text_at(call, "/id"), text_at(call, "/function/name"));
        let index = match self.calls.get(&number) {
            Some(index) => *index,
            None => {
                self.close(out);
                let id = if id.is_empty() { format!("call_{number}") } else { id.to_owned() };
                let block = BlockStart::ToolUse { id, name: name.to_owned(), signature: None };
                let index = self.begin(block, out);
                self.calls.insert(number, index);
                index
            }
        };
        let input = match call.pointer("/function/arguments") {
            Some(Value::String(text)) => text.clone(),
            Some(value @ Value::Object(_)) => value.to_string(),
            _ => String::new(),
        };
        if !input.is_empty() {
            out.push(Event::Delta { index, delta: Delta::Input(input) });
        }
    }

    fn begin(&mut self, block: BlockStart, out: &mut Vec<Event>) -> usize {
        let index = self.blocks;
        self.blocks += 1;
        out.push(Event::BlockStart { index, block });
        index
    }

    fn close(&mut self, out: &mut Vec<Event>) {
        if let Some((index, _)) = self.open.take() {
            out.push(Event::BlockStop { index });
        }
    }

    pub(in crate::protocol) fn has_stopped(&self) -> bool {
        self.stop.is_some()
    }

    /// `[DONE]`. Without a reason to stop before it, the answer may be cut: then it ends nothing.
    pub(in crate::protocol) fn done(&mut self, out: &mut Vec<Event>) {
        if self.has_stopped() {
            out.push(Event::End);
        }
    }
}

/// Writes chunks.
#[derive(Debug)]
pub struct Encoder {
    settings: StreamSettings,
    id: String,
    model: String,
    /// What each block is.
    blocks: BTreeMap<usize, Block>,
    calls: u64,
    usage: Option<Value>,
}

#[derive(Debug)]
enum Block {
    Call { number: u64, start: Value, input: String },
    Refusal,
    Text,
    Thinking { text: String },
}

impl Encoder {
    pub(in crate::protocol) fn new(settings: StreamSettings) -> Encoder {
        Encoder {
            settings,
            id: String::new(),
            model: String::new(),
            blocks: BTreeMap::new(),
            calls: 0,
            usage: None,
        }
    }

    pub(in crate::protocol) fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        match event {
            Event::Start { id, model } => {
                (self.id, self.model) = (id.clone(), model.clone());
                self.delta(json!({ "role": "assistant", "content": "" }), Value::Null, out);
            }
            Event::BlockStart { index, block } => self.begin(*index, block, out),
            Event::Delta { index, delta } => self.piece(*index, delta, out),
            Event::BlockStop { index } => {
                if let Some(Block::Call { start, input, .. }) = self.blocks.remove(index) {
                    self.finish_call(start, &input, out);
                }
            }
            Event::Usage(usage) => self.usage = Some(encode_usage(usage)),
            Event::Stop { stop, .. } => self.delta(json!({}), reason_of(*stop).into(), out),
            Event::End => {
                if let Some(usage) = self.usage.take().filter(|_| self.settings.usage) {
                    let mut chunk = self.chunk(json!([]));
                    put(&mut chunk, "usage", usage);
                    sse("", &chunk, out);
                }
                out.extend_from_slice(b"data: [DONE]\n\n");
            }
        }
    }

    fn begin(&mut self, index: usize, block: &BlockStart, out: &mut Vec<u8>) {
        let block = match block {
            BlockStart::Refusal => Block::Refusal,
            BlockStart::Text => Block::Text,
            BlockStart::Thinking => Block::Thinking { text: String::new() },
            BlockStart::ThinkingRedacted(data) => {
                let data = data.abroad(Protocol::Chat);
                let thought = json!({ "type": "redacted_thinking", "data": data });
                self.delta(json!({ "thinking_blocks": [thought] }), Value::Null, out);
                return;
            }
            BlockStart::ToolUse { id, name, signature } => {
                let number = self.calls;
                self.calls += 1;
                let mut start = json!({
                    "index": number, "id": id, "type": "function",
                    "function": { "name": name, "arguments": "" },
                });
                if let Some(signature) = signature {
                    put(&mut start, "signature", signature.abroad(Protocol::Chat));
                }
                if !self.settings.whole_tool_calls {
                    self.delta(json!({ "tool_calls": [start] }), Value::Null, out);
                }
                Block::Call { number, start, input: String::new() }
            }
        };
        self.blocks.insert(index, block);
    }

    fn piece(&mut self, index: usize, delta: &Delta, out: &mut Vec<u8>) {
        let Some(block) = self.blocks.get_mut(&index) else { return };
        let content = match (block, delta) {
            (Block::Call { input, .. }, Delta::Input(piece)) if self.settings.whole_tool_calls => {
                input.push_str(piece);
                return;
            }
            (Block::Call { number, input, .. }, Delta::Input(piece)) => {
                // Only whether there was any counts now.
                input.clear();
                input.push('.');
                json!({ "tool_calls": [{ "index": number, "function": { "arguments": piece } }] })
            }
            (Block::Refusal, Delta::Text(text)) => json!({ "refusal": text }),
            (Block::Thinking { text }, Delta::Text(more)) => {
                text.push_str(more);
                json!({ "reasoning_content": more })
            }
            (Block::Thinking { text }, Delta::Signature(signature)) => thinking(text, signature),
            (_, Delta::Text(text)) => json!({ "content": text }),
            (_, Delta::Citation(citation)) => match annotation(citation) {
                Some(note) => json!({ "annotations": [note] }),
                None => return,
            },
            (_, Delta::Input(_) | Delta::Signature(_)) => return,
        };
        self.delta(content, Value::Null, out);
    }

    /// Arguments of a call without any are an empty object, in this protocol too.
    fn finish_call(&mut self, mut start: Value, input: &str, out: &mut Vec<u8>) {
        if self.settings.whole_tool_calls {
            if let Some(function) = start.get_mut("function") {
                put(function, "arguments", if input.is_empty() { "{}" } else { input });
            }
            self.delta(json!({ "tool_calls": [start] }), Value::Null, out);
        } else if input.is_empty() {
            let call = json!({ "index": start.get("index"), "function": { "arguments": "{}" } });
            self.delta(json!({ "tool_calls": [call] }), Value::Null, out);
        }
    }

    fn delta(&self, delta: Value, reason: Value, out: &mut Vec<u8>) {
        let choice = json!({ "index": 0, "delta": delta, "logprobs": null, "finish_reason": reason });
        sse("", &self.chunk(json!([choice])), out);
    }

    fn chunk(&self, choices: Value) -> Value {
        json!({
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.settings.unix_seconds,
            "model": self.model,
            "choices": choices,
        })
    }
}

fn thinking(text: &str, signature: &Signature) -> Value {
    json!({ "thinking_blocks": [super::response::thinking_block(text, Some(signature))] })
}
