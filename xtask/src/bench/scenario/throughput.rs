//! CPU per request or byte while a proxy is loaded as far as it goes: HTTP/1.1, TLS, large bodies, HTTP/2.

use std::time::Duration;

use anyhow::bail;

use super::super::Bench;
use super::super::backend::{BODY_BYTES, BODY_PATH, SMALL, SMALL_PATH, Version};
use super::super::certificate::AGREED;
use super::super::load::{H2load, Run, Until, h2load, wrk};
use super::super::peer::{Running, Setup};
use super::super::report::Section;
use super::super::table::{Compared, Metric, Sample, Table};
use super::{ALSO, CONNECTIONS, cost_of};

/// Connections of the scenario with large bodies: enough to keep a proxy busy, few enough to fit into its caches.
const BODY_CONNECTIONS: u32 = 16;
const HTTP2_CLIENTS: u32 = 8;
const HTTP2_STREAMS: u32 = 16;

const PER_REQUEST: Metric =
    Metric { title: "CPU µs per request", digits: 1, compared: Compared::RatioOfFirst };
const PER_GB: Metric = Metric { title: "CPU ms per GB", digits: 0, compared: Compared::RatioOfFirst };

pub(super) fn http1(bench: &Bench) -> anyhow::Result<Section> {
    let table = measure(bench, Version::Http1, SMALL_PATH, http_url, |url, time| {
        wrk(url, CONNECTIONS, time, &bench.certificate, bench.folder.path())
    })?;
    let bytes = SMALL.len();
    let description = format!(
        "wrk, {CONNECTIONS} connections that are kept, {bytes} bytes of JSON, HTTP/1.1 in the clear on both sides."
    );
    Ok(Section { scenario: "http1", title: "HTTP/1.1", description, tables: vec![table] })
}

pub(super) fn tls(bench: &Bench) -> anyhow::Result<Section> {
    let table = measure(bench, Version::Http1, SMALL_PATH, https_url, |url, time| {
        wrk(url, CONNECTIONS, time, &bench.certificate, bench.folder.path())
    })?;
    let description = format!("The same over TLS in front ({AGREED}).");
    Ok(Section { scenario: "tls", title: "TLS", description, tables: vec![table] })
}

pub(super) fn http2(bench: &Bench) -> anyhow::Result<Section> {
    let table = measure(bench, Version::Http2, SMALL_PATH, https_url, |url, time| {
        let (clients, streams) = (HTTP2_CLIENTS, HTTP2_STREAMS);
        let until = Until::Time(time);
        h2load(&H2load { url, http1: false, clients, streams, until }, bench.folder.path())
    })?;
    let description = format!(
        "h2load, {HTTP2_CLIENTS} connections with {HTTP2_STREAMS} streams each, the small JSON, HTTP/2 over TLS in \
         front ({AGREED}), HTTP/1.1 in the clear behind."
    );
    Ok(Section { scenario: "http2", title: "HTTP/2", description, tables: vec![table] })
}

pub(super) fn body(bench: &Bench) -> anyhow::Result<Section> {
    let subjects = bench.start_all(Setup::full(bench.backend.port));
    let table = bench.interleave(&[&[PER_GB], ALSO.as_slice()].concat(), &subjects, |running| {
        let url = http_url(running, BODY_PATH);
        bench.backend.check(&url, Version::Http1)?;
        let costed = cost_of(running, || {
            wrk(&url, BODY_CONNECTIONS, bench.options.time(), &bench.certificate, bench.folder.path())
        })?;
        let bytes = costed.run.bytes as f64;
        if bytes < costed.run.requests as f64 * BODY_BYTES as f64 {
            bail!("{bytes} bytes are too few for {} bodies", costed.run.requests);
        }
        let per_gb = costed.cpu.as_secs_f64() * 1e3 / (bytes / 1e9);
        Ok(costed.sample(per_gb))
    })?;
    let description = format!(
        "wrk, {BODY_CONNECTIONS} connections that are kept, bodies of 1 MiB, HTTP/1.1 in the clear on both sides."
    );
    Ok(Section { scenario: "body", title: "Large bodies", description, tables: vec![table] })
}

pub(super) fn http_url(running: &Running, path: &str) -> String {
    format!("http://127.0.0.1:{}{path}", running.http)
}

pub(super) fn https_url(running: &Running, path: &str) -> String {
    format!("https://127.0.0.1:{}{path}", running.https)
}

fn measure(
    bench: &Bench,
    version: Version,
    path: &str,
    url: fn(&Running, &str) -> String,
    load: impl Fn(&str, Duration) -> anyhow::Result<Run>,
) -> anyhow::Result<Table> {
    let subjects = bench.start_all(Setup::full(bench.backend.port));
    bench.interleave(
        &[&[PER_REQUEST], ALSO.as_slice()].concat(),
        &subjects,
        |running| -> anyhow::Result<Sample> {
            let url = url(running, path);
            bench.backend.check(&url, version)?;
            let costed = cost_of(running, || load(&url, bench.options.time()))?;
            let per_request = costed.per_request();
            Ok(costed.sample(per_request))
        },
    )
}
