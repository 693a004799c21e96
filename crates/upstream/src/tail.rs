//! How long all but a few answers of an upstream take: its 95th percentile, for who hedges.
//!
//! Times are counted in buckets that grow by a fifth, so that the percentile is right to about that, and all counts are
//! halved now and then, so that it is that of the last thousand answers or two.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Buckets: from a tenth of a millisecond, in 100 steps of a fifth, to some two hours.
const BUCKETS: usize = 100;
const FIRST_MICROS: f64 = 100.0;
const GROWTH: f64 = 1.2;
/// Fewer answers prove nothing.
const ANSWERS_MIN: u32 = 100;
/// At so many, all counts are halved.
const ANSWERS_MAX: u32 = 2_000;

#[derive(Debug)]
pub(crate) struct Tail(Mutex<Counts>);

#[derive(Debug)]
struct Counts {
    buckets: [u32; BUCKETS],
    answers: u32,
}

impl Default for Tail {
    fn default() -> Tail {
        Tail(Mutex::new(Counts { buckets: [0; BUCKETS], answers: 0 }))
    }
}

impl Tail {
    pub(crate) fn observe(&self, took: Duration) {
        let steps = (took.as_micros() as f64 / FIRST_MICROS).max(1.0).ln() / GROWTH.ln();
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = counts.buckets.get_mut((steps as usize).min(BUCKETS - 1)) {
            *bucket += 1;
        }
        counts.answers += 1;
        if counts.answers >= ANSWERS_MAX {
            counts.buckets.iter_mut().for_each(|bucket| *bucket /= 2);
            counts.answers = counts.buckets.iter().sum();
        }
    }

    /// What 95 of 100 answers do not exceed; `None` while too few are known.
    pub(crate) fn p95(&self) -> Option<Duration> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.answers < ANSWERS_MIN {
            return None;
        }
        let mut below = 0;
        let bucket = counts.buckets.iter().position(|bucket| {
            below += bucket;
            below * 20 >= counts.answers * 19
        })?;
        Some(Duration::from_secs_f64(FIRST_MICROS * GROWTH.powi(bucket as i32 + 1) / 1e6))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_percentile_is_right_to_a_fifth_and_follows() {
        let ms = Duration::from_millis;
        let tail = Tail::default();
        for _ in 0..99 {
            tail.observe(ms(10));
        }
        assert_eq!(tail.p95(), None);
        tail.observe(ms(10));
        let p95 = tail.p95().unwrap();
        assert!((ms(10)..ms(12)).contains(&p95), "{p95:?}");
        for _ in 0..4 {
            tail.observe(ms(900));
        }
        assert_eq!(tail.p95(), Some(p95), "a few are not the rule");
        for _ in 0..40_000 {
            tail.observe(ms(100));
        }
        let later = tail.p95().unwrap();
        assert!((ms(100)..ms(120)).contains(&later), "{later:?}");
        for _ in 0..40_000 {
            tail.observe(Duration::ZERO);
        }
        assert!(tail.p95().unwrap() < ms(1));
    }
}
