//! HAProxy's text to sections of lines of words.

use std::sync::Arc;

use crate::config::{Origin, Part, Problem};

/// `defaults` that take from other `defaults`.
const INHERITED_MAX: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Backend,
    Defaults,
    Frontend,
    Global,
    Listen,
    Other,
}

/// A line within a section.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) words: Vec<String>,
    pub(super) origin: Origin,
}

impl Line {
    pub(super) fn word(&self, index: usize) -> &str {
        self.words.get(index).map_or("", String::as_str)
    }

    /// The word that follows a word.
    pub(super) fn after(&self, name: &str) -> Option<&str> {
        let at = self.words.iter().position(|word| word == name)?;
        self.words.get(at + 1).map(String::as_str)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.words.iter().any(|word| word == name)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Section {
    pub(super) kind: Kind,
    pub(super) name: String,
    /// The `defaults` it takes from, by their place among the sections.
    defaults: Option<usize>,
    pub(super) lines: Vec<Line>,
    pub(super) origin: Origin,
}

impl Section {
    /// Its lines after those of the `defaults` it takes from.
    pub(super) fn inherited<'a>(&'a self, sections: &'a [Section]) -> Vec<&'a Line> {
        let mut layers = vec![&self.lines];
        let mut from = self.defaults;
        while let Some(section) = from.and_then(|index| sections.get(index)) {
            layers.push(&section.lines);
            from = section.defaults;
            if layers.len() > INHERITED_MAX {
                break;
            }
        }
        layers.into_iter().rev().flatten().collect()
    }
}

pub(super) fn read(text: &str, path: &Arc<str>, part: &mut Part) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    // The `defaults` that stands last before a section is its own, unless it names another.
    let mut current: Option<usize> = None;
    for (index, written) in text.lines().enumerate() {
        let words = match words(written) {
            Ok(words) => words,
            Err(message) => {
                part.problems.push(Problem::error(path, index + 1, message));
                continue;
            }
        };
        let Some(first) = words.first() else { continue };
        let origin = Origin::new(path, index + 1, written);
        if let Some(kind) = kind(first) {
            let name = words.get(1).filter(|word| *word != "from").cloned().unwrap_or_default();
            let from = words.iter().position(|word| word == "from").and_then(|at| words.get(at + 1));
            let named = from.and_then(|from| {
                sections.iter().position(|section| section.kind == Kind::Defaults && section.name == *from)
            });
            if let (Some(from), None) = (from, named) {
                let message = format!("there is no 'defaults {from}' before this line");
                part.problems.push(Problem::error(path, index + 1, message));
            }
            let defaults = if kind == Kind::Defaults { named } else { named.or(current) };
            if kind == Kind::Defaults {
                current = Some(sections.len());
            }
            sections.push(Section { kind, name, defaults, lines: Vec::new(), origin });
            continue;
        }
        match sections.last_mut() {
            Some(section) => section.lines.push(Line { words, origin }),
            // Directives of the preprocessor may stand anywhere.
            None if first.starts_with('.') => {}
            None => {
                let message =
                    format!("'{first}' must stand within a section, such as 'defaults' or 'backend NAME'");
                part.problems.push(Problem::error(path, index + 1, message));
            }
        }
    }
    sections
}

fn kind(word: &str) -> Option<Kind> {
    match word {
        "backend" => Some(Kind::Backend),
        "defaults" => Some(Kind::Defaults),
        "frontend" => Some(Kind::Frontend),
        "global" => Some(Kind::Global),
        "listen" => Some(Kind::Listen),
        "cache" | "crt-list" | "crt-store" | "fcgi-app" | "http-errors" | "log-forward" | "log-profile"
        | "mailers" | "peers" | "program" | "resolvers" | "ring" | "traces" | "userlist" => Some(Kind::Other),
        _ => None,
    }
}

/// The words of a line: quotes as in a shell, a backslash keeps the next character, `#` begins a comment.
fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = line.chars();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    while let Some(c) = rest.next() {
        match (quote, c) {
            (Some(open), c) if open == c => quote = None,
            (Some('\''), c) => word.get_or_insert_default().push(c),
            (_, '\\') => word.get_or_insert_default().extend(rest.next()),
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '#') => break,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed".to_owned());
    }
    words.extend(word);
    Ok(words)
}
