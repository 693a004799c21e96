//! Streams of Cohere's protocol.

use serde_json::Value;

use super::response::decode_citation;
use super::{failed, stop_of, usage};
use crate::fields::text_at;
use crate::form::{BlockStart, Delta, Event};
use crate::problem::Problem;

#[derive(Debug, Default)]
pub(in crate::protocol) struct Decoder {
    is_started: bool,
    count: usize,
    open: Option<usize>,
}

impl Decoder {
    pub(in crate::protocol) fn value(&mut self, value: &Value, out: &mut Vec<Event>) -> Result<(), Problem> {
        if !self.is_started {
            self.is_started = true;
            out.push(Event::Start { id: text_at(value, "/id").to_owned(), model: String::new() });
        }
        let delta = value.pointer("/delta/message");
        match text_at(value, "/type") {
            "content-start" => {
                let kind = delta.map(|delta| text_at(delta, "/content/type")).unwrap_or_default();
                let block = if kind == "thinking" { BlockStart::Thinking } else { BlockStart::Text };
                self.begin(block, out);
                self.text(delta, out);
            }
            "content-delta" => self.text(delta, out),
            "content-end" | "tool-call-end" => self.close(out),
            "tool-call-start" => {
                let Some(call) = delta.and_then(|delta| delta.get("tool_calls")) else { return Ok(()) };
                let (id, name) = (text_at(call, "/id"), text_at(call, "/function/name"));
                self.begin(
                    BlockStart::ToolUse { id: id.to_owned(), name: name.to_owned(), signature: None },
                    out,
                );
                self.input(text_at(call, "/function/arguments"), out);
            }
            "tool-call-delta" => {
                let input = delta.map(|delta| text_at(delta, "/tool_calls/function/arguments"));
                self.input(input.unwrap_or_default(), out);
            }
            "citation-start" => {
                if let (Some(index), Some(citation)) =
                    (self.open, delta.and_then(|delta| delta.get("citations")))
                {
                    out.push(Event::Delta { index, delta: Delta::Citation(decode_citation(citation)) });
                }
            }
            "message-end" => {
                if let Some(problem) = value.get("delta").and_then(failed) {
                    return Err(problem);
                }
                self.close(out);
                if let Some(value) = value.pointer("/delta/usage") {
                    out.push(Event::Usage(usage(value)));
                }
                let stop = stop_of(text_at(value, "/delta/finish_reason"));
                out.push(Event::Stop { stop, sequence: None });
                out.push(Event::End);
            }
            // A plan for tools is the model's thinking aloud before its calls, and what may come.
            _ => {}
        }
        Ok(())
    }

    fn text(&mut self, delta: Option<&Value>, out: &mut Vec<Event>) {
        let (Some(index), Some(delta)) = (self.open, delta) else { return };
        for pointer in ["/content/text", "/content/thinking"] {
            let text = text_at(delta, pointer);
            if !text.is_empty() {
                out.push(Event::Delta { index, delta: Delta::Text(text.to_owned()) });
            }
        }
    }

    fn input(&mut self, input: &str, out: &mut Vec<Event>) {
        if let Some(index) = self.open.filter(|_| !input.is_empty()) {
            out.push(Event::Delta { index, delta: Delta::Input(input.to_owned()) });
        }
    }

    fn begin(&mut self, block: BlockStart, out: &mut Vec<Event>) {
        self.close(out);
        let index = self.count;
        self.count += 1;
        self.open = Some(index);
        out.push(Event::BlockStart { index, block });
    }

    fn close(&mut self, out: &mut Vec<Event>) {
        if let Some(index) = self.open.take() {
            out.push(Event::BlockStop { index });
        }
    }
}
