//! The response body on its way to the client, while the rest of the request may still be on its way to the target.

use std::future::poll_fn;
use std::task::Poll;

use model::gateway::{ClientGone, Timeouts};
use model::{Ending, Exchange, Fault, Phase};
use upstream::Failure;
use upstream::body::{Offer, Source};

use crate::ahead::{self, Ahead, Read};
use crate::attempt::Answered;
use crate::attempt_log;
use crate::await_head::moved;
use crate::client::{ClientFailure, DownloadFailure, Downstream};
use crate::deadline::Deadline;
use crate::exchange::{Context, Scratch, Stop};
use crate::retry;
use crate::upload::Turn;
use crate::watch::{Due, Moved, Watch};

/// Moves the body; gives the connection back to the pool, and the attempt to the record, as soon as the target is done.
pub(crate) async fn run<D: Downstream>(
    ctx: Context<'_>,
    client: &mut D,
    scratch: &mut Scratch,
    mut answered: Answered,
    record: &mut Exchange,
) -> Result<(), Stop> {
    let mut timer = ctx.worker.lend_timer();
    let mut ahead = None;
    let mut end = transfer(ctx, client, scratch, &mut answered, &mut ahead, &mut timer).await;
    let finish_anyway = answered.destination.route.client_gone == ClientGone::Finish;
    let is_read_whole = match &end {
        Ok(()) => true,
        Err(Stop::Client { failure: ClientFailure::Gone, .. }) if finish_anyway => {
            drain(ctx, client, &mut answered, &mut timer).await
        }
        Err(_) => false,
    };
    let Answered { lease, destination, watch, .. } = answered;
    if is_read_whole {
        let now = ctx.worker.clock.tick();
        let counts = lease.connection.counts();
        attempt_log::finish(ctx, record, lease.target(), now, counts, Ending::ANSWERED);
        ctx.worker.pool.release(lease, now);
        if let (Ok(()), Some(ahead)) = (&end, ahead) {
            end = Box::pin(rest(ctx, client, *ahead, &destination.route.timeouts, watch, &mut timer)).await;
        }
    } else if let Err(stop) = &end {
        if let Stop::Upstream(failure) = stop
            && let Some(outcome) = retry::outcome(failure, false)
        {
            let began = attempt_log::began(ctx, attempt_log::current(record));
            lease.upstream().observe(lease.target(), began, ctx.worker.clock.tick(), outcome);
        }
        attempt_log::abandon(ctx, record, lease.target(), Some(&lease), stop);
    }
    ctx.worker.return_timer(timer);
    record.response_body_bytes = client.counts().1;
    end
}

/// Moves the body until the target is done: to the client, and into memory what a slow client does not take of the end.
async fn transfer<D: Downstream>(
    ctx: Context<'_>,
    client: &mut D,
    scratch: &mut Scratch,
    answered: &mut Answered,
    ahead: &mut Option<Box<Ahead>>,
    timer: &mut Deadline,
) -> Result<(), Stop> {
    let Scratch { response: head, collected, .. } = scratch;
    let Answered { lease, destination, framing, upload, watch } = answered;
    poll_fn(|cx| {
        if let Some(stop) = upload.poll(ctx, client, lease, Phase::Body, cx) {
            return Poll::Ready(Err(stop));
        }
        upload.let_go(collected);
        let polled = match ahead {
            None => client.poll_download(&mut lease.connection, cx),
            Some(ahead) => client.poll_download(&mut ahead.before(&mut lease.connection), cx),
        };
        if let Poll::Ready(result) = polled {
            *ahead = None;
            return Poll::Ready(result.map_err(stop));
        }
        if ahead.as_ref().is_some_and(|ahead| ahead.is_empty()) {
            *ahead = None;
        }
        if client.body_is_read() && client.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(gone()));
        }
        let is_blocked = client.has_unsent() || !lease.connection.piece().is_empty() || ahead.is_some();
        if is_blocked
            && upload.is_done()
            && ahead::is_small(head, *framing, &lease.connection, client.counts().1)
        {
            match Ahead::read(ahead, ctx, &mut lease.connection, cx) {
                Ok(Read::All) => return Poll::Ready(Ok(())),
                Ok(Read::Some) => {}
                Err(failure) => return Poll::Ready(Err(Stop::Upstream(failure))),
            }
        }
        let due = if is_blocked {
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

/// What was read ahead goes to the client; the target has nothing to do with it any more.
async fn rest<D: Downstream>(
    ctx: Context<'_>,
    client: &mut D,
    mut ahead: Ahead,
    timeouts: &Timeouts,
    mut watch: Watch,
    timer: &mut Deadline,
) -> Result<(), Stop> {
    poll_fn(|cx| {
        if let Poll::Ready(result) = client.poll_download(&mut ahead, cx) {
            return Poll::Ready(result.map_err(|failure| match failure {
                DownloadFailure::Upstream(never) => match never {},
                DownloadFailure::Length => stop(DownloadFailure::Length),
                DownloadFailure::ClientGone => gone(),
            }));
        }
        if client.body_is_read() && client.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(gone()));
        }
        let (from_client, to_client) = client.counts();
        let moved = Moved { from_client, to_client, ..Moved::default() };
        let expiry = watch.next(ctx, timeouts, Due::ResponseTaken, moved);
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
