//! The forms of a report.

pub mod json;
pub mod text;

/// The names of the states of a hop.
fn state(state: model::report::HopState) -> &'static str {
    match state {
        model::report::HopState::Broken => "broken",
        model::report::HopState::Good => "good",
        model::report::HopState::Unknown => "unknown",
    }
}
