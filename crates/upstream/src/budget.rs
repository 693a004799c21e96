//! How many attempts may be repeated: a share of all requests and a small floor, so that retries help in a small failure
//! and do not multiply the load in a large one.

use std::time::{Duration, Instant};

/// So many requests earn one retry.
const REQUESTS_PER_RETRY: f64 = 5.0;
/// Retries per second that are allowed however few requests there are.
const FLOOR_PER_SECOND: f64 = 3.0;
/// What is earned is good for about so long.
const WINDOW: Duration = Duration::from_secs(10);

/// The time is not looked at more often.
const STEP: Duration = Duration::from_millis(10);

/// The budget of one upstream.
#[derive(Clone, Debug)]
pub(crate) struct RetryBudget {
    /// Requests that have earned and not yet paid; they count less with time.
    requests: f64,
    /// The floor: refilled with time.
    floor: f64,
    at: Instant,
}

impl RetryBudget {
    pub(crate) fn new(now: Instant) -> RetryBudget {
        RetryBudget { requests: 0.0, floor: FLOOR_PER_SECOND, at: now }
    }

    /// A request came, which may be tried for the first time.
    pub(crate) fn request(&mut self, now: Instant) {
        self.advance(now);
        self.requests += 1.0;
    }

    /// Whether another attempt may follow; it is then paid for.
    pub(crate) fn retry(&mut self, now: Instant) -> bool {
        self.advance(now);
        for (purse, price) in [(&mut self.requests, REQUESTS_PER_RETRY), (&mut self.floor, 1.0)] {
            if *purse >= price {
                *purse -= price;
                return true;
            }
        }
        false
    }

    /// What is left: earned by requests, and of the floor.
    pub(crate) fn purses(&mut self, now: Instant) -> (f64, f64) {
        self.advance(now);
        (self.requests, self.floor)
    }

    /// Goes on with what another process had left, which was earned by its requests.
    pub(crate) fn refill(&mut self, requests: f64, floor: f64) {
        if requests.is_finite() && requests >= 0.0 {
            self.requests = requests;
        }
        self.floor = floor.clamp(0.0, FLOOR_PER_SECOND);
    }

    fn advance(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at);
        if passed < STEP {
            return;
        }
        let passed = passed.as_secs_f64();
        self.at = self.at.max(now);
        self.requests *= (-passed / WINDOW.as_secs_f64()).exp();
        self.floor = (self.floor + passed * FLOOR_PER_SECOND).min(FLOOR_PER_SECOND);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever comes in whatever order: never more than the share of all requests and the floor for the time.
        #[test]
        fn the_budget_is_never_exceeded(events in prop::collection::vec((0u64..500, prop::bool::ANY), 1..400)) {
            let begun = Instant::now();
            let mut budget = RetryBudget::new(begun);
            let (mut millis, mut requests, mut retries) = (0u64, 0u32, 0u32);
            for (gap, is_request) in events {
                millis += gap;
                let now = begun + Duration::from_millis(millis);
                if is_request {
                    budget.request(now);
                    requests += 1;
                } else if budget.retry(now) {
                    retries += 1;
                }
                let floor = FLOOR_PER_SECOND * (1.0 + millis as f64 / 1e3);
                prop_assert!(f64::from(retries) <= f64::from(requests) / REQUESTS_PER_RETRY + floor + 1e-6);
            }
        }
    }

    #[test]
    fn a_few_retries_are_always_allowed_and_many_need_many_requests() {
        let begun = Instant::now();
        let mut budget = RetryBudget::new(begun);
        assert_eq!((0..10).filter(|_| budget.retry(begun)).count(), 3);
        for _ in 0..100 {
            budget.request(begun);
        }
        assert_eq!((0..100).filter(|_| budget.retry(begun)).count(), 20);
        let later = begun + Duration::from_secs(1);
        assert_eq!((0..10).filter(|_| budget.retry(later)).count(), 3);
    }

    #[test]
    fn what_was_earned_long_ago_is_gone() {
        let begun = Instant::now();
        let mut budget = RetryBudget::new(begun);
        for _ in 0..1000 {
            budget.request(begun);
        }
        let later = begun + Duration::from_secs(120);
        assert_eq!((0..100).filter(|_| budget.retry(later)).count(), 3);
    }
}
