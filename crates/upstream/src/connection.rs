//! A connection in use, whatever its protocol, and what an exchange does with it.

use std::net::SocketAddr;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use model::Method;
use wire::http1::{HeadLimits, ResponseFacts};
use wire::uwsgi::UwsgiRequest;
use wire::{Fields, Framing, RequestHead, ResponseHead};

use crate::body::{Offer, Source};
use crate::failure::Failure;
use crate::http1::{Delivery, Http1};
use crate::http2::Http2;
use crate::io::Transport;

/// What is sent to a target.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Method and final fields, Host included.
    pub head: &'a RequestHead,
    /// Path and query as the target shall see them.
    pub target: &'a str,
    /// `http` or `https`: as the client came.
    pub scheme: &'a str,
    /// The value of the Host field.
    pub authority: &'a str,
    /// `None`, `Length` or `Chunked`.
    pub framing: Framing,
    /// For uwsgi: where the application is mounted.
    pub script_name: &'a str,
    pub client: Option<SocketAddr>,
    pub listener: Option<SocketAddr>,
}

/// Why a request could not be sent.
#[derive(Debug)]
pub enum UploadFailure<F> {
    /// The client's body failed.
    Client(F),
    Upstream(Failure),
}

impl<F> UploadFailure<F> {
    /// With the client's failure as another one.
    pub fn map<G>(self, other: impl FnOnce(F) -> G) -> UploadFailure<G> {
        match self {
            UploadFailure::Client(failure) => UploadFailure::Client(other(failure)),
            UploadFailure::Upstream(failure) => UploadFailure::Upstream(failure),
        }
    }
}

/// A connection in use for one exchange.
#[derive(Debug)]
pub enum Connection {
    Http1(Box<Http1>),
    Http2(Box<Http2>),
}

impl Request<'_> {
    /// Appends the request as a uwsgi packet.
    pub(crate) fn encode_uwsgi(&self, out: &mut Vec<u8>) -> Result<(), wire::uwsgi::TooLarge> {
        let (path, query) = self.target.split_once('?').unwrap_or((self.target, ""));
        let mut decoded = Vec::with_capacity(path.len());
        wire::path::decode(path, &mut decoded);
        let content_length = match self.framing {
            Framing::Length(length) => Some(length),
            Framing::None => Some(0),
            Framing::Chunked | Framing::Close => None,
        };
        let packet = UwsgiRequest {
            head: self.head,
            path: &decoded,
            script_name: self.script_name.as_bytes(),
            request_uri: self.target,
            query,
            remote: self.client,
            server_name: self.head.target.host(),
            server_port: self.listener.map(|listener| listener.port()),
            https: self.scheme == "https",
            content_length,
        };
        wire::uwsgi::encode(out, &packet)
    }
}

impl Connection {
    /// Begins the exchange. Nothing is written yet.
    pub fn start(&mut self, request: &Request<'_>) -> Result<(), Failure> {
        match self {
            Connection::Http1(connection) => connection.start(request),
            Connection::Http2(connection) => connection.start(request),
        }
    }

    /// Sends head and body; ready when all of it is out. May be called again while the response is read.
    pub fn poll_upload<S: Source>(
        &mut self,
        source: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), UploadFailure<S::Failure>>> {
        match self {
            Connection::Http1(connection) => connection.poll_upload(source, cx),
            Connection::Http2(connection) => connection.poll_upload(source, cx),
        }
    }

    /// The next response head, informational ones included.
    pub fn poll_head(
        &mut self,
        method: &Method,
        limits: &HeadLimits,
        head: &mut ResponseHead,
        cx: &mut Context<'_>,
    ) -> Poll<Result<ResponseFacts, Failure>> {
        match self {
            Connection::Http1(connection) => connection.poll_head(method, limits, head, cx),
            Connection::Http2(connection) => connection.poll_head(method, limits, head, cx),
        }
    }

    /// Whether bytes of the request wait for the target to take them.
    pub fn has_unsent(&self) -> bool {
        match self {
            Connection::Http1(connection) => connection.has_unsent(),
            Connection::Http2(_) => false,
        }
    }

    /// Bytes on the wire in this exchange: sent, received. For HTTP/2 those of the stream's heads and bodies.
    pub fn counts(&self) -> (u64, u64) {
        match self {
            Connection::Http1(connection) => connection.counts(),
            Connection::Http2(connection) => connection.counts(),
        }
    }

    /// How long a round trip takes, where the kernel can tell that of this connection.
    pub fn round_trip(&self) -> Option<std::time::Duration> {
        match self {
            Connection::Http1(connection) => connection.round_trip(),
            Connection::Http2(_) => None,
        }
    }

    /// How many bytes of the request the peer's kernel has acknowledged.
    pub fn bytes_acked(&self) -> Option<u64> {
        match self {
            Connection::Http1(connection) => connection.bytes_acked(),
            Connection::Http2(_) => None,
        }
    }

    /// See `Http1::delivery`; over HTTP/2 the protocol itself tells what was not processed.
    pub async fn delivery(&self) -> Delivery {
        match self {
            Connection::Http1(connection) => connection.delivery().await,
            Connection::Http2(_) => Delivery::Unknown,
        }
    }

    /// The raw stream after a 101; `None` where the protocol has no such thing.
    pub fn into_tunnel(self) -> Option<(Transport, BytesMut)> {
        match self {
            Connection::Http1(connection) => Some(connection.into_tunnel()),
            Connection::Http2(_) => None,
        }
    }
}

/// The response body.
impl Source for Connection {
    type Failure = Failure;

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Offer, Failure>> {
        match self {
            Connection::Http1(connection) => connection.poll_piece(cx),
            Connection::Http2(connection) => connection.poll_piece(cx),
        }
    }

    fn piece(&self) -> &[u8] {
        match self {
            Connection::Http1(connection) => connection.piece(),
            Connection::Http2(connection) => connection.piece(),
        }
    }

    fn consume(&mut self, n: usize) {
        match self {
            Connection::Http1(connection) => connection.consume(n),
            Connection::Http2(connection) => connection.consume(n),
        }
    }

    fn take(&mut self, max: usize) -> Bytes {
        match self {
            Connection::Http1(connection) => connection.take(max),
            Connection::Http2(connection) => connection.take(max),
        }
    }

    fn trailers(&self) -> Option<&Fields> {
        match self {
            Connection::Http1(connection) => connection.trailers(),
            Connection::Http2(connection) => connection.trailers(),
        }
    }
}
