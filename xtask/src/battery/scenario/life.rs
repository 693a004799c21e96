//! What a proxy does to requests when it is changed itself, and when the names of its targets move.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::bail;

use super::{Measured, PATIENCE, Stage, arrivals};
use crate::battery::client::{Class, Client};
use crate::battery::load::{Arrivals, Load};
use crate::battery::peer::{Running, Setup};
use crate::battery::server::{Settings, steady_port};
use crate::process::{Process, answer_of, pause};

/// The whole of 127/8 is the loopback, so that port 53 there is nobody else's.
const NAME_SERVER: &str = "127.53.0.1";
const OLD: &str = "127.53.0.2";
const NEW: &str = "127.53.0.3";
const NAME: &str = "app.internal.example";

pub(super) fn reload(stage: &Stage<'_>) -> anyhow::Result<Measured> {
    change(stage, 5, Running::reload)
}

pub(super) fn upgrade(stage: &Stage<'_>) -> anyhow::Result<Measured> {
    change(stage, 2, Running::upgrade)
}

fn change(
    stage: &Stage<'_>,
    times: u32,
    change: fn(&mut Running) -> anyhow::Result<()>,
) -> anyhow::Result<Measured> {
    let only = stage.server("a")?;
    let mut proxy = stage.proxy_with(Setup { upgrades: true, ..Setup::of(vec![only.target()]) })?;
    let load = Load::start(Arrivals { half_on_new_connections: true, ..arrivals(&proxy) });
    stage.go_on()?;
    for _ in 0..times {
        change(&mut proxy)?;
        stage.go_on()?;
    }
    Ok(stage.finish(load, proxy, vec![only])?.held_to(stage.bar))
}

pub(super) fn name_moves(stage: &Stage<'_>) -> anyhow::Result<Measured> {
    if let Err(error) = answer_of("unshare", &["--mount", "true"]) {
        return Ok(Measured::skipped(&format!("port 53 and a mount namespace need root ({error:#})")));
    }
    let addresses = stage.places.folder.join("addresses");
    fs::write(&addresses, OLD)?;
    let mut command = Command::new(stage.places.root.join(".venv/bin/python"));
    command.arg(stage.places.root.join("tests/battery/names.py")).arg(NAME_SERVER).arg(&addresses);
    let _names = Process::start("names", &mut command, stage.places.folder.join("names.log"))?;
    let port = steady_port()?;
    let at = |host| Settings { host, port: Some(port), ..Settings::of(stage.kind) };
    let old = stage.server_with("old", at(OLD))?;
    let new = stage.server_with("new", at(NEW))?;
    let mut target = old.target();
    target.host = NAME.to_owned();
    let setup = Setup { name_server: Some(NAME_SERVER.to_owned()), ..Setup::of(vec![target]) };
    let proxy = stage.proxy_with(setup)?;
    // HAProxy answers 503 until its first question has been answered.
    let end = Instant::now() + PATIENCE;
    while !Client::new(proxy.port, PATIENCE).ask(Class::Get, "ready", "").is_good() {
        if Instant::now() > end {
            bail!("the name of the target was not found");
        }
        pause(Duration::from_millis(10))?;
    }
    let load = stage.load(&proxy);
    stage.go_on()?;
    fs::write(&addresses, NEW)?;
    // The TTL is one second: after two parts of at least that, nobody should be left at the old address.
    stage.go_on()?;
    stage.go_on()?;
    drop(old);
    stage.go_on()?;
    Ok(stage.finish(load, proxy, vec![new])?.held_to(stage.bar))
}
