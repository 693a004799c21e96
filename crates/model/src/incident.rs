//! An incident: a time in which a service failed beyond its own past, with what was found to be the cause.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::id::{ParseRequestIdError, RequestId};
use crate::moment::Moment;

/// The identity of an incident: a UUID of version 7, ordered by the time it opened.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IncidentId(pub u128);

impl fmt::Display for IncidentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        RequestId(self.0).fmt(f)
    }
}

impl fmt::Debug for IncidentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for IncidentId {
    type Err = ParseRequestIdError;

    fn from_str(text: &str) -> Result<IncidentId, ParseRequestIdError> {
        text.parse().map(|RequestId(id)| IncidentId(id))
    }
}

/// A time in which a service failed beyond its own past.
#[derive(Clone, Debug, PartialEq)]
pub struct Incident {
    pub id: IncidentId,
    pub service: Arc<str>,
    /// When the failures began.
    pub began: Moment,
    /// When there were enough of them.
    pub opened: Moment,
    /// `None` while it lasts.
    pub closed: Option<Closed>,
    /// How often it began anew soon after it had closed.
    pub reopened: u32,
    /// Requests in it, and those of them that failed.
    pub requests: u64,
    pub failed: u64,
    /// The largest share that failed in ten seconds, 0 to 1.
    pub peak_share: f64,
    /// The share that usually fails, at most.
    pub usual_share: f64,
    /// `None` until it was looked into, and where nothing was found.
    pub cause: Option<NamedCause>,
    /// When it was last looked into.
    pub diagnosed: Option<Moment>,
    /// The report of that as JSON, as `clearway doctor --format json` gives it.
    pub report: Option<Box<str>>,
}

/// The end of an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    pub at: Moment,
    pub why: ClosedBy,
}

/// What closed an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosedBy {
    /// Nobody has asked for long, so that nothing is known.
    Quiet,
    Recovered,
}

impl ClosedBy {
    pub const ALL: &'static [ClosedBy] = &[ClosedBy::Quiet, ClosedBy::Recovered];

    /// The permanent public name.
    pub fn id(self) -> &'static str {
        match self {
            ClosedBy::Quiet => "quiet",
            ClosedBy::Recovered => "recovered",
        }
    }
}

/// The first finding of a diagnosis.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedCause {
    /// The name of its page.
    pub cause: String,
    /// 0 to 1.
    pub confidence: f64,
    pub summary: String,
}
