//! Evidence that is wanted: a kind and the fields it should be about, for example `tcp-probe addr=127.0.0.1:8000`.
//!
//! `doctor` says what would tell its hypotheses apart; `probe` knows how each kind is come by, or says why it cannot be.

use std::fmt;

/// Evidence that is wanted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Want {
    /// The kind of evidence.
    pub kind: String,
    /// What it should be about; sorted by name.
    pub fields: Vec<(String, String)>,
}

impl Want {
    pub fn new(kind: impl Into<String>) -> Want {
        Want { kind: kind.into(), fields: Vec::new() }
    }

    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Want {
        self.fields.push((name.into(), value.into()));
        self.fields.sort();
        self
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl fmt::Display for Want {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        self.fields.iter().try_for_each(|(name, value)| write!(f, " {name}={value}"))
    }
}
