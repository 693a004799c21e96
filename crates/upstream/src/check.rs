//! Active checks: each target is asked from time to time, whether requests come or not.
//!
//! One task per target, on the runtime of probes. It ends when its upstream or its target is gone, and rests while a later
//! configuration's task is in charge. How a check goes out is in `check/exchange.rs`; what it means for the
//! target is decided in `health.rs`.

mod exchange;
mod http2;

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use model::gateway::{Check, CheckKind};
use model::{Fault, Party};
use tokio::time::{sleep, timeout};

use crate::failure::Failure;
use crate::target::{Target, Upstream};

/// Why a check did not pass.
#[derive(Debug)]
pub(crate) enum Failed {
    /// No connection could be made: requests would not get through either.
    Unreachable(Fault),
    Failure(Failure),
    Status(u16),
    /// The application says that it does not serve, or not so that it can be understood.
    Said(String),
    TimedOut(Duration),
}

/// Checks of one target.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    /// The target whose task is in charge: that of the latest configuration that is still there.
    in_charge: Mutex<Weak<Target>>,
    passed: AtomicU64,
    failed: AtomicU64,
}

impl Checks {
    /// The target whose checks count from now on, with or without any.
    pub(crate) fn hand_over(&self, target: &Arc<Target>) {
        *self.in_charge.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(target);
    }

    /// Whether this target's task is to check. One whose configuration is gone gives the charge to one that is still used.
    fn is_in_charge(&self, target: &Arc<Target>) -> bool {
        let mut in_charge = self.in_charge.lock().unwrap_or_else(PoisonError::into_inner);
        if in_charge.strong_count() == 0 {
            *in_charge = Arc::downgrade(target);
        }
        std::ptr::eq(in_charge.as_ptr(), Arc::as_ptr(target))
    }

    /// How many have passed and failed since the process began.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.passed.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }
}

/// What a check is called in messages. Without the values of a query: they may be secret.
fn name(kind: &CheckKind) -> String {
    match kind {
        CheckKind::Grpc { service } if service.is_empty() => "check grpc".to_owned(),
        CheckKind::Grpc { service } => format!("check grpc {service}"),
        CheckKind::Http { path, .. } => {
            format!("check GET {}", path.split_once('?').map_or(&**path, |(path, _)| path))
        }
        CheckKind::Tcp => "check tcp".to_owned(),
    }
}

impl Failed {
    pub(crate) fn text(&self, kind: &CheckKind) -> String {
        let name = name(kind);
        match self {
            Failed::Unreachable(fault) => format!("{name}: {fault}"),
            Failed::Failure(Failure { fault, detail: Some(detail), .. }) => {
                format!("{name}: {fault} ({detail})")
            }
            Failed::Failure(Failure { fault, .. }) => format!("{name}: {fault}"),
            Failed::Status(status) => format!("{name} answered {status}"),
            Failed::Said(said) => format!("{name} {said}"),
            Failed::TimedOut(limit) => format!("{name} was not answered within {limit:?}"),
        }
    }
}

/// Begins to check a target.
pub(crate) fn start(upstream: &Arc<Upstream>, target: &Arc<Target>, check: &Check) {
    let run = run(Arc::downgrade(upstream), Arc::downgrade(target), check.clone());
    upstream.runtime().spawn(run);
}

async fn run(upstream: Weak<Upstream>, target: Weak<Target>, check: Check) {
    let random = RandomState::new();
    // The first one comes soon: until then nothing is known.
    sleep(check.interval.mul_f64(chance(&random, 0) / 10.0)).await;
    for number in 1.. {
        {
            let (Some(upstream), Some(target)) = (upstream.upgrade(), target.upgrade()) else { return };
            let checks = &target.state.checks;
            if checks.is_in_charge(&target) {
                let result = once(&upstream, &target, &check).await;
                // The charge may have changed meanwhile; and our own trouble says nothing of the target.
                if checks.is_in_charge(&target) && is_the_targets(&result) {
                    note(&upstream, &target, &check, &result, number == 1);
                }
            }
        }
        sleep(jittered(check.interval, chance(&random, number))).await;
    }
}

/// A number from 0 to 1.
fn chance(random: &RandomState, number: u64) -> f64 {
    random.hash_one(number) as f64 / u64::MAX as f64
}

/// A tenth more or less, so that instances do not check in step.
fn jittered(interval: Duration, chance: f64) -> Duration {
    interval.mul_f64(0.9 + 0.2 * chance)
}

async fn once(upstream: &Upstream, target: &Target, check: &Check) -> Result<(), Failed> {
    match timeout(check.timeout, exchange::ask(upstream, target, &check.kind)).await {
        Ok(result) => result,
        Err(_) => Err(Failed::TimedOut(check.timeout)),
    }
}

/// Whether the target has brought it about, and not a lack of descriptors or the like.
fn is_the_targets(result: &Result<(), Failed>) -> bool {
    match result {
        Err(Failed::Failure(failure)) => failure.fault.party() == Party::Upstream,
        Ok(()) | Err(Failed::Unreachable(_) | Failed::Status(_) | Failed::Said(_) | Failed::TimedOut(_)) => {
            true
        }
    }
}

fn note(
    upstream: &Upstream,
    target: &Arc<Target>,
    check: &Check,
    result: &Result<(), Failed>,
    is_first: bool,
) {
    let checks = &target.state.checks;
    let counter = if result.is_ok() { &checks.passed } else { &checks.failed };
    counter.fetch_add(1, Ordering::Relaxed);
    if let (true, Err(Failed::Status(404))) = (is_first, result) {
        upstream.tell(&format!(
            "{} of {} is answered 404: name a path that its application has, or 404 in `status`",
            name(&check.kind),
            target.settings.url
        ));
    }
    upstream.checked(target, Instant::now(), result);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_trouble_says_nothing_of_the_target() {
        let failed = |fault| Err(Failed::Failure(Failure::new(model::Phase::Connect, fault)));
        assert!(!is_the_targets(&failed(Fault::Overloaded)));
        assert!(!is_the_targets(&failed(Fault::Internal)));
        assert!(is_the_targets(&failed(Fault::EarlyClose)) && is_the_targets(&failed(Fault::TlsFailed)));
    }

    #[test]
    fn intervals_differ_by_a_tenth() {
        let second = Duration::from_secs(1);
        let jittered = |chance| jittered(second, chance).as_millis();
        assert_eq!((jittered(0.0), jittered(0.5), jittered(1.0)), (900, 1_000, 1_100));
        let random = RandomState::new();
        let chances: Vec<f64> = (0..100).map(|number| chance(&random, number)).collect();
        assert!(chances.iter().all(|chance| (0.0..=1.0).contains(chance)));
        assert!(chances.iter().any(|one| (one - chances[0]).abs() > 0.1));
    }
}
