//! The running process: how its parts start in order, serve, follow changes, and stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::AtomicU8;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use admin::Readiness;
use anyhow::Context;
use config::Checked;
use model::gateway::ListenAddress;
use proxy::{Inherited, Server, StartError};
use store::{DataDir, RecordSettings, RecordWriter};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use upstream::{Registry, Resolver};

use crate::control::{ControlFile, ControlSocket};
use crate::log_file::LogFile;
use crate::notify::ServiceManager;
use crate::recorder::{Command, Recorder};
use crate::reload::{LOOK_EVERY, Outcome, Reason, Reloader};
use crate::running::Running;
use crate::sources::Sources;
use crate::start_text::{Bound, Started};
use crate::up::Signals;
use crate::{output, socket_activation};

/// How long what was said last may take to come out when a second signal ends the process at once.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Everything that runs.
pub(crate) struct Process {
    server: Server,
    running: Arc<Running>,
    reloader: Reloader,
    recorder: JoinHandle<()>,
    recorder_commands: mpsc::Sender<Command>,
    control: ControlFile,
    manager: ServiceManager,
    grace: Duration,
    /// The lock of the data directory goes last.
    _data: DataDir,
}

impl Process {
    /// Each step that fails is one clear message, and leaves nothing behind.
    pub(crate) async fn start(
        sources: Sources,
        checked: Checked,
        mut sockets: Vec<Inherited>,
    ) -> anyhow::Result<Process> {
        let started = SystemTime::now();
        let gateway = Arc::new(checked.gateway.clone());
        let data = DataDir::open(&checked.process.data).map_err(failed_to)?;
        let database = data.database().await.map_err(failed_to)?;
        prepare_spool(&gateway);
        let log = LogFile::start(gateway.log.file.clone()).context("failed to start the log's thread")?;
        let manager = ServiceManager::from_environment();
        let registry = Registry::new(Resolver::new(tokio::runtime::Handle::current())).telling(output::warn);
        let management = socket_activation::take_management(&mut sockets, checked.process.admin)?;
        let starting = Server::prepare(gateway.clone(), registry, sockets).map_err(failed_to_start)?;
        let around = Around::bind(&checked, management, &data).await?;
        let server = starting.serve().map_err(failed_to_start)?;
        // Nothing can fail any more before it is shown.
        let admin_token = match database.admin_token_create_if_absent().await {
            Ok(token) => token,
            Err(error) => {
                server.drain(Duration::ZERO);
                return Err(failed_to(error));
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
        let listeners = bound(&server);
        manager.ready(&status(&listeners));
        output::say(
            &Started {
                gateway: &gateway,
                sources: &sources.paths,
                listeners,
                admin,
                data: data.path(),
                admin_token: admin_token.as_deref(),
            }
            .to_string(),
        );
        let reloader = Reloader::new(sources, &checked, recorder_commands.clone());
        let grace = gateway.grace;
        Ok(Process {
            server,
            running,
            reloader,
            recorder,
            recorder_commands,
            control,
            manager,
            grace,
            _data: data,
        })
    }

    /// Serves until a signal ends it.
    pub(crate) async fn serve(mut self, mut signals: Signals) -> ExitCode {
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
            self.reload(why).await;
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
        let stopping = match in_flight {
            0 => "stopping; nothing is in flight".to_owned(),
            1 => format!("stopping; 1 request is in flight and may take up to {:?}", self.grace),
            _ => format!("stopping; {in_flight} requests are in flight and may take up to {:?}", self.grace),
        };
        output::info(&stopping);
        self.manager.stopping(&stopping);
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
    async fn bind(
        checked: &Checked,
        management: Option<std::net::TcpListener>,
        data: &DataDir,
    ) -> anyhow::Result<Around> {
        let admin = match management {
            Some(listener) => {
                TcpListener::from_std(listener).context("failed to use the management socket")?
            }
            None => bind_management(checked.process.admin).await?,
        };
        let control = ControlSocket::bind(data.control_socket_path())?;
        Ok(Around { admin, control })
    }
}

async fn bind_management(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => anyhow::anyhow!(
            "the management address {address} is in use by another process; stop it, or choose another address with \
             --admin"
        ),
        _ => anyhow::Error::new(error).context(format!("failed to listen on the management address {address}")),
    })
}

fn failed_to_start(StartError(reasons): StartError) -> anyhow::Error {
    anyhow::anyhow!("failed to start:\n  {}", reasons.join("\n  "))
}

fn prepare_spool(gateway: &model::Gateway) {
    if let Err(error) = proxy::spool::prepare(&gateway.spool.directory) {
        let directory = gateway.spool.directory.display();
        output::warn(&format!(
            "request bodies that are too large for memory will stream: failed to make a file in {directory}: {error}"
        ));
    }
}

fn failed_to(error: store::StoreError) -> anyhow::Error {
    anyhow::anyhow!("failed to {error}")
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
