//! What writer and readers of one process share: exchanges that are not in a file yet, and those just recorded for
//! anyone who follows.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use model::{Exchange, Fault, RequestId};
use tokio::sync::broadcast;
use tokio::time::Instant;

use super::block::BlockBuilder;
use super::day::Day;
use super::query::{Failure, Query};
use super::status::RecordStatus;
use super::summary::{Summary, is_failed};

/// An open block is written at this age. The promise is that a killed process loses one second; the rest of it is
/// for the way here and for the write.
pub(super) const BLOCK_AGE_MAX: Duration = Duration::from_millis(800);
/// Exchanges that began longer ago than this go to blocks of their own, so that a stream of an hour does not make the
/// block of its last second reach an hour back.
const LATE: Duration = Duration::from_secs(10);
/// Failed exchanges that get a row of their own, per second. A row costs as much as 30 packed exchanges.
const FAILURES_PER_SECOND: u32 = 100;
/// Batches a follower may fall behind before it misses some.
const FOLLOW_BATCHES: usize = 64;

/// A block that is complete and not yet written.
#[derive(Debug)]
pub(super) struct SealedBlock {
    pub(super) day: Day,
    pub(super) summary: Summary,
    pub(super) raw: Arc<Vec<u8>>,
    pub(super) failures: Vec<Failure>,
}

#[derive(Debug)]
struct OpenBlock {
    day: Day,
    late: bool,
    opened_at: Instant,
    builder: BlockBuilder,
    failures: Vec<Failure>,
}

#[derive(Debug)]
struct Unwritten {
    open: Vec<OpenBlock>,
    sealed: Vec<Arc<SealedBlock>>,
    /// The memory of a block that was sealed, for the next one.
    spare: Option<BlockBuilder>,
    /// Rows of failures left in this second.
    failures_left: u32,
    failures_since: Instant,
}

#[derive(Debug)]
pub(super) struct Shared {
    unwritten: Mutex<Unwritten>,
    follow: broadcast::Sender<Arc<Vec<Exchange>>>,
    pub(super) status: Arc<RecordStatus>,
}

impl Shared {
    pub(super) fn new() -> Shared {
        Shared {
            unwritten: Mutex::new(Unwritten {
                open: Vec::new(),
                sealed: Vec::new(),
                spare: None,
                failures_left: FAILURES_PER_SECOND,
                failures_since: Instant::now(),
            }),
            follow: broadcast::channel(FOLLOW_BATCHES).0,
            status: Arc::new(RecordStatus::new()),
        }
    }

    /// A panic while the lock was held can only have left a block half filled, which its decoder notices.
    fn lock(&self) -> MutexGuard<'_, Unwritten> {
        self.unwritten.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Packs exchanges into open blocks and seals those that are full or old.
    pub(super) fn push(&self, batch: &[Exchange], now: Instant, now_unix_millis: u64) {
        let mut unlisted = 0;
        let mut unwritten = self.lock();
        let late_before = now_unix_millis.saturating_sub(LATE.as_millis() as u64);
        for exchange in batch {
            let late = exchange.id.unix_millis() < late_before;
            let at = unwritten.open_block(Day::of(exchange.id), late, now);
            let listed = is_failed(exchange) && unwritten.may_list_failure(now);
            unlisted += u64::from(is_failed(exchange) && !listed);
            let Some(block) = unwritten.open.get_mut(at) else { continue };
            block.builder.push(exchange);
            if listed {
                block.failures.push(failure(exchange));
            }
            if block.builder.is_full() {
                unwritten.seal(at);
            }
        }
        unwritten.seal_old(now);
        drop(unwritten);
        RecordStatus::add(&self.status.failures_unlisted, unlisted);
    }

    /// Hands a batch to those who follow, if anyone does.
    pub(super) fn publish(&self, batch: Vec<Exchange>) {
        if self.follow.receiver_count() > 0 {
            // The last follower may have left just now; then nobody wants it.
            drop(self.follow.send(Arc::new(batch)));
        }
    }

    pub(super) fn seal_old(&self, now: Instant) {
        self.lock().seal_old(now);
    }

    pub(super) fn seal_all(&self) {
        let mut unwritten = self.lock();
        while !unwritten.open.is_empty() {
            unwritten.seal(0);
        }
    }

    pub(super) fn first_sealed(&self) -> Option<Arc<SealedBlock>> {
        self.lock().sealed.first().cloned()
    }

    /// Takes a block off the list after it was written: from here on readers find it in its file.
    pub(super) fn remove(&self, block: &Arc<SealedBlock>) {
        self.lock().sealed.retain(|sealed| !Arc::ptr_eq(sealed, block));
    }

    /// Forgets everything that is not written, and says how many exchanges that were.
    pub(super) fn discard(&self) -> u64 {
        self.seal_all();
        let mut unwritten = self.lock();
        unwritten.spare = None;
        unwritten.sealed.drain(..).map(|block| u64::from(block.summary.exchanges)).sum()
    }

    pub(super) fn release_memory(&self) {
        self.lock().spare = None;
    }

    /// When the oldest open block must be written.
    pub(super) fn due(&self) -> Option<Instant> {
        self.lock().open.iter().map(|block| block.opened_at + BLOCK_AGE_MAX).min()
    }

    /// Everything that is not in a file yet, as raw blocks. What is being written may be in both for a moment.
    pub(super) fn raw_blocks(&self) -> Vec<Arc<Vec<u8>>> {
        let unwritten = self.lock();
        let open = unwritten.open.iter().map(|block| Arc::new(block.builder.raw()));
        let sealed = unwritten.sealed.iter().map(|block| block.raw.clone());
        open.chain(sealed).collect()
    }

    /// The rows of failures that are not in a file yet.
    pub(super) fn failures(&self) -> Vec<Failure> {
        let unwritten = self.lock();
        let open = unwritten.open.iter().flat_map(|block| &block.failures);
        let sealed = unwritten.sealed.iter().flat_map(|block| &block.failures);
        open.chain(sealed).cloned().collect()
    }

    pub(super) fn follow(&self, query: Query) -> Follower {
        Follower { query, batches: self.follow.subscribe() }
    }
}

impl Unwritten {
    /// The place of the open block for a day. There are as many as there are kinds of exchanges at one time: two at
    /// most, and around midnight four.
    fn open_block(&mut self, day: Day, late: bool, now: Instant) -> usize {
        if let Some(at) = self.open.iter().position(|block| block.day == day && block.late == late) {
            return at;
        }
        self.open.push(OpenBlock {
            day,
            late,
            opened_at: now,
            builder: self.spare.take().unwrap_or_default(),
            failures: Vec::new(),
        });
        self.open.len() - 1
    }

    fn may_list_failure(&mut self, now: Instant) -> bool {
        if now.duration_since(self.failures_since) >= Duration::from_secs(1) {
            self.failures_since = now;
            self.failures_left = FAILURES_PER_SECOND;
        }
        let may = self.failures_left > 0;
        self.failures_left = self.failures_left.saturating_sub(1);
        may
    }

    fn seal_old(&mut self, now: Instant) {
        while let Some(at) = self.open.iter().position(|block| block.opened_at + BLOCK_AGE_MAX <= now) {
            self.seal(at);
        }
    }

    fn seal(&mut self, at: usize) {
        let mut block = self.open.swap_remove(at);
        if !block.builder.is_empty() {
            self.sealed.push(Arc::new(SealedBlock {
                day: block.day,
                summary: block.builder.summary(),
                raw: Arc::new(block.builder.raw()),
                failures: block.failures,
            }));
        }
        block.builder.clear();
        self.spare = Some(block.builder);
    }
}

fn failure(exchange: &Exchange) -> Failure {
    Failure {
        id: exchange.id,
        status: exchange.status,
        fault: exchange.ending.fault.map(Fault::id).map(Box::from),
        service: exchange.service.as_deref().map(Box::from),
        route: exchange.route.as_deref().map(Box::from),
    }
}

/// Exchanges as they end.
#[derive(Debug)]
pub struct Follower {
    query: Query,
    batches: broadcast::Receiver<Arc<Vec<Exchange>>>,
}

impl Follower {
    /// The next exchanges that match, in the order of their ends, and how many batches were missed before them because
    /// this follower was too slow. `None` when recording has ended for good.
    pub async fn next(&mut self) -> Option<(Vec<Exchange>, u64)> {
        let mut missed = 0;
        loop {
            match self.batches.recv().await {
                Ok(batch) => {
                    let found: Vec<_> = batch.iter().filter(|one| self.query.matches(one)).cloned().collect();
                    if !found.is_empty() || missed > 0 {
                        return Some((found, missed));
                    }
                }
                Err(broadcast::error::RecvError::Lagged(batches)) => missed += batches,
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

/// An id below which nothing of this block lies.
pub(super) fn just_above(id: RequestId) -> RequestId {
    RequestId(id.0.saturating_add(1))
}
