//! Plain shared data: what is served ([`Gateway`]) and what happened ([`Exchange`], [`Ending`], [`Fault`]).
//!
//! Nothing here does I/O, reads a clock or knows an outside format. A type belongs here when two crates that
//! must not know each other both speak of it.

mod exchange;
mod fault;
pub mod gateway;
mod id;
mod method;
mod secret;
mod size;

pub use exchange::{Attempt, Exchange, Limit, LimitName, PeerEnd, Protocol, RetryRule, Reuse, Timeline};
pub use fault::{Ending, Fault, Party, Phase, Retry};
pub use gateway::Gateway;
pub use id::{ParseRequestIdError, RequestId, RequestIds, hex};
pub use method::{Method, ParseMethodError};
pub use secret::Secret;
pub use size::ByteSize;
