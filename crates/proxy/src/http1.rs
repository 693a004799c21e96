//! HTTP/1.x towards clients: one connection, its requests one after another.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use model::Fault;
use tokio::io::AsyncWrite;
use upstream::body::{
    BodyFailure, Incoming, Offer, Outgoing, SinkFailure, Source, TransferFailure, poll_transfer,
};
use upstream::buffers;
use upstream::io::{Output, Transport};
use wire::http1::{Arrival, HeadLimits};
use wire::{Fields, Framing, Known, RequestError, RequestFacts, ResponseHead, Version};

use crate::client::{ClientFailure, DownloadFailure, Downstream, ResponseForm, TunnelEnd};
use crate::deadline::Deadline;
use crate::exchange::{self, Context, Finish, Scratch};
use crate::forward::Peer;
use crate::intake;
use crate::listen::Listening;
use crate::worker::{Idle, Worker};

/// A request body that nobody wanted is read to this size, to keep the connection; a larger one ends it.
const DISCARD_BYTES: u64 = 256 << 10;
/// How long a closing connection waits for the client to have read its last answer.
const LINGER: Duration = Duration::from_secs(2);
/// Read ahead of the current response: enough for pipelined requests, no more.
const READ_AHEAD_BYTES: usize = 16 << 10;

/// The connection.
#[derive(Debug)]
pub(crate) struct Http1 {
    io: Transport,
    input: BytesMut,
    output: Output,
    incoming: Incoming,
    outgoing: Outgoing,
    body_max: Option<u64>,
    version: Version,
    /// `100 Continue` is owed before the body is read.
    owes_continue: bool,
    responded: bool,
    /// Where the response begins in the output.
    response_begins: u64,
    /// Another request may follow the current one.
    keep: bool,
    gone: bool,
}

/// How long a connection without a request keeps the state of an active one.
const ACTIVE: Duration = Duration::from_millis(100);

/// Whether a request has begun to arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readable {
    Yes,
    /// The time is up.
    NotYet,
    /// The client has closed.
    Never,
}

/// What came after waiting for a request.
enum Next {
    Request(RequestFacts),
    /// The client is done, or its time is up before it sent anything.
    End,
    /// What it sent is not a request.
    Malformed(RequestError),
    HeadTimeout,
    /// The HTTP/2 preface: this connection is for somebody else.
    Http2,
}

/// Serves one connection to its end. `input` are bytes that were read already.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    listening: Rc<Listening>,
    io: Transport,
    input: BytesMut,
    peer: Peer,
) {
    let mut session = Session {
        idle: worker.register_idle(listening.clone()),
        connection: Http1::new(io, input),
        timer: Deadline::default(),
        served: 0,
        worker,
        listening,
        peer,
    };
    loop {
        let timeouts = &session.listening.settings().timeouts;
        let wait = if session.served == 0 { timeouts.client_head } else { timeouts.keep_alive };
        let deadline = session.worker.clock.tick() + wait;
        if session.wait_readable(deadline).await != Readable::Yes {
            return;
        }
        // The state of an exchange is large, and making it anew for each request costs time: it lives for as long as
        // requests follow closely, and an idle connection is small.
        match Box::pin(session.active()).await {
            After::Next => {}
            After::Close => return session.connection.linger(&mut session.timer).await,
            After::Drop => return,
            After::Http2 => {
                let Session { worker, listening, connection: Http1 { io, input, .. }, peer, .. } = session;
                return Box::pin(crate::http2::serve(worker, listening, io, input, peer)).await;
            }
        }
    }
}

/// A connection and what it is served with.
struct Session {
    worker: Rc<Worker>,
    listening: Rc<Listening>,
    connection: Http1,
    peer: Peer,
    idle: Idle,
    timer: Deadline,
    /// Requests so far.
    served: u64,
}

impl Session {
    async fn wait_readable(&mut self, deadline: Instant) -> Readable {
        self.connection.wait_readable(&self.worker, &self.idle, &mut self.timer, deadline).await
    }

    /// Serves requests for as long as each follows the one before within [`ACTIVE`].
    async fn active(&mut self) -> After {
        loop {
            self.served += 1;
            let after = self.one().await;
            let After::Next = after else { return after };
            self.connection.rest();
            let keep_alive = self.listening.settings().timeouts.keep_alive;
            match self.wait_readable(self.worker.clock.now() + ACTIVE.min(keep_alive)).await {
                Readable::Yes => {}
                Readable::NotYet => return After::Next,
                Readable::Never => return After::Drop,
            }
        }
    }

    /// Reads one request and runs its exchange.
    async fn one(&mut self) -> After {
        let mut scratch = self.worker.lend_scratch();
        let after = self.one_with(&mut scratch).await;
        self.worker.return_scratch(scratch);
        after
    }

    async fn one_with(&mut self, scratch: &mut Scratch) -> After {
        let Session { worker, listening, connection, peer, idle, timer, served } = self;
        let started = worker.clock.now();
        let settings = listening.settings();
        let limits = listening.head_limits();
        let deadline = started + settings.timeouts.client_head;
        let may_be_http2 = settings.http2 && !peer.tls && *served == 1;
        let next = connection.read_head(&limits, scratch, timer, deadline, may_be_http2).await;
        let serving = worker.serving();
        let ctx = Context { worker, serving: &serving, listening, peer, started };
        let read = match next {
            Next::End => return After::Drop,
            Next::Http2 => return After::Http2,
            Next::Request(facts) => {
                let is_last = *served >= settings.limits.requests_per_connection;
                connection.begin(&facts, scratch.request.version, !is_last);
                Ok(facts)
            }
            Next::Malformed(error) => Err(error.into()),
            Next::HeadTimeout => Err(Fault::ClientHeadTimeout.into()),
        };
        if read.is_err() {
            connection.begin_refused();
        }
        let finish = intake::run(ctx, idle, connection, scratch, read).await;
        settle(listening, connection, finish).await
    }
}

enum After {
    Next,
    Close,
    Drop,
    Http2,
}

/// Decides whether the connection can go on.
async fn settle(listening: &Listening, connection: &mut Http1, finish: Finish) -> After {
    match finish {
        Finish::Tunneled => After::Drop,
        Finish::Abort => {
            // A reset, not a clean end: the client must not take what it has for the whole.
            connection.io.socket().reset_on_close();
            After::Drop
        }
        Finish::Complete if connection.gone => After::Drop,
        Finish::Complete if connection.keep && !connection.body_is_read() => {
            if connection.owes_continue {
                // It may or may not send the body that it was never told to send.
                return After::Close;
            }
            let deadline = Instant::now() + listening.settings().timeouts.client_body_idle;
            connection.body_max = None;
            if exchange::discard_body(connection, deadline, DISCARD_BYTES).await {
                After::Next
            } else {
                After::Close
            }
        }
        Finish::Complete if connection.keep => After::Next,
        Finish::Complete => After::Close,
    }
}

impl Http1 {
    fn new(io: Transport, input: BytesMut) -> Http1 {
        Http1 {
            io,
            input,
            output: Output::default(),
            incoming: Incoming::new(Framing::None),
            outgoing: Outgoing::new(Framing::None),
            body_max: None,
            version: Version::Http11,
            owes_continue: false,
            responded: false,
            response_begins: 0,
            keep: true,
            gone: false,
        }
    }

    /// Between requests: holds no buffers.
    fn rest(&mut self) {
        if self.input.is_empty() {
            buffers::give_back(std::mem::take(&mut self.input));
        }
        self.output.reset();
    }

    /// Waits for the first byte of a request.
    async fn wait_readable(
        &mut self,
        worker: &Worker,
        idle: &Idle,
        timer: &mut Deadline,
        deadline: Instant,
    ) -> Readable {
        if !self.input.is_empty() {
            worker.clock.tick();
            return Readable::Yes;
        }
        poll_fn(|cx| {
            if self.input.capacity() == 0 {
                self.input = buffers::lend();
            }
            match self.io.poll_read_buf(cx, &mut self.input) {
                Poll::Ready(Ok(1..)) => {
                    worker.clock.tick();
                    return Poll::Ready(Readable::Yes);
                }
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Readable::Never),
                Poll::Pending => buffers::give_back(std::mem::take(&mut self.input)),
            }
            idle.wait(cx);
            // While draining, a request that is already on its way is still answered.
            let deadline = idle.until().map_or(deadline, |until| until.min(deadline));
            timer.poll(deadline, cx).map(|()| Readable::NotYet)
        })
        .await
    }

    async fn read_head(
        &mut self,
        limits: &HeadLimits,
        scratch: &mut Scratch,
        timer: &mut Deadline,
        deadline: Instant,
        may_be_http2: bool,
    ) -> Next {
        let mut arrival = Arrival::default();
        poll_fn(|cx| {
            loop {
                if may_be_http2 && self.input.starts_with(b"PRI ") {
                    let seen = self.input.len().min(wire::H2_PREFACE.len());
                    if self.input.get(..seen) == wire::H2_PREFACE.get(..seen) {
                        if seen == wire::H2_PREFACE.len() {
                            return Poll::Ready(Next::Http2);
                        }
                        match self.poll_more(cx) {
                            Poll::Ready(true) => continue,
                            Poll::Ready(false) => return Poll::Ready(Next::End),
                            Poll::Pending => return timer.poll(deadline, cx).map(|()| Next::End),
                        }
                    }
                }
                if arrival.is_due(&self.input, limits) {
                    match wire::parse_request(&self.input, limits, &mut scratch.request) {
                        Ok(Some((consumed, facts))) => {
                            bytes::Buf::advance(&mut self.input, consumed);
                            return Poll::Ready(Next::Request(facts));
                        }
                        Ok(None) => {}
                        Err(error) => return Poll::Ready(Next::Malformed(error)),
                    }
                }
                match self.poll_more(cx) {
                    Poll::Ready(true) => {}
                    Poll::Ready(false) => return Poll::Ready(Next::End),
                    Poll::Pending => return timer.poll(deadline, cx).map(|()| Next::HeadTimeout),
                }
            }
        })
        .await
    }

    /// Reads once; false at the end of the stream. Who waits with nothing read holds no buffer.
    fn poll_more(&mut self, cx: &mut TaskContext<'_>) -> Poll<bool> {
        if self.input.capacity() == 0 {
            self.input = buffers::lend();
        } else if self.input.len() == self.input.capacity() {
            self.input.reserve(buffers::READ_BYTES);
        }
        let read = self.io.poll_read_buf(cx, &mut self.input);
        if read.is_pending() && self.input.is_empty() {
            buffers::give_back(std::mem::take(&mut self.input));
        }
        read.map(|result| result.is_ok_and(|n| n > 0))
    }

    /// A request was read.
    fn begin(&mut self, facts: &RequestFacts, version: Version, may_keep: bool) {
        self.incoming = Incoming::new(facts.framing);
        self.outgoing = Outgoing::new(Framing::None);
        self.body_max = None;
        self.version = version;
        self.owes_continue = facts.expect_continue && facts.framing != Framing::None;
        self.responded = false;
        self.keep = facts.keep_alive && may_keep;
    }

    /// Something was read that is no request: what is known of the one before does not count for it.
    fn begin_refused(&mut self) {
        self.incoming = Incoming::new(Framing::None);
        self.outgoing = Outgoing::new(Framing::None);
        self.owes_continue = false;
        self.responded = false;
    }

    /// Closes so that the client can read its last answer: our side first, then what it still sends is read away for a
    /// while. A close with unread input would reset the connection and could take the answer with it.
    async fn linger(&mut self, timer: &mut Deadline) {
        let deadline = Instant::now() + LINGER;
        let mut shut = false;
        poll_fn(|cx| {
            if !shut {
                match Pin::new(&mut self.io).poll_shutdown(cx) {
                    Poll::Ready(Ok(())) => shut = true,
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Pending => return timer.poll(deadline, cx),
                }
            }
            loop {
                self.input.clear();
                match self.poll_more(cx) {
                    Poll::Ready(true) => {}
                    Poll::Ready(false) => return Poll::Ready(()),
                    Poll::Pending => return timer.poll(deadline, cx),
                }
            }
        })
        .await;
    }
}

impl Source for Http1 {
    type Failure = ClientFailure;

    fn poll_piece(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<Offer, ClientFailure>> {
        if self.owes_continue {
            self.owes_continue = false;
            if self.input.is_empty() && !self.responded {
                self.output.bytes().extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            }
        }
        if !self.responded
            && self.output.pending() > 0
            && self.output.poll_drain(&mut self.io, cx)?.is_pending()
        {
            return Poll::Pending;
        }
        let offer = ready!(self.incoming.poll_piece(&mut self.io, &mut self.input, cx));
        if let Some(max) = self.body_max
            && self.incoming.total > max
        {
            return Poll::Ready(Err(ClientFailure::TooLarge { max }));
        }
        Poll::Ready(offer.map_err(|failure| match failure {
            BodyFailure::Truncated | BodyFailure::Io(_) => {
                self.gone = true;
                ClientFailure::Gone
            }
            BodyFailure::Malformed(rule) => {
                self.keep = false;
                ClientFailure::Malformed { fault: Fault::RequestMalformed, rule }
            }
        }))
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

impl From<std::io::Error> for ClientFailure {
    fn from(_: std::io::Error) -> ClientFailure {
        ClientFailure::Gone
    }
}

impl Downstream for Http1 {
    fn limit_body(&mut self, max: Option<u64>) {
        self.body_max = max;
    }

    fn body_is_read(&self) -> bool {
        self.incoming.is_done()
    }

    fn inform(&mut self, head: &ResponseHead) {
        // HTTP/1.0 has no 1xx (RFC 9110 section 15.2).
        if self.version == Version::Http11 {
            let reason =
                if head.reason.is_empty() { wire::reason(head.status).as_bytes() } else { &head.reason };
            let output = self.output.bytes();
            wire::encode_response_head(output, Version::Http11, head.status, reason, &head.fields);
        }
    }

    fn poll_informed(&mut self, cx: &mut TaskContext<'_>) -> Result<(), ClientFailure> {
        if let Poll::Ready(Err(_)) = self.output.poll_drain(&mut self.io, cx) {
            self.gone = true;
            return Err(ClientFailure::Gone);
        }
        Ok(())
    }

    fn respond(&mut self, head: &mut ResponseHead, form: ResponseForm) {
        let framing = self.frame(head, form);
        self.outgoing = Outgoing::new(framing);
        self.responded = true;
        self.response_begins = self.output.position();
        self.keep &= framing != Framing::Close && !form.last;
        if head.status == 101 {
            self.keep = false;
        } else if !self.keep {
            head.fields.push_known(Known::Connection, b"close");
        } else if self.version == Version::Http10 {
            head.fields.push_known(Known::Connection, b"keep-alive");
        }
        let reason = if head.reason.is_empty() { wire::reason(head.status).as_bytes() } else { &head.reason };
        wire::encode_response_head(self.output.bytes(), Version::Http11, head.status, reason, &head.fields);
    }

    fn retract(&mut self) -> bool {
        let retracted = self.output.retract(self.response_begins);
        self.responded &= !retracted;
        retracted
    }

    fn has_responded(&self) -> bool {
        self.responded
    }

    fn end_after_answer(&mut self) {
        self.keep = false;
    }

    fn poll_download<S: Source>(
        &mut self,
        source: &mut S,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Result<(), DownloadFailure<S::Failure>>> {
        let transfer = poll_transfer(&mut self.io, &mut self.output, &mut self.outgoing, source, cx);
        Poll::Ready(ready!(transfer).map_err(|failure| match failure {
            TransferFailure::Source(failure) => DownloadFailure::Upstream(failure),
            TransferFailure::Sink(SinkFailure::Io(_)) => {
                self.gone = true;
                DownloadFailure::ClientGone
            }
            TransferFailure::Sink(SinkFailure::TooLong | SinkFailure::TooShort) => DownloadFailure::Length,
        }))
    }

    fn poll_gone(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        while self.input.len() < READ_AHEAD_BYTES {
            match self.poll_more(cx) {
                Poll::Ready(true) => {}
                Poll::Ready(false) => {
                    self.gone = true;
                    return Poll::Ready(());
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Pending
    }

    fn has_unsent(&self) -> bool {
        self.output.has_unsent()
    }

    fn counts(&self) -> (u64, u64) {
        (self.incoming.total, self.outgoing.total)
    }

    fn tunnel_end(&mut self) -> Option<TunnelEnd<'_>> {
        Some(TunnelEnd { io: &mut self.io, input: &mut self.input, output: &mut self.output })
    }
}

impl Http1 {
    /// How the response's end is told to this client; sets the fields that say so.
    fn frame(&self, head: &mut ResponseHead, form: ResponseForm) -> Framing {
        if form.bodiless || head.status == 101 {
            return Framing::None;
        }
        match form.framing {
            Framing::Length(length) => Framing::Length(length),
            Framing::None => {
                head.fields.set(Known::ContentLength, b"0");
                Framing::Length(0)
            }
            Framing::Chunked | Framing::Close if self.version == Version::Http10 => Framing::Close,
            Framing::Chunked | Framing::Close => {
                head.fields.remove(Known::ContentLength);
                head.fields.push_known(Known::TransferEncoding, b"chunked");
                Framing::Chunked
            }
        }
    }
}
