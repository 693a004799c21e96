//! Google's generateContent (ai.google.dev/api/generate-content).

use serde_json::{Value, json};

use super::{Asked, CACHED, ErrorAnswer, Events, INPUT, OUTPUT, Said, Trouble, arguments, sse};

fn usage() -> Value {
    json!({
        "promptTokenCount": INPUT, "cachedContentTokenCount": CACHED, "candidatesTokenCount": OUTPUT,
        "totalTokenCount": INPUT + OUTPUT,
    })
}

fn calls(said: &Said) -> impl Iterator<Item = Value> {
    said.calls.iter().enumerate().map(|(number, name)| {
        let mut part = json!({ "functionCall": { "name": name, "args": arguments() } });
        if number == 0 {
            part["thoughtSignature"] = "cHJvb2Y=".into();
        }
        part
    })
}

fn answer(asked: &Asked, parts: Value, is_last: bool) -> Value {
    let mut candidate = json!({ "content": { "role": "model", "parts": parts }, "index": 0 });
    if is_last {
        candidate["finishReason"] = "STOP".into();
    }
    let mut answer = json!({ "candidates": [candidate], "modelVersion": asked.model, "responseId": "r1" });
    if is_last {
        answer["usageMetadata"] = usage();
    }
    answer
}

pub(super) fn whole(asked: &Asked, said: &Said) -> Value {
    let mut parts: Vec<Value> =
        said.thought.map(|thought| json!({ "text": thought, "thought": true })).into_iter().collect();
    if !said.words.is_empty() {
        parts.push(json!({ "text": said.text() }));
    }
    parts.extend(calls(said));
    answer(asked, parts.into(), true)
}

pub(super) fn events(asked: &Asked, said: &Said) -> Events {
    let mut parts: Vec<Value> =
        said.thought.map(|thought| json!({ "text": thought, "thought": true })).into_iter().collect();
    parts.extend(said.words.iter().map(|word| json!({ "text": word })));
    parts.extend(calls(said));
    let last = parts.pop();
    let event = |part: Value, is_last| sse("", &answer(asked, json!([part]), is_last));
    Events {
        before: Vec::new(),
        content: parts.into_iter().map(|part| event(part, false)).collect(),
        end: last.map(|part| event(part, true)).into_iter().collect(),
    }
}

pub(super) fn error(trouble: Trouble) -> ErrorAnswer {
    let (status, name, message) = match trouble {
        Trouble::BadKey => (400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."),
        Trouble::Limited => (429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."),
        Trouble::NoMoney => (402, "FAILED_PRECONDITION", "Your prepayment credits are depleted."),
        Trouble::Overloaded => (503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
        Trouble::Server => (500, "INTERNAL", "An internal error has occurred."),
        Trouble::TooLong => {
            let message = "The input token count (9) exceeds the maximum number of tokens allowed (8), the maximum context length.";
            (400, "INVALID_ARGUMENT", message)
        }
    };
    (status, Vec::new(), json!({ "error": { "code": status, "message": message, "status": name } }))
}
