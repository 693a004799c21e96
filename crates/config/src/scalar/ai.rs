//! Words of AI models: names, lanes, keys.

use model::gateway::LaneChoice;
use model::{AiProtocol, Secret};

use crate::decode::{Complaint, Json, Kind, Scalar};

const NAME_BYTES_MAX: usize = 128;

/// The name of a model, as providers write them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ModelName(pub(crate) Box<str>);

fn check_name(text: &str) -> Result<(), Complaint> {
    if text.is_empty() || text.len() > NAME_BYTES_MAX {
        return Err(Complaint::new("must be 1 to 128 characters long"));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'?' | b'#')) {
        return Err(Complaint::new(
            "must be visible ASCII characters without blanks, quotes, `\\`, `?` and `#`",
        ));
    }
    Ok(())
}

impl Scalar for ModelName {
    fn kind() -> Kind {
        Kind {
            name: "model".into(),
            expected: "the name of a model such as gpt-5".into(),
            json: Json::Text(None),
        }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        check_name(text)?;
        Ok(ModelName(text.into()))
    }
}

/// A provider and one of its models.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LaneText {
    pub(crate) provider: Box<str>,
    pub(crate) model: Box<str>,
}

impl Scalar for LaneText {
    fn kind() -> Kind {
        Kind {
            name: "lane".into(),
            expected: "a provider and a model such as openai/gpt-5".into(),
            json: Json::Text(Some(r"^[^/]+/.+$")),
        }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        check_name(text)?;
        match text.split_once('/') {
            Some((provider, model)) if !provider.is_empty() && !model.is_empty() => {
                Ok(LaneText { provider: provider.into(), model: model.into() })
            }
            _ => Err(Self::unlike()),
        }
    }
}

/// A provider's key. Its value stands in no message.
#[derive(Clone, Debug)]
pub(crate) struct ProviderSecret(pub(crate) Secret);

impl Scalar for ProviderSecret {
    const SECRET: bool = true;

    fn kind() -> Kind {
        Kind { name: "secret".into(), expected: "a provider's key".into(), json: Json::Secret }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        if text.is_empty() || text.len() > 16 << 10 {
            return Err(Complaint::new("must be 1 to 16,384 characters long"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Complaint::new("must be visible ASCII characters without blanks and line ends"));
        }
        Ok(ProviderSecret(Secret::new(text)))
    }
}

/// A protocol that a provider speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AiWord(pub(crate) AiProtocol);

impl Scalar for AiWord {
    fn kind() -> Kind {
        let words = vec![
            ("chat", "OpenAI's chat completions"),
            ("responses", "OpenAI's responses"),
            ("anthropic", "Anthropic's messages"),
            ("gemini", "Google's generateContent"),
            ("bedrock", "AWS Bedrock's converse"),
            ("cohere", "Cohere's chat, version 2"),
        ];
        let expected = "chat, responses, anthropic, gemini, bedrock or cohere".into();
        Kind { name: "word".into(), expected, json: Json::Words(words) }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        AiProtocol::by_id(text).map(AiWord).ok_or_else(Self::unlike)
    }
}

impl Scalar for LaneChoice {
    fn kind() -> Kind {
        let words = vec![
            ("in-order", "the first one that does not rest"),
            ("weighted", "by chance, by weight"),
            ("cheapest", "the one with the lowest price for its input and output"),
            ("fastest", "the one that gave its first content soonest of late"),
        ];
        Kind {
            name: "word".into(),
            expected: "in-order, weighted, cheapest or fastest".into(),
            json: Json::Words(words),
        }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        match text {
            "in-order" => Ok(LaneChoice::InOrder),
            "weighted" => Ok(LaneChoice::Weighted),
            "cheapest" => Ok(LaneChoice::Cheapest),
            "fastest" => Ok(LaneChoice::Fastest),
            _ => Err(Self::unlike()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scalar::check;

    #[test]
    fn a_lane_is_a_provider_and_a_model() {
        let lane = |text, expected| {
            check::<LaneText>(text, |lane| format!("{} {}", lane.provider, lane.model), expected);
        };
        lane("openai/gpt-5", "= openai gpt-5");
        lane("openrouter/meta/llama-3:free", "= openrouter meta/llama-3:free");
        lane("gpt-5", "! must be a provider and a model such as openai/gpt-5");
        lane("openai/", "! must be a provider and a model such as openai/gpt-5");
        lane("a b/c", "! must be visible ASCII characters without blanks, quotes, `\\`, `?` and `#`");
    }
}
