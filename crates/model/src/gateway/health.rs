//! When a target of an upstream is taken out, and how it comes back.

use std::ops::RangeInclusive;
use std::time::Duration;

/// The rules for all targets of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Connections in a row that could not be made, after which only probes go there. Default 1.
    pub unreachable_after: u32,
    /// Failures in a row of attempts that did reach it, after which it is ejected. Default 5.
    pub eject_after: u32,
    /// The first ejection; each further one in a row lasts twice as long. Default 5 s.
    pub ejection: Duration,
    /// The longest ejection. Default 5 min.
    pub ejection_max: Duration,
    /// The share of targets that may be out by ejection, 0 to 100. Default 50.
    pub ejected_max_percent: u32,
    /// From a target's return to its full share; zero is at once. Default 10 s.
    pub slow_start: Duration,
    /// Ejection of a target that fails a larger share of its requests than its siblings; `None` is off.
    pub failure_share: Option<FailureShare>,
    /// Targets are asked from time to time, whether requests come or not.
    pub check: Option<Check>,
}

/// An active check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    pub kind: CheckKind,
    /// Default 5 s; a tenth more or less by chance.
    pub interval: Duration,
    /// For all of a check. Default 2 s.
    pub timeout: Duration,
    /// Checks in a row that must pass to bring a target back. Default 2.
    pub rise: u32,
    /// Checks in a row that must fail to take a target out. Default 3.
    pub fall: u32,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// `grpc.health.v1.Health/Check` for this service; empty is the whole server.
    Grpc { service: Box<str> },
    /// GET.
    Http {
        path: Box<str>,
        /// `None` is the target's host.
        host: Option<Box<str>>,
        /// Statuses that pass. Default 200 to 399.
        statuses: Vec<RangeInclusive<u16>>,
    },
    /// A connection, with its TLS handshake.
    Tcp,
}

/// When a target fails too large a share of its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailureShare {
    /// Points above the share of its siblings. Default 30.
    pub margin_percent: u32,
    /// What is compared came within this time. Default 10 s.
    pub window: Duration,
    /// Of the target itself, within the window. Default 20.
    pub requests_min: u32,
}

impl Health {
    /// Whether one more target may be ejected when so many of them are out for whatever reason. One that is alone never is.
    pub fn may_eject(&self, out: usize, targets: usize) -> bool {
        targets > 1 && (out + 1) * 100 <= self.ejected_max_percent as usize * targets
    }
}
