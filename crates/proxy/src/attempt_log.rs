//! The record of the attempt under way: it stands last in the exchange's record from its beginning, and is filled in there.
//!
//! What an attempt has shown beyond itself is noted with it: in the counts of its target, and on its connection.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use model::{Attempt, Ending, Exchange, Fault, Party, Phase, RetryRule};
use upstream::{DialTimes, Failure, Lease, Target};

use crate::client::ClientFailure;
use crate::exchange::{Context, Scratch, Stop};
use crate::route::Destination;

/// What led to an attempt.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Before {
    /// The rule by which it follows the attempt before.
    pub why: Option<RetryRule>,
    /// How long a target that accepts was waited for.
    pub waited: Option<Duration>,
}

/// Begins the next attempt.
pub(crate) fn begin(
    ctx: Context<'_>,
    record: &mut Exchange,
    destination: &Destination,
    target: &Target,
    before: Before,
) {
    // One attempt is the rule; room for four, as a push would make, costs more than the rest of the record.
    record.attempts.reserve_exact(1);
    record.attempts.push(new(ctx, destination, target, before));
}

/// An attempt that begins now.
pub(crate) fn new(ctx: Context<'_>, destination: &Destination, target: &Target, before: Before) -> Attempt {
    Attempt {
        upstream: destination.upstream.settings.name.clone(),
        target: target.settings.url.clone(),
        address: None,
        started_micros: ctx.micros(ctx.worker.clock.now()),
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
        why: before.why,
        waited: before.waited,
        tls_alert: None,
        limit: None,
        detail: None,
    }
}

/// The attempt under way.
pub(crate) fn current(record: &mut Exchange) -> &mut Attempt {
    record.attempts.last_mut().expect("an attempt must have begun")
}

/// When it began. A record counts whole microseconds; the one after is not before it.
pub(crate) fn began(ctx: Context<'_>, attempt: &Attempt) -> Instant {
    ctx.started + Duration::from_micros(attempt.started_micros + 1)
}

pub(crate) fn dialed(attempt: &mut Attempt, times: DialTimes) {
    attempt.resolve = times.resolve;
    attempt.connect = times.connect;
    attempt.tls = times.tls;
}

/// The attempt under way is over.
pub(crate) fn finish(
    ctx: Context<'_>,
    record: &mut Exchange,
    target: &Target,
    now: Instant,
    bytes: (u64, u64),
    ending: Ending,
) {
    close(ctx, current(record), target, now, bytes, ending);
}

/// This attempt is over.
pub(crate) fn close(
    ctx: Context<'_>,
    attempt: &mut Attempt,
    target: &Target,
    now: Instant,
    bytes: (u64, u64),
    ending: Ending,
) {
    let total_micros = ctx.micros(now).saturating_sub(attempt.started_micros);
    attempt.total = Duration::from_micros(total_micros);
    (attempt.bytes_sent, attempt.bytes_received) = bytes;
    attempt.ending = ending;
    target.state.attempts.fetch_add(1, Ordering::Relaxed);
    if ending.fault.is_some_and(|fault| fault.party() == Party::Upstream) {
        target.state.failures.fetch_add(1, Ordering::Relaxed);
    }
}

/// This attempt failed.
pub(crate) fn fail(
    ctx: Context<'_>,
    attempt: &mut Attempt,
    target: &Target,
    lease: Option<&Lease>,
    failure: &Failure,
) {
    attempt.peer_end = failure.peer_end;
    attempt.errno = failure.errno;
    attempt.tls_alert = failure.tls_alert;
    attempt.limit = failure.limit;
    attempt.detail.clone_from(&failure.detail);
    attempt.bytes_acked = lease.and_then(|lease| lease.connection.bytes_acked());
    if let (Some(lease), Some(limit)) = (lease, failure.limit) {
        lease.ran_out(limit);
    }
    let bytes = lease.map_or((0, 0), |lease| lease.connection.counts());
    close(ctx, attempt, target, ctx.worker.clock.tick(), bytes, failure.ending());
}

/// The attempt ended for no fault of its own: the client left, or the exchange ran out of time.
pub(crate) fn abandon(
    ctx: Context<'_>,
    record: &mut Exchange,
    target: &Target,
    lease: Option<&Lease>,
    stop: &Stop,
) {
    if let Stop::Timeout { limit, .. } = stop {
        current(record).limit = Some(*limit);
        if let Some(lease) = lease {
            lease.ran_out(*limit);
        }
    }
    if let Stop::Upstream(failure) = stop {
        return fail(ctx, current(record), target, lease, failure);
    }
    let bytes = lease.map_or((0, 0), |lease| lease.connection.counts());
    finish(ctx, record, target, ctx.worker.clock.tick(), bytes, ending(stop));
}

/// How an attempt ends with its exchange.
pub(crate) fn ending(stop: &Stop) -> Ending {
    match stop {
        Stop::Client { phase, failure } => {
            let fault = match failure {
                ClientFailure::Gone => Fault::ClientGone,
                ClientFailure::Malformed { fault, .. } => *fault,
                ClientFailure::TooLarge { .. } => Fault::RequestBodyTooLarge,
            };
            Ending::failed(*phase, fault)
        }
        Stop::Timeout { fault, phase, .. } => Ending::failed(*phase, *fault),
        Stop::Refused { answer, phase, .. } => Ending::failed(*phase, answer.fault),
        Stop::Upstream(failure) => failure.ending(),
    }
}

/// The process ends in the middle of the exchange; gives the phase it was in.
pub(crate) fn cut(ctx: Context<'_>, scratch: &Scratch, record: &mut Exchange) -> Phase {
    let first = record.attempts.last_mut().and_then(|attempt| cut_attempt(ctx, attempt));
    let mut second = scratch.beside.take();
    let beside = second.as_mut().and_then(|second| cut_attempt(ctx, second));
    if let Some(second) = second {
        // As ever, the last one is the one that would have gone on.
        let place = record.attempts.len() - usize::from(first.is_some());
        record.attempts.insert(place, second);
    }
    let waits = if scratch.is_collecting { Phase::ReadRequest } else { Phase::Queue };
    // What is left of an answer may be on its way to the client when the attempt is over.
    let responds = record.timeline.response_micros.map(|_| Phase::Body);
    first.or(beside).or(responds).unwrap_or(waits)
}

/// Gives the phase it was in; `None` if it was over.
fn cut_attempt(ctx: Context<'_>, attempt: &mut Attempt) -> Option<Phase> {
    if !attempt.total.is_zero() {
        return None;
    }
    let phase = match attempt.await_head {
        Some(_) => Phase::Body,
        None if attempt.reuse.is_some() || attempt.connect.is_some() => Phase::AwaitHead,
        None => Phase::Connect,
    };
    let total_micros = ctx.micros(ctx.worker.clock.tick()).saturating_sub(attempt.started_micros);
    attempt.total = Duration::from_micros(total_micros);
    attempt.ending = Ending::failed(phase, Fault::Draining);
    Some(phase)
}
