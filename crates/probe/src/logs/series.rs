//! Series for charts from logs with requests: requests, failures and the time they took, per ten seconds.

use std::collections::BTreeMap;

use model::Moment;
use model::report::Series;

/// The width of a point.
const BUCKET_MILLIS: i64 = 10_000;
/// Points of one series: two hours. The latest are kept.
const POINTS_MAX: usize = 720;

/// Requests by time.
#[derive(Default)]
pub(super) struct Points {
    buckets: BTreeMap<i64, Bucket>,
}

#[derive(Default)]
struct Bucket {
    requests: u64,
    failed: u64,
    elapsed: f64,
    timed: u64,
}

impl Points {
    /// Takes a request into account.
    pub(super) fn add(&mut self, time: Moment, failed: bool, elapsed: Option<f64>) {
        let bucket = self.buckets.entry(time.0.div_euclid(BUCKET_MILLIS)).or_default();
        bucket.requests += 1;
        bucket.failed += u64::from(failed);
        if let Some(elapsed) = elapsed {
            bucket.elapsed += elapsed;
            bucket.timed += 1;
        }
        if self.buckets.len() > POINTS_MAX {
            self.buckets.pop_first();
        }
    }

    pub(super) fn finish(self) -> Vec<Series> {
        if self.buckets.is_empty() {
            return Vec::new();
        }
        let per_second = BUCKET_MILLIS as f64 / 1000.0;
        let series = |name: &str, unit: &str, value: &dyn Fn(&Bucket) -> Option<f64>| Series {
            name: name.to_owned(),
            unit: unit.to_owned(),
            points: self
                .buckets
                .iter()
                .filter_map(|(at, bucket)| Some((Moment(at * BUCKET_MILLIS), value(bucket)?)))
                .collect(),
        };
        let mut all = vec![
            series("requests", "per second", &|bucket| Some(bucket.requests as f64 / per_second)),
            series("errors", "per second", &|bucket| Some(bucket.failed as f64 / per_second)),
        ];
        let latency = series("latency", "seconds, mean", &|bucket| {
            (bucket.timed > 0).then(|| bucket.elapsed / bucket.timed as f64)
        });
        if !latency.points.is_empty() {
            all.push(latency);
        }
        all
    }
}
