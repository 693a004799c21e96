//! The end of a small response, read from its target although its client does not take it: a slow client keeps no worker of
//! the target waiting.
//!
//! It is begun only when a client takes nothing for now; what goes on at once goes without a copy. Only for HTTP/1.1 and
//! uwsgi, where a connection serves one exchange at a time. Longer responses and event streams keep their backpressure.

use std::convert::Infallible;
use std::task::{Context as TaskContext, Poll};

use bytes::{Buf, Bytes, BytesMut};
use upstream::body::{Offer, Source};
use upstream::{Connection, Failure};
use wire::{Fields, Framing, Known, ResponseHead};

use crate::collect::Charge;
use crate::exchange::Context;

/// Held per response: a page, a document, an image. Counted with the request bodies that are held by a worker.
const AHEAD_BYTES: usize = 64 << 10;
/// A response that does not tell its length is not taken for a small one after so much of it: what is read ahead is copied.
const SMALL_BYTES: u64 = 1 << 20;

/// What was read ahead of the client.
#[derive(Debug)]
pub(crate) struct Ahead {
    bytes: BytesMut,
    /// After the end, which the target has reached.
    trailers: Option<Fields>,
    _charge: Charge,
}

/// Whether the target's part is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    All,
    /// There is more to come, or to wait for room.
    Some,
}

/// Whether a response of which the client has taken so much may end within what can be held.
pub(crate) fn is_small(head: &ResponseHead, framing: Framing, connection: &Connection, taken: u64) -> bool {
    if !matches!(connection, Connection::Http1(_)) {
        return false;
    }
    match framing {
        Framing::None => false,
        Framing::Length(length) => length.saturating_sub(taken) <= AHEAD_BYTES as u64,
        Framing::Chunked | Framing::Close => taken <= SMALL_BYTES && !is_event_stream(head),
    }
}

fn is_event_stream(head: &ResponseHead) -> bool {
    const KIND: &[u8] = b"text/event-stream";
    let kind = head.fields.get(Known::ContentType).unwrap_or_default();
    kind.get(..KIND.len()).is_some_and(|start| start.eq_ignore_ascii_case(KIND))
}

impl Ahead {
    fn new(ctx: Context<'_>) -> Option<Box<Ahead>> {
        let mut charge = Charge::new(ctx);
        let has_room = charge.add(AHEAD_BYTES);
        has_room.then(|| Box::new(Ahead { bytes: BytesMut::new(), trailers: None, _charge: charge }))
    }

    /// Reads on, as far as there is something and room for it.
    pub(crate) fn read(
        ahead: &mut Option<Box<Ahead>>,
        ctx: Context<'_>,
        connection: &mut Connection,
        cx: &mut TaskContext<'_>,
    ) -> Result<Read, Failure> {
        while let Poll::Ready(offer) = connection.poll_piece(cx) {
            let offer = offer?;
            if ahead.is_none() {
                *ahead = Ahead::new(ctx);
            }
            let Some(ahead) = ahead else { break };
            match offer {
                Offer::Piece => {
                    let piece = connection.piece();
                    let n = piece.len().min(AHEAD_BYTES.saturating_sub(ahead.bytes.len()));
                    if n == 0 {
                        break;
                    }
                    ahead.bytes.extend_from_slice(piece.get(..n).unwrap_or_default());
                    connection.consume(n);
                }
                Offer::End => {
                    ahead.trailers = connection.trailers().cloned();
                    return Ok(Read::All);
                }
            }
        }
        Ok(Read::Some)
    }

    /// The client has caught up.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// This, and then what the connection still gives.
    pub(crate) fn before<'a>(&'a mut self, connection: &'a mut Connection) -> Chain<'a> {
        Chain { ahead: self, connection }
    }
}

/// All of the rest.
impl Source for Ahead {
    type Failure = Infallible;

    fn poll_piece(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<Offer, Infallible>> {
        Poll::Ready(Ok(if self.bytes.is_empty() { Offer::End } else { Offer::Piece }))
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
        self.trailers.as_ref()
    }
}

/// What was read ahead, and then the connection.
pub(crate) struct Chain<'a> {
    ahead: &'a mut Ahead,
    connection: &'a mut Connection,
}

impl Source for Chain<'_> {
    type Failure = Failure;

    fn poll_piece(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<Offer, Failure>> {
        if self.ahead.is_empty() { self.connection.poll_piece(cx) } else { Poll::Ready(Ok(Offer::Piece)) }
    }

    fn piece(&self) -> &[u8] {
        if self.ahead.is_empty() { self.connection.piece() } else { self.ahead.piece() }
    }

    fn consume(&mut self, n: usize) {
        if self.ahead.is_empty() { self.connection.consume(n) } else { self.ahead.consume(n) }
    }

    fn take(&mut self, max: usize) -> Bytes {
        if self.ahead.is_empty() { self.connection.take(max) } else { self.ahead.take(max) }
    }

    fn trailers(&self) -> Option<&Fields> {
        self.connection.trailers()
    }
}
