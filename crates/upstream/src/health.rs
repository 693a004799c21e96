//! Whether a target deserves requests: a state machine of its outcomes, without a clock or I/O of its own.
//!
//! Two things take a target out. It cannot be reached: then only probes go to it, and the first one that connects brings
//! it back. Or it can be reached and fails: then it is ejected for a time that doubles with each ejection in a row, and
//! comes back on trial, one request at a time. What comes back starts slowly.

use std::time::{Duration, Instant};

/// When a target is taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthRules {
    /// Connections in a row that could not be made.
    pub unreachable_after: u32,
    /// Failures in a row of attempts that did reach it.
    pub eject_after: u32,
    /// The first ejection; each further one in a row lasts twice as long.
    pub ejection: Duration,
    pub ejection_max: Duration,
    /// From its return to its full share.
    pub slow_start: Duration,
}

impl Default for HealthRules {
    fn default() -> HealthRules {
        HealthRules {
            unreachable_after: 1,
            eject_after: 5,
            ejection: Duration::from_secs(5),
            ejection_max: Duration::from_secs(300),
            slow_start: Duration::from_secs(10),
        }
    }
}

/// What an attempt says of its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It answered, and not with a failure of its own.
    Good,
    /// No connection could be made.
    Unreachable,
    /// It was reached and failed: closed, reset, said nothing, spoke nonsense, or answered 502, 503 or 504.
    Faulty,
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
}

impl Condition {
    /// How long until the target is asked again; of the unreachable ones, the one that went first may be back first.
    pub(crate) fn badness(self, now: Instant) -> Duration {
        match self {
            Condition::Up { .. } => Duration::ZERO,
            Condition::Ejected { until, .. } | Condition::Trial { until, .. } => {
                until.saturating_duration_since(now)
            }
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
        }
    }
}

/// Worse than any ejection.
const UNREACHABLE: Duration = Duration::from_secs(86_400);

/// How far a target is admitted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Admission {
    /// With this part of its share, above 0 and at most 1.
    Share(f64),
    /// For this one request, which is its trial.
    Trial,
    No,
}

/// The state of one target.
#[derive(Clone, Debug)]
pub struct Health {
    condition: Condition,
    /// Failures in a row.
    failures: u32,
    /// Ejections in a row.
    ejections: u32,
}

impl Default for Health {
    fn default() -> Health {
        Health { condition: Condition::Up { since: None }, failures: 0, ejections: 0 }
    }
}

/// A trial that says nothing for so long may be followed by another.
const TRIAL_MAX: Duration = Duration::from_secs(10);
/// A target on its return has at least this part of its share.
const SHARE_MIN: f64 = 0.05;

impl Health {
    pub fn condition(&self) -> Condition {
        self.condition
    }

    /// Ejections in a row so far.
    pub fn ejections(&self) -> u32 {
        self.ejections
    }

    /// Failures in a row so far.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Nothing that a good outcome could change.
    pub(crate) fn is_well(&self) -> bool {
        self.is_up() && self.failures == 0 && self.ejections == 0
    }

    pub fn is_up(&self) -> bool {
        matches!(self.condition, Condition::Up { .. })
    }

    /// What came of an attempt. `may_eject`: enough others are left. Gives the new condition if it changed.
    pub fn observe(
        &mut self,
        rules: &HealthRules,
        now: Instant,
        outcome: Outcome,
        may_eject: bool,
    ) -> Option<Condition> {
        let before = self.condition;
        match outcome {
            Outcome::Good => self.good(rules, now),
            Outcome::Unreachable => {
                self.failures += 1;
                if self.failures >= rules.unreachable_after
                    && !matches!(self.condition, Condition::Unreachable { .. })
                {
                    self.condition = Condition::Unreachable { since: now };
                }
            }
            Outcome::Faulty => {
                self.failures += 1;
                let failed_its_trial = matches!(self.condition, Condition::Trial { .. });
                let is_up = matches!(self.condition, Condition::Up { .. });
                if failed_its_trial || (is_up && may_eject && self.failures >= rules.eject_after) {
                    self.eject(rules, now);
                }
            }
        }
        Some(self.condition).filter(|condition| *condition != before)
    }

    fn good(&mut self, rules: &HealthRules, now: Instant) {
        self.failures = 0;
        match self.condition {
            Condition::Up { since } => {
                // Well for longer than the longest slow start: what was is forgotten.
                if since.is_some_and(|since| now.saturating_duration_since(since) > rules.ejection_max) {
                    self.ejections = 0;
                }
            }
            // An attempt that began before the ejection proves nothing about what came after.
            Condition::Ejected { .. } => {}
            Condition::Unreachable { .. } | Condition::Trial { .. } => self.back(now),
        }
    }

    /// Takes a reachable target out because it does worse than its siblings.
    pub fn eject(&mut self, rules: &HealthRules, now: Instant) {
        let factor = 1u32.checked_shl(self.ejections).unwrap_or(u32::MAX);
        let time = rules.ejection.saturating_mul(factor).min(rules.ejection_max);
        self.ejections += 1;
        self.condition = Condition::Ejected { since: now, until: now + time };
    }

    /// A probe or a request has connected.
    pub fn reached(&mut self, now: Instant) {
        if let Condition::Unreachable { .. } = self.condition {
            self.failures = 0;
            self.back(now);
        }
    }

    fn back(&mut self, now: Instant) {
        self.condition = Condition::Up { since: Some(now) };
    }

    /// Whether the target gets the next request, or a part of its share. Asking for it changes nothing; see
    /// [`Health::begin_trial`].
    pub fn admission(&self, rules: &HealthRules, now: Instant) -> Admission {
        match self.condition {
            Condition::Up { since: None } => Admission::Share(1.0),
            Condition::Up { since: Some(since) } => {
                let back_for = now.saturating_duration_since(since).as_secs_f64();
                let full = rules.slow_start.as_secs_f64();
                Admission::Share(if back_for >= full { 1.0 } else { (back_for / full).max(SHARE_MIN) })
            }
            Condition::Unreachable { .. } => Admission::No,
            Condition::Ejected { until, .. } | Condition::Trial { until, .. } if now >= until => {
                Admission::Trial
            }
            Condition::Ejected { .. } | Condition::Trial { .. } => Admission::No,
        }
    }

    /// Whether a trial is due that nobody fit for it has begun: any request may then.
    pub(crate) fn is_overdue(&self, now: Instant) -> bool {
        match self.condition {
            Condition::Ejected { until, .. } | Condition::Trial { until, .. } => now >= until + TRIAL_MAX,
            Condition::Up { .. } | Condition::Unreachable { .. } => false,
        }
    }

    /// The request that was admitted on trial is on its way.
    pub fn begin_trial(&mut self, now: Instant) {
        if let Condition::Ejected { since, .. } | Condition::Trial { since, .. } = self.condition {
            self.condition = Condition::Trial { since, until: now + TRIAL_MAX };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Outcome::{Faulty, Good, Unreachable};

    const RULES: HealthRules = HealthRules {
        unreachable_after: 2,
        eject_after: 3,
        ejection: Duration::from_secs(5),
        ejection_max: Duration::from_secs(60),
        slow_start: Duration::from_secs(10),
    };

    struct Run {
        health: Health,
        begun: Instant,
    }

    impl Run {
        fn new() -> Run {
            Run { health: Health::default(), begun: Instant::now() }
        }

        fn at(&self, seconds: u64) -> Instant {
            self.begun + Duration::from_secs(seconds)
        }

        fn observe(&mut self, seconds: u64, outcomes: &[Outcome]) {
            for outcome in outcomes {
                self.health.observe(&RULES, self.at(seconds), *outcome, true);
            }
        }

        fn admission(&self, seconds: u64) -> Admission {
            self.health.admission(&RULES, self.at(seconds))
        }
    }

    #[test]
    fn failures_in_a_row_eject_for_a_time_that_doubles() {
        let mut run = Run::new();
        run.observe(0, &[Faulty, Faulty, Good, Faulty, Faulty]);
        assert_eq!(run.admission(0), Admission::Share(1.0), "never three in a row");
        run.observe(0, &[Faulty]);
        assert_eq!((run.admission(4), run.admission(5)), (Admission::No, Admission::Trial));
        run.health.begin_trial(run.at(5));
        assert_eq!(run.admission(6), Admission::No, "one at a time");
        run.observe(6, &[Faulty]);
        assert_eq!((run.admission(15), run.admission(16)), (Admission::No, Admission::Trial), "ten seconds");
        for _ in 0..10 {
            run.observe(16, &[]);
            run.health.begin_trial(run.at(16));
            run.observe(16, &[Faulty]);
        }
        assert_eq!(
            (run.admission(75), run.admission(76)),
            (Admission::No, Admission::Trial),
            "a minute at most"
        );
    }

    #[test]
    fn a_trial_that_goes_well_brings_it_back_slowly() {
        let mut run = Run::new();
        run.observe(0, &[Faulty, Faulty, Faulty]);
        run.observe(1, &[Good]);
        assert_eq!(run.admission(1), Admission::No, "that one had begun before");
        run.health.begin_trial(run.at(5));
        run.observe(6, &[Good]);
        assert_eq!(run.admission(6), Admission::Share(SHARE_MIN));
        assert_eq!(run.admission(11), Admission::Share(0.5));
        assert_eq!(run.admission(16), Admission::Share(1.0));
    }

    #[test]
    fn a_trial_without_an_outcome_is_followed_by_another() {
        let mut run = Run::new();
        run.observe(0, &[Faulty, Faulty, Faulty]);
        run.health.begin_trial(run.at(5));
        assert_eq!((run.admission(14), run.admission(15)), (Admission::No, Admission::Trial));
    }

    #[test]
    fn a_trial_that_nobody_fit_for_it_begins_is_anybodys_after_a_while() {
        let mut run = Run::new();
        run.observe(0, &[Faulty, Faulty, Faulty]);
        assert!(!run.health.is_overdue(run.at(14)));
        assert!(run.health.is_overdue(run.at(15)));
    }

    #[test]
    fn what_cannot_be_reached_is_left_to_probes() {
        let mut run = Run::new();
        run.observe(0, &[Unreachable]);
        assert_eq!(run.admission(0), Admission::Share(1.0));
        run.observe(0, &[Unreachable]);
        assert_eq!(run.admission(1000), Admission::No);
        run.health.reached(run.at(1000));
        assert_eq!(run.admission(1000), Admission::Share(SHARE_MIN));
    }

    #[test]
    fn the_last_ones_are_not_ejected() {
        let mut run = Run::new();
        for _ in 0..100 {
            assert_eq!(run.health.observe(&RULES, run.at(0), Faulty, false), None);
        }
        assert_eq!(run.admission(0), Admission::Share(1.0));
        assert!(
            run.health.observe(&RULES, run.at(0), Faulty, true).is_some(),
            "but as soon as there are others"
        );
    }
}
