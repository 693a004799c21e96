//! A running upstream: its targets, their shared state, and the choice between them.
//!
//! State that several workers must agree on (requests in flight, counts) belongs to the process and survives a reload:
//! it is found again by the names of upstream and target.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use model::gateway::{Endpoint, Scheme};
use rustls::pki_types::ServerName;
use smallvec::SmallVec;
use tokio::sync::Notify;

use crate::balance::{Candidate, choose};
use crate::budget::RetryBudget;
use crate::health::{Admission, Condition, Health, HealthRules, Outcome};
use crate::idle_limit::IdleLimit;
use crate::latency::Latency;
use crate::probe;
use crate::resolve::{Resolution, ResolvedName, Resolver};
use crate::tls::{self, CertificateError, ClientTls};

/// An upstream that serves.
#[derive(Debug)]
pub struct Upstream {
    pub settings: Arc<model::gateway::Upstream>,
    pub targets: Vec<Arc<Target>>,
    rules: HealthRules,
    budget: Mutex<RetryBudget>,
    waiters: Arc<Waiters>,
    /// Where probes run.
    runtime: tokio::runtime::Handle,
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
    pub state: Arc<TargetState>,
}

/// What the process knows of a target.
#[derive(Debug, Default)]
pub struct TargetState {
    health: Mutex<Health>,
    /// A connection was made at least once.
    accepted: AtomicBool,
    /// It was seen to acknowledge data after its FIN: what it did not answer may still have been executed.
    takes_after_fin: AtomicBool,
    pub latency: Latency,
    pub idle_limit: IdleLimit,
    /// Attempts under way.
    pub in_flight: AtomicUsize,
    pub attempts: AtomicU64,
    pub failures: AtomicU64,
    /// Open connections, in use and idle.
    pub connections: AtomicUsize,
}

/// The state of each target that somebody uses, by the names of upstream and target.
type States = HashMap<(Arc<str>, Arc<str>), Weak<TargetState>>;

/// Everything of upstreams that belongs to the process. One per process.
#[derive(Debug)]
pub struct Registry {
    pub resolver: Arc<Resolver>,
    states: Mutex<States>,
    next_id: AtomicU64,
}

impl Registry {
    pub fn new(resolver: Arc<Resolver>) -> Registry {
        Registry { resolver, states: Mutex::default(), next_id: AtomicU64::new(1) }
    }

    /// Makes an upstream ready to serve. An unchanged one is to be kept by the caller, with its connections.
    pub fn upstream(
        &self,
        settings: &Arc<model::gateway::Upstream>,
    ) -> Result<Arc<Upstream>, CertificateError> {
        // Before they are used: a change in between is then seen by the next reload.
        let tls_files = tls::files_digest(&settings.tls);
        let needs_tls = settings.targets.iter().any(|target| target.scheme == Scheme::Https);
        let tls = if needs_tls { Some(tls::client_tls(&settings.tls)?) } else { None };
        let targets = settings
            .targets
            .iter()
            .map(|target| self.target(settings, target))
            .collect::<Result<Vec<_>, _>>()?;
        let upstream = Arc::new(Upstream {
            settings: settings.clone(),
            targets,
            rules: HealthRules::default(),
            budget: Mutex::new(RetryBudget::new(Instant::now())),
            waiters: Arc::default(),
            runtime: self.resolver.runtime().clone(),
            tls,
            tls_files,
        });
        // The probe of before, if the state is an earlier configuration's, ends with its target.
        for target in &upstream.targets {
            if let Condition::Unreachable { .. } = target.state.condition() {
                upstream.probe(target);
            }
        }
        Ok(upstream)
    }

    fn target(
        &self,
        upstream: &model::gateway::Upstream,
        settings: &model::gateway::Target,
    ) -> Result<Arc<Target>, CertificateError> {
        let key = (upstream.name.clone(), settings.url.clone());
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        states.retain(|_, state| state.strong_count() > 0);
        let state = states.get(&key).and_then(Weak::upgrade).unwrap_or_default();
        states.insert(key, Arc::downgrade(&state));
        drop(states);
        let (name, authority) = match &settings.endpoint {
            Endpoint::Host { host, port } => {
                let name = match host.parse() {
                    Ok(address) => ResolvedName::fixed(address),
                    Err(_) => self.resolver.name(host),
                };
                let default_port = if settings.scheme == Scheme::Https { 443 } else { 80 };
                let host = if host.contains(':') { format!("[{host}]") } else { host.to_string() };
                (Some(name), if *port == default_port { host } else { format!("{host}:{port}") })
            }
            Endpoint::Unix(_) => (None, "localhost".to_owned()),
        };
        let server_name = match (&settings.scheme, &upstream.tls.server_name, &settings.endpoint) {
            (Scheme::Https, Some(name), _) => Some(name.to_string()),
            (Scheme::Https, None, Endpoint::Host { host, .. }) => Some(host.to_string()),
            _ => None,
        };
        let server_name = server_name
            .map(|name| {
                ServerName::try_from(name.clone())
                    .map_err(|_| format!("\"{name}\" cannot be a TLS server name"))
            })
            .transpose()?;
        Ok(Arc::new(Target {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            settings: settings.clone(),
            authority: authority.into(),
            name,
            server_name,
            state,
        }))
    }
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
    /// Whether it can go on serving these settings: nothing in them changed, nor in the certificate files they name.
    pub fn is_current_for(&self, settings: &model::gateway::Upstream) -> bool {
        *self.settings == *settings && self.tls_files == tls::files_digest(&settings.tls)
    }

    /// The next target, leaving out those already tried (a bit per index; targets past the 64th are never left out).
    /// `random` are 64 bits of chance; `may_try` says whether the request may be the trial of a doubtful target.
    pub fn pick(
        &self,
        tried: u64,
        now: Instant,
        random: u64,
        may_try: bool,
    ) -> Option<(usize, &Arc<Target>)> {
        if let ([only], 0) = (&*self.targets, tried) {
            return Some((0, only));
        }
        let untried = || {
            let targets = self.targets.iter().enumerate();
            targets.filter(|(index, _)| *index >= 64 || tried & (1 << index) == 0)
        };
        let mut candidates: SmallVec<[Candidate; 8]> = SmallVec::new();
        for (index, target) in untried() {
            match target.state.admit(&self.rules, now, may_try) {
                Admission::Share(share) => candidates.push(target.candidate(index, share, now)),
                Admission::Trial => return Some((index, target)),
                Admission::No => {}
            }
        }
        let index = match choose(&candidates, random) {
            Some(index) => index,
            // All are out: the one that is soonest to be asked again is the least bad.
            None => untried().min_by_key(|(_, target)| target.state.condition().badness(now))?.0,
        };
        self.targets.get(index).map(|target| (index, target))
    }

    /// Whether a target other than those tried would be admitted.
    pub fn has_other(&self, tried: u64, now: Instant) -> bool {
        self.targets.iter().enumerate().any(|(index, target)| {
            let was_tried = index < 64 && tried & (1 << index) != 0;
            !was_tried && matches!(target.state.lock().admission(&self.rules, now), Admission::Share(_))
        })
    }

    /// What an attempt says of its target.
    pub fn observe(&self, target: &Arc<Target>, now: Instant, outcome: Outcome) {
        let state = &target.state;
        if outcome != Outcome::Unreachable && !state.accepted.load(Ordering::Relaxed) {
            state.accepted.store(true, Ordering::Relaxed);
        }
        if outcome == Outcome::Good && state.lock().is_well() {
            return;
        }
        // Counted before the lock: states are never locked within each other.
        let out = self.targets.iter().filter(|other| !other.state.lock().is_up()).count();
        let may_eject = (out + 1) * 2 <= self.targets.len();
        let changed = state.lock().observe(&self.rules, now, outcome, may_eject);
        if let Some(Condition::Unreachable { .. }) = changed {
            self.probe(target);
        }
        if let Some(Condition::Up { .. }) = changed {
            self.waiters.accepting.notify_waiters();
        }
    }

    /// Watches a target that cannot be reached.
    fn probe(&self, target: &Arc<Target>) {
        self.runtime.spawn(probe::until_accepting(Arc::downgrade(target), self.waiters.clone()));
    }

    /// A request came; it earns a part of a retry.
    pub fn request(&self, now: Instant) {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner).request(now);
    }

    /// Whether the budget allows another attempt; it is then paid for.
    pub fn pay_retry(&self, now: Instant) -> bool {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner).retry(now)
    }

    /// Until when a request may wait for a target that accepts connections: only while none does, for the first seconds of
    /// that, and if one ever has.
    pub fn wait_until(&self, now: Instant) -> Option<Instant> {
        let mut began = None;
        let mut accepted = false;
        for target in &self.targets {
            let Condition::Unreachable { since } = target.state.condition() else { return None };
            began = began.max(Some(since));
            accepted |= target.state.accepted.load(Ordering::Relaxed);
        }
        let until = began? + OUTAGE_MAX;
        (accepted && now < until).then_some(until)
    }

    /// A place among those who wait; `None` when there are too many.
    pub fn wait(&self) -> Option<Waiting> {
        let before = self.waiters.count.fetch_add(1, Ordering::Relaxed);
        // Given back by the drop.
        let waiting = Waiting(self.waiters.clone());
        (before < WAITERS_MAX).then_some(waiting)
    }

    /// Requests that wait now.
    pub fn waiting(&self) -> usize {
        self.waiters.count.load(Ordering::Relaxed)
    }
}

/// How long after its last target stopped accepting an upstream is waited for.
const OUTAGE_MAX: Duration = Duration::from_secs(5);
/// Requests of one upstream that may wait at once.
const WAITERS_MAX: usize = 1_000;

/// Who waits for a target that accepts.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    pub accepting: Notify,
    count: AtomicUsize,
}

/// A place among those who wait.
#[derive(Debug)]
pub struct Waiting(Arc<Waiters>);

impl Waiting {
    /// Ready when a target has begun to accept. Made before the targets are looked at once more, it misses none.
    pub fn accepting(&self) -> tokio::sync::futures::Notified<'_> {
        self.0.accepting.notified()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
    }
}

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

    /// Ejections in a row so far.
    pub fn ejections(&self) -> u32 {
        self.lock().ejections()
    }

    /// A probe has connected.
    pub(crate) fn reached(&self, now: Instant) {
        self.accepted.store(true, Ordering::Relaxed);
        self.lock().reached(now);
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
