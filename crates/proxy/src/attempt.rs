//! The attempt loop: targets are tried until one answers, or until trying again would not be safe.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use model::gateway::{ClientGone, HostRewrite, Scheme};
use model::{Ending, Exchange, Fault, PeerEnd, Phase, RetryRule};
use upstream::{Addresses, Delivery, DialTimes, Failure, Lease, Purpose, Request, Target, Upstream};
use wire::{Framing, Known, RequestFacts, RequestHead};

use crate::attempt_log::{self, Before};
use crate::await_head::await_head;
use crate::client::{ClientFailure, Downstream};
use crate::collect;
use crate::deadline::Deadline;
use crate::exchange::{Context, Scratch, Stop};
use crate::forward::PathRewrite;
use crate::retry;
use crate::route::Destination;
use crate::upload::Upload;
use crate::watch::{Expiry, Watch};

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
    pub record: &'a mut Exchange,
}

/// An attempt came to nothing. One that the target is to blame for may be followed by another.
struct Failed {
    stop: Stop,
    lease: Option<Lease>,
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
    /// A target that had failed was asked again, for want of another.
    again: bool,
}

/// Targets past the 64th are never left out.
fn bit(index: usize) -> u64 {
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

impl<D: Downstream> Trial<'_, D> {
    /// Tries targets until one gives a final response head.
    pub(crate) async fn until_answered(mut self) -> Result<Answered, Stop> {
        let ctx = self.ctx;
        let upstream = self.destination.upstream.clone();
        upstream.request(ctx.worker.clock.now());
        let is_idempotent = self.scratch.request.method.is_idempotent();
        let mut course = Course {
            tried: 0,
            fresh: false,
            before: Before::default(),
            left: upstream.settings.retries.attempts,
            again: false,
        };
        loop {
            let random = ctx.worker.ids.borrow_mut().random();
            let Some((index, target)) =
                upstream.pick(course.tried, ctx.worker.clock.now(), random, is_idempotent)
            else {
                return Err(Stop::refused(Phase::Queue, Fault::NoTarget));
            };
            self.collect_for(target).await?;
            let before = std::mem::take(&mut course.before);
            attempt_log::begin(ctx, self.record, self.destination, target, before);
            course.left -= 1;
            match self.attempt(target, course.fresh).await {
                Ok(answered) => {
                    if !self.is_worth_another(&answered, index, &mut course) {
                        return Ok(answered);
                    }
                }
                Err(failed) => Box::pin(self.after(failed, index, target, &mut course)).await?,
            }
        }
    }

    /// Judges an answer; whether another target may do better, and is asked.
    fn is_worth_another(&mut self, answered: &Answered, index: usize, course: &mut Course) -> bool {
        let ctx = self.ctx;
        let (upstream, target) = (&self.destination.upstream, &answered.lease.target);
        let now = ctx.worker.clock.now();
        let status = self.scratch.response.status;
        upstream.observe(target, now, retry::outcome_of_status(status));
        if !retry::is_bad_answer(status) {
            let took = attempt_log::current(self.record).await_head.unwrap_or_default();
            target.state.latency.observe(now, took);
            return false;
        }
        let tried = course.tried | bit(index);
        let is_idempotent = self.scratch.request.method.is_idempotent();
        let may =
            upstream.settings.retries.bad_answers && is_idempotent && course.left > 0 && self.has_body();
        if !(may && upstream.has_other(tried, now) && upstream.pay_retry(now)) {
            return false;
        }
        let counts = answered.lease.connection.counts();
        attempt_log::finish(ctx, self.record, target, now, counts, Ending::ANSWERED);
        course.tried = tried;
        course.before.why = Some(RetryRule::BadAnswer);
        true
    }

    /// Decides how to go on after an attempt that came to nothing; the stop is that of the exchange if it ends here.
    async fn after(
        &mut self,
        failed: Failed,
        index: usize,
        target: &Arc<Target>,
        course: &mut Course,
    ) -> Result<(), Stop> {
        let ctx = self.ctx;
        let upstream = self.destination.upstream.clone();
        let Failed { stop, lease } = failed;
        attempt_log::abandon(ctx, self.record, target, lease.as_ref(), &stop);
        let Stop::Upstream(failure) = stop else { return Err(stop) };
        // An idle connection that was closed says nothing of its target; one on which it was silent for too long does.
        let is_reused = attempt_log::current(self.record).reuse.is_some();
        let was_stale = is_reused && failure.limit.is_none();
        // Boxed, like the other rare waits: an exchange is as large as everything that it may wait for.
        let undelivered = was_stale
            && upstream.settings.retries.undelivered
            && Box::pin(is_undelivered(&failure, target, lease.as_ref())).await;
        drop(lease);
        let now = ctx.worker.clock.tick();
        if let Some(outcome) = retry::outcome(&failure, was_stale) {
            upstream.observe(target, now, outcome);
        }
        let facts = retry::Facts { failure: &failure, has_body: self.has_body(), undelivered };
        let Some(rule) = retry::after_failure(facts, &self.scratch.request) else {
            return Err(Stop::Upstream(failure));
        };
        course.before.why = Some(rule);
        course.fresh = was_stale;
        if !was_stale {
            course.tried |= bit(index);
        }
        let has_choice = was_stale || upstream.has_other(course.tried, now);
        if rule == RetryRule::Unsent && !has_choice {
            return match upstream.wait_until(now) {
                Some(until) => Box::pin(self.wait_for(&upstream, until, course, failure)).await,
                None => Err(Stop::Upstream(failure)),
            };
        }
        if !has_choice {
            // It is alone, or the last: asked once more, because that is safe, unless it took all its time already.
            course.left = course.left.min(usize::from(failure.limit.is_none() && !course.again));
            (course.tried, course.again) = (0, true);
        }
        let may_repeat = course.left > 0 && (!retry::costs(rule, was_stale) || upstream.pay_retry(now));
        if may_repeat { Ok(()) } else { Err(Stop::Upstream(failure)) }
    }

    /// Waits until a target has begun to accept, and starts anew then; the failure of before stands when none does in time.
    /// A client that leaves leaves.
    async fn wait_for(
        &mut self,
        upstream: &Upstream,
        until: Instant,
        course: &mut Course,
        failure: Failure,
    ) -> Result<(), Stop> {
        let ctx = self.ctx;
        let begun = ctx.worker.clock.tick();
        let Some(place) = upstream.wait() else { return Err(Stop::Upstream(failure)) };
        let mut accepting = std::pin::pin!(place.accepting());
        accepting.as_mut().enable();
        let total = Expiry::total(ctx, &self.destination.route.timeouts, Phase::Queue);
        let total = total.filter(|total| total.at < until);
        let mut timer = ctx.worker.lend_timer();
        let came = poll_fn(|cx| {
            // It may have come back between the failure and here.
            if upstream.wait_until(begun).is_none() || accepting.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(true));
            }
            if self.client.body_is_read() && self.client.poll_gone(cx).is_ready() {
                let stop = Stop::Client { failure: ClientFailure::Gone, phase: Phase::Queue };
                return Poll::Ready(Err(stop));
            }
            match total {
                Some(total) => timer.poll(total.at, cx).map(|()| Err(total.stop())),
                None => timer.poll(until, cx).map(|()| Ok(false)),
            }
        })
        .await;
        ctx.worker.return_timer(timer);
        if !came? {
            return Err(Stop::Upstream(failure));
        }
        let waited = ctx.worker.clock.tick().duration_since(begun);
        let before = Before { waited: Some(waited), ..course.before };
        let left = upstream.settings.retries.attempts;
        *course = Course { tried: 0, fresh: false, before, left, again: false };
        Ok(())
    }

    /// Reads the request body before there is a connection, where that is for the better: a target must be told its length
    /// first, or a small one need not keep a worker waiting that serves one request at a time. What was collected can be
    /// sent again.
    async fn collect_for(&mut self, target: &Target) -> Result<(), Stop> {
        let scheme = target.settings.scheme;
        let collect = match self.facts.framing {
            Framing::Chunked => scheme == Scheme::Uwsgi,
            Framing::Length(length) => {
                matches!(scheme, Scheme::Http | Scheme::Uwsgi)
                    && length <= collect::SMALL_BYTES
                    && collect::has_room(self.ctx, length)
                    && !self.facts.upgrade
                    && !self.is_grpc()
            }
            Framing::None | Framing::Close => false,
        };
        if collect && self.scratch.collected.is_none() {
            let timeouts = &self.destination.route.timeouts;
            self.scratch.collected = Some(collect::body(self.ctx, self.client, timeouts).await?);
        }
        Ok(())
    }

    /// Whether the whole request can be sent again.
    fn has_body(&self) -> bool {
        self.client.counts().0 == 0 || self.scratch.collected.is_some()
    }

    async fn attempt(&mut self, target: &Arc<Target>, fresh: bool) -> Result<Answered, Failed> {
        let ctx = self.ctx;
        let mut lease = match self.acquire(target, fresh).await {
            Ok(lease) => lease,
            Err(stop) => return Err(Failed { stop, lease: None }),
        };
        if let Err(failure) = self.start(target, &mut lease) {
            return Err(Failed { stop: Stop::Upstream(failure), lease: Some(lease) });
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
            Err(stop) => Err(Failed { stop, lease: Some(lease) }),
        }
    }

    /// The pace that the request body must have. The messages of a gRPC stream come when there is something to say.
    fn body_rate(&self) -> u64 {
        if self.is_grpc() { 0 } else { self.ctx.listening.settings().limits.body_rate }
    }

    fn is_grpc(&self) -> bool {
        let kind = self.scratch.request.fields.get(Known::ContentType).unwrap_or_default();
        kind.get(..GRPC.len()).is_some_and(|start| start.eq_ignore_ascii_case(GRPC))
    }

    /// Encodes the request for this target.
    fn start(&mut self, target: &Target, lease: &mut Lease) -> Result<(), Failure> {
        let collected = self.scratch.collected.as_ref();
        let framing = collected.map_or(self.facts.framing, |body| Framing::Length(body.bytes.len() as u64));
        fit_to_target(&mut self.scratch.request, framing, self.destination, target);
        let head = &self.scratch.request;
        let host = head.fields.get(Known::Host).and_then(|host| std::str::from_utf8(host).ok());
        lease.connection.start(&Request {
            head,
            target: self.rewrite.target.as_deref().unwrap_or(head.target.path_and_query()),
            scheme: self.ctx.peer.scheme(),
            authority: host.unwrap_or(""),
            framing,
            script_name: &self.rewrite.prefix,
            client: self.ctx.peer.client,
            listener: self.ctx.peer.local,
        })
    }

    /// A pooled connection, or a new one; a client who leaves while it is made ends it, and so does the total time.
    async fn acquire(&mut self, target: &Arc<Target>, fresh: bool) -> Result<Lease, Stop> {
        let ctx = self.ctx;
        let pool = &ctx.worker.pool;
        let upstream = &self.destination.upstream;
        if !fresh
            && let Some((lease, reuse)) =
                pool.take(upstream, target, self.facts.upgrade, ctx.worker.clock.now())
        {
            let attempt = attempt_log::current(self.record);
            attempt.address = lease.address();
            attempt.reuse = Some(reuse);
            return Ok(lease);
        }
        let addresses = ctx.peer.client.zip(ctx.peer.local);
        let addresses = addresses.map(|(client, listener)| Addresses { client, listener });
        let purpose = Purpose { addresses, upgrade: self.facts.upgrade };
        let mut times = DialTimes::default();
        let dialed = {
            let mut dial = Box::pin(pool.dial(upstream, target, purpose, &mut times));
            let route = &self.destination.route;
            let watch = route.client_gone == ClientGone::Cancel && self.client.body_is_read();
            let total = Expiry::total(ctx, &route.timeouts, Phase::Connect);
            let mut timer = Deadline::default();
            poll_fn(|cx| {
                if let Poll::Ready(result) = dial.as_mut().poll(cx) {
                    return Poll::Ready(result.map_err(Stop::Upstream));
                }
                if watch && self.client.poll_gone(cx).is_ready() {
                    let stop = Stop::Client { failure: ClientFailure::Gone, phase: Phase::Connect };
                    return Poll::Ready(Err(stop));
                }
                match total {
                    Some(total) => timer.poll(total.at, cx).map(|()| Err(total.stop())),
                    None => Poll::Pending,
                }
            })
            .await
        };
        ctx.worker.clock.tick();
        attempt_log::dialed(self.record, times);
        if let Ok(lease) = &dialed {
            attempt_log::current(self.record).address = lease.address();
        }
        dialed
    }
}

/// The media type of gRPC and its variants begins so.
const GRPC: &[u8] = b"application/grpc";

/// Sets the fields that depend on the target.
fn fit_to_target(head: &mut RequestHead, framing: Framing, destination: &Destination, target: &Target) {
    let RequestHead { target: asked, fields, .. } = head;
    match &destination.route.host {
        HostRewrite::Client if asked.authority().is_empty() => {
            fields.set(Known::Host, target.authority.as_bytes());
        }
        // Also for a request that came by HTTP/2, which has no Host field.
        HostRewrite::Client => fields.set(Known::Host, asked.authority().as_bytes()),
        HostRewrite::Target => fields.set(Known::Host, target.authority.as_bytes()),
        HostRewrite::Set(host) => fields.set(Known::Host, host.as_bytes()),
    }
    // The client's own field went with the hop-by-hop ones; HTTP/2 takes it away again.
    match framing {
        Framing::Chunked => fields.set(Known::TransferEncoding, b"chunked"),
        Framing::Length(length) => match fields.get(Known::ContentLength) {
            // As nearly everybody writes it; `007` is legal, too, but a gateway does not pass its riddles on.
            Some(b"0" | [b'1'..=b'9', ..]) => {}
            _ => {
                fields.remove(Known::TransferEncoding);
                fields.set(Known::ContentLength, length.to_string().as_bytes());
            }
        },
        Framing::None | Framing::Close => {}
    }
    if matches!(target.settings.scheme, Scheme::Http | Scheme::Uwsgi) {
        // It announces what does not follow: trailers do not go to these.
        fields.remove(Known::Trailer);
    }
    if target.settings.scheme == Scheme::H2c {
        // HTTP/2 has no upgrades (RFC 9113 section 8.6); the request goes on as an ordinary one.
        fields.remove(Known::Connection);
        fields.remove(Known::Upgrade);
    }
}
