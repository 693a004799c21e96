//! One timer per connection, re-armed lazily.
//!
//! Deadlines move with each phase of each request, and nearly none is ever reached. Moving one later costs nothing here:
//! the timer fires at the earlier time, and is then set to the current one.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::time::{Sleep, sleep_until};

#[derive(Debug, Default)]
pub(crate) struct Deadline {
    /// Boxed when it is first needed, and kept.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// Ready once `at` has passed. Wakes the task by then, or earlier.
    pub(crate) fn poll(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let at = tokio::time::Instant::from_std(at);
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if timer.deadline() > at {
            timer.as_mut().reset(at);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if timer.deadline() >= at {
                return Poll::Ready(());
            }
            timer.as_mut().reset(at);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::time::Duration;

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn a_deadline_that_moved_later_or_earlier_is_kept() {
        let mut deadline = Deadline::default();
        let start = tokio::time::Instant::now();
        let at = |seconds| (start + Duration::from_secs(seconds)).into_std();
        // Arm early, then move later: the early firing must not count.
        let polled = poll_fn(|cx| Poll::Ready(deadline.poll(at(1), cx))).await;
        assert_eq!(polled, Poll::Pending);
        poll_fn(|cx| deadline.poll(at(5), cx)).await;
        assert_eq!(start.elapsed(), Duration::from_secs(5));
        // Arm late, then move earlier.
        let polled = poll_fn(|cx| Poll::Ready(deadline.poll(at(100), cx))).await;
        assert_eq!(polled, Poll::Pending);
        poll_fn(|cx| deadline.poll(at(7), cx)).await;
        assert_eq!(start.elapsed(), Duration::from_secs(7));
    }
}
