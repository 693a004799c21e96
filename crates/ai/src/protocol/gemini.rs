//! Google's generateContent and streamGenerateContent (ai.google.dev/api/generate-content), of Gemini and Vertex AI.

pub(super) mod request;
pub(super) mod response;
pub(super) mod stream;

use serde_json::{Value, json};

use super::Told;
use crate::fields::{count_at, list_at, text_at};
use crate::form::{Stop, Usage};

/// SDKs insist on a whole number as the code, in streams as well.
pub(super) fn error(told: &Told<'_>) -> Value {
    let status = match told.status {
        400 | 413 | 422 => "INVALID_ARGUMENT",
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        499 => "CANCELLED",
        503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        _ => "INTERNAL",
    };
    json!({ "error": {
        "code": told.status,
        "message": told.message,
        "status": status,
        "details": [{
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": told.code,
            "domain": "clearway",
            "metadata": { "request_id": told.request_id },
        }],
    } })
}

fn stop_of(reason: &str) -> Stop {
    match reason {
        "MAX_TOKENS" => Stop::Length,
        "SAFETY" | "RECITATION" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" | "IMAGE_SAFETY"
        | "LANGUAGE" => Stop::Filtered,
        _ => Stop::End,
    }
}

fn reason_of(stop: Stop) -> &'static str {
    match stop {
        Stop::End | Stop::Pause | Stop::Sequence | Stop::ToolUse => "STOP",
        Stop::Filtered => "SAFETY",
        Stop::Length => "MAX_TOKENS",
    }
}

/// Here the prompt's count includes what came from a cache, and the candidates' does not include the thoughts.
fn usage(value: &Value) -> Usage {
    let prompt = count_at(value, "/promptTokenCount") + count_at(value, "/toolUsePromptTokenCount");
    let cached = count_at(value, "/cachedContentTokenCount");
    let audio = |list: &str| -> u64 {
        let of_audio = list_at(value, list).iter().filter(|detail| text_at(detail, "/modality") == "AUDIO");
        of_audio.map(|detail| count_at(detail, "/tokenCount")).sum()
    };
    let thoughts = count_at(value, "/thoughtsTokenCount");
    let audio_input = audio("/promptTokensDetails").min(prompt.saturating_sub(cached));
    let audio_output = audio("/candidatesTokensDetails");
    let candidates = count_at(value, "/candidatesTokenCount");
    Usage {
        input: prompt.saturating_sub(cached).saturating_sub(audio_input),
        cache_read: cached,
        cache_write: 0,
        cache_write_long: 0,
        audio_input,
        output: (candidates + thoughts).saturating_sub(audio_output),
        reasoning: thoughts,
        audio_output,
    }
}

fn encode_usage(usage: &Usage) -> Value {
    json!({
        "promptTokenCount": usage.input_all(),
        "candidatesTokenCount": usage.output_all().saturating_sub(usage.reasoning),
        "thoughtsTokenCount": usage.reasoning,
        "cachedContentTokenCount": usage.cache_read,
        "totalTokenCount": usage.total(),
    })
}
