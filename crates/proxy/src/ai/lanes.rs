//! Which lane is asked next.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ai::{Class, Protocol};
use model::Usage;
use model::gateway::{LaneChoice, Provider, ProviderKey};

use super::ask::Ask;
use super::offer::Source;
use super::rest::LaneRest;
use crate::admit::Estimate;
use crate::route::Destination;

/// A lane that may be asked.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(super) source: Arc<Source>,
    pub(super) model: Arc<str>,
    pub(super) protocol: Protocol,
    pub(super) destination: Arc<Destination>,
    pub(super) key: Option<Arc<ProviderKey>>,
    pub(super) rest: LaneRest,
    pub(super) weight: u32,
}

/// The lane that is asked.
#[derive(Debug)]
pub(crate) struct Lane {
    index: usize,
    pub(super) provider: Arc<Provider>,
    pub(super) model: Arc<str>,
    pub(super) protocol: Protocol,
    pub(super) destination: Arc<Destination>,
    pub(super) key: Option<Arc<ProviderKey>>,
    pub(super) rest: LaneRest,
}

impl Lane {
    /// Google streams a JSON array to clients that do not ask for server-sent events.
    pub(super) fn is_json_array(&self, ask: &Ask) -> bool {
        self.protocol == Protocol::Gemini && ask.wants_array()
    }
}

/// The lanes of one request, in their order.
#[derive(Debug)]
pub(crate) struct Plan {
    candidates: Vec<Candidate>,
    /// Not to be asked any more.
    done: Vec<bool>,
    /// The one to ask next, whatever the order.
    next: Option<usize>,
    asked_again: bool,
}

/// How it goes on after a lane has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    None,
    Other,
    /// The same lane again, after a pause: there is no other, and it may have been an accident.
    Same,
}

impl Plan {
    pub(crate) fn new(mut candidates: Vec<Candidate>, choose: LaneChoice, random: u64, now: Instant) -> Plan {
        match choose {
            LaneChoice::InOrder => {}
            LaneChoice::Weighted => weighted(&mut candidates, random),
            // A latency fades while one looks at it: each is looked at once, or there is no order.
            LaneChoice::Cheapest => candidates.sort_by_cached_key(price),
            LaneChoice::Fastest => candidates.sort_by_cached_key(|candidate| latency(candidate, now)),
        }
        let done = vec![false; candidates.len()];
        Plan { candidates, done, next: None, asked_again: false }
    }

    /// What a call may use, for limits: four bytes are about a token in most languages, and as much comes out as may. The first lane's
    /// prices count.
    pub(crate) fn estimate<'a>(&self, ask: &'a Ask) -> Estimate<'a> {
        /// Where the client sets no bound: answers are rarely longer.
        const OUTPUT_TOKENS: u64 = 1000;
        let usage = Usage {
            input: ask.body.len() as u64 / 4,
            output: ask.scan.output_max.unwrap_or(OUTPUT_TOKENS),
            ..Usage::default()
        };
        let first = self.candidates.first();
        let cost =
            first.and_then(|lane| ai::catalogue::cost(&lane.source.settings.kind, &lane.model, &usage));
        Estimate { model: ask.model(), tokens: usage.total(), cost_nanos: cost.unwrap_or(0) }
    }

    /// The next lane: the first that does not rest, else the one whose rest ends first, if nobody tries it already.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Lane> {
        if let Some(index) = self.next.take() {
            return self.lane(index);
        }
        let open =
            || self.candidates.iter().enumerate().filter(|(index, _)| self.done.get(*index) == Some(&false));
        if let Some((index, _)) = open().find(|(_, candidate)| candidate.rest.until(now).is_none()) {
            return self.lane(index);
        }
        let mut resting: Vec<(Instant, usize)> =
            open().filter_map(|(index, candidate)| Some((candidate.rest.until(now)?, index))).collect();
        resting.sort_unstable();
        let tried = |(_, index): &&(Instant, usize)| {
            self.candidates.get(*index).is_some_and(|candidate| candidate.rest.try_anyway(now))
        };
        let (_, index) = resting.iter().find(tried)?;
        self.lane(*index)
    }

    fn lane(&self, index: usize) -> Option<Lane> {
        let candidate = self.candidates.get(index)?;
        Some(Lane {
            index,
            provider: candidate.source.settings.clone(),
            model: candidate.model.clone(),
            protocol: candidate.protocol,
            destination: candidate.destination.clone(),
            key: candidate.key.clone(),
            rest: candidate.rest.clone(),
        })
    }

    /// How long until the first of them is asked again.
    pub(crate) fn rests_for(&self, now: Instant) -> Duration {
        let until = self.candidates.iter().filter_map(|candidate| candidate.rest.until(now)).min();
        until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    /// Leaves out what would fail in the same way, and says how it goes on.
    pub(crate) fn after(&mut self, lane: &Lane, class: Class, now: Instant) -> After {
        self.leave_out(|index, candidate| match class {
            Class::Client => true,
            Class::RateLimited => index == lane.index,
            Class::Credentials | Class::NoMoney => same_key(candidate, lane),
            // Another key does not make a model larger, known or well.
            Class::ContextTooLong => {
                same_model(candidate, lane)
                    || context(candidate) <= ai::catalogue::context(&lane.provider.kind, &lane.model)
            }
            Class::ModelUnknown | Class::Overloaded | Class::Server | Class::Unreadable => {
                same_model(candidate, lane)
            }
        });
        let is_open = self.done.contains(&false);
        let rests = |candidate: &Candidate| candidate.rest.until(now).is_some();
        let open = self.candidates.iter().zip(&self.done).filter(|(_, done)| !**done);
        let has_fresh = open.clone().any(|(candidate, _)| !rests(candidate));
        if has_fresh || (is_open && !matches!(class, Class::Overloaded | Class::Server | Class::Unreadable)) {
            return After::Other;
        }
        let may_be_accident = matches!(class, Class::Overloaded | Class::Server | Class::Unreadable);
        if may_be_accident && !self.asked_again && !is_open {
            self.asked_again = true;
            self.next = Some(lane.index);
            return After::Same;
        }
        if is_open { After::Other } else { After::None }
    }

    fn leave_out(&mut self, which: impl Fn(usize, &Candidate) -> bool) {
        for (index, (candidate, done)) in self.candidates.iter().zip(&mut self.done).enumerate() {
            *done |= which(index, candidate);
        }
    }
}

fn same_model(candidate: &Candidate, lane: &Lane) -> bool {
    candidate.source.settings.name == lane.provider.name && candidate.model == lane.model
}

fn same_key(candidate: &Candidate, lane: &Lane) -> bool {
    candidate.source.settings.name == lane.provider.name && candidate.key == lane.key
}

fn context(candidate: &Candidate) -> u64 {
    ai::catalogue::context(&candidate.source.settings.kind, &candidate.model)
}

/// By chance and weight which one is first; the others stay in their order.
fn weighted(candidates: &mut Vec<Candidate>, random: u64) {
    let mut lanes: Vec<(Arc<Source>, Arc<str>, u32)> = Vec::new();
    for candidate in candidates.iter() {
        if !lanes
            .iter()
            .any(|(source, model, _)| Arc::ptr_eq(source, &candidate.source) && *model == candidate.model)
        {
            lanes.push((candidate.source.clone(), candidate.model.clone(), candidate.weight));
        }
    }
    let total: u64 = lanes.iter().map(|(_, _, weight)| u64::from(*weight)).sum();
    let mut point = random % total.max(1);
    let chosen = lanes.iter().find(|(_, _, weight)| {
        let weight = u64::from(*weight);
        let is_here = point < weight;
        point = point.saturating_sub(weight);
        is_here
    });
    if let Some((source, model, _)) = chosen {
        let is_first =
            |candidate: &Candidate| Arc::ptr_eq(&candidate.source, source) && candidate.model == *model;
        let (first, rest): (Vec<_>, Vec<_>) = candidates.drain(..).partition(|candidate| is_first(candidate));
        candidates.extend(first);
        candidates.extend(rest);
    }
}

/// Of a token in and one out; what is not known is dearest.
fn price(candidate: &Candidate) -> u64 {
    ai::catalogue::model(&candidate.source.settings.kind, &candidate.model)
        .and_then(|model| Some(model.prices.input? + model.prices.output?))
        .unwrap_or(u64::MAX)
}

/// That of the provider's first bytes of late.
fn latency(candidate: &Candidate, now: Instant) -> Duration {
    let target = candidate.destination.upstream.targets.first();
    target.map_or(Duration::MAX, |target| target.state.latency.average(now).unwrap_or(Duration::ZERO))
}
