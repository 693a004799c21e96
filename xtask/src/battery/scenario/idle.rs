//! Connections that their servers close while they are idle.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::{Measured, PATIENCE, Stage};
use crate::battery::client::{Class, Client};
use crate::battery::load::Outcome;
use crate::battery::server::{Kind, Settings};
use crate::process::check_interrupt;

/// So many connections idle at the same time.
const CLIENTS: u32 = 60;
/// Each of them so often.
const ROUNDS: u32 = 5;
/// How far around the limit the requests arrive.
const SPREAD: Duration = Duration::from_millis(10);
/// Long enough that all requests of a round are under way together, each on a connection of its own.
const TAKES: Duration = Duration::from_millis(100);

/// After how much idling a server of this kind closes, by default.
pub(super) fn limit_of(kind: Kind) -> Duration {
    match kind {
        Kind::Gthread => Duration::from_secs(2),
        // Scripted ones and uWSGI have none, and sync workers keep no connection.
        Kind::Scripted(_) | Kind::Sync | Kind::Uvicorn | Kind::Uwsgi => Duration::from_secs(5),
    }
}

pub(super) fn around_the_limit(stage: &Stage<'_>) -> anyhow::Result<Measured> {
    let only = stage.server_with("a", Settings::of(stage.kind).taking(TAKES))?;
    let proxy = stage.proxy(&[&only])?;
    let (port, limit) = (proxy.port, limit_of(stage.kind));
    let clients = (0..CLIENTS).map(|number| thread::spawn(move || client(port, limit, number)));
    let clients: Vec<_> = clients.collect();
    let mut outcomes = Vec::new();
    for client in clients {
        outcomes.extend(client.join().ok().context("the thread of a client failed")??);
    }
    Ok(stage.account(outcomes, proxy, vec![only])?.held_to(stage.bar))
}

/// Asks all rounds; each client has an own moment before or after the limit.
fn client(port: u16, limit: Duration, number: u32) -> anyhow::Result<Vec<Outcome>> {
    let mut client = Client::new(port, PATIENCE);
    let mut outcomes = Vec::new();
    let idle = limit - SPREAD + SPREAD * 2 * number / CLIENTS;
    for round in 0..ROUNDS {
        check_interrupt()?;
        let class = if (number + round).is_multiple_of(2) { Class::Get } else { Class::Post };
        let id = format!("{}-{number}-{round}", class.title().to_lowercase());
        let sent = Instant::now();
        let end = client.ask(class, &id, "x");
        outcomes.push(Outcome { id, class, sent, done: Instant::now(), end });
        // The idle time itself is what is tested.
        thread::sleep(idle);
    }
    Ok(outcomes)
}
