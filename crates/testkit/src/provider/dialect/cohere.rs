//! Cohere's chat, version 2 (docs.cohere.com/v2/docs/streaming).

use serde_json::{Value, json};

use super::{ARGUMENT_PIECES, ARGUMENTS, CACHED, ErrorAnswer, Events, INPUT, OUTPUT, Said, Trouble, sse};

fn reason(said: &Said) -> &'static str {
    if said.calls.is_empty() { "COMPLETE" } else { "TOOL_CALL" }
}

fn usage() -> Value {
    json!({
        "billed_units": { "input_tokens": 1, "output_tokens": OUTPUT },
        "tokens": { "input_tokens": INPUT, "output_tokens": OUTPUT }, "cached_tokens": CACHED,
    })
}

fn call(number: usize, name: &str, arguments: &str) -> Value {
    let function = json!({ "name": name, "arguments": arguments });
    json!({ "id": format!("{name}_{number}"), "type": "function", "function": function })
}

pub(super) fn whole(said: &Said) -> Value {
    let mut content: Vec<Value> =
        said.thought.map(|thought| json!({ "type": "thinking", "thinking": thought })).into_iter().collect();
    if !said.words.is_empty() {
        content.push(json!({ "type": "text", "text": said.text() }));
    }
    let mut message = json!({ "role": "assistant", "content": content });
    if !said.calls.is_empty() {
        let calls = said.calls.iter().enumerate();
        message["tool_calls"] = calls.map(|(number, name)| call(number, name, ARGUMENTS)).collect();
    }
    json!({ "id": "c1", "finish_reason": reason(said), "message": message, "usage": usage() })
}

pub(super) fn events(said: &Said) -> Events {
    let event = |kind: &str, mut value: Value| {
        value["type"] = kind.into();
        sse(kind, &value)
    };
    let message = |message: Value| json!({ "delta": { "message": message } });
    let mut events = Events::default();
    let mut start = message(json!({ "role": "assistant", "content": [] }));
    start["id"] = "c1".into();
    events.before.push(event("message-start", start));
    let mut index = 0;
    let mut block = |kind: &str, pieces: Vec<String>| {
        let list = if index == 0 { &mut events.before } else { &mut events.content };
        let mut start = message(json!({ "content": { "type": kind, kind: "" } }));
        start["index"] = index.into();
        list.push(event("content-start", start));
        for piece in pieces {
            let mut delta = message(json!({ "content": { kind: piece } }));
            delta["index"] = index.into();
            events.content.push(event("content-delta", delta));
        }
        events.content.push(event("content-end", json!({ "index": index })));
        index += 1;
    };
    if let Some(thought) = said.thought {
        block("thinking", vec![thought.to_owned()]);
    }
    if !said.words.is_empty() {
        block("text", said.words.clone());
    }
    for (number, name) in said.calls.iter().enumerate() {
        let mut start = message(json!({ "tool_calls": call(number, name, "") }));
        start["index"] = number.into();
        events.content.push(event("tool-call-start", start));
        for piece in ARGUMENT_PIECES {
            let mut delta = message(json!({ "tool_calls": { "function": { "arguments": piece } } }));
            delta["index"] = number.into();
            events.content.push(event("tool-call-delta", delta));
        }
        events.content.push(event("tool-call-end", json!({ "index": number })));
    }
    let end = json!({ "delta": { "finish_reason": reason(said), "usage": usage() } });
    events.end.push(event("message-end", end));
    events
}

pub(super) fn error(trouble: Trouble) -> ErrorAnswer {
    let (status, message) = match trouble {
        Trouble::BadKey => (401, "invalid api token provider-secret-1"),
        Trouble::Limited => (429, "You are using a Trial key, which is limited to 20 API calls / minute."),
        Trouble::NoMoney => (402, "Please add or update your payment method to continue"),
        Trouble::Overloaded => (503, "the service is overloaded"),
        Trouble::Server => (500, "internal server error"),
        Trouble::TooLong => {
            (400, "too many tokens: size limit exceeded by 1 token, the maximum context length is 8")
        }
    };
    (status, Vec::new(), json!({ "id": "e1", "message": message }))
}

/// A stream that fails ends with this reason.
pub(super) fn error_event() -> Vec<u8> {
    let delta = json!({ "finish_reason": "ERROR", "error": "internal server error" });
    sse("message-end", &json!({ "type": "message-end", "delta": delta }))
}
