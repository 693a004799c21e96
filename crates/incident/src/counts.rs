//! Requests and failed requests, and rings of them by second and by minute.

use std::ops::{Add, AddAssign};

/// How many requests there were, and how many of them failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub requests: u64,
    pub failed: u64,
}

impl Counts {
    /// The share that failed, 0 to 1; 0 of nothing.
    pub fn share(self) -> f64 {
        if self.requests == 0 { 0.0 } else { self.failed as f64 / self.requests as f64 }
    }

    pub(crate) fn count(&mut self, failed: bool) {
        self.requests += 1;
        self.failed += u64::from(failed);
    }

    pub(crate) fn is_empty(self) -> bool {
        self.requests == 0
    }
}

impl Add for Counts {
    type Output = Counts;

    fn add(self, other: Counts) -> Counts {
        Counts { requests: self.requests + other.requests, failed: self.failed + other.failed }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        *self = *self + other;
    }
}

/// Half the memory of [`Counts`]: more than four billion requests in a second or minute are counted as four billion.
#[derive(Clone, Copy, Debug, Default)]
struct Small {
    requests: u32,
    failed: u32,
}

/// The last `N` steps of time, each with its counts.
#[derive(Clone, Debug)]
pub(crate) struct Ring<const N: usize> {
    steps: [Small; N],
    /// The step that was put last.
    newest: u64,
}

impl<const N: usize> Ring<N> {
    pub(crate) fn new(newest: u64) -> Ring<N> {
        Ring { steps: [Small::default(); N], newest }
    }

    /// Goes on to a later step and gives what fell out on the way. A step that is there already is added to.
    pub(crate) fn put(&mut self, step: u64, counts: Counts) -> Counts {
        let mut fallen = Counts::default();
        let ahead = step.saturating_sub(self.newest).min(N as u64);
        for passed in 0..ahead {
            if let Some(slot) = self.steps.get_mut((step.saturating_sub(passed) % N as u64) as usize) {
                let Small { requests, failed } = std::mem::take(slot);
                fallen += Counts { requests: requests.into(), failed: failed.into() };
            }
        }
        self.newest = self.newest.max(step);
        if let Some(slot) = self.steps.get_mut((self.newest % N as u64) as usize) {
            let small = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
            slot.requests = slot.requests.saturating_add(small(counts.requests));
            slot.failed = slot.failed.saturating_add(small(counts.failed));
        }
        fallen
    }

    /// What the last so many steps hold together.
    pub(crate) fn last(&self, steps: usize) -> Counts {
        self.steps_back(steps).fold(Counts::default(), |sum, (_, counts)| sum + counts)
    }

    /// The earliest of the last so many steps in which something failed.
    pub(crate) fn first_failed(&self, steps: usize) -> Option<u64> {
        self.steps_back(steps).filter(|(_, counts)| counts.failed > 0).map(|(step, _)| step).last()
    }

    /// The newest first.
    fn steps_back(&self, steps: usize) -> impl Iterator<Item = (u64, Counts)> {
        (0..steps.min(N) as u64).map_while(|back| self.newest.checked_sub(back)).filter_map(|step| {
            let Small { requests, failed } = *self.steps.get((step % N as u64) as usize)?;
            Some((step, Counts { requests: requests.into(), failed: failed.into() }))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_forgets_what_is_older_than_it_is_long() {
        let one = Counts { requests: 2, failed: 1 };
        let mut ring = Ring::<4>::new(10);
        assert_eq!(ring.put(10, one), Counts::default());
        assert_eq!(ring.put(12, one), Counts::default());
        assert_eq!((ring.last(1), ring.last(2), ring.last(3)), (one, one, one + one));
        assert_eq!(ring.first_failed(4), Some(10));
        // 10 falls out, 12 stays.
        assert_eq!(ring.put(14, Counts::default()), one);
        assert_eq!(ring.last(4), one);
        assert_eq!(ring.put(1_000, Counts::default()), one);
        assert_eq!(ring.last(4), Counts::default());
        // Time that goes backwards is counted as now.
        ring.put(3, one);
        assert_eq!(ring.last(1), one);
    }
}
