//! What the management API asks of the running gateway, and the plain data it gets.
//!
//! The rows are at once the JSON of the API and of `clearway ... --format json`: one definition for both.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use model::{IncidentId, RequestId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{CallFilter, IncidentFilter, IncidentPage, IncidentRow};

/// A question's answer, later.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, ControlError>> + Send + 'a>>;

/// The running gateway, as far as it is managed.
pub trait Control: Send + Sync {
    /// Whether it takes requests.
    fn readiness(&self) -> Readiness;

    /// The metrics in the text format of Prometheus.
    fn metrics(&self) -> String;

    /// Whether this is an admin token.
    fn is_admin_token<'a>(&'a self, presented: &'a str) -> Answer<'a, bool>;

    /// Exchanges that match, newest first.
    fn search<'a>(&'a self, filter: &'a CallFilter) -> Answer<'a, CallPage>;

    /// The exchange with this id, as its JSON.
    fn find(&self, id: RequestId) -> Answer<'_, Option<Box<RawValue>>>;

    /// Incidents that match, newest first, without their reports.
    fn incidents<'a>(&'a self, filter: &'a IncidentFilter) -> Answer<'a, IncidentPage>;

    /// The incident with this id, with its report.
    fn incident(&self, id: IncidentId) -> Answer<'_, Option<IncidentRow>>;

    fn routes(&self) -> Vec<RouteRow>;

    fn upstreams(&self) -> Vec<UpstreamRow>;
}

/// Whether requests should be sent here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    Starting,
    Ready,
    Draining,
}

/// Why a question has no answer.
#[derive(Debug, PartialEq, Eq)]
pub enum ControlError {
    /// The question makes no sense; the sentence says what would.
    Question(String),
    /// What is kept could not be read; the sentence is for operators.
    Unreadable(String),
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ControlError::Question(reason) | ControlError::Unreadable(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for ControlError {}

/// A page of exchanges, each as the JSON of its log line.
#[derive(Debug, Default, Serialize)]
pub struct CallPage {
    pub calls: Vec<Box<RawValue>>,
    /// `before` of the page that follows; absent when there is nothing older.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// What could not be read, for operators.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// A route as it is served. Match rules read as they are written in the configuration; an empty list matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteRow {
    pub service: String,
    pub route: String,
    pub priority: i32,
    pub hosts: Vec<String>,
    pub paths: Vec<String>,
    pub methods: Vec<String>,
    pub headers: Vec<String>,
    pub query: Vec<String>,
    pub cookies: Vec<String>,
    pub policies: Vec<String>,
    pub upstream: String,
    /// The URLs of the upstream's targets.
    pub targets: Vec<String>,
}

/// An upstream as it is now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UpstreamRow {
    pub upstream: String,
    /// How a target is chosen, as configuration writes it.
    pub balance: String,
    /// The key of a hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The cookie by which clients stay with their target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sticky_cookie: Option<String>,
    /// The zone of this gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Attempts under way, over all targets.
    pub in_flight: usize,
    /// Requests that wait for a target.
    pub waiting: usize,
    pub targets: Vec<TargetRow>,
}

/// A target as it is now; counts are since the start of the process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TargetRow {
    pub target: String,
    pub weight: u32,
    /// Where it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    pub in_flight: usize,
    /// The most requests that it is given at once now; absent while there is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency_limit: Option<usize>,
    /// `up`, `unreachable` (only probes go there), `down` (only checks do), `ejected`, or `on-trial`.
    pub condition: String,
    /// Why it is out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// How long its ejection lasts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ejection_ms: Option<u64>,
    /// The part of new requests that it gets by its weight, 0 to 1. Latency, load, keys and cookies change it.
    pub share: f64,
    /// Ejections in a row.
    pub ejections: u32,
    /// All of them: for failures in a row, for the share of failures, for failed trials.
    pub ejected: u64,
    /// Active checks that passed.
    pub checks_passed: u64,
    /// Active checks that failed.
    pub checks_failed: u64,
    /// How soon it answers, as the choice between targets takes it: peaks count at once and fade.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_us: Option<u64>,
    /// After how much idling it closes connections, if it has said or shown that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_limit_ms: Option<u64>,
    /// Open connections, idle ones included.
    pub connections: usize,
    pub attempts: u64,
    pub failures: u64,
    /// What the name resolved to; empty for a Unix socket.
    pub addresses: Vec<String>,
    /// Why there is no address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolve_error: Option<String>,
}
