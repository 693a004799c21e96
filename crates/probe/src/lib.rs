//! What can be seen of a chain of proxy, server and dependencies: logs, configurations, processes, sockets and probes of
//! them, each observation as [`model::Evidence`].
//!
//! Parsers are pure; readers are thin. Nothing here knows a cause or a rule: what an observation means is for `doctor`.

pub mod bundle;
pub mod check;
pub mod config;
pub mod discover;
pub mod docker;
pub mod exchange;
pub mod host;
pub mod kernel_log;
mod kinds;
pub mod kubernetes;
pub mod logs;
pub mod parse;
pub mod redact;

pub use kinds::{Field, Kind, kinds};
