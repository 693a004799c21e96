//! Which keys and lanes rest after failures, and until when. The state is the process's and outlives reloads.
//!
//! A key rests as a whole where its provider does not take it; one model of it rests where that one is limited or fails. Nobody
//! rests so long that nobody is asked: what rests is tried by one request at a time when there is nothing else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ai::Class;

/// A key that was refused is tried again so often: somebody may have mended it.
const REFUSED: Duration = Duration::from_secs(300);
/// Without a word of the provider's.
const LIMITED: Duration = Duration::from_secs(5);
/// What a provider says is believed up to here.
const LIMITED_MAX: Duration = Duration::from_secs(3600);
/// Failures in a row before a lane rests: one bad answer says little.
const FAILURES: u32 = 3;
const FAILING: Duration = Duration::from_secs(5);
const FAILING_MAX: Duration = Duration::from_secs(60);
/// Models of one key that are remembered; those that do not rest are forgotten first.
const MODELS_MAX: usize = 1000;

/// All that rest, by provider and key.
#[derive(Debug, Default)]
pub struct Rests(Mutex<HashMap<KeyId, Arc<KeyRest>>>);

/// A provider, and a number that stands for the secret.
type KeyId = (Arc<str>, u64);

impl Rests {
    /// The state of a key; `secret` is a number that stands for it.
    pub(crate) fn of(&self, provider: &Arc<str>, secret: u64) -> Arc<KeyRest> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry((provider.clone(), secret)).or_default().clone()
    }
}

/// One key.
#[derive(Debug, Default)]
pub(crate) struct KeyRest(Mutex<HashMap<Box<str>, State>>);

/// Of a model, or under the empty name of the key as a whole.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    until: Option<Instant>,
    failures: u32,
    /// Since when somebody tries it.
    tried_since: Option<Instant>,
}

impl State {
    fn rests_at(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until > now)
    }
}

/// One model of one key.
#[derive(Clone, Debug)]
pub(crate) struct LaneRest {
    key: Arc<KeyRest>,
    model: Arc<str>,
}

/// A try of something that rests is forgotten after so long: whoever made it may be gone.
const TRY_MAX: Duration = Duration::from_secs(60);

impl LaneRest {
    pub(crate) fn new(key: Arc<KeyRest>, model: Arc<str>) -> LaneRest {
        LaneRest { key, model }
    }

    fn states(&self) -> MutexGuard<'_, HashMap<Box<str>, State>> {
        self.key.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until when it rests; `None` if it does not.
    pub(crate) fn until(&self, now: Instant) -> Option<Instant> {
        let states = self.states();
        let both = ["", &*self.model].map(|name| states.get(name).filter(|state| state.rests_at(now)));
        both.into_iter().flatten().filter_map(|state| state.until).max()
    }

    /// Takes the right to try it although it rests; one request has it at a time.
    pub(crate) fn try_anyway(&self, now: Instant) -> bool {
        let mut states = self.states();
        let state = states.entry((*self.model).into()).or_default();
        let is_tried = state.tried_since.is_some_and(|since| now.saturating_duration_since(since) < TRY_MAX);
        if !is_tried {
            state.tried_since = Some(now);
        }
        !is_tried
    }

    pub(crate) fn succeeded(&self) {
        let mut states = self.states();
        states.remove("");
        states.remove(&*self.model);
    }

    /// It came to nothing for reasons of ours or the client's.
    pub(crate) fn abandoned(&self) {
        if let Some(state) = self.states().get_mut(&*self.model) {
            state.tried_since = None;
        }
    }

    pub(crate) fn failed(&self, class: Class, retry_after: Option<Duration>, now: Instant) {
        let mut states = self.states();
        if states.len() >= MODELS_MAX {
            states.retain(|_, state| state.rests_at(now));
        }
        let state = states.entry((*self.model).into()).or_default();
        state.tried_since = None;
        match class {
            // The model is fine.
            Class::Client | Class::ContextTooLong | Class::ModelUnknown => state.failures = 0,
            Class::Credentials | Class::NoMoney => {
                states.entry("".into()).or_default().until = Some(now + REFUSED);
            }
            Class::RateLimited => {
                state.until = Some(now + retry_after.unwrap_or(LIMITED).min(LIMITED_MAX));
            }
            Class::Overloaded | Class::Server | Class::Unreadable => {
                state.failures += 1;
                let asked = retry_after.map(|after| after.min(FAILING_MAX));
                let own = (state.failures >= FAILURES).then(|| {
                    FAILING.saturating_mul(1 << (state.failures - FAILURES).min(4)).min(FAILING_MAX)
                });
                if let Some(rest) = asked.or(own) {
                    state.until = Some(now + rest);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(rests: &Rests, secret: u64, model: &str) -> LaneRest {
        LaneRest::new(rests.of(&"p".into(), secret), model.into())
    }

    #[test]
    fn a_key_rests_as_a_whole_and_a_model_alone() {
        let (rests, now) = (Rests::default(), Instant::now());
        let [a, b, other] = [lane(&rests, 1, "a"), lane(&rests, 1, "b"), lane(&rests, 2, "a")];
        a.failed(Class::RateLimited, Some(Duration::from_secs(7)), now);
        assert_eq!(a.until(now), Some(now + Duration::from_secs(7)));
        assert_eq!((b.until(now), other.until(now)), (None, None));
        assert_eq!(a.until(now + Duration::from_secs(7)), None);
        a.failed(Class::Credentials, None, now);
        assert_eq!(b.until(now), Some(now + REFUSED));
        assert_eq!(other.until(now), None);
        b.succeeded();
        assert_eq!(b.until(now), None);
    }

    #[test]
    fn one_failure_is_none_and_several_rest_longer_each_time() {
        let (rests, now) = (Rests::default(), Instant::now());
        let lane = lane(&rests, 1, "a");
        let mut seen = Vec::new();
        for _ in 0..9 {
            lane.failed(Class::Server, None, now);
            seen.push(lane.until(now).map_or(0, |until| until.duration_since(now).as_secs()));
        }
        assert_eq!(seen, [0, 0, 5, 10, 20, 40, 60, 60, 60]);
        lane.succeeded();
        lane.failed(Class::Server, None, now);
        assert_eq!(lane.until(now), None);
    }

    #[test]
    fn what_rests_is_tried_by_one_at_a_time() {
        let (rests, now) = (Rests::default(), Instant::now());
        let lane = lane(&rests, 1, "a");
        lane.failed(Class::RateLimited, None, now);
        assert!(lane.try_anyway(now));
        assert!(!lane.try_anyway(now));
        lane.abandoned();
        assert!(lane.try_anyway(now));
        assert!(lane.try_anyway(now + TRY_MAX));
        lane.failed(Class::Server, None, now);
        assert!(lane.try_anyway(now));
    }
}
