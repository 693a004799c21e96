//! The record of one attempt, filled in while it runs.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use model::{Attempt, Ending, Fault};
use upstream::{DialTimes, Failure, Lease, Target};

use crate::client::ClientFailure;
use crate::exchange::{Context, Stop};
use crate::route::Destination;

/// What is known of an attempt while it runs.
#[derive(Debug)]
pub(crate) struct AttemptLog {
    pub attempt: Attempt,
    begun: Instant,
    target: Arc<Target>,
}

impl AttemptLog {
    pub(crate) fn begin(
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

    pub(crate) fn dialed(&mut self, times: DialTimes) {
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

    /// The same for one that ended for no fault of its own: the client left, or the exchange ran out of time.
    pub(crate) fn abandon(self, ctx: Context<'_>, lease: Option<&Lease>, stop: &Stop) -> Attempt {
        let ending = match stop {
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
        };
        let bytes = lease.map_or((0, 0), |lease| lease.connection.counts());
        self.finish(ctx.worker.clock.tick(), bytes, ending)
    }
}
