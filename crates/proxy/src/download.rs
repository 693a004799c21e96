//! The response body on its way to the client, while the rest of the request may still be on its way to the target.

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use model::{Ending, Exchange, Fault, Limit, LimitName, Phase};
use upstream::body::{Offer, Source};
use upstream::{Failure, UploadFailure};

use crate::attempt::Answered;
use crate::attempt_log;
use crate::client::{ClientFailure, DownloadFailure, Downstream};
use crate::deadline::Deadline;
use crate::exchange::{Context, Stop};

/// What a client must take of a waiting response within its time limit for sending.
const PACE_BYTES: u64 = 4 << 10;

/// How a response ended.
#[derive(Debug)]
pub(crate) enum DownloadEnd {
    Complete,
    Stopped(Stop),
}

/// Moves the body; gives the connection back to the pool, and the attempt to the record.
pub(crate) async fn run<D: Downstream>(
    ctx: Context<'_>,
    client: &mut D,
    answered: Answered,
    finish_anyway: bool,
    record: &mut Exchange,
) -> DownloadEnd {
    let mut answered = answered;
    let mut timer = ctx.worker.lend_timer();
    let mut watch = Watch { progress: ctx.worker.clock.now(), moved: (0, 0) };
    let end = poll_fn(|cx| {
        if !answered.uploaded {
            match answered.lease.connection.poll_upload(client, cx) {
                Poll::Ready(Ok(())) => answered.uploaded = true,
                // The target has answered and does not want the rest: that is no failure of the exchange.
                Poll::Ready(Err(UploadFailure::Upstream(_))) => answered.uploaded = true,
                Poll::Ready(Err(UploadFailure::Client(failure))) => {
                    return Poll::Ready(Err(Stop::Client { failure, phase: Phase::Body }));
                }
                Poll::Pending => {}
            }
        }
        if let Poll::Ready(result) = client.poll_download(&mut answered.lease.connection, cx) {
            return Poll::Ready(result.map_err(stop));
        }
        if client.body_is_read() && client.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(gone()));
        }
        let moved = (answered.lease.connection.counts().1, client.counts().1);
        let client_is_due = client.has_unsent() || !answered.lease.connection.piece().is_empty();
        let (at, fault, name, max) = watch.deadline(ctx, &answered, moved, client_is_due);
        timer.poll(at, cx).map(|()| Err(expired(fault, name, max)))
    })
    .await;
    let is_read_whole = match &end {
        Ok(()) => true,
        Err(Stop::Client { failure: ClientFailure::Gone, .. }) if finish_anyway => {
            drain(&mut answered, &mut timer, ctx).await
        }
        Err(_) => false,
    };
    ctx.worker.return_timer(timer);
    record.response_body_bytes = client.counts().1;
    let Answered { lease, .. } = answered;
    if is_read_whole {
        let now = ctx.worker.clock.tick();
        let counts = lease.connection.counts();
        attempt_log::finish(ctx, record, &lease.target, now, counts, Ending::ANSWERED);
        ctx.worker.pool.release(lease, now);
    } else if let Err(stop) = &end {
        attempt_log::abandon(ctx, record, &lease.target, Some(&lease), stop);
    }
    match end {
        Ok(()) => DownloadEnd::Complete,
        Err(stop) => DownloadEnd::Stopped(stop),
    }
}

fn stop(failure: DownloadFailure<Failure>) -> Stop {
    match failure {
        DownloadFailure::Upstream(failure) => Stop::Upstream(failure),
        DownloadFailure::Length => Stop::Upstream(Failure::new(Phase::Body, Fault::BodyTruncated)),
        DownloadFailure::ClientGone => gone(),
    }
}

fn gone() -> Stop {
    Stop::Client { failure: ClientFailure::Gone, phase: Phase::Body }
}

fn expired(fault: Fault, name: LimitName, max: Duration) -> Stop {
    match fault {
        Fault::BodyIdleTimeout => Stop::Upstream(Failure::timeout(Phase::Body, fault, name, max)),
        _ => Stop::Timeout { fault, phase: Phase::Body, limit: Limit::Time { name, max } },
    }
}

/// Since when nothing has moved.
struct Watch {
    progress: Instant,
    /// Bytes from the target, bytes to the client.
    moved: (u64, u64),
}

impl Watch {
    fn deadline(
        &mut self,
        ctx: Context<'_>,
        answered: &Answered,
        moved: (u64, u64),
        client_is_due: bool,
    ) -> (Instant, Fault, LimitName, Duration) {
        // A client that takes a byte now and then does not hold a response for ever: what counts is some pace.
        let taken = moved.1.wrapping_sub(self.moved.1);
        let has_moved = if client_is_due { taken >= PACE_BYTES } else { moved != self.moved };
        if has_moved {
            self.moved = moved;
            self.progress = ctx.worker.clock.tick();
        }
        let limits = &answered.destination.route.timeouts;
        let (fault, name, max) = if client_is_due {
            let max = ctx.listening.settings().timeouts.client_send;
            (Fault::ClientSendTimeout, LimitName::ClientSend, max)
        } else {
            (Fault::BodyIdleTimeout, LimitName::BodyIdle, limits.body_idle)
        };
        let at = self.progress + max;
        match limits.total {
            Some(total) if ctx.started + total <= at => {
                (ctx.started + total, Fault::TotalTimeout, LimitName::Total, total)
            }
            _ => (at, fault, name, max),
        }
    }
}

/// `when-client-leaves: finish`: reads the response to its end although nobody wants it; says whether it came to that.
async fn drain(answered: &mut Answered, timer: &mut Deadline, ctx: Context<'_>) -> bool {
    let limits = answered.destination.route.timeouts;
    let mut at = Instant::now() + limits.body_idle;
    poll_fn(|cx| {
        loop {
            match answered.lease.connection.poll_piece(cx) {
                Poll::Ready(Ok(Offer::Piece)) => {
                    let n = answered.lease.connection.piece().len();
                    answered.lease.connection.consume(n);
                    at = Instant::now() + limits.body_idle;
                }
                Poll::Ready(Ok(Offer::End)) => return Poll::Ready(true),
                Poll::Ready(Err(_)) => return Poll::Ready(false),
                Poll::Pending => break,
            }
        }
        let at = limits.total.map_or(at, |total| at.min(ctx.started + total));
        timer.poll(at, cx).map(|()| false)
    })
    .await
}
