//! The pauses of an exchange between its attempts: for a target with room, for one that accepts connections, for a moment.
//! A client that leaves meanwhile leaves.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use model::{Fault, Limit, LimitName, Phase};
use upstream::{Failure, Full, Patience, Patient, Slot, Upstream, Waiting};

use crate::answer::Answer;
use crate::attempt::Trial;
use crate::client::{ClientFailure, Downstream};
use crate::deadline::Deadline;
use crate::exchange::{Stop, limit_text};
use crate::watch::Expiry;

/// Why there is no slot.
enum Unserved {
    /// The queue's bounds; the request is turned away.
    Queue(Fault, Limit),
    /// The exchange is over for another reason.
    Exchange(Stop),
}

impl<D: Downstream> Trial<'_, D> {
    /// Waits for a slot, at most until the end of the `patience` that the exchange has with outages; `failure` is that of the
    /// attempt before, which stands if there is none in time.
    pub(crate) async fn wait(
        &mut self,
        upstream: &Arc<Upstream>,
        failure: Option<Failure>,
        patience: Option<Instant>,
        tried: u64,
    ) -> Result<(Slot, Duration), Stop> {
        let ctx = self.ctx;
        let begun = ctx.worker.clock.tick();
        let patient = Patient {
            criticality: self.destination.route.criticality,
            bytes: self.scratch.collected.as_ref().map_or(0, |body| body.bytes().len() as u64),
            may_try: self.scratch.request.method.is_idempotent(),
            tried,
            streams: self.streams(),
            affinity: self.affinity,
        };
        let mut timer = ctx.worker.lend_timer();
        let came = match upstream.wait(patient, begun) {
            Ok(mut waiting) => {
                poll_fn(|cx| self.poll_waiting(upstream, &mut waiting, patience, &mut timer, cx)).await
            }
            Err(full) => Err(queue_full(upstream, full)),
        };
        ctx.worker.return_timer(timer);
        let now = ctx.worker.clock.tick();
        let (fault, limit) = match came {
            Ok(slot) => return Ok((slot, now.saturating_duration_since(begun))),
            Err(Unserved::Exchange(stop)) => return Err(stop),
            Err(Unserved::Queue(fault, limit)) => (fault, limit),
        };
        if let Some(failure) = failure {
            return Err(Stop::Upstream(failure));
        }
        let answer = Answer { retry_after: upstream.queue_drains_in(), ..Answer::new(fault) };
        Err(Stop::Refused { answer, phase: Phase::Queue, detail: Some(limit_text(limit)) })
    }

    /// Ready with a slot, or with the reason why there is none.
    fn poll_waiting(
        &mut self,
        upstream: &Upstream,
        waiting: &mut Waiting,
        patience: Option<Instant>,
        timer: &mut Deadline,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Result<Slot, Unserved>> {
        if let Poll::Ready(came) = waiting.poll(cx) {
            return Poll::Ready(came.map_err(|full| queue_full(upstream, full)));
        }
        if let Some(stop) = self.poll_left(Phase::Queue, cx) {
            return Poll::Ready(Err(Unserved::Exchange(stop)));
        }
        let total = Expiry::total(self.ctx, &self.destination.route.timeouts, Phase::Queue);
        loop {
            let now = self.ctx.worker.clock.tick();
            let until = match waiting.patience(now, patience) {
                Patience::Until(until) => until,
                Patience::Over { standing } => {
                    let queue = &upstream.settings.queue;
                    let (name, max) = match standing {
                        true => (LimitName::QueueStandingWait, queue.standing_wait),
                        false => (LimitName::QueueWait, queue.wait),
                    };
                    let unserved = Unserved::Queue(Fault::QueueTimeout, Limit::Time { name, max });
                    return Poll::Ready(Err(unserved));
                }
            };
            match total.filter(|total| total.at < until) {
                // What was attempted ran out of time; what was not was never served.
                Some(total) if self.record.attempts.is_empty() => {
                    let max = total.at.saturating_duration_since(self.ctx.started);
                    let limit = Limit::Time { name: LimitName::Total, max };
                    let unserved = Unserved::Queue(Fault::QueueTimeout, limit);
                    return timer.poll(total.at, cx).map(|()| Err(unserved));
                }
                Some(total) => {
                    return timer.poll(total.at, cx).map(|()| Err(Unserved::Exchange(total.stop())));
                }
                None if timer.poll(until, cx).is_pending() => return Poll::Pending,
                None => {}
            }
        }
    }

    /// Lets a moment pass.
    pub(crate) async fn pause(&mut self, time: Duration) -> Result<(), Stop> {
        let ctx = self.ctx;
        let until = ctx.worker.clock.tick() + time;
        let total = Expiry::total(ctx, &self.destination.route.timeouts, Phase::Queue);
        let total = total.filter(|total| total.at < until);
        let mut timer = ctx.worker.lend_timer();
        let passed = poll_fn(|cx| {
            if let Some(stop) = self.poll_left(Phase::Queue, cx) {
                return Poll::Ready(Err(stop));
            }
            match total {
                Some(total) => timer.poll(total.at, cx).map(|()| Err(total.stop())),
                None => timer.poll(until, cx).map(Ok),
            }
        })
        .await;
        ctx.worker.return_timer(timer);
        ctx.worker.clock.tick();
        passed
    }

    /// The client has left, as far as that can be seen.
    pub(crate) fn poll_left(&mut self, phase: Phase, cx: &mut TaskContext<'_>) -> Option<Stop> {
        (self.client.shows_leaving() && self.client.poll_gone(cx).is_ready())
            .then_some(Stop::Client { failure: ClientFailure::Gone, phase })
    }
}

fn queue_full(upstream: &Upstream, full: Full) -> Unserved {
    let queue = &upstream.settings.queue;
    let limit = match full {
        Full::Bytes => Limit::Bytes { name: LimitName::QueueBytes, max: queue.bytes_max.0 },
        Full::Length => Limit::Count { name: LimitName::QueueLength, max: queue.length as u64 },
        Full::Standing => Limit::Time { name: LimitName::QueueStandingWait, max: queue.standing_wait },
    };
    Unserved::Queue(Fault::QueueFull, limit)
}

/// A part of the pause before the next attempt, as `random` has it, after so many attempts.
pub(crate) fn back_off(longest: Duration, attempts: usize, random: u64) -> Duration {
    let doubled = longest.saturating_mul(1 << attempts.saturating_sub(1).min(4));
    doubled.min(longest.saturating_mul(10)).mul_f64((random >> 11) as f64 / (1u64 << 53) as f64)
}

/// The pause before the only target is asked again, for the first and each further time: half of it, and a part of the other
/// half. A server that is being restarted resets what it had not accepted within the first, and is gone or back after the
/// second.
pub(crate) fn before_the_same(again: u32, random: u64) -> Duration {
    let whole = if again <= 1 { Duration::from_millis(100) } else { Duration::from_secs(1) };
    whole / 2 + back_off(whole / 2, 1, random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_doubles_up_to_tenfold_and_chance_has_its_part() {
        let ms = Duration::from_millis;
        let longest = |attempts| back_off(ms(20), attempts, u64::MAX).as_micros().div_ceil(1000);
        assert_eq!([1, 2, 3, 4, 5, 9].map(longest), [20, 40, 80, 160, 200, 200]);
        assert_eq!(back_off(ms(20), 3, 0), Duration::ZERO);
        assert_eq!(back_off(ms(20), 1, 1 << 63), ms(10));
        assert_eq!(back_off(Duration::ZERO, 9, u64::MAX), Duration::ZERO);
        assert_eq!((before_the_same(1, 0), before_the_same(2, 1 << 63)), (ms(50), ms(750)));
    }
}
