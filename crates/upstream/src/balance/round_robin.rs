//! In turn, by weight, and smoothly: a target of weight 5 beside one of 1 gets `a a b a a a`, not `a a a a a b`.
//!
//! The way of nginx: everybody earns its weight, the richest is taken and pays what all have earned.

use std::sync::{Mutex, PoisonError};

use super::Candidate;

/// What each target of the upstream has earned. One for all workers: turns are the process's.
#[derive(Debug)]
pub(crate) struct RoundRobin(Mutex<Vec<f64>>);

impl RoundRobin {
    pub(super) fn new(targets: usize) -> RoundRobin {
        RoundRobin(Mutex::new(vec![0.0; targets]))
    }

    /// The place in the list of the one that is chosen.
    pub(super) fn choose(&self, candidates: &[Candidate]) -> Option<usize> {
        let mut purses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sum = 0.0;
        let mut best: Option<(usize, f64)> = None;
        for (place, candidate) in candidates.iter().enumerate() {
            let Some(purse) = purses.get_mut(candidate.index) else { continue };
            *purse += candidate.share;
            sum += candidate.share;
            if best.is_none_or(|(_, most)| *purse > most) {
                best = Some((place, *purse));
            }
        }
        let (place, _) = best?;
        if let Some(purse) = candidates.get(place).and_then(|taken| purses.get_mut(taken.index)) {
            *purse -= sum;
        }
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::candidate;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn turns_are_smooth() {
        let turns = RoundRobin::new(3);
        let candidates = [candidate(0, 5.0, None, 0), candidate(1, 1.0, None, 0), candidate(2, 1.0, None, 0)];
        let taken: Vec<usize> = (0..7).map(|_| turns.choose(&candidates).unwrap()).collect();
        assert_eq!(taken, [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(turns.choose(&[]), None);
    }

    proptest! {
        /// Nobody starves among equals, whoever is out in between; and weights are followed to the last turn.
        #[test]
        fn nobody_starves(
            weights in prop::collection::vec(1u32..20, 1..6),
            outs in prop::collection::vec(0usize..6, 0..50),
        ) {
            let turns = RoundRobin::new(weights.len());
            let all: Vec<Candidate> = weights
                .iter()
                .enumerate()
                .map(|(index, weight)| candidate(index, f64::from(*weight), None, 0))
                .collect();
            for out in outs {
                let others: Vec<Candidate> = all.iter().copied().filter(|one| one.index != out).collect();
                turns.choose(&others);
            }
            let round = weights.iter().sum::<u32>() as usize;
            let mut counts = vec![0u32; weights.len()];
            for _ in 0..round * 20 {
                counts[turns.choose(&all).unwrap()] += 1;
            }
            for (count, weight) in counts.iter().zip(&weights) {
                prop_assert!(count.abs_diff(weight * 20) <= 100, "{counts:?} of {weights:?}");
                prop_assert!(*count > 0);
            }
        }
    }
}
