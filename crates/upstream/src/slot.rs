//! A request's place at a target, from the choice of the target to the end of its answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use model::gateway::Concurrency;

use crate::balance::Affinity;
use crate::target::{Target, Upstream};

/// A place at a target. Dropping it gives it to whoever waits.
#[derive(Debug)]
pub struct Slot {
    upstream: Arc<Upstream>,
    target: Arc<Target>,
    /// The target's place in its upstream.
    index: usize,
    /// Requests without an answer that were there when this one came, itself included.
    met: usize,
    awaits_head: bool,
    passes_on: bool,
}

/// Which target is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Those already tried, a bit per index; targets past the 64th are never left out.
    pub tried: u64,
    /// The request may be the trial of a doubtful target.
    pub may_try: bool,
    /// Whether or not there is room: the request was let in already.
    pub regardless: bool,
    /// Where it would like to go.
    pub affinity: Affinity,
}

/// What there is for a request.
#[derive(Debug)]
pub enum Choice {
    Slot(Slot),
    /// Every target has as many requests as it is given.
    Full,
    /// No target accepts connections, and not for so long that none is waited for.
    Out,
    /// There is no target that was not tried.
    None,
}

impl Slot {
    /// A place at this target, if it has room.
    pub(crate) fn take(
        upstream: &Arc<Upstream>,
        target: &Arc<Target>,
        index: usize,
        regardless: bool,
    ) -> Option<Slot> {
        let state = &target.state;
        let met = state.awaiting.fetch_add(1, Ordering::Relaxed) + 1;
        let in_flight = state.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        let fits = match upstream.settings.concurrency {
            Concurrency::Adaptive => met <= state.limiter.limit(),
            Concurrency::Fixed(limit) => in_flight <= limit,
            Concurrency::Unlimited => true,
        };
        if fits || regardless {
            let (upstream, target) = (upstream.clone(), target.clone());
            return Some(Slot { upstream, target, index, met, awaits_head: true, passes_on: true });
        }
        state.awaiting.fetch_sub(1, Ordering::Relaxed);
        state.in_flight.fetch_sub(1, Ordering::Relaxed);
        None
    }

    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    pub fn target(&self) -> &Arc<Target> {
        &self.target
    }

    pub fn index(&self) -> usize {
        self.index
    }

    /// The head of the answer is there: `took` after the request had begun, if that says something of the target.
    pub fn answered(&mut self, now: Instant, took: Option<Duration>) {
        if !std::mem::take(&mut self.awaits_head) {
            return;
        }
        let state = &self.target.state;
        state.awaiting.fetch_sub(1, Ordering::Relaxed);
        if self.upstream.settings.concurrency == Concurrency::Adaptive {
            if let Some(took) = took
                && state.limiter.observe(now, took, self.met)
            {
                self.upstream.room.grant(now);
            }
            // The target may work on the next one.
            self.upstream.room.slot_is_free();
        }
    }

    /// Nobody wants it; whoever gives slots goes on by themselves.
    pub(crate) fn give_back(mut self) {
        self.passes_on = false;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let state = &self.target.state;
        state.in_flight.fetch_sub(1, Ordering::Relaxed);
        if self.awaits_head {
            state.awaiting.fetch_sub(1, Ordering::Relaxed);
        }
        if self.passes_on {
            self.upstream.room.slot_is_free();
        }
    }
}
