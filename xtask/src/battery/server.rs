//! The backends of the battery: real Python servers with the application in tests/battery/app.py, and scripted ones that
//! misbehave. Each keeps its port through restarts.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::client::{Class, Client, End};
use crate::process::{Process, check_interrupt, pause, signal};
use crate::usage;

/// How often a starting server is asked.
const POLL: Duration = Duration::from_millis(5);
/// What a server may take until it answers.
const START_TIME_MAX: Duration = Duration::from_secs(20);
/// Below the range that the kernel gives to outgoing connections: one of those must not take the port of a server that is
/// down, and a connection to a closed port in that range may even be one to itself.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// Both gthread's threads and, for Uvicorn and uWSGI, what they take at a time suffice for every scenario.
const THREADS: &str = "32";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Gunicorn with threads, two workers.
    Gthread,
    /// tests/battery/scripted.py with these words.
    Scripted(&'static [&'static str]),
    /// Gunicorn with sync workers, two of them.
    Sync,
    /// One process.
    Uvicorn,
    /// Two workers with threads, asked by the uwsgi protocol where the proxy speaks it.
    Uwsgi,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gthread => "Gunicorn gthread",
            Self::Scripted(_) => "scripted",
            Self::Sync => "Gunicorn sync",
            Self::Uvicorn => "Uvicorn",
            Self::Uwsgi => "uWSGI",
        }
    }
}

/// How proxies speak to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http,
    Uwsgi,
}

/// Where a backend is, for the configuration of a proxy.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) protocol: Protocol,
    pub(super) host: String,
    pub(super) port: u16,
    /// For proxies that do not speak uwsgi.
    pub(super) http_port: u16,
}

/// What is particular about a backend.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) kind: Kind,
    /// How long a request takes.
    pub(super) takes: Duration,
    pub(super) more: &'static [&'static str],
    pub(super) host: &'static str,
    /// Where its port must be that of another one.
    pub(super) port: Option<u16>,
}

impl Settings {
    pub(super) fn of(kind: Kind) -> Self {
        Self { kind, takes: Duration::from_millis(3), more: &[], host: "127.0.0.1", port: None }
    }

    pub(super) fn taking(self, takes: Duration) -> Self {
        Self { takes, ..self }
    }

    pub(super) fn with(self, more: &'static [&'static str]) -> Self {
        Self { more, ..self }
    }
}

pub(super) struct Server {
    /// What it calls itself, in its answers and in what it writes down.
    pub(super) name: String,
    pub(super) settings: Settings,
    port: u16,
    uwsgi_port: u16,
    places: Places,
    process: Option<Process>,
}

/// What the backends of a run share.
#[derive(Clone, Debug)]
pub(super) struct Places {
    pub(super) root: PathBuf,
    pub(super) folder: PathBuf,
}

impl Places {
    pub(super) fn executed(&self) -> PathBuf {
        self.folder.join("executed")
    }

    /// Where the virtual environment has its packages.
    fn packages(&self) -> PathBuf {
        let versions = std::fs::read_dir(self.root.join(".venv/lib")).into_iter().flatten().flatten();
        let mut found = versions.map(|entry| entry.path().join("site-packages")).filter(|path| path.is_dir());
        found.next().unwrap_or_default()
    }

    fn scripts(&self) -> PathBuf {
        self.root.join("tests/battery")
    }
}

/// A port that nobody listens on, and that no outgoing connection takes.
pub(super) fn steady_port() -> anyhow::Result<u16> {
    use std::hash::{BuildHasher, RandomState};
    // Every hasher has keys of its own: that is chance enough.
    for attempt in 0..1000 {
        let chance = RandomState::new().hash_one(attempt) as u16;
        let port = PORTS.start + chance % (PORTS.end - PORTS.start);
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("there is no free port between {} and {}", PORTS.start, PORTS.end)
}

impl Server {
    /// Starts it, and waits until it answers.
    pub(super) fn start(name: String, settings: Settings, places: &Places) -> anyhow::Result<Self> {
        let port = match settings.port {
            Some(port) => port,
            None => steady_port()?,
        };
        let uwsgi_port = steady_port()?;
        let mut server = Self { name, settings, port, uwsgi_port, places: places.clone(), process: None };
        server.start_again()?;
        Ok(server)
    }

    /// Starts it at its port, and waits until it answers.
    pub(super) fn start_again(&mut self) -> anyhow::Result<()> {
        self.launch()?;
        self.wait_until_it_answers()
    }

    /// Starts it without waiting.
    pub(super) fn launch(&mut self) -> anyhow::Result<()> {
        let mut command = self.command();
        command
            .current_dir(self.places.scripts())
            .env("EXECUTED", self.places.executed())
            .env("NAME", &self.name)
            .env("TAKES", self.settings.takes.as_secs_f64().to_string())
            .env("PYTHONUNBUFFERED", "1")
            .env("PYTHONDONTWRITEBYTECODE", "1");
        let output = self.places.folder.join(format!("{}.log", self.name));
        self.process = Some(Process::start(&self.name, &mut command, output)?);
        Ok(())
    }

    fn command(&self) -> Command {
        let programs = self.places.root.join(".venv/bin");
        let at = format!("{}:{}", self.settings.host, self.port);
        let mut command = match self.settings.kind {
            Kind::Gthread | Kind::Sync => {
                let mut command = Command::new(programs.join("gunicorn"));
                command.args([
                    "--bind",
                    &at,
                    "--workers",
                    "2",
                    "--no-control-socket",
                    "--log-level",
                    "warning",
                ]);
                if self.settings.kind == Kind::Gthread {
                    command.args(["--worker-class", "gthread", "--threads", THREADS]);
                }
                command.args(self.settings.more).arg("app:wsgi");
                return command;
            }
            Kind::Scripted(words) => {
                let mut command = Command::new(programs.join("python"));
                command.arg("scripted.py").arg(self.port.to_string()).args(words);
                command
            }
            Kind::Uvicorn => {
                let mut command = Command::new(programs.join("uvicorn"));
                command.args(["app:asgi", "--host", self.settings.host, "--port", &self.port.to_string()]);
                command.args(["--log-level", "warning", "--no-access-log"]);
                command
            }
            Kind::Uwsgi => {
                let mut command = Command::new(programs.join("uwsgi"));
                command.args([
                    "--master",
                    "--die-on-term",
                    "--need-app",
                    "--workers",
                    "2",
                    "--enable-threads",
                ]);
                command.args([
                    "--threads",
                    "16",
                    "--listen",
                    "100",
                    "--disable-logging",
                    "--module",
                    "app:wsgi",
                ]);
                command.args(["--http-socket", &at, "--uwsgi-socket"]);
                command.arg(format!("{}:{}", self.settings.host, self.uwsgi_port));
                command.arg("--virtualenv").arg(self.places.root.join(".venv"));
                // After SIGHUP it executes itself anew, with a Python that knows nothing of the environment.
                command.env("PYTHONPATH", self.places.packages());
                command
            }
        };
        command.args(self.settings.more);
        command
    }

    /// Waits for an answer to a request of our own, and says when it came.
    pub(super) fn answers_at(&mut self) -> anyhow::Result<Instant> {
        let end = Instant::now() + START_TIME_MAX;
        loop {
            if self.is_answering() {
                return Ok(Instant::now());
            }
            if Instant::now() > end {
                let words = self.process.as_ref().map(Process::last_words).unwrap_or_default();
                bail!("{} does not answer: {words}", self.name);
            }
            pause(POLL)?;
        }
    }

    fn wait_until_it_answers(&mut self) -> anyhow::Result<()> {
        if let Kind::Scripted(_) = self.settings.kind {
            // Some of them never answer: they accept.
            let (name, port) = (&self.name, self.port);
            let process = self.process.as_mut().with_context(|| format!("{name} was not started"))?;
            return process.wait_for_port(port);
        }
        self.answers_at().map(drop)
    }

    fn is_answering(&self) -> bool {
        if self.settings.host != "127.0.0.1" {
            return std::net::TcpStream::connect((self.settings.host, self.port)).is_ok();
        }
        let end = Client::new(self.port, START_TIME_MAX).ask(Class::Get, "health", "");
        matches!(end, End::Answered(_))
    }

    pub(super) fn target(&self) -> Target {
        let (protocol, port) = match self.settings.kind {
            Kind::Gthread | Kind::Scripted(_) | Kind::Sync | Kind::Uvicorn => (Protocol::Http, self.port),
            Kind::Uwsgi => (Protocol::Uwsgi, self.uwsgi_port),
        };
        Target { protocol, host: self.settings.host.to_owned(), port, http_port: self.port }
    }

    /// Asks it to end, as a service manager does, and waits.
    pub(super) fn stop(&mut self) {
        self.process = None;
    }

    /// Kills all of it at once, as when memory runs out.
    pub(super) fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    /// Asks it to start its workers anew.
    pub(super) fn hup(&self) {
        if let Some(process) = &self.process {
            signal(process.pid(), libc::SIGHUP);
        }
    }

    /// Kills one of its workers.
    pub(super) fn kill_worker(&self) -> anyhow::Result<()> {
        let process = self.process.as_ref().with_context(|| format!("{} does not run", self.name))?;
        let workers = usage::tree(process.pid());
        let worker = workers.iter().find(|member| member.pid != process.pid());
        let worker = worker.with_context(|| format!("{} has no worker", self.name))?;
        signal(worker.pid, libc::SIGKILL);
        Ok(())
    }
}

/// What the backends executed so far; they must have stopped.
pub(super) fn executed(folder: &Path) -> anyhow::Result<String> {
    let path = folder.join("executed");
    std::fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))
}

/// An empty list of executions.
pub(super) fn begin(places: &Places) -> anyhow::Result<()> {
    check_interrupt()?;
    let path = places.executed();
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).open(&path)?;
    file.write_all(b"").with_context(|| format!("failed to begin {}", path.display()))
}
