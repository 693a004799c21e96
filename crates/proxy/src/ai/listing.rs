//! The models that a caller may name, in the words of whoever asks.

use ai::{Endpoint, Operation, Protocol};
use bytes::Bytes;
use model::{Exchange, Fault, Method, Phase};
use serde_json::{Value, json};
use wire::Known;

use super::offer::Offer;
use super::{Stop, answer};
use crate::answer::Answer;
use crate::client::Downstream;
use crate::exchange::{Context, Finish, Scratch, send_answer};

pub(super) async fn run<D: Downstream>(
    ctx: Context<'_>,
    client: &mut D,
    scratch: &mut Scratch,
    record: &mut Exchange,
    endpoint: &Endpoint,
    offer: &Offer,
) -> Result<Finish, Stop> {
    let method = &scratch.request.method;
    if !matches!(method, Method::Get | Method::Head) {
        let answer = Answer { allow: vec![Method::Get], ..Answer::new(Fault::MethodNotAllowed) };
        return Err(Stop::Refused { answer, phase: Phase::Policy, detail: None });
    }
    let is_head = *method == Method::Head;
    let names = offer.names();
    let body = match (endpoint.operation, &endpoint.model) {
        (Operation::Model, Some(name)) => {
            let found = names.iter().find(|(known, _)| {
                known == name || known.split_once('/').is_some_and(|(_, bare)| *bare == **name)
            });
            let (_, provider) = found.ok_or_else(|| answer::unknown_model(name, Vec::new()))?;
            one(endpoint.protocol, name, provider)
        }
        _ => list(endpoint.protocol, &names),
    };
    let body = Bytes::from(body.to_string());
    let head = &mut scratch.response;
    head.clear();
    head.status = 200;
    head.fields.push_known(Known::ContentType, b"application/json");
    head.fields.push_known(Known::ContentLength, body.len().to_string().as_bytes());
    record.status = 200;
    Ok(send_answer(ctx, client, head, body, is_head, record).await)
}

fn one(protocol: Protocol, name: &str, provider: &str) -> Value {
    match protocol {
        Protocol::Anthropic => {
            json!({ "type": "model", "id": name, "display_name": name, "created_at": "1970-01-01T00:00:00Z" })
        }
        Protocol::Gemini => json!({
            "name": format!("models/{name}"), "displayName": name, "version": "1",
            "supportedGenerationMethods": ["generateContent", "countTokens"],
        }),
        Protocol::Bedrock | Protocol::Chat | Protocol::Cohere | Protocol::Responses => {
            json!({ "id": name, "object": "model", "created": 0, "owned_by": provider })
        }
    }
}

fn list(protocol: Protocol, names: &[(Box<str>, Box<str>)]) -> Value {
    let all: Vec<Value> = names.iter().map(|(name, provider)| one(protocol, name, provider)).collect();
    match protocol {
        Protocol::Anthropic => {
            let (first, last) = (names.first().map(|(name, _)| name), names.last().map(|(name, _)| name));
            json!({ "data": all, "has_more": false, "first_id": first, "last_id": last })
        }
        Protocol::Gemini => json!({ "models": all }),
        Protocol::Bedrock | Protocol::Chat | Protocol::Cohere | Protocol::Responses => {
            json!({ "object": "list", "data": all })
        }
    }
}
