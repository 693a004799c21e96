//! Counts what the recorder records, and tells the keeper of incidents what has changed. A lookup and two additions for each
//! exchange; everything else happens once a second.

use std::collections::VecDeque;
use std::time::Duration;

use incident::{Change, Detector};
use model::Exchange;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::incidents::keeper::News;

/// How often the keeper is told how much an open incident amounts to.
const PROGRESS_EVERY: u64 = 5;
/// How often the past of the services is kept for the process after this one.
const PASTS_EVERY: u64 = 60;
/// Changes that may wait for a keeper that is behind, which waits for the disk. As many as services can be watched.
const UNTOLD_MAX: usize = 10_000;

/// What is counted.
pub(crate) struct Watch {
    detector: Detector,
    began: Instant,
    second: u64,
    keeper: mpsc::Sender<News>,
    untold: VecDeque<Change>,
    open: usize,
    pasts_at: u64,
}

impl Watch {
    /// `detector` goes on with what the process before has left open.
    pub(crate) fn new(detector: Detector, open: usize, keeper: mpsc::Sender<News>) -> Watch {
        Watch {
            detector,
            began: Instant::now(),
            second: 0,
            keeper,
            untold: VecDeque::new(),
            open,
            pasts_at: PASTS_EVERY,
        }
    }

    /// Counts exchanges that have just ended.
    pub(crate) fn observe(&mut self, batch: &[Exchange]) {
        self.tick();
        for exchange in batch {
            if let Some(service) = &exchange.service {
                self.detector.observe(service, probe::exchange::is_failed(exchange));
            }
        }
    }

    /// Waits for the end of the second, or for as long as nothing can change.
    pub(crate) async fn due(&self) {
        if self.detector.is_awake() || !self.untold.is_empty() {
            sleep_until(self.began + Duration::from_secs(self.second + 1)).await;
        } else {
            std::future::pending().await
        }
    }

    /// Goes on to the second that it is.
    pub(crate) fn tick(&mut self) {
        let second = self.began.elapsed().as_secs();
        if second <= self.second {
            return;
        }
        self.second = second;
        for change in self.detector.advance(second) {
            match change.what {
                incident::What::Opened { .. } | incident::What::Reopened => self.open += 1,
                incident::What::Closed(_) => self.open = self.open.saturating_sub(1),
            }
            if self.untold.len() < UNTOLD_MAX {
                self.untold.push_back(change);
            }
        }
        self.tell();
    }

    fn tell(&mut self) {
        while let Some(change) = self.untold.pop_front() {
            if let Err(mpsc::error::TrySendError::Full(News::Changed(change))) =
                self.keeper.try_send(News::Changed(change))
            {
                self.untold.push_front(change);
                return;
            }
        }
        // Both are told again soon.
        if self.open > 0 && self.second.is_multiple_of(PROGRESS_EVERY) {
            let _ = self.keeper.try_send(News::Progress(self.detector.open()));
        }
        if self.second >= self.pasts_at {
            self.pasts_at = self.second + PASTS_EVERY;
            let _ = self.keeper.try_send(News::Pasts(self.detector.pasts()));
        }
    }

    /// Has everything written, and nothing more until [`Watch::resume`]: another process is to take over.
    pub(crate) async fn hold(&mut self) {
        self.tick();
        let _ = self.keeper.send(News::Pasts(self.detector.pasts())).await;
        let (answer, held) = oneshot::channel();
        if self.keeper.send(News::Hold(answer)).await.is_ok() {
            let _ = held.await;
        }
    }

    /// The configuration that serves is another one.
    pub(crate) async fn configure(&mut self) {
        let _ = self.keeper.send(News::Configure).await;
    }

    pub(crate) async fn resume(&mut self) {
        let _ = self.keeper.send(News::Resume).await;
    }
}
