//! What is derived from the record: the log line and the metrics.
//!
//! Each derivation takes an [`model::Exchange`] apart without `..`: a new field does not compile until it is said where
//! it goes. Nothing here does I/O or decides where lines and numbers end up.

mod ai;
pub mod exposition;
pub mod log;
pub mod metrics;
#[cfg(test)]
mod sample;
mod targets;
mod text;

pub use text::{dollars_text, duration_text, printable, time_text};
