//! The running process: how it serves, follows changes, and stops.

mod candidate;
mod start;
mod upgrade;

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use admin::Readiness;
use model::gateway::ListenAddress;
use proxy::Server;
use store::DataDir;
use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::timeout;

pub(crate) use self::start::Origin;
use crate::control::Controlled;
use crate::incidents::webhook::Untold;
use crate::notify::ServiceManager;
use crate::process::upgrade::{After, READY_TIMEOUT};
use crate::program::Program;
use crate::recorder::Command;
use crate::reload::{LOOK_EVERY, Outcome, Reason, Reloader};
use crate::running::{Running, UpgradeRequest};
use crate::start_text::Bound;
use crate::up::Signals;
use crate::{limits, output};

/// How long what was said last may take to come out when a second signal ends the process at once.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// How long a process that has nothing else to do waits for a webhook to take its messages: over the restart of a receiver.
const TELL_WITHIN: Duration = Duration::from_secs(10);

/// Everything that runs.
pub(crate) struct Process {
    program: Program,
    server: Server,
    running: Arc<Running>,
    reloader: Reloader,
    recorder: JoinHandle<()>,
    recorder_commands: mpsc::Sender<Command>,
    upgrades: mpsc::Receiver<UpgradeRequest>,
    management: Managed,
    control: Controlled,
    manager: ServiceManager,
    /// Ends when the process whose place this one took has finished.
    predecessor: Option<JoinHandle<()>>,
    grace: Duration,
    /// The lock of the data directory goes last.
    data: DataDir,
}

/// The management interface at work.
struct Managed {
    /// Its address in the configuration.
    configured: SocketAddr,
    kept: OwnedFd,
    accepting: AbortHandle,
}

impl Process {
    /// Serves until a signal ends it.
    pub(crate) async fn serve(mut self, mut signals: Signals) -> ExitCode {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = signals.stop.recv() => break,
                _ = signals.hangup.recv() => self.reload(Reason::Hangup).await,
                _ = look.tick() => if self.reloader.has_changed() {
                    self.reload(Reason::FileChanged).await;
                },
                request = asked_to_upgrade(&mut signals.upgrade, &mut self.upgrades) => {
                    match self.upgrade(&mut signals, request).await {
                        After::GoOn => {}
                        After::HandedOver(new) => return self.leave_to(new, signals).await,
                        After::Stop => break,
                    }
                }
            }
        }
        tokio::select! {
            code = self.stop() => code,
            () = signals.stop.recv() => stop_at_once(),
        }
    }

    async fn reload(&mut self, why: Reason) {
        self.manager.reloading();
        let outcome = self.reloader.reload(&mut self.server, &self.running, why).await;
        self.grace = self.running.shared.serving.load().gateway.grace;
        self.manager.ready(&match outcome {
            Outcome::Taken => status(&bound(&self.server)),
            Outcome::Refused => "the changed configuration has problems, the last good one serves".to_owned(),
        });
    }

    /// Finishes what is in flight, writes what is recorded, and leaves nothing behind.
    async fn stop(self) -> ExitCode {
        self.running.set_readiness(Readiness::Draining);
        let in_flight = self.running.shared.in_flight.load(std::sync::atomic::Ordering::Relaxed);
        let stopping = format!("stopping; {}", in_flight_text(in_flight, self.grace));
        output::info(&stopping);
        self.manager.stopping(&stopping);
        finish(
            self.server,
            self.grace,
            self.predecessor,
            self.recorder_commands,
            self.recorder,
            &self.running.untold,
        )
        .await;
        drop(self.control);
        let counters = self.running.shared.serving.load().limits.counters();
        limits::write(&self.running.database, &counters).await;
        if let Err(error) = self.running.database.checkpoint().await {
            output::warn(&format!("failed to {error}"));
        }
        output::info("stopped");
        ExitCode::SUCCESS
    }
}

/// Drains on a thread of its own: the runtime's blocking threads may all be waiting for a name server.
async fn drained(server: Server, grace: Duration) -> bool {
    let (done, finished) = oneshot::channel();
    std::thread::spawn(move || done.send(server.drain(grace)));
    finished.await.unwrap_or(false)
}

/// Lets what is in flight finish, here and in the process before, and everything be recorded.
async fn finish(
    server: Server,
    grace: Duration,
    predecessor: Option<JoinHandle<()>>,
    recorder_commands: mpsc::Sender<Command>,
    recorder: JoinHandle<()>,
    untold: &Untold,
) {
    let until = Instant::now() + grace;
    if !drained(server, grace).await {
        output::warn("the grace time ended before everything in flight did");
    }
    if let Some(predecessor) = predecessor
        && timeout(until.saturating_duration_since(Instant::now()), predecessor).await.is_err()
    {
        output::warn("the grace time ended before the process before this one had finished");
    }
    // If the recorder is gone, its panic has been reported.
    let _ = recorder_commands.send(Command::Finish).await;
    let _ = recorder.await;
    untold.told(TELL_WITHIN).await;
}

fn in_flight_text(in_flight: usize, grace: Duration) -> String {
    match in_flight {
        0 => "nothing is in flight".to_owned(),
        1 => format!("1 request is in flight and may take up to {grace:?}"),
        _ => format!("{in_flight} requests are in flight and may take up to {grace:?}"),
    }
}

fn stop_at_once() -> ! {
    output::say("stopped at once by a second signal");
    output::finish_speaking(LAST_WORDS);
    // Destructors would wait for what the signal is to cut short.
    std::process::exit(1)
}

/// By signal, or by the command line.
async fn asked_to_upgrade(signal: &mut Signal, asked: &mut mpsc::Receiver<UpgradeRequest>) -> UpgradeRequest {
    tokio::select! {
        _ = signal.recv() => {
            // Who sends a signal gets no answer.
            let (answer, _) = oneshot::channel();
            UpgradeRequest { timeout: READY_TIMEOUT, answer }
        }
        Some(request) = asked.recv() => request,
    }
}

/// What the service manager shows of a process that serves.
fn status(listeners: &[Bound]) -> String {
    let listeners: Vec<String> = listeners.iter().map(Bound::to_string).collect();
    format!("serving on {}", listeners.join(", "))
}

fn bound(server: &Server) -> Vec<Bound> {
    let mut listeners: Vec<Bound> = server
        .listeners()
        .map(|state| Bound { address: state.bound.clone(), tls: state.settings().tls.is_some() })
        .collect();
    listeners.sort_by_key(|listener| match &listener.address {
        ListenAddress::Tcp(address) => (0, Some(*address), PathBuf::new()),
        ListenAddress::Unix(path) => (1, None, path.clone()),
    });
    listeners
}
