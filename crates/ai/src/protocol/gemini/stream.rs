//! Streams of Google's protocol: each chunk is an answer with a piece of the content.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::response::{abroad, call_id, decode_citations, encode_call, encode_citations, signature};
use super::{encode_usage, reason_of, stop_of, usage};
use crate::fields::{list_at, put, text_at};
use crate::form::{BlockStart, Delta, Event, Signature, Stop, Usage};
use crate::protocol::{StreamSettings, sse, thread};

#[derive(Debug, Default)]
pub(in crate::protocol) struct Decoder {
    is_started: bool,
    id: String,
    /// The open block, and whether it is a thought.
    open: Option<(usize, bool)>,
    blocks: usize,
    has_calls: bool,
    stop: Option<Stop>,
}

impl Decoder {
    pub(in crate::protocol) fn value(&mut self, chunk: &Value, out: &mut Vec<Event>) {
        if !self.is_started {
            self.is_started = true;
            self.id = text_at(chunk, "/responseId").to_owned();
            out.push(Event::Start { id: self.id.clone(), model: text_at(chunk, "/modelVersion").to_owned() });
        }
        let candidate = list_at(chunk, "/candidates").first();
        for part in candidate.map(|candidate| list_at(candidate, "/content/parts")).unwrap_or_default() {
            self.part(part, out);
        }
        if let Some(candidate) = candidate {
            let open = self.open.filter(|(_, is_thought)| !is_thought);
            for citation in decode_citations(candidate) {
                if let Some((index, _)) = open {
                    out.push(Event::Delta { index, delta: Delta::Citation(citation) });
                }
            }
        }
        if let Some(value) = chunk.get("usageMetadata") {
            out.push(Event::Usage(usage(value)));
        }
        let reason = candidate.map(|candidate| text_at(candidate, "/finishReason")).unwrap_or_default();
        let is_blocked = !text_at(chunk, "/promptFeedback/blockReason").is_empty();
        if self.stop.is_none() && (is_blocked || !matches!(reason, "" | "FINISH_REASON_UNSPECIFIED")) {
            self.close(out);
            let stop = match stop_of(reason) {
                _ if is_blocked => Stop::Filtered,
                Stop::End if self.has_calls => Stop::ToolUse,
                stop => stop,
            };
            self.stop = Some(stop);
            out.push(Event::Stop { stop, sequence: None });
        }
    }

    fn part(&mut self, part: &Value, out: &mut Vec<Event>) {
        if let Some(call) = part.get("functionCall") {
            self.close(out);
            self.has_calls = true;
            let index = self.begin();
            out.push(Event::BlockStart {
                index,
                block: BlockStart::ToolUse {
                    id: call_id(call, &self.id, index),
                    name: text_at(call, "/name").to_owned(),
                    signature: signature(part),
                },
            });
            let input = thread::input_text(call.get("args").cloned());
            out.push(Event::Delta { index, delta: Delta::Input(input) });
            out.push(Event::BlockStop { index });
            return;
        }
        let Some(text) = part.get("text").and_then(Value::as_str) else { return };
        let is_thought = part.get("thought").is_some_and(|thought| *thought == true);
        let signature = signature(part).filter(|_| is_thought);
        if text.is_empty() && signature.is_none() {
            return;
        }
        let index = match self.open {
            Some((index, open)) if open == is_thought => index,
            _ => {
                self.close(out);
                let index = self.begin();
                self.open = Some((index, is_thought));
                let block = if is_thought { BlockStart::Thinking } else { BlockStart::Text };
                out.push(Event::BlockStart { index, block });
                index
            }
        };
        if !text.is_empty() {
            out.push(Event::Delta { index, delta: Delta::Text(text.to_owned()) });
        }
        if let Some(signature) = signature {
            out.push(Event::Delta { index, delta: Delta::Signature(signature) });
        }
    }

    fn begin(&mut self) -> usize {
        self.blocks += 1;
        self.blocks - 1
    }

    fn close(&mut self, out: &mut Vec<Event>) {
        if let Some((index, _)) = self.open.take() {
            out.push(Event::BlockStop { index });
        }
    }

    pub(in crate::protocol) fn has_stopped(&self) -> bool {
        self.stop.is_some()
    }

    /// The protocol has no terminal event but the end of the stream.
    pub(in crate::protocol) fn done(&mut self, out: &mut Vec<Event>) {
        out.push(Event::End);
    }
}

/// Writes chunks. A call goes out whole, because the protocol knows no pieces of one.
#[derive(Debug)]
pub struct Encoder {
    id: String,
    model: String,
    blocks: BTreeMap<usize, Block>,
    usage: Usage,
    stop: Option<Stop>,
}

#[derive(Debug)]
enum Block {
    Call { id: String, name: String, input: String, signature: Option<Signature> },
    Text,
    Thought,
}

impl Encoder {
    pub(in crate::protocol) fn new(_: StreamSettings) -> Encoder {
        Encoder {
            id: String::new(),
            model: String::new(),
            blocks: BTreeMap::new(),
            usage: Usage::default(),
            stop: None,
        }
    }

    pub(in crate::protocol) fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        match event {
            Event::Start { id, model } => (self.id, self.model) = (id.clone(), model.clone()),
            Event::BlockStart { index, block } => {
                let block = match block {
                    BlockStart::Refusal | BlockStart::Text => Block::Text,
                    BlockStart::Thinking => Block::Thought,
                    BlockStart::ThinkingRedacted(data) => {
                        self.part(
                            &json!({ "text": "", "thought": true, "thoughtSignature": abroad(data) }),
                            out,
                        );
                        return;
                    }
                    BlockStart::ToolUse { id, name, signature } => Block::Call {
                        id: id.clone(),
                        name: name.clone(),
                        input: String::new(),
                        signature: signature.clone(),
                    },
                };
                self.blocks.insert(*index, block);
            }
            Event::Delta { index, delta } => self.delta(*index, delta, out),
            Event::BlockStop { index } => {
                if let Some(Block::Call { id, name, input, signature }) = self.blocks.remove(index) {
                    self.part(&encode_call(&id, &name, &input, signature.as_ref()), out);
                }
            }
            Event::Usage(usage) => self.usage.update(*usage),
            Event::Stop { stop, .. } => self.stop = Some(*stop),
            Event::End => {
                let stop = self.stop.unwrap_or(Stop::End);
                let mut chunk = self.chunk(json!({
                    "content": { "role": "model", "parts": [{ "text": "" }] },
                    "finishReason": reason_of(stop),
                    "index": 0,
                }));
                put(&mut chunk, "usageMetadata", encode_usage(&self.usage));
                sse("", &chunk, out);
            }
        }
    }

    fn delta(&mut self, index: usize, delta: &Delta, out: &mut Vec<u8>) {
        match (self.blocks.get_mut(&index), delta) {
            (Some(Block::Call { input, .. }), Delta::Input(piece)) => input.push_str(piece),
            (Some(Block::Thought), Delta::Text(text)) => {
                self.part(&json!({ "text": text, "thought": true }), out)
            }
            (Some(Block::Thought), Delta::Signature(signature)) => {
                self.part(
                    &json!({ "text": "", "thought": true, "thoughtSignature": abroad(signature) }),
                    out,
                );
            }
            (Some(Block::Text), Delta::Text(text)) => self.part(&json!({ "text": text }), out),
            (Some(Block::Text), Delta::Citation(citation)) => {
                if let Some(metadata) = encode_citations(std::slice::from_ref(citation)) {
                    let chunk = self.chunk(json!({
                        "content": { "role": "model", "parts": [{ "text": "" }] },
                        "citationMetadata": metadata,
                        "index": 0,
                    }));
                    sse("", &chunk, out);
                }
            }
            _ => {}
        }
    }

    fn part(&self, part: &Value, out: &mut Vec<u8>) {
        let candidate = json!({ "content": { "role": "model", "parts": [part] }, "index": 0 });
        sse("", &self.chunk(candidate), out);
    }

    fn chunk(&self, candidate: Value) -> Value {
        json!({ "candidates": [candidate], "modelVersion": self.model, "responseId": self.id })
    }
}
