//! Streams of the messages protocol.

use serde_json::{Value, json};

use super::response::{decode_citation, encode_citation};
use super::{encode_usage, reason_of, stop_of, usage};
use crate::Protocol;
use crate::fields::text_at;
use crate::form::{BlockStart, Delta, Event, Signature, Stop, Usage};
use crate::protocol::sse;

/// Reads events. The protocol has blocks of its own; those of the provider's own tools are left out, so that ours are numbered anew.
#[derive(Debug, Default)]
pub(in crate::protocol) struct Decoder {
    usage: Usage,
    /// Our number for each of the protocol's, `None` for one that is left out.
    blocks: Vec<Option<usize>>,
    count: usize,
}

impl Decoder {
    pub(in crate::protocol) fn value(&mut self, value: &Value, out: &mut Vec<Event>) {
        match text_at(value, "/type") {
            "message_start" => {
                let (id, model) = (text_at(value, "/message/id"), text_at(value, "/message/model"));
                out.push(Event::Start { id: id.to_owned(), model: model.to_owned() });
                self.usage(value.pointer("/message/usage"), out);
            }
            "content_block_start" => self.begin(value, out),
            "content_block_delta" => {
                let Some(index) = self.block(value) else { return };
                if let Some(delta) = delta(value) {
                    out.push(Event::Delta { index, delta });
                }
            }
            "content_block_stop" => {
                if let Some(index) = self.block(value) {
                    out.push(Event::BlockStop { index });
                }
            }
            "message_delta" => {
                self.usage(value.get("usage"), out);
                let reason = text_at(value, "/delta/stop_reason");
                if !reason.is_empty() {
                    let sequence = value.pointer("/delta/stop_sequence").and_then(Value::as_str);
                    out.push(Event::Stop { stop: stop_of(reason), sequence: sequence.map(str::to_owned) });
                }
            }
            "message_stop" => out.push(Event::End),
            // `ping`, and what may come.
            _ => {}
        }
    }

    fn usage(&mut self, value: Option<&Value>, out: &mut Vec<Event>) {
        if let Some(value) = value {
            self.usage.update(usage(value));
            out.push(Event::Usage(self.usage));
        }
    }

    fn block(&self, value: &Value) -> Option<usize> {
        let index = value.get("index")?.as_u64()?;
        *self.blocks.get(usize::try_from(index).ok()?)?
    }

    fn begin(&mut self, value: &Value, out: &mut Vec<Event>) {
        let block = match text_at(value, "/content_block/type") {
            "text" => Some(BlockStart::Text),
            "thinking" => Some(BlockStart::Thinking),
            "redacted_thinking" => {
                let value = text_at(value, "/content_block/data").to_owned();
                Some(BlockStart::ThinkingRedacted(Signature { by: Protocol::Anthropic, value }))
            }
            "tool_use" => Some(BlockStart::ToolUse {
                id: text_at(value, "/content_block/id").to_owned(),
                name: text_at(value, "/content_block/name").to_owned(),
                signature: None,
            }),
            _ => None,
        };
        let Some(block) = block else {
            self.blocks.push(None);
            return;
        };
        let index = self.count;
        self.count += 1;
        self.blocks.push(Some(index));
        out.push(Event::BlockStart { index, block });
        // Some that speak this protocol give the beginning of the text with the block.
        let text = text_at(value, "/content_block/text");
        if !text.is_empty() {
            out.push(Event::Delta { index, delta: Delta::Text(text.to_owned()) });
        }
    }
}

fn delta(value: &Value) -> Option<Delta> {
    let text = |pointer: &str| text_at(value, pointer).to_owned();
    Some(match text_at(value, "/delta/type") {
        "text_delta" => Delta::Text(text("/delta/text")),
        "thinking_delta" => Delta::Text(text("/delta/thinking")),
        "signature_delta" => {
            Delta::Signature(Signature { by: Protocol::Anthropic, value: text("/delta/signature") })
        }
        "input_json_delta" => Delta::Input(text("/delta/partial_json")),
        "citations_delta" => Delta::Citation(decode_citation(value.pointer("/delta/citation")?)),
        _ => return None,
    })
}

/// Writes events. The usage that is known only at the end goes with the reason to stop, so that both wait for the end.
#[derive(Debug, Default)]
pub struct Encoder {
    usage: Usage,
    stop: Option<(Stop, Option<String>)>,
    /// Blocks that were written beside those of the stream: proofs of calls.
    extra: usize,
    /// The number that each block of the stream has for the client.
    numbers: Vec<usize>,
    /// The block that is open, and whether it is a thought.
    open: Option<(usize, bool)>,
    waiting: Vec<Event>,
}

impl Encoder {
    pub(in crate::protocol) fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        match event {
            Event::Start { id, model } => {
                let usage = encode_usage(&self.usage);
                let message = json!({
                    "id": id, "type": "message", "role": "assistant", "model": model, "content": [],
                    "stop_reason": null, "stop_sequence": null, "usage": usage,
                });
                sse("message_start", &json!({ "type": "message_start", "message": message }), out);
            }
            Event::Usage(usage) => self.usage.update(*usage),
            Event::Stop { stop, sequence } => self.stop = Some((*stop, sequence.clone())),
            Event::End => self.end(out),
            // Clients accumulate one block at a time: what belongs to another one waits for the end of the open one.
            Event::BlockStart { .. } | Event::Delta { .. } | Event::BlockStop { .. } => {
                self.waiting.push(event.clone());
                self.flush(out);
            }
        }
    }

    /// Writes what belongs to the open block, or opens the next.
    fn flush(&mut self, out: &mut Vec<u8>) {
        loop {
            let open = self.open.map(|(index, _)| index);
            let next = self.waiting.iter().position(|event| match (event, open) {
                (Event::BlockStart { .. }, None) => true,
                (Event::Delta { index, .. } | Event::BlockStop { index }, Some(open)) => *index == open,
                _ => false,
            });
            let Some(next) = next else { return };
            match self.waiting.remove(next) {
                Event::BlockStart { index, block } => self.begin(index, &block, out),
                Event::Delta { index, delta } => self.delta(index, &delta, out),
                Event::BlockStop { index } => {
                    self.open = None;
                    let number = self.number(index);
                    sse("content_block_stop", &json!({ "type": "content_block_stop", "index": number }), out);
                }
                Event::Start { .. } | Event::Usage(_) | Event::Stop { .. } | Event::End => {}
            }
        }
    }

    fn number(&self, index: usize) -> usize {
        self.numbers.get(index).copied().unwrap_or(index + self.extra)
    }

    fn begin(&mut self, index: usize, block: &BlockStart, out: &mut Vec<u8>) {
        if let BlockStart::ToolUse { signature: Some(signature), .. } = block {
            let number = index + self.extra;
            self.extra += 1;
            let signature = signature.abroad(Protocol::Anthropic);
            start(number, &json!({ "type": "thinking", "thinking": "", "signature": "" }), out);
            piece(number, &json!({ "type": "signature_delta", "signature": signature }), out);
            sse("content_block_stop", &json!({ "type": "content_block_stop", "index": number }), out);
        }
        let number = index + self.extra;
        while self.numbers.len() <= index {
            self.numbers.push(number);
        }
        let content = match block {
            BlockStart::Text | BlockStart::Refusal => json!({ "type": "text", "text": "" }),
            BlockStart::Thinking => json!({ "type": "thinking", "thinking": "", "signature": "" }),
            BlockStart::ThinkingRedacted(data) => {
                json!({ "type": "redacted_thinking", "data": data.abroad(Protocol::Anthropic) })
            }
            BlockStart::ToolUse { id, name, .. } => {
                json!({ "type": "tool_use", "id": id, "name": name, "input": {} })
            }
        };
        self.open = Some((index, matches!(block, BlockStart::Thinking)));
        start(number, &content, out);
    }

    fn delta(&mut self, index: usize, delta: &Delta, out: &mut Vec<u8>) {
        let is_thought = self.open.is_some_and(|(_, is_thought)| is_thought);
        let delta = match delta {
            Delta::Text(text) if is_thought => json!({ "type": "thinking_delta", "thinking": text }),
            Delta::Text(text) => json!({ "type": "text_delta", "text": text }),
            Delta::Input(json) => json!({ "type": "input_json_delta", "partial_json": json }),
            Delta::Signature(signature) => {
                json!({ "type": "signature_delta", "signature": signature.abroad(Protocol::Anthropic) })
            }
            Delta::Citation(citation) => {
                json!({ "type": "citations_delta", "citation": encode_citation(citation) })
            }
        };
        piece(self.number(index), &delta, out);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        let (stop, sequence) = self.stop.take().unwrap_or((Stop::End, None));
        let delta = json!({ "stop_reason": reason_of(stop), "stop_sequence": sequence });
        let usage = encode_usage(&self.usage);
        sse("message_delta", &json!({ "type": "message_delta", "delta": delta, "usage": usage }), out);
        sse("message_stop", &json!({ "type": "message_stop" }), out);
    }
}

fn start(number: usize, content: &Value, out: &mut Vec<u8>) {
    let event = json!({ "type": "content_block_start", "index": number, "content_block": content });
    sse("content_block_start", &event, out);
}

fn piece(number: usize, delta: &Value, out: &mut Vec<u8>) {
    sse(
        "content_block_delta",
        &json!({ "type": "content_block_delta", "index": number, "delta": delta }),
        out,
    );
}
