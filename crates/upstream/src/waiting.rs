//! Where requests wait for a slot at a target: all targets have as many requests as they are given, or none accepts
//! connections.
//!
//! Who leaves a target hands its slot to whoever waits longest, so that nobody who comes meanwhile is faster. The queue
//! belongs to the upstream's name and outlives a reload; slots are those of the upstream that serves now.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use model::gateway::{Criticality, Queue as Rules};
use tokio::sync::oneshot;
use tokio::time::sleep_until;

use crate::balance::Affinity;
use crate::queue::{Entered, Full, Queue, Ticket, Verdict};
use crate::slot::{Choice, Slot, Wanted};
use crate::target::Upstream;

/// How often room is looked for while somebody waits.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Those who wait for one upstream.
#[derive(Debug)]
pub(crate) struct WaitingRoom {
    inner: Mutex<Inner>,
    /// Of the queue, for those who leave a target; see [`crate::slot`] for its order.
    length: AtomicUsize,
}

#[derive(Debug)]
struct Inner {
    queue: Queue<Waiter>,
    /// The upstream that serves now.
    upstream: Weak<Upstream>,
    /// None of its targets accepted connections when that was last looked at.
    is_out: bool,
    /// When room is looked for next although nobody has given it.
    alarm: Option<Instant>,
    /// Chance, for the choice between targets.
    random: u64,
}

#[derive(Debug)]
struct Waiter {
    sender: oneshot::Sender<Result<Slot, Full>>,
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
    slot: oneshot::Receiver<Result<Slot, Full>>,
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
        let inner = Inner {
            queue: Queue::default(),
            upstream: Weak::new(),
            is_out: false,
            alarm: None,
            random: 0x9e37_79b9_7f4a_7c15,
        };
        WaitingRoom { inner: Mutex::new(inner), length: AtomicUsize::new(0) }
    }
}

impl WaitingRoom {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn len(&self) -> usize {
        self.length.load(Ordering::SeqCst)
    }

    /// In how long those who wait now will have left, if it goes on as it does; `None` where nobody has left yet.
    pub(crate) fn drains_in(&self) -> Option<Duration> {
        self.lock().queue.drains_in()
    }

    /// From now on slots are those of this upstream.
    pub(crate) fn serve(self: &Arc<Self>, upstream: &Arc<Upstream>) {
        let mut inner = self.lock();
        if !std::ptr::eq(inner.upstream.as_ptr(), Arc::as_ptr(upstream)) {
            if let Some(before) = inner.upstream.upgrade() {
                before.superseded.store(true, Ordering::Relaxed);
            }
            inner.upstream = Arc::downgrade(upstream);
            // Its targets are others.
            inner.queue.values_mut().for_each(|waiter| waiter.patient.tried = 0);
        }
        drop(inner);
        // It may have room where there was none.
        self.grant(Instant::now());
    }

    /// The upstream whose slots are given.
    pub(crate) fn serving(&self) -> Option<Arc<Upstream>> {
        self.lock().upstream.upgrade()
    }

    /// Takes a place, or finds none.
    pub(crate) fn enter(
        self: &Arc<Self>,
        upstream: &Arc<Upstream>,
        patient: Patient,
        now: Instant,
    ) -> Result<Waiting, Full> {
        let rules = upstream.settings.queue;
        let (sender, slot) = oneshot::channel();
        // A client that stays with its target is not moved for a trial.
        let may_try = patient.may_try && patient.affinity.target.is_none();
        let mut waiter = Waiter { sender, patient: Patient { may_try, ..patient } };
        let mut inner = self.lock();
        if inner.upstream.strong_count() == 0 {
            // The name is gone from the configuration; those who came before that are served all the same.
            inner.upstream = Arc::downgrade(upstream);
        }
        let serving = inner.look(now);
        if serving.is_some_and(|serving| !Arc::ptr_eq(&serving, upstream)) {
            waiter.patient.tried = 0;
        }
        let entered = inner.queue.enter(&rules, now, patient.criticality, patient.bytes, waiter);
        self.length.store(inner.queue.len(), Ordering::SeqCst);
        drop(inner);
        let Entered { ticket, displaced } = entered?;
        for (waiter, why) in displaced {
            // One that is just leaving need not know.
            let _ = waiter.sender.send(Err(why));
        }
        // There may have come room since the request found none.
        self.grant(now);
        Ok(Waiting { room: self.clone(), rules, ticket, slot })
    }

    /// Somebody has left a target.
    pub(crate) fn slot_is_free(self: &Arc<Self>) {
        if self.len() > 0 {
            self.grant(Instant::now());
        }
    }

    /// Gives those who wait what room there is. It locks even where nobody waits: a change that it is called for may be made
    /// while somebody comes. To be called whenever there may be more of it: somebody has left, a target is
    /// back, another upstream serves. The end of an ejection is seen to here.
    pub(crate) fn grant(self: &Arc<Self>, now: Instant) {
        let mut inner = self.lock();
        let Some(upstream) = inner.look(now) else { return };
        while let Some((waiter, slot)) = inner.next(&upstream, now) {
            // One that is just leaving gives it back, and the next one gets it.
            if let Err(Ok(slot)) = waiter.sender.send(Ok(slot)) {
                slot.give_back();
            }
        }
        self.length.store(inner.queue.len(), Ordering::SeqCst);
        if inner.queue.len() > 0 {
            self.set_alarm(&mut inner, &upstream, now);
        }
    }

    /// Looks again when time alone may have brought room: the next target may be tried, or a limit has grown old.
    fn set_alarm(self: &Arc<Self>, inner: &mut Inner, upstream: &Upstream, now: Instant) {
        let at = upstream.next_admission(now).unwrap_or(now + LOOK_EVERY).min(now + LOOK_EVERY);
        if inner.alarm.is_some_and(|alarm| alarm <= at) {
            return;
        }
        inner.alarm = Some(at);
        let room = Arc::downgrade(self);
        upstream.runtime().spawn(async move {
            sleep_until(at.into()).await;
            if let Some(room) = room.upgrade() {
                let mut inner = room.lock();
                inner.alarm = inner.alarm.filter(|alarm| *alarm != at);
                drop(inner);
                room.grant(Instant::now());
            }
        });
    }
}

impl Inner {
    /// The upstream that serves now. Notices whether somebody can go on who could not, whatever the queue.
    fn look(&mut self, now: Instant) -> Option<Arc<Upstream>> {
        let upstream = self.upstream.upgrade()?;
        let was_out = std::mem::replace(&mut self.is_out, upstream.is_out());
        if was_out && !self.is_out {
            self.queue.open(now);
        }
        Some(upstream)
    }

    /// The next one to go on, and where.
    fn next(&mut self, upstream: &Arc<Upstream>, now: Instant) -> Option<(Waiter, Slot)> {
        let random = self.chance();
        let mut slot = None;
        let front = Cell::new(None);
        let mut is_served = |waiter: &Waiter| {
            front.set(Some(waiter.patient));
            let Patient { tried, may_try, streams, affinity, .. } = waiter.patient;
            let wanted = Wanted { tried, may_try, regardless: false, streams, affinity };
            // One that is undone here is seen by those who come to this lock.
            if let Ok(Choice::Slot(chosen)) = upstream.pick(wanted, now, random) {
                slot = Some(chosen);
            }
            slot.is_some()
        };
        let mut next = self.queue.next_if(now, |_| true, &mut is_served);
        if let (None, Some(front)) = (&next, front.get()) {
            // There may be something that is of no use to the first one, who loses nothing: a doubtful target that it may not be
            // a trial for, or one that it has tried.
            let has_trial = !front.may_try && upstream.has_trial(now);
            let is_freer = |Waiter { patient, .. }: &Waiter| {
                (has_trial && patient.may_try) || front.tried & !patient.tried != 0
            };
            next = self.queue.next_if(now, is_freer, &mut is_served);
        }
        next.zip(slot)
    }

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
        // Nobody leaves the queue without a word; the room is held here.
        Pin::new(&mut self.slot).poll(cx).map(|came| came.unwrap_or(Err(Full::Length)).map(Slot::taken))
    }

    /// Whether the place may be kept. `outage_end`: no outage is waited for longer than that.
    pub fn patience(&self, now: Instant, outage_end: Option<Instant>) -> Patience {
        let mut inner = self.room.lock();
        // Of the one that serves now: it may have a target that is well, where that of before had none.
        let out_until = inner.look(now).and_then(|upstream| upstream.out_until(now));
        let out_until = out_until.map(|until| outage_end.map_or(until, |end| until.min(end)));
        match inner.queue.verdict(&self.rules, self.ticket, now, out_until) {
            Verdict::Until(until) => Patience::Until(until),
            Verdict::Over { standing } => Patience::Over { standing },
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut inner = self.room.lock();
        inner.queue.leave(self.ticket);
        self.room.length.store(inner.queue.len(), Ordering::SeqCst);
    }
}
