//! Takes finished exchanges from the data plane and derives everything from them: metrics, log line, stored record.
//!
//! Runs on the management runtime. When it is too slow, the data plane's queue fills and drops; nothing here delays a
//! request.

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
use tokio::time::{Instant, sleep_until};

use crate::log_file::LogFile;
use crate::output;

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
    /// Write everything and end.
    Finish,
}

pub(crate) struct Recorder {
    shared: Arc<Shared>,
    metrics: Arc<Mutex<Metrics>>,
    writer: RecordWriter,
    log: LogFile,
    format: LogFormat,
    path: Option<PathBuf>,
    commands: mpsc::Receiver<Command>,
    known_state: RecordState,
    known_dropped: u64,
    complain_after: Instant,
    /// As many as there were last time, so that a worker does not grow the next queue while others wait for it.
    expected: usize,
}

impl Recorder {
    pub(crate) fn new(
        shared: Arc<Shared>,
        metrics: Arc<Mutex<Metrics>>,
        writer: RecordWriter,
        log: LogFile,
        settings: &Log,
        commands: mpsc::Receiver<Command>,
    ) -> Recorder {
        Recorder {
            shared,
            metrics,
            known_state: writer.status().state(),
            writer,
            log,
            format: settings.format,
            path: settings.file.clone(),
            commands,
            known_dropped: 0,
            complain_after: Instant::now(),
            expected: 0,
        }
    }

    /// Until told to finish.
    pub(crate) async fn run(mut self) {
        let mut collected_at = None;
        loop {
            tokio::select! {
                // What was told before an exchange ended holds for it.
                biased;
                command = self.commands.recv() => match command {
                    Some(Command::Configure(log, records)) => self.configure(log, records),
                    Some(Command::ReopenLog) => self.log.open(self.path.clone()),
                    // Who asked may have left meanwhile.
                    Some(Command::Follow(query, answer)) => drop(answer.send(self.writer.follow(query))),
                    Some(Command::Record(answer)) => {
                        self.record().await;
                        let _ = answer.send(());
                    }
                    Some(Command::Finish) | None => break,
                },
                () = self.writer.due() => self.writer.tick().await,
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
        self.record().await;
        self.writer.close().await;
        self.log.close().await;
    }

    async fn record(&mut self) {
        let batch = self.shared.records.take(Vec::with_capacity(self.expected));
        self.expected = batch.len();
        if batch.is_empty() {
            return;
        }
        {
            let mut metrics = self.metrics.lock().unwrap_or_else(PoisonError::into_inner);
            batch.iter().for_each(|exchange| metrics.observe(exchange));
        }
        self.write_lines(&batch);
        self.writer.append(batch).await;
    }

    fn write_lines(&mut self, batch: &[Exchange]) {
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

    fn configure(&mut self, log: Log, records: RecordSettings) {
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

/// Waits for a time, or for as long as there is none.
async fn reached(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
