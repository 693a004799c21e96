//! Listeners: their settings while running, and what happens to a connection before its first request.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::BytesMut;
use model::gateway::{ListenAddress, Listener, Network, ProxyProtocol};
use socket2::{SockFilter, SockRef};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio::time::timeout;
use upstream::io::{Socket, Transport};
use wire::http1::HeadLimits;

use crate::bind::BoundSocket;
use crate::forward::Peer;
use crate::inherit::Owner;
use crate::tls::ServerTls;
use crate::worker::{TaskGuard, Worker};

/// What all workers share of a listener. Settings are swapped by a reload, the socket stays.
#[derive(Debug)]
pub struct ListenerState {
    /// The address it is bound to, with the real port.
    pub bound: ListenAddress,
    pub(crate) settings: ArcSwap<Listener>,
    pub(crate) tls: ArcSwap<Option<ServerTls>>,
    /// Open connections.
    pub connections: AtomicUsize,
    /// Set when a reload removes the listener: until when its idle connections stay.
    closing: OnceLock<Instant>,
    /// Another process holds the socket, too, and it stays when this one has closed it.
    stays_open: AtomicBool,
}

/// One worker's view of a listener, as it was when a connection began.
#[derive(Debug)]
pub(crate) struct Listening {
    state: Arc<ListenerState>,
    settings: Arc<Listener>,
    tls: Arc<Option<ServerTls>>,
}

/// A socket that accepts.
#[derive(Debug)]
pub(crate) enum Acceptor {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl ListenerState {
    pub(crate) fn new(
        settings: Arc<Listener>,
        bound: ListenAddress,
        tls: Option<ServerTls>,
        owner: Owner,
    ) -> ListenerState {
        ListenerState {
            bound,
            settings: ArcSwap::new(settings),
            tls: ArcSwap::from_pointee(tls),
            connections: AtomicUsize::new(0),
            closing: OnceLock::new(),
            stays_open: AtomicBool::new(owner == Owner::Manager),
        }
    }

    /// Another process accepts on its socket from now on.
    pub(crate) fn leave_open(&self) {
        self.stays_open.store(true, Ordering::Relaxed);
    }

    /// Ends its connections as a drain does: each after its current exchange, idle ones at this time.
    pub(crate) fn close(&self, idle_until: Instant) {
        // It is removed only once.
        let _ = self.closing.set(idle_until);
    }

    /// The current settings.
    pub fn settings(&self) -> Arc<Listener> {
        self.settings.load_full()
    }

    /// Takes over new settings for connections to come.
    pub fn reconfigure(&self, settings: Arc<Listener>, tls: Option<ServerTls>) {
        self.settings.store(settings);
        self.tls.store(Arc::new(tls));
    }
}

impl Listening {
    pub(crate) fn new(state: &Arc<ListenerState>) -> Listening {
        Listening { state: state.clone(), settings: state.settings.load_full(), tls: state.tls.load_full() }
    }

    /// Until when idle connections stay; `None` unless the listener was removed.
    pub(crate) fn idle_until(&self) -> Option<Instant> {
        self.state.closing.get().copied()
    }

    pub(crate) fn is_of(&self, state: &Arc<ListenerState>) -> bool {
        Arc::ptr_eq(&self.state, state)
    }

    pub(crate) fn settings(&self) -> &Listener {
        &self.settings
    }

    pub(crate) fn head_limits(&self) -> HeadLimits {
        let limits = &self.settings.limits;
        HeadLimits {
            head_bytes: limits.head_bytes.as_usize(),
            fields: limits.fields,
            target_bytes: limits.target_bytes.as_usize(),
        }
    }

    /// Whether a request for `host` may come on a connection that was made for `server_name`: both are served with the
    /// same certificate (RFC 9110 section 15.5.20).
    pub(crate) fn same_certificate(&self, server_name: &str, host: &str) -> bool {
        match &*self.tls {
            Some(tls) => tls.index(server_name) == tls.index(host),
            None => true,
        }
    }
}

/// What a connection's task holds so that it is counted, by its listener and by its worker.
pub(crate) struct Counted {
    _open: Open,
    _task: TaskGuard,
}

/// Counts an open connection for as long as it lives.
struct Open(Arc<ListenerState>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Acceptor {
    pub(crate) fn from_std(socket: BoundSocket) -> io::Result<Acceptor> {
        Ok(match socket {
            BoundSocket::Tcp(socket) => Acceptor::Tcp(TcpListener::from_std(socket.into())?),
            BoundSocket::Unix(listener) => Acceptor::Unix(UnixListener::from_std(listener)?),
        })
    }

    async fn accept(&self) -> io::Result<(Socket, Option<SocketAddr>)> {
        match self {
            Acceptor::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // A connection that was reset since is found out by its first read.
                let _ = stream.set_nodelay(true);
                Ok((Socket::Tcp(stream), Some(address)))
            }
            Acceptor::Unix(listener) => Ok((Socket::Unix(listener.accept().await?.0), None)),
        }
    }

    /// Closes, and gives what had been connected by then. What the runtime knows of the socket may be older than its
    /// queue, so that the queue itself is asked.
    fn close(self) -> Vec<(Socket, Option<SocketAddr>)> {
        let mut queued = Vec::new();
        match self {
            Acceptor::Tcp(listener) => {
                let Ok(listener) = listener.into_std() else { return queued };
                queued.extend(all_queued(|| listener.accept()).filter_map(|(stream, address)| {
                    stream.set_nonblocking(true).ok()?;
                    let _ = stream.set_nodelay(true);
                    Some((Socket::Tcp(TcpStream::from_std(stream).ok()?), Some(address)))
                }));
            }
            Acceptor::Unix(listener) => {
                let Ok(listener) = listener.into_std() else { return queued };
                queued.extend(all_queued(|| listener.accept()).filter_map(|(stream, _)| {
                    stream.set_nonblocking(true).ok()?;
                    Some((Socket::Unix(UnixStream::from_std(stream).ok()?), None))
                }));
            }
        }
        queued
    }
}

/// Accepts until the queue of a listener that does not block is empty.
fn all_queued<T>(mut accept: impl FnMut() -> io::Result<T>) -> impl Iterator<Item = T> {
    std::iter::from_fn(move || {
        loop {
            match accept() {
                Ok(accepted) => return Some(accepted),
                Err(error) if is_about_one_connection(&error) => {}
                Err(_) => return None,
            }
        }
    })
}

/// A connection that is begun between the last accept and the close would be reset, although another socket may take
/// its place: one of a listener on all addresses, or of the process that is started next. The first packet of such a
/// connection is dropped instead, and finds that one when it is sent again.
fn send_elsewhere(listener: &TcpListener) {
    let program = [
        // The flags of the TCP header; SYN without ACK is 0x02 of 0x12.
        SockFilter::new((libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16, 0, 0, 13),
        SockFilter::new((libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16, 0, 0, 0x12),
        SockFilter::new((libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16, 0, 1, 0x02),
        SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, 0),
        SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, u32::MAX),
    ];
    // A kernel without filters leaves that moment open.
    let _ = SockRef::from(listener).attach_filter(&program);
}

/// Accepts for as long as the worker does.
pub(crate) async fn accept_loop(
    worker: Rc<Worker>,
    state: Arc<ListenerState>,
    acceptor: Acceptor,
    stop: Rc<Notify>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = acceptor.accept() => accepted,
            () = stop.notified() => break,
        };
        match accepted {
            Ok((socket, address)) => admit(&worker, &state, socket, address),
            // Out of descriptors, mostly: connections that end give some back. Accepting at once would spin.
            Err(error) if !is_about_one_connection(&error) => {
                tokio::time::sleep(Duration::from_millis(50)).await
            }
            Err(_) => {}
        }
    }
    if state.stays_open.load(Ordering::Relaxed) {
        // What is queued is for whoever accepts on it next. A filter would stay on the socket.
        return;
    }
    // A drain waits for what follows.
    let _task = worker.count_task();
    if let Acceptor::Tcp(listener) = &acceptor {
        send_elsewhere(listener);
        let over = tokio::time::sleep(HANDSHAKE);
        tokio::pin!(over);
        loop {
            tokio::select! {
                accepted = acceptor.accept() => {
                    if let Ok((socket, address)) = accepted {
                        admit(&worker, &state, socket, address);
                    }
                }
                () = &mut over => break,
            }
        }
    }
    for (socket, address) in acceptor.close() {
        admit(&worker, &state, socket, address);
    }
}

/// How long handshakes that have begun may take to come to the queue of a listener that closes. Whoever begins one
/// meanwhile waits a second for the next try, so that it is no longer than a handshake in a data centre takes.
const HANDSHAKE: Duration = Duration::from_millis(10);

fn admit(worker: &Rc<Worker>, state: &Arc<ListenerState>, socket: Socket, address: Option<SocketAddr>) {
    let listening = Rc::new(Listening::new(state));
    let open = state.connections.fetch_add(1, Ordering::Relaxed);
    let counted = Counted { _open: Open(state.clone()), _task: worker.count_task() };
    if open >= listening.settings.limits.connections {
        let refused = crate::overload::refuse(counted, worker.clone(), listening, socket, address);
        tokio::task::spawn_local(refused);
    } else {
        tokio::task::spawn_local(begin(counted, worker.clone(), listening, socket, address));
    }
}

/// accept(2): errors of the connection that was to be accepted, not of the listener.
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

/// PROXY header, TLS, and then the protocol that was agreed on.
async fn begin(
    _counted: Counted,
    worker: Rc<Worker>,
    listening: Rc<Listening>,
    mut socket: Socket,
    address: Option<SocketAddr>,
) {
    let mut client = address;
    let mut local = socket.local_address();
    let limit = listening.settings.timeouts.client_head;
    let trusted = worker.serving().gateway.trusted_proxies.clone();
    let mut input = BytesMut::new();
    let mut may_trust = true;
    if listening.settings.proxy_protocol == ProxyProtocol::Require {
        match timeout(limit, read_proxy_header(&mut socket, &mut input, &trusted, address)).await {
            Ok(Some(Some((source, destination)))) => {
                client = Some(source);
                local = Some(destination);
            }
            // `UNKNOWN` or `LOCAL`: the addresses are those of the connection, as the protocol says. But who passes bytes
            // on for somebody it cannot name does not vouch for what they say.
            Ok(Some(None)) => may_trust = false,
            Ok(None) | Err(_) => return,
        }
    }
    let mut peer = Peer::new(client, local, &trusted);
    peer.trusted &= may_trust;
    let tls = listening.tls.clone();
    let Some(tls) = &*tls else {
        return Box::pin(crate::http1::serve(worker, listening, Transport::Plain(socket), input, peer)).await;
    };
    // Boxed, like what follows: the task of a connection is as large as the largest thing that it ever awaits in place.
    let accepted = timeout(limit, Box::pin(tls.accept(socket, input))).await;
    let (transport, server_name) = match accepted {
        Ok(Ok(accepted)) => accepted,
        Ok(Err(reason)) => {
            return crate::overload::record_tls_failure(&worker, &listening, &peer, reason.to_string());
        }
        Err(_) => {
            let reason = format!("the handshake took longer than {limit:?}");
            return crate::overload::record_tls_failure(&worker, &listening, &peer, reason);
        }
    };
    peer.tls = true;
    peer.server_name = server_name;
    if transport.alpn() == Some(b"h2") {
        Box::pin(crate::http2::serve(worker, listening, transport, BytesMut::new(), peer)).await;
    } else {
        Box::pin(crate::http1::serve(worker, listening, transport, BytesMut::new(), peer)).await;
    }
}

/// Reads a PROXY header, which only a trusted proxy may send. `None`: the connection is not acceptable.
async fn read_proxy_header(
    socket: &mut Socket,
    input: &mut BytesMut,
    trusted: &[Network],
    peer: Option<SocketAddr>,
) -> Option<Option<(SocketAddr, SocketAddr)>> {
    use tokio::io::AsyncReadExt;
    // A Unix socket has no address: its file permissions say who may connect.
    let may_speak = peer.is_none_or(|peer| trusted.iter().any(|network| network.contains(peer.ip())));
    if !may_speak {
        return None;
    }
    loop {
        if socket.read_buf(input).await.ok()? == 0 {
            return None;
        }
        if let Some((consumed, addresses)) = wire::proxy_protocol::parse(input).ok()? {
            bytes::Buf::advance(input, consumed);
            return Some(addresses);
        }
    }
}
