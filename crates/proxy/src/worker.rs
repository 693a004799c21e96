//! A worker: one thread, one single-threaded runtime, its own connections, pools and timers.
//!
//! Nothing on the path of a request is shared with another worker but counters, the serving configuration and the queue
//! of records.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context as TaskContext, Waker};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use model::{Ending, Exchange, Protocol, RequestIds, Timeline};
use tokio::runtime::LocalRuntime;
use tokio::sync::{Notify, mpsc};
use upstream::Pool;
use wire::{Fields, Known, RequestHead, Version};

use crate::bind::BoundSocket;
use crate::deadline::Deadline;
use crate::exchange::{Context, Scratch};
use crate::forward::{self, Vouchers};
use crate::listen::{Acceptor, ListenerState, Listening, accept_loop};
use crate::record::Records;
use crate::serving::Serving;
use crate::spool;

/// Heads and timers kept for reuse per worker: about as many as there are exchanges at once.
const KEPT_MAX: usize = 256;

/// What all workers share.
#[derive(Debug)]
pub struct Shared {
    pub serving: ArcSwap<Serving>,
    pub records: Records,
    /// Exchanges under way.
    pub in_flight: AtomicUsize,
    /// Request bodies in files.
    pub spool: Arc<spool::Usage>,
    /// Idle upstream connections, summed over workers; each adds its changes once a second.
    pub idle_connections: AtomicUsize,
}

/// What a worker is told to do.
#[derive(Debug)]
pub(crate) enum Command {
    Listen(Arc<ListenerState>, BoundSocket),
    /// Accept what is queued, then close; the state says when idle connections end.
    Unlisten(Arc<ListenerState>),
    /// Stop accepting; finish what is in flight; idle connections are closed at this time.
    Drain {
        idle_until: Instant,
    },
    /// The grace time is over: end what is still in flight.
    Cut,
}

/// One worker's state.
#[derive(Debug)]
pub(crate) struct Worker {
    pub pool: Pool,
    pub ids: RefCell<RequestIds>,
    pub vouchers: Vouchers,
    /// Bytes of request bodies that are held whole.
    pub collected: Rc<Cell<usize>>,
    shared: Arc<Shared>,
    #[expect(clippy::vec_box, reason = "they are lent, and moving a box is cheaper than moving heads")]
    scratches: RefCell<Vec<Box<Scratch>>>,
    timers: RefCell<Vec<Deadline>>,
    idle: RefCell<HashMap<u64, Rc<IdleSlot>, ahash::RandomState>>,
    next_idle: Cell<u64>,
    idle_until: Cell<Option<Instant>>,
    cut: Cell<bool>,
    tasks: Cell<usize>,
    all_done: Notify,
    pub clock: Clock,
}

/// The time, read as rarely as the record allows: reading it a dozen times per request costs as much as routing it.
#[derive(Debug)]
pub(crate) struct Clock {
    now: Cell<Instant>,
    /// When the worker last had something to do again after it had had nothing.
    woke: Cell<Instant>,
    /// The same moment on both clocks; taken again with each sweep, so that a step of the system's clock is followed.
    pair: Cell<(Instant, SystemTime)>,
    /// The value of `Date` for this Unix second.
    date: RefCell<(u64, String)>,
}

impl Clock {
    fn new() -> Clock {
        let now = Instant::now();
        Clock {
            now: Cell::new(now),
            woke: Cell::new(now),
            pair: Cell::new((now, SystemTime::now())),
            date: RefCell::default(),
        }
    }

    /// Reads the time: to be called when a task goes on after it had waited.
    pub(crate) fn tick(&self) -> Instant {
        let now = Instant::now();
        self.now.set(now);
        if WOKE.replace(false) {
            self.woke.set(now);
        }
        now
    }

    /// For how long the worker has been busy without a break: what is noticed now may have happened so long ago.
    pub(crate) fn busy_for(&self) -> Duration {
        self.now().saturating_duration_since(self.woke.get())
    }

    /// The time of the last tick: right for what follows it without waiting.
    pub(crate) fn now(&self) -> Instant {
        self.now.get()
    }

    /// Adds the time to a response without it (RFC 9110 section 6.6.1). WSGI applications behind uwsgi send none.
    pub(crate) fn date(&self, fields: &mut Fields) {
        if fields.get(Known::Date).is_some() {
            return;
        }
        let second = self.unix_micros(self.now()) / 1_000_000;
        let mut date = self.date.borrow_mut();
        if date.0 != second {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
            *date = (second, httpdate::fmt_http_date(time));
        }
        fields.push_known(Known::Date, date.1.as_bytes());
    }

    fn synchronize(&self) {
        self.pair.set((self.tick(), SystemTime::now()));
    }

    fn unix_micros(&self, at: Instant) -> u64 {
        let (instant, system) = self.pair.get();
        let system = system.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros() as u64;
        match at.checked_duration_since(instant) {
            Some(later) => system + later.as_micros() as u64,
            None => system.saturating_sub(instant.duration_since(at).as_micros() as u64),
        }
    }
}

#[derive(Debug)]
struct IdleSlot {
    listening: Rc<Listening>,
    waker: RefCell<Option<Waker>>,
}

impl IdleSlot {
    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// A connection's place among those that have to be woken when they are to end.
#[derive(Debug)]
pub(crate) struct Idle {
    worker: Rc<Worker>,
    number: u64,
    slot: Rc<IdleSlot>,
}

/// Counts an exchange for as long as it runs.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Shared>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        self.worker.idle.borrow_mut().remove(&self.number);
    }
}

impl Idle {
    /// Until when the connection may stay without a request; `None` while it is not to end.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.worker.idle_until(&self.slot.listening)
    }

    /// The current task wants to be woken when the connection is to end, and when its time for that is over.
    pub(crate) fn wait(&self, cx: &TaskContext<'_>) {
        let mut waker = self.slot.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }
}

impl Worker {
    fn new(shared: Arc<Shared>, seed: u64) -> Worker {
        Worker {
            pool: Pool::default(),
            ids: RefCell::new(RequestIds::new(seed)),
            vouchers: Vouchers::new(),
            collected: Rc::default(),
            shared,
            scratches: RefCell::default(),
            timers: RefCell::default(),
            idle: RefCell::default(),
            next_idle: Cell::new(0),
            idle_until: Cell::new(None),
            cut: Cell::new(false),
            tasks: Cell::new(0),
            all_done: Notify::new(),
            clock: Clock::new(),
        }
    }

    /// The configuration that serves now.
    pub(crate) fn serving(&self) -> Arc<Serving> {
        self.shared.serving.load_full()
    }

    /// What files of request bodies take.
    pub(crate) fn spool(&self) -> &Arc<spool::Usage> {
        &self.shared.spool
    }

    /// Whether connections of this listener are to end: the process stops, or a reload has removed the listener.
    pub(crate) fn is_draining(&self, listening: &Listening) -> bool {
        self.idle_until(listening).is_some()
    }

    /// Until when an idle connection of this listener may stay; `None` while it is not to end.
    fn idle_until(&self, listening: &Listening) -> Option<Instant> {
        [self.idle_until.get(), listening.idle_until()].into_iter().flatten().min()
    }

    /// Whether exchanges have to end now, whatever they wait for.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut.get()
    }

    pub(crate) fn register_idle(self: &Rc<Self>, listening: Rc<Listening>) -> Idle {
        let number = self.next_idle.get();
        self.next_idle.set(number + 1);
        let slot = Rc::new(IdleSlot { listening, waker: RefCell::default() });
        self.idle.borrow_mut().insert(number, slot.clone());
        Idle { worker: self.clone(), number, slot }
    }

    pub(crate) fn lend_scratch(&self) -> Box<Scratch> {
        self.scratches.borrow_mut().pop().unwrap_or_default()
    }

    pub(crate) fn return_scratch(&self, mut scratch: Box<Scratch>) {
        scratch.request.clear();
        scratch.response.clear();
        scratch.collected = None;
        scratch.is_collecting = false;
        let mut kept = self.scratches.borrow_mut();
        if kept.len() < KEPT_MAX && scratch.request.fields.size_bytes() == 0 {
            kept.push(scratch);
        }
    }

    pub(crate) fn lend_timer(&self) -> Deadline {
        self.timers.borrow_mut().pop().unwrap_or_default()
    }

    pub(crate) fn return_timer(&self, timer: Deadline) {
        let mut kept = self.timers.borrow_mut();
        if kept.len() < KEPT_MAX {
            kept.push(timer);
        }
    }

    /// Counts an exchange that begins.
    pub(crate) fn in_flight(&self) -> InFlight {
        self.shared.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(self.shared.clone())
    }

    /// Counts a task that serves clients, of a connection or a stream, for as long as the guard lives.
    pub(crate) fn count_task(self: &Rc<Self>) -> TaskGuard {
        self.tasks.set(self.tasks.get() + 1);
        TaskGuard(self.clone())
    }

    /// A record of which nothing is known yet but that something began.
    pub(crate) fn begin_record(&self, ctx: Context<'_>) -> Exchange {
        let unix_micros = self.clock.unix_micros(ctx.started);
        Exchange {
            id: self.ids.borrow_mut().next(unix_micros),
            started_unix_micros: unix_micros,
            listener: ctx.listening.settings().name.clone(),
            client: ctx.peer.client.map(|address| address.ip().to_canonical()),
            protocol: Protocol::Http11,
            tls: ctx.peer.tls,
            method: model::Method::Get,
            host: "".into(),
            path: "".into(),
            service: None,
            route: None,
            consumer: None,
            external_id: None,
            status: 0,
            ending: Ending::ANSWERED,
            detail: None,
            request_body_bytes: 0,
            response_body_bytes: 0,
            timeline: Timeline::default(),
            attempts: Vec::new(),
            ai: None,
        }
    }

    /// What the head tells.
    pub(crate) fn fill_record(&self, ctx: Context<'_>, head: &RequestHead, record: &mut Exchange) {
        record.protocol = match head.version {
            Version::Http10 => Protocol::Http10,
            Version::Http11 => Protocol::Http11,
            Version::Http2 => Protocol::Http2,
        };
        record.method = head.method.clone();
        record.host = cut(head.target.host(), 255).into();
        record.path = cut(head.target.path(), 1024).into();
        if ctx.peer.trusted {
            record.client = forward::client_address(head, ctx.peer, &ctx.serving.gateway.trusted_proxies);
            record.external_id = forward::external_id(head, ctx.peer);
        }
        record.timeline.head_micros = ctx.micros(self.clock.now());
    }

    /// Hands a record over.
    pub(crate) fn finish_record(&self, mut record: Exchange, started: Instant) {
        record.timeline.done_micros = self.clock.tick().duration_since(started).as_micros() as u64;
        self.shared.records.push(record);
    }

    fn drain(&self, idle_until: Instant) {
        self.idle_until.set(Some(idle_until));
        self.idle.borrow().values().for_each(|slot| slot.wake());
    }

    fn cut(&self) {
        self.cut.set(true);
        self.idle.borrow().values().for_each(|slot| slot.wake());
    }

    /// Wakes the idle connections of a listener that was removed.
    fn wake_idle(&self, removed: &Arc<ListenerState>) {
        let idle = self.idle.borrow();
        idle.values().filter(|slot| slot.listening.is_of(removed)).for_each(|slot| slot.wake());
    }
}

/// Held by the task of a connection or a stream; a drain waits for the last one.
pub(crate) struct TaskGuard(Rc<Worker>);

impl Drop for TaskGuard {
    fn drop(&mut self) {
        let tasks = self.0.tasks.get() - 1;
        self.0.tasks.set(tasks);
        if tasks == 0 {
            self.0.all_done.notify_one();
        }
    }
}

/// The longest beginning of at most `max` bytes that does not split a character.
fn cut(text: &str, max: usize) -> &str {
    text.get(..text.floor_char_boundary(max)).unwrap_or(text)
}

/// The body of a worker's thread: until drained.
pub(crate) fn run(
    runtime: LocalRuntime,
    shared: Arc<Shared>,
    seed: u64,
    mut commands: mpsc::UnboundedReceiver<Command>,
) {
    let worker = Rc::new(Worker::new(shared, seed));
    runtime.block_on(async {
        let sweeper = tokio::task::spawn_local(sweep(worker.clone()));
        let mut accepting: Vec<(Arc<ListenerState>, Rc<Notify>)> = Vec::new();
        while let Some(command) = commands.recv().await {
            match command {
                Command::Listen(state, socket) => {
                    let Ok(acceptor) = Acceptor::from_std(socket) else { continue };
                    let stop = Rc::new(Notify::new());
                    accepting.push((state.clone(), stop.clone()));
                    tokio::task::spawn_local(accept_loop(worker.clone(), state, acceptor, stop));
                }
                Command::Unlisten(removed) => {
                    accepting.retain(|(state, stop)| {
                        let stays = !Arc::ptr_eq(state, &removed);
                        if !stays {
                            stop.notify_one();
                        }
                        stays
                    });
                    worker.wake_idle(&removed);
                }
                Command::Drain { idle_until } => {
                    for (_, stop) in accepting.drain(..) {
                        stop.notify_one();
                    }
                    worker.drain(idle_until);
                    break;
                }
                Command::Cut => worker.cut(),
            }
        }
        // Let the accept loops take what is queued before asking whether anything is open.
        tokio::task::yield_now().await;
        while worker.tasks.get() > 0 {
            tokio::select! {
                () = worker.all_done.notified() => {}
                Some(Command::Cut) = commands.recv() => worker.cut(),
            }
        }
        sweeper.abort();
    });
}

async fn sweep(worker: Rc<Worker>) {
    let mut known = 0usize;
    loop {
        tokio::time::sleep(upstream::SWEEP_EVERY).await;
        worker.clock.synchronize();
        worker.pool.sweep();
        let now = worker.pool.idle_count();
        let total = &worker.shared.idle_connections;
        if now >= known {
            total.fetch_add(now - known, Ordering::Relaxed);
        } else {
            total.fetch_sub(known - now, Ordering::Relaxed);
        }
        known = now;
    }
}

thread_local! {
    /// The thread's runtime has waited for something to do since this was last asked.
    static WOKE: Cell<bool> = const { Cell::new(false) };
}

/// A runtime for one worker.
pub(crate) fn runtime() -> std::io::Result<LocalRuntime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .event_interval(61)
        .on_thread_unpark(|| WOKE.set(true))
        // They are for files of request bodies alone.
        .max_blocking_threads(spool::THREADS_MAX)
        .build_local(tokio::runtime::LocalOptions::default())
}

/// How long idle client connections stay open while draining, so that a request on its way is answered.
pub(crate) const DRAIN_IDLE: Duration = Duration::from_secs(1);
