//! The proxies that go through the battery: Clearway with its defaults, nginx and HAProxy as an expert configures them.
//! How their configurations say so, and why each line is there, stands in the files beside this one.

mod clearway;
mod haproxy;
mod nginx;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::server::{Places, Target, steady_port};
use crate::process::{Process, answer_of, pause, signal};
use crate::programs::{find_program, version_in};
use crate::usage::{self, Member};

/// How long a process may take to replace itself.
const UPGRADE_TIME_MAX: Duration = Duration::from_secs(40);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Clearway,
    Haproxy,
    Nginx,
}

/// In the order of the tables.
pub(super) const KINDS: [Kind; 3] = [Kind::Clearway, Kind::Nginx, Kind::Haproxy];

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Clearway => "Clearway",
            Self::Haproxy => "HAProxy",
            Self::Nginx => "nginx",
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) kind: Kind,
    program: PathBuf,
    pub(super) version: String,
}

/// What a scenario tells the proxies.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) targets: Vec<Target>,
    /// What one target works on at a time, where that is scarce: an expert tells nginx and HAProxy.
    pub(super) workers: Option<u32>,
    /// The name server to ask for the names of the targets.
    pub(super) name_server: Option<String>,
    /// Whether it will be replaced: nginx ignores the signal for that unless it has left its parent.
    pub(super) upgrades: bool,
    /// Only for Clearway: so many upstreams more, at `/r0/` and so on, all with the first target, each with an own memory
    /// of when it closes, and for an hour of idling.
    pub(super) races: u32,
}

impl Setup {
    pub(super) fn of(targets: Vec<Target>) -> Self {
        Self { targets, workers: None, name_server: None, upgrades: false, races: 0 }
    }
}

/// What a configuration is written from.
struct Plan<'a> {
    setup: &'a Setup,
    folder: &'a Path,
    port: u16,
    admin: u16,
    /// Counts reloads: each has something new in its configuration.
    generation: u32,
}

/// A proxy that runs. Dropping it stops it and whoever took its place.
pub(super) struct Running {
    pub(super) kind: Kind,
    pub(super) port: u16,
    folder: PathBuf,
    setup: Setup,
    admin: u16,
    generation: u32,
    process: Process,
    /// Those who took the place of `process`, the last one last.
    successors: Vec<Member>,
}

/// Finds the proxy, or says why it cannot take part.
pub(super) fn find(kind: Kind, clearway: &Path) -> anyhow::Result<Peer> {
    let (program, argument) = match kind {
        Kind::Clearway => (clearway.to_owned(), "--version"),
        Kind::Haproxy => (find_program("haproxy")?, "-v"),
        Kind::Nginx => (find_program("nginx")?, "-v"),
    };
    let version = version_in(&answer_of(&program, &[argument])?);
    Ok(Peer { kind, program, version })
}

impl Peer {
    /// Starts it in a folder of its own, and waits until it accepts connections.
    pub(super) fn start(&self, setup: Setup, places: &Places) -> anyhow::Result<Running> {
        let folder = places.folder.join(self.kind.name());
        std::fs::create_dir_all(&folder)?;
        let (port, admin) = (steady_port()?, steady_port()?);
        let plan = Plan { setup: &setup, folder: &folder, port, admin, generation: 0 };
        write_configuration(self.kind, &plan)?;
        let mut command = match self.kind {
            Kind::Clearway => clearway::command(&self.program, &plan)?,
            Kind::Haproxy => haproxy::command(&self.program, &plan),
            Kind::Nginx => nginx::command(&self.program, &plan),
        };
        command.current_dir(&folder);
        let process = Process::start(self.kind.name(), &mut command, folder.join("output"))?;
        let mut running = Running {
            kind: self.kind,
            port,
            folder,
            setup,
            admin,
            generation: 0,
            process,
            successors: Vec::new(),
        };
        running.process.wait_for_port(port)?;
        Ok(running)
    }
}

fn write_configuration(kind: Kind, plan: &Plan<'_>) -> anyhow::Result<()> {
    let (name, text) = match kind {
        Kind::Clearway => ("clearway.yaml", clearway::configuration(plan)),
        Kind::Haproxy => ("haproxy.cfg", haproxy::configuration(plan)),
        Kind::Nginx => ("nginx.conf", nginx::configuration(plan)),
    };
    let path = plan.folder.join(name);
    std::fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))
}

impl Running {
    /// Clearway's log, one JSON document a line.
    pub(super) fn log(&self) -> PathBuf {
        self.folder.join("access.log")
    }

    fn pid(&self) -> u32 {
        match (self.successors.last(), self.kind) {
            (Some(member), _) => member.pid,
            // The process that was started may be a shell that waits for it.
            (None, Kind::Nginx) => nginx::pid(&self.folder).unwrap_or(self.process.pid()),
            (None, Kind::Clearway | Kind::Haproxy) => self.process.pid(),
        }
    }

    /// Changes the configuration and has it read, as the manual of each says.
    pub(super) fn reload(&mut self) -> anyhow::Result<()> {
        self.generation += 1;
        let Self { setup, folder, port, admin, generation, .. } = self;
        let plan = Plan { setup, folder, port: *port, admin: *admin, generation: *generation };
        write_configuration(self.kind, &plan)?;
        let how = match self.kind {
            Kind::Clearway | Kind::Nginx => libc::SIGHUP,
            // The master executes itself anew and starts a worker with what it reads.
            Kind::Haproxy => libc::SIGUSR2,
        };
        signal(self.pid(), how);
        Ok(())
    }

    /// Replaces the program while it runs, as the manual of each says, and waits until the old one has gone.
    pub(super) fn upgrade(&mut self) -> anyhow::Result<()> {
        let old = self.pid();
        let before = usage::tree(std::process::id());
        match self.kind {
            // `MASTER` in the manual: "reload also re-executes the binary".
            Kind::Haproxy => return self.reload(),
            Kind::Clearway => {
                signal(old, libc::SIGUSR2);
                let new = self.wait_for_successor(&before, |_| true)?;
                self.successors.push(new);
            }
            Kind::Nginx => {
                signal(old, libc::SIGUSR2);
                let is_master = |member: &Member| nginx::pid(&self.folder) == Some(member.pid);
                let new = self.wait_for_successor(&before, is_master)?;
                // Its workers accept: now those of the old one are asked to finish, and then their master.
                wait(|| usage::tree(new.pid).len() > 1, "the workers of the new nginx")?;
                signal(old, libc::SIGWINCH);
                signal(old, libc::SIGQUIT);
                self.successors.push(new);
            }
        }
        let gone = |pid: u32| !usage::tree(pid).iter().any(|member| member.pid == pid);
        wait(|| gone(old), "the old process to end")
    }

    /// The process that was not there before, of the same program as this one.
    fn wait_for_successor(
        &self,
        before: &[Member],
        suits: impl Fn(&Member) -> bool,
    ) -> anyhow::Result<Member> {
        let program = |pid: u32| std::fs::read_link(format!("/proc/{pid}/exe")).ok();
        let own = program(self.pid());
        let mut found = None;
        wait(
            || {
                let all = usage::tree(std::process::id());
                found = all.into_iter().find(|member| {
                    let is_new = before.iter().all(|other| other.pid != member.pid);
                    is_new && own.is_some() && program(member.pid) == own && suits(member)
                });
                found.is_some()
            },
            "a new process",
        )?;
        found.context("there is no new process")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for member in self.successors.iter().filter(|member| usage::is_alive(member)) {
            signal(member.pid, libc::SIGTERM);
        }
        let gone = || !self.successors.iter().any(usage::is_alive);
        if wait(gone, "the proxy to end").is_err() {
            for member in self.successors.iter().filter(|member| usage::is_alive(member)) {
                signal(member.pid, libc::SIGKILL);
            }
        }
    }
}

fn wait(mut condition: impl FnMut() -> bool, what: &str) -> anyhow::Result<()> {
    let end = Instant::now() + UPGRADE_TIME_MAX;
    while !condition() {
        if Instant::now() > end {
            bail!("waited {} s in vain for {what}", UPGRADE_TIME_MAX.as_secs());
        }
        pause(Duration::from_millis(10))?;
    }
    Ok(())
}

/// The command that starts `program` with an own `/etc/resolv.conf`, for programs that read no other.
fn with_name_server(program: &Path, folder: &Path, server: &str) -> anyhow::Result<Command> {
    let path = folder.join("resolv.conf");
    std::fs::write(&path, format!("nameserver {server}\noptions timeout:1 attempts:1\n"))?;
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\""]);
    command.arg(path).arg(program);
    Ok(command)
}
