//! A steady mix of requests that arrive whether or not earlier ones have been answered, as those of many people do.
//!
//! Each request under way has a thread; threads keep their connections and are reused. Nothing is sent twice.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context;

use super::client::{Class, Client, End};

/// Requests under way at a time: many more than any scenario needs while its proxy answers.
const THREADS_MAX: usize = 4000;
/// A client needs little.
const STACK_BYTES: usize = 128 * 1024;
const BODY: &str = r#"{"amount":"249.90"}"#;

/// What arrives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrivals {
    /// The port of the proxy.
    pub(super) port: u16,
    pub(super) per_second: f64,
    /// How long a client waits for its answer.
    pub(super) patience: Duration,
    /// Whether every other request comes on a connection of its own.
    pub(super) half_on_new_connections: bool,
}

/// One request and how it ended.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) id: String,
    pub(super) class: Class,
    pub(super) sent: Instant,
    pub(super) done: Instant,
    pub(super) end: End,
}

#[derive(Debug)]
pub(super) struct Load {
    shared: Arc<Shared>,
    dispatcher: Option<JoinHandle<Vec<JoinHandle<()>>>>,
}

#[derive(Debug)]
struct Shared {
    arrivals: Arrivals,
    queue: Mutex<Queue>,
    arrived: Condvar,
    outcomes: Mutex<Vec<Outcome>>,
}

#[derive(Debug, Default)]
struct Queue {
    numbers: VecDeque<u64>,
    idle: usize,
    is_over: bool,
}

impl Load {
    pub(super) fn start(arrivals: Arrivals) -> Self {
        let shared = Arc::new(Shared {
            arrivals,
            queue: Mutex::default(),
            arrived: Condvar::new(),
            outcomes: Mutex::default(),
        });
        let dispatcher = thread::spawn({
            let shared = Arc::clone(&shared);
            move || dispatch(&shared)
        });
        Self { shared, dispatcher: Some(dispatcher) }
    }

    /// Ends the arrivals, waits for every answer, and says how all requests ended.
    pub(super) fn finish(mut self) -> anyhow::Result<Vec<Outcome>> {
        self.end()?;
        Ok(std::mem::take(&mut *lock(&self.shared.outcomes)))
    }

    fn end(&mut self) -> anyhow::Result<()> {
        lock(&self.shared.queue).is_over = true;
        self.shared.arrived.notify_all();
        let Some(dispatcher) = self.dispatcher.take() else { return Ok(()) };
        let clients = dispatcher.join().ok().context("the thread of the arrivals failed")?;
        for client in clients {
            client.join().ok().context("the thread of a client failed")?;
        }
        Ok(())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // Whoever drops it unfinished has an error of his own to tell.
        let _ = self.end();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets requests arrive until it is over; returns the clients.
fn dispatch(shared: &Arc<Shared>) -> Vec<JoinHandle<()>> {
    let begin = Instant::now();
    let mut clients = Vec::new();
    for number in 0.. {
        let due = begin + Duration::from_secs_f64(number as f64 / shared.arrivals.per_second);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let mut queue = lock(&shared.queue);
        if queue.is_over {
            break;
        }
        queue.numbers.push_back(number);
        let is_short = queue.idle < queue.numbers.len();
        drop(queue);
        shared.arrived.notify_one();
        if is_short && clients.len() < THREADS_MAX {
            let shared = Arc::clone(shared);
            let builder = thread::Builder::new().stack_size(STACK_BYTES);
            clients.extend(builder.spawn(move || run_client(&shared)));
        }
    }
    clients
}

fn run_client(shared: &Shared) {
    let Arrivals { port, patience, half_on_new_connections, .. } = shared.arrivals;
    let mut client = Client::new(port, patience);
    while let Some(number) = next(shared) {
        let class = class_of(number);
        let id = format!("{}-{number}", class.title().replace(' ', "-").to_lowercase());
        // Of two by two, so that both halves have every class.
        if half_on_new_connections && number / 2 % 2 == 0 {
            client.forget();
        }
        let sent = Instant::now();
        let end = client.ask(class, &id, BODY);
        let done = Instant::now();
        lock(&shared.outcomes).push(Outcome { id, class, sent, done, end });
    }
}

/// The next request, or `None` when all have been taken and no more will come.
fn next(shared: &Shared) -> Option<u64> {
    let mut queue = lock(&shared.queue);
    queue.idle += 1;
    loop {
        if let Some(number) = queue.numbers.pop_front() {
            queue.idle -= 1;
            return Some(number);
        }
        if queue.is_over {
            return None;
        }
        queue = shared.arrived.wait(queue).unwrap_or_else(PoisonError::into_inner);
    }
}

/// Half of the requests read, half write, and some of those that write may be repeated.
pub(super) fn class_of(number: u64) -> Class {
    match number % 20 {
        0 => Class::Put,
        10 => Class::PostWithKey,
        even if even % 2 == 0 => Class::Post,
        _ => Class::Get,
    }
}
