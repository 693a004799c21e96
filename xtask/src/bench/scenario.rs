//! The scenarios, and what they share: the CPU time of a proxy over a run of load.

mod cost;
mod latency;
mod memory;
mod streams;
mod throughput;

use std::time::Duration;

use super::load::Run;
use super::peer::{Kind, Running};
use super::records::Records;
use super::report::Section;
use super::table::{Compared, Metric, Sample};
use super::{Bench, logs};
use crate::process::pause;
use crate::usage;

pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) run: fn(&Bench) -> anyhow::Result<Section>,
}

/// In the order of the documentation: what matters most first.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "http1", run: throughput::http1 },
    Scenario { name: "http1-cost", run: cost::run },
    Scenario { name: "latency", run: latency::run },
    Scenario { name: "tls", run: throughput::tls },
    Scenario { name: "body", run: throughput::body },
    Scenario { name: "streams", run: streams::run },
    Scenario { name: "http2", run: throughput::http2 },
    Scenario { name: "memory", run: memory::run },
];

/// The connections of most scenarios.
const CONNECTIONS: u32 = 64;

/// After a run, what is still to be done for it: blocks of records are packed and log buffers are written once a second.
const SETTLE: Duration = Duration::from_millis(1200);

/// What stands in a table beside the CPU time.
const ALSO: [Metric; 2] = [
    Metric { title: "requests per second", digits: 0, compared: Compared::Not },
    Metric { title: "log lines per request", digits: 2, compared: Compared::Not },
];

/// A run of load with the CPU time it cost the proxy.
struct Costed {
    run: Run,
    cpu: Duration,
    lines: u64,
    faults: Vec<String>,
}

impl Costed {
    /// Microseconds of CPU per request.
    fn per_request(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.run.requests as f64
    }

    /// A row of `value` and then the figures of `ALSO`.
    fn sample(self, value: f64) -> Sample {
        let lines = self.lines as f64 / self.run.requests as f64;
        Sample { values: vec![value, self.run.per_second, lines], faults: self.faults }
    }
}

/// Loads the proxy, and looks at everything that could make the figure a lie.
fn cost_of(running: &Running, load: impl Fn() -> anyhow::Result<Run>) -> anyhow::Result<Costed> {
    running.log.take(0)?;
    let stored_before = running.records.as_ref().map(Records::stored).transpose()?;
    let before = usage::cpu(running.pid())?;
    let run = load()?;
    pause(SETTLE)?;
    let cpu = usage::cpu(running.pid())?.saturating_sub(before);
    let mut faults = Vec::new();
    if run.requests == 0 {
        faults.push("no request was answered".to_owned());
    }
    if run.failed > 0 {
        faults.push(format!("{} of {} requests failed", run.failed, run.requests));
    }
    let lines = running.log.take(run.requests)?;
    // A datagram that finds the socket full is lost by design; the sender has paid for it all the same.
    let may_lose = running.kind == Kind::Haproxy || matches!(running.log, logs::Log::Off);
    if !may_lose && !logs::is_complete(lines, run.requests) {
        faults.push(format!("{lines} log lines for {} requests", run.requests));
    }
    if let (Some(records), Some(before)) = (&running.records, stored_before) {
        let stored = records.wait(before, run.requests)?;
        if stored < run.requests {
            faults.push(format!("{stored} records for {} requests", run.requests));
        }
    }
    Ok(Costed { run, cpu, lines, faults })
}
