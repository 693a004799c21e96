//! From the first byte of the request to the last byte of the response head.
//!
//! Both directions are driven at once, because a target may answer before it has read everything.

use std::future::poll_fn;
use std::task::Poll;

use model::gateway::ClientGone;
use model::{Fault, Phase};
use upstream::{Failure, Lease};
use wire::{Framing, Known, ResponseHead};

use crate::attempt::Trial;
use crate::attempt_log;
use crate::client::{ClientFailure, Downstream};
use crate::deadline::Deadline;
use crate::exchange::{self, Stop};
use crate::upload::{Turn, Upload};
use crate::watch::{Due, Expiry, Moved, Watch};

/// Sends the request and waits for the final response head; gives the framing of the body that follows it.
pub(crate) async fn await_head<D: Downstream>(
    trial: &mut Trial<'_, D>,
    lease: &mut Lease,
    upload: &mut Upload,
    watch: &mut Watch,
    timer: &mut Deadline,
) -> Result<Framing, Stop> {
    let ctx = trial.ctx;
    let limits = upstream::head_limits(lease.upstream());
    let timeouts = &trial.destination.route.timeouts;
    let clock = &ctx.worker.clock;
    let attempt_begun = trial.begun();
    let begun = clock.now();
    let cancel_if_gone = trial.destination.route.client_gone == ClientGone::Cancel;
    let client = &mut *trial.client;
    let method = &trial.scratch.request.method;
    let head = &mut trial.scratch.response;
    // All interim heads together may have what one head may.
    let mut interim_bytes_left = limits.head_bytes;
    let result = poll_fn(|cx| {
        if let Some(stop) = upload.poll(ctx, client, lease, Phase::Send, cx) {
            return Poll::Ready(Err(stop));
        }
        loop {
            match lease.connection.poll_head(method, &limits, head, cx) {
                Poll::Ready(Ok(facts)) if facts.informational => {
                    inform(client, head, &mut interim_bytes_left);
                }
                Poll::Ready(Ok(facts)) => return Poll::Ready(Ok(facts)),
                Poll::Ready(Err(failure)) => {
                    return Poll::Ready(Err(Stop::Upstream(upload.blame(failure))));
                }
                Poll::Pending => break,
            }
        }
        let gone =
            client.poll_informed(cx).is_err() || (client.body_is_read() && client.poll_gone(cx).is_ready());
        if gone && cancel_if_gone {
            let phase = if upload.is_done() { Phase::AwaitHead } else { Phase::Send };
            return Poll::Ready(Err(Stop::Client { failure: ClientFailure::Gone, phase }));
        }
        let due = match upload.turn(client, lease) {
            None => Due::Head,
            Some(Turn::Target) => Due::RequestTaken,
            Some(Turn::Client) => Due::RequestBody,
            Some(Turn::Disk) => Due::Disk,
        };
        let mut expiry = watch.next(ctx, timeouts, due, moved(client, lease));
        let phase = if due == Due::Head { Phase::AwaitHead } else { Phase::Send };
        // What the client takes to send is not the target's doing.
        if due != Due::RequestBody
            && let Some(attempt) = Expiry::attempt(attempt_begun, timeouts, phase)
        {
            expiry = expiry.or(attempt);
        }
        timer.poll(expiry.at, cx).map(|()| Err(expiry.stop()))
    })
    .await;
    let attempt = attempt_log::current(trial.record);
    attempt.send = upload.sent_at.map(|at| at.saturating_duration_since(begun));
    let facts = result?;
    attempt.await_head = Some(clock.tick().duration_since(begun));
    attempt.status = Some(head.status);
    let asked_for_upgrade = trial.scratch.request.fields.get(Known::Upgrade).is_some();
    if head.status == 101 && !asked_for_upgrade {
        let failure = Failure::new(Phase::AwaitHead, Fault::ResponseMalformed)
            .with_detail("101 without having been asked to switch protocols");
        return Err(Stop::Upstream(failure));
    }
    exchange::set_request_id(&mut head.fields, trial.record);
    Ok(facts.framing)
}

/// The bytes of both directions so far.
pub(crate) fn moved<D: Downstream>(client: &D, lease: &Lease) -> Moved {
    let (from_client, to_client) = client.counts();
    let (to_target, from_target) = lease.connection.counts();
    Moved { from_client, to_target, from_target, to_client }
}

/// Passes on what a client can use: early hints and the like, within bounds. 100 is ours to give (RFC 9110 section
/// 10.1.1), because `Expect` is not forwarded.
fn inform<D: Downstream>(client: &mut D, head: &mut ResponseHead, bytes_left: &mut usize) {
    let size = head.fields.size_bytes() + INTERIM_LINE_BYTES;
    if head.status == 100 || size > *bytes_left {
        return;
    }
    *bytes_left -= size;
    wire::strip_hop_by_hop(&mut head.fields);
    client.inform(head);
}

/// What the first line of an interim head is counted as, so that empty ones are bounded too.
const INTERIM_LINE_BYTES: usize = 64;
