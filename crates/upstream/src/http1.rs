//! One HTTP/1.1 (or uwsgi) connection to a target, and the exchange on it.

use std::io;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use model::{Fault, Limit, LimitName, Method, Phase};
use wire::http1::{HeadLimits, ResponseError, ResponseFacts};
use wire::{Fields, Framing, Known, ResponseHead};

use crate::body::{
    BodyFailure, Incoming, Offer, Outgoing, SinkFailure, Source, TransferFailure, poll_transfer,
};
use crate::buffers;
use crate::connection::{Request, UploadFailure};
use crate::failure::{Failure, excerpt};
use crate::idle_limit::keep_alive_timeout;
use crate::io::{Output, Transport};

/// What became of a request whose connection has ended before an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    Undelivered,
    /// The target has acknowledged some of it after its FIN: it may go on reading.
    TakenAfterFin,
    Unknown,
}

/// How long the reset may take that ends a connection whose peer is gone; waited for in steps that double.
const CLOSE_MAX: Duration = Duration::from_millis(64);

/// A connection that carries one exchange at a time.
#[derive(Debug)]
pub struct Http1 {
    io: Transport,
    input: BytesMut,
    output: Output,
    incoming: Incoming,
    outgoing: Outgoing,
    /// uwsgi packets instead of HTTP request heads; the response is HTTP/1 and ends with the connection.
    uwsgi: bool,
    /// Whether the messages so far allow another request.
    keep: bool,
    /// The request is out, end included.
    sent: bool,
    received: u64,
    /// Bytes of the requests before this one.
    sent_before: u64,
    pub(crate) served: u32,
    pub(crate) created: Instant,
    pub(crate) idle_since: Instant,
    /// When it was last seen to be good while it idled.
    pub(crate) alive_at: Instant,
    /// For how long the target says that it keeps an idle connection.
    announced_idle: Option<Duration>,
}

impl Http1 {
    pub fn new(io: Transport, uwsgi: bool) -> Http1 {
        let now = Instant::now();
        Http1 {
            io,
            input: BytesMut::new(),
            output: Output::default(),
            incoming: Incoming::new(Framing::None),
            outgoing: Outgoing::new(Framing::None),
            uwsgi,
            keep: true,
            sent: false,
            received: 0,
            sent_before: 0,
            served: 0,
            created: now,
            idle_since: now,
            alive_at: now,
            announced_idle: None,
        }
    }

    /// Begins an exchange: encodes the head; nothing is written yet.
    pub(crate) fn start(&mut self, request: &Request<'_>) -> Result<(), Failure> {
        self.output.reset();
        self.received = 0;
        self.sent = false;
        // Python servers take request trailers for header fields, of this request or (aiohttp) of the next one, or refuse
        // them (Tornado): a client could say with them what we have just vouched for.
        self.outgoing = Outgoing::new(request.framing).without_trailers();
        self.incoming = Incoming::new(Framing::None);
        if self.uwsgi {
            self.keep = false;
            request.encode_uwsgi(self.output.bytes()).map_err(|_| {
                Failure::new(Phase::Send, Fault::RequestHeadTooLarge)
                    .with_limit(Limit::Bytes { name: LimitName::UwsgiPacket, max: 65_535 })
            })
        } else {
            let output = self.output.bytes();
            wire::encode::encode_request_head(
                output,
                &request.head.method,
                request.target,
                &request.head.fields,
            );
            Ok(())
        }
    }

    /// Sends the request; ready when all of it has left this process.
    pub(crate) fn poll_upload<S: Source>(
        &mut self,
        source: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), UploadFailure<S::Failure>>> {
        let transfer = poll_transfer(&mut self.io, &mut self.output, &mut self.outgoing, source, cx);
        let result = ready!(transfer).map_err(|failure| match failure {
            TransferFailure::Source(failure) => UploadFailure::Client(failure),
            TransferFailure::Sink(SinkFailure::Io(error)) => {
                UploadFailure::Upstream(Failure::new(Phase::Send, Fault::SendFailed).with_io(&error))
            }
            TransferFailure::Sink(SinkFailure::TooLong | SinkFailure::TooShort) => UploadFailure::Upstream(
                Failure::new(Phase::Send, Fault::Internal).with_detail("a body unlike its announced length"),
            ),
        });
        self.sent = result.is_ok();
        self.keep &= result.is_ok();
        Poll::Ready(result)
    }

    /// The next response head. Informational ones (1xx) come one by one before the final one.
    pub(crate) fn poll_head(
        &mut self,
        method: &Method,
        limits: &HeadLimits,
        head: &mut ResponseHead,
        cx: &mut Context<'_>,
    ) -> Poll<Result<ResponseFacts, Failure>> {
        loop {
            if !self.input.is_empty() {
                let parsed = if self.uwsgi {
                    wire::uwsgi::parse_head(&self.input, limits, method, head)
                } else {
                    wire::http1::parse_response(&self.input, limits, method, head)
                };
                let parsed = parsed.map_err(|error| self.malformed(error, limits))?;
                if let Some((consumed, facts)) = parsed {
                    bytes::Buf::advance(&mut self.input, consumed);
                    if !facts.informational {
                        self.incoming = Incoming::new(facts.framing);
                        let announced = head.fields.get(Known::KeepAlive).and_then(keep_alive_timeout);
                        self.announced_idle = announced.or(self.announced_idle);
                        // Some applications send the body of a HEAD response all the same. It may come late, and
                        // would be taken for the next response.
                        let is_clear = *method != Method::Head
                            || matches!(head.status, 204 | 304)
                            || head.fields.get(Known::ContentLength) == Some(b"0");
                        self.keep &= facts.keep_alive && facts.framing != Framing::Close && is_clear;
                    }
                    return Poll::Ready(Ok(facts));
                }
            }
            match ready!(self.poll_fill(cx)) {
                Ok(0) => {
                    let failure = Failure::new(Phase::AwaitHead, Fault::EarlyClose).with_fin();
                    return Poll::Ready(Err(self.partial(failure)));
                }
                Ok(_) => {}
                Err(error) => {
                    // TLS: the stream ended without close_notify, which is an end all the same.
                    let ended = error.kind() == io::ErrorKind::UnexpectedEof;
                    let fault = if ended { Fault::EarlyClose } else { Fault::Reset };
                    let failure = Failure::new(Phase::AwaitHead, fault).with_io(&error);
                    return Poll::Ready(Err(self.partial(failure)));
                }
            }
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.input.capacity() == 0 {
            self.input = buffers::lend();
        }
        if self.input.len() == self.input.capacity() {
            self.input.reserve(buffers::READ_BYTES);
        }
        let Poll::Ready(read) = self.io.poll_read_buf(cx, &mut self.input) else {
            if self.input.is_empty() {
                // Who waits holds no buffer.
                buffers::give_back(std::mem::take(&mut self.input));
            }
            return Poll::Pending;
        };
        let read = read?;
        self.received += read as u64;
        Poll::Ready(Ok(read))
    }

    fn malformed(&self, error: ResponseError, limits: &HeadLimits) -> Failure {
        let failure = Failure::new(Phase::AwaitHead, error.fault());
        match error.fault() {
            Fault::ResponseHeadTooLarge if error.rule().contains("fields") => failure
                .with_limit(Limit::Count { name: LimitName::ResponseFields, max: limits.fields as u64 }),
            Fault::ResponseHeadTooLarge => failure
                .with_limit(Limit::Bytes { name: LimitName::ResponseHead, max: limits.head_bytes as u64 }),
            _ => failure,
        }
        .with_detail(format!("{}; {}", error.rule(), excerpt(&self.input)))
    }

    /// A head that broke off shows what there was of it.
    fn partial(&self, failure: Failure) -> Failure {
        if self.input.is_empty() {
            return failure;
        }
        failure.with_detail(format!("after {} bytes of the head; {}", self.input.len(), excerpt(&self.input)))
    }

    pub(crate) fn has_unsent(&self) -> bool {
        self.output.has_unsent()
    }

    /// Bytes on the wire in this exchange: sent, received.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.output.total(), self.received + self.incoming.read)
    }

    /// Gives the raw stream away after an upgrade, with what was read beyond the head.
    pub(crate) fn into_tunnel(self) -> (Transport, BytesMut) {
        (self.io, self.input)
    }

    /// Whether another request may follow: both messages are complete and nothing surplus arrived.
    pub(crate) fn is_reusable(&self) -> bool {
        self.keep && self.sent && self.incoming.is_done() && self.input.is_empty()
    }

    /// Rests in the pool: holds no buffers.
    pub(crate) fn park(&mut self, now: Instant) {
        self.served += 1;
        self.idle_since = now;
        self.alive_at = now;
        buffers::give_back(std::mem::take(&mut self.input));
        self.sent_before += self.output.total();
        self.output.reset();
    }

    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.io.socket().round_trip()
    }

    /// How many bytes of this request the peer's kernel has acknowledged. Unknown under TLS, which counts others.
    pub(crate) fn bytes_acked(&self) -> Option<u64> {
        let Transport::Plain(socket) = &self.io else { return None };
        // The kernel counts the handshake as one.
        let acked = socket.bytes_acked()?.saturating_sub(1 + self.sent_before);
        Some(acked.min(self.output.total()))
    }

    /// Looks, without waiting, whether an idle connection is still good: a close, an error or unasked-for bytes all
    /// mean that it is not.
    pub(crate) fn is_alive(&mut self, now: Instant) -> bool {
        if let Transport::Tls(_) = self.io {
            // Session tickets and the like are none of these: TLS has to read them before the socket is asked.
            let mut probe = buffers::lend();
            let mut cx = Context::from_waker(std::task::Waker::noop());
            let pending = self.io.poll_read_buf(&mut cx, &mut probe).is_pending();
            buffers::give_back(probe);
            if !pending {
                return false;
            }
        }
        let is_quiet = self.io.socket().is_quiet();
        if is_quiet {
            self.alive_at = now;
        }
        is_quiet
    }

    /// For how long the target keeps an idle connection, if it has said so.
    pub(crate) fn announced_idle(&self) -> Option<Duration> {
        self.announced_idle
    }

    /// What became of a request whose connection has ended with FIN before a byte of an answer. It is taken as undelivered if
    /// the target's kernel has acknowledged nothing of it and the socket comes to its end, as it does when nobody is there
    /// any more to read. That servers do not execute what they read after they have closed their side is an assumption; a
    /// test per server stands behind it.
    pub(crate) async fn delivery(&self) -> Delivery {
        let Transport::Plain(socket) = &self.io else { return Delivery::Unknown };
        if self.bytes_acked() != Some(0) {
            return Delivery::Unknown;
        }
        let mut wait = Duration::from_millis(1);
        loop {
            if socket.is_closed() {
                return Delivery::Undelivered;
            }
            if wait > CLOSE_MAX {
                return Delivery::Unknown;
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
            if self.bytes_acked() != Some(0) {
                return Delivery::TakenAfterFin;
            }
        }
    }

    pub(crate) fn outlived(&self, now: Instant, idle: Duration, age: Duration) -> bool {
        now.saturating_duration_since(self.idle_since) >= idle
            || now.saturating_duration_since(self.created) >= age
    }
}

impl Source for Http1 {
    type Failure = Failure;

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Offer, Failure>> {
        self.incoming.poll_piece(&mut self.io, &mut self.input, cx).map_err(|failure| {
            match failure {
                BodyFailure::Truncated => Failure::new(Phase::Body, Fault::BodyTruncated).with_fin(),
                BodyFailure::Io(error) => {
                    // TLS: the stream ended without close_notify.
                    let truncated = error.kind() == io::ErrorKind::UnexpectedEof;
                    let fault = if truncated { Fault::BodyTruncated } else { Fault::BodyReset };
                    Failure::new(Phase::Body, fault).with_io(&error)
                }
                BodyFailure::Malformed(rule) => {
                    Failure::new(Phase::Body, Fault::BodyMalformed).with_detail(rule)
                }
            }
        })
    }

    fn piece(&self) -> &[u8] {
        self.incoming.piece(&self.input)
    }

    fn consume(&mut self, n: usize) {
        self.incoming.consume(&mut self.input, n);
    }

    fn take(&mut self, max: usize) -> Bytes {
        self.incoming.take(&mut self.input, max)
    }

    fn trailers(&self) -> Option<&Fields> {
        self.incoming.trailers()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::Socket;
    use std::future::poll_fn;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use wire::RequestHead;

    const LIMITS: HeadLimits = HeadLimits { head_bytes: 4096, fields: 20, target_bytes: 0 };

    /// One request on the connection, and the failure that follows.
    async fn fail(connection: &mut Http1) -> Failure {
        let mut head = RequestHead::default();
        wire::parse_request(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            &LIMITS_OF_REQUESTS,
            &mut head,
        )
        .unwrap()
        .unwrap();
        send(connection, &head).await;
        let mut response = ResponseHead::default();
        poll_fn(|cx| connection.poll_head(&Method::Post, &LIMITS, &mut response, cx)).await.unwrap_err()
    }

    const LIMITS_OF_REQUESTS: HeadLimits = HeadLimits { head_bytes: 4096, fields: 20, target_bytes: 100 };

    async fn send(connection: &mut Http1, head: &RequestHead) {
        let request = Request {
            head,
            target: "/",
            scheme: "http",
            authority: "a",
            framing: Framing::None,
            script_name: "",
            client: None,
            listener: None,
        };
        connection.start(&request).unwrap();
        poll_fn(|cx| connection.poll_upload(&mut crate::body::Empty, cx)).await.unwrap();
    }

    /// A connection that has served a request and idles, and the other end of it.
    async fn used() -> (Http1, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut peer = listener.accept().await.unwrap().0;
        let mut connection = Http1::new(Transport::Plain(Socket::Tcp(stream)), false);
        let mut head = RequestHead::default();
        wire::parse_request(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", &LIMITS_OF_REQUESTS, &mut head)
            .unwrap()
            .unwrap();
        send(&mut connection, &head).await;
        let mut buffer = [0; 256];
        let read = peer.read(&mut buffer).await.unwrap();
        assert!(buffer[..read].ends_with(b"\r\n\r\n"));
        peer.write_all(b"HTTP/1.1 204 No Content\r\nKeep-Alive: timeout=5\r\n\r\n").await.unwrap();
        let mut response = ResponseHead::default();
        poll_fn(|cx| connection.poll_head(&Method::Get, &LIMITS, &mut response, cx)).await.unwrap();
        assert!(connection.is_reusable());
        assert_eq!(connection.announced_idle(), Some(Duration::from_secs(5)));
        connection.park(Instant::now());
        (connection, peer)
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_request_to_somebody_who_has_left_is_undelivered() {
        let (mut connection, peer) = used().await;
        drop(peer);
        let failure = fail(&mut connection).await;
        assert_eq!((failure.fault, failure.peer_end), (Fault::EarlyClose, Some(model::PeerEnd::Fin)));
        assert_eq!(connection.bytes_acked(), Some(0));
        assert_eq!(connection.delivery().await, Delivery::Undelivered);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_request_that_was_read_may_have_been_executed() {
        let (mut connection, mut peer) = used().await;
        let reading = async {
            let mut buffer = [0; 256];
            assert!(peer.read(&mut buffer).await.unwrap() > 0);
            drop(peer);
        };
        let (failure, ()) = tokio::join!(fail(&mut connection), reading);
        assert_eq!(failure.fault, Fault::EarlyClose);
        assert_eq!(connection.delivery().await, Delivery::Unknown);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_target_that_has_only_closed_its_side_may_still_read() {
        let (mut connection, mut peer) = used().await;
        peer.shutdown().await.unwrap();
        let failure = fail(&mut connection).await;
        assert_eq!(failure.fault, Fault::EarlyClose);
        assert_ne!(connection.delivery().await, Delivery::Undelivered);
        drop(peer);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_reset_proves_nothing() {
        let (mut connection, peer) = used().await;
        socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
        let closing = async {
            peer.readable().await.unwrap();
            drop(peer);
        };
        let (failure, ()) = tokio::join!(fail(&mut connection), closing);
        // That it was acknowledged or not is no matter then: the rule is not asked.
        assert_eq!((failure.fault, failure.peer_end), (Fault::Reset, Some(model::PeerEnd::Rst)));
    }
}
