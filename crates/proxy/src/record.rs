//! Where finished exchanges wait to be logged, counted and stored.
//!
//! Pushing never waits and never does I/O. The queue is bounded; failures have room of their own, so that a flood of
//! successes cannot push them out, and every drop is counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use model::Exchange;
use tokio::sync::Notify;

/// Exchanges that may wait: about a quarter of a second of traffic at the highest rate that one machine proxies, and
/// some 20 MiB of memory at worst.
const QUEUE_MAX: usize = 32 << 10;
/// Room beyond that only for exchanges that failed.
const RESERVED_FOR_FAILURES: usize = 8 << 10;

/// The queue between the workers and the recorder. One per process.
#[derive(Debug, Default)]
pub struct Records {
    queue: Mutex<Vec<Exchange>>,
    filled: Notify,
    dropped: AtomicU64,
}

impl Records {
    /// Hands an exchange over. Only the first one into an empty queue wakes the recorder.
    pub fn push(&self, exchange: Exchange) {
        let failed = exchange.ending.fault.is_some();
        let max = if failed { QUEUE_MAX + RESERVED_FOR_FAILURES } else { QUEUE_MAX };
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.len() >= max {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        queue.push(exchange);
        let was_empty = queue.len() == 1;
        drop(queue);
        if was_empty {
            self.filled.notify_one();
        }
    }

    /// Waits until there is something.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Takes all that waits; `reuse` becomes the next queue, so that its memory is kept.
    pub fn take(&self, mut reuse: Vec<Exchange>) -> Vec<Exchange> {
        reuse.clear();
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *queue, reuse)
    }

    /// Exchanges that found no room since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}
