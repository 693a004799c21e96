//! What a process has learned of its upstreams, as a document that the process after it can read.
//!
//! Times are relative to the moment it is taken. What the reader does not know, it leaves out; what is not in the document
//! stays as it is. So the two may be of different versions.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{TargetState, Upstream};
use crate::health::{Health, LearnedHealth};

/// What is known of an upstream.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LearnedUpstream {
    /// Its name in the configuration.
    pub upstream: String,
    /// What is left of its retry budget: earned by requests, and of the floor.
    pub retries_earned: Option<f64>,
    pub retries_floor: Option<f64>,
    pub targets: Vec<LearnedTarget>,
}

/// What is known of a target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LearnedTarget {
    /// Its URL in the configuration.
    pub target: String,
    /// A connection was made at least once.
    pub accepted: bool,
    /// It acknowledges data after its FIN.
    pub takes_after_fin: bool,
    pub latency_us: Option<u64>,
    pub idle_announced_ms: Option<u64>,
    pub idle_seen_ms: Option<u64>,
    pub idle_seen_ago_ms: u64,
    pub health: LearnedHealth,
    /// Requests that it is given at once, where it needs a limit, and how long its answers take without a queue.
    pub limit: Option<usize>,
    pub unqueued_us: Option<u64>,
}

impl Upstream {
    pub fn learned(&self, now: Instant) -> LearnedUpstream {
        let (earned, floor) = self.budget.lock().unwrap_or_else(PoisonError::into_inner).purses(now);
        let targets = self.targets.iter().map(|target| target.state.learned(&target.settings.url, now));
        LearnedUpstream {
            upstream: self.settings.name.to_string(),
            retries_earned: Some(earned),
            retries_floor: Some(floor),
            targets: targets.collect(),
        }
    }

    /// Goes on from what another process has learned of it. To be called before [`Upstream::take_over`].
    pub fn recall(&self, learned: &LearnedUpstream, now: Instant) {
        if let (Some(earned), Some(floor)) = (learned.retries_earned, learned.retries_floor) {
            self.budget.lock().unwrap_or_else(PoisonError::into_inner).refill(earned, floor);
        }
        for target in &self.targets {
            let known = learned.targets.iter().find(|known| *known.target == *target.settings.url);
            if let Some(known) = known {
                target.state.recall(known, self.settings.health.check.is_some(), now);
            }
        }
    }
}

impl TargetState {
    fn learned(&self, url: &str, now: Instant) -> LearnedTarget {
        let seen = self.idle_limit.seen_closing(now);
        let (limit, unqueued) = self.limiter.learned();
        LearnedTarget {
            target: url.to_owned(),
            accepted: self.accepted.load(Ordering::Relaxed),
            takes_after_fin: self.takes_after_fin(),
            latency_us: self.latency.average(now).map(|latency| latency.as_micros() as u64),
            idle_announced_ms: self.idle_limit.known_by_announcement().map(millis),
            idle_seen_ms: seen.map(|(idle, _)| millis(idle)),
            idle_seen_ago_ms: seen.map_or(0, |(_, ago)| millis(ago)),
            health: self.health().learned(now),
            limit,
            unqueued_us: unqueued.map(|took| took.as_micros() as u64),
        }
    }

    fn recall(&self, learned: &LearnedTarget, is_checked: bool, now: Instant) {
        let ago = |millis| now.checked_sub(Duration::from_millis(millis)).unwrap_or(now);
        if learned.accepted {
            self.accepted.store(true, Ordering::Relaxed);
        }
        if learned.takes_after_fin {
            self.set_takes_after_fin();
        }
        if let Some(latency) = learned.latency_us {
            self.latency.observe(now, Duration::from_micros(latency));
        }
        if let Some(announced) = learned.idle_announced_ms {
            self.idle_limit.announced(Duration::from_millis(announced));
        }
        if let Some(seen) = learned.idle_seen_ms {
            self.idle_limit.closed_after(ago(learned.idle_seen_ago_ms), Duration::from_millis(seen));
        }
        let mut health = self.lock();
        *health = Health::recalled(&learned.health, is_checked, now);
        self.mirror(&health);
        drop(health);
        self.limiter.recall(learned.limit, learned.unqueued_us.map(Duration::from_micros));
    }
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::{Admission, Condition, Outcome, Sign};
    use model::Fault;
    use model::gateway::{Check, CheckKind, Health as HealthRules};

    const URL: &str = "http://127.0.0.1:9";
    const RULES: HealthRules = HealthRules {
        unreachable_after: 1,
        eject_after: 5,
        ejection: Duration::from_secs(5),
        ejection_max: Duration::from_secs(300),
        ejected_max_percent: 50,
        slow_start: Duration::from_secs(10),
        failure_share: None,
        check: None,
    };
    const CHECK: Check = Check {
        kind: CheckKind::Tcp,
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(2),
        rise: 2,
        fall: 1,
    };
    const FAULTY: Outcome = Outcome::Faulty(Sign::Status(503));

    /// The same state in a process that took the document.
    fn carried(state: &TargetState, now: Instant) -> TargetState {
        let text = serde_json::to_string(&state.learned(URL, now)).unwrap();
        let read: LearnedTarget = serde_json::from_str(&text).unwrap();
        let next = TargetState::default();
        next.recall(&read, true, now);
        assert_eq!(next.learned(URL, now), state.learned(URL, now));
        next
    }

    #[test]
    fn what_was_learned_is_known_to_the_next_process() {
        let (begun, seconds) = (Instant::now(), Duration::from_secs);
        let state = TargetState::default();
        let next = carried(&state, begun);
        assert_eq!((next.idle_limit.known(begun), next.latency.average(begun)), (None, None));
        state.set_takes_after_fin();
        state.limiter.recall(Some(12), Some(Duration::from_millis(3)));
        state.accepted.store(true, Ordering::Relaxed);
        state.latency.observe(begun, Duration::from_millis(20));
        state.idle_limit.announced(seconds(5));
        state.idle_limit.closed_after(begun, seconds(2));
        let now = begun + seconds(40);
        let next = carried(&state, now);
        assert!(next.takes_after_fin() && next.accepted.load(Ordering::Relaxed));
        assert_eq!(next.limiter.limit(), 12);
        assert_eq!(next.idle_limit.known(now), Some(seconds(2)));
        // What was seen is forgotten when it would have been without the change of processes.
        assert_eq!(next.idle_limit.known(now + seconds(21)), Some(seconds(5)));
    }

    #[test]
    fn every_condition_goes_on_with_its_times_and_its_reason() {
        let rules = RULES;
        let (begun, later) = (Instant::now(), Duration::from_secs(2));
        let state = TargetState::default();
        for _ in 0..rules.eject_after {
            state.lock().observe(&rules, begun, begun, FAULTY, true);
        }
        let next = carried(&state, begun + later);
        assert_eq!(next.why(), state.why());
        assert_eq!(next.lock().ejections(), 1);
        assert_eq!(next.lock().admission(&rules, begun + rules.ejection - later), Admission::No);
        assert_eq!(next.lock().admission(&rules, begun + rules.ejection), Admission::Trial);
        state.lock().begin_trial(begun + rules.ejection);
        carried(&state, begun + rules.ejection + later);
        state.lock().observe(&rules, begun + rules.ejection, begun + rules.ejection, Outcome::Good, true);
        let next = carried(&state, begun + rules.ejection + later);
        assert_eq!(next.lock().admission(&rules, begun + rules.ejection + later), Admission::Share(0.2));
        for _ in 0..rules.unreachable_after {
            state.lock().observe(&rules, begun, begun, Outcome::Unreachable(Fault::ConnectRefused), true);
        }
        let next = carried(&state, begun);
        assert_eq!(next.condition(), Condition::Unreachable { since: begun });
        assert_eq!(next.why().as_deref(), Some("connect-refused"));
        assert!(next.unreachable.load(Ordering::Relaxed));
    }

    #[test]
    fn a_target_that_its_checks_keep_out_stays_out_as_long_as_there_are_checks() {
        let begun = Instant::now();
        let state = TargetState::default();
        state.lock().checked(&CHECK, begun, Err("it answered 500"));
        let next = carried(&state, begun);
        assert_eq!(next.condition(), Condition::Down { since: begun });
        assert_eq!(next.why().as_deref(), Some("it answered 500"));
        let unchecked = TargetState::default();
        unchecked.recall(&state.learned(URL, begun), false, begun);
        assert_eq!(unchecked.condition(), Condition::Up { since: None });
    }

    #[test]
    fn what_another_version_says_is_taken_as_far_as_it_is_known() {
        let text = r#"{"target": "http://127.0.0.1:9", "mood": 7, "health": {"condition": "asleep", "ejections": 3}}"#;
        let state = TargetState::default();
        state.recall(&serde_json::from_str(text).unwrap(), true, Instant::now());
        assert_eq!(state.condition(), Condition::Up { since: None });
        assert_eq!(state.lock().ejections(), 3);
        assert_eq!(serde_json::from_str::<LearnedTarget>("{}").unwrap(), LearnedTarget::default());
    }
}
