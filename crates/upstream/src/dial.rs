//! A fresh connection to a target: resolve, connect to any of its addresses, PROXY header, TLS.
//!
//! Each step has its own time limit and its own fault. Addresses are tried as RFC 8305 says: the next one starts when
//! the one before failed or has not answered within 250 ms, and the first to connect wins.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use model::gateway::{Endpoint, ProxyProtocolVersion, Scheme};
use model::{Fault, LimitName, Phase};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use crate::failure::Failure;
use crate::io::{Socket, Transport};
use crate::target::{Target, Upstream};

/// RFC 8305 section 5: the recommended connection attempt delay.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// Addresses tried per dial: enough for every sensible name, and a bound for others.
const ADDRESSES_MAX: usize = 16;

/// A connection that is ready for its first request.
#[derive(Debug)]
pub(crate) struct Dialed {
    pub transport: Transport,
    pub address: Option<SocketAddr>,
}

/// How long the steps of a dial took; `None` if one did not happen or did not end.
#[derive(Clone, Copy, Debug, Default)]
pub struct DialTimes {
    pub resolve: Option<Duration>,
    pub connect: Option<Duration>,
    pub tls: Option<Duration>,
}

/// Who the connection is made for, for the PROXY header.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    pub client: SocketAddr,
    pub listener: SocketAddr,
}

/// What a connection is made for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Purpose {
    /// The client and the listener, for the PROXY header; `None` if the client has no address.
    pub addresses: Option<Addresses>,
    /// A request that wants to switch protocols, which HTTP/2 cannot.
    pub upgrade: bool,
}

/// Makes a connection. The times of the steps that did happen are filled in when it fails, too.
pub(crate) async fn dial(
    upstream: &Upstream,
    target: &Target,
    purpose: Purpose,
    times: &mut DialTimes,
) -> Result<Dialed, Failure> {
    let limits = &upstream.settings.timeouts;
    let (mut socket, address) = match &target.settings.endpoint {
        Endpoint::Unix(path) => {
            let started = Instant::now();
            let stream = timeout(limits.connect, target.state.backlog.connect(path)).await;
            times.connect = Some(started.elapsed());
            (Socket::Unix(connected(stream, limits.connect)?), None)
        }
        Endpoint::Host { port, .. } => {
            let resolved = resolve(target, limits.connect, times).await?;
            let started = Instant::now();
            let stream = timeout(limits.connect, connect_any(&resolved, *port)).await;
            let (stream, address) = connected(stream, limits.connect)?;
            times.connect = Some(started.elapsed());
            (Socket::Tcp(stream), Some(address))
        }
    };
    if let Some(version) = upstream.settings.proxy_protocol {
        send_proxy_header(&mut socket, version, purpose.addresses).await?;
    }
    let transport = match (target.settings.scheme, &upstream.tls) {
        (Scheme::Https, Some(tls)) => {
            let config = if purpose.upgrade { &tls.http1 } else { &tls.any };
            let started = Instant::now();
            let transport = handshake(socket, target, config, limits.tls).await?;
            times.tls = Some(started.elapsed());
            transport
        }
        _ => Transport::Plain(socket),
    };
    Ok(Dialed { transport, address })
}

async fn resolve(target: &Target, limit: Duration, times: &mut DialTimes) -> Result<Arc<[IpAddr]>, Failure> {
    let Some(name) = &target.name else {
        return Err(Failure::new(Phase::Resolve, Fault::Internal).with_detail("a target without a name"));
    };
    if let crate::resolve::Resolution::Known(addresses) = name.now() {
        return Ok(addresses);
    }
    let started = Instant::now();
    let found = timeout(limit, name.addresses()).await;
    times.resolve = Some(started.elapsed());
    match found {
        Ok(Ok(addresses)) => Ok(addresses),
        Ok(Err(reason)) => Err(Failure::new(Phase::Resolve, Fault::DnsFailed).with_detail(&*reason)),
        Err(_) => Err(Failure::timeout(Phase::Resolve, Fault::DnsFailed, LimitName::Resolve, limit)),
    }
}

fn connected<T>(
    result: Result<io::Result<T>, tokio::time::error::Elapsed>,
    limit: Duration,
) -> Result<T, Failure> {
    match result {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(connect_failure(&error)),
        Err(_) => Err(Failure::timeout(Phase::Connect, Fault::ConnectTimeout, LimitName::Connect, limit)),
    }
}

/// What this machine lacks, which is not the target's doing.
const OWN_LACK: [i32; 6] = [
    // Local ports for connections to this target. Where there is no address to connect from, see `without_source`.
    libc::EADDRNOTAVAIL,
    // connect(2): entries of the routing cache. From a Unix socket it does not come here, see `backlog.rs`.
    libc::EAGAIN,
    // Descriptors, of the process and of the machine.
    libc::EMFILE,
    libc::ENFILE,
    // Memory.
    libc::ENOBUFS,
    libc::ENOMEM,
];

fn connect_failure(error: &io::Error) -> Failure {
    let fault = match error.kind() {
        _ if error.raw_os_error().is_some_and(|errno| OWN_LACK.contains(&errno)) => Fault::Overloaded,
        // A missing socket file is the Unix form of "nothing listens there".
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Fault::ConnectRefused,
        io::ErrorKind::TimedOut => Fault::ConnectTimeout,
        _ => Fault::ConnectFailed,
    };
    let failure = Failure::new(Phase::Connect, fault).with_io(error);
    match error.kind() {
        io::ErrorKind::NotFound => failure.with_detail("there is no socket of this path"),
        _ => failure,
    }
}

pub(crate) async fn connect_any(addresses: &[IpAddr], port: u16) -> io::Result<(TcpStream, SocketAddr)> {
    let mut rest = addresses.iter().take(ADDRESSES_MAX).map(|ip| SocketAddr::new(*ip, port));
    let mut running = FuturesUnordered::new();
    let mut last_error = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        let more = rest.next();
        let is_last = more.is_none();
        if let Some(address) = more {
            running.push(connect_one(address));
        } else if running.is_empty() {
            return Err(last_error);
        }
        tokio::select! {
            biased;
            Some(result) = running.next() => match result {
                Ok(connected) => return Ok(connected),
                Err(error) => last_error = error,
            },
            () = sleep(ATTEMPT_DELAY), if !is_last => {}
        }
    }
}

async fn connect_one(address: SocketAddr) -> io::Result<(TcpStream, SocketAddr)> {
    let stream = TcpStream::connect(address).await.map_err(|error| without_source(error, address))?;
    stream.set_nodelay(true)?;
    Ok((stream, address))
}

/// EADDRNOTAVAIL has two meanings: the local ports are all in use, or this machine has no address from which it could connect,
/// as where IPv6 is switched off. The second is no lack that passes: the address is as good as unreachable, and loses its errno.
fn without_source(error: io::Error, address: SocketAddr) -> io::Error {
    if error.raw_os_error() == Some(libc::EADDRNOTAVAIL) && !has_source(address) {
        return io::Error::new(
            io::ErrorKind::AddrNotAvailable,
            format!("this machine has no address from which {address} can be reached"),
        );
    }
    error
}

/// Whether this machine has an address for connections to that one: to connect a UDP socket asks the same, and sends nothing.
fn has_source(address: SocketAddr) -> bool {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    UdpSocket::bind((any, 0)).and_then(|socket| socket.connect(address)).is_ok()
}

/// Without addresses (the client came by a Unix socket) the header says so: a target that wants one wants it always.
async fn send_proxy_header(
    socket: &mut Socket,
    version: ProxyProtocolVersion,
    addresses: Option<Addresses>,
) -> Result<(), Failure> {
    let addresses = addresses.map(|Addresses { client, listener }| (client, listener));
    let mut header = Vec::with_capacity(108);
    match version {
        ProxyProtocolVersion::V1 => wire::proxy_protocol::encode_v1(&mut header, addresses),
        ProxyProtocolVersion::V2 => wire::proxy_protocol::encode_v2(&mut header, addresses),
    }
    // A new connection's send buffer always has room for it: this does not wait.
    socket
        .write_all(&header)
        .await
        .map_err(|error| Failure::new(Phase::Connect, Fault::ConnectFailed).with_io(&error))
}

async fn handshake(
    socket: Socket,
    target: &Target,
    config: &Arc<rustls::ClientConfig>,
    limit: Duration,
) -> Result<Transport, Failure> {
    let Some(name) = target.server_name.clone() else {
        return Err(Failure::new(Phase::Tls, Fault::Internal).with_detail("a TLS target without a name"));
    };
    match timeout(limit, TlsConnector::from(config.clone()).connect(name, socket)).await {
        Ok(Ok(stream)) => Ok(Transport::Tls(Box::new(stream.into()))),
        Ok(Err(error)) => {
            Err(Failure::new(Phase::Tls, Fault::TlsFailed).with_io(&error).with_detail(error.to_string()))
        }
        Err(_) => Err(Failure::timeout(Phase::Tls, Fault::TlsTimeout, LimitName::Tls, limit)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_machine_lacks_is_not_the_targets_doing() {
        for (errno, fault) in [
            (libc::EADDRNOTAVAIL, Fault::Overloaded),
            (libc::EMFILE, Fault::Overloaded),
            (libc::ECONNREFUSED, Fault::ConnectRefused),
            (libc::EHOSTUNREACH, Fault::ConnectFailed),
        ] {
            let failure = connect_failure(&io::Error::from_raw_os_error(errno));
            assert_eq!((failure.fault, failure.errno), (fault, Some(errno)));
        }
    }

    #[test]
    fn an_address_that_nothing_here_leads_to_is_not_a_lack_of_ports() {
        let failure = |address: &str| {
            let error = io::Error::from_raw_os_error(libc::EADDRNOTAVAIL);
            connect_failure(&without_source(error, address.parse().unwrap()))
        };
        assert_eq!(failure("127.0.0.1:80").fault, Fault::Overloaded);
        // A link-local address without its link leads nowhere on any machine.
        let Failure { fault, detail, .. } = failure("[fe80::1]:80");
        assert_eq!(fault, Fault::ConnectFailed);
        assert_eq!(
            detail.as_deref(),
            Some("this machine has no address from which [fe80::1]:80 can be reached")
        );
    }
}
