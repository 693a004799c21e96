//! Plain shared data: what is served ([`Gateway`]), what happened ([`Exchange`], [`Ending`], [`Fault`]), and what is known
//! of failures ([`Evidence`], [`Report`]).
//!
//! Nothing here does I/O, reads a clock or knows an outside format. A type belongs here when two crates that
//! must not know each other both speak of it.

mod ai;
pub mod evidence;
mod exchange;
mod fault;
pub mod gateway;
mod id;
mod incident;
mod method;
mod moment;
pub mod report;
mod secret;
mod size;
mod want;

pub use ai::{AiCall, AiProtocol, Usage};
pub use evidence::Evidence;
pub use exchange::{Attempt, Exchange, Limit, LimitName, PeerEnd, Protocol, RetryRule, Reuse, Timeline};
pub use fault::{Ending, Fault, Party, Phase, Retry};
pub use gateway::Gateway;
pub use id::{ParseRequestIdError, RequestId, RequestIds, hex};
pub use incident::{Closed, ClosedBy, Incident, IncidentId, NamedCause};
pub use method::{Method, ParseMethodError};
pub use moment::{Moment, ParseMomentError};
pub use report::Report;
pub use secret::Secret;
pub use size::ByteSize;
pub use want::Want;
