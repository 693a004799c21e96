//! Which of the admitted targets gets a request: the better of two that chance has picked.
//!
//! Better is who will answer sooner: average latency times the requests already there. Two are enough to keep away from a
//! slow one, and chance keeps many workers from running to the same fast one. Chance and cost both follow the weights.

use std::time::Duration;

/// A target that may be chosen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub index: usize,
    /// Weight, and the part of it that a target on its return gets.
    pub share: f64,
    pub latency: Option<Duration>,
    pub in_flight: usize,
    /// Failures in a row: each makes it twice as bad.
    pub failures: u32,
}

/// What a target whose latency is unknown is taken for while its first answers are awaited.
const UNKNOWN: Duration = Duration::from_secs(1);

impl Candidate {
    fn cost(&self) -> f64 {
        let latency = match self.latency {
            Some(latency) => latency.as_secs_f64(),
            // Nobody knows before it was asked: the first request goes there, the next ones wait what comes of it.
            None if self.in_flight == 0 && self.failures == 0 => return 0.0,
            None => UNKNOWN.as_secs_f64(),
        };
        let doubt = f64::from(1u32 << self.failures.min(10));
        latency.max(1e-6) * (self.in_flight + 1) as f64 * doubt / self.share
    }
}

/// The choice; `random` are 64 bits of chance.
pub(crate) fn choose(candidates: &[Candidate], random: u64) -> Option<usize> {
    let (high, low) = ((random >> 32) as u32, random as u32);
    let first = at(candidates, high, None)?;
    let Some(second) = at(candidates, low, Some(first)) else {
        return candidates.get(first).map(|one| one.index);
    };
    let (first, second) = (candidates.get(first)?, candidates.get(second)?);
    Some(if second.cost() < first.cost() { second.index } else { first.index })
}

/// One of the candidates but `without`, as likely as its share.
fn at(candidates: &[Candidate], random: u32, without: Option<usize>) -> Option<usize> {
    let others = || candidates.iter().enumerate().filter(|(number, _)| Some(*number) != without);
    let sum: f64 = others().map(|(_, candidate)| candidate.share).sum();
    let mut point = sum * f64::from(random) / 4_294_967_296.0;
    let mut last = None;
    for (number, candidate) in others() {
        last = Some(number);
        if point < candidate.share {
            break;
        }
        point -= candidate.share;
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(index: usize, share: f64, millis: Option<u64>, in_flight: usize) -> Candidate {
        Candidate { index, share, latency: millis.map(Duration::from_millis), in_flight, failures: 0 }
    }

    /// How often each is chosen, of ten thousand times.
    fn choices(candidates: &[Candidate]) -> Vec<usize> {
        let mut counts = vec![0; candidates.len()];
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        for _ in 0..10_000 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            counts[choose(candidates, random).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn one_candidate_is_taken_and_none_is_none() {
        assert_eq!(choose(&[], 7), None);
        assert_eq!(choose(&[candidate(3, 1.0, None, 9)], 7), Some(3));
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
