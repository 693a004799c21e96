//! More requests than a server can take.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::{Measured, Stage, arrivals, percentiles};
use crate::battery::client::{Class, Client, End};
use crate::battery::load::{Arrivals, Load};
use crate::battery::peer::Setup;
use crate::battery::server::{Server, Settings};

const TAKES: Duration = Duration::from_millis(50);
/// Two sync workers of the server, one request each.
const WORKERS: u32 = 2;
/// How many times what it can take.
const FACTOR: f64 = 4.0;
const GOODPUT_MIN: f64 = 0.9;
/// People do not wait longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the capacity is measured.
const CALIBRATION: Duration = Duration::from_secs(3);

pub(super) fn four_times(stage: &Stage<'_>) -> anyhow::Result<Measured> {
    let only = stage.server_with("a", Settings::of(stage.kind).taking(TAKES))?;
    let capacity = capacity(&only)?;
    let proxy = stage.proxy_with(Setup { workers: Some(WORKERS), ..Setup::of(vec![only.target()]) })?;
    let load =
        Load::start(Arrivals { per_second: capacity * FACTOR, patience: PATIENCE, ..arrivals(&proxy) });
    let begin = Instant::now();
    for _ in 0..6 {
        stage.go_on()?;
    }
    let end = Instant::now();
    let mut remains = stage.finish(load, proxy, vec![only])?;
    let good = remains.outcomes.iter().filter(|outcome| outcome.end.is_good() && outcome.done <= end).count();
    let goodput = good as f64 / (end - begin).as_secs_f64() / capacity;
    let (shed, rest): (Vec<_>, Vec<_>) =
        remains.outcomes.iter().filter(|outcome| !outcome.end.is_good()).partition(|outcome| {
            matches!(&outcome.end, End::Answered(answer) if answer.status == 503 && answer.retry_after)
        });
    let times = |wanted: &[&crate::battery::load::Outcome]| -> Vec<Duration> {
        wanted.iter().map(|outcome| outcome.done - outcome.sent).collect()
    };
    let [shed_median, shed_most] = percentiles(&mut times(&shed), [0.5, 0.99]);
    let good: Vec<_> = remains.outcomes.iter().filter(|outcome| outcome.end.is_good()).collect();
    let [median, most] = percentiles(&mut times(&good), [0.5, 0.99]);
    let rest = rest.len();
    let measured = &mut remains.measured;
    measured.figure(format!(
        "goodput {:.0} % of {capacity:.0} a second, answered in {} ms (99 %: {} ms), shed in {} ms (99 %: {} ms)",
        goodput * 100.0,
        median.as_millis(),
        most.as_millis(),
        shed_median.as_millis(),
        shed_most.as_millis()
    ));
    measured.require(goodput >= GOODPUT_MIN, "goodput is below 90 % of the capacity");
    measured.require(rest == 0, &format!("{rest} failed otherwise than with 503 and Retry-After"));
    Ok(remains.held_to(stage.bar))
}

/// How many requests a second the server itself answers when there is always one waiting for each worker.
fn capacity(server: &Server) -> anyhow::Result<f64> {
    let port = server.target().http_port;
    let begin = Instant::now();
    let clients: Vec<_> = (0..WORKERS * 2)
        .map(|_| {
            thread::spawn(move || {
                let mut client = Client::new(port, PATIENCE);
                let mut good = 0_u32;
                while begin.elapsed() < CALIBRATION {
                    good += u32::from(client.ask(Class::Get, "calibration", "").is_good());
                }
                good
            })
        })
        .collect();
    let mut good = 0;
    for client in clients {
        good += client.join().ok().context("the thread of a client failed")?;
    }
    Ok(f64::from(good) / begin.elapsed().as_secs_f64())
}
