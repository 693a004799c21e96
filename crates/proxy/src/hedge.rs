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

use crate::attempt::{self, Answered, Failed, Trial, bit};
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
use crate::watch::{Expiry, Watch};
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
    beside: Beside,
}

/// Where the record of a second attempt is found when the process cuts the race: those who race are gone by then.
#[derive(Debug, Default)]
pub(crate) struct Beside(Rc<RefCell<Option<Rc<RefCell<Attempt>>>>>);

impl Beside {
    pub(crate) fn take(&self) -> Option<Attempt> {
        self.0.take().map(|attempt| attempt.borrow().clone())
    }
}

/// A second attempt under way, and its record.
struct Second<'a> {
    record: Rc<RefCell<Attempt>>,
    target: Arc<upstream::Target>,
    /// The target's place in its upstream.
    index: usize,
    answer: Pin<Box<dyn Future<Output = Result<Answer, Lost>> + 'a>>,
}

/// The conversation of a second attempt.
struct Talk {
    lease: Lease,
    request: RequestHead,
    body: Whole,
    /// When the request was all out. It need not be when the answer comes.
    sent_at: Option<Instant>,
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
    /// The second one may be under way.
    First(Result<Framing, Stop>, Option<Second<'a>>),
    Second(Box<Answer>, Second<'a>),
}

/// Why the second attempt, which goes on alone, has no answer.
enum Over {
    Attempt(Lost),
    Exchange(Stop),
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
            beside: Beside(self.scratch.beside.0.clone()),
        })
    }
}

impl<'a> Hedging<'a> {
    /// Waits for the answer of the first attempt, and for that of a second one when its time has come.
    pub(crate) async fn race<D: Downstream>(
        self,
        trial: &mut Trial<'a, D>,
        lease: Lease,
    ) -> Result<Answered, Failed> {
        let result = self.run(trial, lease).await;
        // It stands in the record of the exchange now.
        self.beside.0.take();
        result
    }

    async fn run<D: Downstream>(
        &self,
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
        match winner {
            Winner::Second(answer, second) => {
                self.supersede(trial, &lease);
                drop(lease);
                Ok(self.take(trial, *answer, &second))
            }
            Winner::First(Err(Stop::Upstream(failure)), Some(second)) => {
                let stop = Stop::Upstream(failure);
                attempt::settle(ctx, trial.record, &lease, &stop);
                // Its place is free for others.
                drop(lease);
                self.go_on_alone(trial, second).await
            }
            Winner::First(Ok(framing), Some(second))
                if retry::is_bad_answer(trial.scratch.response.status) =>
            {
                let answered =
                    Answered { lease, destination: self.destination.clone(), framing, upload, watch };
                self.look_for_better(trial, answered, second).await
            }
            Winner::First(result, second) => {
                if let Some(second) = second {
                    let ending = result.as_ref().err().map_or(Ending::SUPERSEDED, attempt_log::ending);
                    let attempt = second.give_up(ctx, ending);
                    trial.record.attempts.insert(place, attempt);
                }
                match result {
                    Ok(framing) => {
                        let destination = self.destination.clone();
                        Ok(Answered { lease, destination, framing, upload, watch })
                    }
                    Err(stop) => Err(Failed { stop, lease: Some(lease), settled: None }),
                }
            }
        }
    }

    /// The first attempt has failed; what comes of the second one decides.
    async fn go_on_alone<D: Downstream>(
        &self,
        trial: &mut Trial<'a, D>,
        mut second: Second<'a>,
    ) -> Result<Answered, Failed> {
        let settled = Some(self.tried | bit(second.index));
        match self.until_answered(trial, &mut second).await {
            Ok(answer) => Ok(self.take(trial, answer, &second)),
            Err(Over::Attempt(lost)) => {
                trial.record.attempts.push(second.fail(self, &lost));
                Err(Failed { stop: Stop::Upstream(lost.failure), lease: lost.lease, settled })
            }
            Err(Over::Exchange(stop)) => {
                let ending = attempt_log::ending(&stop);
                trial.record.attempts.push(second.give_up(self.ctx, ending));
                Err(Failed { stop, lease: None, settled })
            }
        }
    }

    /// The first attempt was answered 502, 503 or 504; that counts only if the second one does no better.
    async fn look_for_better<D: Downstream>(
        &self,
        trial: &mut Trial<'a, D>,
        mut first: Answered,
        mut second: Second<'a>,
    ) -> Result<Answered, Failed> {
        let ctx = self.ctx;
        let place = trial.record.attempts.len() - 1;
        let worse = match self.until_answered(trial, &mut second).await {
            Ok(answer) if !retry::is_bad_answer(answer.talk.response.status) => {
                let Lease { slot, connection, .. } = &mut first.lease;
                let now = ctx.worker.clock.now();
                let outcome = retry::outcome_of_status(trial.scratch.response.status);
                let began = attempt_log::began(ctx, attempt_log::current(trial.record));
                slot.upstream().observe(slot.target(), began, now, outcome);
                let counts = connection.counts();
                attempt_log::finish(ctx, trial.record, slot.target(), now, counts, Ending::ANSWERED);
                drop(first);
                return Ok(self.take(trial, answer, &second));
            }
            Ok(answer) => second.answered_badly(ctx, &answer.talk),
            Err(Over::Attempt(lost)) => second.fail(self, &lost),
            Err(Over::Exchange(stop)) => {
                let attempt = second.give_up(ctx, attempt_log::ending(&stop));
                trial.record.attempts.insert(place, attempt);
                return Err(Failed { stop, lease: Some(first.lease), settled: None });
            }
        };
        trial.record.attempts.insert(place, worse);
        Ok(first)
    }

    /// Waits for the second attempt alone; a client that leaves leaves, and the time of the exchange has its end.
    async fn until_answered<D: Downstream>(
        &self,
        trial: &mut Trial<'a, D>,
        second: &mut Second<'a>,
    ) -> Result<Answer, Over> {
        let total = Expiry::total(self.ctx, &self.destination.route.timeouts, Phase::AwaitHead);
        let mut timer = Deadline::default();
        let over = poll_fn(|cx| {
            if let Poll::Ready(result) = second.answer.as_mut().poll(cx) {
                return Poll::Ready(result.map_err(Over::Attempt));
            }
            if let Some(stop) = trial.poll_left(Phase::AwaitHead, cx) {
                return Poll::Ready(Err(Over::Exchange(stop)));
            }
            match total {
                Some(total) => timer.poll(total.at, cx).map(|()| Err(Over::Exchange(total.stop()))),
                None => Poll::Pending,
            }
        })
        .await;
        self.ctx.worker.clock.tick();
        over
    }

    /// Goes on with the answer of the second attempt.
    fn take<D: Downstream>(&self, trial: &mut Trial<'a, D>, answer: Answer, second: &Second<'a>) -> Answered {
        let Answer { talk: Talk { lease, body, sent_at, response, .. }, framing } = answer;
        trial.record.attempts.push(second.record());
        trial.scratch.response = response;
        exchange::set_request_id(&mut trial.scratch.response.fields, trial.record);
        let upload = Upload::going_on(body, sent_at.is_some());
        let watch = Watch::new(self.ctx.worker.clock.now(), trial.body_rate());
        Answered { lease, destination: self.destination.clone(), framing, upload, watch }
    }

    async fn winner(
        &self,
        mut first: Pin<&mut impl Future<Output = Result<Framing, Stop>>>,
        failed: &mut Vec<Attempt>,
    ) -> Winner<'a> {
        let mut alarm = Deadline::default();
        let mut second: Option<Second<'a>> = None;
        let mut is_due = true;
        poll_fn(|cx| {
            if let Poll::Ready(result) = first.as_mut().poll(cx) {
                return Poll::Ready(Winner::First(result, second.take()));
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
                    return Poll::Ready(Winner::Second(Box::new(answer), over));
                }
                Ok(answer) => failed.push(over.answered_badly(self.ctx, &answer.talk)),
                Err(lost) => failed.push(over.fail(self, &lost)),
            }
            Poll::Pending
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
        self.beside.0.replace(Some(record.clone()));
        let (target, index) = (slot.target().clone(), slot.index());
        let attempt = Lone {
            ctx: self.ctx,
            destination: self.destination,
            rewrite: self.rewrite,
            record: record.clone(),
        };
        let answer = Box::pin(attempt.run(slot, self.request.clone(), self.framing, self.body.clone()));
        Some(Second { record, target, index, answer })
    }

    /// Writes down that another attempt was faster than the first one.
    fn supersede<D: Downstream>(&self, trial: &mut Trial<'_, D>, lease: &Lease) {
        let now = self.ctx.worker.clock.now();
        let counts = lease.connection.counts();
        attempt_log::finish(self.ctx, trial.record, lease.target(), now, counts, Ending::SUPERSEDED);
        // It would have taken longer still.
        lease.target().state.latency.observe(now, attempt_log::current(trial.record).total);
    }
}

impl Second<'_> {
    fn record(&self) -> Attempt {
        self.record.borrow().clone()
    }

    fn give_up(self, ctx: Context<'_>, ending: Ending) -> Attempt {
        let mut attempt = self.record();
        let bytes = (attempt.bytes_sent, attempt.bytes_received);
        attempt_log::close(ctx, &mut attempt, &self.target, ctx.worker.clock.now(), bytes, ending);
        attempt
    }

    fn answered_badly(self, ctx: Context<'_>, talk: &Talk) -> Attempt {
        let mut attempt = self.record.borrow_mut();
        let now = ctx.worker.clock.tick();
        let outcome = retry::outcome_of_status(talk.response.status);
        talk.lease.upstream().observe(&self.target, attempt_log::began(ctx, &attempt), now, outcome);
        let counts = talk.lease.connection.counts();
        attempt_log::close(ctx, &mut attempt, &self.target, now, counts, Ending::ANSWERED);
        attempt.clone()
    }

    fn fail(self, hedging: &Hedging<'_>, lost: &Lost) -> Attempt {
        let Lost { lease, failure } = lost;
        let mut attempt = self.record.borrow_mut();
        attempt_log::fail(hedging.ctx, &mut attempt, &self.target, lease.as_ref(), failure);
        let is_stale = retry::is_stale(&attempt, failure, lease.as_ref());
        if let Some(outcome) = retry::outcome(failure, is_stale) {
            let began = attempt_log::began(hedging.ctx, &attempt);
            hedging.upstream.observe(&self.target, began, hedging.ctx.worker.clock.now(), outcome);
        }
        attempt.clone()
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
        let mut talk = Talk { lease, request, body, sent_at: None, response: ResponseHead::default() };
        let timeouts = &self.destination.route.timeouts;
        let mut timer = Deadline::default();
        let sent_from = ctx.worker.clock.now();
        let answered = poll_fn(|cx| {
            let result = talk.poll_answer(ctx, cx);
            let mut record = self.record.borrow_mut();
            (record.bytes_sent, record.bytes_received) = talk.lease.connection.counts();
            record.send = talk.sent_at.map(|at| at.saturating_duration_since(sent_from));
            if result.is_ready() {
                return result;
            }
            let step = match talk.sent_at {
                None => Expiry::new(
                    sent_from + timeouts.send,
                    Fault::SendTimeout,
                    Phase::Send,
                    Limit::Time { name: LimitName::Send, max: timeouts.send },
                ),
                Some(at) => Expiry::new(
                    at + timeouts.await_head,
                    Fault::AwaitHeadTimeout,
                    Phase::AwaitHead,
                    Limit::Time { name: LimitName::AwaitHead, max: timeouts.await_head },
                ),
            };
            let expiry = Expiry::attempt(begun, timeouts, Phase::AwaitHead).map_or(step, |all| all.or(step));
            match (timer.poll(expiry.at, cx), expiry.stop()) {
                (Poll::Ready(()), Stop::Upstream(failure)) => Poll::Ready(Err(failure)),
                _ => Poll::Pending,
            }
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
    fn poll_answer(&mut self, ctx: Context<'_>, cx: &mut TaskContext<'_>) -> Poll<Result<Framing, Failure>> {
        let Talk { lease, request, body, sent_at, response } = self;
        if sent_at.is_none() {
            match lease.connection.poll_upload(body, cx) {
                Poll::Ready(Ok(())) => *sent_at = Some(ctx.worker.clock.tick()),
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
