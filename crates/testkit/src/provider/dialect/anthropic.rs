//! Anthropic's messages (docs.anthropic.com/en/api/messages-streaming).

use serde_json::{Value, json};

use super::{
    ARGUMENT_PIECES, Asked, CACHED, ErrorAnswer, Events, INPUT, OUTPUT, Said, Trouble, arguments, sse,
};

fn reason(said: &Said) -> &'static str {
    if said.calls.is_empty() { "end_turn" } else { "tool_use" }
}

pub(super) fn whole(asked: &Asked, said: &Said) -> Value {
    let mut content = Vec::new();
    if let Some(thought) = said.thought {
        content.push(json!({ "type": "thinking", "thinking": thought, "signature": "cHJvb2Y=" }));
    }
    if !said.words.is_empty() {
        content.push(json!({ "type": "text", "text": said.text() }));
    }
    for (number, name) in said.calls.iter().enumerate() {
        let id = format!("toolu_{number}");
        content.push(json!({ "type": "tool_use", "id": id, "name": name, "input": arguments() }));
    }
    json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": asked.model, "content": content,
        "stop_reason": reason(said), "stop_sequence": null,
        "usage": {
            "input_tokens": INPUT - CACHED, "cache_read_input_tokens": CACHED, "cache_creation_input_tokens": 0,
            "output_tokens": OUTPUT,
        },
    })
}

pub(super) fn events(asked: &Asked, said: &Said) -> Events {
    let event = |kind: &str, mut value: Value| {
        value["type"] = kind.into();
        sse(kind, &value)
    };
    let mut message = whole(asked, said);
    message["content"] = json!([]);
    message["stop_reason"] = Value::Null;
    message["usage"]["output_tokens"] = 1.into();
    let mut events = Events::default();
    events.before.push(event("message_start", json!({ "message": message })));
    events.before.push(event("ping", json!({})));
    let mut index = 0;
    let mut block = |start: Value, deltas: Vec<Value>| {
        let list = if index == 0 { &mut events.before } else { &mut events.content };
        list.push(event("content_block_start", json!({ "index": index, "content_block": start })));
        for delta in deltas {
            events.content.push(event("content_block_delta", json!({ "index": index, "delta": delta })));
        }
        events.content.push(event("content_block_stop", json!({ "index": index })));
        index += 1;
    };
    if let Some(thought) = said.thought {
        let start = json!({ "type": "thinking", "thinking": "", "signature": "" });
        let thinking = json!({ "type": "thinking_delta", "thinking": thought });
        block(start, vec![thinking, json!({ "type": "signature_delta", "signature": "cHJvb2Y=" })]);
    }
    if !said.words.is_empty() {
        let deltas = said.words.iter().map(|word| json!({ "type": "text_delta", "text": word }));
        block(json!({ "type": "text", "text": "" }), deltas.collect());
    }
    for (number, name) in said.calls.iter().enumerate() {
        let start = json!({ "type": "tool_use", "id": format!("toolu_{number}"), "name": name, "input": {} });
        let deltas =
            ARGUMENT_PIECES.map(|piece| json!({ "type": "input_json_delta", "partial_json": piece }));
        block(start, deltas.to_vec());
    }
    let delta = json!({ "stop_reason": reason(said), "stop_sequence": null });
    let usage = json!({ "output_tokens": OUTPUT });
    events.end.push(event("message_delta", json!({ "delta": delta, "usage": usage })));
    events.end.push(event("message_stop", json!({})));
    events
}

pub(super) fn error(trouble: Trouble) -> ErrorAnswer {
    let (status, kind, message) = match trouble {
        Trouble::BadKey => (401, "authentication_error", "invalid x-api-key: provider-secret-1"),
        Trouble::Limited => (429, "rate_limit_error", "This request would exceed your rate limit"),
        Trouble::NoMoney => {
            (400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API")
        }
        Trouble::Overloaded => (529, "overloaded_error", "Overloaded"),
        Trouble::Server => (500, "api_error", "Internal server error"),
        Trouble::TooLong => {
            let message = "prompt is too long: 9 tokens > 8 maximum, the maximum context length";
            (400, "invalid_request_error", message)
        }
    };
    let error = json!({ "type": kind, "message": message });
    (status, Vec::new(), json!({ "type": "error", "error": error, "request_id": "req_1" }))
}
