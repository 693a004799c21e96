//! Many server-sent-event streams through a proxy: a server that sends each stream an event every 100 ms, and a client
//! that misses none.
//!
//! Every event carries its number within the stream and the time it was sent, so that the client sees gaps, and how long
//! a proxy holds an event back. Both ends are threads of the bench, on one clock.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::poller::Poller;
use crate::process::{check_interrupt, pause};

/// Events of one stream are this many ticks of a millisecond apart.
const TICKS: u64 = 100;
const TICK: Duration = Duration::from_millis(1);
/// How long all streams flow before anything is measured: opening them is another matter.
const SETTLE: Duration = Duration::from_secs(1);
/// How long the last events may take to arrive once the server has ended all streams.
const END_TIME_MAX: Duration = Duration::from_secs(10);

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\
                    Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n";

/// The server. Dropping it ends it without ending the streams.
pub(super) struct Events {
    pub(super) port: u16,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    start: Instant,
    sent: AtomicU64,
    /// Ends every stream with its last chunk.
    end: AtomicBool,
    stop: AtomicBool,
}

struct Stream {
    socket: TcpStream,
    /// The tick on which its events are due.
    phase: u64,
    next: u64,
    has_request: bool,
    unsent: Vec<u8>,
}

impl Events {
    pub(super) fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("failed to listen")?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            start: Instant::now(),
            sent: AtomicU64::new(0),
            end: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let thread = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || serve(&listener, &shared)
        });
        Ok(Self { port, shared, thread: Some(thread) })
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One round of the server per tick; a round that comes late makes up for the ticks it missed.
fn serve(listener: &TcpListener, shared: &Shared) {
    let mut streams: Vec<Stream> = Vec::new();
    let mut phase = 0;
    let mut tick = 0;
    while !shared.stop.load(Ordering::Relaxed) {
        while let Ok((socket, _)) = listener.accept() {
            let _ = socket.set_nodelay(true);
            let _ = socket.set_nonblocking(true);
            streams.push(Stream { socket, phase, next: 0, has_request: false, unsent: Vec::new() });
            phase = (phase + 1) % TICKS;
        }
        if shared.end.swap(false, Ordering::Relaxed) {
            for mut stream in streams.drain(..).filter(|stream| stream.has_request) {
                stream.unsent.extend_from_slice(b"0\r\n\r\n");
                let _ = stream.socket.set_nonblocking(false);
                let _ = stream.socket.write_all(&stream.unsent);
            }
        }
        let now = u64::try_from(shared.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        while tick < now {
            tick += 1;
            streams.retain_mut(|stream| stream.phase != tick % TICKS || stream.tick(shared).is_ok());
        }
        std::thread::sleep(TICK);
    }
}

impl Stream {
    /// Sends the next event, if the request has come. An error when the client is gone.
    fn tick(&mut self, shared: &Shared) -> io::Result<()> {
        if !self.has_request {
            let mut buffer = [0; 4096];
            match self.socket.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => self.has_request = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
            self.unsent.extend_from_slice(HEAD.as_bytes());
        }
        let event = format!("id: {}\ndata: {}\n\n", self.next, shared.start.elapsed().as_micros());
        self.next += 1;
        shared.sent.fetch_add(1, Ordering::Relaxed);
        self.unsent.extend_from_slice(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes());
        match self.socket.write(&self.unsent) {
            Ok(count) => drop(self.unsent.drain(..count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// What happened to the events of one run.
pub(super) struct Delivery {
    /// Events that arrived in the window that was measured.
    pub(super) events: u64,
    /// Of those, the time from the server to the client in microseconds.
    pub(super) delays: Vec<u32>,
    /// Events that never came, over the whole run.
    pub(super) lost: u64,
    /// What the window cost, by the meter that was passed.
    pub(super) cost: Duration,
}

/// Opens `streams` streams through the proxy on `port`, waits until all flow, lets them flow for `time` and ends them.
/// `meter` reads the CPU time of the proxy.
pub(super) fn run(
    server: &Events,
    port: u16,
    streams: usize,
    time: Duration,
    meter: impl Fn() -> anyhow::Result<Duration>,
) -> anyhow::Result<Delivery> {
    // Streams of an earlier run that failed would be counted as events that are lost.
    server.shared.end.store(true, Ordering::Relaxed);
    while server.shared.end.load(Ordering::Relaxed) {
        pause(TICK)?;
    }
    let sent_before = server.shared.sent.load(Ordering::Relaxed);
    let mut client = Client::connect(port, streams, server.shared.start)?;
    let end = Instant::now() + END_TIME_MAX;
    while client.readers.iter().any(|reader| reader.next == 0) {
        client.receive()?;
        if Instant::now() > end {
            bail!("not all of {streams} streams began");
        }
    }
    client.receive_for(SETTLE)?;
    let (events, cost) = (client.events, meter()?);
    client.delays.clear();
    client.receive_for(time)?;
    let (events, cost) = (client.events - events, meter()?.saturating_sub(cost));
    let delays = std::mem::take(&mut client.delays);
    server.shared.end.store(true, Ordering::Relaxed);
    let end = Instant::now() + END_TIME_MAX;
    while client.readers.iter().any(|reader| !reader.has_ended) && Instant::now() < end {
        client.receive()?;
    }
    let sent = server.shared.sent.load(Ordering::Relaxed) - sent_before;
    Ok(Delivery { events, delays, lost: sent.saturating_sub(client.events), cost })
}

struct Client {
    poller: Poller,
    readers: Vec<Reader>,
    start: Instant,
    events: u64,
    delays: Vec<u32>,
}

struct Reader {
    socket: TcpStream,
    received: Vec<u8>,
    has_head: bool,
    has_ended: bool,
    text: Vec<u8>,
    next: u64,
}

impl Client {
    fn connect(port: u16, streams: usize, start: Instant) -> anyhow::Result<Self> {
        let poller = Poller::new()?;
        let mut readers = Vec::new();
        let request = format!("GET /events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n");
        for index in 0..streams {
            check_interrupt()?;
            let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).context("failed to connect")?;
            socket.write_all(request.as_bytes())?;
            socket.set_nonblocking(true)?;
            poller.add(&socket, index)?;
            readers.push(Reader {
                socket,
                received: Vec::new(),
                has_head: false,
                has_ended: false,
                text: Vec::new(),
                next: 0,
            });
        }
        Ok(Self { poller, readers, start, events: 0, delays: Vec::new() })
    }

    fn receive_for(&mut self, time: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.receive()?;
        }
        Ok(())
    }

    /// Reads what has come, for some milliseconds at most.
    fn receive(&mut self) -> anyhow::Result<()> {
        check_interrupt()?;
        for index in self.poller.wait(Duration::from_millis(5))? {
            let Some(reader) = self.readers.get_mut(index) else { bail!("no stream {index}") };
            for sent in reader.read()? {
                let delay = self.start.elapsed().saturating_sub(Duration::from_micros(sent));
                self.delays.push(u32::try_from(delay.as_micros()).unwrap_or(u32::MAX));
                self.events += 1;
            }
        }
        Ok(())
    }
}

impl Reader {
    /// When the events that have come completely were sent. An error if one is missing before them.
    fn read(&mut self) -> anyhow::Result<Vec<u64>> {
        let mut buffer = [0; 16 * 1024];
        match self.socket.read(&mut buffer) {
            Ok(0) if self.has_ended => {}
            Ok(0) => bail!("a stream was cut off"),
            Ok(count) => self.received.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error).context("failed to receive"),
        }
        self.decode()?;
        let mut times = Vec::new();
        while let Some(end) = memchr::memmem::find(&self.text, b"\n\n") {
            let event: Vec<u8> = self.text.drain(..end + 2).collect();
            let (number, time) = parse_event(&event).context("what came is no event of the server")?;
            if number != self.next {
                bail!("event {number} came where {} was due", self.next);
            }
            self.next += 1;
            times.push(time);
        }
        Ok(times)
    }

    /// Moves what is complete from the head and the chunks to `text`.
    fn decode(&mut self) -> anyhow::Result<()> {
        if !self.has_head {
            let Some(end) = memchr::memmem::find(&self.received, b"\r\n\r\n") else { return Ok(()) };
            let head: Vec<u8> = self.received.drain(..end + 4).collect();
            if !head.starts_with(b"HTTP/1.1 200 ") {
                bail!("the stream was refused: {}", String::from_utf8_lossy(&head));
            }
            self.has_head = true;
        }
        while let Some(end) = memchr::memmem::find(&self.received, b"\r\n") {
            let size = std::str::from_utf8(self.received.get(..end).unwrap_or_default())?;
            let size = usize::from_str_radix(size, 16).with_context(|| format!("'{size}' is no size"))?;
            let Some(chunk) = self.received.get(end + 2..end + 2 + size) else { return Ok(()) };
            if self.received.len() < end + 4 + size {
                return Ok(());
            }
            self.has_ended |= size == 0;
            self.text.extend_from_slice(chunk);
            self.received.drain(..end + 4 + size);
        }
        Ok(())
    }
}

fn parse_event(event: &[u8]) -> Option<(u64, u64)> {
    let text = std::str::from_utf8(event).ok()?;
    let (id, data) = text.strip_prefix("id: ")?.split_once("\ndata: ")?;
    Some((id.parse().ok()?, data.trim_end().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_proxy_every_event_arrives() {
        let server = Events::start().unwrap();
        let meter = || Ok(Duration::ZERO);
        let delivery = run(&server, server.port, 20, Duration::from_millis(500), meter).unwrap();
        assert_eq!(delivery.lost, 0);
        assert!(delivery.events >= 60, "{}", delivery.events);
        assert_eq!(delivery.delays.len() as u64, delivery.events);
    }

    #[test]
    fn events() {
        let check = |text: &str, expect| assert_eq!(parse_event(text.as_bytes()), expect, "{text}");
        check("id: 7\ndata: 123\n\n", Some((7, 123)));
        check("id: 7\n\n", None);
        check(": ping\n\n", None);
    }
}
