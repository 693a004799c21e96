//! AWS Bedrock's converse and converse-stream
//! (docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html).

pub(super) mod request;
pub(super) mod response;
pub(super) mod stream;

use serde_json::{Value, json};

use super::Told;
use crate::fields::count_at;
use crate::form::{Stop, Usage};

/// The name of the error goes into `x-amzn-ErrorType` (see [`error_type`]).
pub(super) fn error(told: &Told<'_>) -> Value {
    json!({ "message": told.message, "code": told.code, "requestId": told.request_id })
}

/// What boto3 and the other SDKs make an exception of.
pub(super) fn error_type(status: u16) -> &'static str {
    match status {
        401 | 403 => "AccessDeniedException",
        404 => "ResourceNotFoundException",
        408 | 504 => "ModelTimeoutException",
        424 => "ModelErrorException",
        429 => "ThrottlingException",
        503 | 529 => "ServiceUnavailableException",
        400..=499 => "ValidationException",
        _ => "InternalServerException",
    }
}

fn stop_of(reason: &str) -> Stop {
    match reason {
        "max_tokens" | "model_context_window_exceeded" => Stop::Length,
        "stop_sequence" => Stop::Sequence,
        "tool_use" => Stop::ToolUse,
        "content_filtered" | "guardrail_intervened" => Stop::Filtered,
        _ => Stop::End,
    }
}

fn reason_of(stop: Stop) -> &'static str {
    match stop {
        Stop::End | Stop::Pause => "end_turn",
        Stop::Filtered => "content_filtered",
        Stop::Length => "max_tokens",
        Stop::Sequence => "stop_sequence",
        Stop::ToolUse => "tool_use",
    }
}

fn usage(value: &Value) -> Usage {
    Usage {
        input: count_at(value, "/inputTokens"),
        cache_read: count_at(value, "/cacheReadInputTokens"),
        cache_write: count_at(value, "/cacheWriteInputTokens"),
        output: count_at(value, "/outputTokens"),
        ..Usage::default()
    }
}

fn encode_usage(usage: &Usage) -> Value {
    json!({
        "inputTokens": usage.input + usage.audio_input,
        "outputTokens": usage.output_all(),
        "totalTokens": usage.total(),
        "cacheReadInputTokens": usage.cache_read,
        "cacheWriteInputTokens": usage.cache_write + usage.cache_write_long,
    })
}
