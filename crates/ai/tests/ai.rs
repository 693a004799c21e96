//! The protocols, one against the other.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that meets what it does not expect has failed"
)]

#[path = "ai/golden.rs"]
mod golden;
#[path = "ai/mutations.rs"]
mod mutations;
#[path = "ai/pivot.rs"]
mod pivot;
#[path = "ai/there_and_back.rs"]
mod there_and_back;
