//! OpenAI's responses (platform.openai.com/docs/api-reference/responses).

pub(super) mod request;
pub(super) mod response;
pub(super) mod stream;

use serde_json::{Value, json};

use super::Told;
use crate::Protocol;
use crate::fields::count_at;
use crate::form::{Signature, Usage};

/// The event of a stream that clients raise. The reference has its fields at the top; what OpenAI sends has them in `error`, and its
/// SDK raises only that.
pub(super) fn error_event(told: &Told<'_>) -> Value {
    let kind = if told.status < 500 { "invalid_request_error" } else { "server_error" };
    json!({
        "type": "error", "code": told.code, "message": told.message, "param": told.param, "sequence_number": 0,
        "error": { "type": kind, "code": told.code, "message": told.message, "param": told.param },
    })
}

/// Here, too, the input includes what came from a cache.
fn usage(value: &Value) -> Usage {
    let cached = count_at(value, "/input_tokens_details/cached_tokens");
    Usage {
        input: count_at(value, "/input_tokens").saturating_sub(cached),
        cache_read: cached,
        output: count_at(value, "/output_tokens"),
        reasoning: count_at(value, "/output_tokens_details/reasoning_tokens"),
        ..Usage::default()
    }
}

fn encode_usage(usage: &Usage) -> Value {
    json!({
        "input_tokens": usage.input_all(),
        "input_tokens_details": { "cached_tokens": usage.cache_read },
        "output_tokens": usage.output_all(),
        "output_tokens_details": { "reasoning_tokens": usage.reasoning },
        "total_tokens": usage.total(),
    })
}

/// A thought's proof is its encrypted content, which comes back with the item's id.
fn sign(id: &str, encrypted: &str) -> Signature {
    Signature { by: Protocol::Responses, value: format!("{id}.{encrypted}") }
}

/// The id and the encrypted content of a thought, for a client or a provider of this protocol.
fn encrypted(signature: &Signature) -> (Option<&str>, String) {
    match signature.by {
        Protocol::Responses => match signature.value.split_once('.') {
            Some((id, encrypted)) => (Some(id), encrypted.to_owned()),
            None => (None, signature.value.clone()),
        },
        _ => (None, signature.abroad(Protocol::Responses)),
    }
}
