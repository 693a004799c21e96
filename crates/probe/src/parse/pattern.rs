//! Lines of a log by a table of patterns: which words a line has, and which fields are in it.

use std::sync::OnceLock;

use model::Evidence;
use regex::{Regex, RegexSet};

use crate::kinds::{Field, Kind};

/// One kind of line.
pub(crate) struct Pattern {
    pub(crate) kind: Kind,
    /// A line without these words is not of this kind: found without a regular expression.
    pub(crate) words: &'static str,
    /// Its named groups are the fields; empty where the words suffice.
    pub(crate) regex: &'static str,
}

/// The patterns of one product; the first that matches counts.
pub(crate) struct Table {
    pub(crate) patterns: &'static [Pattern],
    compiled: OnceLock<Compiled>,
}

struct Compiled {
    /// Which words a message has, in one pass over it.
    words: Words,
    regexes: Vec<Option<Regex>>,
}

/// Words that are looked for together.
pub(crate) struct Words(RegexSet);

impl Words {
    pub(crate) fn new<'w>(words: impl Iterator<Item = &'w str>) -> Words {
        Words(RegexSet::new(words.map(regex::escape)).expect("words of patterns must compile"))
    }

    /// The places of the words that the text has, in their order.
    pub(crate) fn in_text(&self, text: &str) -> impl Iterator<Item = usize> {
        // Most lines have none of them.
        let found = self.0.is_match(text).then(|| self.0.matches(text));
        found.into_iter().flatten()
    }
}

impl Table {
    pub(crate) const fn new(patterns: &'static [Pattern]) -> Table {
        Table { patterns, compiled: OnceLock::new() }
    }

    /// The kind and fields of a message.
    pub(crate) fn read(&self, message: &str) -> Option<Evidence> {
        let compiled = self.compiled.get_or_init(|| {
            let compile = |regex: &str| Regex::new(regex).expect("patterns of logs must compile");
            Compiled {
                words: Words::new(self.patterns.iter().map(|pattern| pattern.words)),
                regexes: self
                    .patterns
                    .iter()
                    .map(|p| (!p.regex.is_empty()).then(|| compile(p.regex)))
                    .collect(),
            }
        });
        compiled.words.in_text(message).find_map(|index| {
            let pattern = self.patterns.get(index)?;
            let mut evidence = Evidence::new(pattern.kind.name);
            let Some(regex) = compiled.regexes.get(index)? else { return Some(evidence) };
            let found = regex.captures(message)?;
            for name in regex.capture_names().flatten() {
                let value = found.name(name).map(|value| value.as_str().trim());
                evidence =
                    evidence.with_some(name.replace('_', "-"), value.filter(|value| !value.is_empty()));
            }
            Some(evidence)
        })
    }

    pub(crate) fn kinds(&'static self) -> impl Iterator<Item = &'static Kind> {
        self.patterns.iter().map(|pattern| &pattern.kind)
    }
}

/// `"kind" "doc" { "field" ... } "words" "regex"` per line; underscores in names of groups are hyphens of fields.
macro_rules! patterns {
    ($($name:literal $doc:literal { $($field:literal)* } $words:literal $regex:literal)*) => {
        &[$($crate::parse::pattern::Pattern {
            kind: $crate::kinds::Kind {
                name: $name,
                doc: $doc,
                fields: &[$($crate::kinds::Field { name: $field, doc: "" },)* $crate::parse::pattern::PID],
            },
            words: $words,
            regex: $regex,
        }),*]
    };
}
pub(crate) use patterns;

/// Every line of a server may tell which process wrote it.
pub(crate) const PID: Field = Field { name: "pid", doc: "of the process it is about, or that wrote it" };

/// Fields of the groups of every pattern are declared, and every pattern compiles.
#[cfg(test)]
pub(crate) fn check(table: &'static Table) {
    for pattern in table.patterns {
        assert!(!pattern.words.is_empty(), "{}", pattern.kind.name);
        let regex = Regex::new(pattern.regex).expect("a pattern must compile");
        for name in regex.capture_names().flatten() {
            let name = name.replace('_', "-");
            assert!(
                pattern.kind.fields.iter().any(|field| field.name == name),
                "{} {name}",
                pattern.kind.name
            );
        }
    }
}
