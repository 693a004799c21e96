//! Policies: rules applied to requests of a route. One file per policy; their order is [`policy::ORDER`].
//!
//! A policy sees the canonical request and decides; it knows neither listeners nor the store. To add one: a file here,
//! a variant in `model::gateway::Policy`, and a line in `policy.rs`.

mod ai_key;
mod api_key;
pub mod aws_signature;
mod consumers;
mod limit;
mod policy;

pub use consumers::{Consumers, Issued};
pub use limit::{Counters, Exceeded, Hold, Limits, Request};
pub use policy::{Policies, Rejection, Subject};
