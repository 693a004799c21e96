//! How a process starts: everything that can fail first, then the store, and the listeners last.
//!
//! In an upgrade it waits between the two for its turn; until then another process serves.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64};
use std::time::SystemTime;

use admin::Readiness;
use anyhow::Context;
use config::Checked;
use model::Gateway;
use proxy::{Inherited, Server, StartError, Starting};
use store::{DataDir, RecordSettings, RecordWriter};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use upstream::{Registry, Resolver};

use super::{Managed, Process, bound, status};
use crate::ai;
use crate::control::ControlSocket;
use crate::log_file::LogFile;
use crate::notify::ServiceManager;
use crate::predecessor::{Handed, Predecessor};
use crate::program::Program;
use crate::recorder::{Recorder, Sinks};
use crate::reload::Reloader;
use crate::running::Running;
use crate::sources::Sources;
use crate::start_text::Started;
use crate::up::Signals;
use crate::{incidents, limits, output, socket_activation};

/// People who may ask for an upgrade at once; only the first of them gets one.
const UPGRADES_MAX: usize = 4;

/// Where a process begins.
pub(crate) enum Origin {
    /// By itself, perhaps with sockets that the service manager has bound.
    Fresh(Vec<Inherited>),
    /// In place of the process at the other end.
    Predecessor(UnixStream),
}

/// Whose turn it is not yet.
struct Prepared {
    predecessor: Option<Predecessor>,
    data: DataDir,
    /// The socket that was handed over.
    control: Option<OwnedFd>,
    management: std::net::TcpListener,
    log: LogFile,
    starting: Starting,
}

impl Process {
    /// Each step that fails is one clear message, and leaves nothing behind.
    pub(crate) async fn start(
        program: Program,
        sources: Sources,
        checked: Checked,
        origin: Origin,
        signals: &mut Signals,
    ) -> anyhow::Result<Process> {
        let gateway = Arc::new(checked.gateway.clone());
        let mut prepared = Prepared::new(&checked, &gateway, origin).await?;
        prepared.turn(signals).await?;
        let Prepared { predecessor, data, control, management, log, starting } = prepared;
        let database = data.database().await.map_err(failed_to)?;
        let control = match control {
            Some(handed) => ControlSocket::take_over(handed, data.control_socket_path())?,
            None => ControlSocket::bind(data.control_socket_path())?,
        };
        let keys = ai::prepare(&gateway, &database, starting.shared(), data.path()).await?;
        let writer = RecordWriter::new(&data, RecordSettings::from(&gateway.records));
        let (recorder_commands, commands) = mpsc::channel(16);
        let (ask_to_upgrade, upgrades) = mpsc::channel(UPGRADES_MAX);
        let running = Arc::new(Running {
            shared: starting.shared().clone(),
            metrics: Default::default(),
            reader: writer.reader(),
            record_status: writer.status(),
            incidents: Default::default(),
            untold: Default::default(),
            log_lines_dropped: log.dropped(),
            database,
            recorder: recorder_commands.clone(),
            started: SystemTime::now(),
            readiness: AtomicU8::new(Readiness::Starting as u8),
            reloads: Default::default(),
            upgrades: ask_to_upgrade,
            upgrades_failed: AtomicU64::new(0),
        });
        limits::start(&running).await?;
        let (admin, management) = manage(management, checked.process.admin, &running)?;
        let inherited = starting.inherited();
        let server = starting.serve().map_err(failed_to_start)?;
        // Nothing can fail any more.
        let watch = incidents::start(&running).await;
        let sinks = Sinks { metrics: running.metrics.clone(), writer, watch, log };
        let recorder = Recorder::start(running.shared.clone(), sinks, &gateway.log, commands);
        let control = control.serve(running.clone());
        running.set_readiness(Readiness::Ready);
        let predecessor = match predecessor {
            Some(old) => Some(old.follow(&inherited, recorder_commands.clone()).await),
            None => None,
        };
        let manager = ServiceManager::from_environment();
        manager.ready(&status(&bound(&server)));
        let started = Started {
            gateway: &gateway,
            sources: &sources.paths,
            listeners: bound(&server),
            admin,
            data: data.path(),
            keys: &keys,
        };
        output::say(&started.to_string());
        Ok(Process {
            program,
            server,
            running,
            reloader: Reloader::new(sources, &checked, recorder_commands.clone()),
            recorder,
            recorder_commands,
            upgrades,
            management,
            control,
            manager,
            predecessor,
            grace: gateway.grace,
            data,
        })
    }
}

impl Prepared {
    async fn new(checked: &Checked, gateway: &Arc<Gateway>, origin: Origin) -> anyhow::Result<Prepared> {
        let (predecessor, parts) = match origin {
            Origin::Fresh(sockets) => (None, Parts::fresh(checked, sockets)?),
            Origin::Predecessor(connection) => {
                let (predecessor, handed) = Predecessor::meet(connection).await?;
                (Some(predecessor), Parts::handed(checked, handed)?)
            }
        };
        let Parts { data, sockets, management, control } = parts;
        prepare_spool(gateway);
        let log = LogFile::start(gateway.log.file.clone()).context("failed to start the log's thread")?;
        let registry = Registry::new(Resolver::new(tokio::runtime::Handle::current())).telling(output::warn);
        let starting = Server::prepare(gateway.clone(), registry, sockets).map_err(failed_to_start)?;
        let management = match management {
            Some(listener) => listener,
            None => bind_management(checked.process.admin)?,
        };
        Ok(Prepared { predecessor, data, control, management, log, starting })
    }

    /// Waits until it may open the store and serve.
    async fn turn(&mut self, signals: &mut Signals) -> anyhow::Result<()> {
        let Some(old) = &mut self.predecessor else { return Ok(()) };
        let learned = tokio::select! {
            learned = old.turn() => learned?,
            () = signals.stop.recv() => anyhow::bail!("told to stop before it was this process's turn"),
        };
        match learned {
            Some(learned) => learned.recall(self.starting.shared()),
            // It is gone, and nobody waits to be told anything.
            None => self.predecessor = None,
        }
        self.data.name_owner().map_err(failed_to)
    }
}

/// What a process has before it serves.
struct Parts {
    data: DataDir,
    sockets: Vec<Inherited>,
    management: Option<std::net::TcpListener>,
    control: Option<OwnedFd>,
}

impl Parts {
    fn fresh(checked: &Checked, mut sockets: Vec<Inherited>) -> anyhow::Result<Parts> {
        let data = DataDir::open(&checked.process.data).map_err(failed_to)?;
        let management = socket_activation::take_management(&mut sockets, checked.process.admin)?;
        Ok(Parts { data, sockets, management, control: None })
    }

    fn handed(checked: &Checked, handed: Handed) -> anyhow::Result<Parts> {
        let Handed { lock, control, management: (configured, management), listeners } = handed;
        let data = DataDir::take_over(&checked.process.data, lock).map_err(failed_to)?;
        let management = (configured == checked.process.admin).then(|| management.into());
        Ok(Parts { data, sockets: listeners, management, control: Some(control) })
    }
}

/// Answers on the management address from now on.
fn manage(
    listener: std::net::TcpListener,
    configured: SocketAddr,
    running: &Arc<Running>,
) -> anyhow::Result<(SocketAddr, Managed)> {
    let failed = "failed to use the management socket";
    listener.set_nonblocking(true).context(failed)?;
    let kept = listener.try_clone().context(failed)?.into();
    let address = listener.local_addr().context(failed)?;
    let listener = TcpListener::from_std(listener).context(failed)?;
    let answering = tokio::spawn(admin::serve(listener, admin::router(running.clone(), address)));
    Ok((address, Managed { configured, kept, accepting: answering.abort_handle() }))
}

fn bind_management(address: SocketAddr) -> anyhow::Result<std::net::TcpListener> {
    // The standard library sets SO_REUSEADDR, so that connections of a process before are not in the way.
    std::net::TcpListener::bind(address).map_err(|error| match error.kind() {
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

fn prepare_spool(gateway: &Gateway) {
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
