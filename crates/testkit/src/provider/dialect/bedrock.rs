//! AWS Bedrock's converse (docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html).

use serde_json::{Value, json};

use super::{ARGUMENT_PIECES, CACHED, ErrorAnswer, Events, INPUT, OUTPUT, Said, Trouble, arguments};

fn reason(said: &Said) -> &'static str {
    if said.calls.is_empty() { "end_turn" } else { "tool_use" }
}

fn usage() -> Value {
    json!({
        "inputTokens": INPUT - CACHED, "cacheReadInputTokens": CACHED, "outputTokens": OUTPUT,
        "totalTokens": INPUT + OUTPUT,
    })
}

pub(super) fn whole(said: &Said) -> Value {
    let mut content = Vec::new();
    if let Some(thought) = said.thought {
        let thought = json!({ "text": thought, "signature": "cHJvb2Y=" });
        content.push(json!({ "reasoningContent": { "reasoningText": thought } }));
    }
    if !said.words.is_empty() {
        content.push(json!({ "text": said.text() }));
    }
    for (number, name) in said.calls.iter().enumerate() {
        let call = json!({ "toolUseId": format!("tooluse_{number}"), "name": name, "input": arguments() });
        content.push(json!({ "toolUse": call }));
    }
    json!({
        "output": { "message": { "role": "assistant", "content": content } }, "stopReason": reason(said),
        "usage": usage(), "metrics": { "latencyMs": 1 },
    })
}

pub(super) fn events(said: &Said) -> Events {
    let event = |name: &str, value: &Value| message("event", ":event-type", name, value);
    let mut events = Events::default();
    events.before.push(event("messageStart", &json!({ "role": "assistant" })));
    let mut index = 0;
    let mut block = |start: Option<Value>, deltas: Vec<Value>| {
        if let Some(start) = start {
            let value = json!({ "contentBlockIndex": index, "start": start });
            events.content.push(event("contentBlockStart", &value));
        }
        for delta in deltas {
            let value = json!({ "contentBlockIndex": index, "delta": delta });
            events.content.push(event("contentBlockDelta", &value));
        }
        events.content.push(event("contentBlockStop", &json!({ "contentBlockIndex": index })));
        index += 1;
    };
    if let Some(thought) = said.thought {
        let text = json!({ "reasoningContent": { "text": thought } });
        block(None, vec![text, json!({ "reasoningContent": { "signature": "cHJvb2Y=" } })]);
    }
    if !said.words.is_empty() {
        block(None, said.words.iter().map(|word| json!({ "text": word })).collect());
    }
    for (number, name) in said.calls.iter().enumerate() {
        let start = json!({ "toolUse": { "toolUseId": format!("tooluse_{number}"), "name": name } });
        let deltas = ARGUMENT_PIECES.map(|piece| json!({ "toolUse": { "input": piece } }));
        block(Some(start), deltas.to_vec());
    }
    events.end.push(event("messageStop", &json!({ "stopReason": reason(said) })));
    events.end.push(event("metadata", &json!({ "usage": usage(), "metrics": { "latencyMs": 1 } })));
    events
}

fn words(trouble: Trouble) -> (u16, &'static str, &'static str) {
    match trouble {
        Trouble::BadKey => {
            (403, "UnrecognizedClientException", "The security token included in the request is invalid.")
        }
        Trouble::Limited => {
            (429, "ThrottlingException", "Too many requests, please wait before trying again.")
        }
        Trouble::NoMoney => (402, "PaymentRequiredException", "INVALID_PAYMENT_INSTRUMENT"),
        Trouble::Overloaded => {
            (503, "ServiceUnavailableException", "Bedrock is unable to process your request.")
        }
        Trouble::Server => (500, "InternalServerException", "The system encountered an unexpected error."),
        Trouble::TooLong => {
            let message = "Input is too long for requested model: the maximum context length is 8.";
            (400, "ValidationException", message)
        }
    }
}

pub(super) fn error(trouble: Trouble) -> ErrorAnswer {
    let (status, name, message) = words(trouble);
    (status, vec![("x-amzn-ErrorType", name)], json!({ "message": message }))
}

pub(super) fn exception(trouble: Trouble) -> Vec<u8> {
    let (_, name, text) = words(trouble);
    let mut name = name.to_owned();
    name[..1].make_ascii_lowercase();
    message("exception", ":exception-type", &name, &json!({ "message": text }))
}

/// A message of "Amazon Event Stream Specification" (smithy.io): lengths, headers that are strings, payload, two checksums.
fn message(kind: &str, name_field: &str, name: &str, payload: &Value) -> Vec<u8> {
    let mut headers = Vec::new();
    for (field, value) in [(name_field, name), (":content-type", "application/json"), (":message-type", kind)]
    {
        headers.push(field.len() as u8);
        headers.extend_from_slice(field.as_bytes());
        headers.push(7);
        headers.extend_from_slice(&(value.len() as u16).to_be_bytes());
        headers.extend_from_slice(value.as_bytes());
    }
    let payload = payload.to_string();
    let mut out = Vec::new();
    out.extend_from_slice(&((16 + headers.len() + payload.len()) as u32).to_be_bytes());
    out.extend_from_slice(&(headers.len() as u32).to_be_bytes());
    out.extend_from_slice(&crc32fast::hash(&out).to_be_bytes());
    out.extend_from_slice(&headers);
    out.extend_from_slice(payload.as_bytes());
    out.extend_from_slice(&crc32fast::hash(&out).to_be_bytes());
    out
}
