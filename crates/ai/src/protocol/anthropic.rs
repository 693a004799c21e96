//! Anthropic's messages (docs.anthropic.com/en/api/messages).

pub(super) mod request;
pub(super) mod response;
pub(super) mod stream;

use serde_json::{Value, json};

use super::Told;
use crate::fields::count_at;
use crate::form::{Stop, Usage};

pub(super) fn error(told: &Told<'_>) -> Value {
    let kind = match told.status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        504 => "timeout_error",
        503 | 529 => "overloaded_error",
        _ => "api_error",
    };
    json!({
        "type": "error",
        "error": { "type": kind, "message": told.message, "code": told.code },
        "request_id": told.request_id,
    })
}

fn stop_of(reason: &str) -> Stop {
    match reason {
        "max_tokens" | "model_context_window_exceeded" => Stop::Length,
        "stop_sequence" => Stop::Sequence,
        "tool_use" => Stop::ToolUse,
        "pause_turn" => Stop::Pause,
        "refusal" => Stop::Filtered,
        _ => Stop::End,
    }
}

fn reason_of(stop: Stop) -> &'static str {
    match stop {
        Stop::End => "end_turn",
        Stop::Filtered => "refusal",
        Stop::Length => "max_tokens",
        Stop::Pause => "pause_turn",
        Stop::Sequence => "stop_sequence",
        Stop::ToolUse => "tool_use",
    }
}

/// In this protocol what was read from a cache is not among the input tokens.
pub(super) fn usage(value: &Value) -> Usage {
    let written = count_at(value, "/cache_creation_input_tokens");
    let long = count_at(value, "/cache_creation/ephemeral_1h_input_tokens");
    Usage {
        input: count_at(value, "/input_tokens"),
        cache_read: count_at(value, "/cache_read_input_tokens"),
        cache_write: written.saturating_sub(long),
        cache_write_long: long,
        audio_input: 0,
        output: count_at(value, "/output_tokens"),
        reasoning: count_at(value, "/output_tokens_details/thinking_tokens"),
        audio_output: 0,
    }
}

fn encode_usage(usage: &Usage) -> Value {
    json!({
        "input_tokens": usage.input + usage.audio_input,
        "cache_creation_input_tokens": usage.cache_write + usage.cache_write_long,
        "cache_read_input_tokens": usage.cache_read,
        "output_tokens": usage.output_all(),
    })
}
