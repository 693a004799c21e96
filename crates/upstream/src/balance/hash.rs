//! Requests with the same key go to the same target, as long as it has room.
//!
//! Rendezvous hashing (Thaler and Ravishankar 1998) with weights: each target draws a number from the key and its own URL, and
//! the highest wins. A target that goes moves only its own keys, without a table to build, and all instances of Clearway agree.
//! Loads are bounded (Mirrokni, Thorup and Zadimoghaddam 2018): a target with more than its share of the requests in flight,
//! by a factor, lets the next one have what comes. So a hot key spills over instead of burying its target.

use super::Candidate;

/// The targets of an upstream, as keys see them.
#[derive(Debug)]
pub(crate) struct Rendezvous {
    /// The hashes of their URLs.
    targets: Vec<u64>,
    /// How much more than its share of the requests in flight a target may have.
    load_max: f64,
}

impl Rendezvous {
    pub(super) fn new<'u>(urls: impl Iterator<Item = &'u str>, load_max: f64) -> Rendezvous {
        Rendezvous { targets: urls.map(|url| hash(url.as_bytes())).collect(), load_max }
    }

    /// The place in the list of the one that is chosen.
    pub(super) fn choose(&self, candidates: &[Candidate], key: u64) -> Option<usize> {
        let shares: f64 = candidates.iter().map(|candidate| candidate.share).sum();
        let in_flight: usize = candidates.iter().map(|candidate| candidate.in_flight).sum();
        let allowed = self.load_max * (in_flight + 1) as f64 / shares;
        let has_room = |one: &Candidate| ((one.in_flight + 1) as f64) <= (allowed * one.share).ceil();
        candidates
            .iter()
            .enumerate()
            .filter(|(_, candidate)| has_room(candidate))
            .max_by(|(_, one), (_, other)| self.score(one, key).total_cmp(&self.score(other, key)))
            .map(|(place, _)| place)
    }

    /// Exponentially distributed by weight, so that each target wins as often as its weight says.
    fn score(&self, candidate: &Candidate, key: u64) -> f64 {
        let target = self.targets.get(candidate.index).copied().unwrap_or_default();
        let drawn = (mix(key ^ target) >> 11) as f64 / (1u64 << 53) as f64;
        candidate.share / -(drawn.max(f64::MIN_POSITIVE)).ln()
    }
}

/// A number that stands for these bytes, today and in every version: FNV-1a, mixed.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold))
}

/// Spreads what differs in few bits over all of them: the finalizer of SplitMix64.
pub(crate) fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_follows_weights, candidate};
    use super::*;
    use proptest::prelude::*;

    fn rendezvous(targets: usize, load_max: f64) -> Rendezvous {
        let urls: Vec<String> = (0..targets).map(|number| format!("http://10.0.0.{number}:8000")).collect();
        Rendezvous::new(urls.iter().map(String::as_str), load_max)
    }

    fn idle(weights: &[u32]) -> Vec<Candidate> {
        let weights = weights.iter().enumerate();
        weights.map(|(index, weight)| candidate(index, f64::from(*weight), None, 0)).collect()
    }

    #[test]
    fn keys_spread_by_weight() {
        let (targets, weights) = (rendezvous(3, 1.25), [1, 2, 5]);
        let candidates = idle(&weights);
        let mut counts = [0; 3];
        for key in 0..20_000u64 {
            counts[targets.choose(&candidates, hash(&key.to_be_bytes())).unwrap()] += 1;
        }
        assert_follows_weights(&counts, &[1.0, 2.0, 5.0], 0.02);
    }

    #[test]
    fn the_hash_never_changes() {
        assert_eq!(hash(b"alice"), hash(b"alice"));
        assert_eq!(hash(b""), 17_665_956_581_633_026_203);
    }

    proptest! {
        /// A target that goes moves its own keys and no others, whichever it is and whatever the weights.
        #[test]
        fn one_that_goes_moves_only_its_own_keys(
            weights in prop::collection::vec(1u32..10, 2..8),
            gone in 0usize..8,
            keys in prop::collection::vec(any::<u64>(), 1..100),
        ) {
            let targets = rendezvous(weights.len(), 1.25);
            let all = idle(&weights);
            let gone = gone % weights.len();
            let left: Vec<Candidate> = all.iter().copied().filter(|one| one.index != gone).collect();
            for key in keys {
                let before = all[targets.choose(&all, key).unwrap()].index;
                let after = left[targets.choose(&left, key).unwrap()].index;
                prop_assert!(before == after || before == gone);
            }
        }

        /// Whatever keys come, nobody has more in flight than its bound when a request comes to it; and there is always
        /// somebody with room.
        #[test]
        fn loads_are_bounded(
            weights in prop::collection::vec(1u32..5, 1..8),
            keys in prop::collection::vec(0u64..3, 1..300),
            load_max in 1.0f64..3.0,
        ) {
            let targets = rendezvous(weights.len(), load_max);
            let mut all = idle(&weights);
            let sum: f64 = all.iter().map(|one| one.share).sum();
            for (placed, key) in keys.into_iter().enumerate() {
                let place = targets.choose(&all, hash(&key.to_be_bytes())).unwrap();
                all[place].in_flight += 1;
                let bound = (load_max * (placed + 1) as f64 * all[place].share / sum).ceil();
                prop_assert!(all[place].in_flight as f64 <= bound);
            }
        }
    }
}
