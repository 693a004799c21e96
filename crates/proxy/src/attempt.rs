//! The attempt loop: targets are tried until one answers, or until trying again would not be safe.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::{Duration, Instant};

use model::gateway::{HostRewrite, Scheme, Timeouts};
use model::{Attempt, Ending, Exchange, Fault, Limit, LimitName, Phase, Retry};
use upstream::{Addresses, DialTimes, Failure, Lease, Request, Target, UploadFailure};
use wire::{Framing, Known, RequestFacts, RequestHead, ResponseFacts};

use crate::client::Downstream;
use crate::deadline::Deadline;
use crate::exchange::{self, Context, Scratch, Stop};
use crate::forward::PathRewrite;
use crate::route::Destination;

/// Attempts per exchange. More do not help a client who waits, and multiply the load on what still works.
const ATTEMPTS_MAX: usize = 3;

/// A final response head has arrived.
#[derive(Debug)]
pub(crate) struct Answered {
    pub lease: Lease,
    pub destination: Arc<Destination>,
    pub framing: Framing,
    /// The request is out, its end included.
    pub uploaded: bool,
    pub log: AttemptLog,
}

impl Answered {
    pub(crate) fn into_parts(self) -> (Lease, AttemptLog) {
        (self.lease, self.log)
    }
}

/// What is known of an attempt while it runs.
#[derive(Debug)]
pub(crate) struct AttemptLog {
    attempt: Attempt,
    begun: Instant,
    target: Arc<Target>,
}

impl AttemptLog {
    fn begin(
        ctx: Context<'_>,
        begun: Instant,
        destination: &Destination,
        target: &Arc<Target>,
    ) -> AttemptLog {
        let attempt = Attempt {
            upstream: destination.upstream.settings.name.clone(),
            target: target.settings.url.clone(),
            address: None,
            started_micros: ctx.micros(begun),
            reuse: None,
            resolve: None,
            connect: None,
            tls: None,
            send: None,
            await_head: None,
            total: Duration::ZERO,
            bytes_sent: 0,
            bytes_received: 0,
            bytes_acked: None,
            status: None,
            ending: Ending::ANSWERED,
            peer_end: None,
            errno: None,
            tls_alert: None,
            limit: None,
            detail: None,
        };
        AttemptLog { attempt, begun, target: target.clone() }
    }

    fn dialed(&mut self, times: DialTimes) {
        self.attempt.resolve = times.resolve;
        self.attempt.connect = times.connect;
        self.attempt.tls = times.tls;
    }

    /// The attempt as it stands in the record.
    pub(crate) fn finish(mut self, now: Instant, bytes: (u64, u64), ending: Ending) -> Attempt {
        self.attempt.total = now.saturating_duration_since(self.begun);
        (self.attempt.bytes_sent, self.attempt.bytes_received) = bytes;
        self.attempt.ending = ending;
        self.target.state.attempts.fetch_add(1, Ordering::Relaxed);
        if ending.fault.is_some_and(|fault| fault.party() == model::Party::Upstream) {
            self.target.state.failures.fetch_add(1, Ordering::Relaxed);
        }
        self.attempt
    }

    /// The same for one that failed.
    pub(crate) fn fail(mut self, ctx: Context<'_>, lease: Option<&Lease>, failure: &Failure) -> Attempt {
        self.attempt.peer_end = failure.peer_end;
        self.attempt.errno = failure.errno;
        self.attempt.tls_alert = failure.tls_alert;
        self.attempt.limit = failure.limit;
        self.attempt.detail.clone_from(&failure.detail);
        let bytes = lease.map_or((0, 0), |lease| lease.connection.counts());
        self.attempt.bytes_acked = lease.and_then(|lease| lease.connection.bytes_acked());
        self.finish(ctx.worker.clock.tick(), bytes, failure.ending())
    }
}

/// Tries targets until one gives a final response head.
pub(crate) async fn until_answered<D: Downstream>(
    ctx: Context<'_>,
    client: &mut D,
    scratch: &mut Scratch,
    facts: &RequestFacts,
    destination: &Arc<Destination>,
    rewrite: &PathRewrite,
    record: &mut Exchange,
) -> Result<Answered, Stop> {
    let mut tried = 0u64;
    let mut fresh = false;
    let mut last_failure = None;
    for _ in 0..ATTEMPTS_MAX {
        let Some((index, target)) = destination.upstream.pick(tried) else { break };
        let mut log = AttemptLog::begin(ctx, ctx.worker.clock.now(), destination, target);
        let outcome =
            attempt(ctx, client, scratch, facts, destination, rewrite, target, fresh, &mut log, record).await;
        let (failure, lease) = match outcome {
            Outcome::Answered { lease, framing, uploaded } => {
                let destination = destination.clone();
                return Ok(Answered { lease, destination, framing, uploaded, log });
            }
            Outcome::Stopped { stop, lease } => {
                record.attempts.push(abandoned(log, lease.as_ref(), &stop));
                return Err(stop);
            }
            Outcome::Failed { failure, lease } => (failure, lease),
        };
        let was_reused = lease.as_ref().is_some_and(|lease| lease.reuse.is_some());
        record.attempts.push(log.fail(ctx, lease.as_ref(), &failure));
        let body_untouched = client.counts().0 == 0;
        let may_retry = match failure.fault.retry() {
            Retry::Unsent => body_untouched,
            // The pooled connection had been closed by the target before it saw the request, most likely; for an
            // idempotent method it does not matter.
            Retry::IfIdempotent => {
                was_reused
                    && body_untouched
                    && scratch.request.method.is_idempotent()
                    && failure.limit.is_none()
            }
            Retry::Never => false,
        };
        last_failure = Some(failure);
        if !may_retry {
            break;
        }
        if was_reused {
            fresh = true;
        } else if index < 64 {
            tried |= 1 << index;
        }
    }
    Err(match last_failure {
        Some(failure) => Stop::Upstream(failure),
        None => Stop::refused(Phase::Queue, Fault::NoTarget),
    })
}

/// The record of an attempt that ended for no fault of its own: the client left, or the exchange ran out of time.
fn abandoned(log: AttemptLog, lease: Option<&Lease>, stop: &Stop) -> Attempt {
    let ending = match stop {
        Stop::Client { phase, failure } => {
            let fault = match failure {
                crate::client::ClientFailure::Gone => Fault::ClientGone,
                crate::client::ClientFailure::Malformed { fault, .. } => *fault,
                crate::client::ClientFailure::TooLarge { .. } => Fault::RequestBodyTooLarge,
            };
            Ending::failed(*phase, fault)
        }
        Stop::Timeout { fault, phase, .. } => Ending::failed(*phase, *fault),
        Stop::Refused { answer, phase, .. } => Ending::failed(*phase, answer.fault),
        Stop::Upstream(failure) => failure.ending(),
    };
    let bytes = lease.map_or((0, 0), |lease| lease.connection.counts());
    log.finish(Instant::now(), bytes, ending)
}

enum Outcome {
    Answered { lease: Lease, framing: Framing, uploaded: bool },
    Failed { failure: Failure, lease: Option<Lease> },
    Stopped { stop: Stop, lease: Option<Lease> },
}

#[expect(
    clippy::too_many_arguments,
    reason = "one attempt needs both sides, the record and the choice of target"
)]
async fn attempt<D: Downstream>(
    ctx: Context<'_>,
    client: &mut D,
    scratch: &mut Scratch,
    facts: &RequestFacts,
    destination: &Arc<Destination>,
    rewrite: &PathRewrite,
    target: &Arc<Target>,
    fresh: bool,
    log: &mut AttemptLog,
    record: &mut Exchange,
) -> Outcome {
    let mut lease = match acquire(ctx, client, destination, target, fresh, log).await {
        Ok(lease) => lease,
        Err(Acquire::Failed(failure)) => return Outcome::Failed { failure, lease: None },
        Err(Acquire::Stopped(stop)) => return Outcome::Stopped { stop, lease: None },
    };
    fit_to_target(&mut scratch.request, facts.framing, destination, target);
    let head = &scratch.request;
    let request = Request {
        head,
        target: rewrite.target.as_deref().unwrap_or(head.target.path_and_query()),
        scheme: ctx.peer.scheme(),
        authority: head.fields.get(Known::Host).and_then(|host| std::str::from_utf8(host).ok()).unwrap_or(""),
        framing: facts.framing,
        script_name: &rewrite.prefix,
        client: ctx.peer.client,
        listener: ctx.peer.local,
    };
    if let Err(failure) = lease.connection.start(&request) {
        return Outcome::Failed { failure, lease: Some(lease) };
    }
    let mut timer = ctx.worker.lend_timer();
    let outcome = await_head(ctx, client, scratch, destination, &mut lease, &mut timer, log, record).await;
    ctx.worker.return_timer(timer);
    match outcome {
        Ok((response, uploaded)) => Outcome::Answered { lease, framing: response.framing, uploaded },
        Err(Waiting::Failed(failure)) => Outcome::Failed { failure, lease: Some(lease) },
        Err(Waiting::Stopped(stop)) => Outcome::Stopped { stop, lease: Some(lease) },
    }
}

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
    if framing == Framing::Chunked && target.settings.scheme != Scheme::Uwsgi {
        // The client's own field went with the hop-by-hop ones; HTTP/2 takes it away again.
        fields.set(Known::TransferEncoding, b"chunked");
    }
    if target.settings.scheme == Scheme::H2c {
        // HTTP/2 has no upgrades (RFC 9113 section 8.6); the request goes on as an ordinary one.
        fields.remove(Known::Connection);
        fields.remove(Known::Upgrade);
    }
}

enum Acquire {
    Failed(Failure),
    Stopped(Stop),
}

async fn acquire<D: Downstream>(
    ctx: Context<'_>,
    client: &mut D,
    destination: &Destination,
    target: &Arc<Target>,
    fresh: bool,
    log: &mut AttemptLog,
) -> Result<Lease, Acquire> {
    let pool = &ctx.worker.pool;
    if !fresh && let Some(lease) = pool.take(&destination.upstream, target, ctx.worker.clock.now()) {
        log.attempt.address = lease.address;
        log.attempt.reuse = lease.reuse;
        return Ok(lease);
    }
    let addresses =
        ctx.peer.client.zip(ctx.peer.local).map(|(client, listener)| Addresses { client, listener });
    let mut times = DialTimes::default();
    let dialed = {
        let mut dial = Box::pin(pool.dial(&destination.upstream, target, addresses, &mut times));
        let watch = client.body_is_read();
        poll_fn(|cx| {
            if let Poll::Ready(result) = dial.as_mut().poll(cx) {
                return Poll::Ready(result.map_err(Acquire::Failed));
            }
            if watch && client.poll_gone(cx).is_ready() {
                let failure = crate::client::ClientFailure::Gone;
                return Poll::Ready(Err(Acquire::Stopped(Stop::Client { failure, phase: Phase::Connect })));
            }
            Poll::Pending
        })
        .await
    };
    ctx.worker.clock.tick();
    log.dialed(times);
    if let Ok(lease) = &dialed {
        log.attempt.address = lease.address;
    }
    dialed
}

enum Waiting {
    Failed(Failure),
    Stopped(Stop),
}

/// Sends the request and waits for the final response head, both at once: a target may answer before it has read all.
#[expect(clippy::too_many_arguments, reason = "both sides, the record and the timer are driven at once")]
async fn await_head<D: Downstream>(
    ctx: Context<'_>,
    client: &mut D,
    scratch: &mut Scratch,
    destination: &Destination,
    lease: &mut Lease,
    timer: &mut Deadline,
    log: &mut AttemptLog,
    record: &Exchange,
) -> Result<(ResponseFacts, bool), Waiting> {
    let limits = upstream::head_limits(&destination.upstream);
    let method = &scratch.request.method;
    let head = &mut scratch.response;
    let clock = &ctx.worker.clock;
    let begun = clock.now();
    let mut upload = Upload { state: UploadState::Running, progress: begun, moved: (0, 0) };
    let result = poll_fn(|cx| {
        if upload.state == UploadState::Running {
            match lease.connection.poll_upload(client, cx) {
                Poll::Ready(Ok(())) => {
                    upload.progress = clock.tick();
                    upload.state = UploadState::Done;
                    log.attempt.send = Some(upload.progress.duration_since(begun));
                }
                Poll::Ready(Err(UploadFailure::Client(failure))) => {
                    return Poll::Ready(Err(Waiting::Stopped(Stop::Client { failure, phase: Phase::Send })));
                }
                // The target may have answered before it closed: its answer counts more than our failed write.
                Poll::Ready(Err(UploadFailure::Upstream(failure))) => {
                    upload.progress = clock.tick();
                    upload.state = UploadState::Failed(Box::new(failure));
                }
                Poll::Pending => {}
            }
        }
        loop {
            match lease.connection.poll_head(method, &limits, head, cx) {
                Poll::Ready(Ok(facts)) if facts.informational => inform(client, head),
                Poll::Ready(Ok(facts)) => return Poll::Ready(Ok(facts)),
                Poll::Ready(Err(failure)) => return Poll::Ready(Err(Waiting::Failed(upload.blame(failure)))),
                Poll::Pending => break,
            }
        }
        if client.body_is_read() && client.poll_gone(cx).is_ready() {
            let failure = crate::client::ClientFailure::Gone;
            let phase = if upload.state == UploadState::Done { Phase::AwaitHead } else { Phase::Send };
            return Poll::Ready(Err(Waiting::Stopped(Stop::Client { failure, phase })));
        }
        let counts = (client.counts().0, lease.connection.counts().0);
        let target_is_due = !client.piece().is_empty() || lease.connection.has_unsent();
        let (at, expiry) = upload.deadline(ctx, &destination.route.timeouts, counts, target_is_due);
        timer.poll(at, cx).map(|()| Err(expiry.into()))
    })
    .await;
    let facts = result?;
    log.attempt.await_head = Some(clock.tick().duration_since(begun));
    log.attempt.status = Some(head.status);
    let asked_for_upgrade = scratch.request.fields.get(Known::Upgrade).is_some();
    if head.status == 101 && !asked_for_upgrade {
        let failure = Failure::new(Phase::AwaitHead, Fault::ResponseMalformed)
            .with_detail("101 without having been asked to switch protocols");
        return Err(Waiting::Failed(failure));
    }
    exchange::set_request_id(&mut head.fields, record);
    Ok((facts, upload.state == UploadState::Done))
}

/// Passes on what a client can use: early hints and the like. 100 is ours to give (RFC 9110 section 10.1.1), because
/// `Expect` is not forwarded.
fn inform<D: Downstream>(client: &mut D, head: &mut wire::ResponseHead) {
    if head.status != 100 {
        wire::strip_hop_by_hop(&mut head.fields);
        client.inform(head);
    }
}

#[derive(Debug, PartialEq)]
enum UploadState {
    Running,
    Done,
    Failed(Box<Failure>),
}

/// How far the request has come, and since when it has not moved.
struct Upload {
    state: UploadState,
    progress: Instant,
    /// Body bytes from the client, bytes to the target.
    moved: (u64, u64),
}

/// Which limit a deadline stands for.
#[derive(Clone, Copy)]
struct Expiry {
    fault: Fault,
    phase: Phase,
    name: LimitName,
    max: Duration,
}

impl From<Expiry> for Waiting {
    fn from(expiry: Expiry) -> Waiting {
        let Expiry { fault, phase, name, max } = expiry;
        match fault {
            Fault::ClientBodyTimeout | Fault::TotalTimeout => {
                Waiting::Stopped(Stop::Timeout { fault, phase, limit: Limit::Time { name, max } })
            }
            _ => Waiting::Failed(Failure::timeout(phase, fault, name, max)),
        }
    }
}

impl Upload {
    /// A write that failed first is the better reason than the missing answer that follows from it.
    fn blame(&mut self, failure: Failure) -> Failure {
        let no_answer = matches!(failure.fault, Fault::EarlyClose | Fault::Reset) && failure.detail.is_none();
        match std::mem::replace(&mut self.state, UploadState::Done) {
            UploadState::Failed(first) if no_answer => *first,
            _ => failure,
        }
    }

    /// The next deadline, and what it means when it passes.
    fn deadline(
        &mut self,
        ctx: Context<'_>,
        limits: &Timeouts,
        moved: (u64, u64),
        target_is_due: bool,
    ) -> (Instant, Expiry) {
        if self.state == UploadState::Running && moved != self.moved {
            self.moved = moved;
            self.progress = ctx.worker.clock.tick();
        }
        let own = match self.state {
            UploadState::Done | UploadState::Failed(_) => Expiry {
                fault: Fault::AwaitHeadTimeout,
                phase: Phase::AwaitHead,
                name: LimitName::AwaitHead,
                max: limits.await_head,
            },
            UploadState::Running if target_is_due => Expiry {
                fault: Fault::SendTimeout,
                phase: Phase::Send,
                name: LimitName::Send,
                max: limits.send,
            },
            UploadState::Running => Expiry {
                fault: Fault::ClientBodyTimeout,
                phase: Phase::Send,
                name: LimitName::ClientBodyIdle,
                max: ctx.listening.settings().timeouts.client_body_idle,
            },
        };
        let at = self.progress + own.max;
        match limits.total {
            Some(total) if ctx.started + total <= at => {
                let phase = own.phase;
                let expiry = Expiry { fault: Fault::TotalTimeout, phase, name: LimitName::Total, max: total };
                (ctx.started + total, expiry)
            }
            _ => (at, own),
        }
    }
}
