//! Latency at a rate that every proxy can serve: half of what the slowest one can at most.

use anyhow::Context;

use super::super::Bench;
use super::super::backend::{SMALL_PATH, Version};
use super::super::load::wrk;
use super::super::peer::Setup;
use super::super::report::Section;
use super::super::stats::quantile;
use super::super::table::{Compared, Metric, Sample};
use super::super::{logs, steady};
use super::CONNECTIONS;
use super::throughput::http_url;

const METRICS: &[Metric] = &[
    Metric { title: "p99 ms", digits: 3, compared: Compared::RatioOfFirst },
    Metric { title: "p50 ms", digits: 3, compared: Compared::Not },
    Metric { title: "p99.9 ms", digits: 3, compared: Compared::Not },
];

pub(super) fn run(bench: &Bench) -> anyhow::Result<Section> {
    let subjects = bench.start_all(Setup::full(bench.backend.port));
    let mut slowest: Option<(f64, &str)> = None;
    for subject in &subjects {
        let Ok(running) = &subject.running else { continue };
        let url = http_url(running, SMALL_PATH);
        let run = wrk(&url, CONNECTIONS, bench.options.time(), &bench.certificate, bench.folder.path())?;
        crate::say(&format!("    {} can serve {:.0} requests per second", subject.name, run.per_second));
        running.log.take(run.requests)?;
        if slowest.is_none_or(|(rate, _)| run.per_second < rate) {
            slowest = Some((run.per_second, &subject.name));
        }
    }
    let (rate, name) = slowest.context("no proxy runs")?;
    let rate = (rate / 2.0).floor();
    let table = bench.interleave(METRICS, &subjects, |running| {
        bench.backend.check(&http_url(running, SMALL_PATH), Version::Http1)?;
        running.log.take(0)?;
        let mut timing = steady::run(running.http, CONNECTIONS as usize, rate, bench.options.time())?;
        let requests = timing.latencies.len() as u64;
        running.log.take(requests * u64::from(!matches!(running.log, logs::Log::Socket(_))))?;
        let mut faults = Vec::new();
        if timing.failed > 0 {
            faults.push(format!("{} of {requests} requests failed", timing.failed));
        }
        let values = [0.99, 0.5, 0.999].map(|share| quantile(&mut timing.latencies, share) / 1e3);
        Ok(Sample { values: values.to_vec(), faults })
    })?;
    let description = format!(
        "{rate:.0} requests per second, half of what the slowest ({name}) can at most, over {CONNECTIONS} \
         connections, the small JSON, HTTP/1.1 in the clear. The client is the bench's own: requests begin on \
         schedule, and each is timed from the moment it was due."
    );
    Ok(Section { scenario: "latency", title: "Latency", description, tables: vec![table] })
}
