//! Request bodies that must be whole before they can be sent: the uwsgi protocol tells the length first.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use model::gateway::Timeouts;
use model::{Fault, Limit, LimitName, Phase};
use upstream::body::Offer;

use crate::client::Downstream;
use crate::exchange::{Context, Stop};
use crate::pace::Pace;
use crate::watch::Expiry;

/// Held in memory per request. A client with more to send can say how much.
const COLLECTED_MAX: usize = 16 << 20;
/// Held in memory by all requests of a worker.
const COLLECTED_TOTAL_MAX: usize = 64 << 20;

/// A body of up to this size is read before its target is chosen.
pub(crate) const SMALL_BYTES: u64 = 64 << 10;

/// Whether the worker may hold so much more.
pub(crate) fn has_room(ctx: Context<'_>, bytes: u64) -> bool {
    ctx.worker.collected.get() as u64 + bytes <= COLLECTED_TOTAL_MAX as u64
}

/// A collected body, counted for as long as it is held.
#[derive(Debug)]
pub(crate) struct Collected {
    pub bytes: Bytes,
    _charge: Charge,
}

/// Memory that is counted against a worker's total.
#[derive(Debug)]
struct Charge {
    total: Rc<Cell<usize>>,
    held: usize,
}

impl Charge {
    /// Counts more; false when the total does not allow it.
    fn add(&mut self, n: usize) -> bool {
        let total = self.total.get() + n;
        if total > COLLECTED_TOTAL_MAX {
            return false;
        }
        self.total.set(total);
        self.held += n;
        true
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.total.set(self.total.get().saturating_sub(self.held));
    }
}

/// Reads the whole body.
pub(crate) async fn body<D: Downstream>(
    ctx: Context<'_>,
    client: &mut D,
    timeouts: &Timeouts,
) -> Result<Collected, Stop> {
    let mut charge = Charge { total: ctx.worker.collected.clone(), held: 0 };
    let max = ctx.listening.settings().timeouts.client_body_idle;
    let mut timer = ctx.worker.lend_timer();
    let mut collected = Vec::new();
    let mut progress = Instant::now();
    let mut pace = Pace::new(ctx.listening.settings().limits.body_rate);
    let read = poll_fn(|cx| {
        loop {
            match client.poll_piece(cx) {
                Poll::Ready(Ok(Offer::Piece)) => {
                    let piece = client.piece();
                    if collected.len() + piece.len() > COLLECTED_MAX {
                        return Poll::Ready(Err(Stop::refused(
                            Phase::ReadRequest,
                            Fault::RequestLengthRequired,
                        )));
                    }
                    if !charge.add(piece.len()) {
                        return Poll::Ready(Err(Stop::refused(Phase::ReadRequest, Fault::Overloaded)));
                    }
                    collected.extend_from_slice(piece);
                    let n = piece.len();
                    client.consume(n);
                    progress = ctx.worker.clock.tick();
                }
                Poll::Ready(Ok(Offer::End)) => return Poll::Ready(Ok(())),
                Poll::Ready(Err(failure)) => {
                    return Poll::Ready(Err(Stop::Client { failure, phase: Phase::ReadRequest }));
                }
                Poll::Pending => break,
            }
        }
        let (fault, phase) = (Fault::ClientBodyTimeout, Phase::ReadRequest);
        let idle = Limit::Time { name: LimitName::ClientBodyIdle, max };
        let mut next = Expiry::new(progress + max, fault, phase, idle);
        if let Some(at) = pace.deadline(ctx.worker.clock.tick(), collected.len() as u64, true) {
            next = next.or(Expiry::new(at, fault, phase, pace.limit()));
        }
        next = next.within_total(ctx, timeouts);
        timer.poll(next.at, cx).map(|()| Err(next.stop()))
    })
    .await;
    ctx.worker.return_timer(timer);
    read.map(|()| Collected { bytes: Bytes::from(collected), _charge: charge })
}
