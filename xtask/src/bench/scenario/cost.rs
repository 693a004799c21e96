//! What the log line and the record cost: Clearway with and without them, side by side.

use super::super::backend::{SMALL_PATH, Version};
use super::super::load::wrk;
use super::super::peer::Setup;
use super::super::report::Section;
use super::super::table::{Compared, Metric};
use super::super::{Bench, Subject};
use super::throughput::http_url;
use super::{ALSO, CONNECTIONS, cost_of};

const PER_REQUEST: Metric =
    Metric { title: "CPU µs per request", digits: 1, compared: Compared::ExcessOverLast };

/// Name, log, records; the last one is what the others are held against.
const VARIANTS: &[(&str, bool, bool)] = &[
    ("Clearway, as always", true, true),
    ("without log lines", false, true),
    ("without records", true, false),
    ("without both", false, false),
];

pub(super) fn run(bench: &Bench) -> anyhow::Result<Section> {
    let clearway = bench.clearway()?;
    let start = |&(name, log, records): &(&str, bool, bool)| {
        let setup = Setup { log, records, ..Setup::full(bench.backend.port) };
        let running = clearway.start(setup, &bench.certificate, bench.folder.path());
        Subject { name: name.to_owned(), running }
    };
    let subjects: Vec<Subject> = VARIANTS.iter().map(start).collect();
    let mut table = bench.interleave(&[&[PER_REQUEST], ALSO.as_slice()].concat(), &subjects, |running| {
        let url = http_url(running, SMALL_PATH);
        bench.backend.check(&url, Version::Http1)?;
        let costed = cost_of(running, || {
            wrk(&url, CONNECTIONS, bench.options.time(), &bench.certificate, bench.folder.path())
        })?;
        let per_request = costed.per_request();
        Ok(costed.sample(per_request))
    })?;
    // Proxies that are not installed have no place in this one.
    table.rows.truncate(VARIANTS.len());
    let description =
        "The load of `http1` on Clearway alone. The first difference is what record, log line and \
                       store cost together; the threads that pack and store are in it."
            .to_owned();
    Ok(Section {
        scenario: "http1-cost",
        title: "What log and records cost",
        description,
        tables: vec![table],
    })
}
