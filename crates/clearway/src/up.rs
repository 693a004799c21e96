//! `clearway up`: start, serve, reload, stop.
//!
//! The main thread runs everything but traffic on one small runtime: management, records, names. The server has its own
//! threads.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::AtomicU8;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use admin::Readiness;
use anyhow::Context;
use config::{Checked, Overrides};
use model::gateway::ListenAddress;
use proxy::{Server, StartError};
use store::{DataDir, Database, RecordSettings, RecordWriter};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use upstream::{Registry, Resolver};

use crate::args::Up;
use crate::control::{ControlFile, ControlSocket};
use crate::log_file::LogFile;
use crate::recorder::{Command, Recorder};
use crate::reload::{LOOK_EVERY, Reason, Reloader};
use crate::running::Running;
use crate::sources::{LoadError, Sources};
use crate::start_text::{Bound, Started};
use crate::{output, panics, system};

/// Two per connection, and some for files: below this, connections will be refused under load.
const OPEN_FILES_WANTED: u64 = 4096;

/// How long what was said last may take to come out when a second signal ends the process at once.
const LAST_WORDS: Duration = Duration::from_millis(100);

pub(crate) fn run(args: Up) -> anyhow::Result<ExitCode> {
    system::turn_huge_pages_off();
    system::survive_file_size_limit();
    output::speak_from_a_thread().context("failed to start a thread")?;
    panics::report();
    let overrides = Overrides { to: args.to, listen: args.listen, admin: args.admin, data: args.data };
    let sources = Sources::new(args.sources, overrides);
    let checked = match sources.load() {
        Ok(checked) => checked,
        Err(LoadError::Unreadable(error)) => return Err(error),
        Err(problems) => {
            output::say(&problems.to_string());
            return Ok(ExitCode::FAILURE);
        }
    };
    for warning in &checked.warnings {
        output::say(&warning.to_string());
    }
    if let Some(limit) = system::raise_open_files_limit()
        && limit < OPEN_FILES_WANTED
    {
        output::warn(&format!(
            "only {limit} files may be open at once; raise the limit (ulimit -n, LimitNOFILE=)"
        ));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(16)
        .build_local(tokio::runtime::LocalOptions::default())
        .context("failed to start a runtime")?;
    let outcome = runtime.block_on(async {
        // From here on a signal finds someone who listens.
        let signals = Signals::listen().context("failed to listen for signals")?;
        let process = Process::start(sources, checked).await?;
        Ok(process.serve(signals).await)
    });
    // Now nobody listens any more: a signal ends the process while its last words come out.
    system::die_of_signals();
    // Dropped, it would wait for the blocking threads, which may all be waiting for a name server.
    runtime.shutdown_background();
    outcome
}

struct Signals {
    hangup: Signal,
    stop: StopSignals,
}

struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Signals> {
        Ok(Signals {
            hangup: signal(SignalKind::hangup())?,
            stop: StopSignals {
                interrupt: signal(SignalKind::interrupt())?,
                terminate: signal(SignalKind::terminate())?,
            },
        })
    }
}

impl StopSignals {
    async fn recv(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Everything that runs.
struct Process {
    server: Server,
    running: Arc<Running>,
    reloader: Reloader,
    recorder: JoinHandle<()>,
    recorder_commands: mpsc::Sender<Command>,
    control: ControlFile,
    grace: Duration,
    /// The lock of the data directory goes last.
    _data: DataDir,
}

impl Process {
    /// Each step that fails is one clear message, and leaves nothing behind.
    async fn start(sources: Sources, checked: Checked) -> anyhow::Result<Process> {
        let started = SystemTime::now();
        let gateway = Arc::new(checked.gateway.clone());
        let data = DataDir::open(&checked.process.data).map_err(failed_to)?;
        let database = data.database().await.map_err(failed_to)?;
        if let Err(error) = proxy::spool::prepare(&gateway.spool.directory) {
            let directory = gateway.spool.directory.display();
            output::warn(&format!(
                "request bodies that are too large for memory will stream: failed to make a file in {directory}: {error}"
            ));
        }
        let log = LogFile::start(gateway.log.file.clone()).context("failed to start the log's thread")?;
        let registry = Registry::new(Resolver::new(tokio::runtime::Handle::current())).telling(output::warn);
        let server = Server::start(gateway.clone(), registry)
            .map_err(|StartError(reasons)| anyhow::anyhow!("failed to start:\n  {}", reasons.join("\n  ")))?;
        let (around, admin_token) = match Around::bind(&checked, &data, &database).await {
            Ok(bound) => bound,
            Err(error) => {
                server.drain(Duration::ZERO);
                return Err(error);
            }
        };
        let writer = RecordWriter::new(&data, RecordSettings::from(&gateway.records));
        let (recorder_commands, commands) = mpsc::channel(16);
        let metrics = Arc::new(Mutex::default());
        let running = Arc::new(Running {
            shared: server.shared().clone(),
            metrics: metrics.clone(),
            reader: writer.reader(),
            record_status: writer.status(),
            log_lines_dropped: log.dropped(),
            database,
            recorder: recorder_commands.clone(),
            started,
            readiness: AtomicU8::new(Readiness::Starting as u8),
            reloads: Default::default(),
        });
        let recorder = Recorder::new(server.shared().clone(), metrics, writer, log, &gateway.log, commands);
        let recorder = tokio::task::spawn_local(recorder.run());
        let admin = around.admin.local_addr().context("failed to tell the management address")?;
        tokio::spawn(admin::serve(around.admin, admin::router(running.clone(), admin)));
        let control = around.control.serve(running.clone());
        running.set_readiness(Readiness::Ready);
        output::say(
            &Started {
                gateway: &gateway,
                sources: &sources.paths,
                listeners: bound(&server),
                admin,
                data: data.path(),
                admin_token: admin_token.as_deref(),
            }
            .to_string(),
        );
        let reloader = Reloader::new(sources, &checked, recorder_commands.clone());
        let grace = gateway.grace;
        Ok(Process { server, running, reloader, recorder, recorder_commands, control, grace, _data: data })
    }

    /// Serves until a signal ends it.
    async fn serve(mut self, mut signals: Signals) -> ExitCode {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let why = tokio::select! {
                () = signals.stop.recv() => break,
                _ = signals.hangup.recv() => Reason::Hangup,
                _ = look.tick() => {
                    if !self.reloader.has_changed() {
                        continue;
                    }
                    Reason::FileChanged
                }
            };
            self.reloader.reload(&mut self.server, &self.running, why).await;
            self.grace = self.running.shared.serving.load().gateway.grace;
        }
        tokio::select! {
            code = self.stop() => code,
            () = signals.stop.recv() => {
                output::say("stopped at once by a second signal");
                output::finish_speaking(LAST_WORDS);
                // Destructors would wait for what the signal is to cut short.
                std::process::exit(1)
            }
        }
    }

    /// Finishes what is in flight, writes what is recorded, and leaves nothing behind.
    async fn stop(self) -> ExitCode {
        self.running.set_readiness(Readiness::Draining);
        let in_flight = self.running.shared.in_flight.load(std::sync::atomic::Ordering::Relaxed);
        output::info(&match in_flight {
            0 => "stopping; nothing is in flight".to_owned(),
            1 => format!("stopping; 1 request is in flight and may take up to {:?}", self.grace),
            _ => format!("stopping; {in_flight} requests are in flight and may take up to {:?}", self.grace),
        });
        if !drained(self.server, self.grace).await {
            output::warn("the grace time ended before everything in flight did");
        }
        // If the recorder is gone, its panic has been reported.
        let _ = self.recorder_commands.send(Command::Finish).await;
        let _ = self.recorder.await;
        drop(self.control);
        if let Err(error) = self.running.database.checkpoint().await {
            output::warn(&format!("failed to {error}"));
        }
        output::info("stopped");
        ExitCode::SUCCESS
    }
}

/// Drains on a thread of its own: the runtime's blocking threads may all be waiting for a name server.
async fn drained(server: Server, grace: Duration) -> bool {
    let (done, finished) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || done.send(server.drain(grace)));
    finished.await.unwrap_or(false)
}

/// What listens beside the server.
struct Around {
    admin: TcpListener,
    control: ControlSocket,
}

impl Around {
    /// Also makes the first admin token, when nothing can fail any more before it is shown.
    async fn bind(
        checked: &Checked,
        data: &DataDir,
        database: &Database,
    ) -> anyhow::Result<(Around, Option<String>)> {
        let address = checked.process.admin;
        let admin = TcpListener::bind(address).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::AddrInUse => anyhow::anyhow!(
                "the management address {address} is in use by another process; stop it, or choose another address \
                 with --admin"
            ),
            _ => anyhow::Error::new(error).context(format!("failed to listen on the management address {address}")),
        })?;
        let control = ControlSocket::bind(data.control_socket_path())?;
        let admin_token = database.admin_token_create_if_absent().await.map_err(failed_to)?;
        Ok((Around { admin, control }, admin_token))
    }
}

fn failed_to(error: store::StoreError) -> anyhow::Error {
    anyhow::anyhow!("failed to {error}")
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
