//! Serves the router on a bound socket, with limits: the port may be open to a network.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

/// No request of ours has a large head.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// When nothing tells that something became possible, it is tried again after this.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

struct Limits {
    /// Connections at once; scrapers, probes and a few people need no more. One more takes the place of the connection
    /// that has been idle for longest.
    connections: usize,
    /// A head is due from the first moment of a connection, and from its own first byte.
    head: Duration,
    /// Between requests; for as long a response may make no progress.
    idle: Duration,
}

const LIMITS: Limits =
    Limits { connections: 256, head: Duration::from_secs(5), idle: Duration::from_secs(30) };

/// Serves for as long as it is polled.
pub async fn serve(listener: TcpListener, router: Router) {
    serve_within(LIMITS, listener, router).await;
}

async fn serve_within(limits: Limits, listener: TcpListener, router: Router) {
    let connections = Arc::new(Connections::default());
    for number in 0u64.. {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(_) => {
                // Out of descriptors, mostly; accepting again at once would spin.
                tokio::time::sleep(LOOK_AGAIN).await;
                continue;
            }
        };
        connections.room_for_one(limits.connections).await;
        let connection = Arc::new(Connection::new());
        connections.all().insert(number, connection.clone());
        let (connections, router) = (connections.clone(), router.clone());
        let (head, idle) = (limits.head, limits.idle);
        tokio::spawn(async move {
            tokio::select! {
                () = talk(stream, router, connection.clone()) => {}
                () = connection.over(head, idle) => {}
                () = connection.unwanted.notified() => {}
            }
            connections.all().remove(&number);
            connections.left.notify_one();
        });
    }
}

/// Answers requests until the peer leaves; its own failures concern nobody here.
async fn talk(stream: TcpStream, router: Router, connection: Arc<Connection>) {
    let router = router.layer(from_fn_with_state(connection.clone(), answering));
    let service = TowerToHyperService::new(router);
    let stream = TokioIo::new(Watched { stream, connection });
    // Its own limit cannot tell a head that is late from a connection that rests.
    let server = http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(stream, service);
    let _ = server.await;
}

/// Marks a connection while a request of it is worked on.
async fn answering(State(connection): State<Arc<Connection>>, request: Request, next: Next) -> Response {
    connection.set(Phase::Answer);
    let response = next.run(request).await;
    connection.set(Phase::Idle);
    response
}

/// All that are open.
#[derive(Default)]
struct Connections {
    all: Mutex<HashMap<u64, Arc<Connection>>>,
    left: Notify,
}

impl Connections {
    fn all(&self) -> MutexGuard<'_, HashMap<u64, Arc<Connection>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is room for one more. The one that has been idle for longest makes it, and does so at once; one
    /// whose request is worked on is waited for.
    async fn room_for_one(&self, max: usize) {
        while !self.has_room_for_one(max) {
            let _ = timeout(LOOK_AGAIN, self.left.notified()).await;
        }
    }

    fn has_room_for_one(&self, max: usize) -> bool {
        let all = self.all();
        if all.len() < max {
            return true;
        }
        let idle = all.values().filter_map(|connection| Some((connection.idle_since()?, connection)));
        if let Some((_, longest)) = idle.min_by_key(|(since, _)| *since) {
            longest.unwanted.notify_one();
        }
        false
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// A head is due.
    Head,
    /// A request is worked on.
    Answer,
    /// Between two requests, or while the answer is on its way.
    Idle,
}

/// What one connection is doing, and since when.
struct Connection {
    now: Mutex<(Phase, Instant)>,
    unwanted: Notify,
}

impl Connection {
    fn new() -> Connection {
        Connection { now: Mutex::new((Phase::Head, Instant::now())), unwanted: Notify::new() }
    }

    fn now(&self) -> MutexGuard<'_, (Phase, Instant)> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, phase: Phase) {
        *self.now() = (phase, Instant::now());
    }

    fn has_read(&self) {
        let mut now = self.now();
        if now.0 == Phase::Idle {
            *now = (Phase::Head, Instant::now());
        }
    }

    fn has_written(&self) {
        let mut now = self.now();
        if now.0 == Phase::Idle {
            now.1 = Instant::now();
        }
    }

    fn idle_since(&self) -> Option<Instant> {
        let (phase, since) = *self.now();
        (phase != Phase::Answer).then_some(since)
    }

    /// Waits until it has been at one thing for too long.
    async fn over(&self, head: Duration, idle: Duration) {
        loop {
            let (phase, since) = *self.now();
            let due = match phase {
                Phase::Head => Some(since + head),
                Phase::Idle => Some(since + idle),
                Phase::Answer => None,
            };
            let now = Instant::now();
            if due.is_some_and(|due| due <= now) {
                return;
            }
            // What it does may change meanwhile, and then nothing is due sooner than this.
            let soonest = now + head.min(idle);
            sleep_until(due.map_or(soonest, |due| due.min(soonest))).await;
        }
    }
}

/// The stream of a connection, which learns from it what the peer does.
struct Watched {
    stream: TcpStream,
    connection: Arc<Connection>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(ctx, buffer);
        if buffer.filled().len() > before {
            self.connection.has_read();
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, ctx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(ctx, bytes);
        if matches!(written, Poll::Ready(Ok(_))) {
            self.connection.has_written();
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(ctx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(ctx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const LONG: Duration = Duration::from_secs(3600);
    const SHORT: Duration = Duration::from_millis(20);

    async fn served(limits: Limits) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(async || "ok")).route(
            "/never",
            get(async || {
                std::future::pending::<()>().await;
                "late"
            }),
        );
        tokio::spawn(serve_within(limits, listener, router));
        address
    }

    async fn connected(address: SocketAddr, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    async fn answer(stream: &mut TcpStream) -> String {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut text = vec![0; 512];
        let length = stream.read(&mut text).await.unwrap();
        String::from_utf8_lossy(&text[..length]).into_owned()
    }

    /// Until the other side ends it.
    async fn ends(stream: &mut TcpStream) {
        while stream.read(&mut [0; 512]).await.is_ok_and(|length| length > 0) {}
    }

    #[tokio::test]
    async fn who_has_been_idle_for_longest_makes_room() {
        let address = served(Limits { connections: 3, head: LONG, idle: LONG }).await;
        let mut late = connected(address, "GET / HT").await;
        let mut rests = connected(address, "").await;
        assert!(answer(&mut rests).await.starts_with("HTTP/1.1 200"));
        let mut works = connected(address, "GET /never HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut others = Vec::new();
        for idle in [&mut late, &mut rests] {
            let mut other = connected(address, "").await;
            assert!(answer(&mut other).await.starts_with("HTTP/1.1 200"));
            ends(idle).await;
            others.push(other);
        }
        // Many more come and go; the one whose request is worked on stays.
        for _ in 0..5 {
            let mut other = connected(address, "").await;
            assert!(answer(&mut other).await.starts_with("HTTP/1.1 200"));
            others.push(other);
        }
        assert_eq!(works.try_read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(works.shutdown().await);
    }

    #[tokio::test]
    async fn a_head_that_does_not_come_ends_its_connection() {
        let address = served(Limits { connections: 9, head: SHORT, idle: LONG }).await;
        for text in ["", "GET / HTTP/1.1\r\nHost:"] {
            ends(&mut connected(address, text).await).await;
        }
    }

    #[tokio::test]
    async fn a_rest_that_is_too_long_ends_its_connection() {
        let address = served(Limits { connections: 9, head: LONG, idle: SHORT }).await;
        let mut rests = connected(address, "").await;
        assert!(answer(&mut rests).await.starts_with("HTTP/1.1 200"));
        ends(&mut rests).await;
    }

    #[tokio::test(start_paused = true)]
    async fn each_phase_has_its_time() {
        let connection = Connection::new();
        let seconds = async || {
            let begin = Instant::now();
            connection.over(LIMITS.head, LIMITS.idle).await;
            begin.elapsed().as_secs()
        };
        assert_eq!(seconds().await, 5);
        connection.set(Phase::Idle);
        assert_eq!(seconds().await, 30);
        // The first byte of a head changes what is due; further ones do not.
        connection.has_read();
        connection.has_read();
        assert_eq!(seconds().await, 5);
        connection.set(Phase::Answer);
        assert!(timeout(LONG, connection.over(LIMITS.head, LIMITS.idle)).await.is_err());
    }
}
