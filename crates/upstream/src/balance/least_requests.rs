//! The one with the fewest requests for its weight; chance decides between equals.

use super::Candidate;
use super::random::weighted;

fn load(candidate: &Candidate) -> f64 {
    (candidate.in_flight + 1) as f64 / candidate.share
}

/// The place in the list of the one that is chosen.
pub(super) fn choose(candidates: &[Candidate], random: u64) -> Option<usize> {
    let least = candidates.iter().map(load).min_by(f64::total_cmp)?;
    weighted(candidates, (random >> 32) as u32, |_, candidate| load(candidate) <= least)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_follows_weights, candidate, counts};
    use super::*;

    #[test]
    fn the_least_loaded_is_taken_and_equals_share() {
        let busy = [candidate(0, 1.0, None, 3), candidate(1, 1.0, None, 2), candidate(2, 4.0, None, 10)];
        assert_eq!(
            counts(&busy, |random| choose(&busy, random)),
            [0, 0, 10_000],
            "11 of 4 are less than 3 of 1"
        );
        let equal = [candidate(0, 1.0, None, 1), candidate(1, 1.0, None, 1), candidate(2, 1.0, None, 2)];
        let counts = counts(&equal, |random| choose(&equal, random));
        assert_follows_weights(&counts, &[1.0, 1.0, 0.0], 0.02);
    }

    #[test]
    fn held_requests_spread_by_weight() {
        let mut candidates = [1.0, 2.0, 5.0].map(|share| candidate(0, share, None, 0));
        for random in 0..800u64 {
            let place = choose(&candidates, random << 40).unwrap();
            candidates[place].in_flight += 1;
        }
        let held = candidates.map(|candidate| candidate.in_flight);
        assert_follows_weights(&held, &[1.0, 2.0, 5.0], 0.01);
    }
}
