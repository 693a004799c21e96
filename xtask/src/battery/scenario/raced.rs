//! Ten thousand requests that arrive just when their server closes the idle connection they would be sent on.
//!
//! Once with everything on: connections are retired before, so nothing races. Once with retirement switched off, to see what
//! the rest of the protection does. There is no switch for it, and a limit that was seen once is remembered for a minute;
//! so each of those requests goes to an upstream of its own, of which nothing is known yet, and which keeps its connections
//! for an hour.

use std::io::Read;
use std::net::{Ipv4Addr, TcpStream};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;

use super::idle::limit_of;
use super::{Measured, PATIENCE, Remains, Stage};
use crate::battery::client::{Class, Client};
use crate::battery::load::Outcome;
use crate::battery::peer::{Running, Setup};
use crate::battery::records::text_at;
use crate::battery::server::Server;
use crate::process::was_interrupted;

/// Each with a connection of its own.
const CLIENTS: u32 = 500;
const ROUNDS: u32 = 20;
/// How far around the moment of the close the requests arrive.
const SPREAD: Duration = Duration::from_millis(4);
/// With fewer real races, nothing is shown.
const RACES_MIN: usize = 50;

pub(super) fn retired(stage: &Stage<'_>) -> anyhow::Result<Measured> {
    let only = stage.server("a")?;
    let proxy = stage.proxy(&[&only])?;
    let mut remains = race(stage, only, proxy)?;
    let races = Races::of(&remains);
    let failed = remains.measured.accounts.sum(|_| true).failed();
    remains.measured.figure(races.to_string());
    remains.measured.require(failed == 0, "raced requests failed");
    Ok(remains.held_to(stage.bar))
}

pub(super) fn unretired(stage: &Stage<'_>) -> anyhow::Result<Measured> {
    let only = stage.server("a")?;
    let setup = Setup { races: CLIENTS * ROUNDS, ..Setup::of(vec![only.target()]) };
    let proxy = stage.proxy_with(setup)?;
    let mut remains = race(stage, only, proxy)?;
    let races = Races::of(&remains);
    remains.measured.figure(races.to_string());
    remains.measured.require(races.all >= RACES_MIN, "too few real races to show anything");
    Ok(remains.held_to(stage.bar))
}

fn race(stage: &Stage<'_>, only: Server, proxy: Running) -> anyhow::Result<Remains> {
    let close = closes_after(&only)?.unwrap_or(limit_of(stage.kind));
    let barrier = Arc::new(Barrier::new(CLIENTS as usize));
    let port = proxy.port;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let barrier = Arc::clone(&barrier);
            thread::spawn(move || client(port, close, number, &barrier))
        })
        .collect();
    let mut outcomes = Vec::new();
    for client in clients {
        outcomes.extend(client.join().ok().context("the thread of a client failed")?);
    }
    if was_interrupted() {
        bail!("interrupted");
    }
    stage.account(outcomes, proxy, vec![only])
}

/// When the server ends a connection that idles, as it does: a loop that is late is late for all.
fn closes_after(server: &Server) -> anyhow::Result<Option<Duration>> {
    let port = server.target().http_port;
    let mut client = Client::new(port, PATIENCE);
    if !client.ask(Class::Get, "calibration", "").is_good() {
        bail!("{} does not answer", server.name);
    }
    let answered = Instant::now();
    let stream: &mut TcpStream = client
        .connection()
        .with_context(|| format!("failed to connect to {}:{port}", Ipv4Addr::LOCALHOST))?;
    let mut byte = [0];
    Ok(stream.read(&mut byte).is_ok_and(|read| read == 0).then(|| answered.elapsed()))
}

/// Two requests each round: one that opens a connection, and one that races with its close.
fn client(port: u16, close: Duration, number: u32, barrier: &Barrier) -> Vec<Outcome> {
    let mut client = Client::new(port, PATIENCE);
    let mut outcomes = Vec::new();
    let mut ask = |class: Class, id: String| {
        let sent = Instant::now();
        let end = client.ask(class, &id, "x");
        outcomes.push(Outcome { id, class, sent, done: Instant::now(), end });
    };
    for round in 0..ROUNDS {
        // All of them go on to the last round, even if nobody wants to know any more: others wait for them.
        barrier.wait();
        if was_interrupted() {
            continue;
        }
        let class = if (number + round).is_multiple_of(2) { Class::Get } else { Class::Post };
        let path = format!("r{}/{}", round * CLIENTS + number, class.title().to_lowercase());
        ask(class, format!("{path}-opens"));
        // The idle time itself is what is tested. In each round it is another one for a client.
        let step = (number * 7 + round * 13) % CLIENTS;
        thread::sleep(close - SPREAD + SPREAD * 2 * step / CLIENTS);
        ask(class, format!("{path}-races"));
    }
    outcomes
}

/// Reused connections that ended without a byte of an answer, and what became of their requests.
#[derive(Debug, Default)]
struct Races {
    all: usize,
    undelivered: usize,
    idempotent: usize,
    failed: usize,
}

impl Races {
    fn of(remains: &Remains) -> Self {
        let mut races = Self::default();
        for attempts in remains.records.attempts_by_request() {
            let lost = attempts.iter().enumerate().filter(|(_, attempt)| is_lost(attempt));
            for (index, _) in lost {
                races.all += 1;
                match attempts.get(index + 1).and_then(|next| text_at(next, "/why")) {
                    Some("undelivered") => races.undelivered += 1,
                    Some(_) => races.idempotent += 1,
                    None => races.failed += 1,
                }
            }
        }
        races
    }
}

fn is_lost(attempt: &Value) -> bool {
    let is_true = |name| attempt.get(name).and_then(Value::as_bool) == Some(true);
    let received = attempt.get("bytes_received").and_then(Value::as_u64);
    is_true("reused") && received == Some(0) && text_at(attempt, "/ending/fault").is_some()
}

impl std::fmt::Display for Races {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { all, undelivered, idempotent, failed } = self;
        write!(
            f,
            "{all} real races: {undelivered} sent again as undelivered, {idempotent} because that is safe, {failed} failed"
        )
    }
}
