//! HTTP/2 towards clients: one connection, many exchanges at once, each in a task of its own.

mod transport;

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{Request, Response, StatusCode};
use model::gateway::ListenerLimits;
use model::{Ending, Fault, Method, Phase};
use upstream::body::{Offer, Source};
use upstream::http2_stream::{Http2Incoming, Http2TransferFailure, header_map, poll_transfer};
use upstream::io::Transport;
use wire::{Fields, Framing, Known, RequestError, RequestFacts, RequestHead, ResponseHead, Version};

use crate::client::{ClientFailure, DownloadFailure, Downstream, ResponseForm, TunnelEnd};
use crate::deadline::Deadline;
use crate::exchange::{self, Context, Finish};
use crate::forward::Peer;
use crate::intake::{self, Refusal};
use crate::listen::Listening;
use crate::worker::{Idle, TaskGuard, Worker};
use transport::{Offence, Watched};

/// A stream that the client has opened.
type Accepted = (Request<RecvStream>, SendResponse<Bytes>);

/// What one stream, and one connection, may send before we have read.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// Held per stream while the client's window is closed: what is left of the connection's memory for each stream, within
/// these bounds.
const SEND_BUFFER_BYTES_MIN: u64 = 4 << 10;
const SEND_BUFFER_BYTES_MAX: u64 = 64 << 10;
/// How long a connection that was told to calm down may take to hear it.
const FAREWELL: Duration = Duration::from_secs(1);

/// How much of a request body that nobody wanted is read before its stream is reset, and for how long.
const DISCARD_BYTES: u64 = 64 << 10;
const DISCARD_TIME: Duration = Duration::from_secs(1);

/// Serves one connection to its end. `input` are bytes that were read already.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    listening: Rc<Listening>,
    io: Transport,
    input: BytesMut,
    peer: Peer,
) {
    let io = Watched::new(input, io, listening.settings());
    let offence = io.offence();
    let mut timer = Deadline::default();
    let Some(library) = handshake(&listening, io, &mut timer).await else { return };
    let mut connection = Connection {
        library,
        offence,
        idle: worker.register_idle(listening.clone()),
        timer,
        shutting_down: false,
        calm_until: None,
        idle_since: Instant::now(),
        worker,
        listening,
        peer: Rc::new(peer),
    };
    while let Some((request, respond)) = poll_fn(|cx| connection.poll_stream(cx)).await {
        let Connection { worker, listening, peer, .. } = &connection;
        // Beyond the connection's end: an exchange may be finished for a client that has left.
        let counted = worker.count_task();
        // Boxed: a future is moved several times before its task begins, and this one is large.
        let task = stream(counted, worker.clone(), listening.clone(), peer.clone(), request, respond);
        tokio::task::spawn_local(Box::pin(task));
    }
}

/// What drives a connection beside its streams.
struct Connection {
    library: h2::server::Connection<Watched, Bytes>,
    /// What the client did wrong beneath the library.
    offence: Rc<Cell<Option<Offence>>>,
    idle: Idle,
    timer: Deadline,
    /// The client was told that no new streams are wanted.
    shutting_down: bool,
    /// Set once the client was told to calm down: it has until then to hear it.
    calm_until: Option<Instant>,
    /// When there was last a stream.
    idle_since: Instant,
    worker: Rc<Worker>,
    listening: Rc<Listening>,
    peer: Rc<Peer>,
}

impl Connection {
    /// The next stream; `None` at the end of the connection.
    fn poll_stream(&mut self, cx: &mut TaskContext<'_>) -> Poll<Option<Accepted>> {
        loop {
            match self.library.poll_accept(cx) {
                Poll::Ready(Some(Ok(accepted))) => return Poll::Ready(Some(accepted)),
                Poll::Ready(Some(Err(_)) | None) => {
                    if self.calm_until.is_none() {
                        self.record_offence();
                    }
                    return Poll::Ready(None);
                }
                Poll::Pending => {}
            }
            if let Some(until) = self.calm_until {
                return self.timer.poll(until, cx).map(|()| None);
            }
            if self.offence.get().is_some() {
                self.record_offence();
                self.library.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                self.calm_until = Some(Instant::now() + FAREWELL);
                continue;
            }
            self.idle.wait(cx);
            if self.worker.is_draining(&self.listening) && !self.shutting_down {
                self.shut_down();
                continue;
            }
            if self.library.has_streams() {
                self.idle_since = Instant::now();
            }
            ready!(self.timer.poll(self.idle_until(), cx));
            if self.shutting_down {
                return Poll::Ready(None);
            }
            self.shut_down();
        }
    }

    /// While draining, a stream that is already on its way is still answered.
    fn idle_until(&self) -> Instant {
        let until = self.idle_since + self.listening.settings().timeouts.keep_alive;
        match self.idle.until() {
            Some(drained) if !self.library.has_streams() => until.min(drained),
            _ => until,
        }
    }

    fn shut_down(&mut self) {
        self.shutting_down = true;
        self.idle_since = Instant::now();
        self.library.graceful_shutdown();
    }

    /// A client that went over a limit of its connection: no exchange of its own, but something an operator wants to see.
    fn record_offence(&self) {
        let Some(Offence { fault, limit }) = self.offence.get() else { return };
        let Connection { worker, listening, peer, .. } = self;
        let started = worker.clock.tick();
        let serving = worker.serving();
        let mut record = worker.begin_record(Context { worker, serving: &serving, listening, peer, started });
        record.protocol = model::Protocol::Http2;
        record.status = fault.status();
        let phase = if fault == Fault::ClientSendTimeout { Phase::Body } else { Phase::ReadRequest };
        record.ending = Ending::failed(phase, fault);
        record.detail = Some(exchange::limit_text(limit));
        worker.finish_record(record, started);
    }
}

/// The preface and settings of both sides; `None` if the client does not come to its end in time.
async fn handshake(
    listening: &Listening,
    io: Watched,
    timer: &mut Deadline,
) -> Option<h2::server::Connection<Watched, Bytes>> {
    let limits = &listening.settings().limits;
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buffer_size(send_buffer_bytes(limits))
        .max_concurrent_streams(limits.http2_streams)
        .max_header_list_size(u32::try_from(limits.head_bytes.0).unwrap_or(u32::MAX));
    let deadline = Instant::now() + listening.settings().timeouts.client_head;
    let mut handshake = builder.handshake::<_, Bytes>(io);
    poll_fn(|cx| {
        if let Poll::Ready(result) = Pin::new(&mut handshake).poll(cx) {
            return Poll::Ready(result.ok());
        }
        timer.poll(deadline, cx).map(|()| None)
    })
    .await
}

/// One exchange.
async fn stream(
    _counted: TaskGuard,
    worker: Rc<Worker>,
    listening: Rc<Listening>,
    peer: Rc<Peer>,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
) {
    let started = worker.clock.tick();
    let mut scratch = worker.lend_scratch();
    let serving = worker.serving();
    let ctx = Context { worker: &worker, serving: &serving, listening: &listening, peer: &peer, started };
    let (parts, body) = request.into_parts();
    let read = read_head(&parts, &listening, body.is_end_stream(), &mut scratch.request);
    let owes_continue =
        read.as_ref().is_ok_and(|facts| facts.expect_continue && facts.framing != Framing::None);
    let mut client = Http2::new(body, respond, owes_continue);
    let idle = worker.register_idle(listening.clone());
    let finish = intake::run(ctx, &idle, &mut client, &mut scratch, read.map_err(Refusal::from)).await;
    worker.return_scratch(scratch);
    if finish == Finish::Abort && client.responded {
        // A reset takes back what the library has not sent yet, and the record tells of a response. The connection's turn,
        // which was asked for with the head, comes first.
        tokio::task::yield_now().await;
    }
    if finish == Finish::Complete && !client.body_is_read() {
        // A stream that is reset after its response is an error to gRPC clients: the end of the request is usually near.
        exchange::discard_body(&mut client, Instant::now() + DISCARD_TIME, DISCARD_BYTES).await;
    }
    client.close(finish);
}

/// From `h2`'s form to ours; what `h2` does not check is checked here. On an error the head has no fields.
fn read_head(
    parts: &http::request::Parts,
    listening: &Listening,
    is_end: bool,
    head: &mut RequestHead,
) -> Result<RequestFacts, RequestError> {
    head.clear();
    head.version = Version::Http2;
    let mut facts = convert_head(parts, listening, head).inspect_err(|_| head.fields.clear())?;
    head.fields.join_cookies();
    facts.framing = match facts.framing {
        _ if is_end => Framing::None,
        Framing::Length(length) => Framing::Length(length),
        Framing::None | Framing::Chunked | Framing::Close => Framing::Chunked,
    };
    Ok(facts)
}

fn convert_head(
    parts: &http::request::Parts,
    listening: &Listening,
    head: &mut RequestHead,
) -> Result<RequestFacts, RequestError> {
    let limits = listening.head_limits();
    head.method = Method::parse(parts.method.as_str().as_bytes()).map_err(|_| RequestError::MethodInvalid)?;
    if parts.headers.len() > limits.fields {
        return Err(RequestError::Line(wire::LineError::TooManyFields));
    }
    for (name, value) in &parts.headers {
        let pushed = head.fields.push_checked(name.as_str().as_bytes(), value.as_bytes());
        pushed.map_err(RequestError::Line)?;
    }
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    if target.len() > limits.target_bytes {
        return Err(RequestError::TargetTooLong);
    }
    let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    head.set_target(target.as_bytes(), authority)?;
    wire::check_http2_request(head)
}

/// One stream as the client's side of an exchange.
#[derive(Debug)]
struct Http2 {
    incoming: Http2Incoming,
    respond: SendResponse<Bytes>,
    outgoing: Option<SendStream<Bytes>>,
    responded: bool,
    /// `100 Continue` is owed before the body is waited for.
    owes_continue: bool,
    /// The response is only its head.
    headless: bool,
    sent: u64,
    body_max: Option<u64>,
}

impl Http2 {
    fn new(body: RecvStream, respond: SendResponse<Bytes>, owes_continue: bool) -> Http2 {
        Http2 {
            incoming: Http2Incoming::new(body),
            respond,
            outgoing: None,
            responded: false,
            owes_continue,
            headless: false,
            sent: 0,
            body_max: None,
        }
    }

    /// Ends the stream. One that was not completed is reset, so that the client cannot take it for the whole.
    fn close(&mut self, finish: Finish) {
        match finish {
            Finish::Complete if self.incoming.is_end() => {}
            // RFC 9113 section 8.1: the response is complete, the rest of the request is not needed.
            Finish::Complete => self.reset(Reason::NO_ERROR),
            Finish::Abort | Finish::Tunneled => self.reset(Reason::INTERNAL_ERROR),
        }
    }

    fn reset(&mut self, reason: Reason) {
        match &mut self.outgoing {
            Some(outgoing) => outgoing.send_reset(reason),
            None => self.respond.send_reset(reason),
        }
    }
}

impl Source for Http2 {
    type Failure = ClientFailure;

    fn poll_piece(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<Offer, ClientFailure>> {
        let polled = self.incoming.poll_piece(cx);
        // A client that does not wait for permission needs none.
        if std::mem::take(&mut self.owes_continue) && polled.is_pending() && !self.responded {
            let mut response = Response::new(());
            *response.status_mut() = StatusCode::CONTINUE;
            let _ = self.respond.send_informational(response);
        }
        let offer = ready!(polled).map_err(|error| {
            if error.is_library() {
                let rule = "the stream breaks the rules of HTTP/2";
                ClientFailure::Malformed { fault: Fault::RequestMalformed, rule }
            } else {
                ClientFailure::Gone
            }
        })?;
        match self.body_max {
            Some(max) if self.incoming.total > max => Poll::Ready(Err(ClientFailure::TooLarge { max })),
            _ => Poll::Ready(Ok(offer)),
        }
    }

    fn piece(&self) -> &[u8] {
        self.incoming.piece()
    }

    fn consume(&mut self, n: usize) {
        self.incoming.consume(n);
    }

    fn take(&mut self, max: usize) -> Bytes {
        self.incoming.take(max)
    }

    fn trailers(&self) -> Option<&Fields> {
        self.incoming.trailers()
    }
}

impl Downstream for Http2 {
    fn limit_body(&mut self, max: Option<u64>) {
        self.body_max = max;
    }

    fn body_is_read(&self) -> bool {
        self.incoming.is_end()
    }

    fn inform(&mut self, head: &ResponseHead) {
        let mut response = Response::new(());
        if let Ok(status) = StatusCode::from_u16(head.status) {
            *response.status_mut() = status;
            *response.headers_mut() = header_map(&head.fields);
            // A client that is gone is found out by what follows.
            let _ = self.respond.send_informational(response);
        }
    }

    /// The library sends by itself.
    fn poll_informed(&mut self, _: &mut TaskContext<'_>) -> Result<(), ClientFailure> {
        Ok(())
    }

    fn respond(&mut self, head: &mut ResponseHead, form: ResponseForm) {
        self.responded = true;
        if matches!(form.framing, Framing::Chunked | Framing::Close) && !form.bodiless {
            head.fields.remove(Known::ContentLength);
        }
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(head.status).unwrap_or(StatusCode::BAD_GATEWAY);
        *response.headers_mut() = header_map(&head.fields);
        self.headless = form.bodiless || form.framing == Framing::None;
        self.outgoing = self.respond.send_response(response, self.headless).ok();
    }

    /// A head that was handed to the library is as good as sent.
    fn retract(&mut self) -> bool {
        false
    }

    fn has_responded(&self) -> bool {
        self.responded
    }

    fn poll_download<S: Source>(
        &mut self,
        source: &mut S,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Result<(), DownloadFailure<S::Failure>>> {
        let Some(outgoing) = &mut self.outgoing else {
            return Poll::Ready(Err(DownloadFailure::ClientGone));
        };
        if self.headless {
            loop {
                match ready!(source.poll_piece(cx)).map_err(DownloadFailure::Upstream)? {
                    Offer::Piece => source.consume(source.piece().len()),
                    Offer::End => return Poll::Ready(Ok(())),
                }
            }
        }
        let transfer = ready!(poll_transfer(outgoing, source, &mut self.sent, cx));
        Poll::Ready(transfer.map_err(|failure| match failure {
            Http2TransferFailure::Source(failure) => DownloadFailure::Upstream(failure),
            Http2TransferFailure::Sink(_) => DownloadFailure::ClientGone,
        }))
    }

    /// A stream and a connection end whatever of the body is still unread.
    fn shows_leaving(&self) -> bool {
        true
    }

    fn poll_gone(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        match &mut self.outgoing {
            Some(outgoing) => outgoing.poll_reset(cx).map(drop),
            None => self.respond.poll_reset(cx).map(drop),
        }
    }

    fn has_unsent(&self) -> bool {
        false
    }

    fn counts(&self) -> (u64, u64) {
        (self.incoming.total, self.sent)
    }

    fn tunnel_end(&mut self) -> Option<TunnelEnd<'_>> {
        None
    }
}

fn send_buffer_bytes(limits: &ListenerLimits) -> usize {
    let left = limits.http2_memory.0.saturating_sub(u64::from(CONNECTION_WINDOW_BYTES));
    let each = left / u64::from(limits.http2_streams.max(1));
    each.clamp(SEND_BUFFER_BYTES_MIN, SEND_BUFFER_BYTES_MAX) as usize
}
