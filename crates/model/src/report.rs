//! What a diagnosis says: findings with their evidence, the chain they are about, and what could not be looked at.
//!
//! Plain data for every form of a report; `docs/report.schema.json` is its JSON form.

use std::time::Duration;

use crate::evidence::Evidence;
use crate::moment::Moment;

/// The result of one diagnosis.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// What was asked about: a URL, the id of a request, a bundle.
    pub target: String,
    /// When the diagnosis was made; for files, the last moment they speak of.
    pub made: Option<Moment>,
    /// Whether the target was seen to work, with no finding that says otherwise.
    pub healthy: bool,
    /// The way of a request, hop by hop.
    pub chain: Vec<Hop>,
    /// Root causes, the most certain first.
    pub findings: Vec<Finding>,
    /// Causes that looked alike and are not it.
    pub excluded: Vec<Excluded>,
    pub skipped: Vec<Skipped>,
    /// Every request and connection that was made to find out.
    pub probes: Vec<Probed>,
    /// What happened, in the order of time, over all sources.
    pub timeline: Vec<Evidence>,
    /// Series for charts, for example requests that failed per second.
    pub series: Vec<Series>,
    /// What a person can run to learn more where this does not suffice.
    pub next: Vec<String>,
    /// How long it took.
    pub took: Duration,
    /// Of that, what was read without asking anybody.
    pub passive: Duration,
}

/// One hop of the chain, from the client's end on.
#[derive(Clone, Debug, PartialEq)]
pub struct Hop {
    /// `nginx`, `gunicorn`, `postgresql` ...
    pub product: String,
    pub version: Option<String>,
    /// Where it is reached: `0.0.0.0:80`, `unix:/run/app.sock`.
    pub address: String,
    /// What else matters of it, in words: `sync, 4 workers, timeout 30 s`.
    pub detail: String,
    pub state: HopState,
    /// What is wrong with it or with the way to it.
    pub note: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HopState {
    Broken,
    Good,
    Unknown,
}

/// A cause asserted for a case. There is none without evidence.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The permanent name of the cause.
    pub cause: String,
    /// 0 to 1.
    pub confidence: f64,
    /// The family of the cause, for example `process` or `dependency`.
    pub layer: String,
    pub summary: String,
    pub because: Because,
    pub against: Vec<Evidence>,
    /// What would have told more and was not seen, in words.
    pub missing: Vec<String>,
    /// What follows from it, nearest first.
    pub consequences: Vec<Consequence>,
    pub fix: Fix,
}

/// The evidence for a finding: at least one.
#[derive(Clone, Debug, PartialEq)]
pub struct Because {
    first: Evidence,
    more: Vec<Evidence>,
}

impl Because {
    /// `None` without evidence.
    pub fn new(evidence: Vec<Evidence>) -> Option<Because> {
        let mut evidence = evidence.into_iter();
        let first = evidence.next()?;
        Some(Because { first, more: evidence.collect() })
    }

    pub fn iter(&self) -> impl Iterator<Item = &Evidence> {
        std::iter::once(&self.first).chain(&self.more)
    }
}

/// A cause that follows from the one of its finding.
#[derive(Clone, Debug, PartialEq)]
pub struct Consequence {
    pub cause: String,
    pub confidence: f64,
    pub summary: String,
    pub because: Because,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fix {
    pub summary: String,
    pub edits: Vec<Edit>,
    /// Commands that mend it; nothing runs them but a person.
    pub commands: Vec<String>,
    /// Commands that show whether it worked.
    pub verify: Vec<String>,
}

/// A line to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    pub file: String,
    /// From 1; 0 where a new line belongs into the file without a certain place.
    pub line: u64,
    /// The line as it is, without the blanks around it; empty where one is added.
    pub old: String,
    pub new: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excluded {
    pub cause: String,
    pub because: String,
}

/// A check that could not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    pub check: String,
    pub reason: String,
    /// What it would have needed: `root`, `a password`, `gunicorn's error log`.
    pub needs: String,
}

/// Something that was done to find out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probed {
    pub what: String,
    pub result: String,
    pub took: Duration,
}

/// A series for a chart: values over time.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// `errors`, `requests`, `latency`, `queue`.
    pub name: String,
    pub unit: String,
    pub points: Vec<(Moment, f64)>,
}
