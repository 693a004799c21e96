//! The pivot: a request, an answer and the events of a stream in a form that has room for what every protocol can say.
//!
//! A decoder fills it, an encoder reads it, and what an encoder has no place for it names in [`Losses`]. Closed enums, no free
//! strings where the protocols have their own words, so that no word of one protocol can leak into another.

mod event;

use serde_json::{Map, Value};

pub use self::event::{BlockStart, Delta, Event};
use crate::Protocol;
pub use model::Usage;

/// A request for a completion.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// As the client named it; the lane decides on the name that the provider gets.
    pub model: String,
    /// Instructions that stand above the conversation.
    pub system: Vec<Block>,
    pub turns: Vec<Turn>,
    pub tools: Vec<Tool>,
    pub tool_choice: Option<ToolChoice>,
    /// Whether several tools may be called at once; `None` leaves it to the provider.
    pub parallel_tools: Option<bool>,
    pub output: OutputForm,
    pub sampling: Sampling,
    pub output_tokens_max: Option<u64>,
    pub stop: Vec<String>,
    pub thinking: Option<Thinking>,
    pub stream: bool,
    /// Whether a streaming client of the chat protocol wants to be told the usage.
    pub stream_usage: bool,
    /// The client's own name for whoever asks.
    pub user: Option<String>,
    /// Parameters that are in no other protocol, under the name that the client's has for them.
    pub others: Map<String, Value>,
}

/// What one side says.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    pub role: Role,
    pub blocks: Vec<Block>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Assistant,
    User,
}

/// A piece of what is said.
#[derive(Clone, Debug, PartialEq)]
pub enum Block {
    Audio(Media),
    File(Media),
    Image(Media),
    /// What comes before this place may be cached by the provider.
    CachePoint,
    /// The model declined, and says so.
    Refusal(String),
    Text {
        text: String,
        citations: Vec<Citation>,
    },
    Thinking {
        text: String,
        signature: Option<Signature>,
    },
    /// Thinking that only the provider can read.
    ThinkingRedacted(Signature),
    ToolResult(ToolResult),
    ToolUse(ToolUse),
}

impl Block {
    pub fn text(text: impl Into<String>) -> Block {
        Block::Text { text: text.into(), citations: Vec::new() }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct ToolUse {
    pub id: String,
    pub name: String,
    /// The arguments as JSON text: an object, as the model wrote it.
    pub input: String,
    pub signature: Option<Signature>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ToolResult {
    pub id: String,
    /// Text, images and files.
    pub content: Vec<Block>,
    pub is_error: bool,
}

/// A proof of the provider's that thinking is its own; it must come back unchanged, and to the same kind of provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    pub by: Protocol,
    pub value: String,
}

impl Signature {
    /// As a client of another protocol keeps it: the protocol, a colon, the value.
    pub fn abroad(&self, client: Protocol) -> String {
        if self.by == client { self.value.clone() } else { format!("{}:{}", self.by.id(), self.value) }
    }

    /// Reads what a client of this protocol sends back.
    pub fn from_client(text: &str, client: Protocol) -> Signature {
        let foreign = text.split_once(':').and_then(|(by, value)| Some((Protocol::by_id(by)?, value)));
        let (by, value) = foreign.unwrap_or((client, text));
        Signature { by, value: value.to_owned() }
    }
}

/// An image, a sound or a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Media {
    /// `image/png`; empty where it is not known.
    pub media_type: String,
    pub source: MediaSource,
    pub name: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaSource {
    /// In Base64.
    Data(String),
    /// A file that was given to the provider before.
    Id(String),
    Text(String),
    Url(String),
}

/// Where a statement comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Citation {
    pub title: Option<String>,
    pub url: Option<String>,
    /// The words that are cited.
    pub quote: Option<String>,
    /// Which document of the request, counted from 0.
    pub document: Option<u64>,
}

/// A function that the model may call.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool {
    pub name: String,
    pub description: Option<String>,
    /// A JSON Schema of the arguments.
    pub schema: Value,
    pub strict: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolChoice {
    Auto,
    /// One of them, whichever.
    Any,
    None,
    Tool(String),
}

/// What the answer must look like.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum OutputForm {
    #[default]
    Text,
    /// Any JSON.
    Json,
    Schema(OutputSchema),
}

#[derive(Clone, Debug, PartialEq)]
pub struct OutputSchema {
    pub name: String,
    pub description: Option<String>,
    pub schema: Value,
    pub strict: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sampling {
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    pub top_k: Option<u64>,
    pub seed: Option<i64>,
    pub frequency_penalty: Option<f64>,
    pub presence_penalty: Option<f64>,
}

/// How much the model is to think before it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thinking {
    Budget(u64),
    Effort(Effort),
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effort {
    Minimal,
    Low,
    Medium,
    High,
}

impl Effort {
    pub fn id(self) -> &'static str {
        match self {
            Effort::Minimal => "minimal",
            Effort::Low => "low",
            Effort::Medium => "medium",
            Effort::High => "high",
        }
    }

    /// Efforts that are newer than this list are as much as there is.
    pub fn by_id(id: &str) -> Option<Effort> {
        match id {
            "minimal" => Some(Effort::Minimal),
            "low" => Some(Effort::Low),
            "medium" => Some(Effort::Medium),
            "high" | "xhigh" | "max" => Some(Effort::High),
            _ => None,
        }
    }
}

impl Thinking {
    /// The tokens that an effort is worth where a protocol wants a number: the steps that vendors' own shims use.
    pub fn budget(self) -> Option<u64> {
        match self {
            Thinking::Budget(tokens) => Some(tokens),
            Thinking::Effort(Effort::Minimal | Effort::Low) => Some(1024),
            Thinking::Effort(Effort::Medium) => Some(8192),
            Thinking::Effort(Effort::High) => Some(24_576),
            Thinking::Off => None,
        }
    }

    /// The effort that a number of tokens stands for.
    pub fn effort(self) -> Option<Effort> {
        match self {
            Thinking::Budget(0..=2048) => Some(Effort::Low),
            Thinking::Budget(2049..=12_288) => Some(Effort::Medium),
            Thinking::Budget(_) => Some(Effort::High),
            Thinking::Effort(effort) => Some(effort),
            Thinking::Off => None,
        }
    }
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    pub id: String,
    pub model: String,
    pub blocks: Vec<Block>,
    pub stop: Stop,
    /// The sequence that stopped it, where the protocol tells.
    pub stop_sequence: Option<String>,
    pub usage: Usage,
}

/// Why a model stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Its answer is complete.
    End,
    /// A filter of the provider's, or the model itself, declined.
    Filtered,
    /// The most tokens were reached.
    Length,
    /// A turn that goes on when it is asked to.
    Pause,
    Sequence,
    ToolUse,
}

/// What did not survive a translation: names of parameters and kinds of content, in the words of the client's protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses(Vec<Box<str>>);

/// A request with more parameters that are lost is no request of an SDK.
const LOSSES_MAX: usize = 32;
const LOSS_BYTES_MAX: usize = 64;
const UNNAMED: &str = "other";

impl Losses {
    /// Names of a request's own are the client's to choose, and go into a header field: what cannot stand there is not named.
    pub fn add(&mut self, name: &str) {
        let is_plain = name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
        let name = if is_plain && name.len() <= LOSS_BYTES_MAX { name } else { UNNAMED };
        if self.0.len() < LOSSES_MAX && !self.0.iter().any(|known| **known == *name) {
            self.0.push(name.into());
        }
    }

    /// Names it if it is there.
    pub fn add_if(&mut self, is_there: bool, name: &str) {
        if is_there {
            self.add(name);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|name| &**name)
    }
}
