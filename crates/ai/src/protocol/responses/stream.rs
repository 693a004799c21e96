//! Streams of the responses protocol.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::response::{annotation, call_item, citation, item_id, message_item, reasoning_item, shell, stop};
use super::{sign, usage};
use crate::fields::{count_at, put, text_at};
use crate::form::{BlockStart, Delta, Event, Signature, Stop, ToolUse, Usage};
use crate::problem::{Class, Problem};
use crate::protocol::{StreamSettings, sse};

/// Reads events. A block is a part of a message's content, a call, or a thought.
#[derive(Debug, Default)]
pub(in crate::protocol) struct Decoder {
    /// Open blocks, by the item's place and the part's.
    open: BTreeMap<(u64, u64), usize>,
    count: usize,
    has_calls: bool,
}

impl Decoder {
    pub(in crate::protocol) fn value(&mut self, value: &Value, out: &mut Vec<Event>) -> Result<(), Problem> {
        let item = count_at(value, "/output_index");
        let part = count_at(value, "/content_index");
        let text = || Delta::Text(text_at(value, "/delta").to_owned());
        match text_at(value, "/type") {
            "response.created" => out.push(Event::Start {
                id: text_at(value, "/response/id").to_owned(),
                model: text_at(value, "/response/model").to_owned(),
            }),
            "response.output_item.added" => self.item(item, value, out),
            "response.content_part.added" => {
                let block = match text_at(value, "/part/type") {
                    "refusal" => BlockStart::Refusal,
                    "reasoning_text" => return Ok(()),
                    _ => BlockStart::Text,
                };
                self.begin((item, part), block, out);
            }
            "response.output_text.delta" => self.delta((item, part), BlockStart::Text, text(), out),
            "response.refusal.delta" => self.delta((item, part), BlockStart::Refusal, text(), out),
            "response.function_call_arguments.delta" => {
                if let Some(index) = self.open.get(&(item, 0)) {
                    let delta = Delta::Input(text_at(value, "/delta").to_owned());
                    out.push(Event::Delta { index: *index, delta });
                }
            }
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                self.delta((item, 0), BlockStart::Thinking, text(), out);
            }
            // A new part of a summary is a new paragraph.
            "response.reasoning_summary_part.added" if count_at(value, "/summary_index") > 0 => {
                self.delta((item, 0), BlockStart::Thinking, Delta::Text("\n\n".to_owned()), out);
            }
            "response.output_text.annotation.added" => {
                if let (Some(index), Some(citation)) =
                    (self.open.get(&(item, part)), value.get("annotation").and_then(citation))
                {
                    out.push(Event::Delta { index: *index, delta: Delta::Citation(citation) });
                }
            }
            "response.content_part.done" => self.close((item, part), out),
            "response.output_item.done" => self.item_done(item, value, out),
            "response.completed" | "response.incomplete" => {
                let response = value.get("response").unwrap_or(&Value::Null);
                if let Some(value) = response.get("usage") {
                    out.push(Event::Usage(usage(value)));
                }
                out.push(Event::Stop { stop: stop(response, self.has_calls), sequence: None });
                out.push(Event::End);
            }
            "response.failed" => return Err(failed(value)),
            _ => {}
        }
        Ok(())
    }

    fn item(&mut self, item: u64, value: &Value, out: &mut Vec<Event>) {
        match text_at(value, "/item/type") {
            "function_call" => {
                self.has_calls = true;
                let (id, name) = (text_at(value, "/item/call_id"), text_at(value, "/item/name"));
                let block = BlockStart::ToolUse { id: id.to_owned(), name: name.to_owned(), signature: None };
                self.begin((item, 0), block, out);
            }
            "reasoning" => {
                self.begin((item, 0), BlockStart::Thinking, out);
            }
            _ => {}
        }
    }

    fn item_done(&mut self, item: u64, value: &Value, out: &mut Vec<Event>) {
        let encrypted = text_at(value, "/item/encrypted_content");
        if let Some(index) = self.open.get(&(item, 0)).filter(|_| !encrypted.is_empty()) {
            let signature = sign(text_at(value, "/item/id"), encrypted);
            out.push(Event::Delta { index: *index, delta: Delta::Signature(signature) });
        }
        let keys: Vec<(u64, u64)> =
            self.open.range((item, 0)..=(item, u64::MAX)).map(|(key, _)| *key).collect();
        for key in keys {
            self.close(key, out);
        }
    }

    fn begin(&mut self, key: (u64, u64), block: BlockStart, out: &mut Vec<Event>) -> usize {
        let index = self.count;
        self.count += 1;
        self.open.insert(key, index);
        out.push(Event::BlockStart { index, block });
        index
    }

    fn delta(&mut self, key: (u64, u64), block: BlockStart, delta: Delta, out: &mut Vec<Event>) {
        let index = match self.open.get(&key) {
            Some(index) => *index,
            None => self.begin(key, block, out),
        };
        out.push(Event::Delta { index, delta });
    }

    fn close(&mut self, key: (u64, u64), out: &mut Vec<Event>) {
        if let Some(index) = self.open.remove(&key) {
            out.push(Event::BlockStop { index });
        }
    }
}

/// The error stands in the response.
fn failed(value: &Value) -> Problem {
    let error = value.pointer("/response/error").cloned().unwrap_or_default();
    let wrapped = json!({ "error": error });
    Problem::inside(&wrapped).unwrap_or_else(|| {
        Problem::new(Class::Server, 502, "failed", "the provider's answer failed without a reason")
    })
}

/// Writes events.
#[derive(Debug)]
pub struct Encoder {
    settings: StreamSettings,
    id: String,
    model: String,
    sequence: u64,
    output: Vec<Value>,
    blocks: BTreeMap<usize, Open>,
    usage: Usage,
    stop: Stop,
}

/// A block that is not finished.
#[derive(Debug)]
struct Open {
    /// The place of its item.
    place: usize,
    id: String,
    kind: Kind,
    text: String,
    signature: Option<Signature>,
    notes: Vec<Value>,
}

#[derive(Debug)]
enum Kind {
    Call { id: String, name: String },
    Refusal,
    Text,
    Thinking,
}

impl Encoder {
    pub(in crate::protocol) fn new(settings: StreamSettings) -> Encoder {
        Encoder {
            settings,
            id: String::new(),
            model: String::new(),
            sequence: 0,
            output: Vec::new(),
            blocks: BTreeMap::new(),
            usage: Usage::default(),
            stop: Stop::End,
        }
    }

    pub(in crate::protocol) fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        match event {
            Event::Start { id, model } => {
                (self.id, self.model) = (id.clone(), model.clone());
                for name in ["response.created", "response.in_progress"] {
                    let response = shell(id, model, self.settings.unix_seconds, "in_progress", Vec::new());
                    self.send(name, json!({ "response": response }), out);
                }
            }
            Event::BlockStart { index, block } => self.begin(*index, block, out),
            Event::Delta { index, delta } => self.delta(*index, delta, out),
            Event::BlockStop { index } => {
                if let Some(open) = self.blocks.remove(index) {
                    self.finish(open, out);
                }
            }
            Event::Usage(usage) => self.usage.update(*usage),
            Event::Stop { stop, .. } => self.stop = *stop,
            Event::End => {
                for open in std::mem::take(&mut self.blocks).into_values() {
                    self.finish(open, out);
                }
                let output = std::mem::take(&mut self.output);
                let mut response =
                    shell(&self.id, &self.model, self.settings.unix_seconds, "completed", output);
                super::response::close(&mut response, self.stop, &self.usage);
                let name = match response.get("status").and_then(Value::as_str) {
                    Some("incomplete") => "response.incomplete",
                    _ => "response.completed",
                };
                self.send(name, json!({ "response": response }), out);
            }
        }
    }

    fn send(&mut self, name: &str, mut value: Value, out: &mut Vec<u8>) {
        put(&mut value, "type", name);
        put(&mut value, "sequence_number", self.sequence);
        self.sequence += 1;
        sse(name, &value, out);
    }

    fn begin(&mut self, index: usize, block: &BlockStart, out: &mut Vec<u8>) {
        let place = self.output.len();
        let (prefix, kind, signature) = match block {
            BlockStart::Text => ("msg", Kind::Text, None),
            BlockStart::Refusal => ("msg", Kind::Refusal, None),
            BlockStart::Thinking => ("rs", Kind::Thinking, None),
            BlockStart::ThinkingRedacted(data) => ("rs", Kind::Thinking, Some(data.clone())),
            BlockStart::ToolUse { id, name, .. } => {
                ("fc", Kind::Call { id: id.clone(), name: name.clone() }, None)
            }
        };
        let id = item_id(prefix, &self.id, index);
        let open = Open { place, id, kind, text: String::new(), signature, notes: Vec::new() };
        let item = open.item("in_progress", Vec::new());
        // Its place is taken; what it becomes is known at its end.
        self.output.push(Value::Null);
        self.send("response.output_item.added", json!({ "output_index": place, "item": item }), out);
        match open.kind {
            Kind::Text | Kind::Refusal => self.part("response.content_part.added", &open, out),
            Kind::Thinking if open.signature.is_none() => {
                let part = json!({ "type": "summary_text", "text": "" });
                let value =
                    json!({ "item_id": open.id, "output_index": place, "summary_index": 0, "part": part });
                self.send("response.reasoning_summary_part.added", value, out);
            }
            Kind::Thinking | Kind::Call { .. } => {}
        }
        let is_whole = matches!(block, BlockStart::ThinkingRedacted(_));
        self.blocks.insert(index, open);
        if is_whole && let Some(open) = self.blocks.remove(&index) {
            self.finish(open, out);
        }
    }

    fn part(&mut self, name: &str, open: &Open, out: &mut Vec<u8>) {
        let value = json!({
            "item_id": open.id, "output_index": open.place, "content_index": 0, "part": open.part(),
        });
        self.send(name, value, out);
    }

    fn delta(&mut self, index: usize, delta: &Delta, out: &mut Vec<u8>) {
        let Some(open) = self.blocks.get_mut(&index) else { return };
        let (id, place) = (open.id.clone(), open.place);
        let (name, mut value) = match (&open.kind, delta) {
            (_, Delta::Signature(signature)) => {
                open.signature = Some(signature.clone());
                return;
            }
            (Kind::Text, Delta::Citation(citation)) => {
                let Some(note) = annotation(citation) else { return };
                open.notes.push(note.clone());
                let value = json!({
                    "content_index": 0, "annotation_index": open.notes.len() - 1, "annotation": note,
                });
                ("response.output_text.annotation.added", value)
            }
            (Kind::Text, Delta::Text(text)) => {
                open.text.push_str(text);
                ("response.output_text.delta", json!({ "content_index": 0, "delta": text, "logprobs": [] }))
            }
            (Kind::Refusal, Delta::Text(text)) => {
                open.text.push_str(text);
                ("response.refusal.delta", json!({ "content_index": 0, "delta": text }))
            }
            (Kind::Thinking, Delta::Text(text)) => {
                open.text.push_str(text);
                ("response.reasoning_summary_text.delta", json!({ "summary_index": 0, "delta": text }))
            }
            (Kind::Call { .. }, Delta::Input(piece)) => {
                open.text.push_str(piece);
                ("response.function_call_arguments.delta", json!({ "delta": piece }))
            }
            _ => return,
        };
        put(&mut value, "item_id", id);
        put(&mut value, "output_index", place);
        self.send(name, value, out);
    }

    fn finish(&mut self, mut open: Open, out: &mut Vec<u8>) {
        let (id, place) = (open.id.clone(), open.place);
        if matches!(open.kind, Kind::Call { .. }) && open.text.is_empty() {
            open.text.push_str("{}");
        }
        let mut content = Vec::new();
        match &open.kind {
            Kind::Text => {
                let value = json!({
                    "item_id": id, "output_index": place, "content_index": 0, "text": open.text, "logprobs": [],
                });
                self.send("response.output_text.done", value, out);
                self.part("response.content_part.done", &open, out);
                content.push(open.part());
            }
            Kind::Refusal => {
                let value =
                    json!({ "item_id": id, "output_index": place, "content_index": 0, "refusal": open.text });
                self.send("response.refusal.done", value, out);
                self.part("response.content_part.done", &open, out);
                content.push(open.part());
            }
            Kind::Thinking if !open.text.is_empty() => {
                let value =
                    json!({ "item_id": id, "output_index": place, "summary_index": 0, "text": open.text });
                self.send("response.reasoning_summary_text.done", value, out);
                let part = json!({ "type": "summary_text", "text": open.text });
                let value = json!({ "item_id": id, "output_index": place, "summary_index": 0, "part": part });
                self.send("response.reasoning_summary_part.done", value, out);
            }
            Kind::Thinking => {}
            Kind::Call { name, .. } => {
                let value = json!({
                    "item_id": id, "output_index": place, "name": name, "arguments": open.text,
                });
                self.send("response.function_call_arguments.done", value, out);
            }
        }
        let item = open.item("completed", content);
        if let Some(slot) = self.output.get_mut(place) {
            *slot = item.clone();
        }
        self.send("response.output_item.done", json!({ "output_index": place, "item": item }), out);
    }
}

impl Open {
    fn part(&self) -> Value {
        match self.kind {
            Kind::Refusal => json!({ "type": "refusal", "refusal": self.text }),
            Kind::Call { .. } | Kind::Text | Kind::Thinking => json!({
                "type": "output_text", "text": self.text, "annotations": self.notes, "logprobs": [],
            }),
        }
    }

    fn item(&self, status: &str, content: Vec<Value>) -> Value {
        match &self.kind {
            Kind::Text | Kind::Refusal => message_item(&self.id, status, content),
            Kind::Thinking => reasoning_item(&self.id, &self.text, self.signature.as_ref()),
            Kind::Call { id, name } => {
                let call =
                    ToolUse { id: id.clone(), name: name.clone(), input: self.text.clone(), signature: None };
                call_item(&self.id, status, &call)
            }
        }
    }
}
