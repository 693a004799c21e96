//! By chance alone, as likely as the weight.

use super::Candidate;

/// The place in the list of the one that is chosen.
pub(super) fn choose(candidates: &[Candidate], random: u64) -> Option<usize> {
    weighted(candidates, (random >> 32) as u32, |_, _| true)
}

/// One of those that may be taken, as likely as its share.
pub(super) fn weighted(
    candidates: &[Candidate],
    random: u32,
    may_take: impl Fn(usize, &Candidate) -> bool,
) -> Option<usize> {
    let others = || candidates.iter().enumerate().filter(|(place, candidate)| may_take(*place, candidate));
    let sum: f64 = others().map(|(_, candidate)| candidate.share).sum();
    let mut point = sum * f64::from(random) / 4_294_967_296.0;
    let mut last = None;
    for (place, candidate) in others() {
        last = Some(place);
        if point < candidate.share {
            break;
        }
        point -= candidate.share;
    }
    last
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_follows_weights, candidate, counts};
    use super::*;

    #[test]
    fn weights_are_followed() {
        let candidates = [1.0, 2.0, 5.0].map(|share| candidate(0, share, None, 0));
        let counts = counts(&candidates, |random| choose(&candidates, random));
        assert_follows_weights(&counts, &[1.0, 2.0, 5.0], 0.02);
        assert_eq!(choose(&[], 7), None);
    }
}
