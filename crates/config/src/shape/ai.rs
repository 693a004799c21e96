//! AI models: providers, the names that clients call, and services that offer them.

use model::gateway::LaneChoice;

use super::shape;
use crate::decode::{List, Map};
use crate::scalar::{
    AiWord, HeaderName, HeaderSecret, LaneText, Limited, ModelName, Name, ProviderSecret, Time, WebhookUrl,
    Weight,
};

shape! {
    /// A vendor of AI models, or software that serves them. Those of the catalogue need no more than their name, and a key in the
    /// environment; without this list, every one of the catalogue whose usual variable is set.
    Provider {
        /// Its name in models (`openai/gpt-5`). If the catalogue has it, everything else has a default from there.
        name: Name [required] "openai";
        /// The row of the catalogue that it is like, where its name is another.
        kind: Name [optional] "mistral";
        /// Where its API is, without the place of an operation: `https://api.openai.com/v1`.
        url: WebhookUrl [optional] "http://127.0.0.1:8000/v1";
        /// The protocols that it speaks, the best one first.
        speaks: List<AiWord, 1> [optional] "[anthropic]";
        /// Its keys, used in this order: the next one when one is refused, has no money left or has asked too often. Without this
        /// list, the key in its usual variable of the environment. With AWS's signature each is `ACCESS-KEY-ID:SECRET`.
        keys: List<ProviderSecret, 1> [optional] "[\"${env:FIRST_KEY}\", \"${env:SECOND_KEY}\"]";
        /// Header fields that go with every request.
        headers: Map<HeaderName, HeaderSecret> [= "{}"] "{ openai-organization: \"${env:OPENAI_ORG}\" }";
        /// Models that clients may call without the provider's name, beside those of the catalogue.
        models: List<ModelName, 1> [optional] "[llama-3-70b]";
        /// Time limits, key by key.
        timeouts: ProviderTimeouts [= "{}"] "{ await-head: 2m }";
    }
}

shape! {
    /// How long the steps of an attempt at a provider may take. Answers of models take long.
    ProviderTimeouts {
        /// To connect, over all addresses of the name.
        connect: Time<1> [= "5s"] "2s";
        /// For the TLS handshake.
        tls: Time<1> [= "10s"] "3s";
        /// Between two writes of the request that made progress.
        send: Time<1> [= "30s"] "20s";
        /// From the end of the request to the end of the response head: how long the model may think before its first byte.
        await_head: Time<1> [= "10m"] "2m";
        /// Between two reads of the answer.
        body_idle: Time<1> [= "5m"] "1m";
        /// From the start of an attempt to the end of its response head; after it another lane may be asked.
        attempt: Limited<Time<1>> [= "unlimited"] "30s";
        /// For the whole exchange, all attempts together.
        total: Limited<Time<1>> [= "unlimited"] "15m";
    }
}

shape! {
    /// A name that clients may call instead of a provider's model: an alias, or several lanes of which one answers.
    Model {
        /// The name.
        name: ModelName [required] "smart";
        /// The lanes, each `provider/model`. When one fails before its answer has begun, the next one is asked.
        lanes: List<Lane, 1> [required] "[openai/gpt-5, anthropic/claude-sonnet-4-5]";
        /// Which lane is asked first.
        choose: LaneChoice [= "in-order"] "weighted";
    }
}

shape! {
    /// A lane with a weight.
    WeightedLane {
        /// `provider/model`.
        lane: LaneText [required] "openai/gpt-5";
        /// Its share where `choose` is `weighted`.
        weight: Weight [= "1"] "3";
    }
}

/// A lane: its text alone, or with a weight.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    pub(crate) lane: LaneText,
    pub(crate) weight: u32,
}

impl crate::decode::Decode for Lane {
    fn decode(node: &crate::tree::Node, label: &str, ctx: &mut crate::ctx::Ctx) -> Option<Self> {
        if let crate::tree::Value::Map(_) = &node.value {
            let shape = WeightedLane::decode(node, label, ctx)?;
            return Some(Lane { lane: shape.lane.given()?.value.clone(), weight: shape.weight.value.0 });
        }
        Some(Lane { lane: LaneText::decode(node, label, ctx)?, weight: 1 })
    }

    fn shape() -> crate::decode::Shape {
        use crate::decode::Shaped;
        let object = crate::decode::Shape::Object(WeightedLane::OBJECT);
        crate::decode::Shape::Either(Box::new(LaneText::shape()), Box::new(object))
    }
}

shape! {
    /// Makes the service an AI API: OpenAI's, Anthropic's, Google's and Bedrock's protocols at their usual paths.
    Ai {
        /// The providers that it offers. Without this key, all of them.
        providers: List<Name, 1> [optional] "[openai]";
        /// Whether callers must have a key of Clearway's, where their SDK puts its key.
        key: bool [= "true"] "false";
    }
}
