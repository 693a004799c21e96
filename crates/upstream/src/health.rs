//! Whether a target deserves requests: a state machine of its outcomes and checks, without a clock or I/O of its own.
//!
//! Three things take a target out. It cannot be reached: then only probes go to it, and the first one that connects brings
//! it back. Or it can be reached and fails: then it is ejected for a time that doubles with each ejection in a row, and
//! comes back on trial, one request at a time. Or its active checks fail: then only checks go to it until enough of them
//! pass. What comes back starts slowly.
//!
//! Checks and requests do not overrule each other: a target is up if neither speaks against it. A check that passes does not
//! end an ejection, because an endpoint made for checks may be well while requests fail.

mod learned;

use std::fmt;
use std::time::{Duration, Instant};

use model::Fault;
use model::gateway::{Check, Health as HealthRules};

use crate::failure_share::Excess;

pub use learned::LearnedHealth;

/// What an attempt says of its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It answered, and not with a failure of its own.
    Good,
    /// It answered 500 to 599, but not that it cannot serve now. It may be the way of its application to refuse a request;
    /// the share of such answers shows whether it is.
    Error(u16),
    /// No connection could be made.
    Unreachable(Fault),
    /// It was reached and failed.
    Faulty(Sign),
}

/// How a target that was reached has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It closed, reset, said nothing, spoke nonsense.
    Fault(Fault),
    /// It answered 502, 503 or 504.
    Status(u16),
}

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sign::Fault(fault) => f.write_str(fault.id()),
            Sign::Status(status) => write!(f, "{status}"),
        }
    }
}

/// Where a target stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// `since` is its return, if it was ever out.
    Up {
        since: Option<Instant>,
    },
    /// Only probes go there.
    Unreachable {
        since: Instant,
    },
    Ejected {
        since: Instant,
        until: Instant,
    },
    /// Its ejection is over; one request at a time finds out whether it is well.
    Trial {
        since: Instant,
        until: Instant,
    },
    /// Its checks fail: only they go there.
    Down {
        since: Instant,
    },
}

/// Worse than any ejection, and the first one worse than the second.
const UNREACHABLE: Duration = Duration::from_secs(2 * 86_400);
const DOWN: Duration = Duration::from_secs(86_400);

impl Condition {
    /// How long until the target is asked again; of the unreachable ones, the one that went first may be back first.
    pub(crate) fn badness(self, now: Instant) -> Duration {
        match self {
            Condition::Up { .. } => Duration::ZERO,
            Condition::Ejected { until, .. } | Condition::Trial { until, .. } => {
                until.saturating_duration_since(now)
            }
            // It can be reached, and may serve whatever its checks say.
            Condition::Down { .. } => DOWN,
            Condition::Unreachable { since } => {
                UNREACHABLE.saturating_sub(now.saturating_duration_since(since))
            }
        }
    }

    /// In a word, for people.
    pub fn id(self) -> &'static str {
        match self {
            Condition::Up { .. } => "up",
            Condition::Unreachable { .. } => "unreachable",
            Condition::Ejected { .. } => "ejected",
            Condition::Trial { .. } => "on-trial",
            Condition::Down { .. } => "down",
        }
    }
}

/// Why a target is out.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Why {
    Unreachable(Fault),
    InARow {
        failures: u32,
        last: Sign,
    },
    Trial {
        last: Sign,
    },
    Share {
        own_percent: u32,
        others_percent: u32,
    },
    /// As the process before this one said it.
    Before(Box<str>),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Unreachable(fault) => f.write_str(fault.id()),
            Why::InARow { failures: 1, last } => write!(f, "{last}"),
            Why::InARow { failures, last } => write!(f, "{failures} failures in a row, last {last}"),
            Why::Before(why) => f.write_str(why),
            Why::Trial { last } => write!(f, "it failed its trial: {last}"),
            Why::Share { own_percent, others_percent } => {
                write!(f, "{own_percent}% of its requests failed, {others_percent}% of the others'")
            }
        }
    }
}

/// How far a target is admitted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Admission {
    /// With this part of its share, above 0 and at most 1.
    Share(f64),
    /// For this one request, which is its trial.
    Trial,
    No,
}

/// What requests have made of a target; checks add to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ByRequests {
    Up { since: Option<Instant> },
    Unreachable { since: Instant },
    Ejected { since: Instant, until: Instant },
    Trial { since: Instant, until: Instant },
}

impl From<ByRequests> for Condition {
    fn from(by_requests: ByRequests) -> Condition {
        match by_requests {
            ByRequests::Up { since } => Condition::Up { since },
            ByRequests::Unreachable { since } => Condition::Unreachable { since },
            ByRequests::Ejected { since, until } => Condition::Ejected { since, until },
            ByRequests::Trial { since, until } => Condition::Trial { since, until },
        }
    }
}

/// The state of one target.
#[derive(Clone, Debug)]
pub struct Health {
    condition: ByRequests,
    /// Connections in a row that could not be made.
    unreached: u32,
    /// Failures in a row of attempts that reached it. What did not reach it is not counted and does not end the row.
    failures: u32,
    /// Ejections in a row.
    ejections: u32,
    /// Of the condition, where that is not up.
    why: Option<Why>,
    /// The last ejection was for its share of failures.
    for_share: bool,
    checks: Checks,
    ejected: Ejections,
}

/// How often it was ejected since the process began, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ejections {
    /// Failures in a row.
    pub in_a_row: u64,
    /// A larger share of failures than its siblings.
    pub share: u64,
    /// A trial that failed.
    pub trial: u64,
}

/// What active checks say.
#[derive(Clone, Debug, Default)]
struct Checks {
    /// In a row, up to now.
    passed: u32,
    failed: u32,
    /// Since when they keep the target out, and the last failure.
    down: Option<(Instant, Box<str>)>,
}

impl Default for Health {
    fn default() -> Health {
        Health {
            condition: ByRequests::Up { since: None },
            unreached: 0,
            failures: 0,
            ejections: 0,
            why: None,
            for_share: false,
            checks: Checks::default(),
            ejected: Ejections::default(),
        }
    }
}

/// A trial that says nothing for so long may be followed by another.
const TRIAL_MAX: Duration = Duration::from_secs(10);
/// A target on its return has at least this part of its share.
const SHARE_MIN: f64 = 0.05;

impl Health {
    /// What keeps it out most: a target that cannot be reached need not be checked to be out, and one whose checks fail needs
    /// no trial.
    pub fn condition(&self) -> Condition {
        match (self.condition, &self.checks.down) {
            (ByRequests::Unreachable { .. }, _) | (_, None) => self.condition.into(),
            (_, Some((since, _))) => Condition::Down { since: *since },
        }
    }

    /// Why it is out, in words; `None` while it is up.
    pub fn why(&self) -> Option<String> {
        match (self.condition(), &self.checks.down) {
            (Condition::Down { .. }, Some((_, why))) => Some(why.to_string()),
            _ => self.why.as_ref().map(ToString::to_string),
        }
    }

    /// What came of a check; `Err` says what failed. Gives the new condition if it changed.
    pub(crate) fn checked(
        &mut self,
        check: &Check,
        now: Instant,
        result: Result<(), &str>,
    ) -> Option<Condition> {
        let before = self.condition();
        match result {
            Ok(()) => {
                (self.checks.passed, self.checks.failed) = (self.checks.passed.saturating_add(1), 0);
                if self.checks.passed >= check.rise && self.checks.down.take().is_some() && self.is_admitted()
                {
                    self.back(now);
                }
            }
            Err(why) => {
                (self.checks.failed, self.checks.passed) = (self.checks.failed.saturating_add(1), 0);
                if self.checks.failed >= check.fall {
                    let since = self.checks.down.take().map_or(now, |(since, _)| since);
                    self.checks.down = Some((since, why.into()));
                }
            }
        }
        Some(self.condition()).filter(|condition| *condition != before)
    }

    /// There are no checks any more that could bring it back.
    pub(crate) fn unchecked(&mut self) {
        self.checks = Checks::default();
    }

    /// Requests do not speak against it.
    fn is_admitted(&self) -> bool {
        matches!(self.condition, ByRequests::Up { .. })
    }

    /// Ejections in a row so far.
    pub fn ejections(&self) -> u32 {
        self.ejections
    }

    /// Ejections since the process began.
    pub fn ejected(&self) -> Ejections {
        self.ejected
    }

    /// Failures of both kinds in a row so far.
    pub fn failures(&self) -> u32 {
        self.unreached + self.failures
    }

    /// Nothing that a good outcome could change.
    pub(crate) fn is_well(&self) -> bool {
        self.is_up() && self.failures() == 0 && self.ejections == 0
    }

    pub fn is_up(&self) -> bool {
        self.is_admitted() && self.checks.down.is_none()
    }

    /// What came of an attempt that began at `began`. `may_eject`: enough others are left. Gives the new condition if it
    /// changed.
    pub fn observe(
        &mut self,
        rules: &HealthRules,
        began: Instant,
        now: Instant,
        outcome: Outcome,
        may_eject: bool,
    ) -> Option<Condition> {
        let before = self.condition();
        match outcome {
            Outcome::Good | Outcome::Error(_) => self.good(rules, began, now),
            Outcome::Unreachable(fault) => {
                self.unreached += 1;
                if self.unreached >= rules.unreachable_after
                    && !matches!(self.condition, ByRequests::Unreachable { .. })
                {
                    self.condition = ByRequests::Unreachable { since: now };
                    self.why = Some(Why::Unreachable(fault));
                }
            }
            Outcome::Faulty(last) => {
                self.unreached = 0;
                self.failures += 1;
                let enough = may_eject && self.failures >= rules.eject_after;
                match self.condition {
                    ByRequests::Trial { .. } if self.is_of_now(began) => {
                        self.eject(rules, now, Why::Trial { last });
                    }
                    ByRequests::Up { .. } if enough => {
                        let failures = self.failures;
                        self.eject(rules, now, Why::InARow { failures, last });
                    }
                    ByRequests::Up { .. }
                    | ByRequests::Ejected { .. }
                    | ByRequests::Trial { .. }
                    | ByRequests::Unreachable { .. } => {}
                }
            }
        }
        Some(self.condition()).filter(|condition| *condition != before)
    }

    /// Whether an attempt that began then says something of the target as it stands: what began before it could not be
    /// reached, or before its trial, proves nothing about what came after. A server that stops finishes its requests.
    fn is_of_now(&self, began: Instant) -> bool {
        match self.condition {
            ByRequests::Up { .. } => true,
            ByRequests::Unreachable { since } => began >= since,
            ByRequests::Trial { until, .. } => began + TRIAL_MAX >= until,
            ByRequests::Ejected { .. } => false,
        }
    }

    fn good(&mut self, rules: &HealthRules, began: Instant, now: Instant) {
        if !self.is_of_now(began) {
            return;
        }
        (self.unreached, self.failures) = (0, 0);
        match self.condition {
            ByRequests::Up { since } => {
                // Well for longer than any ejection lasts: what was is forgotten.
                if since.is_some_and(|since| now.saturating_duration_since(since) > rules.ejection_max) {
                    self.ejections = 0;
                }
            }
            ByRequests::Ejected { .. } => {}
            ByRequests::Unreachable { .. } | ByRequests::Trial { .. } => self.back(now),
        }
    }

    fn eject(&mut self, rules: &HealthRules, now: Instant, why: Why) {
        let factor = 1u32.checked_shl(self.ejections).unwrap_or(u32::MAX);
        let time = rules.ejection.saturating_mul(factor).min(rules.ejection_max);
        self.ejections += 1;
        let count = match why {
            Why::InARow { .. } | Why::Unreachable(_) | Why::Before(_) => &mut self.ejected.in_a_row,
            Why::Share { .. } => &mut self.ejected.share,
            Why::Trial { .. } => &mut self.ejected.trial,
        };
        *count += 1;
        match why {
            Why::InARow { .. } | Why::Unreachable(_) | Why::Before(_) => self.for_share = false,
            Why::Share { .. } => self.for_share = true,
            // Still for what it was ejected for first.
            Why::Trial { .. } => {}
        }
        self.condition = ByRequests::Ejected { since: now, until: now + time };
        self.why = Some(why);
    }

    /// Takes a target out that fails a larger share of its requests than its siblings.
    pub(crate) fn eject_for_share(&mut self, rules: &HealthRules, now: Instant, excess: Excess) {
        if let ByRequests::Up { .. } = self.condition {
            let Excess { own_percent, others_percent, .. } = excess;
            self.eject(rules, now, Why::Share { own_percent, others_percent });
        }
    }

    /// Whether an error of its application is what it is on trial for.
    pub(crate) fn is_tried_for_share(&self) -> bool {
        self.for_share && matches!(self.condition, ByRequests::Trial { .. })
    }

    /// A probe or a check has connected. Says whether that brings the target back.
    pub fn reached(&mut self, now: Instant) -> bool {
        let is_news = matches!(self.condition, ByRequests::Unreachable { .. });
        if is_news {
            (self.unreached, self.failures) = (0, 0);
            self.back(now);
        }
        is_news
    }

    fn back(&mut self, now: Instant) {
        self.condition = ByRequests::Up { since: Some(now) };
        self.why = None;
    }

    /// Whether the target gets the next request, or a part of its share. Asking for it changes nothing; see
    /// [`Health::begin_trial`].
    pub fn admission(&self, rules: &HealthRules, now: Instant) -> Admission {
        match self.condition() {
            Condition::Up { since: None } => Admission::Share(1.0),
            Condition::Up { since: Some(since) } => {
                let back_for = now.saturating_duration_since(since).as_secs_f64();
                let full = rules.slow_start.as_secs_f64();
                Admission::Share(if back_for >= full { 1.0 } else { (back_for / full).max(SHARE_MIN) })
            }
            Condition::Unreachable { .. } | Condition::Down { .. } => Admission::No,
            Condition::Ejected { until, .. } | Condition::Trial { until, .. } if now >= until => {
                Admission::Trial
            }
            Condition::Ejected { .. } | Condition::Trial { .. } => Admission::No,
        }
    }

    /// When it may next be asked by one that it refuses now: the end of an ejection, and when any request may be a trial.
    pub(crate) fn next_admission(&self, now: Instant) -> Option<Instant> {
        match self.condition() {
            Condition::Ejected { until, .. } | Condition::Trial { until, .. } => {
                [until, until + TRIAL_MAX].into_iter().find(|at| now < *at)
            }
            Condition::Up { .. } | Condition::Unreachable { .. } | Condition::Down { .. } => None,
        }
    }

    /// Whether a trial is due that nobody fit for it has begun: any request may then.
    pub(crate) fn is_overdue(&self, now: Instant) -> bool {
        match self.condition() {
            Condition::Ejected { until, .. } | Condition::Trial { until, .. } => now >= until + TRIAL_MAX,
            Condition::Up { .. } | Condition::Unreachable { .. } | Condition::Down { .. } => false,
        }
    }

    /// The request that was to be the trial has left before it began: another may be it at once.
    pub(crate) fn give_trial_back(&mut self, now: Instant) {
        if let ByRequests::Trial { since, .. } = self.condition {
            self.condition = ByRequests::Ejected { since, until: now };
        }
    }

    /// The request that was admitted on trial is on its way.
    pub fn begin_trial(&mut self, now: Instant) {
        if let ByRequests::Ejected { since, .. } | ByRequests::Trial { since, .. } = self.condition {
            self.condition = ByRequests::Trial { since, until: now + TRIAL_MAX };
        }
    }
}

#[cfg(test)]
mod tests;
