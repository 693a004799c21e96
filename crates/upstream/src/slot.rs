//! A request's place at a target, from the choice of the target to the end of its answer.
//!
//! Who leaves counts down and then looks whether somebody waits; who waits is counted and then looks for room. One of the
//! two must see the other, or a request waits beside a free slot. So these four accesses (the counts of a target and the
//! length of its queue) are sequentially consistent; on x86 that costs nothing, as the counts are changed by locked
//! instructions anyway.

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
    /// It is the trial of a doubtful target, and nobody has taken it yet.
    is_untaken_trial: bool,
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
    /// Its body comes from the client while the target works on it: how long that takes says nothing of the target, and it
    /// does not count where the limit is learnt.
    pub streams: bool,
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

/// There was no room after all. For a moment a request was counted that is none: who looked meanwhile may have taken the
/// target for full.
#[derive(Debug)]
pub(crate) struct Undone;

impl Slot {
    /// A place at this target, if it has room.
    pub(crate) fn take(
        upstream: &Arc<Upstream>,
        target: &Arc<Target>,
        index: usize,
        wanted: Wanted,
    ) -> Result<Slot, Undone> {
        let state = &target.state;
        let awaits_head = !wanted.streams;
        let met = state.awaiting.fetch_add(usize::from(awaits_head), Ordering::SeqCst) + 1;
        let in_flight = state.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        let fits = match upstream.settings.concurrency {
            Concurrency::Adaptive => wanted.streams || met <= state.limiter.limit(),
            Concurrency::Fixed(limit) => in_flight <= limit,
            Concurrency::Unlimited => true,
        };
        if fits || wanted.regardless {
            let (upstream, target) = (upstream.clone(), target.clone());
            return Ok(Slot {
                upstream,
                target,
                index,
                met,
                awaits_head,
                passes_on: true,
                is_untaken_trial: false,
            });
        }
        state.awaiting.fetch_sub(usize::from(awaits_head), Ordering::SeqCst);
        state.in_flight.fetch_sub(1, Ordering::SeqCst);
        Err(Undone)
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
        state.awaiting.fetch_sub(1, Ordering::SeqCst);
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

    /// The target was given it for a trial.
    pub(crate) fn on_trial(mut self) -> Slot {
        self.is_untaken_trial = true;
        self
    }

    /// It is in the hands of the request.
    pub(crate) fn taken(mut self) -> Slot {
        self.is_untaken_trial = false;
        self
    }

    /// Nobody wants it; whoever gives slots goes on by themselves.
    pub(crate) fn give_back(mut self) {
        self.passes_on = false;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let state = &self.target.state;
        if self.is_untaken_trial {
            state.give_trial_back(Instant::now());
        }
        state.in_flight.fetch_sub(1, Ordering::SeqCst);
        if self.awaits_head {
            state.awaiting.fetch_sub(1, Ordering::SeqCst);
        }
        if self.passes_on {
            self.upstream.room.slot_is_free();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::tests;

    fn wanted(streams: bool) -> Wanted {
        Wanted { streams, ..tests::wanted() }
    }

    #[tokio::test]
    async fn what_streams_does_not_take_the_place_of_what_waits_for_an_answer() {
        let upstream = tests::upstream(&tests::registry(), "targets: [\"http://127.0.0.1:1\"]");
        let now = Instant::now();
        let [target] = &*upstream.targets else { panic!() };
        target.state.limiter.limit_to(1);
        let streams: Vec<_> = (0..3).map(|_| upstream.choose(wanted(true), now, 0)).collect();
        assert!(streams.iter().all(|choice| matches!(choice, Choice::Slot(_))));
        let Choice::Slot(mut slot) = upstream.choose(wanted(false), now, 0) else { panic!() };
        assert!(matches!(upstream.choose(wanted(false), now, 0), Choice::Full));
        slot.answered(now, None);
        assert!(matches!(upstream.choose(wanted(false), now, 0), Choice::Slot(_)));
        drop((slot, streams));
        let state = &target.state;
        let counts = [&state.in_flight, &state.awaiting].map(|count| count.load(Ordering::Relaxed));
        assert_eq!(counts, [0, 0]);
    }
}
