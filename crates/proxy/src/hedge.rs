//! Hedging: where the first attempt of an idempotent request takes longer than nearly all do, a second one is made beside
//! it at another target, and the first good answer counts. The other attempt is given up.
//!
//! The second attempt knows no client: what it sends is held here, and what it gets is looked at by who races.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Instant;

use bytes::Bytes;
use model::gateway::Hedge;
use model::{Attempt, Ending, Fault, Limit, LimitName, Phase, RetryRule};
use upstream::{Affinity, Choice, DialTimes, Failure, Lease, Slot, UploadFailure, Upstream};
use wire::{Framing, RequestHead, ResponseHead};

use crate::attempt::{Answered, Failed, Trial, bit};
use crate::attempt_log::{self, Before};
use crate::await_head::await_head;
use crate::client::Downstream;
use crate::connect;
use crate::deadline::Deadline;
use crate::exchange::{self, Context, Stop};
use crate::forward::PathRewrite;
use crate::retry;
use crate::route::Destination;
use crate::upload::Upload;
use crate::watch::Watch;
use crate::whole::Whole;

/// What a second attempt is made of, and when.
pub(crate) struct Hedging<'a> {
    at: Instant,
    ctx: Context<'a>,
    upstream: Arc<Upstream>,
    /// A bit for the target of the first attempt.
    tried: u64,
    affinity: Affinity,
    destination: &'a Arc<Destination>,
    rewrite: &'a PathRewrite,
    request: RequestHead,
    framing: Framing,
    body: Bytes,
}

/// A second attempt under way, and its record.
struct Second<'a> {
    record: Rc<RefCell<Attempt>>,
    target: Arc<upstream::Target>,
    answer: Pin<Box<dyn Future<Output = Result<Answer, Lost>> + 'a>>,
}

/// The conversation of a second attempt.
struct Talk {
    lease: Lease,
    request: RequestHead,
    body: Whole,
    /// The request is all out. It need not be when the answer comes.
    is_sent: bool,
    response: ResponseHead,
}

/// It has an answer, whose body is still to come.
struct Answer {
    talk: Talk,
    framing: Framing,
}

/// It came to nothing.
struct Lost {
    lease: Option<Lease>,
    failure: Failure,
}

/// Who was first.
enum Winner<'a> {
    First(Result<Framing, Stop>, Option<Second<'a>>),
    /// With the failure of the first one, if it had failed by then.
    Second(Box<Answer>, Second<'a>, Option<Stop>),
}

impl<'a, D: Downstream> Trial<'a, D> {
    /// Whether a second attempt may follow beside the one that begins now.
    pub(crate) fn hedge(&self, lease: &Lease) -> Option<Hedging<'a>> {
        let upstream = lease.upstream();
        if upstream.settings.retries.hedge == Hedge::Off {
            return None;
        }
        let held = match &self.scratch.collected {
            Some(body) if body.is_whole() && body.file().is_none() => body.bytes().clone(),
            Some(_) => return None,
            None => Bytes::new(),
        };
        let may = self.record.attempts.len() == 1
            && upstream.settings.retries.attempts > 1
            // A client that stays with its target has a session there.
            && upstream.settings.stickiness.is_none()
            && self.scratch.request.method.is_idempotent()
            && self.has_body()
            && (self.scratch.collected.is_some() || self.facts.framing == Framing::None)
            && !self.facts.upgrade
            && !self.is_grpc();
        let after = upstream.hedge_after().filter(|_| may)?;
        Some(Hedging {
            at: self.ctx.worker.clock.now() + after,
            ctx: self.ctx,
            upstream: upstream.clone(),
            tried: bit(lease.slot.index()),
            affinity: self.affinity,
            destination: self.destination,
            rewrite: self.rewrite,
            request: self.scratch.request.clone(),
            framing: self.framing(),
            body: held,
        })
    }
}

impl<'a> Hedging<'a> {
    /// Waits for the answer of the first attempt, and for that of a second one when its time has come.
    pub(crate) async fn race<D: Downstream>(
        self,
        trial: &mut Trial<'a, D>,
        mut lease: Lease,
    ) -> Result<Answered, Failed> {
        let ctx = self.ctx;
        let mut upload = Upload::new(trial.scratch.collected.as_ref());
        let mut watch = Watch::new(ctx.worker.clock.now(), trial.body_rate());
        let mut timer = Deadline::default();
        let mut failed = Vec::new();
        let winner = {
            let mut first = pin!(await_head(trial, &mut lease, &mut upload, &mut watch, &mut timer));
            self.winner(first.as_mut(), &mut failed).await
        };
        ctx.worker.clock.tick();
        // Before the one that stands last: that is the one which goes on.
        let place = trial.record.attempts.len() - 1;
        for attempt in failed {
            trial.record.attempts.insert(place, attempt);
        }
        let destination = self.destination.clone();
        match winner {
            Winner::First(result, second) => {
                if let Some(second) = second {
                    let attempt = second.give_up(ctx);
                    trial.record.attempts.insert(place, attempt);
                }
                match result {
                    Ok(framing) => Ok(Answered { lease, destination, framing, upload, watch }),
                    Err(stop) => Err(Failed { stop, lease: Some(lease) }),
                }
            }
            Winner::Second(answer, second, stop) => {
                self.lose(trial, lease, stop);
                let Answer { talk: Talk { lease, body, is_sent, response, .. }, framing } = *answer;
                trial.record.attempts.push(second.record());
                trial.scratch.response = response;
                exchange::set_request_id(&mut trial.scratch.response.fields, trial.record);
                let upload = Upload::going_on(body, is_sent);
                Ok(Answered { lease, destination, framing, upload, watch })
            }
        }
    }

    async fn winner(
        &self,
        mut first: Pin<&mut impl Future<Output = Result<Framing, Stop>>>,
        failed: &mut Vec<Attempt>,
    ) -> Winner<'a> {
        let mut alarm = Deadline::default();
        let mut stop = None;
        let mut second: Option<Second<'a>> = None;
        let mut is_due = true;
        poll_fn(|cx| {
            if stop.is_none()
                && let Poll::Ready(result) = first.as_mut().poll(cx)
            {
                match result {
                    // The second one may do better.
                    Err(Stop::Upstream(failure)) if second.is_some() => stop = Some(Stop::Upstream(failure)),
                    result => return Poll::Ready(Winner::First(result, second.take())),
                }
            }
            if is_due && alarm.poll(self.at, cx).is_ready() {
                is_due = false;
                second = self.begin();
            }
            let Some(Poll::Ready(result)) = second.as_mut().map(|second| second.answer.as_mut().poll(cx))
            else {
                return Poll::Pending;
            };
            let Some(over) = second.take() else { return Poll::Pending };
            match result {
                Ok(answer) if !retry::is_bad_answer(answer.talk.response.status) => {
                    return Poll::Ready(Winner::Second(Box::new(answer), over, stop.take()));
                }
                Ok(answer) => failed.push(over.answered_badly(self.ctx, &answer.talk)),
                Err(lost) => failed.push(over.fail(self, &lost)),
            }
            match stop.take() {
                Some(stop) => Poll::Ready(Winner::First(Err(stop), None)),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// The second attempt, if there is a target for it and the budget allows it.
    fn begin(&self) -> Option<Second<'a>> {
        let worker = self.ctx.worker;
        let now = worker.clock.tick();
        let random = worker.ids.borrow_mut().random();
        let wanted = upstream::Wanted {
            tried: self.tried,
            may_try: false,
            regardless: false,
            streams: false,
            affinity: self.affinity,
        };
        let has_other = self.upstream.has_other_with_room(self.tried, now);
        let Choice::Slot(slot) = has_other.then(|| self.upstream.choose(wanted, now, random))? else {
            return None;
        };
        if !self.upstream.pay_retry(now) {
            return None;
        }
        let before = Before { why: Some(RetryRule::Hedged), waited: None };
        let record = attempt_log::new(self.ctx, self.destination, slot.target(), before);
        let record = Rc::new(RefCell::new(record));
        let target = slot.target().clone();
        let attempt = Lone {
            ctx: self.ctx,
            destination: self.destination,
            rewrite: self.rewrite,
            record: record.clone(),
        };
        let answer = Box::pin(attempt.run(slot, self.request.clone(), self.framing, self.body.clone()));
        Some(Second { record, target, answer })
    }

    /// Writes down what became of the first attempt.
    fn lose<D: Downstream>(&self, trial: &mut Trial<'_, D>, lease: Lease, stop: Option<Stop>) {
        let ctx = self.ctx;
        let now = ctx.worker.clock.now();
        let (upstream, target) = (lease.upstream(), lease.target());
        match stop {
            Some(stop) => {
                attempt_log::abandon(ctx, trial.record, target, Some(&lease), &stop);
                if let Stop::Upstream(failure) = &stop
                    && let Some(outcome) = retry::outcome(failure, false)
                {
                    upstream.observe(target, now, outcome);
                }
            }
            None => {
                let counts = lease.connection.counts();
                attempt_log::finish(ctx, trial.record, target, now, counts, Ending::SUPERSEDED);
                // It would have taken longer still.
                target.state.latency.observe(now, attempt_log::current(trial.record).total);
            }
        }
    }
}

impl Second<'_> {
    fn record(&self) -> Attempt {
        self.record.borrow().clone()
    }

    fn give_up(self, ctx: Context<'_>) -> Attempt {
        let mut attempt = self.record();
        let bytes = (attempt.bytes_sent, attempt.bytes_received);
        attempt_log::close(
            ctx,
            &mut attempt,
            &self.target,
            ctx.worker.clock.now(),
            bytes,
            Ending::SUPERSEDED,
        );
        attempt
    }

    fn answered_badly(self, ctx: Context<'_>, talk: &Talk) -> Attempt {
        let mut attempt = self.record();
        let now = ctx.worker.clock.tick();
        let outcome = retry::outcome_of_status(talk.response.status);
        talk.lease.upstream().observe(&self.target, now, outcome);
        let counts = talk.lease.connection.counts();
        attempt_log::close(ctx, &mut attempt, &self.target, now, counts, Ending::ANSWERED);
        attempt
    }

    fn fail(self, hedging: &Hedging<'_>, lost: &Lost) -> Attempt {
        let Lost { lease, failure } = lost;
        let mut attempt = self.record();
        let was_stale = attempt.reuse.is_some() && failure.limit.is_none();
        attempt_log::fail(hedging.ctx, &mut attempt, &self.target, lease.as_ref(), failure);
        if let Some(outcome) = retry::outcome(failure, was_stale) {
            hedging.upstream.observe(&self.target, hedging.ctx.worker.clock.now(), outcome);
        }
        attempt
    }
}

/// An attempt without a client.
struct Lone<'a> {
    ctx: Context<'a>,
    destination: &'a Arc<Destination>,
    rewrite: &'a PathRewrite,
    record: Rc<RefCell<Attempt>>,
}

impl Lone<'_> {
    async fn run(
        self,
        slot: Slot,
        mut request: RequestHead,
        framing: Framing,
        body: Bytes,
    ) -> Result<Answer, Lost> {
        let ctx = self.ctx;
        let begun = ctx.worker.clock.now();
        let mut lease = self.connect(slot).await.map_err(|failure| Lost { lease: None, failure })?;
        if let Err(failure) =
            connect::start(ctx, &mut request, framing, self.destination, self.rewrite, &mut lease)
        {
            return Err(Lost { lease: Some(lease), failure });
        }
        let body = Whole::new(body);
        let mut talk = Talk { lease, request, body, is_sent: false, response: ResponseHead::default() };
        let timeouts = &self.destination.route.timeouts;
        let (name, max) = match timeouts.attempt {
            Some(attempt) if attempt < timeouts.await_head => (LimitName::Attempt, attempt),
            Some(_) | None => (LimitName::AwaitHead, timeouts.await_head),
        };
        let mut timer = Deadline::default();
        let sent_from = ctx.worker.clock.now();
        let answered = poll_fn(|cx| {
            let result = talk.poll_answer(cx);
            let mut record = self.record.borrow_mut();
            (record.bytes_sent, record.bytes_received) = talk.lease.connection.counts();
            if result.is_pending() && timer.poll(begun + max, cx).is_ready() {
                let limit = Limit::Time { name, max };
                let failure = Failure::new(Phase::AwaitHead, Fault::AwaitHeadTimeout).with_limit(limit);
                return Poll::Ready(Err(failure));
            }
            result
        })
        .await;
        match answered {
            Ok(framing) => {
                let mut record = self.record.borrow_mut();
                record.await_head = Some(ctx.worker.clock.tick().saturating_duration_since(sent_from));
                record.status = Some(talk.response.status);
                Ok(Answer { talk, framing })
            }
            Err(failure) => Err(Lost { lease: Some(talk.lease), failure }),
        }
    }

    async fn connect(&self, slot: Slot) -> Result<Lease, Failure> {
        let ctx = self.ctx;
        let slot = match ctx.worker.pool.take(slot, false, ctx.worker.clock.now()) {
            Ok((lease, reuse)) => {
                let mut record = self.record.borrow_mut();
                (record.address, record.reuse) = (lease.address(), Some(reuse));
                return Ok(lease);
            }
            Err(slot) => slot,
        };
        let mut times = DialTimes::default();
        let dialed = ctx.worker.pool.dial(slot, connect::purpose(ctx, false), &mut times).await;
        ctx.worker.clock.tick();
        let mut record = self.record.borrow_mut();
        attempt_log::dialed(&mut record, times);
        let lease = dialed?;
        record.address = lease.address();
        Ok(lease)
    }
}

impl Talk {
    /// Sends what can be sent; ready with the framing of the final answer. Interim ones are not passed on: they may be those
    /// of the attempt that loses.
    fn poll_answer(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<Framing, Failure>> {
        let Talk { lease, request, body, is_sent, response } = self;
        if !*is_sent {
            match lease.connection.poll_upload(body, cx) {
                Poll::Ready(Ok(())) => *is_sent = true,
                Poll::Ready(Err(UploadFailure::Client(never))) => match never {},
                Poll::Ready(Err(UploadFailure::Upstream(failure))) => return Poll::Ready(Err(failure)),
                Poll::Pending => {}
            }
        }
        let limits = upstream::head_limits(lease.upstream());
        loop {
            match lease.connection.poll_head(&request.method, &limits, response, cx) {
                Poll::Ready(Ok(facts)) if facts.informational => {}
                Poll::Ready(Ok(facts)) => return Poll::Ready(Ok(facts.framing)),
                Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
