//! How the targets of an upstream stand now, for people and metrics: nothing here is asked on the way of a request.

use std::time::{Duration, Instant};

use crate::health::{Admission, Condition, Ejections};
use crate::target::{Target, Upstream};
use crate::zone;

/// How a target stands.
#[derive(Clone, Debug)]
pub struct Standing {
    pub condition: Condition,
    /// Why it is out, in words.
    pub why: Option<String>,
    /// How long its ejection lasts.
    pub ejection: Option<Duration>,
    /// The part of new requests that it gets by weight, 0 to 1: what is admitted of it, and of its zone. What latency, load,
    /// keys and cookies make of it is not in it.
    pub share: f64,
    /// Ejections in a row so far.
    pub ejections_in_a_row: u32,
    /// Ejections since the process began.
    pub ejected: Ejections,
    /// Active checks that passed and failed, since the process began.
    pub checks: (u64, u64),
}

impl Upstream {
    /// How each target stands, in their order.
    pub fn standings(&self, now: Instant) -> Vec<Standing> {
        let mut standings: Vec<Standing> =
            self.targets.iter().map(|target| standing(target, &self.settings.health, now)).collect();
        if let [only] = standings.as_mut_slice() {
            // Nobody else can be asked.
            only.share = 1.0;
            return standings;
        }
        let is_own = |target: &Target| !self.has_zones || target.settings.zone == self.settings.zone;
        let sum = |owns: bool| -> f64 {
            let pairs = self.targets.iter().zip(&standings);
            pairs.filter(|(target, _)| is_own(target) == owns).map(|(_, standing)| standing.share).sum()
        };
        let (own, others) = (sum(true), sum(false));
        let owns = self.targets.iter().filter(|target| is_own(target));
        let weight = owns.map(|target| f64::from(target.settings.weight)).sum();
        let stays = match (own > 0.0, others > 0.0) {
            (true, true) => zone::Own { weight, admitted: own }.stays(),
            (true, false) => 1.0,
            (false, _) => 0.0,
        };
        for (target, standing) in self.targets.iter().zip(&mut standings) {
            let (part, of) = if is_own(target) { (stays, own) } else { (1.0 - stays, others) };
            standing.share = if of > 0.0 { standing.share / of * part } else { 0.0 };
        }
        standings
    }
}

/// With what is admitted of its weight as share.
fn standing(target: &Target, rules: &model::gateway::Health, now: Instant) -> Standing {
    let health = target.state.health();
    let condition = health.condition();
    let ejection = match condition {
        Condition::Ejected { since, until } => Some(until.saturating_duration_since(since)),
        Condition::Up { .. }
        | Condition::Unreachable { .. }
        | Condition::Trial { .. }
        | Condition::Down { .. } => None,
    };
    let admitted = match health.admission(rules, now) {
        Admission::Share(share) => share,
        Admission::Trial | Admission::No => 0.0,
    };
    Standing {
        condition,
        why: health.why(),
        ejection,
        share: admitted * f64::from(target.settings.weight),
        ejections_in_a_row: health.ejections(),
        ejected: health.ejected(),
        checks: target.state.checks(),
    }
}
