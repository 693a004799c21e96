//! AI calls: the protocols by name, what is served of providers, and what happened.

use std::sync::Arc;

/// A wire format of AI APIs. What each says is known in the crate `ai`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AiProtocol {
    /// Anthropic's messages.
    Anthropic,
    /// AWS Bedrock's converse.
    Bedrock,
    /// OpenAI's chat completions.
    Chat,
    /// Cohere's chat, version 2.
    Cohere,
    /// Google's generateContent.
    Gemini,
    /// OpenAI's responses.
    Responses,
}

impl AiProtocol {
    pub const ALL: &'static [AiProtocol] = &[
        AiProtocol::Anthropic,
        AiProtocol::Bedrock,
        AiProtocol::Chat,
        AiProtocol::Cohere,
        AiProtocol::Gemini,
        AiProtocol::Responses,
    ];

    /// The permanent public name.
    pub fn id(self) -> &'static str {
        match self {
            AiProtocol::Anthropic => "anthropic",
            AiProtocol::Bedrock => "bedrock",
            AiProtocol::Chat => "chat",
            AiProtocol::Cohere => "cohere",
            AiProtocol::Gemini => "gemini",
            AiProtocol::Responses => "responses",
        }
    }

    pub fn by_id(id: &str) -> Option<AiProtocol> {
        AiProtocol::ALL.iter().copied().find(|protocol| protocol.id() == id)
    }
}

/// Tokens in buckets that do not overlap, so that a cost is a sum of products; but for `reasoning`, which is a part of `output`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Neither read from a cache, nor written to one, nor audio.
    pub input: u64,
    pub cache_read: u64,
    /// Written to a cache for the provider's usual time.
    pub cache_write: u64,
    /// Written to a cache for an hour.
    pub cache_write_long: u64,
    pub audio_input: u64,
    /// Reasoning included, audio not.
    pub output: u64,
    pub reasoning: u64,
    pub audio_output: u64,
}

impl Usage {
    /// All that went in.
    pub fn input_all(&self) -> u64 {
        self.input + self.cache_read + self.cache_write + self.cache_write_long + self.audio_input
    }

    /// All that came out.
    pub fn output_all(&self) -> u64 {
        self.output + self.audio_output
    }

    pub fn total(&self) -> u64 {
        self.input_all() + self.output_all()
    }

    pub fn is_empty(&self) -> bool {
        *self == Usage::default()
    }

    /// Protocols tell parts at different times: what is told later counts, what is not told stays.
    pub fn update(&mut self, later: Usage) {
        let keep = |old: &mut u64, new: u64| {
            if new > 0 {
                *old = new;
            }
        };
        keep(&mut self.input, later.input);
        keep(&mut self.cache_read, later.cache_read);
        keep(&mut self.cache_write, later.cache_write);
        keep(&mut self.cache_write_long, later.cache_write_long);
        keep(&mut self.audio_input, later.audio_input);
        keep(&mut self.output, later.output);
        keep(&mut self.reasoning, later.reasoning);
        keep(&mut self.audio_output, later.audio_output);
    }
}

/// What an exchange was as a call of an AI model.
#[derive(Clone, Debug, PartialEq)]
pub struct AiCall {
    /// What the client speaks.
    pub protocol: AiProtocol,
    /// What was asked for: `generate`, `embeddings` ...
    pub operation: Box<str>,
    /// The model as the client named it, cut at 128 bytes.
    pub asked: Box<str>,
    /// The lane that answered, or was asked last: provider, its own name of the model, name of the key.
    pub provider: Option<Arc<str>>,
    pub model: Option<Arc<str>>,
    pub key: Option<Arc<str>>,
    pub stream: bool,
    pub usage: Usage,
    /// The provider did not tell the usage: it is made from the lengths of what was said.
    pub usage_is_estimated: bool,
    /// In billionths of a US dollar; `None` where a price is not known.
    pub cost_nanos: Option<u64>,
    /// From the start of the exchange to the first content for the client.
    pub first_content_micros: Option<u64>,
    /// What a translation lost, in the words of the client's protocol.
    pub losses: Vec<Box<str>>,
}
