//! Takes finished exchanges from the data plane and derives everything from them: metrics, log line, stored record, and what
//! incidents are noticed by.
//!
//! Runs on the management runtime. When it is too slow, the data plane's queue fills and drops; nothing here delays a
//! request.
//!
//! In an upgrade the store changes hands: exchanges wait in the queue while nobody has it, and go to the process that has
//! it from then on, which derives everything from them.

mod successor;
pub(crate) mod watch;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::Exchange;
use model::gateway::{Log, LogFormat};
use proxy::Shared;
use proxy::telemetry::log;
use proxy::telemetry::metrics::Metrics;
use store::{Follower, Query, RecordSettings, RecordState, RecordWriter};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::handover::Connection;
use crate::log_file::LogFile;
use crate::output;
use crate::recorder::successor::Successor;
use crate::recorder::watch::Watch;

/// How long exchanges are collected before they are worked on: a wake-up per exchange would cost more than its record.
const COLLECT: Duration = Duration::from_millis(20);
/// How often lost records are reported while more are lost.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// What the recorder is told to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// Take over settings of the log and the records.
    Configure(Log, RecordSettings),
    /// Open the log file again: it may have been renamed.
    ReopenLog,
    /// Exchanges that match, as they end.
    Follow(Query, oneshot::Sender<Follower>),
    /// Take what waits now, and say when it can be found.
    Record(oneshot::Sender<()>),
    /// Record exchanges of the process whose place this one has taken, and say when that is done.
    Adopt(Vec<Exchange>, oneshot::Sender<()>),
    /// Write everything, let go of the store, and leave exchanges in the queue from then on.
    Hold(oneshot::Sender<()>),
    /// Go on as before the hold.
    Resume,
    /// Another process has the store now; send everything there.
    HandOver(Connection),
    /// Write everything and end.
    Finish,
}

/// Where exchanges go.
#[derive(Debug)]
enum Place {
    Store,
    /// Nowhere yet: they wait in the queue.
    Held,
    Successor(Successor),
    /// The process that had taken over is gone; so many were not recorded.
    Lost(usize),
}

/// What is derived from exchanges, and where it goes.
pub(crate) struct Sinks {
    pub(crate) metrics: Arc<Mutex<Metrics>>,
    pub(crate) writer: RecordWriter,
    pub(crate) watch: Watch,
    pub(crate) log: LogFile,
}

pub(crate) struct Recorder {
    shared: Arc<Shared>,
    metrics: Arc<Mutex<Metrics>>,
    writer: RecordWriter,
    watch: Watch,
    log: LogFile,
    format: LogFormat,
    path: Option<PathBuf>,
    commands: mpsc::Receiver<Command>,
    place: Place,
    /// Adopted while the store was held.
    waiting: Vec<(Vec<Exchange>, oneshot::Sender<()>)>,
    known_state: RecordState,
    known_dropped: u64,
    complain_after: Instant,
    /// As many as there were last time, so that a worker does not grow the next queue while others wait for it.
    expected: usize,
}

impl Recorder {
    /// Records from now on. To be called on the management runtime.
    pub(crate) fn start(
        shared: Arc<Shared>,
        sinks: Sinks,
        settings: &Log,
        commands: mpsc::Receiver<Command>,
    ) -> JoinHandle<()> {
        let Sinks { metrics, writer, watch, log } = sinks;
        let recorder = Recorder {
            shared,
            metrics,
            known_state: writer.status().state(),
            writer,
            watch,
            log,
            format: settings.format,
            path: settings.file.clone(),
            commands,
            place: Place::Store,
            waiting: Vec::new(),
            known_dropped: 0,
            complain_after: Instant::now(),
            expected: 0,
        };
        tokio::task::spawn_local(recorder.run())
    }

    /// Until told to finish.
    async fn run(mut self) {
        let mut collected_at = None;
        loop {
            tokio::select! {
                // What was told before an exchange ended holds for it.
                biased;
                command = self.commands.recv() => match command {
                    Some(Command::Finish) | None => break,
                    Some(command) => self.obey(command).await,
                },
                recorded = recorded(&mut self.place) => if recorded.is_err() {
                    self.lose();
                },
                () = self.watch.due(), if matches!(self.place, Place::Store) => self.watch.tick(),
                () = self.writer.due(), if matches!(self.place, Place::Store) => self.writer.tick().await,
                () = self.shared.records.filled(), if collected_at.is_none() => {
                    collected_at = Some(Instant::now() + COLLECT);
                }
                () = reached(collected_at) => {
                    collected_at = None;
                    self.record().await;
                }
            }
            self.tell_of_changes();
        }
        self.finish().await;
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Configure(log, records) => self.configure(log, records).await,
            Command::ReopenLog => self.log.open(self.path.clone()),
            // Who asked may have left meanwhile, here and below.
            Command::Follow(query, answer) => drop(answer.send(self.writer.follow(query))),
            Command::Record(answer) => {
                self.record().await;
                let _ = answer.send(());
            }
            Command::Adopt(batch, answer) => {
                self.waiting.push((batch, answer));
                self.record().await;
            }
            Command::Hold(answer) => {
                self.record().await;
                self.writer.let_go().await;
                self.watch.hold().await;
                self.place = Place::Held;
                let _ = answer.send(());
            }
            Command::Resume => {
                self.place = Place::Store;
                self.watch.resume().await;
                self.record().await;
            }
            Command::HandOver(connection) => {
                self.place = Place::Successor(Successor::new(connection));
                let unwritten = self.writer.take_unwritten();
                self.work_on(unwritten).await;
                self.record().await;
            }
            // The end of the loop, not of this function.
            Command::Finish => {}
        }
    }

    /// Takes what waits, unless it has nowhere to go.
    async fn record(&mut self) {
        if let Place::Held = self.place {
            return;
        }
        for (batch, answer) in std::mem::take(&mut self.waiting) {
            self.work_on(batch).await;
            let _ = answer.send(());
        }
        let batch = self.shared.records.take(Vec::with_capacity(self.expected));
        self.expected = batch.len();
        self.work_on(batch).await;
    }

    async fn work_on(&mut self, batch: Vec<Exchange>) {
        if batch.is_empty() {
            return;
        }
        match &mut self.place {
            Place::Successor(successor) => {
                if successor.send(batch).await.is_err() {
                    self.lose();
                }
            }
            Place::Lost(lost) => {
                *lost += batch.len();
                self.write_lines(&batch);
            }
            Place::Store | Place::Held => {
                {
                    let mut metrics = self.metrics.lock().unwrap_or_else(PoisonError::into_inner);
                    batch.iter().for_each(|exchange| metrics.observe(exchange));
                }
                self.watch.observe(&batch);
                self.write_lines(&batch);
                self.writer.append(batch).await;
            }
        }
    }

    /// The process that has the store is gone, or takes nothing any more. What it has not recorded gets its log lines here,
    /// some perhaps for the second time.
    fn lose(&mut self) {
        if let Place::Successor(successor) = std::mem::replace(&mut self.place, Place::Lost(0)) {
            let unrecorded = successor.into_unrecorded();
            self.place = Place::Lost(unrecorded.len());
            self.write_lines(&unrecorded);
            output::error(
                "the process that has taken over takes no records any more; what ends here is in the log only",
            );
        }
    }

    async fn finish(mut self) {
        // An upgrade that was cut short leaves the store here.
        if let Place::Held = self.place {
            self.place = Place::Store;
        }
        self.record().await;
        if let Place::Successor(successor) = &mut self.place
            && successor.finish().await.is_err()
        {
            self.lose();
        }
        match self.place {
            Place::Store | Place::Held => {
                self.watch.hold().await;
                self.writer.close().await;
            }
            Place::Successor(_) | Place::Lost(0) => {}
            Place::Lost(lost) => {
                let what = match lost {
                    1 => "1 exchange was".to_owned(),
                    _ => format!("{lost} exchanges were"),
                };
                output::error(&format!(
                    "{what} served and may be missing from the records: the process that had taken over did not record \
                     everything"
                ));
            }
        }
        self.log.close().await;
    }

    fn write_lines(&mut self, batch: &[Exchange]) {
        if batch.is_empty() {
            return;
        }
        let write = match self.format {
            LogFormat::Human => log::human,
            LogFormat::Json => log::json,
            LogFormat::Off => return,
        };
        let mut lines = self.log.buffer();
        for exchange in batch {
            write(&mut lines, exchange);
            lines.push(b'\n');
        }
        self.log.write(lines, batch.len() as u64);
    }

    async fn configure(&mut self, log: Log, records: RecordSettings) {
        self.watch.configure().await;
        self.format = log.format;
        if log.file != self.path {
            self.path = log.file;
            self.log.open(self.path.clone());
        }
        self.writer.set_settings(records);
        let mut metrics = self.metrics.lock().unwrap_or_else(PoisonError::into_inner);
        metrics.forget_unserved(&self.shared);
    }

    fn tell_of_changes(&mut self) {
        let state = self.writer.status().state();
        if state != self.known_state {
            match (&self.known_state, &state) {
                (_, RecordState::Stopped { reason, message, .. }) => output::error(&format!(
                    "recording stopped, serving goes on: failed to {message}: {reason}"
                )),
                (RecordState::Stopped { .. }, _) => output::info("recording goes on"),
                _ => {}
            }
            self.known_state = state;
        }
        let dropped = self.shared.records.dropped();
        if dropped > self.known_dropped && Instant::now() >= self.complain_after {
            let more = dropped - self.known_dropped;
            output::warn(&format!("{more} exchanges were served and not recorded: they came too fast"));
            self.known_dropped = dropped;
            self.complain_after = Instant::now() + COMPLAIN_EVERY;
        }
    }
}

/// Waits until the successor has recorded more, or for as long as there is none.
async fn recorded(place: &mut Place) -> std::io::Result<()> {
    match place {
        Place::Successor(successor) => successor.recorded().await,
        Place::Store | Place::Held | Place::Lost(_) => std::future::pending().await,
    }
}

/// Waits for a time, or for as long as there is none.
async fn reached(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
