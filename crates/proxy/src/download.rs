//! The response body on its way to the client, while the rest of the request may still be on its way to the target.

use std::future::poll_fn;
use std::task::Poll;

use model::gateway::ClientGone;
use model::{Ending, Exchange, Fault, Phase};
use upstream::Failure;
use upstream::body::{Offer, Source};

use crate::attempt::Answered;
use crate::attempt_log;
use crate::await_head::moved;
use crate::client::{ClientFailure, DownloadFailure, Downstream};
use crate::deadline::Deadline;
use crate::exchange::{Context, Stop};
use crate::retry;
use crate::upload::Turn;
use crate::watch::Due;

/// Moves the body; gives the connection back to the pool, and the attempt to the record.
pub(crate) async fn run<D: Downstream>(
    ctx: Context<'_>,
    client: &mut D,
    mut answered: Answered,
    record: &mut Exchange,
) -> Result<(), Stop> {
    let mut timer = ctx.worker.lend_timer();
    let end = transfer(ctx, client, &mut answered, &mut timer).await;
    let finish_anyway = answered.destination.route.client_gone == ClientGone::Finish;
    let is_read_whole = match &end {
        Ok(()) => true,
        Err(Stop::Client { failure: ClientFailure::Gone, .. }) if finish_anyway => {
            drain(ctx, client, &mut answered, &mut timer).await
        }
        Err(_) => false,
    };
    ctx.worker.return_timer(timer);
    record.response_body_bytes = client.counts().1;
    let Answered { lease, .. } = answered;
    if is_read_whole {
        let now = ctx.worker.clock.tick();
        let counts = lease.connection.counts();
        attempt_log::finish(ctx, record, lease.target(), now, counts, Ending::ANSWERED);
        ctx.worker.pool.release(lease, now);
    } else if let Err(stop) = &end {
        if let Stop::Upstream(failure) = stop
            && let Some(outcome) = retry::outcome(failure, false)
        {
            lease.upstream().observe(lease.target(), ctx.worker.clock.tick(), outcome);
        }
        attempt_log::abandon(ctx, record, lease.target(), Some(&lease), stop);
    }
    end
}

async fn transfer<D: Downstream>(
    ctx: Context<'_>,
    client: &mut D,
    answered: &mut Answered,
    timer: &mut Deadline,
) -> Result<(), Stop> {
    let Answered { lease, destination, upload, watch, .. } = answered;
    poll_fn(|cx| {
        if let Some(stop) = upload.poll(ctx, client, lease, Phase::Body, cx) {
            return Poll::Ready(Err(stop));
        }
        if let Poll::Ready(result) = client.poll_download(&mut lease.connection, cx) {
            return Poll::Ready(result.map_err(stop));
        }
        if client.body_is_read() && client.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(gone()));
        }
        let due = if client.has_unsent() || !lease.connection.piece().is_empty() {
            Due::ResponseTaken
        } else {
            match upload.turn(client, lease) {
                Some(Turn::Client) => Due::EitherBody,
                Some(Turn::Disk) => Due::Disk,
                Some(Turn::Target) | None => Due::ResponseBody,
            }
        };
        let expiry = watch.next(ctx, &destination.route.timeouts, due, moved(client, lease));
        timer.poll(expiry.at, cx).map(|()| Err(expiry.stop()))
    })
    .await
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

/// `when-client-leaves: finish`: reads the response to its end although nobody wants it; says whether it came to that.
async fn drain<D: Downstream>(
    ctx: Context<'_>,
    client: &D,
    answered: &mut Answered,
    timer: &mut Deadline,
) -> bool {
    let Answered { lease, destination, watch, .. } = answered;
    poll_fn(|cx| {
        loop {
            match lease.connection.poll_piece(cx) {
                Poll::Ready(Ok(Offer::Piece)) => lease.connection.consume(lease.connection.piece().len()),
                Poll::Ready(Ok(Offer::End)) => return Poll::Ready(true),
                Poll::Ready(Err(_)) => return Poll::Ready(false),
                Poll::Pending => break,
            }
        }
        let moved = moved(client, lease);
        let expiry = watch.next(ctx, &destination.route.timeouts, Due::ResponseBody, moved);
        timer.poll(expiry.at, cx).map(|()| false)
    })
    .await
}
