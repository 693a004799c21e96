//! OpenAI's chat completions, which most providers speak too (platform.openai.com/docs/api-reference/chat).

pub(super) mod request;
pub(super) mod response;
pub(super) mod stream;

use serde_json::{Value, json};

use super::Told;
use crate::form::Stop;

/// The shape of an error, in answers and in streams alike.
pub(super) fn error(told: &Told<'_>) -> Value {
    let kind = match told.status {
        400 | 404 | 409 | 413 | 422 => "invalid_request_error",
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        _ => "server_error",
    };
    json!({ "error": {
        "message": told.message,
        "type": kind,
        "param": told.param,
        "code": told.code,
        "request_id": told.request_id,
    } })
}

fn stop_of(reason: &str) -> Stop {
    match reason {
        "length" | "max_tokens" | "model_length" => Stop::Length,
        "tool_calls" | "function_call" => Stop::ToolUse,
        "content_filter" => Stop::Filtered,
        _ => Stop::End,
    }
}

fn reason_of(stop: Stop) -> &'static str {
    match stop {
        Stop::End | Stop::Pause | Stop::Sequence => "stop",
        Stop::Filtered => "content_filter",
        Stop::Length => "length",
        Stop::ToolUse => "tool_calls",
    }
}
