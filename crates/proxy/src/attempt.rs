//! The attempt loop: targets are tried until one answers, or until trying again would not be safe.

use std::sync::Arc;
use std::time::{Duration, Instant};

use model::gateway::{Concurrency, Scheme};
use model::{Ending, Exchange, Fault, PeerEnd, Phase, RetryRule};
use upstream::limiter::QUICK;
use upstream::{Affinity, Choice, Delivery, Failure, Lease, Slot, Target, Upstream};
use wire::{Framing, Known, RequestFacts};

use crate::attempt_log::{self, Before};
use crate::await_head::await_head;
use crate::client::Downstream;
use crate::collect::{self, Collected, Wanted};
use crate::exchange::{Context, Scratch, Stop};
use crate::forward::PathRewrite;
use crate::retry;
use crate::route::Destination;
use crate::upload::Upload;
use crate::wait;
use crate::watch::Watch;

/// A final response head has arrived.
#[derive(Debug)]
pub(crate) struct Answered {
    pub lease: Lease,
    pub destination: Arc<Destination>,
    /// That of the response.
    pub framing: Framing,
    /// The request may not all be out yet.
    pub upload: Upload,
    pub watch: Watch,
}

/// What an attempt works on.
pub(crate) struct Trial<'a, D> {
    pub ctx: Context<'a>,
    pub client: &'a mut D,
    pub scratch: &'a mut Scratch,
    pub facts: &'a RequestFacts,
    pub destination: &'a Arc<Destination>,
    pub rewrite: &'a PathRewrite,
    pub affinity: Affinity,
    pub record: &'a mut Exchange,
    /// What leads to its first attempt.
    pub before: Before,
}

/// An attempt came to nothing. One that the target is to blame for may be followed by another.
pub(crate) struct Failed {
    pub stop: Stop,
    pub lease: Option<Lease>,
    /// It is written down already, and its target judged; these were tried, a bit for each.
    pub settled: Option<u64>,
}

/// Where the attempts of an exchange stand.
struct Course {
    /// A bit per target that is not to be asked again.
    tried: u64,
    /// No pooled connection.
    fresh: bool,
    /// What leads to the next attempt.
    before: Before,
    /// Attempts that may still be made.
    left: usize,
    /// How often a target that had failed was asked again, for want of another.
    again: u32,
    /// What was waited for.
    slot: Option<Slot>,
    /// The failure of the attempt before, which stands if there is no place for another.
    failure: Option<Failure>,
    /// Until when targets that accept connections are waited for, in all outages together.
    patience: Option<Instant>,
    /// Before the next attempt.
    pause: Duration,
}

impl Course {
    /// From the beginning, or from where a target has come back.
    fn new(upstream: &Upstream) -> Course {
        Course {
            tried: 0,
            fresh: false,
            before: Before::default(),
            left: upstream.settings.retries.attempts,
            again: 0,
            slot: None,
            failure: None,
            patience: None,
            pause: Duration::ZERO,
        }
    }
}

/// Targets past the 64th are never left out.
pub(crate) fn bit(index: usize) -> u64 {
    if index < 64 { 1 << index } else { 0 }
}

/// Whether the target cannot have got the request, as far as its kernel tells. Asked where it has closed a connection
/// without a byte of an answer. A target that was seen to take something after its FIN is not asked again.
async fn is_undelivered(failure: &Failure, target: &Target, lease: Option<&Lease>) -> bool {
    let ended_by_fin = failure.fault == Fault::EarlyClose && failure.peer_end == Some(PeerEnd::Fin);
    let Some(lease) = lease.filter(|lease| ended_by_fin && lease.connection.counts().1 == 0) else {
        return false;
    };
    if target.state.takes_after_fin() {
        return false;
    }
    match lease.connection.delivery().await {
        Delivery::Undelivered => true,
        Delivery::TakenAfterFin => {
            target.state.set_takes_after_fin();
            false
        }
        Delivery::Unknown => false,
    }
}

/// Writes down an attempt that has failed, and what that says of its target.
pub(crate) fn settle(ctx: Context<'_>, record: &mut Exchange, lease: &Lease, stop: &Stop) {
    attempt_log::abandon(ctx, record, lease.target(), Some(lease), stop);
    let Stop::Upstream(failure) = stop else { return };
    let is_stale = retry::is_stale(attempt_log::current(record), failure, Some(lease));
    if let Some(outcome) = retry::outcome(failure, is_stale) {
        let began = attempt_log::began(ctx, attempt_log::current(record));
        lease.upstream().observe(lease.target(), began, ctx.worker.clock.tick(), outcome);
    }
}

impl<D: Downstream> Trial<'_, D> {
    /// Tries targets until one gives a final response head.
    pub(crate) async fn until_answered(mut self) -> Result<Answered, Stop> {
        let ctx = self.ctx;
        let mut upstream = self.destination.upstream.clone();
        upstream.request(ctx.worker.clock.now());
        self.collect(&upstream).await?;
        let mut course = Course::new(&upstream);
        course.before = self.before;
        loop {
            if !course.pause.is_zero() {
                Box::pin(self.pause(std::mem::take(&mut course.pause))).await?;
            }
            // A reload may have replaced it while the body came or the request paused. Its targets are others.
            if let Some(successor) = upstream.successor() {
                (upstream, course.tried) = (successor, 0);
                self.require_length(&upstream)?;
            }
            let slot = match self.choose(&upstream, &mut course) {
                Choice::Slot(slot) => slot,
                Choice::Full | Choice::Out => {
                    let failure = course.failure.take();
                    let (slot, waited) = Box::pin(self.wait(&upstream, failure, None, course.tried)).await?;
                    course.before.waited = Some(waited);
                    slot
                }
                Choice::None => return Err(Stop::refused(Phase::Queue, Fault::NoTarget)),
            };
            // A reload may have replaced it while the request waited.
            if !Arc::ptr_eq(&upstream, slot.upstream()) {
                upstream = slot.upstream().clone();
                self.require_length(&upstream)?;
            }
            let index = slot.index();
            let before = std::mem::take(&mut course.before);
            attempt_log::begin(ctx, self.record, self.destination, slot.target(), before);
            let made = self.record.attempts.len();
            let attempt = self.attempt(slot, course.fresh).await;
            // Hedging may have made two.
            course.left = course.left.saturating_sub(1 + self.record.attempts.len() - made);
            match attempt {
                Ok(mut answered) => {
                    if !self.is_worth_another(&mut answered, &mut course) {
                        return Ok(answered);
                    }
                }
                Err(failed) => Box::pin(self.after(failed, index, &upstream, &mut course)).await?,
            }
        }
    }

    /// The target of the next attempt. Who was let in once does not wait again until there is room.
    fn choose(&mut self, upstream: &Arc<Upstream>, course: &mut Course) -> Choice {
        if let Some(slot) = course.slot.take() {
            return Choice::Slot(slot);
        }
        let worker = self.ctx.worker;
        let random = worker.ids.borrow_mut().random();
        let wanted = upstream::Wanted {
            tried: course.tried,
            may_try: self.scratch.request.method.is_idempotent(),
            // A number that somebody has set is exact.
            regardless: !self.record.attempts.is_empty()
                && !matches!(upstream.settings.concurrency, Concurrency::Fixed(_)),
            streams: self.streams(),
            affinity: self.affinity,
        };
        upstream.choose(wanted, worker.clock.now(), random)
    }

    /// Judges an answer; whether another target may do better, and is asked.
    fn is_worth_another(&mut self, answered: &mut Answered, course: &mut Course) -> bool {
        let ctx = self.ctx;
        let now = ctx.worker.clock.now();
        let status = self.scratch.response.status;
        let Answered { lease: Lease { slot, connection, .. }, upload, .. } = answered;
        let began = attempt_log::began(ctx, attempt_log::current(self.record));
        slot.upstream().observe(slot.target(), began, now, retry::outcome_of_status(status));
        if !retry::is_bad_answer(status) {
            let took = upload.targets_time(attempt_log::current(self.record));
            // Where this worker was long in noticing the answer, the time is not the target's.
            let took = took.filter(|took| *took <= QUICK || ctx.worker.clock.busy_for() * 4 <= *took);
            if let Some(took) = took {
                slot.target().state.latency.observe(now, took);
                slot.upstream().observe_tail(took);
            }
            slot.answered(now, took);
            return false;
        }
        slot.answered(now, None);
        let (upstream, target) = (slot.upstream(), slot.target());
        let tried = course.tried | bit(slot.index());
        let is_idempotent = self.scratch.request.method.is_idempotent();
        let may =
            upstream.settings.retries.bad_answers && is_idempotent && course.left > 0 && self.has_body();
        if !(may && upstream.has_other_with_room(tried, now) && upstream.pay_retry(now)) {
            return false;
        }
        attempt_log::finish(ctx, self.record, target, now, connection.counts(), Ending::ANSWERED);
        course.tried = tried;
        course.before.why = Some(RetryRule::BadAnswer);
        course.pause = self.back_off(upstream);
        true
    }

    /// How long to wait before the next attempt.
    fn back_off(&self, upstream: &Upstream) -> Duration {
        let random = self.ctx.worker.ids.borrow_mut().random();
        wait::back_off(upstream.settings.retries.back_off, self.record.attempts.len(), random)
    }

    /// Decides how to go on after an attempt that came to nothing; the stop is that of the exchange if it ends here.
    async fn after(
        &mut self,
        failed: Failed,
        index: usize,
        upstream: &Arc<Upstream>,
        course: &mut Course,
    ) -> Result<(), Stop> {
        let ctx = self.ctx;
        let Failed { stop, lease, settled } = failed;
        let Some(target) = upstream.targets.get(index) else { return Err(stop) };
        if settled.is_none() {
            attempt_log::abandon(ctx, self.record, target, lease.as_ref(), &stop);
        }
        let Stop::Upstream(failure) = stop else { return Err(stop) };
        let attempt = attempt_log::current(self.record);
        // Boxed, like the other rare waits: an exchange is as large as everything that it may wait for.
        let undelivered = attempt.reuse.is_some()
            && settled.is_none()
            && upstream.settings.retries.undelivered
            && Box::pin(is_undelivered(&failure, target, lease.as_ref())).await;
        let attempt = attempt_log::current(self.record);
        let was_stale =
            settled.is_none() && (undelivered || retry::is_stale(attempt, &failure, lease.as_ref()));
        drop(lease);
        let now = ctx.worker.clock.tick();
        if settled.is_none()
            && let Some(outcome) = retry::outcome(&failure, was_stale)
        {
            let began = attempt_log::began(ctx, attempt_log::current(self.record));
            upstream.observe(target, began, now, outcome);
        }
        let any_method = upstream.settings.retries.non_idempotent;
        let facts = retry::Facts { failure: &failure, has_body: self.has_body(), undelivered, any_method };
        let Some(rule) = retry::after_failure(facts, &self.scratch.request) else {
            return Err(Stop::Upstream(failure));
        };
        course.before.why = Some(rule);
        course.fresh = was_stale;
        if !was_stale {
            course.tried |= settled.unwrap_or(bit(index));
        }
        let is_unsent = rule == RetryRule::Unsent;
        if (is_unsent || was_stale) && upstream.settings.retries.attempts > 1 {
            // Nobody has worked on it. The number of targets bounds such attempts, and that the next connection is fresh.
            course.left += 1;
        }
        if retry::costs(rule, was_stale) && !upstream.pay_retry(now) {
            return Err(Stop::Upstream(failure));
        }
        let has_choice = was_stale || upstream.has_other(course.tried, now);
        if let Some(until) = upstream.out_until(now).filter(|_| !has_choice) {
            let patience = *course.patience.get_or_insert(now + upstream.settings.queue.wait);
            if until.min(patience) <= now {
                return Err(Stop::Upstream(failure));
            }
            let (slot, waited) = Box::pin(self.wait(upstream, Some(failure), Some(patience), 0)).await?;
            course.before.waited = Some(waited);
            course.slot = Some(slot);
            // Another try is what was waited for.
            course.left = course.left.max(1);
            (course.tried, course.fresh) = (0, false);
            return Ok(());
        }
        if !has_choice {
            // It is alone, or the last, and accepts connections: asked again, because that is safe, unless that is of no use.
            // Most likely it is being restarted.
            let repeats_max = upstream.settings.retries.attempts as u32 - 1;
            if !retry::may_pass(&failure) || course.again >= repeats_max {
                return Err(Stop::Upstream(failure));
            }
            course.tried = 0;
            course.again += 1;
            course.pause = wait::before_the_same(course.again, ctx.worker.ids.borrow_mut().random());
        }
        if course.left == 0 {
            return Err(Stop::Upstream(failure));
        }
        course.failure = Some(failure);
        Ok(())
    }

    /// Reads the request body before a target is chosen, where that is for the better: a slow client keeps no worker waiting
    /// that serves one request at a time, and what was collected can be sent again.
    async fn collect(&mut self, upstream: &Upstream) -> Result<(), Stop> {
        let Some(wanted) = self.wanted(upstream) else { return Ok(()) };
        let (ctx, limits) = (self.ctx, upstream.settings.request_buffering);
        let timeouts = &self.destination.route.timeouts;
        self.scratch.is_collecting = true;
        self.scratch.collected = collect::body(ctx, self.client, timeouts, limits, wanted).await?;
        self.scratch.is_collecting = false;
        self.record.timeline.body_micros =
            self.scratch.collected.as_ref().map(|_| ctx.micros(ctx.worker.clock.now()));
        Ok(())
    }

    fn wanted(&self, upstream: &Upstream) -> Option<Wanted> {
        let wanted = match self.facts.framing {
            Framing::None | Framing::Close => return None,
            Framing::Length(length) => Wanted::Known(length),
            // The protocol of uwsgi tells the length first.
            Framing::Chunked if upstream.has_target(&[Scheme::Uwsgi]) => return Some(Wanted::Whole),
            Framing::Chunked => Wanted::Start,
        };
        let may = upstream.settings.request_buffering.enabled
            && upstream.has_target(&[Scheme::Http, Scheme::Uwsgi])
            && !self.facts.upgrade
            && !self.is_grpc();
        may.then_some(wanted)
    }

    /// A reload may have put uwsgi targets where there were none, while a body that is not held whole waited for one.
    fn require_length(&self, upstream: &Upstream) -> Result<(), Stop> {
        let is_whole = self.scratch.collected.as_ref().is_some_and(Collected::is_whole);
        match self.wanted(upstream) {
            Some(Wanted::Whole) if !is_whole => {
                Err(Stop::refused(Phase::Queue, Fault::RequestLengthRequired))
            }
            Some(Wanted::Whole | Wanted::Known(_) | Wanted::Start) | None => Ok(()),
        }
    }

    /// Whether the client is still to send some of the body while a target works on it.
    pub(crate) fn streams(&self) -> bool {
        let has_body = matches!(self.facts.framing, Framing::Chunked | Framing::Length(1..));
        has_body && !self.scratch.collected.as_ref().is_some_and(Collected::is_whole)
    }

    /// Whether the whole request can be sent again: what was read of its body is still held.
    pub(crate) fn has_body(&self) -> bool {
        let taken = self.client.counts().0.saturating_sub(self.client.piece().len() as u64);
        match &self.scratch.collected {
            Some(body) => body.is_whole() || body.length() == taken,
            None => taken == 0,
        }
    }

    async fn attempt(&mut self, slot: Slot, fresh: bool) -> Result<Answered, Failed> {
        let ctx = self.ctx;
        let mut lease = match self.acquire(slot, fresh).await {
            Ok(lease) => lease,
            Err(stop) => return Err(Failed { stop, lease: None, settled: None }),
        };
        if let Err(failure) = self.start(&mut lease) {
            return Err(Failed { stop: Stop::Upstream(failure), lease: Some(lease), settled: None });
        }
        if let Some(hedge) = self.hedge(&lease) {
            return Box::pin(hedge.race(self, lease)).await;
        }
        let mut upload = Upload::new(self.scratch.collected.as_ref());
        let mut watch = Watch::new(ctx.worker.clock.now(), self.body_rate());
        let mut timer = ctx.worker.lend_timer();
        let head = await_head(self, &mut lease, &mut upload, &mut watch, &mut timer).await;
        ctx.worker.return_timer(timer);
        match head {
            Ok(framing) => {
                Ok(Answered { lease, destination: self.destination.clone(), framing, upload, watch })
            }
            Err(stop) => Err(Failed { stop, lease: Some(lease), settled: None }),
        }
    }

    /// The pace that the request body must have. The messages of a gRPC stream come when there is something to say.
    pub(crate) fn body_rate(&self) -> u64 {
        if self.is_grpc() { 0 } else { self.ctx.listening.settings().limits.body_rate }
    }

    pub(crate) fn is_grpc(&self) -> bool {
        let kind = self.scratch.request.fields.get(Known::ContentType).unwrap_or_default();
        kind.get(..GRPC.len()).is_some_and(|start| start.eq_ignore_ascii_case(GRPC))
    }
}

/// The media type of gRPC and its variants begins so.
const GRPC: &[u8] = b"application/grpc";
