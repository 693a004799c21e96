//! Probe at its boundary: texts of other products in, evidence out.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "in a test each of them is a failed check, also in the functions beside the test functions"
)]

#[path = "probe/configurations.rs"]
mod configurations;
#[path = "probe/hostile_configurations.rs"]
mod hostile_configurations;
#[path = "probe/logs.rs"]
mod logs;
