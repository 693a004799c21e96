//! Which of the admitted targets gets a request. Each way to choose is one file; a new one is a file and a variant here.
//!
//! They know candidates: what is left of targets when those that are out, tried or full have been taken away. Shares are
//! weights, and the part of them that a target on its return gets.

mod hash;
mod least_requests;
mod peak_ewma;
mod random;
mod round_robin;

use std::time::Duration;

use model::gateway::{Balance, Upstream};

use self::hash::Rendezvous;
pub(crate) use self::hash::mix;
use self::round_robin::RoundRobin;

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

/// Where a request would like to go, for upstreams that look at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Affinity {
    /// The hash of its key, see [`key`].
    pub key: Option<u64>,
    /// The target that its cookie names: what it says, as a number.
    pub target: Option<u64>,
}

/// A number that stands for a key.
pub fn key(bytes: &[u8]) -> u64 {
    hash::hash(bytes)
}

/// How an upstream chooses.
#[derive(Debug)]
pub(crate) enum Balancer {
    Hash(Rendezvous),
    LeastRequests,
    PeakEwma,
    Random,
    RoundRobin(RoundRobin),
}

impl Balancer {
    pub(crate) fn new(settings: &Upstream) -> Balancer {
        match &settings.balance {
            Balance::Hash { load_max_percent, .. } => {
                let urls = settings.targets.iter().map(|target| &*target.url);
                Balancer::Hash(Rendezvous::new(urls, f64::from(*load_max_percent) / 100.0))
            }
            Balance::LeastRequests => Balancer::LeastRequests,
            Balance::PeakEwma => Balancer::PeakEwma,
            Balance::Random => Balancer::Random,
            Balance::RoundRobin => Balancer::RoundRobin(RoundRobin::new(settings.targets.len())),
        }
    }

    /// The index of the target that is chosen; `random` are 64 bits of chance.
    pub(crate) fn choose(&self, candidates: &[Candidate], affinity: Affinity, random: u64) -> Option<usize> {
        let place = match (self, affinity.key) {
            (Balancer::Hash(targets), Some(key)) => targets.choose(candidates, key),
            // A request without a key may go anywhere.
            (Balancer::Hash(_), None) | (Balancer::PeakEwma, _) => peak_ewma::choose(candidates, random),
            (Balancer::LeastRequests, _) => least_requests::choose(candidates, random),
            (Balancer::Random, _) => random::choose(candidates, random),
            (Balancer::RoundRobin(turns), _) => turns.choose(candidates),
        };
        candidates.get(place?).map(|candidate| candidate.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn candidate(index: usize, share: f64, millis: Option<u64>, in_flight: usize) -> Candidate {
        Candidate { index, share, latency: millis.map(Duration::from_millis), in_flight, failures: 0 }
    }

    /// How often each place is chosen, of ten thousand times.
    pub(super) fn counts(
        candidates: &[Candidate],
        mut choose: impl FnMut(u64) -> Option<usize>,
    ) -> Vec<usize> {
        let mut counts = vec![0; candidates.len()];
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        for _ in 0..10_000 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            counts[choose(random).unwrap()] += 1;
        }
        counts
    }

    /// Each got its part of all, give or take `tolerance` of all.
    pub(super) fn assert_follows_weights(counts: &[usize], weights: &[f64], tolerance: f64) {
        let (all, sum) = (counts.iter().sum::<usize>() as f64, weights.iter().sum::<f64>());
        for (count, weight) in counts.iter().zip(weights) {
            let off = *count as f64 / all - weight / sum;
            assert!(off.abs() < tolerance, "{counts:?} for {weights:?}");
        }
    }
}
