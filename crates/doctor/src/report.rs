//! The forms of a report.

pub mod html;
pub mod json;
pub mod markdown;
pub mod text;

use model::Evidence;

/// The names of the states of a hop.
fn state(state: model::report::HopState) -> &'static str {
    match state {
        model::report::HopState::Broken => "broken",
        model::report::HopState::Good => "good",
        model::report::HopState::Unknown => "unknown",
    }
}

/// Events of the same kind and source that follow each other are one, the first, with how many there were.
fn fold(events: &[Evidence]) -> Vec<(&Evidence, usize)> {
    let mut folded: Vec<(&Evidence, usize)> = Vec::new();
    for event in events {
        let same = |known: &Evidence| {
            known.kind == event.kind
                && known.source == event.source
                && ["phase", "how", "upstream", "status"]
                    .iter()
                    .all(|name| known.get(name) == event.get(name))
        };
        match folded.last_mut() {
            Some((known, count)) if same(known) => *count += 1,
            _ => folded.push((event, 1)),
        }
    }
    folded
}

/// Without what a terminal or a reader of text would obey: C0 and C1 controls, and marks that turn its direction. Ends of lines
/// stay where they are wanted.
fn plain(text: &str, lines: bool) -> String {
    let obeyed = |c: char| {
        (c.is_control() && !(lines && c == '\n'))
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if obeyed(c) { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_taken_out() {
        assert_eq!(
            plain("a\u{1b}[31mb\u{9b}\u{202e}c\td\ne", false),
            "a\u{fffd}[31mb\u{fffd}\u{fffd}c\u{fffd}d\u{fffd}e"
        );
        assert_eq!(plain("a\nb", true), "a\nb");
    }
}
