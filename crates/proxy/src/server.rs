//! The server: its workers and listeners from start to drain, and the swap of what is served.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use model::Gateway;
use model::gateway::{ListenAddress, Listener};
use tokio::sync::mpsc;
use upstream::Registry;

use crate::bind::{self, Bound, BoundSocket, SocketFile};
use crate::inherit::{self, Inherited, Owner};
use crate::listen::ListenerState;
use crate::record::Records;
use crate::serving::Serving;
use crate::tls::ServerTls;
use crate::worker::{self, Command, DRAIN_IDLE, Shared};

/// A running data plane.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    registry: Registry,
    workers: Vec<Handle>,
    /// By the address in the configuration.
    listeners: HashMap<ListenAddress, Running>,
    /// Sockets of the service manager that no listener uses now: a reload may want them again.
    unused: Vec<Inherited>,
}

/// A data plane that has all it needs and accepts nothing yet.
#[derive(Debug)]
pub struct Starting {
    server: Server,
    prepared: Vec<Prepared>,
}

/// A listener that accepts.
#[derive(Debug)]
struct Running {
    state: Arc<ListenerState>,
    kept: Vec<OwnedFd>,
    file: Option<SocketFile>,
    owner: Owner,
}

/// The sockets of a listener, for the process that takes this one's place.
#[derive(Debug)]
pub struct Offered<'a> {
    /// Its address in the configuration.
    pub configured: &'a ListenAddress,
    pub bound: &'a ListenAddress,
    pub owner: Owner,
    pub sockets: &'a [OwnedFd],
}

#[derive(Debug)]
struct Handle {
    commands: mpsc::UnboundedSender<Command>,
    thread: JoinHandle<()>,
}

/// Why it cannot start or take over a configuration: each reason is a sentence for the operator.
#[derive(Debug, PartialEq, Eq)]
pub struct StartError(pub Vec<String>);

/// A listener that is bound and does not accept yet.
#[derive(Debug)]
struct Prepared {
    address: ListenAddress,
    state: Arc<ListenerState>,
    sockets: Vec<BoundSocket>,
    kept: Vec<OwnedFd>,
    file: Option<SocketFile>,
    owner: Owner,
    is_inherited: bool,
}

impl Starting {
    /// What the workers will share; nothing moves in it yet.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.server.shared
    }

    /// The listeners, by their addresses in the configuration, whose sockets were there before.
    pub fn inherited(&self) -> Vec<ListenAddress> {
        let inherited = self.prepared.iter().filter(|prepared| prepared.is_inherited);
        inherited.map(|prepared| prepared.address.clone()).collect()
    }

    /// Accepts from now on.
    pub fn serve(self) -> Result<Server, StartError> {
        let Starting { mut server, prepared } = self;
        open(&prepared).map_err(StartError)?;
        server.shared.serving.load().take_over();
        for listener in prepared {
            server.listen(listener);
        }
        Ok(server)
    }
}

impl Server {
    /// Binds everything, then serves. Nothing is accepted unless all of it worked.
    pub fn start(gateway: Arc<Gateway>, registry: Registry) -> Result<Server, StartError> {
        Server::prepare(gateway, registry, Vec::new())?.serve()
    }

    /// Makes everything ready, with sockets that are there already where they suit a listener.
    pub fn prepare(
        gateway: Arc<Gateway>,
        registry: Registry,
        mut inherited: Vec<Inherited>,
    ) -> Result<Starting, StartError> {
        let serving = Serving::new(gateway.clone(), &registry, None).map_err(StartError)?;
        let count = gateway.workers.unwrap_or_else(default_workers).max(1);
        let prepared = prepare(&gateway.listeners, count, Vec::new(), &mut inherited).map_err(StartError)?;
        let unserved: Vec<String> =
            inherited.iter().filter(|left| left.owner == Owner::Manager).map(inherit::unserved).collect();
        if !unserved.is_empty() {
            return Err(StartError(unserved));
        }
        let shared = Arc::new(Shared {
            serving: ArcSwap::from_pointee(serving),
            records: Records::default(),
            in_flight: AtomicUsize::new(0),
            spool: Arc::default(),
            idle_connections: AtomicUsize::new(0),
        });
        let mut workers = Vec::new();
        for number in 0..count {
            workers
                .push(start_worker(number, &shared).map_err(|error| {
                    StartError(vec![format!("failed to start a worker thread: {error}")])
                })?);
        }
        let server = Server { shared, registry, workers, listeners: HashMap::new(), unused: Vec::new() };
        Ok(Starting { server, prepared })
    }

    fn listen(&mut self, prepared: Prepared) {
        let Prepared { address, state, sockets, kept, file, owner, is_inherited } = prepared;
        // There may be more sockets than workers: each has to be accepted from.
        for (worker, socket) in self.workers.iter().cycle().zip(sockets) {
            // A worker that is gone has panicked, which its thread's join reports.
            let _ = worker.commands.send(Command::Listen(state.clone(), socket));
        }
        // Only now: a start that fails leaves the file to the process before.
        let file = if is_inherited { inherit::file(&state.bound, owner) } else { file };
        self.listeners.insert(address, Running { state, kept, file, owner });
    }

    /// The sockets it accepts on.
    pub fn offered(&self) -> impl Iterator<Item = Offered<'_>> {
        self.listeners.iter().map(|(configured, running)| Offered {
            configured,
            bound: &running.state.bound,
            owner: running.owner,
            sockets: &running.kept,
        })
    }

    /// Another process accepts on the sockets of these listeners from now on; [`Server::drain`] then leaves them open,
    /// with what is queued.
    pub fn leave_open(&mut self, listeners: &[ListenAddress]) {
        for address in listeners {
            if let Some(running) = self.listeners.get_mut(address) {
                running.state.leave_open();
                if let Some(file) = running.file.take() {
                    file.leave();
                }
            }
        }
    }

    /// Serves another configuration from now on, or goes on as before and says every reason why not. Sockets of
    /// listeners that stay are not touched; exchanges under way finish as they began, and connections of a listener that
    /// is gone end after them.
    pub fn reload(&mut self, gateway: Arc<Gateway>) -> Result<(), StartError> {
        let current = self.shared.serving.load_full();
        let mut problems = Vec::new();
        let serving = match Serving::new(gateway.clone(), &self.registry, Some(&current)) {
            Ok(serving) => Some(serving),
            Err(reasons) => {
                problems.extend(reasons);
                None
            }
        };
        let (kept, new): (Vec<_>, Vec<_>) = gateway
            .listeners
            .iter()
            .cloned()
            .partition(|listener| self.listeners.contains_key(&listener.address));
        let mut changes = Vec::new();
        for listener in kept {
            match ServerTls::for_listener(&listener) {
                Ok(tls) => changes.push((listener, tls)),
                Err(reason) => problems.push(format!("listener {}: {reason}", listener.address)),
            }
        }
        let own = self.listeners.values().map(|running| running.state.bound.clone()).collect();
        // A reload that is refused leaves them where they are.
        let mut unused: Vec<Inherited> = self.unused.iter().filter_map(Inherited::try_clone).collect();
        let prepared = match prepare(&new, self.workers.len(), own, &mut unused) {
            Ok(prepared) => prepared,
            Err(reasons) => {
                problems.extend(reasons);
                Vec::new()
            }
        };
        if problems.is_empty()
            && let Err(reason) = open(&prepared)
        {
            problems.extend(reason);
        }
        let (Some(serving), true) = (serving, problems.is_empty()) else {
            return Err(StartError(problems));
        };
        let serving = Arc::new(serving);
        self.shared.serving.store(serving.clone());
        serving.take_over();
        self.unused = unused;
        for (listener, tls) in changes {
            if let Some(running) = self.listeners.get(&listener.address) {
                running.state.reconfigure(listener, tls);
            }
        }
        for listener in prepared {
            self.listen(listener);
        }
        self.unlisten_all_but(&gateway.listeners);
        Ok(())
    }

    fn unlisten_all_but(&mut self, wanted: &[Arc<Listener>]) {
        let (workers, unused) = (&self.workers, &mut self.unused);
        let idle_until = Instant::now() + DRAIN_IDLE;
        self.listeners.retain(|address, running| {
            let stays = wanted.iter().any(|listener| listener.address == *address);
            if !stays {
                // Before the socket closes.
                running.file = None;
                running.state.close(idle_until);
                if running.owner == Owner::Manager {
                    unused.push(Inherited {
                        configured: running.state.bound.clone(),
                        bound: running.state.bound.clone(),
                        name: None,
                        owner: running.owner,
                        sockets: std::mem::take(&mut running.kept),
                    });
                }
                for worker in workers {
                    let _ = worker.commands.send(Command::Unlisten(running.state.clone()));
                }
            }
            stays
        });
    }

    /// Reads the certificates again. Those that cannot be read stay as they were, and the reason is told.
    pub fn reload_certificates(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for Running { state, .. } in self.listeners.values() {
            let settings = state.settings();
            match ServerTls::for_listener(&settings) {
                Ok(tls) => state.reconfigure(settings, tls),
                Err(reason) => problems.push(format!("listener {}: {reason}", state.bound)),
            }
        }
        problems
    }

    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The listeners as they are bound.
    pub fn listeners(&self) -> impl Iterator<Item = &Arc<ListenerState>> {
        self.listeners.values().map(|running| &running.state)
    }

    /// Stops accepting and finishes what is in flight; says whether everything was finished within `grace`.
    pub fn drain(self, grace: Duration) -> bool {
        // Before the sockets close: what is connected by then is accepted, and what starts in our place makes its own.
        drop(self.listeners);
        let now = Instant::now();
        let idle_until = now + DRAIN_IDLE.min(grace);
        let commands: Vec<_> = self.workers.iter().map(|worker| worker.commands.clone()).collect();
        for worker in &commands {
            let _ = worker.send(Command::Drain { idle_until });
        }
        let (done, finished) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for worker in self.workers {
                let _ = worker.thread.join();
            }
            let _ = done.send(());
        });
        let in_time = finished.recv_timeout(grace).is_ok();
        if !in_time {
            // Each exchange gets an end, its client an answer where it can still have one, and the record both.
            for worker in &commands {
                let _ = worker.send(Command::Cut);
            }
            let _ = finished.recv_timeout(CUT_MAX);
        }
        in_time
    }
}

/// How long the last answers may take to leave after the grace time.
const CUT_MAX: Duration = Duration::from_secs(1);

fn default_workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn start_worker(number: usize, shared: &Arc<Shared>) -> std::io::Result<Handle> {
    let (commands, receiver) = mpsc::unbounded_channel();
    let shared = shared.clone();
    let (started, ready) = std::sync::mpsc::channel();
    let thread =
        std::thread::Builder::new().name(format!("worker-{number}")).spawn(
            move || match worker::runtime() {
                Ok(runtime) => {
                    let _ = started.send(Ok(()));
                    worker::run(runtime, shared, seed(number), receiver);
                }
                Err(error) => {
                    let _ = started.send(Err(error));
                }
            },
        )?;
    ready.recv().map_err(|_| std::io::Error::other("the thread ended at once"))??;
    Ok(Handle { commands, thread })
}

/// Keeps the ids of workers and processes apart.
fn seed(number: usize) -> u64 {
    use std::hash::{BuildHasher, Hasher};
    let mut hasher = std::collections::hash_map::RandomState::new().build_hasher();
    hasher.write_usize(number);
    hasher.finish()
}

/// Binds listeners beside those that this process has; gives every reason if any cannot be.
fn prepare(
    listeners: &[Arc<Listener>],
    workers: usize,
    mut own: Vec<ListenAddress>,
    inherited: &mut Vec<Inherited>,
) -> Result<Vec<Prepared>, Vec<String>> {
    let mut prepared = Vec::new();
    let mut problems = Vec::new();
    own.extend(inherited.iter().map(|inherited| inherited.bound.clone()));
    let mut assigned = inherit::assign(listeners, inherited);
    for listener in listeners {
        match prepare_one(listener, workers, &own, &mut assigned) {
            Ok(ready) => {
                own.push(ready.state.bound.clone());
                prepared.push(ready);
            }
            Err(reason) => problems.push(reason),
        }
    }
    if problems.is_empty() { Ok(prepared) } else { Err(problems) }
}

/// From now on the kernel accepts: to be called when nothing else can fail.
fn open(prepared: &[Prepared]) -> Result<(), Vec<String>> {
    for Prepared { address, sockets, .. } in prepared {
        for socket in sockets {
            socket.listen().map_err(|error| vec![bind_problem(address, &error)])?;
        }
    }
    Ok(())
}

fn prepare_one(
    listener: &Arc<Listener>,
    workers: usize,
    own: &[ListenAddress],
    assigned: &mut HashMap<ListenAddress, Inherited>,
) -> Result<Prepared, String> {
    let address = &listener.address;
    let tls = ServerTls::for_listener(listener).map_err(|reason| format!("listener {address}: {reason}"))?;
    let inherited = assigned.remove(address);
    let is_inherited = inherited.is_some();
    let bound = match inherited {
        Some(inherited) => inherited.adopt(workers),
        None => bind::bind(address, workers, own),
    };
    let Bound { address: bound, sockets, kept, file, owner } =
        bound.map_err(|error| bind_problem(address, &error))?;
    let state = Arc::new(ListenerState::new(listener.clone(), bound, tls, owner));
    Ok(Prepared { address: address.clone(), state, sockets, kept, file, owner, is_inherited })
}

fn bind_problem(address: &ListenAddress, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            format!(
                "{address} is in use by another process; stop it, or choose another address with --listen"
            )
        }
        std::io::ErrorKind::PermissionDenied => format!(
            "no permission to listen on {address}; ports below 1024 need the capability CAP_NET_BIND_SERVICE"
        ),
        _ => format!("failed to listen on {address}: {error}"),
    }
}
