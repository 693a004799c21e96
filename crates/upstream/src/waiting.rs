//! Where requests wait for a slot at a target: all targets have as many requests as they are given, or none accepts
//! connections.
//!
//! Who leaves a target hands its slot to whoever waits longest, so that nobody who comes meanwhile is faster. The queue
//! belongs to the upstream's name and outlives a reload; slots are those of the upstream that serves now.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use model::gateway::{Criticality, Queue as Rules};
use tokio::sync::oneshot;

use crate::balance::Affinity;
use crate::queue::{Queue, Ticket, Verdict};
use crate::slot::{Choice, Slot, Wanted};
use crate::target::Upstream;

/// Those who wait for one upstream.
#[derive(Debug)]
pub(crate) struct WaitingRoom {
    inner: Mutex<Inner>,
    length: AtomicUsize,
}

#[derive(Debug)]
struct Inner {
    queue: Queue<Waiter>,
    /// The upstream that serves now.
    upstream: Weak<Upstream>,
    /// Chance, for the choice between targets.
    random: u64,
}

#[derive(Debug)]
struct Waiter {
    sender: oneshot::Sender<Slot>,
    patient: Patient,
}

/// A request that waits.
#[derive(Clone, Copy, Debug)]
pub struct Patient {
    pub criticality: Criticality,
    /// What is held in memory of its body.
    pub bytes: u64,
    /// It may be the trial of a doubtful target.
    pub may_try: bool,
    /// See [`Wanted::tried`].
    pub tried: u64,
    /// See [`Wanted::streams`].
    pub streams: bool,
    /// Where it would like to go.
    pub affinity: Affinity,
}

/// A place in the queue; dropping it gives it up, and what it had just been given goes to the next one.
#[derive(Debug)]
pub struct Waiting {
    room: Arc<WaitingRoom>,
    rules: Rules,
    ticket: Ticket,
    slot: oneshot::Receiver<Slot>,
}

/// The place went to somebody more critical, or there was none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// Because the queue stands, and is kept to what it serves in time.
    pub standing: bool,
}

/// How long a place may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    Until(Instant),
    /// The limit of a queue that stands was reached, or else that of the wait.
    Over {
        standing: bool,
    },
}

impl Default for WaitingRoom {
    fn default() -> WaitingRoom {
        let inner = Inner { queue: Queue::default(), upstream: Weak::new(), random: 0x9e37_79b9_7f4a_7c15 };
        WaitingRoom { inner: Mutex::new(inner), length: AtomicUsize::new(0) }
    }
}

impl WaitingRoom {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn len(&self) -> usize {
        self.length.load(Ordering::Relaxed)
    }

    /// In how long those who wait now will have left, if it goes on as it does; `None` where nobody has left yet.
    pub(crate) fn drains_in(&self) -> Option<Duration> {
        self.lock().queue.drains_in()
    }

    /// From now on slots are those of this upstream.
    pub(crate) fn serve(&self, upstream: &Arc<Upstream>) {
        self.lock().upstream = Arc::downgrade(upstream);
    }

    /// Takes a place, or finds none.
    pub(crate) fn enter(
        self: &Arc<Self>,
        rules: &Rules,
        patient: Patient,
        now: Instant,
    ) -> Result<Waiting, Full> {
        let (sender, slot) = oneshot::channel();
        let waiter = Waiter { sender, patient };
        let mut inner = self.lock();
        let entered = inner.queue.enter(rules, now, patient.criticality, patient.bytes, waiter);
        self.length.store(inner.queue.len(), Ordering::Relaxed);
        drop(inner);
        // Those who lost their place see it by their dropped sender.
        let (ticket, _displaced) = entered.map_err(|none| Full { standing: none.standing })?;
        // There may have come room since the request found none.
        self.grant(now);
        Ok(Waiting { room: self.clone(), rules: *rules, ticket, slot })
    }

    /// Targets accept again.
    pub(crate) fn open(&self, now: Instant) {
        self.lock().queue.open(now);
        self.grant(now);
    }

    /// Somebody has left a target.
    pub(crate) fn slot_is_free(&self) {
        if self.len() > 0 {
            self.grant(Instant::now());
        }
    }

    /// Gives those who wait what room there is.
    pub(crate) fn grant(&self, now: Instant) {
        if self.len() == 0 {
            return;
        }
        let mut inner = self.lock();
        let Some(upstream) = inner.upstream.upgrade() else { return };
        loop {
            let random = inner.chance();
            let mut slot = None;
            let next = inner.queue.next_if(now, |waiter| {
                let Patient { tried, may_try, streams, affinity, .. } = waiter.patient;
                let wanted = Wanted { tried, may_try, regardless: false, streams, affinity };
                if let Choice::Slot(chosen) = upstream.choose(wanted, now, random) {
                    slot = Some(chosen);
                }
                slot.is_some()
            });
            let (Some(waiter), Some(slot)) = (next, slot) else { break };
            // One that is just leaving gives it back, and the next one gets it.
            if let Err(slot) = waiter.sender.send(slot) {
                slot.give_back();
            }
        }
        self.length.store(inner.queue.len(), Ordering::Relaxed);
    }
}

impl Inner {
    fn chance(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

impl Waiting {
    /// Ready with a slot, or when the place is lost.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Slot, Full>> {
        Pin::new(&mut self.slot).poll(cx).map_err(|_| Full { standing: false })
    }

    /// Whether the place may be kept; `out_until`: until when an upstream of which no target accepts is waited for.
    pub fn patience(&self, now: Instant, out_until: Option<Instant>) -> Patience {
        match out_until {
            Some(until) if now < until => Patience::Until(until),
            Some(_) => Patience::Over { standing: false },
            None => match self.room.lock().queue.verdict(&self.rules, self.ticket, now) {
                Verdict::Until(until) => Patience::Until(until),
                Verdict::Over { standing } => Patience::Over { standing },
            },
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut inner = self.room.lock();
        inner.queue.leave(self.ticket);
        self.room.length.store(inner.queue.len(), Ordering::Relaxed);
    }
}
