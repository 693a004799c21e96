//! Targets that are reached and do not do what they should.

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::{Measured, PATIENCE, PER_SECOND, Remains, Stage, arrivals, percentiles};
use crate::battery::client::{Class, Client, End, read_answer};
use crate::battery::load::{Arrivals, Load, Outcome};
use crate::battery::server::{Kind, Server, Settings};
use crate::process::check_interrupt;

/// What a fast and a slow one take for a request.
const FAST: Duration = Duration::from_millis(10);
const SLOW: Duration = Duration::from_millis(200);
/// What a 20 times slower one may get.
const SLOW_SHARE_MAX: f64 = 0.05;
/// A target that never answers is found out by a limit of 60 s, and the request is then tried elsewhere.
const LONG_PATIENCE: Duration = Duration::from_secs(90);
/// An answer that comes later than this was held up by the silent target.
const PROMPT_MAX: Duration = Duration::from_secs(1);
/// Long enough that a killed worker has something under way.
const LONG_TAKES: Duration = Duration::from_millis(50);
/// Clients that send their body slowly: four times as many as there are workers.
const SLOW_CLIENTS: usize = 8;
const SLOW_PIECES: usize = 40;
const SLOW_PIECE: &str = "0123456789012345678901234567890123456789";
const SLOW_PAUSE: Duration = Duration::from_millis(100);
/// What an ordinary request may take beside slow clients, at the 99th percentile: a quarter of what an upload takes.
const UNDISTURBED_MAX: Duration = Duration::from_secs(1);
/// As many as a server can take whose workers end after ten of them.
const FEW_PER_SECOND: f64 = 30.0;

pub(super) fn silent(stage: &Stage<'_>) -> anyhow::Result<Measured> {
    let (good, bad) = (stage.server("good")?, bad(stage, Kind::Scripted(&["silent"]))?);
    let proxy = stage.proxy(&[&bad, &good])?;
    let load = Load::start(Arrivals { patience: LONG_PATIENCE, ..arrivals(&proxy) });
    for _ in 0..4 {
        stage.go_on()?;
    }
    let mut remains = stage.finish(load, proxy, vec![good, bad])?;
    let late = remains.outcomes.iter().filter(|outcome| outcome.done - outcome.sent > PROMPT_MAX).count();
    let longest =
        remains.outcomes.iter().map(|outcome| outcome.done - outcome.sent).max().unwrap_or_default();
    remains.measured.figure(format!("{late} took longer than 1 s, at most {:.1} s", longest.as_secs_f64()));
    Ok(remains.held_to(stage.bar))
}

pub(super) fn answers_502(stage: &Stage<'_>) -> anyhow::Result<Measured> {
    one_bad_of_two(stage, Kind::Scripted(&["status", "502"]))
}

pub(super) fn answers_503(stage: &Stage<'_>) -> anyhow::Result<Measured> {
    one_bad_of_two(stage, Kind::Scripted(&["status", "503"]))
}

pub(super) fn resets(stage: &Stage<'_>) -> anyhow::Result<Measured> {
    one_bad_of_two(stage, Kind::Scripted(&["resets", "0.05"]))
}

fn bad(stage: &Stage<'_>, kind: Kind) -> anyhow::Result<Server> {
    stage.server_with("bad", Settings::of(kind))
}

fn one_bad_of_two(stage: &Stage<'_>, kind: Kind) -> anyhow::Result<Measured> {
    let (good, bad) = (stage.server("good")?, bad(stage, kind)?);
    let proxy = stage.proxy(&[&bad, &good])?;
    let load = stage.load(&proxy);
    for _ in 0..4 {
        stage.go_on()?;
    }
    Ok(stage.finish(load, proxy, vec![good, bad])?.held_to(stage.bar))
}

/// The only one half-closes idle connections, and executes what it reads after that.
pub(super) fn half_closes(stage: &Stage<'_>) -> anyhow::Result<Measured> {
    alone(stage)
}

/// The only one closes idle connections whenever it likes.
pub(super) fn closes(stage: &Stage<'_>) -> anyhow::Result<Measured> {
    alone(stage)
}

fn alone(stage: &Stage<'_>) -> anyhow::Result<Measured> {
    let only = stage.server("a")?;
    let proxy = stage.proxy(&[&only])?;
    let load = stage.load(&proxy);
    for _ in 0..4 {
        stage.go_on()?;
    }
    Ok(stage.finish(load, proxy, vec![only])?.held_to(stage.bar))
}

pub(super) fn slow(stage: &Stage<'_>) -> anyhow::Result<Measured> {
    let fast = stage.server_with("fast", Settings::of(stage.kind).taking(FAST))?;
    let slow = stage.server_with("slow", Settings::of(stage.kind).taking(SLOW))?;
    let proxy = stage.proxy(&[&slow, &fast])?;
    let load = stage.load(&proxy);
    for _ in 0..4 {
        stage.go_on()?;
    }
    let mut remains = stage.finish(load, proxy, vec![fast, slow])?;
    let by_slow = remains.outcomes.iter().filter(|outcome| match &outcome.end {
        End::Answered(answer) => answer.by.as_deref() == Some("slow"),
        End::Closed | End::Refused | End::Reset | End::Timeout | End::Truncated => false,
    });
    let share = by_slow.count() as f64 / remains.outcomes.len() as f64;
    remains.measured.figure(format!("{:.1} % went to the slow one", share * 100.0));
    remains.measured.require(share <= SLOW_SHARE_MAX, "the slow target got more than 5 %");
    Ok(remains.held_to(stage.bar))
}

pub(super) fn worker_killed(stage: &Stage<'_>) -> anyhow::Result<Measured> {
    let only = stage.server_with("a", Settings::of(stage.kind).taking(LONG_TAKES))?;
    let proxy = stage.proxy(&[&only])?;
    // What two workers can do that take one request each; the others can take many.
    let per_second = if stage.kind == Kind::Sync { FEW_PER_SECOND } else { PER_SECOND };
    let load = Load::start(Arrivals { per_second, ..arrivals(&proxy) });
    for _ in 0..4 {
        stage.go_on()?;
        only.kill_worker()?;
    }
    stage.go_on()?;
    Ok(stage.finish(load, proxy, vec![only])?.held_to(stage.bar))
}

pub(super) fn max_requests(stage: &Stage<'_>) -> anyhow::Result<Measured> {
    let only = stage.server_with("a", Settings::of(stage.kind).with(&["--max-requests", "10"]))?;
    let proxy = stage.proxy(&[&only])?;
    let load = Load::start(Arrivals { per_second: FEW_PER_SECOND, ..arrivals(&proxy) });
    for _ in 0..6 {
        stage.go_on()?;
    }
    Ok(stage.finish(load, proxy, vec![only])?.held_to(stage.bar))
}

pub(super) fn slow_uploads(stage: &Stage<'_>) -> anyhow::Result<Measured> {
    let only = stage.server("a")?;
    let proxy = stage.proxy(&[&only])?;
    let port = proxy.port;
    let uploads: Vec<_> =
        (0..SLOW_CLIENTS).map(|number| thread::spawn(move || upload_slowly(port, number))).collect();
    let load = stage.load(&proxy);
    for _ in 0..3 {
        stage.go_on()?;
    }
    let mut outcomes = load.finish()?;
    let mut times: Vec<Duration> = outcomes.iter().map(|outcome| outcome.done - outcome.sent).collect();
    for upload in uploads {
        outcomes.push(upload.join().ok().context("the thread of a slow client failed")??);
    }
    let mut remains: Remains = stage.account(outcomes, proxy, vec![only])?;
    let [median, most, max] = percentiles(&mut times, [0.5, 0.99, 1.0]);
    let measured = &mut remains.measured;
    measured.figure(format!(
        "ordinary requests took {} ms, 99 % at most {} ms, all at most {} ms",
        median.as_millis(),
        most.as_millis(),
        max.as_millis()
    ));
    measured.require(most <= UNDISTURBED_MAX, "slow clients held up others");
    Ok(remains.held_to(stage.bar))
}

/// Sends a body in small pieces, as a phone with a bad connection does.
fn upload_slowly(port: u16, number: usize) -> anyhow::Result<Outcome> {
    let id = format!("post-slow-{number}");
    let mut client = Client::new(port, PATIENCE);
    let sent = Instant::now();
    let stream = client.connection()?;
    let length = SLOW_PIECES * SLOW_PIECE.len();
    write!(stream, "POST /{id} HTTP/1.1\r\nHost: battery.test\r\nContent-Length: {length}\r\n\r\n")?;
    for _ in 0..SLOW_PIECES {
        check_interrupt()?;
        // The slowness is what is tested. Who no longer listens is found out below.
        thread::sleep(SLOW_PAUSE);
        let _ = stream.write_all(SLOW_PIECE.as_bytes());
    }
    let end = read_answer(stream);
    Ok(Outcome { id, class: Class::Post, sent, done: Instant::now(), end })
}
