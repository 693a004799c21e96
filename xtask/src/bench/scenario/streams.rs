//! A thousand event streams at once: CPU per event, and that none is lost or held back.

use super::super::Bench;
use super::super::events::{self, Events};
use super::super::peer::Setup;
use super::super::report::Section;
use super::super::stats::quantile;
use super::super::table::{Compared, Metric, Sample};
use crate::usage;

const STREAMS: usize = 1000;

const METRICS: &[Metric] = &[
    Metric { title: "CPU µs per event", digits: 1, compared: Compared::RatioOfFirst },
    Metric { title: "events per second", digits: 0, compared: Compared::Not },
    Metric { title: "p99 delay ms", digits: 2, compared: Compared::Not },
];

pub(super) fn run(bench: &Bench) -> anyhow::Result<Section> {
    let server = Events::start()?;
    let setup = Setup { streaming: true, ..Setup::full(server.port) };
    let subjects = bench.start_all(setup);
    let time = bench.options.time();
    let table = bench.interleave(METRICS, &subjects, |running| {
        let meter = || usage::cpu(running.pid());
        let mut delivery = events::run(&server, running.http, STREAMS, time, meter)?;
        let mut faults = Vec::new();
        if delivery.lost > 0 {
            faults.push(format!("{} events were lost", delivery.lost));
        }
        let events = delivery.events as f64;
        let values = vec![
            delivery.cost.as_secs_f64() * 1e6 / events,
            events / time.as_secs_f64(),
            quantile(&mut delivery.delays, 0.99) / 1e3,
        ];
        Ok(Sample { values, faults })
    })?;
    let description = format!(
        "{STREAMS} server-sent-event streams at once, one event per 100 ms each, HTTP/1.1 in the clear on both sides. \
         Every event is numbered; the delay is from the server's write to the client's read."
    );
    Ok(Section { scenario: "streams", title: "Event streams", description, tables: vec![table] })
}
