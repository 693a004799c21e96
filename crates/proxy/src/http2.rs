//! HTTP/2 towards clients: one connection, many exchanges at once, each in a task of its own.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::FutureExt;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{Request, Response, StatusCode};
use model::{Fault, Method, Phase};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use upstream::body::{Offer, Source};
use upstream::http2_stream::{Http2Incoming, Http2TransferFailure, fields_from, header_map, poll_transfer};
use upstream::io::Transport;
use wire::{Fields, Framing, Known, RequestError, RequestFacts, RequestHead, ResponseHead, Version};

use crate::answer::Answer;
use crate::client::{ClientFailure, DownloadFailure, Downstream, ResponseForm, TunnelEnd};
use crate::deadline::Deadline;
use crate::exchange::{self, Context, Finish, Stop};
use crate::forward::Peer;
use crate::listen::Listening;
use crate::worker::Worker;

/// What one stream, and one connection, may send before we have read.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// Held per stream while the client's window is closed.
const SEND_BUFFER_BYTES: usize = 64 << 10;

/// Serves one connection to its end. `input` are bytes that were read already.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    listening: Rc<Listening>,
    io: Transport,
    input: BytesMut,
    peer: Peer,
) {
    let limits = &listening.settings().limits;
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .max_concurrent_streams(limits.http2_streams)
        .max_header_list_size(u32::try_from(limits.head_bytes.0).unwrap_or(u32::MAX));
    let mut timer = Deadline::default();
    let deadline = Instant::now() + listening.settings().timeouts.client_head;
    let mut handshake = builder.handshake::<_, Bytes>(Rewind { input, io });
    let connection = std::future::poll_fn(|cx| {
        if let Poll::Ready(result) = Pin::new(&mut handshake).poll(cx) {
            return Poll::Ready(result.ok());
        }
        timer.poll(deadline, cx).map(|()| None)
    })
    .await;
    let Some(mut connection) = connection else { return };
    let peer = Rc::new(peer);
    let idle = worker.register_idle();
    let mut shutting_down = false;
    let mut idle_since = Instant::now();
    loop {
        let next = std::future::poll_fn(|cx| {
            if let Poll::Ready(next) = connection.poll_accept(cx) {
                return Poll::Ready(Some(next));
            }
            idle.wait(cx);
            if worker.is_draining() && !shutting_down {
                shutting_down = true;
                connection.graceful_shutdown();
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if connection.has_streams() {
                idle_since = Instant::now();
            }
            let until = idle_since + listening.settings().timeouts.keep_alive;
            timer.poll(until, cx).map(|()| None)
        })
        .await;
        match next {
            Some(Some(Ok((request, respond)))) => {
                let task = stream(worker.clone(), listening.clone(), peer.clone(), request, respond);
                tokio::task::spawn_local(task);
            }
            Some(Some(Err(_)) | None) => return,
            None if connection.has_streams() => idle_since = Instant::now(),
            None if shutting_down => return,
            None => {
                shutting_down = true;
                connection.graceful_shutdown();
                idle_since = Instant::now();
            }
        }
    }
}

/// One exchange.
async fn stream(
    worker: Rc<Worker>,
    listening: Rc<Listening>,
    peer: Rc<Peer>,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
) {
    let started = Instant::now();
    let _in_flight = worker.in_flight();
    let mut scratch = worker.lend_scratch();
    let serving = worker.serving();
    let ctx = Context { worker: &worker, serving: &serving, listening: &listening, peer: &peer, started };
    let mut record = worker.begin_record(ctx);
    let (parts, body) = request.into_parts();
    let read = read_head(&parts, &listening, &mut scratch.request);
    worker.fill_record(ctx, &scratch.request, &mut record);
    record.protocol = model::Protocol::Http2;
    let length = scratch.request.fields.get(Known::ContentLength).and_then(parse_length);
    let framing = match length {
        _ if body.is_end_stream() => Framing::None,
        Some(length) => Framing::Length(length),
        None => Framing::Chunked,
    };
    let mut client = Http2::new(body, respond);
    let finish = match read {
        Ok(()) => {
            let facts = RequestFacts { framing, keep_alive: true, expect_continue: false, upgrade: false };
            let run = exchange::run(ctx, &mut client, &mut scratch, &facts, &mut record);
            match AssertUnwindSafe(run).catch_unwind().await {
                Ok(finish) => finish,
                Err(_) => {
                    answer_alone(ctx, &mut client, &mut scratch.response, Fault::Internal, None, &mut record)
                        .await
                }
            }
        }
        Err(error) => {
            let detail = Some(error.rule().into());
            answer_alone(ctx, &mut client, &mut scratch.response, error.fault(), detail, &mut record).await
        }
    };
    client.close(finish);
    record.request_body_bytes = client.counts().0;
    worker.finish_record(record, started);
    worker.return_scratch(scratch);
}

async fn answer_alone(
    ctx: Context<'_>,
    client: &mut Http2,
    head: &mut ResponseHead,
    fault: Fault,
    detail: Option<Box<str>>,
    record: &mut model::Exchange,
) -> Finish {
    let phase = if fault == Fault::Internal { Phase::Policy } else { Phase::ReadRequest };
    let stop = Stop::Refused { answer: Answer::new(fault), phase, detail };
    let Some(answer) = exchange::close_record(stop, client.has_responded(), record) else {
        return Finish::Abort;
    };
    let body = answer.write(head, &Fields::new(), record.id, None);
    exchange::send_answer(ctx, client, head, body, false, record).await
}

/// From `h2`'s form to ours; what `h2` does not check is checked here.
fn read_head(
    parts: &http::request::Parts,
    listening: &Listening,
    head: &mut RequestHead,
) -> Result<(), RequestError> {
    let limits = listening.head_limits();
    head.clear();
    head.version = Version::Http2;
    head.method = Method::parse(parts.method.as_str().as_bytes()).map_err(|_| RequestError::MethodInvalid)?;
    if parts.headers.len() > limits.fields {
        return Err(RequestError::Line(wire::LineError::TooManyFields));
    }
    fields_from(&parts.headers, &mut head.fields);
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    if target.len() > limits.target_bytes {
        return Err(RequestError::TargetTooLong);
    }
    let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    head.set_target(target.as_bytes(), authority)?;
    if head.target.authority().is_empty() {
        return Err(RequestError::HostMissing);
    }
    join_cookies(&mut head.fields);
    Ok(())
}

/// RFC 9113 section 8.2.3: cookie crumbs are joined before they go to anything but HTTP/2.
fn join_cookies(fields: &mut Fields) {
    let crumbs: Vec<&[u8]> = fields.get_all(Known::Cookie).collect();
    if crumbs.len() > 1 {
        let joined = crumbs.join(&b"; "[..]);
        fields.set(Known::Cookie, &joined);
    }
}

fn parse_length(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// One stream as the client's side of an exchange.
#[derive(Debug)]
struct Http2 {
    incoming: Http2Incoming,
    respond: SendResponse<Bytes>,
    outgoing: Option<SendStream<Bytes>>,
    responded: bool,
    /// The response is only its head.
    headless: bool,
    sent: u64,
    body_max: Option<u64>,
}

impl Http2 {
    fn new(body: RecvStream, respond: SendResponse<Bytes>) -> Http2 {
        Http2 {
            incoming: Http2Incoming::new(body),
            respond,
            outgoing: None,
            responded: false,
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
        let offer = ready!(self.incoming.poll_piece(cx)).map_err(|error| {
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

    fn respond(&mut self, head: &mut ResponseHead, form: ResponseForm) {
        self.responded = true;
        match form.framing {
            Framing::Chunked | Framing::Close if !form.bodiless => {
                head.fields.remove(Known::ContentLength);
            }
            Framing::None if !form.bodiless => head.fields.set(Known::ContentLength, b"0"),
            Framing::Chunked | Framing::Close | Framing::None | Framing::Length(_) => {}
        }
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(head.status).unwrap_or(StatusCode::BAD_GATEWAY);
        *response.headers_mut() = header_map(&head.fields);
        self.headless = form.bodiless || form.framing == Framing::None;
        self.outgoing = self.respond.send_response(response, self.headless).ok();
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

/// A transport some of whose bytes were read already.
struct Rewind {
    input: BytesMut,
    io: Transport,
}

impl AsyncRead for Rewind {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        if this.input.is_empty() {
            return Pin::new(&mut this.io).poll_read(cx, buffer);
        }
        let n = this.input.len().min(buffer.remaining());
        buffer.put_slice(this.input.get(..n).unwrap_or_default());
        this.input.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rewind {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        data: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, data)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        data: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
