//! `cargo xtask battery`: what happens to requests when the servers behind a proxy restart, die, hang, lie or are too slow.
//!
//! The same scenarios, with the same load, for Clearway with its defaults and for nginx and HAProxy as experts configure
//! them, one proxy after the other. The servers are real where they can be; they write down what they execute, the client
//! accounts for every request. Clearway is held to a bar: below it, the command fails.

mod account;
mod assumption;
mod client;
mod load;
mod options;
mod peer;
mod records;
mod report;
mod scenario;
mod server;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tempfile::TempDir;

use crate::usage::{self, Member};
use crate::{process, programs};

use options::Options;
use peer::Peer;
use report::{Entry, Surroundings};
use scenario::{Measured, Scenario, TakesPart};

pub use options::USAGE;

/// Where the tables live, below the root.
const DOCUMENT: &str = "docs/battery.md";

/// What every scenario works with.
struct Battery {
    options: Options,
    root: PathBuf,
    peers: Vec<Peer>,
    /// For everything that is written; last, because it goes when all who write have stopped.
    folder: TempDir,
}

/// Runs the scenarios that `arguments` name, or all.
pub fn run(root: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let options = Options::parse(arguments)?;
    if !root.join(".venv/bin/gunicorn").is_file() {
        bail!("there are no Python servers in .venv: run 'tests/setup.sh bench' first");
    }
    process::catch_signals();
    process::raise_file_limit()?;
    adopt_orphans()?;
    let clearway = match &options.binary {
        Some(path) => path.canonicalize().with_context(|| format!("failed to find {}", path.display()))?,
        None => programs::build(root, options.profile())?,
    };
    let wanted = peer::KINDS.into_iter().filter(|kind| options.wants(*kind));
    let peers = wanted.map(|kind| peer::find(kind, &clearway)).collect::<anyhow::Result<Vec<Peer>>>()?;
    let surroundings = Surroundings::look(options.shown(arguments), root, &peers)?;
    let folder = tempfile::Builder::new().prefix("clearway-battery").tempdir()?;
    let battery = Battery { options, root: root.to_owned(), peers, folder };
    let mut below = Vec::new();
    for scenario in battery.options.scenarios() {
        crate::say(&format!("==> battery: {}", scenario.name));
        let entries = battery.measure(scenario)?;
        if entries.iter().any(|entry| !entry.measured.violations.is_empty()) {
            below.push(scenario.name);
        }
        battery.publish(scenario.name, &report::section(scenario, &entries, &surroundings))?;
    }
    if battery.options.wants_assumption() {
        crate::say(&format!("==> battery: {}", assumption::NAME));
        let (table, holds) = assumption::run(root, battery.folder.path())?;
        if !holds {
            below.push(assumption::NAME);
        }
        battery.publish(assumption::NAME, &format!("{table}\n{}\n", surroundings.line(assumption::NAME)))?;
    }
    if below.is_empty() { Ok(()) } else { bail!("Clearway is below the bar in: {}", below.join(", ")) }
}

impl Battery {
    /// Prints a table, and writes it if that was asked for. In a smoke run nobody reads it.
    fn publish(&self, name: &str, text: &str) -> anyhow::Result<()> {
        if !self.options.smoke {
            print(&format!("## {name}\n\n{text}"));
        }
        if self.options.write { report::write(&self.root.join(DOCUMENT), name, text) } else { Ok(()) }
    }

    /// The scenario for each kind of server and each proxy in turn.
    fn measure(&self, scenario: &Scenario) -> anyhow::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for &kind in self.options.servers(scenario) {
            let takes_part =
                |peer: &&Peer| scenario.takes_part == TakesPart::All || peer.kind == peer::Kind::Clearway;
            for peer in self.peers.iter().filter(takes_part) {
                let folder = tempfile::Builder::new().prefix(scenario.name).tempdir_in(self.folder.path())?;
                let result =
                    scenario::run(scenario, peer, kind, &self.root, folder.path(), self.options.part());
                end_orphans();
                process::check_interrupt()?;
                let measured = result.unwrap_or_else(|error| {
                    crate::say(&format!("    {} {}: failed: {error:#}", peer.kind.name(), kind.name()));
                    Measured::broken(peer.kind, &error)
                });
                for text in measured.explanations.iter().take(self.options.explanations()) {
                    crate::say(&format!("        {text}"));
                }
                entries.push(Entry { peer: peer.kind, kind, measured });
            }
        }
        Ok(entries)
    }
}

/// From now on, processes whose parent ends become children of this one: none is lost sight of.
fn adopt_orphans() -> anyhow::Result<()> {
    // SAFETY: prctl touches no memory of ours.
    let result = unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()).context("failed to adopt orphans") }
}

/// Kills what is left of a run whose processes were killed or replaced, and takes note of their end.
fn end_orphans() {
    let own = std::process::id();
    let orphans: Vec<Member> = usage::tree(own).into_iter().filter(|member| member.pid != own).collect();
    for orphan in orphans {
        process::signal(orphan.pid, libc::SIGKILL);
    }
    // SAFETY: no status is asked for. Whoever owns a child has waited for it already.
    while unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) } > 0 {}
}

/// Results go to standard output, so that they can be piped; progress goes to standard error.
fn print(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{text}");
}
