//! Consumers and their credentials.

use model::Secret;

use super::shape;
use crate::ctx::Ctx;
use crate::decode::{Complaint, Decode, Json, Kind, List, Scalar, Shape};
use crate::scalar::Name;
use crate::tree::{Node, Value};

shape! {
    /// An application that calls services.
    Consumer {
        /// Its name in records and policies.
        name: Name [required] "alice";
        /// Keys that it may use, each at least 16 characters; several allow a change without a gap.
        api_keys: List<ApiKeyText, 1> [optional] "[\"${env:ALICE_KEY}\"]";
        /// The team that it belongs to, for limits that a team shares.
        team: Name [optional] "shop";
    }
}

/// An API key. Its value stands in no message.
#[derive(Clone, Debug)]
pub(crate) struct ApiKeyText(pub(crate) Secret);

impl Scalar for SecretText {
    const SECRET: bool = true;

    fn kind() -> Kind {
        Kind { name: "secret".into(), expected: "a key of at least 16 characters".into(), json: Json::Secret }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        if text.len() < 16 {
            return Err(Complaint::new("must be at least 16 characters long")
                .hint("`openssl rand -base64 24` makes a good one"));
        }
        if text.len() > 512 {
            return Err(Complaint::new("must be at most 512 characters long"));
        }
        // What a header can carry without being changed on its way.
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Complaint::new("must be visible ASCII characters without blanks"));
        }
        Ok(SecretText(Secret::new(text)))
    }
}

struct SecretText(Secret);

impl Decode for ApiKeyText {
    fn decode(node: &Node, label: &str, ctx: &mut Ctx) -> Option<Self> {
        let SecretText(secret) = SecretText::decode(node, label, ctx)?;
        if let Value::Scalar(written) = &node.value
            && (!written.text.contains("${") || written.text.contains(":-"))
        {
            let message = format!("{label}: a key stands in this file in the clear");
            ctx.warn(node.place, message, "write \"${env:NAME}\" or \"${file:PATH}\"");
        }
        Some(ApiKeyText(secret))
    }

    fn shape() -> Shape {
        SecretText::shape()
    }
}
