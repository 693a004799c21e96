//! OpenAI's chat completions (platform.openai.com/docs/api-reference/chat).

use serde_json::{Value, json};

use super::{
    ARGUMENT_PIECES, ARGUMENTS, Asked, CACHED, ErrorAnswer, Events, INPUT, OUTPUT, Said, Trouble, sse,
};

fn usage() -> Value {
    json!({
        "prompt_tokens": INPUT, "completion_tokens": OUTPUT, "total_tokens": INPUT + OUTPUT,
        "prompt_tokens_details": { "cached_tokens": CACHED },
    })
}

fn reason(said: &Said) -> &'static str {
    if said.calls.is_empty() { "stop" } else { "tool_calls" }
}

pub(super) fn whole(asked: &Asked, said: &Said) -> Value {
    let mut message = json!({ "role": "assistant", "content": said.text() });
    if let Some(thought) = said.thought {
        message["reasoning_content"] = thought.into();
    }
    if !said.calls.is_empty() {
        message["content"] = Value::Null;
        let calls = said.calls.iter().enumerate().map(|(number, name)| {
            let function = json!({ "name": name, "arguments": ARGUMENTS });
            json!({ "id": format!("call_{number}"), "type": "function", "function": function })
        });
        message["tool_calls"] = calls.collect();
    }
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": asked.model,
        "choices": [{ "index": 0, "message": message, "finish_reason": reason(said) }],
        "usage": usage(),
    })
}

pub(super) fn events(asked: &Asked, said: &Said) -> Events {
    let chunk = |choices: Value| json!({ "id": "c1", "object": "chat.completion.chunk", "created": 1, "model": asked.model, "choices": choices });
    let delta = |delta: Value, reason: Value| {
        sse("", &chunk(json!([{ "index": 0, "delta": delta, "finish_reason": reason }])))
    };
    let mut events = Events::default();
    events.before.push(delta(json!({ "role": "assistant", "content": "" }), Value::Null));
    events
        .content
        .extend(said.thought.map(|thought| delta(json!({ "reasoning_content": thought }), Value::Null)));
    events.content.extend(said.words.iter().map(|word| delta(json!({ "content": word }), Value::Null)));
    for (number, name) in said.calls.iter().enumerate() {
        let id = format!("call_{number}");
        let function = json!({ "name": name, "arguments": "" });
        let call = json!({ "index": number, "id": id, "type": "function", "function": function });
        events.content.push(delta(json!({ "tool_calls": [call] }), Value::Null));
        for piece in ARGUMENT_PIECES {
            let call = json!({ "index": number, "function": { "arguments": piece } });
            events.content.push(delta(json!({ "tool_calls": [call] }), Value::Null));
        }
    }
    events.end.push(delta(json!({}), reason(said).into()));
    if asked.wants_usage {
        let mut last = chunk(json!([]));
        last["usage"] = usage();
        events.end.push(sse("", &last));
    }
    events.end.push(b"data: [DONE]\n\n".to_vec());
    events
}

pub(super) fn error(trouble: Trouble) -> ErrorAnswer {
    let (status, code, message, param) = match trouble {
        Trouble::BadKey => (401, "invalid_api_key", "Incorrect API key provided: provider-secret-1", None),
        Trouble::Limited => (429, "rate_limit_exceeded", "Rate limit reached", None),
        Trouble::NoMoney => (429, "insufficient_quota", "You exceeded your current quota", None),
        Trouble::Overloaded => (503, "overloaded", "The engine is currently overloaded", None),
        Trouble::Server => (500, "server_error", "The server had an error", None),
        Trouble::TooLong => {
            let message = "This model's maximum context length is 8 tokens";
            (400, "context_length_exceeded", message, Some("messages"))
        }
    };
    (
        status,
        Vec::new(),
        json!({ "error": { "message": message, "type": "x", "param": param, "code": code } }),
    )
}
