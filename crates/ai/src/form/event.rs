//! The events of a streamed answer.

use super::{Citation, Signature, Stop, Usage};

/// A step of a stream. Blocks are numbered by their order; one is finished before the next begins, except that tool calls may
/// grow side by side.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// First, once.
    Start {
        id: String,
        model: String,
    },
    BlockStart {
        index: usize,
        block: BlockStart,
    },
    Delta {
        index: usize,
        delta: Delta,
    },
    BlockStop {
        index: usize,
    },
    /// What is known of the usage so far; the last one counts.
    Usage(Usage),
    /// Why it stopped, once.
    Stop {
        stop: Stop,
        sequence: Option<String>,
    },
    /// The provider's terminal event: the answer is whole.
    End,
}

#[derive(Clone, Debug, PartialEq)]
pub enum BlockStart {
    Refusal,
    Text,
    Thinking,
    ThinkingRedacted(Signature),
    ToolUse { id: String, name: String, signature: Option<Signature> },
}

#[derive(Clone, Debug, PartialEq)]
pub enum Delta {
    Citation(Citation),
    /// A piece of the arguments' JSON text.
    Input(String),
    Signature(Signature),
    /// Of a text, a refusal or a thought.
    Text(String),
}

impl Event {
    /// Whether a client that has seen it has seen something of the answer, so that no other lane can answer in its place.
    pub fn is_content(&self) -> bool {
        match self {
            Event::BlockStart { block, .. } => {
                matches!(block, BlockStart::ToolUse { .. } | BlockStart::ThinkingRedacted(_))
            }
            Event::Delta { delta, .. } => match delta {
                Delta::Text(text) | Delta::Input(text) => !text.is_empty(),
                Delta::Citation(_) | Delta::Signature(_) => true,
            },
            Event::Stop { .. } | Event::End => true,
            Event::Start { .. } | Event::BlockStop { .. } | Event::Usage(_) => false,
        }
    }
}
