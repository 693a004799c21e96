//! Memory at rest, per idle connection, and whether it grows with what was served.
//!
//! What the kernel keeps for a socket is not counted; it is the same for all.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

use super::super::Bench;
use super::super::backend::SMALL_PATH;
use super::super::load::{H2load, Until, h2load};
use super::super::peer::{Kind, Peer, Running, Setup};
use super::super::report::Section;
use super::super::table::{Compared, Metric, Row, Sample, Table};
use super::throughput::http_url;
use super::{CONNECTIONS, SETTLE};
use crate::process::{Tool, check_interrupt, pause, spawn};
use crate::usage;

/// A thousand fewer than a process with 20,000 files can proxy if each needed a connection behind it.
const IDLE_HTTP1: u64 = 9000;
const IDLE_ENCRYPTED: u64 = 1000;
/// Files that a proxy and the client need beside the idle connections.
const FILES_SPARE: u64 = 500;

const MIB: f64 = 1_048_576.0;
const KIB: f64 = 1024.0;

const METRICS: &[Metric] = &[
    Metric { title: "at rest, RSS MiB", digits: 1, compared: Compared::RatioOfFirst },
    Metric { title: "of it anonymous, MiB", digits: 1, compared: Compared::Not },
    Metric { title: "idle HTTP/1.1, KiB each", digits: 2, compared: Compared::RatioOfFirst },
    Metric { title: "idle TLS, KiB each", digits: 2, compared: Compared::Not },
    Metric { title: "idle HTTP/2, KiB each", digits: 2, compared: Compared::Not },
];

const GROWTH: &[Metric] = &[
    Metric { title: "RSS after both ÷ after the first", digits: 3, compared: Compared::Not },
    Metric { title: "RSS MiB after the first", digits: 1, compared: Compared::Not },
    Metric { title: "RSS MiB after both", digits: 1, compared: Compared::Not },
];

pub(super) fn run(bench: &Bench) -> anyhow::Result<Section> {
    let scale = if bench.options.quick { 10 } else { 1 };
    if bench.files_max < IDLE_HTTP1 / scale + FILES_SPARE {
        bail!("{} open files are too few, raise the hard limit (ulimit -H -n)", bench.files_max);
    }
    let mut rows: Vec<Row> = bench
        .peers
        .iter()
        .map(|peer| Row { name: peer.kind.name().to_owned(), samples: Vec::new(), absent: None })
        .collect();
    for round in 0..bench.options.rounds {
        for turn in 0..bench.peers.len() {
            let index = (round + turn) % bench.peers.len();
            let (Some(peer), Some(row)) = (bench.peers.get(index), rows.get_mut(index)) else { continue };
            let sample = match idle(bench, peer, scale) {
                Ok(values) => Sample { values, faults: Vec::new() },
                Err(error) => failed(error)?,
            };
            bench.say_progress(round, peer.kind.name(), METRICS, &sample);
            row.samples.push(sample);
        }
    }
    rows.extend(bench.missing.iter().map(|missing| Row::absent(missing.kind.name(), &missing.reason)));
    let growth = growth(bench, scale)?;
    let [first, second, connections] = amounts(scale);
    let description = format!(
        "A new process per figure: at rest after its start; then with {} idle connections in the clear, or {} over \
         TLS, or {} of HTTP/2, each after one request (anonymous memory \
         beyond that of the same process after its first connection). The second table is of one long run: RSS \
         after {first} requests, and after {second} requests more and {connections} connections with one request.",
        IDLE_HTTP1 / scale,
        IDLE_ENCRYPTED / scale,
        IDLE_ENCRYPTED / scale,
    );
    let tables = vec![Table { metrics: METRICS.to_vec(), rows }, growth];
    Ok(Section { scenario: "memory", title: "Memory", description, tables })
}

fn failed(error: anyhow::Error) -> anyhow::Result<Sample> {
    check_interrupt()?;
    Ok(Sample { values: Vec::new(), faults: vec![format!("{error:#}")] })
}

fn start(bench: &Bench, peer: &Peer) -> anyhow::Result<Running> {
    let running = peer.start(Setup::full(bench.backend.port), &bench.certificate, bench.folder.path())?;
    pause(SETTLE)?;
    Ok(running)
}

/// The figures of `METRICS`.
fn idle(bench: &Bench, peer: &Peer, scale: u64) -> anyhow::Result<Vec<f64>> {
    let mut values = Vec::new();
    for (kind, count) in
        [("http1", IDLE_HTTP1 / scale), ("tls", IDLE_ENCRYPTED / scale), ("http2", IDLE_ENCRYPTED / scale)]
    {
        let running = start(bench, peer)?;
        if values.is_empty() {
            let rest = usage::memory(running.pid())?;
            values.extend([rest.rss as f64 / MIB, rest.anonymous as f64 / MIB]);
        }
        let port = if kind == "http1" { running.http } else { running.https };
        // What the first connection needs once, for all that follow, is not the price of a connection.
        drop(hold(bench, kind, port, 1)?);
        pause(SETTLE)?;
        let before = usage::memory(running.pid())?;
        let held = hold(bench, kind, port, count)?;
        pause(SETTLE)?;
        let loaded = usage::memory(running.pid())?;
        drop(held);
        values.push((loaded.anonymous as f64 - before.anonymous as f64) / KIB / count as f64);
    }
    Ok(values)
}

/// Connections that stay open until the tool is dropped.
fn hold(bench: &Bench, kind: &str, port: u16, count: u64) -> anyhow::Result<Tool> {
    let mut command = Command::new("python3");
    command.arg(bench.root.join("xtask/src/bench/idle.py"));
    command.args([kind, &port.to_string(), &count.to_string(), SMALL_PATH]);
    command.env("OPENSSL_CONF", &bench.certificate.client_settings);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut tool = Tool(spawn(&mut command)?);
    let mut line = String::new();
    let output = tool.0.stdout.take().context("the output must be a pipe")?;
    BufReader::new(output).read_line(&mut line)?;
    check_interrupt()?;
    if line.trim() != "ready" {
        let mut words = String::new();
        if let Some(mut errors) = tool.0.stderr.take() {
            errors.read_to_string(&mut words)?;
        }
        bail!("{count} idle connections ({kind}) could not be made: {}", words.trim());
    }
    Ok(tool)
}

/// Requests of the first part, of the second part, and connections of the second part.
fn amounts(scale: u64) -> [u64; 3] {
    [200_000 / scale, 1_800_000 / scale, 50_000 / scale]
}

/// One long run per proxy. Envoy and Caddy are left out: they would take a quarter of an hour.
fn growth(bench: &Bench, scale: u64) -> anyhow::Result<Table> {
    let mut rows = Vec::new();
    for peer in bench.peers.iter().filter(|peer| !matches!(peer.kind, Kind::Caddy | Kind::Envoy)) {
        let sample = match grow(bench, peer, scale) {
            Ok(sample) => sample,
            Err(error) => failed(error)?,
        };
        bench.say_progress(0, peer.kind.name(), GROWTH, &sample);
        rows.push(Row { name: peer.kind.name().to_owned(), samples: vec![sample], absent: None });
    }
    Ok(Table { metrics: GROWTH.to_vec(), rows })
}

fn grow(bench: &Bench, peer: &Peer, scale: u64) -> anyhow::Result<Sample> {
    let running = start(bench, peer)?;
    let url = http_url(&running, SMALL_PATH);
    let [first, second, connections] = amounts(scale);
    let mut faults = Vec::new();
    let mut ask = |requests| -> anyhow::Result<()> {
        let until = Until::Requests(requests);
        let load = H2load { url: &url, http1: true, clients: CONNECTIONS, streams: 1, until };
        let run = h2load(&load, bench.folder.path())?;
        if run.failed > 0 || run.requests != requests {
            faults.push(format!("{} of {requests} requests failed", run.failed + requests - run.requests));
        }
        running.log.take(0)?;
        Ok(())
    };
    ask(first)?;
    pause(SETTLE)?;
    let before = usage::memory(running.pid())?.rss as f64;
    ask(second)?;
    connect_often(running.http, connections)?;
    pause(SETTLE)?;
    let after = usage::memory(running.pid())?.rss as f64;
    Ok(Sample { values: vec![after / before, before / MIB, after / MIB], faults })
}

/// One connection after the other, each with one request.
fn connect_often(port: u16, count: u64) -> anyhow::Result<()> {
    let request = format!("GET {SMALL_PATH} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n");
    for _ in 0..count {
        check_interrupt()?;
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).context("failed to connect")?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        socket.write_all(request.as_bytes())?;
        let mut buffer = [0; 4096];
        let received = socket.read(&mut buffer).context("failed to receive")?;
        if !buffer.get(..received).is_some_and(|answer| answer.starts_with(b"HTTP/1.1 200 ")) {
            bail!("a new connection was not answered with 200");
        }
    }
    Ok(())
}
