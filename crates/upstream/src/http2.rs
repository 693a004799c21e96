//! HTTP/2 to a target: one connection per worker and target carries many exchanges.

use std::cell::Cell;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, SendStream};
use http::Uri;
use http::uri::{Authority, InvalidUri, PathAndQuery, Scheme};
use model::{Fault, Limit, LimitName, Method, Phase};
use wire::http1::{HeadLimits, ResponseFacts};
use wire::{Fields, Framing, ResponseHead, Version};

use crate::body::{Offer, Source};
use crate::connection::{Request, UploadFailure};
use crate::failure::Failure;
use crate::http2_stream::{Http2Incoming, Http2TransferFailure, fields_from, header_map, poll_transfer};
use crate::io::Transport;
use crate::pulse::{End, Pulse, Watched};

/// What one stream may have under way towards us before we read: the bound on the memory of an exchange whose client
/// reads slowly, or not at all.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
/// Streams of one connection; more get another one. Each can stand still with its window full and leave the others
/// theirs.
const STREAMS_MAX: usize = 64;
/// 16 MiB, which are in use only while all clients of a connection stand still.
const CONNECTION_WINDOW_BYTES: u32 = STREAM_WINDOW_BYTES * STREAMS_MAX as u32;
/// Held per stream while the target's window is closed.
const SEND_BUFFER_BYTES: usize = 64 << 10;

/// A connection that several exchanges of one worker share.
#[derive(Clone, Debug)]
pub(crate) struct Http2Connection {
    sender: SendRequest<Bytes>,
    shared: Rc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// It takes new exchanges. Those under way go on when it does not.
    open: Cell<bool>,
    pulse: Rc<Pulse>,
    streams: Cell<usize>,
    served: Cell<u32>,
    created: Instant,
    idle_since: Cell<Instant>,
}

/// One exchange on such a connection.
#[derive(Debug)]
pub struct Http2 {
    connection: Http2Connection,
    asked: Option<Instant>,
    response: Option<ResponseFuture>,
    upload: Option<SendStream<Bytes>>,
    download: Option<Http2Incoming>,
    sent: u64,
    received: u64,
}

impl Http2Connection {
    /// Speaks HTTP/2 on a fresh transport; the connection is driven by a task of the current worker.
    pub(crate) async fn handshake(io: Transport, limits: &HeadLimits) -> Result<Http2Connection, Failure> {
        let now = Instant::now();
        let pulse = Pulse::new(now);
        let (sender, connection) = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_send_buffer_size(SEND_BUFFER_BYTES)
            .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
            .enable_push(false)
            .handshake(Watched::new(io, pulse.clone()))
            .await
            .map_err(|error| failure(Phase::Connect, &error, pulse.end()))?;
        let shared = Rc::new(Shared {
            open: Cell::new(true),
            pulse,
            streams: Cell::new(0),
            served: Cell::new(0),
            created: now,
            idle_since: Cell::new(now),
        });
        let driven = shared.clone();
        tokio::task::spawn_local(async move {
            // Its streams learn of an error themselves.
            let _ = connection.await;
            driven.open.set(false);
        });
        Ok(Http2Connection { sender, shared })
    }

    /// A place for one more exchange, if there is one and the connection is not in doubt.
    pub(crate) fn open(&self, now: Instant) -> Option<Http2> {
        let streams_max = self.sender.current_max_send_streams().min(STREAMS_MAX);
        if self.shared.streams.get() >= streams_max || self.shared.pulse.is_doubtful(now) {
            return None;
        }
        self.shared.streams.set(self.shared.streams.get() + 1);
        Some(Http2 {
            connection: self.clone(),
            asked: None,
            response: None,
            upload: None,
            download: None,
            sent: 0,
            received: 0,
        })
    }

    /// Whether it takes new exchanges: not after its end, a GOAWAY, or a silence that was too long.
    pub(crate) fn is_open(&mut self) -> bool {
        // Never pending: only a sender that has sent waits for room, and this one is cloned for that.
        let ready = self.sender.poll_ready(&mut Context::from_waker(Waker::noop()));
        self.shared.open.get() && !matches!(ready, Poll::Ready(Err(_)))
    }

    fn failure(&self, phase: Phase, error: &h2::Error) -> Failure {
        failure(phase, error, self.shared.pulse.end())
    }

    pub(crate) fn served(&self) -> u32 {
        self.shared.served.get()
    }

    pub(crate) fn idle(&self, now: Instant) -> Duration {
        if self.shared.streams.get() > 0 { Duration::ZERO } else { now - self.shared.idle_since.get() }
    }

    pub(crate) fn outlived(&self, now: Instant, idle: Duration, age: Duration) -> bool {
        self.idle(now) >= idle || now - self.shared.created >= age
    }
}

impl Drop for Http2 {
    fn drop(&mut self) {
        let shared = &self.connection.shared;
        let now = Instant::now();
        shared.streams.set(shared.streams.get().saturating_sub(1));
        shared.served.set(shared.served.get() + 1);
        shared.idle_since.set(now);
        if shared.streams.get() == 0 {
            // Nobody is left to find out whether the target is there.
            if shared.pulse.is_doubtful(now) {
                shared.open.set(false);
            }
            shared.pulse.at_rest();
        }
        if let Some(upload) = &mut self.upload {
            // No effect on a stream that ended; otherwise the target learns that nobody waits any more.
            upload.send_reset(Reason::CANCEL);
        }
    }
}

impl Http2 {
    pub(crate) fn start(&mut self, request: &Request<'_>) -> Result<(), Failure> {
        let internal = |reason: String| Failure::new(Phase::Send, Fault::Internal).with_detail(reason);
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(if request.scheme == "https" { Scheme::HTTPS } else { Scheme::HTTP });
        let authority = Authority::try_from(request.authority);
        parts.authority = Some(authority.map_err(|error| internal(error.to_string()))?);
        let target = path_and_query(request.target);
        parts.path_and_query = Some(target.map_err(|error| internal(error.to_string()))?);
        let uri = Uri::from_parts(parts).map_err(|error| internal(error.to_string()))?;
        let method = http::Method::from_bytes(request.head.method.as_str().as_bytes());
        let mut message = http::Request::new(());
        *message.method_mut() = method.map_err(|error| internal(error.to_string()))?;
        *message.uri_mut() = uri;
        *message.version_mut() = http::Version::HTTP_2;
        let mut map = header_map(&request.head.fields);
        // The authority says it already (RFC 9113 section 8.3.1); chunked is HTTP/1's.
        map.remove(http::header::HOST);
        map.remove(http::header::TRANSFER_ENCODING);
        // HTTP/2 has no upgrades (RFC 9113 section 8.6); the request goes on as an ordinary one.
        map.remove(http::header::CONNECTION);
        map.remove(http::header::UPGRADE);
        *message.headers_mut() = map;
        self.sent = request.head.fields.size_bytes() as u64;
        let end = request.framing == Framing::None;
        let (response, upload) = self
            .connection
            .sender
            .send_request(message, end)
            .map_err(|error| self.connection.failure(Phase::Send, &error))?;
        let now = Instant::now();
        self.asked = Some(now);
        self.connection.shared.pulse.asked(now);
        self.response = Some(response);
        self.upload = Some(upload).filter(|_| !end);
        Ok(())
    }

    pub(crate) fn poll_upload<S: Source>(
        &mut self,
        source: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), UploadFailure<S::Failure>>> {
        let Some(upload) = &mut self.upload else { return Poll::Ready(Ok(())) };
        let result = ready!(poll_transfer(upload, source, &mut self.sent, cx));
        if result.is_ok() {
            self.upload = None;
        }
        Poll::Ready(result.map_err(|error| match error {
            Http2TransferFailure::Source(error) => UploadFailure::Client(error),
            Http2TransferFailure::Sink(error) => {
                UploadFailure::Upstream(self.connection.failure(Phase::Send, &error))
            }
        }))
    }

    pub(crate) fn poll_head(
        &mut self,
        _method: &Method,
        limits: &HeadLimits,
        head: &mut ResponseHead,
        cx: &mut Context<'_>,
    ) -> Poll<Result<ResponseFacts, Failure>> {
        let Some(response) = &mut self.response else {
            return Poll::Ready(Err(Failure::new(Phase::AwaitHead, Fault::Internal)));
        };
        head.clear();
        head.version = Version::Http2;
        if let Poll::Ready(Some(Ok(informational))) = response.poll_informational(cx) {
            head.status = informational.status().as_u16();
            fields_from(informational.headers(), &mut head.fields);
            let facts = ResponseFacts {
                framing: Framing::None,
                keep_alive: true,
                informational: true,
                upgrade: false,
            };
            return Poll::Ready(Ok(facts));
        }
        let response = ready!(std::pin::Pin::new(response).poll(cx));
        let (parts, body) =
            response.map_err(|error| self.connection.failure(Phase::AwaitHead, &error))?.into_parts();
        self.response = None;
        if parts.headers.len() > limits.fields {
            let limit = Limit::Count { name: LimitName::ResponseFields, max: limits.fields as u64 };
            let failure = Failure::new(Phase::AwaitHead, Fault::ResponseHeadTooLarge).with_limit(limit);
            return Poll::Ready(Err(failure));
        }
        head.status = parts.status.as_u16();
        fields_from(&parts.headers, &mut head.fields);
        self.received = head.fields.size_bytes() as u64;
        let announced = wire::check_http2_response(head)
            .map_err(|error| Failure::new(Phase::AwaitHead, error.fault()).with_detail(error.rule()))?;
        let framing = if body.is_end_stream() { Framing::None } else { announced };
        self.download = Some(Http2Incoming::new(body));
        Poll::Ready(Ok(ResponseFacts { framing, keep_alive: true, informational: false, upgrade: false }))
    }

    /// The exchange was given up for the target's silence. A connection on which nothing at all was heard since it
    /// began, not even for others, gets no more of them: the path to the target may be gone, and only a new connection
    /// finds out.
    pub(crate) fn ran_out(&self) {
        let shared = &self.connection.shared;
        if self.asked.is_some_and(|asked| !shared.pulse.was_heard_after(asked)) {
            shared.open.set(false);
        }
    }

    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.sent, self.received + self.download.as_ref().map_or(0, |download| download.total))
    }
}

impl Source for Http2 {
    type Failure = Failure;

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Offer, Failure>> {
        match &mut self.download {
            Some(download) => {
                download.poll_piece(cx).map_err(|error| self.connection.failure(Phase::Body, &error))
            }
            None => Poll::Ready(Ok(Offer::End)),
        }
    }

    fn piece(&self) -> &[u8] {
        self.download.as_ref().map_or(&[], Source::piece)
    }

    fn consume(&mut self, n: usize) {
        if let Some(download) = &mut self.download {
            download.consume(n);
        }
    }

    fn take(&mut self, max: usize) -> Bytes {
        self.download.as_mut().map_or(Bytes::new(), |download| download.take(max))
    }

    fn trailers(&self) -> Option<&Fields> {
        self.download.as_ref().and_then(Source::trailers)
    }
}

/// The `:path` of a request. `http` refuses some bytes that HTTP/1 clients send all the same and HTTP/1 targets get as they
/// are; only those are escaped.
fn path_and_query(target: &str) -> Result<PathAndQuery, InvalidUri> {
    PathAndQuery::try_from(target).or_else(|_| PathAndQuery::try_from(escape_refused(target)))
}

fn escape_refused(target: &str) -> String {
    let path_len = target.find('?').unwrap_or(target.len());
    let mut escaped = String::with_capacity(target.len() + 32);
    for (at, character) in target.char_indices() {
        match character {
            '<' => escaped.push_str("%3C"),
            '>' => escaped.push_str("%3E"),
            '"' if at > path_len => escaped.push_str("%22"),
            '`' if at < path_len => escaped.push_str("%60"),
            _ => escaped.push(character),
        }
    }
    escaped
}

/// What an `h2` error means in this phase. The library calls a clean end a broken pipe and drops the errno of others; `end`
/// is what was seen beneath it.
fn failure(phase: Phase, error: &h2::Error, end: Option<End>) -> Failure {
    if let Some(io) = error.get_io() {
        let fin = end == Some(End::Fin);
        let fault = match (phase, fin) {
            (Phase::Body, true) => Fault::BodyTruncated,
            (Phase::Body, false) => Fault::BodyReset,
            (Phase::Send, _) => Fault::SendFailed,
            (Phase::Connect, _) => Fault::ConnectFailed,
            (_, true) => Fault::EarlyClose,
            (_, false) => Fault::Reset,
        };
        let failure = Failure::new(phase, fault);
        return match end {
            Some(End::Fin) => failure.with_fin(),
            Some(End::Failed { errno: Some(errno) }) => {
                failure.with_io(&std::io::Error::from_raw_os_error(errno))
            }
            // The library keeps the kind and the text of an error, and nothing else.
            Some(End::Failed { errno: None }) | None => failure.with_io(io),
        };
    }
    let refused = error.reason() == Some(Reason::REFUSED_STREAM)
        || (error.is_go_away() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR));
    let fault = match phase {
        _ if refused && phase != Phase::Body => Fault::StreamRefused,
        Phase::Connect => Fault::ConnectFailed,
        Phase::Body if error.is_library() => Fault::BodyMalformed,
        Phase::Body => Fault::BodyReset,
        Phase::AwaitHead if error.is_library() => Fault::ResponseMalformed,
        Phase::Send if error.is_library() => Fault::SendFailed,
        _ => Fault::Reset,
    };
    Failure::new(phase, fault).with_detail(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::Socket;
    use tokio::net::UnixStream;

    #[test]
    fn a_target_is_escaped_where_the_library_would_refuse_it_and_nowhere_else() {
        for character in ('!'..='~').filter(|character| *character != '#') {
            for prefix in ["/a", "/?a="] {
                let target = format!("{prefix}{character}b");
                let expected = match PathAndQuery::try_from(&*target) {
                    Ok(accepted) => accepted.to_string(),
                    Err(_) => format!("{prefix}%{:02X}b", character as u32),
                };
                assert_eq!(path_and_query(&target).unwrap(), expected, "{target}");
            }
        }
        assert_eq!(path_and_query("*").unwrap(), "*");
        assert_eq!(path_and_query("/`a?`=<\"x\">&%3c").unwrap(), "/%60a?`=%3C%22x%22%3E&%3c");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_connection_in_doubt_is_passed_over_and_given_up_with_its_last_exchange() {
        let test = async {
            let (ours, _theirs) = UnixStream::pair().unwrap();
            let limits = HeadLimits { head_bytes: 1 << 10, fields: 10, target_bytes: 0 };
            let io = Transport::Plain(Socket::Unix(ours));
            let mut connection = Http2Connection::handshake(io, &limits).await.unwrap();
            let now = Instant::now();
            let later = now + Duration::from_secs(60);
            let exchange = connection.open(later).unwrap();
            connection.shared.pulse.asked(now);
            assert!(connection.open(now).is_some() && connection.open(later).is_none());
            connection.shared.pulse.at_rest();
            assert!(connection.open(later).is_some());
            connection.shared.pulse.asked(now.checked_sub(Duration::from_secs(60)).unwrap());
            assert!(connection.is_open());
            drop(exchange);
            assert!(!connection.is_open());
        };
        tokio::task::LocalSet::new().run_until(test).await;
    }
}
