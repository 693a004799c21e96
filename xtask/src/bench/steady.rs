//! An open-loop client: requests begin on schedule, whatever has become of the earlier ones, and each is timed from the
//! moment it was due. A generator that waits for answers instead hides the waiting it causes.
//!
//! HTTP/1.1 in the clear with answers of one known body; not a general client.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};

use super::backend::{SMALL, SMALL_PATH};
use super::poller::Poller;
use crate::process::{check_interrupt, hurry};

/// After the last request was due, how long answers may still come.
const LATE_MAX: Duration = Duration::from_secs(10);

pub(super) struct Timing {
    /// One of each request in microseconds, from when it was due to the last byte of its answer.
    pub(super) latencies: Vec<u32>,
    /// Answers that were not 200 with the right body, or did not come.
    pub(super) failed: u64,
}

struct Connection {
    socket: TcpStream,
    /// When the request in flight was due.
    due: Option<Instant>,
    received: Vec<u8>,
}

struct Client {
    connections: Vec<Connection>,
    /// Those without a request in flight. Taken from the front, so that all are used.
    free: VecDeque<usize>,
    /// Requests that are due and found no connection free.
    waiting: VecDeque<Instant>,
    request: Vec<u8>,
    timing: Timing,
}

/// Sends `per_second` requests a second over `connections` connections for `time`.
pub(super) fn run(port: u16, connections: usize, per_second: f64, time: Duration) -> anyhow::Result<Timing> {
    // In a thread of its own, which waits for nobody: a client that is late takes the proxy for slow.
    let client = move || {
        hurry();
        load(port, connections, per_second, time)
    };
    std::thread::spawn(client).join().map_err(|_| anyhow!("the client panicked"))?
}

fn load(port: u16, connections: usize, per_second: f64, time: Duration) -> anyhow::Result<Timing> {
    let mut poller = Poller::new()?;
    let mut client = Client::connect(port, connections, &poller)?;
    let gap = Duration::from_secs_f64(1.0 / per_second);
    let total = (time.as_secs_f64() * per_second) as u32;
    let start = Instant::now();
    let end = start + time + LATE_MAX;
    let mut begun = 0;
    while begun < total || !client.is_idle() {
        check_interrupt()?;
        let now = Instant::now();
        while begun < total && start + gap * begun <= now {
            client.waiting.push_back(start + gap * begun);
            begun += 1;
        }
        client.send_waiting()?;
        let next = if begun < total { start + gap * begun } else { end };
        if now > end {
            break;
        }
        let pause = next.saturating_duration_since(Instant::now()).min(Duration::from_millis(50));
        for index in poller.wait(pause)? {
            client.receive(index)?;
        }
    }
    client.timing.failed += (connections - client.free.len() + client.waiting.len()) as u64;
    Ok(client.timing)
}

impl Client {
    fn connect(port: u16, count: usize, poller: &Poller) -> anyhow::Result<Self> {
        let mut connections = Vec::new();
        for index in 0..count {
            let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).context("failed to connect")?;
            socket.set_nodelay(true)?;
            socket.set_nonblocking(true)?;
            poller.add(&socket, index)?;
            connections.push(Connection { socket, due: None, received: Vec::new() });
        }
        Ok(Self {
            connections,
            free: (0..count).collect(),
            waiting: VecDeque::new(),
            request: format!("GET {SMALL_PATH} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n").into_bytes(),
            timing: Timing { latencies: Vec::new(), failed: 0 },
        })
    }

    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.free.len() == self.connections.len()
    }

    fn send_waiting(&mut self) -> anyhow::Result<()> {
        while let (Some(&index), Some(&due)) = (self.free.front(), self.waiting.front()) {
            let Some(connection) = self.connections.get_mut(index) else { bail!("no connection {index}") };
            // A request is far smaller than a socket buffer that is empty.
            connection.socket.write_all(&self.request).context("failed to send a request")?;
            connection.due = Some(due);
            self.free.pop_front();
            self.waiting.pop_front();
        }
        Ok(())
    }

    fn receive(&mut self, index: usize) -> anyhow::Result<()> {
        let Some(connection) = self.connections.get_mut(index) else { bail!("no connection {index}") };
        let mut buffer = [0; 4096];
        let count = match connection.socket.read(&mut buffer) {
            Ok(0) => bail!("a connection was closed in the middle of a run"),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error).context("failed to receive"),
        };
        connection.received.extend_from_slice(buffer.get(..count).unwrap_or_default());
        let Some(is_good) = judge(&connection.received) else { return Ok(()) };
        connection.received.clear();
        let Some(due) = connection.due.take() else { bail!("an answer came without a request") };
        let latency = u32::try_from(due.elapsed().as_micros()).unwrap_or(u32::MAX);
        self.timing.latencies.push(latency);
        self.timing.failed += u64::from(!is_good);
        self.free.push_back(index);
        Ok(())
    }
}

/// Whether an answer is right; `None` while it is not complete.
fn judge(received: &[u8]) -> Option<bool> {
    // Nearly all are right and come in one piece, and what this costs is a part of what is measured.
    if let Some(head) = received.strip_suffix(SMALL.as_bytes())
        && head.starts_with(b"HTTP/1.1 200 ")
        && memchr::memmem::find(head, b"\r\n\r\n") == head.len().checked_sub(4)
    {
        return Some(true);
    }
    let at = memchr::memmem::find(received, b"\r\n\r\n")?;
    let (head, rest) = received.split_at(at);
    let body = rest.get(4..)?;
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let Some(length) = length.and_then(|length| length.trim().parse::<usize>().ok()) else {
        return Some(false);
    };
    (body.len() >= length).then(|| head.starts_with("http/1.1 200 ") && body == SMALL.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn answers() {
        let check = |text: &str, expect| assert_eq!(judge(text.as_bytes()), expect, "{text}");
        let length = SMALL.len();
        check("HTTP/1.1 200 OK\r\nContent-Le", None);
        check("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab", None);
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", Some(false));
        check(&format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{SMALL}"), Some(true));
        check(&format!("HTTP/1.1 502 Bad\r\ncontent-length: {length}\r\n\r\n{SMALL}"), Some(false));
        check("HTTP/1.1 200 OK\r\n\r\n", Some(false));
    }

    #[test]
    fn time_in_the_queue_is_part_of_the_latency() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut buffer = [0; 4096];
            while socket.read(&mut buffer).unwrap() > 0 {
                // The service time that is measured here, not a wait for something.
                std::thread::sleep(Duration::from_millis(20));
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{SMALL}", SMALL.len());
                socket.write_all(answer.as_bytes()).unwrap();
            }
        });
        // Ten requests within 10 ms, one connection, 20 ms each: the last one waits for all others.
        let timing = run(port, 1, 1000.0, Duration::from_millis(10)).unwrap();
        assert_eq!((timing.latencies.len(), timing.failed), (10, 0));
        assert!(timing.latencies.last().unwrap() >= &180_000);
        server.join().unwrap();
    }
}
