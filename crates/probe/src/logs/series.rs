//! Series for charts from access logs: requests, failures and the time they took, per ten seconds.

use std::collections::BTreeMap;

use model::Moment;
use model::report::Series;

use crate::parse::{self, Format, Lines};

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

pub(super) fn points(format: Format, lines: &Lines<'_>, since: Option<Moment>) -> Points {
    let mut points = Points::default();
    parse::each_request(format, lines, &mut |time, failed, elapsed| {
        if since.is_some_and(|since| time < since) {
            return;
        }
        let bucket = points.buckets.entry(time.0.div_euclid(BUCKET_MILLIS)).or_default();
        bucket.requests += 1;
        bucket.failed += u64::from(failed);
        if let Some(elapsed) = elapsed {
            bucket.elapsed += elapsed;
            bucket.timed += 1;
        }
        if points.buckets.len() > POINTS_MAX {
            points.buckets.pop_first();
        }
    });
    points
}

impl Points {
    pub(super) fn merge(&mut self, other: Points) {
        for (at, bucket) in other.buckets {
            let sum = self.buckets.entry(at).or_default();
            sum.requests += bucket.requests;
            sum.failed += bucket.failed;
            sum.elapsed += bucket.elapsed;
            sum.timed += bucket.timed;
        }
        while self.buckets.len() > POINTS_MAX {
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
