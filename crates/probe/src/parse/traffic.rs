//! The requests of a log counted as a whole, where the log is that of a proxy rather than an access log.

use model::evidence::Place;
use model::{Evidence, Moment};

/// Requests of a log, and when they were.
#[derive(Default)]
pub(crate) struct Traffic {
    requests: u64,
    failed: u64,
    from: Option<Moment>,
    to: Option<Moment>,
    last_good: Option<Moment>,
    last_failed: Option<Moment>,
}

impl Traffic {
    pub(crate) fn add(&mut self, time: Option<Moment>, failed: bool) {
        self.requests += 1;
        self.failed += u64::from(failed);
        self.from = [self.from, time].into_iter().flatten().min();
        self.to = self.to.max(time);
        if failed {
            self.last_failed = self.last_failed.max(time);
        } else {
            self.last_good = self.last_good.max(time);
        }
    }

    /// Nothing where there were no requests.
    pub(crate) fn evidence(self, proxy: &str, source: &'static str, path: &str) -> Option<Evidence> {
        (self.requests > 0).then(|| {
            Evidence::new("traffic")
                .with("proxy", proxy)
                .with("requests", self.requests)
                .with("failed", self.failed)
                .with_some("from", self.from)
                .with_some("to", self.to)
                .with_some("last-good", self.last_good)
                .with_some("last-failed", self.last_failed)
                .text(format!("{} requests, {} of them failed", self.requests, self.failed))
                .from(source)
                .at(Place::file(path, 0))
        })
    }
}
