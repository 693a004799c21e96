//! Cohere's chat, version 2 (docs.cohere.com/reference/chat). Spoken to the provider only.

pub(super) mod request;
pub(super) mod response;
pub(super) mod stream;

use serde_json::Value;

use crate::fields::count_at;
use crate::form::{Stop, Usage};

fn stop_of(reason: &str) -> Stop {
    match reason {
        "MAX_TOKENS" => Stop::Length,
        "STOP_SEQUENCE" => Stop::Sequence,
        "TOOL_CALL" => Stop::ToolUse,
        "ERROR_TOXIC" => Stop::Filtered,
        _ => Stop::End,
    }
}

fn usage(value: &Value) -> Usage {
    let cached = count_at(value, "/cached_tokens");
    Usage {
        input: count_at(value, "/tokens/input_tokens").saturating_sub(cached),
        cache_read: cached,
        output: count_at(value, "/tokens/output_tokens"),
        ..Usage::default()
    }
}
