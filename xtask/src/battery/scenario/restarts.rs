//! Instances that are stopped, killed and started.

use std::time::{Duration, Instant};

use super::{Measured, PER_SECOND, Remains, Stage, arrivals, percentiles};
use crate::battery::load::{Arrivals, Load};
use crate::battery::peer;
use crate::battery::records::text_at;
use crate::battery::server::Server;
use crate::process::pause;

/// How long a restarted instance is away, where that is part of the scenario.
const GAP: Duration = Duration::from_secs(2);
/// What a gap may add once the instance answers.
const DELAY_MAX: Duration = Duration::from_millis(100);
/// So few that what they wait for when the server is back is the proxy, and not each other.
const FEW_PER_SECOND: f64 = 3.0;
/// Attempts at a target that cannot be reached, beside probes: those that were chosen before the first one failed.
const ATTEMPTS_MAX: usize = 5;

pub(super) fn rolling(stage: &Stage<'_>) -> anyhow::Result<Measured> {
    let mut servers = vec![stage.server("a")?, stage.server("b")?];
    let proxy = stage.proxy(&servers.iter().collect::<Vec<&Server>>())?;
    let load = stage.load(&proxy);
    stage.go_on()?;
    for server in &mut servers {
        server.stop();
        stage.go_on()?;
        server.start_again()?;
        stage.go_on()?;
    }
    stage.go_on()?;
    Ok(stage.finish(load, proxy, servers)?.held_to(stage.bar))
}

pub(super) fn kill(stage: &Stage<'_>) -> anyhow::Result<Measured> {
    let mut dying = stage.server("a")?;
    let other = stage.server("b")?;
    let proxy = stage.proxy(&[&dying, &other])?;
    let dead = format!(":{}", dying.target().port);
    let load = stage.load(&proxy);
    stage.go_on()?;
    dying.kill();
    pause(GAP)?;
    dying.start_again()?;
    stage.go_on()?;
    let mut remains = stage.finish(load, proxy, vec![dying, other])?;
    if stage.peer.kind == peer::Kind::Clearway {
        let refused = remains.records.attempts().filter(|attempt| {
            let is_dead = text_at(attempt, "/target").is_some_and(|target| target.ends_with(&dead));
            is_dead && text_at(attempt, "/ending/during") == Some("connect")
        });
        let count = refused.count();
        let measured = &mut remains.measured;
        measured.figure(format!("{count} attempts at the dead one"));
        measured.require(count <= ATTEMPTS_MAX, "requests went on to the dead target");
    }
    Ok(remains.held_to(stage.bar))
}

pub(super) fn gap(stage: &Stage<'_>) -> anyhow::Result<Measured> {
    let (remains, _) = go_through_gap(stage, PER_SECOND)?;
    Ok(remains.held_to(stage.bar))
}

pub(super) fn delay(stage: &Stage<'_>) -> anyhow::Result<Measured> {
    let (mut remains, answered) = go_through_gap(stage, FEW_PER_SECOND)?;
    let mut delays = delays_after(&remains, answered);
    let [median, max] = percentiles(&mut delays, [0.5, 1.0]);
    let measured = &mut remains.measured;
    measured.figure(match delays.len() {
        0 => "nobody waited".to_owned(),
        count => format!(
            "{count} waited, and were answered {} ms (at most {} ms) after the server answered again",
            median.as_millis(),
            max.as_millis()
        ),
    });
    measured.require(max <= DELAY_MAX, "waiting requests were answered too late");
    Ok(remains.held_to(stage.bar))
}

/// Says when the server answered again.
fn go_through_gap(stage: &Stage<'_>, per_second: f64) -> anyhow::Result<(Remains, Instant)> {
    let mut only = stage.server("a")?;
    let proxy = stage.proxy(&[&only])?;
    let load = Load::start(Arrivals { per_second, ..arrivals(&proxy) });
    stage.go_on()?;
    only.stop();
    pause(GAP)?;
    only.launch()?;
    let answered = only.answers_at()?;
    stage.go_on()?;
    Ok((stage.finish(load, proxy, vec![only])?, answered))
}

/// Gunicorn and uWSGI start their workers anew.
pub(super) fn hup(stage: &Stage<'_>) -> anyhow::Result<Measured> {
    let mut only = stage.server("a")?;
    let proxy = stage.proxy(&[&only])?;
    let load = stage.load(&proxy);
    stage.go_on()?;
    for _ in 0..2 {
        only.hup();
        // A second signal while uWSGI executes itself anew would end it.
        stage.go_on()?;
        only.answers_at()?;
    }
    Ok(stage.finish(load, proxy, vec![only])?.held_to(stage.bar))
}

/// Of the requests that waited until the server answered: how long after that they were answered.
fn delays_after(remains: &Remains, answered: Instant) -> Vec<Duration> {
    let waited = remains
        .outcomes
        .iter()
        .filter(|outcome| outcome.end.is_good() && outcome.sent < answered && outcome.done > answered);
    waited.map(|outcome| outcome.done - answered).collect()
}
