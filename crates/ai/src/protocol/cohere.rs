//! Cohere's chat, version 2 (docs.cohere.com/reference/chat). Spoken to the provider only.

pub(super) mod request;
pub(super) mod response;
pub(super) mod stream;

use serde_json::Value;

use crate::fields::{count_at, text_at};
use crate::form::{Stop, Usage};
use crate::problem::{Class, Problem};

fn stop_of(reason: &str) -> Stop {
    match reason {
        "MAX_TOKENS" => Stop::Length,
        "STOP_SEQUENCE" => Stop::Sequence,
        "TOOL_CALL" => Stop::ToolUse,
        "ERROR_TOXIC" => Stop::Filtered,
        _ => Stop::End,
    }
}

/// An answer that ends with a failure of the provider's own.
pub(super) fn failed(value: &Value) -> Option<Problem> {
    let reason = text_at(value, "/finish_reason");
    matches!(reason, "ERROR" | "TIMEOUT").then(|| {
        let message = match text_at(value, "/error") {
            "" => "the provider gave no reason",
            message => message,
        };
        Problem::new(Class::Server, 502, reason, message)
    })
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
