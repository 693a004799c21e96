//! How fast a target answers: a peak-sensitive moving average, shared by all workers.
//!
//! A slower answer counts at once and in full; a faster one pulls the average down only as fast as time passes. So a target
//! that turns slow is noticed with one answer, and one lucky answer proves nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Time in which the average forgets two thirds.
const DECAY: Duration = Duration::from_secs(10);

/// The average of one target. Updates race without harm: one of two answers at the same moment may not count.
#[derive(Debug)]
pub struct Latency {
    begun: Instant,
    /// Microseconds; zero before the first answer.
    average: AtomicU64,
    /// Microseconds from `begun` to the last update.
    updated: AtomicU64,
}

impl Default for Latency {
    fn default() -> Latency {
        Latency::new(Instant::now())
    }
}

impl Latency {
    pub fn new(now: Instant) -> Latency {
        Latency { begun: now, average: AtomicU64::new(0), updated: AtomicU64::new(0) }
    }

    /// An answer took so long.
    pub fn observe(&self, now: Instant, took: Duration) {
        let took = (took.as_micros() as u64).max(1);
        let at = now.saturating_duration_since(self.begun).as_micros() as u64;
        let passed = at.saturating_sub(self.updated.swap(at, Ordering::Relaxed));
        let average = self.average.load(Ordering::Relaxed);
        let new = if took >= average {
            took
        } else {
            let kept = kept_after(passed);
            (average as f64 * kept + took as f64 * (1.0 - kept)).max(1.0) as u64
        };
        self.average.store(new, Ordering::Relaxed);
    }

    /// The average, if anything is known; without answers it fades, so that a slow target is asked again one day.
    pub fn average(&self, now: Instant) -> Option<Duration> {
        let average = self.average.load(Ordering::Relaxed);
        if average == 0 {
            return None;
        }
        let at = now.saturating_duration_since(self.begun).as_micros() as u64;
        let silent = at.saturating_sub(self.updated.load(Ordering::Relaxed));
        Some(Duration::from_micros((average as f64 * kept_after(silent)) as u64))
    }
}

/// The part of an average that is left after so many microseconds.
fn kept_after(micros: u64) -> f64 {
    let passed = micros as f64 / DECAY.as_micros() as f64;
    // A straight line is as good for short times, and nearly all are.
    if passed < 0.01 { 1.0 - passed } else { (-passed).exp() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_counts_at_once_and_fades_with_time() {
        let begun = Instant::now();
        let latency = Latency::new(begun);
        assert_eq!(latency.average(begun), None);
        let (ms, at) = (Duration::from_millis, |seconds| begun + Duration::from_secs(seconds));
        latency.observe(at(0), ms(10));
        latency.observe(at(0), ms(200));
        latency.observe(at(0), ms(10));
        assert_eq!(latency.average(at(0)), Some(ms(200)));
        latency.observe(at(10), ms(10));
        let faded = latency.average(at(10)).unwrap();
        assert!((ms(75)..ms(85)).contains(&faded), "{faded:?}");
        let silent = latency.average(at(20)).unwrap();
        assert!(silent < faded / 2, "{silent:?}");
    }
}
