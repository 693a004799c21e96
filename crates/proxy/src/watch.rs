//! The time limits of an attempt: who is due, since when nothing has moved, and what it means when the time is over.

use std::time::Instant;

use model::gateway::Timeouts;
use model::{Fault, Limit, LimitName, Phase};
use upstream::Failure;

use crate::exchange::{Context, Stop};
use crate::pace::Pace;
use crate::spool;

/// What a client must take of a waiting response within its time limit: one that takes a byte now and then must not hold
/// it for ever.
pub(crate) const PACE_BYTES: u64 = 4 << 10;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// The client, to send more of its body.
    RequestBody,
    /// The target, to take what there is of the request.
    RequestTaken,
    /// The disk, to give a piece of the request.
    Disk,
    /// The target, to answer.
    Head,
    /// The target, to send more of its response.
    ResponseBody,
    /// The same, while the client has not sent all of its request either, which may be what the target waits for.
    EitherBody,
    /// The client, to take what there is of the response.
    ResponseTaken,
}

/// Bytes so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moved {
    pub from_client: u64,
    pub to_target: u64,
    pub from_target: u64,
    pub to_client: u64,
}

/// Watches one attempt from its first byte to its last.
#[derive(Debug)]
pub(crate) struct Watch {
    due: Due,
    progress: Instant,
    moved: u64,
    pace: Pace,
}

/// A limit that may be reached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expiry {
    pub at: Instant,
    fault: Fault,
    phase: Phase,
    limit: Limit,
}

impl Watch {
    /// `body_rate`: the least bytes per second of a request body.
    pub(crate) fn new(now: Instant, body_rate: u64) -> Watch {
        Watch { due: Due::RequestTaken, progress: now, moved: 0, pace: Pace::new(body_rate) }
    }

    /// The next limit that will be reached if nothing moves.
    pub(crate) fn next(&mut self, ctx: Context<'_>, limits: &Timeouts, due: Due, moved: Moved) -> Expiry {
        let listener = &ctx.listening.settings().timeouts;
        let (fault, phase, name, max) = match due {
            Due::RequestBody => {
                (Fault::ClientBodyTimeout, Phase::Send, LimitName::ClientBodyIdle, listener.client_body_idle)
            }
            Due::RequestTaken => (Fault::SendTimeout, Phase::Send, LimitName::Send, limits.send),
            Due::Disk => (Fault::Overloaded, Phase::Send, LimitName::Spool, spool::WAIT_MAX),
            Due::Head => (Fault::AwaitHeadTimeout, Phase::AwaitHead, LimitName::AwaitHead, limits.await_head),
            Due::ResponseBody => (Fault::BodyIdleTimeout, Phase::Body, LimitName::BodyIdle, limits.body_idle),
            Due::EitherBody => (Fault::ClientBodyTimeout, Phase::Body, LimitName::BodyIdle, limits.body_idle),
            Due::ResponseTaken => {
                (Fault::ClientSendTimeout, Phase::Body, LimitName::ClientSend, listener.client_send)
            }
        };
        let (moved_here, enough) = match due {
            // Not what the target sends: interim responses do not put its answer off.
            Due::RequestBody | Due::RequestTaken | Due::Disk | Due::Head => {
                (moved.from_client + moved.to_target, 1)
            }
            Due::ResponseBody | Due::EitherBody => {
                (moved.from_client + moved.to_target + moved.from_target + moved.to_client, 1)
            }
            Due::ResponseTaken => (moved.to_client, PACE_BYTES),
        };
        // That somebody else is due now means that the one before has done its part.
        if due != self.due || moved_here.saturating_sub(self.moved) >= enough {
            self.due = due;
            self.moved = moved_here;
            self.progress = ctx.worker.clock.tick();
        }
        let mut next = Expiry { at: self.progress + max, fault, phase, limit: Limit::Time { name, max } };
        if matches!(due, Due::RequestBody | Due::RequestTaken) {
            let now = ctx.worker.clock.tick();
            let pace = self.pace.deadline(now, moved.from_client, due == Due::RequestBody);
            if let Some(at) = pace {
                next = next.or(Expiry { at, limit: self.pace.limit(), ..next });
            }
        }
        next.within_total(ctx, limits)
    }
}

impl Expiry {
    /// A limit of its own, for who waits for one thing only.
    pub(crate) fn new(at: Instant, fault: Fault, phase: Phase, limit: Limit) -> Expiry {
        Expiry { at, fault, phase, limit }
    }

    /// The limit of the whole exchange, if it has one.
    pub(crate) fn total(ctx: Context<'_>, limits: &Timeouts, phase: Phase) -> Option<Expiry> {
        let max = limits.total?;
        let limit = Limit::Time { name: LimitName::Total, max };
        Some(Expiry { at: ctx.started + max, fault: Fault::TotalTimeout, phase, limit })
    }

    /// The limit of an attempt until its response head, if it has one.
    pub(crate) fn attempt(begun: Instant, limits: &Timeouts, phase: Phase) -> Option<Expiry> {
        let max = limits.attempt?;
        let fault = match phase {
            Phase::Send => Fault::SendTimeout,
            Phase::AwaitHead => Fault::AwaitHeadTimeout,
            _ => Fault::ConnectTimeout,
        };
        Some(Expiry { at: begun + max, fault, phase, limit: Limit::Time { name: LimitName::Attempt, max } })
    }

    /// This limit or the other, whichever is reached first.
    pub(crate) fn or(self, other: Expiry) -> Expiry {
        if other.at < self.at { other } else { self }
    }

    /// This limit or that of the whole exchange, whichever is reached first.
    pub(crate) fn within_total(self, ctx: Context<'_>, limits: &Timeouts) -> Expiry {
        Expiry::total(ctx, limits, self.phase).map_or(self, |total| total.or(self))
    }

    /// The limit was reached.
    pub(crate) fn stop(self) -> Stop {
        let Expiry { fault, phase, limit, .. } = self;
        match fault {
            Fault::ConnectTimeout | Fault::SendTimeout | Fault::AwaitHeadTimeout | Fault::BodyIdleTimeout => {
                Stop::Upstream(Failure::new(phase, fault).with_limit(limit))
            }
            _ => Stop::Timeout { fault, phase, limit },
        }
    }
}
