//! Targets of the own zone are preferred while enough of them are up. Pure, given chance.
//!
//! The own zone takes everything as long as 70% of its weight is admitted: that much less can be borne for a while (Envoy's
//! overprovisioning factor of 1.4). Below, the rest goes to the other zones in proportion; a target that returns slowly
//! counts as much as it is admitted.

use smallvec::SmallVec;

use crate::balance::Candidate;

/// The part of the own zone's weight that can bear all of its requests.
const ENOUGH: f64 = 0.7;

/// Where the candidates of a choice are.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Own {
    /// The weight of all targets of the own zone that could be asked.
    pub weight: f64,
    /// What of it is admitted.
    pub admitted: f64,
}

impl Own {
    /// The part of the requests that stays in the zone.
    pub(crate) fn stays(self) -> f64 {
        (self.admitted / self.weight / ENOUGH).min(1.0)
    }
}

/// Leaves the candidates of the own zone, or those of the others; all, where one side has none.
pub(crate) fn narrow(
    candidates: &mut SmallVec<[Candidate; 8]>,
    own: Own,
    chance: u32,
    is_own: impl Fn(usize) -> bool,
) {
    let owns = candidates.iter().filter(|candidate| is_own(candidate.index)).count();
    if owns == 0 || owns == candidates.len() {
        return;
    }
    let stays = f64::from(chance) / 4_294_967_296.0 < own.stays();
    candidates.retain(|candidate| is_own(candidate.index) == stays);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of ten thousand requests stay in the zone when of its targets these shares are admitted.
    fn stay(admitted: &[f64], others: usize) -> usize {
        let own = Own { weight: admitted.len() as f64, admitted: admitted.iter().sum() };
        let up = admitted.iter().enumerate().filter(|(_, share)| **share > 0.0);
        let mut all: SmallVec<[Candidate; 8]> = up
            .map(|(index, share)| Candidate {
                index,
                share: *share,
                latency: None,
                in_flight: 0,
                failures: 0,
            })
            .collect();
        for index in 0..others {
            all.push(Candidate { index: 100 + index, share: 1.0, latency: None, in_flight: 0, failures: 0 });
        }
        let mut stayed = 0;
        for step in 0..10_000u32 {
            let mut candidates = all.clone();
            narrow(&mut candidates, own, step * (u32::MAX / 10_000), |index| index < 100);
            let owns = candidates.iter().filter(|one| one.index < 100).count();
            assert!(owns == 0 || owns == candidates.len() || others == 0);
            stayed += usize::from(owns > 0);
        }
        stayed
    }

    #[test]
    fn the_zone_takes_everything_while_enough_of_it_is_up() {
        assert_eq!(stay(&[1.0, 1.0, 1.0, 1.0], 2), 10_000);
        assert_eq!(stay(&[1.0, 1.0, 1.0, 0.0], 2), 10_000, "three quarters are enough");
    }

    #[test]
    fn below_that_it_spills_over_in_proportion() {
        assert_eq!(stay(&[1.0, 1.0, 0.0, 0.0], 2), 7_143, "a half of 70%");
        assert_eq!(stay(&[1.0, 0.0, 0.0, 0.0], 2), 3_572);
        assert_eq!(stay(&[0.0, 0.0], 2), 0);
        assert_eq!(stay(&[1.0, 0.05], 2), 7_501, "one returns slowly");
    }

    #[test]
    fn without_another_zone_there_is_nowhere_to_go() {
        assert_eq!(stay(&[1.0, 0.0, 0.0, 0.0], 0), 10_000);
    }
}
