//! A running upstream: its targets, their shared state, and the choice between them.
//!
//! State that several workers must agree on (requests in flight, counts) belongs to the process and survives a reload:
//! it is found again by the names of upstream and target.

mod learned;
mod registry;
#[cfg(test)]
pub(crate) mod tests;

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use model::gateway::{Concurrency, Health as HealthRules, Hedge, Scheme};
use rustls::pki_types::ServerName;
use smallvec::SmallVec;

use crate::backlog::Backlog;
use crate::balance::{self, Affinity, Balancer, Candidate};
use crate::budget::RetryBudget;
use crate::check;
use crate::failure_share::{FailureShares, Tally};
use crate::health::{Admission, Condition, Health, Outcome, Sign};
use crate::idle_limit::IdleLimit;
use crate::latency::Latency;
use crate::limiter::Limiter;
use crate::probe;
use crate::queue::Full;
use crate::resolve::{Resolution, ResolvedName};
use crate::slot::{Choice, Slot, Undone, Wanted};
use crate::tail::Tail;
use crate::tls::{self, ClientTls};
use crate::waiting::{Patient, Waiting, WaitingRoom};
use crate::zone;

pub use learned::{LearnedTarget, LearnedUpstream};
use registry::Notices;
pub use registry::Registry;

/// An upstream that serves.
#[derive(Debug)]
pub struct Upstream {
    pub settings: Arc<model::gateway::Upstream>,
    pub targets: Vec<Arc<Target>>,
    budget: Mutex<RetryBudget>,
    balancer: Balancer,
    /// Some of its targets are in the zone of this gateway, and some are not.
    pub(crate) has_zones: bool,
    pub(crate) room: Arc<WaitingRoom>,
    tail: Tail,
    /// Held from the count of targets that are out to the ejection of one more: two workers must not take the last place
    /// for one both.
    ejecting: Mutex<FailureShares>,
    /// Where probes and checks run.
    runtime: tokio::runtime::Handle,
    notices: Notices,
    /// Its checks have begun.
    is_checked: AtomicBool,
    /// Another one serves under its name.
    pub(crate) superseded: AtomicBool,
    pub(crate) tls: Option<ClientTls>,
    /// The state of the certificate files it was made from.
    tls_files: u64,
}

/// A target that serves.
#[derive(Debug)]
pub struct Target {
    /// Unique in the process; pools know their connections by it. A target whose settings changed gets a new one.
    pub id: u64,
    pub settings: model::gateway::Target,
    /// `host:port` as a Host field wants it.
    pub authority: Box<str>,
    pub(crate) name: Option<ResolvedName>,
    pub(crate) server_name: Option<ServerName<'static>>,
    /// What the cookie of a sticky upstream says for it, see [`Affinity`].
    pub token: u64,
    pub state: Arc<TargetState>,
}

/// What the process knows of a target.
#[derive(Debug, Default)]
pub struct TargetState {
    health: Mutex<Health>,
    /// Its condition is that: read for every request.
    unreachable: AtomicBool,
    /// A connection was made at least once.
    accepted: AtomicBool,
    /// It was seen to acknowledge data after its FIN: what it did not answer may still have been executed.
    takes_after_fin: AtomicBool,
    tally: Tally,
    pub(crate) checks: check::Checks,
    pub(crate) probe: probe::Probe,
    pub latency: Latency,
    pub idle_limit: IdleLimit,
    pub(crate) limiter: Limiter,
    pub(crate) backlog: Backlog,
    /// Attempts under way, and those of them without the head of an answer.
    pub in_flight: AtomicUsize,
    pub awaiting: AtomicUsize,
    pub attempts: AtomicU64,
    pub failures: AtomicU64,
    /// Open connections, in use and idle.
    pub connections: AtomicUsize,
}

impl Target {
    fn candidate(&self, index: usize, share: f64, now: Instant) -> Candidate {
        Candidate {
            index,
            share: share * f64::from(self.settings.weight),
            latency: self.state.latency.average(now),
            in_flight: self.state.in_flight.load(Ordering::Relaxed),
            failures: self.state.lock().failures(),
        }
    }

    /// Whether a connection to this address is still one to this target: its name may have moved.
    pub(crate) fn is_at(&self, address: Option<SocketAddr>) -> bool {
        match (&self.name, address) {
            (Some(name), Some(address)) => name.still_means(address.ip()),
            _ => true,
        }
    }

    /// What its name resolves to now, for people who ask: none for a Unix socket and before the first answer; the
    /// reason if there has never been one.
    pub fn addresses(&self) -> Result<Arc<[IpAddr]>, Arc<str>> {
        match self.name.as_ref().map(ResolvedName::now) {
            Some(Resolution::Known(addresses)) => Ok(addresses),
            Some(Resolution::Failed(reason)) => Err(reason),
            Some(Resolution::Pending) | None => Ok(Arc::from([])),
        }
    }
}

impl Upstream {
    fn rules(&self) -> &HealthRules {
        &self.settings.health
    }

    /// Whether it can go on serving these settings: nothing in them changed, nor in the certificate files they name.
    pub fn is_current_for(&self, settings: &model::gateway::Upstream) -> bool {
        *self.settings == *settings && self.tls_files == tls::files_digest(&settings.tls)
    }

    /// A place at the target that suits best. `random` are 64 bits of chance.
    pub fn choose(self: &Arc<Self>, wanted: Wanted, now: Instant, random: u64) -> Choice {
        match self.pick(wanted, now, random) {
            Ok(Choice::Slot(slot)) => Choice::Slot(slot.taken()),
            Ok(choice) => choice,
            Err(Undone) => {
                self.room.slot_is_free();
                Choice::Full
            }
        }
    }

    /// The same for those who hold the lock of the waiting room.
    pub(crate) fn pick(
        self: &Arc<Self>,
        wanted: Wanted,
        now: Instant,
        random: u64,
    ) -> Result<Choice, Undone> {
        let Wanted { tried, may_try, regardless, affinity, .. } = wanted;
        if !regardless && self.out_until(now).is_some_and(|until| now < until) {
            return Ok(Choice::Out);
        }
        if let ([only], 0) = (&*self.targets, tried) {
            if !regardless && !self.has_room(only, wanted.streams, now) {
                return Ok(Choice::Full);
            }
            return Slot::take(self, only, 0, wanted).map(Choice::Slot);
        }
        let untried = || {
            let targets = self.targets.iter().enumerate();
            targets.filter(|(index, _)| *index >= 64 || tried & (1 << index) == 0)
        };
        // A client that stays with its target is not moved for a trial.
        let may_try = may_try && affinity.target.is_none();
        let mut candidates: SmallVec<[Candidate; 8]> = SmallVec::new();
        let mut is_full = false;
        for (index, target) in untried() {
            if !self.has_room(target, wanted.streams, now) {
                is_full |= target.state.admits(self.rules(), now);
                continue;
            }
            match target.state.admit(self.rules(), now, may_try) {
                Admission::Share(_) if affinity.target == Some(target.token) => {
                    return self.slot(index, wanted);
                }
                Admission::Share(share) => candidates.push(target.candidate(index, share, now)),
                Admission::Trial => {
                    let wanted = Wanted { regardless: true, ..wanted };
                    let slot = Slot::take(self, target, index, wanted)?;
                    return Ok(Choice::Slot(slot.on_trial()));
                }
                Admission::No => {}
            }
        }
        if self.has_zones {
            self.prefer_own_zone(&mut candidates, untried().map(|(_, target)| &**target), affinity, random);
        }
        match self.balancer.choose(&candidates, affinity, random) {
            Some(index) => self.slot(index, wanted),
            None if is_full && !regardless => Ok(Choice::Full),
            // All are out: the one that is soonest to be asked again is the least bad.
            None => match untried().min_by_key(|(_, target)| target.state.condition().badness(now)) {
                Some((index, _)) => self.slot(index, wanted),
                None => Ok(Choice::None),
            },
        }
    }

    fn slot(self: &Arc<Self>, index: usize, wanted: Wanted) -> Result<Choice, Undone> {
        let Some(target) = self.targets.get(index) else { return Ok(Choice::None) };
        Slot::take(self, target, index, wanted).map(Choice::Slot)
    }

    /// Whether the target is given one more request.
    fn has_room(&self, target: &Target, streams: bool, now: Instant) -> bool {
        let state = &target.state;
        match self.settings.concurrency {
            Concurrency::Adaptive => {
                streams
                    || state.awaiting.load(Ordering::SeqCst) < state.limiter.limit()
                    || state.limiter.is_outlived(now)
            }
            Concurrency::Fixed(limit) => state.in_flight.load(Ordering::SeqCst) < limit,
            Concurrency::Unlimited => true,
        }
    }

    /// The most requests that the target is given at once now, if there is a bound.
    pub fn concurrency_limit(&self, target: &Target) -> Option<usize> {
        match self.settings.concurrency {
            Concurrency::Adaptive => Some(target.state.limiter.limit()).filter(|limit| *limit < usize::MAX),
            Concurrency::Fixed(limit) => Some(limit),
            Concurrency::Unlimited => None,
        }
    }

    /// Whether a target has one of these schemes.
    pub fn has_target(&self, schemes: &[Scheme]) -> bool {
        self.targets.iter().any(|target| schemes.contains(&target.settings.scheme))
    }

    fn prefer_own_zone<'t>(
        &self,
        candidates: &mut SmallVec<[Candidate; 8]>,
        untried: impl Iterator<Item = &'t Target>,
        affinity: Affinity,
        random: u64,
    ) {
        let is_own = |index: usize| {
            self.targets.get(index).is_some_and(|target| target.settings.zone == self.settings.zone)
        };
        let untried = untried.filter(|target| target.settings.zone == self.settings.zone);
        let own = zone::Own {
            weight: untried.map(|target| f64::from(target.settings.weight)).sum(),
            admitted: candidates.iter().filter(|one| is_own(one.index)).map(|one| one.share).sum(),
        };
        // A key decides on its zone as well. Chance is mixed, because the choice that follows uses the same bits.
        let chance = (balance::mix(affinity.key.unwrap_or(random)) >> 32) as u32;
        zone::narrow(candidates, own, chance, is_own);
    }

    /// Whether its choice depends on the request.
    pub fn wants_affinity(&self) -> bool {
        matches!(self.balancer, Balancer::Hash(_)) || self.settings.stickiness.is_some()
    }

    /// Whether the word of a cookie stands for one of its targets.
    pub fn has_token(&self, token: u64) -> bool {
        self.targets.iter().any(|target| target.token == token)
    }

    /// Whether a client stays with the target that its cookie names, although this request went elsewhere: that one had no
    /// room, or did not do, and is not out for it.
    pub fn keeps(&self, token: u64, now: Instant) -> bool {
        let mut named = self.targets.iter().filter(|target| target.token == token);
        named.any(|target| target.state.admits(self.rules(), now))
    }

    /// Whether a target other than those tried would be admitted.
    pub fn has_other(&self, tried: u64, now: Instant) -> bool {
        self.others(tried, now).next().is_some()
    }

    /// The same, with room for one more request.
    pub fn has_other_with_room(&self, tried: u64, now: Instant) -> bool {
        self.others(tried, now).any(|target| self.has_room(target, false, now))
    }

    fn others(&self, tried: u64, now: Instant) -> impl Iterator<Item = &Arc<Target>> {
        self.targets.iter().enumerate().filter_map(move |(index, target)| {
            let was_tried = index < 64 && tried & (1 << index) != 0;
            (!was_tried && target.state.admits(self.rules(), now)).then_some(target)
        })
    }

    /// What an attempt that began at `began` says of its target.
    pub fn observe(&self, target: &Arc<Target>, began: Instant, now: Instant, outcome: Outcome) {
        let state = &target.state;
        if !matches!(outcome, Outcome::Unreachable(_)) && !state.accepted.load(Ordering::Relaxed) {
            state.accepted.store(true, Ordering::Relaxed);
        }
        match outcome {
            Outcome::Good => state.tally.good(),
            Outcome::Error(_) | Outcome::Faulty(_) => state.tally.failed(),
            Outcome::Unreachable(_) => {}
        }
        if outcome == Outcome::Good && state.lock().is_well() {
            return;
        }
        match self.judge(state, began, now, outcome) {
            Some(Condition::Unreachable { .. }) => {
                probe::watch(&self.runtime, target, &self.room);
                // The room takes note if it was the last one.
                self.room.grant(now);
            }
            // Also one that its checks keep out: it accepts, and may be asked for want of another.
            Some(Condition::Up { .. } | Condition::Down { .. }) => self.room.grant(now),
            Some(Condition::Ejected { .. } | Condition::Trial { .. }) | None => {}
        }
    }

    /// Moves the states of the target, and of one that does worse than its siblings. Gives the target's new condition if it
    /// changed.
    fn judge(
        &self,
        state: &TargetState,
        began: Instant,
        now: Instant,
        outcome: Outcome,
    ) -> Option<Condition> {
        let rules = self.rules();
        if outcome == Outcome::Good {
            // Nobody is ejected for it, so that nobody has to be counted.
            return state.observe(rules, began, now, outcome, false);
        }
        let mut shares = self.ejecting.lock().unwrap_or_else(PoisonError::into_inner);
        let tallies = || self.targets.iter().map(|other| other.state.tally.now());
        let outcome = match (outcome, &rules.failure_share) {
            (Outcome::Error(status), Some(share)) if state.lock().is_tried_for_share() => {
                let index = self.targets.iter().position(|target| std::ptr::eq(&*target.state, state));
                let fails = shares.are_others_well(share, now, tallies(), index.unwrap_or_default());
                if fails { Outcome::Faulty(Sign::Status(status)) } else { outcome }
            }
            _ => outcome,
        };
        let may_eject = self.may_eject();
        let changed = state.observe(rules, began, now, outcome, may_eject);
        if let (Some(share), Outcome::Error(_) | Outcome::Faulty(_)) = (&rules.failure_share, outcome)
            && let Some(excess) = shares.look(share, now, tallies())
            && self.may_eject()
            && let Some(worst) = self.targets.get(excess.index)
        {
            worst.state.lock().eject_for_share(rules, now, excess);
            shares.forget(excess.index);
        }
        changed
    }

    /// Whether one more target may be ejected. Asked before a state is locked: they are never locked within each other.
    fn may_eject(&self) -> bool {
        let out = self.targets.iter().filter(|target| !target.state.lock().is_up()).count();
        self.rules().may_eject(out, self.targets.len())
    }

    /// Serves from now on: slots are its own, its rules hold for what the process knows of its targets. To be called when
    /// nothing can be refused any more, also for an upstream that serves already.
    pub fn take_over(self: &Arc<Upstream>) {
        for target in &self.targets {
            if let Condition::Unreachable { .. } = target.state.condition() {
                probe::watch(&self.runtime, target, &self.room);
            }
            target.state.checks.hand_over(target);
            if self.rules().check.is_none() {
                target.state.lock().unchecked();
            }
        }
        if let Some(check) = &self.rules().check
            && !self.is_checked.swap(true, Ordering::Relaxed)
        {
            self.targets.iter().for_each(|target| check::start(self, target, check));
        }
        self.room.serve(self);
    }

    /// The upstream that has taken its place, for requests that have not begun with this one.
    pub fn successor(self: &Arc<Upstream>) -> Option<Arc<Upstream>> {
        if !self.superseded.load(Ordering::Relaxed) {
            return None;
        }
        self.room.serving().filter(|serving| !Arc::ptr_eq(serving, self))
    }

    pub(crate) fn runtime(&self) -> &tokio::runtime::Handle {
        &self.runtime
    }

    /// Tells people something about this upstream.
    pub(crate) fn tell(&self, notice: &str) {
        (self.notices.0)(&format!("upstream \"{}\": {notice}", self.settings.name));
    }

    /// What came of a check. That nobody can connect counts as when a request finds out.
    pub(crate) fn checked(&self, target: &Arc<Target>, now: Instant, result: &Result<(), check::Failed>) {
        let Some(check) = &self.rules().check else { return };
        match result {
            Err(check::Failed::Unreachable(fault)) => {
                self.observe(target, now, now, Outcome::Unreachable(*fault))
            }
            // Nobody knows how far it came.
            Err(check::Failed::TimedOut(_)) => {}
            Ok(()) | Err(check::Failed::Failure(_) | check::Failed::Said(_) | check::Failed::Status(_)) => {
                if target.state.reached(now) {
                    self.room.grant(now);
                }
            }
        }
        let text = result.as_ref().map_err(|failed| failed.text(&check.kind));
        let changed =
            target.state.lock().checked(check, now, text.as_ref().map(|_| ()).map_err(|why| &**why));
        let url = &target.settings.url;
        match changed {
            Some(Condition::Down { .. }) => {
                self.tell(&format!("{url} is down: {}", text.err().unwrap_or_default()));
            }
            Some(Condition::Up { .. }) => {
                self.tell(&format!("{url} is up again: its checks pass"));
                self.room.grant(now);
            }
            Some(Condition::Unreachable { .. } | Condition::Ejected { .. } | Condition::Trial { .. })
            | None => {}
        }
    }

    /// A request came; it earns a part of a retry.
    pub fn request(&self, now: Instant) {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner).request(now);
    }

    /// Whether the budget allows another attempt; it is then paid for.
    pub fn pay_retry(&self, now: Instant) -> bool {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner).retry(now)
    }

    /// Until when a target that accepts connections is waited for, while none does: for the first seconds of that, and not
    /// at all if none ever has. The time may be over.
    pub fn out_until(&self, now: Instant) -> Option<Instant> {
        if !self.is_out() {
            return None;
        }
        let mut began = None;
        let mut accepted = false;
        for target in &self.targets {
            let Condition::Unreachable { since } = target.state.condition() else { return None };
            began = began.max(Some(since));
            accepted |= target.state.accepted.load(Ordering::Relaxed);
        }
        began.map(|began| if accepted { began + self.settings.queue.wait } else { now })
    }

    /// When a target may next be asked that may not now.
    pub(crate) fn next_admission(&self, now: Instant) -> Option<Instant> {
        self.targets.iter().filter_map(|target| target.state.lock().next_admission(now)).min()
    }

    /// Whether a target waits for a request that may be its trial.
    pub(crate) fn has_trial(&self, now: Instant) -> bool {
        let is_due =
            |target: &Arc<Target>| target.state.lock().admission(self.rules(), now) == Admission::Trial;
        self.targets.iter().any(is_due)
    }

    /// Whether no target accepts connections.
    pub(crate) fn is_out(&self) -> bool {
        !self.targets.is_empty()
            && self.targets.iter().all(|target| target.state.unreachable.load(Ordering::Relaxed))
    }

    /// An answer took so long: for those who hedge.
    pub fn observe_tail(&self, took: Duration) {
        if self.settings.retries.hedge == Hedge::P95 {
            self.tail.observe(took);
        }
    }

    /// After how long a second attempt is made beside one that goes on, if that is wanted and known.
    pub fn hedge_after(&self) -> Option<Duration> {
        match self.settings.retries.hedge {
            Hedge::Off => None,
            Hedge::P95 => self.tail.p95(),
            Hedge::After(time) => Some(time),
        }
    }

    /// A place among those who wait.
    pub fn wait(self: &Arc<Self>, patient: Patient, now: Instant) -> Result<Waiting, Full> {
        self.room.enter(self, patient, now)
    }

    /// Requests that wait now.
    pub fn waiting(&self) -> usize {
        self.room.len()
    }

    /// In how long those who wait now will have been served, if it goes on as it does.
    pub fn queue_drains_in(&self) -> Duration {
        self.room.drains_in().unwrap_or(self.settings.queue.wait).min(RETRY_AFTER_MAX)
    }
}

/// Nobody is asked to come back later than that: much can change in a minute.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

impl TargetState {
    fn lock(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn takes_after_fin(&self) -> bool {
        self.takes_after_fin.load(Ordering::Relaxed)
    }

    pub fn set_takes_after_fin(&self) {
        self.takes_after_fin.store(true, Ordering::Relaxed);
    }

    pub fn condition(&self) -> Condition {
        self.lock().condition()
    }

    /// Why the target is out, in words; `None` while it is up.
    pub fn why(&self) -> Option<String> {
        self.lock().why()
    }

    /// Active checks that passed and failed, since the process began.
    pub fn checks(&self) -> (u64, u64) {
        self.checks.counts()
    }

    /// All that is known of it at this moment.
    pub(crate) fn health(&self) -> Health {
        self.lock().clone()
    }

    /// A probe or a check has connected. Says whether the target could not be reached until then.
    pub(crate) fn reached(&self, now: Instant) -> bool {
        self.accepted.store(true, Ordering::Relaxed);
        let mut health = self.lock();
        let is_news = health.reached(now);
        self.mirror(&health);
        is_news
    }

    fn observe(
        &self,
        rules: &HealthRules,
        began: Instant,
        now: Instant,
        outcome: Outcome,
        may_eject: bool,
    ) -> Option<Condition> {
        let mut health = self.lock();
        let changed = health.observe(rules, began, now, outcome, may_eject);
        self.mirror(&health);
        changed
    }

    /// Nobody was there for a trial that had been granted.
    pub(crate) fn give_trial_back(&self, now: Instant) {
        self.lock().give_trial_back(now);
    }

    /// Notes for those who do not take the lock.
    fn mirror(&self, health: &Health) {
        let is_unreachable = matches!(health.condition(), Condition::Unreachable { .. });
        self.unreachable.store(is_unreachable, Ordering::Relaxed);
    }

    /// Whether it gets requests that are no trial.
    fn admits(&self, rules: &HealthRules, now: Instant) -> bool {
        matches!(self.lock().admission(rules, now), Admission::Share(_))
    }

    /// How far the target is admitted; a trial has then begun.
    fn admit(&self, rules: &HealthRules, now: Instant, may_try: bool) -> Admission {
        let mut health = self.lock();
        match health.admission(rules, now) {
            Admission::Trial if !may_try && !health.is_overdue(now) => Admission::No,
            admission => {
                if admission == Admission::Trial {
                    health.begin_trial(now);
                }
                admission
            }
        }
    }
}
