//! The text of a unit to entries of sections, as `systemd.syntax(7)` describes it.

use std::sync::Arc;

use crate::config::argument;
use crate::config::command;
use crate::config::{Origin, Part, Problem};

/// `key=value` within a section.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    section: String,
    key: String,
    pub(super) value: String,
    pub(super) origin: Origin,
    /// The lines it is written in.
    pub(super) lines: Arc<[String]>,
}

/// A unit with its drop-ins, in the order in which they are applied.
#[derive(Clone, Debug, Default)]
pub(super) struct Unit {
    entries: Vec<Entry>,
    sections: Vec<String>,
}

impl Unit {
    /// Adds a file of the unit.
    pub(super) fn read(&mut self, text: &str, path: &Arc<str>, part: &mut Part) {
        let mut section = String::new();
        // An entry whose line ended with a backslash.
        let mut open: Option<Entry> = None;
        for (index, line) in text.lines().enumerate() {
            let trimmed = line.trim();
            // Comments within a continued line are left out of it.
            if trimmed.starts_with(['#', ';']) || (trimmed.is_empty() && open.is_none()) {
                continue;
            }
            let (content, goes_on) = match trimmed.strip_suffix('\\') {
                Some(content) => (content.trim_end(), true),
                None => (trimmed, false),
            };
            if let Some(entry) = &mut open {
                entry.value.push(' ');
                entry.value.push_str(content);
                if !goes_on {
                    self.entries.extend(open.take());
                }
                continue;
            }
            if let Some(name) = content.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                name.clone_into(&mut section);
                self.sections.push(section.clone());
                continue;
            }
            let Some((key, value)) = content.split_once('=') else {
                let message =
                    format!("'{}' must be KEY=VALUE or [SECTION]", super::super::tier::shortened(content));
                part.problems.push(Problem::error(path, index + 1, message));
                continue;
            };
            let entry = Entry {
                section: section.clone(),
                key: key.trim().to_owned(),
                value: value.trim().to_owned(),
                origin: Origin::new(path, index + 1, line),
                lines: if goes_on {
                    command::lines_from(text, index + 1)
                } else {
                    Arc::from([line.to_owned()])
                },
            };
            if goes_on {
                open = Some(entry);
            } else {
                self.entries.push(entry);
            }
        }
        self.entries.extend(open);
    }

    pub(super) fn has_section(&self, name: &str) -> bool {
        self.sections.iter().any(|section| section == name)
    }

    /// The entries of a key that are in force: an empty one undoes those before it.
    pub(super) fn all(&self, section: &str, key: &str) -> Vec<&Entry> {
        let mut found = Vec::new();
        for entry in self.entries.iter().filter(|entry| entry.section == section && entry.key == key) {
            if entry.value.is_empty() {
                found.clear();
            } else {
                found.push(entry);
            }
        }
        found
    }

    pub(super) fn last(&self, section: &str, key: &str) -> Option<&Entry> {
        self.all(section, key).pop()
    }

    /// The variables that are set in the unit itself.
    pub(super) fn environment(&self) -> Vec<(String, String)> {
        let entries = self.all("Service", "Environment");
        entries.iter().flat_map(|entry| assignments(&entry.value)).collect()
    }

    pub(super) fn origin_of_variable(&self, name: &str) -> Option<Origin> {
        let entries = self.all("Service", "Environment");
        let sets = |entry: &&&Entry| assignments(&entry.value).iter().any(|(known, _)| known == name);
        entries.iter().rev().find(sets).map(|entry| entry.origin.clone())
    }
}

/// `A=1 "B=two words"`
fn assignments(text: &str) -> Vec<(String, String)> {
    let words = argument::commands(text, &|_| None).into_iter().flatten();
    let pair = |word: argument::Word| {
        let (name, value) = word.text.as_deref().unwrap_or(&word.written).split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    };
    words.filter_map(pair).collect()
}
