//! How an upstream chooses among its targets.

use std::time::Duration;

/// Which of the admitted targets gets a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Balance {
    /// The same key goes to the same target.
    Hash {
        key: HashKey,
        /// The most that a target may have of the requests in flight, in percent of its share. Default 125.
        load_max_percent: u32,
    },
    /// The fewest requests in flight for its weight.
    LeastRequests,
    /// The better of two picked by chance, by average latency times requests in flight (default).
    PeakEwma,
    /// By chance, as likely as its weight.
    Random,
    /// In turn, by weight.
    RoundRobin,
}

impl Balance {
    /// As configuration writes it.
    pub fn id(&self) -> &'static str {
        match self {
            Balance::Hash { .. } => "hash",
            Balance::LeastRequests => "least-requests",
            Balance::PeakEwma => "peak-ewma",
            Balance::Random => "random",
            Balance::RoundRobin => "round-robin",
        }
    }
}

/// What of a request is its key. One without it goes where `PeakEwma` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    ClientAddress,
    Cookie(Box<str>),
    /// Lower case.
    Header(Box<str>),
    Query(Box<str>),
}

/// As configuration writes it.
impl std::fmt::Display for HashKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            HashKey::ClientAddress => f.write_str("client-address"),
            HashKey::Cookie(name) => write!(f, "cookie {name}"),
            HashKey::Header(name) => write!(f, "header {name}"),
            HashKey::Query(name) => write!(f, "query {name}"),
        }
    }
}

/// A client stays with the target that answered it first, by a cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stickiness {
    pub cookie: Box<str>,
    /// `None`: until the browser is closed.
    pub max_age: Option<Duration>,
}
