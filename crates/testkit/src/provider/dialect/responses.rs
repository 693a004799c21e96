//! OpenAI's responses (platform.openai.com/docs/api-reference/responses-streaming).

use serde_json::{Value, json};

use super::{ARGUMENT_PIECES, ARGUMENTS, Asked, CACHED, Events, INPUT, OUTPUT, Said, sse};

fn response(asked: &Asked, status: &str, output: Value, usage: Value) -> Value {
    json!({
        "id": "resp_1", "object": "response", "created_at": 1, "status": status, "model": asked.model, "error": null,
        "incomplete_details": null, "instructions": null, "metadata": {}, "output": output, "parallel_tool_calls": true,
        "temperature": 1.0, "tool_choice": "auto", "tools": [], "top_p": 1.0, "usage": usage,
    })
}

fn usage() -> Value {
    json!({
        "input_tokens": INPUT, "input_tokens_details": { "cached_tokens": CACHED }, "output_tokens": OUTPUT,
        "output_tokens_details": { "reasoning_tokens": 0 }, "total_tokens": INPUT + OUTPUT,
    })
}

fn thought(text: &str) -> Value {
    let summary = json!([{ "type": "summary_text", "text": text }]);
    json!({ "type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": "cHJvb2Y=" })
}

fn message(text: &str) -> Value {
    let content = json!([{ "type": "output_text", "text": text, "annotations": [], "logprobs": [] }]);
    json!({ "type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content })
}

fn call(number: usize, name: &str, arguments: &str) -> Value {
    json!({
        "type": "function_call", "id": format!("fc_{number}"), "call_id": format!("call_{number}"), "name": name,
        "arguments": arguments, "status": "completed",
    })
}

fn output(said: &Said) -> Vec<Value> {
    let mut output: Vec<Value> = said.thought.map(thought).into_iter().collect();
    if !said.words.is_empty() {
        output.push(message(&said.text()));
    }
    output.extend(said.calls.iter().enumerate().map(|(number, name)| call(number, name, ARGUMENTS)));
    output
}

pub(super) fn whole(asked: &Asked, said: &Said) -> Value {
    response(asked, "completed", output(said).into(), usage())
}

pub(super) fn events(asked: &Asked, said: &Said) -> Events {
    let mut sequence = 0;
    let mut event = |kind: &str, mut value: Value| {
        value["type"] = kind.into();
        value["sequence_number"] = sequence.into();
        sequence += 1;
        sse(kind, &value)
    };
    let mut events = Events::default();
    let begun = response(asked, "in_progress", json!([]), Value::Null);
    events.before.push(event("response.created", json!({ "response": begun })));
    events.before.push(event("response.in_progress", json!({ "response": begun })));
    for (index, item) in output(said).into_iter().enumerate() {
        let place = json!({ "item_id": item["id"], "output_index": index });
        let at = |more: Value| {
            let mut value = place.clone();
            value.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            value
        };
        let mut begun = item.clone();
        begun["status"] = "in_progress".into();
        let (kind, field, pieces) = match item["type"].as_str() {
            Some("reasoning") => {
                begun["summary"] = json!([]);
                let pieces = vec![said.thought.unwrap_or_default().to_owned()];
                ("response.reasoning_summary_text", "summary_index", pieces)
            }
            Some("message") => {
                begun["content"] = json!([]);
                ("response.output_text", "content_index", said.words.clone())
            }
            _ => {
                begun["arguments"] = "".into();
                let pieces = ARGUMENT_PIECES.map(str::to_owned).to_vec();
                ("response.function_call_arguments", "", pieces)
            }
        };
        let added = event("response.output_item.added", json!({ "output_index": index, "item": begun }));
        let list = if index == 0 { &mut events.before } else { &mut events.content };
        list.push(added);
        if field == "content_index" {
            let part = json!({ "type": "output_text", "text": "", "annotations": [], "logprobs": [] });
            let added = event("response.content_part.added", at(json!({ "content_index": 0, "part": part })));
            list.push(added);
        }
        for piece in pieces {
            let mut value = at(json!({ "delta": piece }));
            if !field.is_empty() {
                value[field] = 0.into();
            }
            events.content.push(event(&format!("{kind}.delta"), value));
        }
        events
            .content
            .push(event("response.output_item.done", json!({ "output_index": index, "item": item })));
    }
    let whole = response(asked, "completed", output(said).into(), usage());
    events.end.push(event("response.completed", json!({ "response": whole })));
    events
}

pub(super) fn error_event(body: &Value) -> Vec<u8> {
    let error = &body["error"];
    let value = json!({
        "type": "error", "code": error["code"], "message": error["message"], "param": null, "sequence_number": 9,
    });
    sse("error", &value)
}
