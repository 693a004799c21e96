//! `cargo xtask bench`: what Clearway costs, measured beside nginx, HAProxy, Envoy and Caddy in one run.
//!
//! All proxies of a scenario run at the same time and are loaded in turn, every round in another order, so that a change
//! of the machine meets all of them. Figures are medians with their spread over the rounds. Nothing here passes or fails
//! by its speed; a row whose answers were wrong is marked invalid, and the command fails.

mod backend;
mod certificate;
mod events;
mod load;
mod logs;
mod options;
mod peer;
mod poller;
mod records;
mod report;
mod scenario;
mod stats;
mod steady;
mod table;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tempfile::TempDir;

use crate::{process, programs};

use backend::Backend;
use certificate::Certificate;
use options::Options;
use peer::{Kind, Missing, Peer, Running, Setup};
use report::{Section, Surroundings};
use table::{Metric, Row, Sample, Table};

pub use options::USAGE;
pub(crate) use report::replace_in;

/// Where the tables live, below the root.
const DOCUMENT: &str = "docs/benchmarks.md";
const README: &str = "README.md";

/// What every scenario works with.
struct Bench {
    options: Options,
    root: PathBuf,
    peers: Vec<Peer>,
    missing: Vec<Missing>,
    certificate: Certificate,
    backend: Backend,
    /// The most files a process may open.
    files_max: u64,
    /// For everything that is written; last, because it goes when all who write have stopped.
    folder: TempDir,
}

/// A row of a table that is being measured.
struct Subject {
    name: String,
    /// Or why it does not run.
    running: anyhow::Result<Running>,
}

/// Runs the scenarios that `arguments` name, or all.
pub fn run(root: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let options = Options::parse(arguments)?;
    process::catch_signals();
    let files_max = process::raise_file_limit()?;
    let clearway = match &options.binary {
        Some(path) => path.canonicalize().with_context(|| format!("failed to find {}", path.display()))?,
        None => programs::build(root, programs::Profile::Release)?,
    };
    let environment = root.join("target/bench-venv");
    let (mut peers, mut missing) =
        peer::find(&clearway, &environment, options.binary.is_none().then_some(root));
    peers.retain(|peer| options.wants(peer.kind));
    missing.retain(|missing| options.wants(missing.kind));
    if let Some(clearway) = missing.iter().find(|missing| missing.kind == Kind::Clearway) {
        bail!("failed to find Clearway: {}", clearway.reason);
    }
    let command = options::shown(arguments);
    let seconds = options.time().as_secs();
    let surroundings = Surroundings::look(command, options.rounds, seconds, &peers, &missing)?;
    if surroundings.is_busy() {
        crate::say("bench: warning: this machine is busy with something else, publish none of these figures");
    }
    let folder = tempfile::Builder::new().prefix("clearway-bench").tempdir()?;
    let certificate = Certificate::make(folder.path())?;
    let backend = Backend::start(folder.path())?;
    let root = root.to_owned();
    let bench = Bench { options, root, peers, missing, certificate, backend, files_max, folder };
    let mut sections = Vec::new();
    let mut failed = Vec::new();
    for scenario in bench.options.scenarios() {
        crate::say(&format!("==> bench: {}", scenario.name));
        match (scenario.run)(&bench) {
            Ok(section) => {
                print(&format!("## {}\n\n{}", section.title, section.markdown(&surroundings)));
                bench.publish(&section, &surroundings)?;
                sections.push(section);
            }
            Err(error) if process::was_interrupted() => return Err(error),
            // What the others take an hour to measure is not given up for one of them.
            Err(error) => {
                crate::say(&format!("bench: {} failed: {error:#}", scenario.name));
                failed.push(scenario.name);
            }
        }
    }
    if !failed.is_empty() {
        bail!("failed to measure {}", failed.join(", "));
    }
    bench.publish_summary(&sections, &surroundings)?;
    report::require_valid(&sections)
}

impl Bench {
    /// Starts every proxy with `setup`, those that are not installed become rows that say so.
    fn start_all(&self, setup: Setup) -> Vec<Subject> {
        let start = |peer: &Peer| Subject {
            name: peer.kind.name().to_owned(),
            running: peer.start(setup, &self.certificate, self.folder.path()),
        };
        self.peers.iter().map(start).collect()
    }

    fn clearway(&self) -> anyhow::Result<&Peer> {
        self.peers.iter().find(|peer| peer.kind == Kind::Clearway).context("Clearway is not among the peers")
    }

    /// Measures every subject once a round, beginning with another one each round.
    fn interleave(
        &self,
        metrics: &[Metric],
        subjects: &[Subject],
        measure: impl Fn(&Running) -> anyhow::Result<Sample>,
    ) -> anyhow::Result<Table> {
        let mut rows: Vec<Row> = subjects
            .iter()
            .map(|subject| match &subject.running {
                Ok(_) => Row { name: subject.name.clone(), samples: Vec::new(), absent: None },
                Err(error) => Row::absent(&subject.name, &format!("does not start: {error:#}")),
            })
            .collect();
        for round in 0..self.options.rounds {
            for turn in 0..subjects.len() {
                let index = (round + turn) % subjects.len();
                let (Some(subject), Some(row)) = (subjects.get(index), rows.get_mut(index)) else { continue };
                let Ok(running) = &subject.running else { continue };
                let sample = believe(measure(running), running)?;
                self.say_progress(round, &subject.name, metrics, &sample);
                row.samples.push(sample);
            }
        }
        rows.extend(self.missing.iter().map(|missing| Row::absent(missing.kind.name(), &missing.reason)));
        Ok(Table { metrics: metrics.to_vec(), rows })
    }

    fn say_progress(&self, round: usize, name: &str, metrics: &[Metric], sample: &Sample) {
        let figures = metrics.iter().zip(&sample.values);
        let mut parts: Vec<String> = figures
            .map(|(metric, value)| format!("{value:.digits$} {}", metric.title, digits = metric.digits))
            .collect();
        parts.extend(sample.faults.iter().map(|fault| format!("INVALID: {fault}")));
        let rounds = self.options.rounds;
        crate::say(&format!("    round {}/{rounds} {name}: {}", round + 1, parts.join(", ")));
    }

    /// Writes the tables of a scenario, if that was asked for.
    fn publish(&self, section: &Section, surroundings: &Surroundings) -> anyhow::Result<()> {
        if !self.options.write {
            return Ok(());
        }
        let name = format!("bench:{}", section.scenario);
        replace_in(&self.root.join(DOCUMENT), &name, &section.markdown(surroundings))?;
        crate::say(&format!("bench: wrote '{}' of {DOCUMENT}", section.title));
        Ok(())
    }

    /// Writes the summary, if that was asked for and everything was measured.
    fn publish_summary(&self, sections: &[Section], surroundings: &Surroundings) -> anyhow::Result<()> {
        if !self.options.write {
            return Ok(());
        }
        if !self.options.is_whole() {
            crate::say(
                "bench: left the summary in README.md alone, because this was not a run of everything",
            );
            return Ok(());
        }
        let names: Vec<&str> = self.peers.iter().map(|peer| peer.kind.name()).collect();
        let path = self.root.join(README);
        let text = std::fs::read_to_string(&path).with_context(|| format!("failed to read {README}"))?;
        let summary = report::summary(sections, surroundings, &names);
        let Some(text) = report::replace(&text, "bench", &summary) else {
            crate::say(&format!("bench: {README} has no place for a summary"));
            return Ok(());
        };
        std::fs::write(&path, text).with_context(|| format!("failed to write {README}"))?;
        crate::say(&format!("bench: wrote the summary in {README}"));
        Ok(())
    }
}

/// A measurement that failed is a fault of the row; only Ctrl-C ends the bench.
fn believe(result: anyhow::Result<Sample>, running: &Running) -> anyhow::Result<Sample> {
    match result {
        Ok(sample) => Ok(sample),
        Err(error) if process::was_interrupted() => Err(error),
        Err(error) => {
            let words = running.last_words();
            let words = if words.is_empty() { words } else { format!("; it said: {words}") };
            Ok(Sample { values: Vec::new(), faults: vec![format!("{error:#}{words}")] })
        }
    }
}

/// Results go to standard output, so that they can be piped; progress goes to standard error.
fn print(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{text}");
}
