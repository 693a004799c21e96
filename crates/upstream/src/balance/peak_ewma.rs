//! The better of two that chance has picked.
//!
//! Better is who will answer sooner: average latency times the requests already there. Two are enough to keep away from a
//! slow one, and chance keeps many workers from running to the same fast one. Chance and cost both follow the weights.

use std::time::Duration;

use super::Candidate;
use super::random::weighted;

/// What a target whose latency is unknown is taken for while its first answers are awaited.
const UNKNOWN: Duration = Duration::from_secs(1);

fn cost(candidate: &Candidate) -> f64 {
    let latency = match candidate.latency {
        Some(latency) => latency.as_secs_f64(),
        // Nobody knows before it was asked: the first request goes there, the next ones wait what comes of it.
        None if candidate.in_flight == 0 && candidate.failures == 0 => return 0.0,
        None => UNKNOWN.as_secs_f64(),
    };
    let doubt = f64::from(1u32 << candidate.failures.min(10));
    latency.max(1e-6) * (candidate.in_flight + 1) as f64 * doubt / candidate.share
}

/// The place in the list of the one that is chosen.
pub(super) fn choose(candidates: &[Candidate], random: u64) -> Option<usize> {
    let (high, low) = ((random >> 32) as u32, random as u32);
    let first = weighted(candidates, high, |_, _| true)?;
    let Some(second) = weighted(candidates, low, |place, _| place != first) else { return Some(first) };
    let costs = (cost(candidates.get(first)?), cost(candidates.get(second)?));
    Some(if costs.1 < costs.0 { second } else { first })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{candidate, counts};
    use super::*;

    fn choices(candidates: &[Candidate]) -> Vec<usize> {
        counts(candidates, |random| choose(candidates, random))
    }
    #[test]
    fn one_candidate_is_taken_and_none_is_none() {
        assert_eq!(choose(&[], 7), None);
        assert_eq!(choose(&[candidate(3, 1.0, None, 9)], 7), Some(0));
    }

    #[test]
    fn the_slow_one_of_two_gets_nothing_until_the_other_is_full() {
        let (fast, slow) = (candidate(0, 1.0, Some(10), 0), candidate(1, 1.0, Some(200), 0));
        assert_eq!(choices(&[fast, slow]), [10_000, 0]);
        let full = Candidate { in_flight: 25, ..fast };
        assert_eq!(choices(&[full, slow]), [0, 10_000]);
    }

    #[test]
    fn an_unknown_one_is_asked_once() {
        let known = candidate(0, 1.0, Some(10), 0);
        assert_eq!(choices(&[known, candidate(1, 1.0, None, 0)]), [0, 10_000]);
        assert_eq!(choices(&[known, candidate(1, 1.0, None, 1)]), [10_000, 0]);
    }

    #[test]
    fn one_that_fails_is_doubted_before_it_is_ejected() {
        let good = candidate(0, 1.0, Some(10), 0);
        let failing = Candidate { failures: 1, ..candidate(1, 1.0, None, 0) };
        assert_eq!(choices(&[good, failing]), [10_000, 0]);
        let once = Candidate { failures: 1, ..candidate(1, 1.0, Some(10), 0) };
        assert_eq!(choices(&[good, once]), [10_000, 0]);
    }

    #[test]
    fn equals_share_by_weight() {
        let counts = choices(&[
            candidate(0, 1.0, Some(10), 1),
            candidate(1, 1.0, Some(10), 1),
            candidate(2, 1.0, Some(10), 1),
            candidate(3, 1.0, Some(10), 1),
        ]);
        assert!(counts.iter().all(|count| (2_000..3_000).contains(count)), "{counts:?}");
        let counts = choices(&[candidate(0, 3.0, Some(10), 1), candidate(1, 1.0, Some(10), 1)]);
        assert_eq!(counts, [10_000, 0], "the lighter one is worse for the same latency and load");
        let counts = choices(&[candidate(0, 3.0, Some(10), 5), candidate(1, 1.0, Some(10), 1)]);
        assert!(counts[0] > 5_000, "{counts:?}");
    }
}
