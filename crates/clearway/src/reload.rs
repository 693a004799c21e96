//! Taking over a changed configuration, or going on with the last good one.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use config::{Checked, ProcessSettings};
use proxy::{Server, StartError};
use store::RecordSettings;
use tokio::sync::mpsc;

use crate::output;
use crate::recorder::Command;
use crate::running::Running;
use crate::sources::{Fingerprint, Sources};

/// How often files are looked at. A change takes effect within this time without any signal.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Why the configuration is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    FileChanged,
    Hangup,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Taken,
    Refused,
}

/// The configuration that serves, and how to get the next.
pub(crate) struct Reloader {
    sources: Sources,
    process: ProcessSettings,
    workers: Option<usize>,
    /// Files that the last configuration named.
    named: Vec<PathBuf>,
    seen: Fingerprint,
    recorder: mpsc::Sender<Command>,
}

impl Reloader {
    pub(crate) fn new(sources: Sources, checked: &Checked, recorder: mpsc::Sender<Command>) -> Reloader {
        let mut reloader = Reloader {
            sources,
            process: checked.process.clone(),
            workers: checked.gateway.workers,
            named: checked.files.clone(),
            seen: Fingerprint::default(),
            recorder,
        };
        reloader.seen = reloader.look();
        reloader
    }

    fn look(&self) -> Fingerprint {
        Fingerprint::take(&self.sources, &self.named)
    }

    /// Whether a file changed since the last call, or since the last reload.
    pub(crate) fn has_changed(&mut self) -> bool {
        let now = self.look();
        if now == self.seen {
            return false;
        }
        self.seen = now;
        true
    }

    /// Reads everything again and serves it, if all of it is good.
    pub(crate) async fn reload(&mut self, server: &mut Server, running: &Running, why: Reason) -> Outcome {
        // Before the files are read: a change in between is then seen by the next look.
        self.seen = self.look();
        if why == Reason::Hangup {
            self.tell_recorder(Command::ReopenLog).await;
        }
        let [taken, refused] = &running.reloads;
        match self.sources.load() {
            Ok(checked) => match server.reload(Arc::new(checked.gateway.clone())) {
                Ok(()) => {
                    taken.fetch_add(1, Ordering::Relaxed);
                    self.take_over(checked).await;
                    output::info("the configuration was read again and serves now");
                    return Outcome::Taken;
                }
                Err(StartError(problems)) => complain(&problems.join("\n")),
            },
            Err(error) => complain(&error.to_string()),
        }
        refused.fetch_add(1, Ordering::Relaxed);
        // A certificate that is about to expire must not wait for the rest of the configuration.
        for problem in server.reload_certificates() {
            output::error(&problem);
        }
        Outcome::Refused
    }

    async fn take_over(&mut self, checked: Checked) {
        for warning in &checked.warnings {
            output::warn(&warning.to_string());
        }
        for (what, changed) in [
            ("admin", checked.process.admin != self.process.admin),
            ("data", checked.process.data != self.process.data),
            ("workers", checked.gateway.workers != self.workers),
        ] {
            if changed {
                output::warn(&format!("a change of {what} takes effect at the next start"));
            }
        }
        let gateway = &checked.gateway;
        let records = RecordSettings::from(&gateway.records);
        self.tell_recorder(Command::Configure(gateway.log.clone(), records)).await;
        self.named = checked.files;
        self.seen = self.look();
    }

    async fn tell_recorder(&self, command: Command) {
        // It is gone only when the process stops.
        let _ = self.recorder.send(command).await;
    }
}

fn complain(problems: &str) {
    output::error(&format!(
        "the changed configuration is not used, the last good one goes on serving:\n{problems}"
    ));
}
