//! The client of a call, as attempts see it: kept alive while models think, and told what there is when there is something.
//!
//! A model may be silent for minutes before its first word, and hops on the way close what is silent. After a while the answer begins
//! with bytes that carry no content, so that another lane can still answer.

use std::convert::Infallible;
use std::future::poll_fn;
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use ai::Protocol;
use ai::protocol::{Speak, Told};
use bytes::{Buf, Bytes, BytesMut};
use upstream::body::{Offer, Source};
use wire::{Fields, Framing, Known, ResponseHead};

use crate::client::{ClientFailure, DownloadFailure, Downstream, ResponseForm, TunnelEnd};
use crate::deadline::Deadline;
use crate::exchange::{Context, Finish, Stop};
use model::Phase;

/// So long nothing is sent before the answer begins without content, and between such bytes.
const SILENCE: Duration = Duration::from_secs(15);
/// More than this is not held for a client that does not take it.
pub(super) const OUT_BYTES: usize = 64 << 10;

/// Bytes on their way to the client.
#[derive(Debug, Default)]
pub(super) struct Outlet {
    bytes: BytesMut,
    is_ended: bool,
}

impl Source for Outlet {
    type Failure = Infallible;

    fn poll_piece(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<Offer, Infallible>> {
        match (self.bytes.is_empty(), self.is_ended) {
            (false, _) => Poll::Ready(Ok(Offer::Piece)),
            (true, true) => Poll::Ready(Ok(Offer::End)),
            // Whoever fills it polls again.
            (true, false) => Poll::Pending,
        }
    }

    fn piece(&self) -> &[u8] {
        &self.bytes
    }

    fn consume(&mut self, n: usize) {
        self.bytes.advance(n);
    }

    fn take(&mut self, max: usize) -> Bytes {
        self.bytes.split_to(self.bytes.len().min(max)).freeze()
    }

    fn trailers(&self) -> Option<&Fields> {
        None
    }
}

/// A client that is kept alive.
pub(super) struct Bridge<'a, D> {
    pub(super) client: &'a mut D,
    /// The protocol of its stream; `None` if it asked for none.
    stream: Option<Protocol>,
    head: ResponseHead,
    pub(super) outlet: Outlet,
    has_begun: bool,
    has_content: bool,
    silent_since: Instant,
    timer: Deadline,
}

impl<'a, D: Downstream> Bridge<'a, D> {
    pub(super) fn new(
        ctx: Context<'_>,
        client: &'a mut D,
        stream: Option<Protocol>,
        id: &[u8],
    ) -> Bridge<'a, D> {
        let mut head = ResponseHead { status: 200, ..ResponseHead::default() };
        if let Some(protocol) = stream {
            head.fields.push_known(Known::ContentType, protocol.stream_media_type().as_bytes());
            head.fields.push_known(Known::CacheControl, b"no-cache");
            head.fields.push_known(Known::XRequestId, id);
            ctx.worker.clock.date(&mut head.fields);
        }
        Bridge {
            client,
            stream,
            head,
            outlet: Outlet::default(),
            has_begun: false,
            has_content: false,
            silent_since: ctx.worker.clock.now(),
            timer: Deadline::default(),
        }
    }

    /// Whether the client has the head of an answer.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Whether no other lane can answer any more.
    pub(super) fn has_content(&self) -> bool {
        self.has_content
    }

    /// Begins the answer, with these fields as well, if that has not happened.
    pub(super) fn begin(&mut self, ctx: Context<'_>, fields: &Fields) {
        if !std::mem::replace(&mut self.has_begun, true) {
            self.head.fields.append(fields);
            let last = ctx.worker.is_draining(ctx.listening);
            self.client
                .respond(&mut self.head, ResponseForm { framing: Framing::Chunked, bodiless: false, last });
        }
    }

    /// The next bytes have content.
    pub(super) fn commit(&mut self) {
        self.has_content = true;
    }

    pub(super) fn push(&mut self, bytes: &[u8], now: Instant) {
        self.outlet.bytes.extend_from_slice(bytes);
        self.silent_since = now;
    }

    pub(super) fn is_full(&self) -> bool {
        self.outlet.bytes.len() >= OUT_BYTES
    }

    pub(super) fn end(&mut self) {
        self.outlet.is_ended = true;
    }

    /// Sends what there is; ready when all of an answer that is over has left.
    pub(super) fn poll_send(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), ClientFailure>> {
        self.client.poll_download(&mut self.outlet, cx).map_err(|failure| match failure {
            DownloadFailure::Upstream(never) => match never {},
            DownloadFailure::Length | DownloadFailure::ClientGone => ClientFailure::Gone,
        })
    }

    /// Sends bytes without content when the client has heard nothing for long.
    pub(super) fn poll_keep_alive(&mut self, cx: &mut TaskContext<'_>) {
        let Some(protocol) = self.stream else { return };
        if self.timer.poll(self.silent_since + SILENCE, cx).is_pending() {
            return;
        }
        if !std::mem::replace(&mut self.has_begun, true) {
            self.client.respond(
                &mut self.head,
                ResponseForm { framing: Framing::Chunked, bodiless: false, last: false },
            );
        }
        let mut bytes = Vec::new();
        protocol.keep_alive(&mut bytes);
        self.push(&bytes, Instant::now());
        // Armed again for the next time.
        let _ = self.timer.poll(self.silent_since + SILENCE, cx);
    }

    /// Waits until this time; a client that leaves meanwhile leaves.
    pub(super) async fn wait(&mut self, until: Instant) -> Result<(), Stop> {
        let mut timer = Deadline::default();
        poll_fn(|cx| {
            if self.poll_gone(cx).is_ready() {
                return Poll::Ready(Err(Stop::Client { failure: ClientFailure::Gone, phase: Phase::Queue }));
            }
            timer.poll(until, cx).map(Ok)
        })
        .await
    }

    /// Ends an answer that has begun with an error in the client's own dialect, and never as if it were whole.
    pub(super) async fn break_off(&mut self, ctx: Context<'_>, told: &Told<'_>) -> Finish {
        if let Some(protocol) = self.stream {
            let mut bytes = Vec::new();
            protocol.error_event(told, &mut bytes);
            self.push(&bytes, Instant::now());
        }
        self.end();
        let deadline = Instant::now() + ctx.listening.settings().timeouts.client_send;
        let mut timer = Deadline::default();
        let sent = poll_fn(|cx| {
            if let Poll::Ready(sent) = self.poll_send(cx) {
                return Poll::Ready(sent.is_ok());
            }
            timer.poll(deadline, cx).map(|()| false)
        })
        .await;
        self.client.end_after_answer();
        if sent { Finish::Complete } else { Finish::Abort }
    }
}

impl<D: Downstream> Source for Bridge<'_, D> {
    type Failure = ClientFailure;

    fn poll_piece(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<Offer, ClientFailure>> {
        self.client.poll_piece(cx)
    }

    fn piece(&self) -> &[u8] {
        self.client.piece()
    }

    fn consume(&mut self, n: usize) {
        self.client.consume(n);
    }

    fn take(&mut self, max: usize) -> Bytes {
        self.client.take(max)
    }

    fn trailers(&self) -> Option<&Fields> {
        self.client.trailers()
    }
}

impl<D: Downstream> Downstream for Bridge<'_, D> {
    fn limit_body(&mut self, max: Option<u64>) {
        self.client.limit_body(max);
    }

    fn body_is_read(&self) -> bool {
        self.client.body_is_read()
    }

    /// What a provider says before its answer is not for the client.
    fn inform(&mut self, _: &ResponseHead) {}

    fn poll_informed(&mut self, cx: &mut TaskContext<'_>) -> Result<(), ClientFailure> {
        self.client.poll_informed(cx)
    }

    fn respond(&mut self, head: &mut ResponseHead, form: ResponseForm) {
        self.client.respond(head, form);
    }

    fn end_after_answer(&mut self) {
        self.client.end_after_answer();
    }

    fn retract(&mut self) -> bool {
        self.client.retract()
    }

    fn has_responded(&self) -> bool {
        self.client.has_responded()
    }

    fn poll_download<S: Source>(
        &mut self,
        source: &mut S,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Result<(), DownloadFailure<S::Failure>>> {
        self.client.poll_download(source, cx)
    }

    fn shows_leaving(&self) -> bool {
        self.client.shows_leaving()
    }

    /// Asked at each turn of a wait, so that this is where the client is kept alive.
    fn poll_gone(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        self.poll_keep_alive(cx);
        if self.has_begun
            && let Poll::Ready(Err(_)) = self.poll_send(cx)
        {
            return Poll::Ready(());
        }
        self.client.poll_gone(cx)
    }

    fn has_unsent(&self) -> bool {
        self.client.has_unsent()
    }

    fn counts(&self) -> (u64, u64) {
        self.client.counts()
    }

    /// AI calls have no upgrades.
    fn tunnel_end(&mut self) -> Option<TunnelEnd<'_>> {
        None
    }
}
