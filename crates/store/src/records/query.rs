//! What can be asked of the records, and what comes back.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use model::{Exchange, Fault, Method, RequestId};

use super::decode::Rows;
use super::summary::{Summary, is_failed};

/// Which exchanges are wanted. Every part that is set must hold; of a list, one entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Started at this time or later.
    pub since: Option<SystemTime>,
    /// Started before this time.
    pub until: Option<SystemTime>,
    pub statuses: Vec<StatusMatch>,
    pub faults: Vec<Fault>,
    pub service: Option<Box<str>>,
    pub route: Option<Box<str>>,
    pub consumer: Option<Box<str>>,
    pub path_prefix: Option<Box<str>>,
    pub method: Option<Method>,
    /// Took longer than this, from the first byte of the request to the end.
    pub slower_than: Option<Duration>,
    /// Only exchanges that ended with a fault or a server error.
    pub failed_only: bool,
    /// How many are wanted at most, 1 to [`Query::LIMIT_MAX`].
    pub limit: usize,
    /// Only exchanges older than this one: the `next` of the page before.
    pub before: Option<RequestId>,
    /// How many blocks may be decoded for one page. A search that needs more ends early, and its `next` goes on.
    pub blocks_max: usize,
}

impl Query {
    /// Exchanges are held in memory while a page is made.
    pub const LIMIT_MAX: usize = 10_000;
}

/// The newest hundred exchanges.
impl Default for Query {
    fn default() -> Query {
        Query {
            since: None,
            until: None,
            statuses: Vec::new(),
            faults: Vec::new(),
            service: None,
            route: None,
            consumer: None,
            path_prefix: None,
            method: None,
            slower_than: None,
            failed_only: false,
            limit: 100,
            before: None,
            // About a second of work on one core.
            blocks_max: 2_000,
        }
    }
}

impl Query {
    /// Whether an exchange is wanted.
    pub fn matches(&self, exchange: &Exchange) -> bool {
        let is = |wanted: &Option<Box<str>>, found: &Option<Arc<str>>| {
            wanted.as_deref().is_none_or(|wanted| found.as_deref() == Some(wanted))
        };
        self.ids().contains(exchange.id)
            && (!self.failed_only || is_failed(exchange))
            && (self.statuses.is_empty() || self.statuses.iter().any(|wanted| wanted.takes(exchange.status)))
            && (self.faults.is_empty()
                || exchange.ending.fault.is_some_and(|fault| self.faults.contains(&fault)))
            && self.slower_than.is_none_or(|than| Duration::from_micros(exchange.timeline.done_micros) > than)
            && is(&self.service, &exchange.service)
            && is(&self.route, &exchange.route)
            && is(&self.consumer, &exchange.consumer)
            && self.path_prefix.as_deref().is_none_or(|prefix| exchange.path.starts_with(prefix))
            && self.method.as_ref().is_none_or(|method| *method == exchange.method)
    }

    /// The ids that time and cursor allow.
    pub(crate) fn ids(&self) -> IdRange {
        let since = self.since.map_or(RequestId(0), first_id_at);
        let until = self.until.map_or(RequestId(u128::MAX), first_id_at);
        IdRange { since, before: self.before.map_or(until, |before| until.min(before)) }
    }

    /// Whether a block may hold a wanted exchange, by its row.
    pub(crate) fn may_be_in(&self, summary: &Summary) -> bool {
        let counts = &summary.counts;
        (!self.failed_only || summary.failed > 0)
            && self.slower_than.is_none_or(|than| summary.slowest > than)
            && (self.statuses.is_empty()
                || counts
                    .status
                    .keys()
                    .any(|status| self.statuses.iter().any(|wanted| wanted.takes(*status))))
            && (self.faults.is_empty()
                || self.faults.iter().any(|fault| counts.fault.contains_key(fault.id())))
            && self.service.as_deref().is_none_or(|service| counts.service.contains_key(service))
    }

    /// Whether a block may hold a wanted exchange, by the texts in it: far cheaper than reading its rows.
    pub(crate) fn may_be_among(&self, rows: &Rows<'_>) -> bool {
        [&self.route, &self.consumer, &self.service]
            .into_iter()
            .flatten()
            .all(|name| rows.any_text(|text| text == &**name))
            && self.path_prefix.as_deref().is_none_or(|prefix| rows.any_text(|text| text.starts_with(prefix)))
    }
}

/// Ids from `since` to just below `before`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IdRange {
    pub(crate) since: RequestId,
    pub(crate) before: RequestId,
}

impl IdRange {
    pub(crate) fn contains(&self, id: RequestId) -> bool {
        self.since <= id && id < self.before
    }
}

/// Times between two milliseconds begin with the later one; ids cannot tell them apart from the earlier one's.
fn first_id_at(time: SystemTime) -> RequestId {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = since.as_nanos().div_ceil(1_000_000).min((1 << 48) - 1);
    RequestId::first_at(millis as u64)
}

/// One status (`502`) or a class of them (`5xx`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusMatch {
    /// The first digit.
    Class(u8),
    Exact(u16),
}

impl StatusMatch {
    pub fn takes(self, status: u16) -> bool {
        match self {
            StatusMatch::Class(class) => status / 100 == u16::from(class),
            StatusMatch::Exact(exact) => status == exact,
        }
    }
}

/// The text is neither a status nor a class of statuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseStatusMatchError(Box<str>);

impl fmt::Display for ParseStatusMatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "read the status {:?}: must be a number from 100 to 599 or a class from 1xx to 5xx", self.0)
    }
}

impl std::error::Error for ParseStatusMatchError {}

impl FromStr for StatusMatch {
    type Err = ParseStatusMatchError;

    fn from_str(text: &str) -> Result<StatusMatch, ParseStatusMatchError> {
        let found = match text.as_bytes() {
            [class @ b'1'..=b'5', b'x' | b'X', b'x' | b'X'] => Some(StatusMatch::Class(class - b'0')),
            [b'1'..=b'5', b'0'..=b'9', b'0'..=b'9'] => text.parse().ok().map(StatusMatch::Exact),
            _ => None,
        };
        found.ok_or_else(|| ParseStatusMatchError(text.into()))
    }
}

/// The answer to a search.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// Newest first.
    pub exchanges: Vec<Exchange>,
    /// Where the next page begins (`before`); `None` when everything was searched.
    pub next: Option<RequestId>,
    pub blocks: BlockCounts,
}

/// What a search had to read, and what it could not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockCounts {
    /// Blocks that were decompressed.
    pub decoded: usize,
    /// Blocks whose row said that nothing wanted is in them.
    pub skipped: usize,
    /// Blocks that are damaged; what could be read of them is in the page.
    pub corrupt: usize,
    /// Day files that could not be opened or read: damaged, or of a newer version.
    pub files_unreadable: usize,
}

/// The indexed row of a failed exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Also tells the time.
    pub id: RequestId,
    pub status: u16,
    /// The public id of the fault.
    pub fault: Option<Box<str>>,
    pub service: Option<Box<str>>,
    pub route: Option<Box<str>>,
}

/// The answer to a listing of failures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// Newest first.
    pub failures: Vec<Failure>,
    /// Failed exchanges of blocks in the time that got no row, because there were too many in a second. A search
    /// finds them.
    pub unlisted: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_numbers_or_classes() {
        assert_eq!("502".parse(), Ok(StatusMatch::Exact(502)));
        assert_eq!("5xx".parse(), Ok(StatusMatch::Class(5)));
        assert!(StatusMatch::Class(5).takes(504) && !StatusMatch::Class(5).takes(499));
        for text in ["", "5", "6xx", "600", "99", "5x", "+502", "50２"] {
            assert_eq!(text.parse::<StatusMatch>(), Err(ParseStatusMatchError(text.into())));
        }
    }

    #[test]
    fn times_become_ids_by_the_millisecond() {
        let at = |micros| UNIX_EPOCH + Duration::from_micros(micros);
        let query = Query { since: Some(at(5_000)), until: Some(at(7_001)), ..Query::default() };
        assert_eq!(query.ids(), IdRange { since: RequestId::first_at(5), before: RequestId::first_at(8) });
        let query = Query { before: Some(RequestId::first_at(6)), ..query };
        assert_eq!(query.ids().before, RequestId::first_at(6));
    }
}
