//! An upstream of a test: it listens, converses as it is told, and records what it received.

mod http2;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::certificate::{Authority, Certificate};
use crate::message::{Reader, Request};
use crate::net::End;
use crate::script::{self, Step};
use crate::stream::Stream;
use crate::uwsgi::Packet;
use crate::wait::within;

pub use http2::{Http2Answer, Http2End};

/// What an upstream has seen so far.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// In the order in which they were accepted.
    pub connections: Vec<SeenConnection>,
    /// Whole requests of upstreams that answer; scripts only record bytes.
    pub requests: Vec<Request>,
    /// Requests of uwsgi scripts.
    pub packets: Vec<Packet>,
    /// A conversation met bytes that must not be; the panic said which.
    violated: bool,
}

#[derive(Clone, Debug, Default)]
pub struct SeenConnection {
    /// Every byte that the script read.
    pub received: Vec<u8>,
    /// Bytes that `SendForever` got rid of.
    pub sent: usize,
    /// How the peer ended it, if that was seen.
    pub end: Option<End>,
    /// The TLS handshake failed.
    pub tls_failed: bool,
    /// The name that was asked for in it.
    pub server_name: Option<String>,
    /// The certificate that the peer showed in it, in DER.
    pub client_certificate: Option<Vec<u8>>,
    /// The conversation is over.
    pub over: bool,
}

type Answering = dyn Fn(&Request) -> Vec<u8> + Send + Sync;
type AnsweringHttp2 = dyn Fn(&Request) -> Http2Answer + Send + Sync;

#[derive(Clone)]
enum Conversation {
    /// The n-th connection follows the n-th script; the last one repeats.
    Script(Arc<[Vec<Step>]>),
    Answer(Arc<Answering>),
    Http2 {
        answer: Arc<AnsweringHttp2>,
        streams: u32,
    },
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A listening upstream. Dropping it closes everything.
#[derive(Debug)]
pub struct Upstream {
    address: Option<SocketAddr>,
    path: Option<PathBuf>,
    seen: watch::Sender<Seen>,
    task: JoinHandle<()>,
}

/// How an upstream listens.
#[derive(Default)]
pub struct UpstreamBuilder {
    path: Option<PathBuf>,
    tls: Option<Arc<ServerConfig>>,
    streams: Option<u32>,
    address: Option<SocketAddr>,
}

impl UpstreamBuilder {
    pub fn unix(mut self, path: &Path) -> UpstreamBuilder {
        self.path = Some(path.to_owned());
        self
    }

    pub fn tls(mut self, certificate: &Certificate, alpn: &[&str]) -> UpstreamBuilder {
        self.tls = Some(certificate.server(alpn, None));
        self
    }

    /// TLS for peers that show a certificate of this authority.
    pub fn mutual_tls(mut self, certificate: &Certificate, authority: &Authority) -> UpstreamBuilder {
        self.tls = Some(certificate.server(&["http/1.1"], Some(authority)));
        self
    }

    /// The n-th connection follows the n-th script; the last one repeats.
    pub fn script<const N: usize>(self, scripts: [Vec<Step>; N]) -> Upstream {
        self.start(Conversation::Script(Arc::new(scripts)))
    }

    /// Serves HTTP/1.1 with keep-alive; the function gives the bytes of each answer.
    pub fn answer(self, answer: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static) -> Upstream {
        self.start(Conversation::Answer(Arc::new(answer)))
    }

    /// At an address that another upstream had before.
    pub fn at(mut self, address: SocketAddr) -> UpstreamBuilder {
        self.address = Some(address);
        self
    }

    /// The streams that a connection of HTTP/2 may have at once.
    pub fn streams(mut self, max: u32) -> UpstreamBuilder {
        self.streams = Some(max);
        self
    }

    /// Serves HTTP/2.
    pub fn http2(self, answer: impl Fn(&Request) -> Http2Answer + Send + Sync + 'static) -> Upstream {
        let streams = self.streams.unwrap_or(100);
        self.start(Conversation::Http2 { answer: Arc::new(answer), streams })
    }

    fn start(self, conversation: Conversation) -> Upstream {
        let (listener, address) = match &self.path {
            Some(path) => (Listener::Unix(UnixListener::bind(path).expect("the path is free")), None),
            None => {
                let address = self.address.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
                let listener = std::net::TcpListener::bind(address).expect("the address is free");
                listener.set_nonblocking(true).expect("a socket can be non-blocking");
                let address = listener.local_addr().expect("a bound socket has an address");
                let listener = TcpListener::from_std(listener).expect("a runtime must be there");
                (Listener::Tcp(listener), Some(address))
            }
        };
        let seen = watch::Sender::new(Seen::default());
        let task = tokio::spawn(accept(listener, self.tls, conversation, seen.clone()));
        Upstream { address, path: self.path, seen, task }
    }
}

impl Upstream {
    pub fn builder() -> UpstreamBuilder {
        UpstreamBuilder::default()
    }

    /// See [`UpstreamBuilder::script`].
    pub fn script<const N: usize>(scripts: [Vec<Step>; N]) -> Upstream {
        Upstream::builder().script(scripts)
    }

    /// See [`UpstreamBuilder::answer`].
    pub fn answer(answer: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static) -> Upstream {
        Upstream::builder().answer(answer)
    }

    /// Answers each request with `200` and the text.
    pub fn ok(text: &'static str) -> Upstream {
        Upstream::answer(move |_| {
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len()).into_bytes()
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address.expect("a Unix socket has no address")
    }

    /// `http://127.0.0.1:PORT` or `unix:PATH`.
    pub fn url(&self) -> String {
        match (&self.address, &self.path) {
            (Some(address), _) => format!("http://{address}"),
            (None, Some(path)) => format!("unix:{}", path.display()),
            (None, None) => unreachable!("an upstream listens somewhere"),
        }
    }

    /// The address under another scheme.
    pub fn url_as(&self, scheme: &str) -> String {
        match (&self.address, &self.path) {
            (Some(address), _) => format!("{scheme}://{address}"),
            (None, Some(path)) => format!("{scheme}+unix:{}", path.display()),
            (None, None) => unreachable!("an upstream listens somewhere"),
        }
    }

    pub fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    pub fn requests(&self) -> Vec<Request> {
        self.seen.borrow().requests.clone()
    }

    /// The only request so far.
    pub fn request(&self) -> Request {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "one request was expected: {requests:#?}");
        requests.into_iter().next().expect("there is one")
    }

    pub fn connections(&self) -> usize {
        self.seen.borrow().connections.len()
    }

    /// Waits until what was seen is as wanted.
    pub async fn until(&self, what: &str, condition: impl FnMut(&Seen) -> bool) -> Seen {
        let mut seen = self.seen.subscribe();
        within(what, seen.wait_for(condition)).await.expect("the sender is ours").clone()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
        let violated = self.seen.borrow().violated;
        assert!(!violated || std::thread::panicking(), "the upstream received what no upstream should");
        if let Some(path) = &self.path {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Where a conversation writes what it sees of its connection.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    seen: watch::Sender<Seen>,
    number: usize,
}

impl Record {
    fn connection(&self, change: impl FnOnce(&mut SeenConnection)) {
        self.seen.send_modify(|seen| change(&mut seen.connections[self.number]));
    }

    pub(crate) fn received(&self, bytes: &[u8]) {
        self.connection(|connection| connection.received.extend_from_slice(bytes));
    }

    pub(crate) fn sent(&self, n: usize) {
        self.connection(|connection| connection.sent += n);
    }

    pub(crate) fn ended(&self, end: End) {
        self.connection(|connection| connection.end = Some(end));
    }

    pub(crate) fn packet(&self, packet: Packet) {
        self.seen.send_modify(|seen| seen.packets.push(packet));
    }

    pub(crate) fn request(&self, request: Request) {
        self.seen.send_modify(|seen| seen.requests.push(request));
    }
}

/// Says that a conversation is over, and whether it ended in a panic: the test must not miss it.
struct Over(Record);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.connection(|connection| connection.over = true);
        if std::thread::panicking() {
            self.0.seen.send_modify(|seen| seen.violated = true);
        }
    }
}

async fn accept(
    listener: Listener,
    tls: Option<Arc<ServerConfig>>,
    conversation: Conversation,
    seen: watch::Sender<Seen>,
) {
    // Conversations end with the upstream: dropping the set aborts them.
    let mut conversations = tokio::task::JoinSet::new();
    loop {
        let stream = match &listener {
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept().await.expect("a listener accepts");
                stream.set_nodelay(true).expect("TCP has it");
                Stream::Tcp(stream)
            }
            Listener::Unix(listener) => Stream::Unix(listener.accept().await.expect("a listener accepts").0),
        };
        let mut number = 0;
        seen.send_modify(|seen| {
            number = seen.connections.len();
            seen.connections.push(SeenConnection::default());
        });
        let record = Record { seen: seen.clone(), number };
        let (tls, conversation) = (tls.clone(), conversation.clone());
        conversations.spawn(async move {
            let over = Over(record.clone());
            converse(stream, tls, conversation, &record).await;
            drop(over);
        });
    }
}

async fn converse(
    stream: Stream,
    tls: Option<Arc<ServerConfig>>,
    conversation: Conversation,
    record: &Record,
) {
    let stream = match (tls, stream) {
        (Some(config), Stream::Tcp(socket)) => {
            match TlsAcceptor::from(config).accept(socket).into_fallible().await {
                Ok(accepted) => {
                    let (_, session) = accepted.get_ref();
                    let server_name = session.server_name().map(ToOwned::to_owned);
                    let own = session.peer_certificates().and_then(<[_]>::first).map(|der| der.to_vec());
                    record.connection(|connection| {
                        connection.server_name = server_name;
                        connection.client_certificate = own;
                    });
                    Stream::Tls(Box::new(accepted.into()))
                }
                Err((_, mut socket)) => {
                    record.connection(|connection| connection.tls_failed = true);
                    // The alert must not be lost to a reset, which a close with unread bytes would be.
                    let _ = socket.shutdown().await;
                    let _ = tokio::io::copy(&mut socket, &mut tokio::io::sink()).await;
                    return;
                }
            }
        }
        (_, stream) => stream,
    };
    match conversation {
        Conversation::Script(scripts) => {
            let steps = scripts.get(record.number).or(scripts.last()).expect("there must be a script");
            script::run(stream, steps, record).await;
        }
        Conversation::Answer(answer) => serve(stream, &*answer, record).await,
        Conversation::Http2 { answer, streams } => http2::serve(stream, answer, streams, record).await,
    }
}

async fn serve(mut stream: Stream, answer: &Answering, record: &Record) {
    let mut buffer = Vec::new();
    loop {
        let mut reader = Reader { stream: &mut stream, buffer: &mut buffer };
        let Some(request) = reader.request(record.number).await else {
            // One more read tells how it ended; an end that was seen is seen again.
            let end = Reader { stream: &mut stream, buffer: &mut buffer }.more().await;
            return record.ended(end.err().unwrap_or(End::Fin));
        };
        let bytes = answer(&request);
        record.request(request);
        if stream.write_all(&bytes).await.is_err() {
            return record.ended(End::Rst);
        }
        let _ = stream.flush().await;
    }
}
