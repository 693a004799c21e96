//! From the first byte of the request to the last byte of the response head.
//!
//! Both directions are driven at once, because a target may answer before it has read everything.

use std::future::poll_fn;
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use model::gateway::{ClientGone, Timeouts};
use model::{Fault, Limit, LimitName, Phase};
use upstream::{Failure, Lease, UploadFailure};
use wire::{Known, ResponseFacts};

use crate::attempt::Trial;
use crate::attempt_log;
use crate::client::{ClientFailure, Downstream};
use crate::deadline::Deadline;
use crate::exchange::{self, Context, Stop};
use crate::pace::Pace;
use crate::whole::Whole;

/// Why there is no response head.
pub(crate) enum Waiting {
    Failed(Failure),
    Stopped(Stop),
}

/// Sends the request and waits for the final response head. Also says whether the request is out, its end included.
pub(crate) async fn await_head<D: Downstream>(
    trial: &mut Trial<'_, D>,
    lease: &mut Lease,
    timer: &mut Deadline,
) -> Result<(ResponseFacts, bool), Waiting> {
    let ctx = trial.ctx;
    let limits = upstream::head_limits(&trial.destination.upstream);
    let clock = &ctx.worker.clock;
    let begun = clock.now();
    let collected = trial.scratch.collected.as_ref().map(|body| Whole::new(body.bytes.clone()));
    let mut upload = Upload::new(begun, collected, ctx);
    let cancel_if_gone = trial.destination.route.client_gone == ClientGone::Cancel;
    let client = &mut *trial.client;
    let method = &trial.scratch.request.method;
    let head = &mut trial.scratch.response;
    let result = poll_fn(|cx| {
        if let Some(stop) = upload.poll(ctx, client, lease, cx) {
            return Poll::Ready(Err(Waiting::Stopped(stop)));
        }
        loop {
            match lease.connection.poll_head(method, &limits, head, cx) {
                Poll::Ready(Ok(facts)) if facts.informational => inform(client, head),
                Poll::Ready(Ok(facts)) => return Poll::Ready(Ok(facts)),
                Poll::Ready(Err(failure)) => return Poll::Ready(Err(Waiting::Failed(upload.blame(failure)))),
                Poll::Pending => break,
            }
        }
        if cancel_if_gone && client.body_is_read() && client.poll_gone(cx).is_ready() {
            let phase = if upload.state == UploadState::Done { Phase::AwaitHead } else { Phase::Send };
            let stop = Stop::Client { failure: ClientFailure::Gone, phase };
            return Poll::Ready(Err(Waiting::Stopped(stop)));
        }
        let counts = (client.counts().0, lease.connection.counts().0);
        let target_is_due = !client.piece().is_empty() || lease.connection.has_unsent();
        let (at, expiry) = upload.deadline(ctx, &trial.destination.route.timeouts, counts, target_is_due);
        timer.poll(at, cx).map(|()| Err(expiry.into()))
    })
    .await;
    let attempt = attempt_log::current(trial.record);
    attempt.send = upload.sent_at.map(|at| at.duration_since(begun));
    let facts = result?;
    attempt.await_head = Some(clock.tick().duration_since(begun));
    attempt.status = Some(head.status);
    let asked_for_upgrade = trial.scratch.request.fields.get(Known::Upgrade).is_some();
    if head.status == 101 && !asked_for_upgrade {
        let failure = Failure::new(Phase::AwaitHead, Fault::ResponseMalformed)
            .with_detail("101 without having been asked to switch protocols");
        return Err(Waiting::Failed(failure));
    }
    exchange::set_request_id(&mut head.fields, trial.record);
    Ok((facts, upload.is_over()))
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
    /// A body that was collected before, in place of the client's.
    collected: Option<Whole>,
    progress: Instant,
    pace: Pace,
    sent_at: Option<Instant>,
    /// Body bytes from the client, bytes to the target.
    moved: (u64, u64),
}

/// Which limit a deadline stands for.
#[derive(Clone, Copy)]
struct Expiry {
    fault: Fault,
    phase: Phase,
    limit: Limit,
}

impl Expiry {
    fn time(fault: Fault, phase: Phase, name: LimitName, max: Duration) -> Expiry {
        Expiry { fault, phase, limit: Limit::Time { name, max } }
    }
}

impl From<Expiry> for Waiting {
    fn from(expiry: Expiry) -> Waiting {
        let Expiry { fault, phase, limit } = expiry;
        match fault {
            Fault::ClientBodyTimeout | Fault::TotalTimeout => {
                Waiting::Stopped(Stop::Timeout { fault, phase, limit })
            }
            _ => Waiting::Failed(Failure::new(phase, fault).with_limit(limit)),
        }
    }
}

impl Upload {
    fn new(begun: Instant, collected: Option<Whole>, ctx: Context<'_>) -> Upload {
        Upload {
            state: UploadState::Running,
            collected,
            progress: begun,
            pace: Pace::new(ctx.listening.settings().limits.body_rate),
            sent_at: None,
            moved: (0, 0),
        }
    }

    /// Sends what can be sent; gives the reason when the client's side has failed.
    fn poll<D: Downstream>(
        &mut self,
        ctx: Context<'_>,
        client: &mut D,
        lease: &mut Lease,
        cx: &mut TaskContext<'_>,
    ) -> Option<Stop> {
        if self.state != UploadState::Running {
            return None;
        }
        let sent = match &mut self.collected {
            None => lease.connection.poll_upload(client, cx),
            Some(body) => lease.connection.poll_upload(body, cx).map_err(|failure| match failure {
                UploadFailure::Client(never) => match never {},
                UploadFailure::Upstream(failure) => UploadFailure::Upstream(failure),
            }),
        };
        match sent {
            Poll::Ready(Ok(())) => {
                self.progress = ctx.worker.clock.tick();
                self.sent_at = Some(self.progress);
                self.state = UploadState::Done;
            }
            Poll::Ready(Err(UploadFailure::Client(failure))) => {
                return Some(Stop::Client { failure, phase: Phase::Send });
            }
            // The target may have answered before it closed: its answer counts more than our failed write.
            Poll::Ready(Err(UploadFailure::Upstream(failure))) => {
                self.progress = ctx.worker.clock.tick();
                self.state = UploadState::Failed(Box::new(failure));
            }
            Poll::Pending => {}
        }
        None
    }

    /// Nothing of the request is left to send: it is out, or what was collected of it is no longer wanted.
    fn is_over(&self) -> bool {
        self.state == UploadState::Done || self.collected.is_some()
    }

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
        let is_running = self.state == UploadState::Running;
        if is_running && moved != self.moved {
            self.moved = moved;
            self.progress = ctx.worker.clock.tick();
        }
        let idle = ctx.listening.settings().timeouts.client_body_idle;
        let (fault, phase, name, max) = match self.state {
            UploadState::Done | UploadState::Failed(_) => {
                (Fault::AwaitHeadTimeout, Phase::AwaitHead, LimitName::AwaitHead, limits.await_head)
            }
            UploadState::Running if target_is_due => {
                (Fault::SendTimeout, Phase::Send, LimitName::Send, limits.send)
            }
            UploadState::Running => (Fault::ClientBodyTimeout, Phase::Send, LimitName::ClientBodyIdle, idle),
        };
        let mut first = (self.progress + max, Expiry::time(fault, phase, name, max));
        if is_running {
            let pace = self.pace.deadline(ctx.worker.clock.tick(), moved.0, !target_is_due);
            if let Some(at) = pace.filter(|at| *at < first.0) {
                first = (at, Expiry { fault, phase, limit: self.pace.limit() });
            }
        }
        if let Some(total) = limits.total
            && ctx.started + total <= first.0
        {
            first = (ctx.started + total, Expiry::time(Fault::TotalTimeout, phase, LimitName::Total, total));
        }
        first
    }
}
