//! Message bodies on their way through: where they come from, and the HTTP/1 coding on both sides of Clearway.
//!
//! A body is never collected here. A source lends its next piece, a sink takes what it can, and what it cannot take
//! stays in the source: that is the backpressure, and the bound on memory.

use std::convert::Infallible;
use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use wire::body::{BodyDecoder, BodyError};
use wire::{Fields, Framing};

use crate::buffers::{self, READ_BYTES};
use crate::io::{Output, Transport};

/// The most that is read at once for a body that keeps filling its buffer.
const LARGE_READ_BYTES: usize = 128 << 10;
/// A chunk on its way out is at most this large, and no more is collected before it is written.
const CHUNK_BYTES: usize = 64 << 10;
/// Up to this size a piece joins what is pending: copying it is cheaper than a gathering write.
const SMALL_BYTES: usize = 4 << 10;

/// Why a body ended before its end.
#[derive(Debug)]
pub enum BodyFailure {
    /// The peer closed (FIN) although more was announced.
    Truncated,
    /// The peer reset, or the read failed.
    Io(io::Error),
    /// The chunked coding is broken; the rule that was.
    Malformed(&'static str),
}

/// What a source has to offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// A piece is there, not empty.
    Piece,
    /// The body is complete.
    End,
}

/// Where a body comes from.
pub trait Source {
    type Failure;

    /// Makes the next piece available; the same piece again until all of it is consumed.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Offer, Self::Failure>>;

    /// The piece that [`Source::poll_piece`] offered.
    fn piece(&self) -> &[u8];

    /// Drops the first `n` bytes of the piece.
    fn consume(&mut self, n: usize);

    /// Takes at most `max` bytes of the piece, without a copy where that is possible.
    fn take(&mut self, max: usize) -> Bytes;

    /// Trailers, after the end.
    fn trailers(&self) -> Option<&Fields>;
}

/// A body without a byte.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Empty;

impl Source for Empty {
    type Failure = Infallible;

    fn poll_piece(&mut self, _: &mut Context<'_>) -> Poll<Result<Offer, Infallible>> {
        Poll::Ready(Ok(Offer::End))
    }

    fn piece(&self) -> &[u8] {
        &[]
    }

    fn consume(&mut self, _: usize) {}

    fn take(&mut self, _: usize) -> Bytes {
        Bytes::new()
    }

    fn trailers(&self) -> Option<&Fields> {
        None
    }
}

/// The decoding side of an HTTP/1 body: works on a connection's transport and read buffer.
#[derive(Debug)]
pub struct Incoming {
    decoder: BodyDecoder,
    /// The piece is the front of the read buffer, this long ...
    piece: usize,
    /// ... followed by this much coding that goes with it.
    tail: usize,
    /// Body bytes offered so far, without coding.
    pub total: u64,
    /// Bytes read for the body, coding included, beyond what came with the head.
    pub read: u64,
}

impl Incoming {
    pub fn new(framing: Framing) -> Incoming {
        Incoming { decoder: BodyDecoder::new(framing), piece: 0, tail: 0, total: 0, read: 0 }
    }

    /// Whether the body has been decoded to its end (its last piece may still be unread).
    pub fn is_done(&self) -> bool {
        self.decoder.is_done() && self.piece == 0
    }

    pub fn trailers(&self) -> Option<&Fields> {
        Some(self.decoder.trailers()).filter(|trailers| !trailers.is_empty())
    }

    pub fn piece<'a>(&self, input: &'a BytesMut) -> &'a [u8] {
        input.get(..self.piece).unwrap_or_default()
    }

    pub fn consume(&mut self, input: &mut BytesMut, n: usize) {
        debug_assert!(n <= self.piece, "only what was offered can be consumed");
        input.advance(n);
        self.piece -= n;
        if self.piece == 0 {
            input.advance(std::mem::take(&mut self.tail));
        }
    }

    pub fn take(&mut self, input: &mut BytesMut, max: usize) -> Bytes {
        let n = self.piece.min(max);
        let taken = input.split_to(n).freeze();
        self.piece -= n;
        if self.piece == 0 {
            input.advance(std::mem::take(&mut self.tail));
        }
        taken
    }

    /// See [`Source::poll_piece`].
    pub fn poll_piece(
        &mut self,
        io: &mut Transport,
        input: &mut BytesMut,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Offer, BodyFailure>> {
        loop {
            if self.piece > 0 {
                return Poll::Ready(Ok(Offer::Piece));
            }
            if self.decoder.is_done() {
                return Poll::Ready(Ok(Offer::End));
            }
            if !input.is_empty() {
                self.decode(input).map_err(malformed)?;
                continue;
            }
            reserve_for_body(input);
            let Poll::Ready(read) = io.poll_read_buf(cx, input) else {
                // Who waits holds no buffer.
                buffers::give_back(std::mem::take(input));
                return Poll::Pending;
            };
            match read {
                Ok(0) => match self.decoder.on_eof() {
                    Ok(()) => {}
                    Err(_) => return Poll::Ready(Err(BodyFailure::Truncated)),
                },
                Ok(n) => self.read += n as u64,
                Err(error) => return Poll::Ready(Err(BodyFailure::Io(error))),
            }
        }
    }

    /// One step of the decoder over what was read: drops coding before the piece at once.
    fn decode(&mut self, input: &mut BytesMut) -> Result<(), BodyError> {
        let (before, piece, consumed) = {
            let step = self.decoder.decode(input)?;
            let before = if step.data.is_empty() {
                step.consumed
            } else {
                step.data.as_ptr() as usize - input.as_ptr() as usize
            };
            (before, step.data.len(), step.consumed)
        };
        input.advance(before);
        self.piece = piece;
        self.tail = consumed - before - piece;
        self.total += piece as u64;
        if piece == 0 {
            input.advance(std::mem::take(&mut self.tail));
        }
        Ok(())
    }
}

/// Room for the next read: a body that filled the last one gets more at once.
fn reserve_for_body(input: &mut BytesMut) {
    let capacity = input.capacity();
    if capacity == 0 {
        *input = buffers::lend();
    } else if !input.try_reclaim(READ_BYTES) || capacity < LARGE_READ_BYTES {
        input.reserve(if capacity >= READ_BYTES { LARGE_READ_BYTES } else { READ_BYTES });
    }
}

fn malformed(error: BodyError) -> BodyFailure {
    BodyFailure::Malformed(error.rule())
}

/// The encoding side of an HTTP/1 body.
#[derive(Debug)]
pub struct Outgoing {
    framing: Framing,
    /// What `Framing::Length` still owes.
    remaining: u64,
    finished: bool,
    with_trailers: bool,
    /// Body bytes taken so far, without coding.
    pub total: u64,
}

/// Why a sink could not take a piece.
#[derive(Debug)]
pub enum SinkFailure {
    Io(io::Error),
    /// The source offered more than the length that was announced for it.
    TooLong,
    /// The source ended before the length that was announced for it.
    TooShort,
}

impl Outgoing {
    pub fn new(framing: Framing) -> Outgoing {
        let remaining = if let Framing::Length(length) = framing { length } else { 0 };
        Outgoing { framing, remaining, finished: false, with_trailers: true, total: 0 }
    }

    /// Drops trailers instead of sending them.
    pub fn without_trailers(mut self) -> Outgoing {
        self.with_trailers = false;
        self
    }

    /// Takes some of the source's piece. Ready means that at least one byte was taken.
    pub fn poll_take(
        &mut self,
        io: &mut Transport,
        output: &mut Output,
        source: &mut impl Source,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SinkFailure>> {
        match self.framing {
            Framing::None => {
                // A response to HEAD: whatever its source may have is not for the client.
                let n = source.piece().len();
                source.consume(n);
                Poll::Ready(Ok(()))
            }
            Framing::Chunked => {
                if output.pending() >= CHUNK_BYTES {
                    ready!(output.poll_drain(io, cx)).map_err(SinkFailure::Io)?;
                }
                let piece = source.piece();
                let piece = piece.get(..CHUNK_BYTES).unwrap_or(piece);
                let n = piece.len();
                wire::encode::chunk_head(output.bytes(), n);
                output.bytes().extend_from_slice(piece);
                output.bytes().extend_from_slice(wire::encode::CHUNK_END);
                self.took(source, n);
                Poll::Ready(Ok(()))
            }
            Framing::Length(_) if self.remaining < source.piece().len() as u64 => {
                Poll::Ready(Err(SinkFailure::TooLong))
            }
            Framing::Length(_) | Framing::Close => {
                let piece = source.piece();
                if piece.len() <= SMALL_BYTES && output.pending() <= SMALL_BYTES {
                    output.bytes().extend_from_slice(piece);
                    let n = piece.len();
                    self.took(source, n);
                    return Poll::Ready(Ok(()));
                }
                let n = ready!(output.poll_write_through(io, cx, piece)).map_err(SinkFailure::Io)?;
                self.took(source, n);
                Poll::Ready(Ok(()))
            }
        }
    }

    fn took(&mut self, source: &mut impl Source, n: usize) {
        source.consume(n);
        self.total += n as u64;
        self.remaining = self.remaining.saturating_sub(n as u64);
    }

    /// Writes the end of the body into the output; once.
    pub fn finish(&mut self, output: &mut Output, trailers: Option<&Fields>) -> Result<(), SinkFailure> {
        if std::mem::replace(&mut self.finished, true) {
            return Ok(());
        }
        match self.framing {
            Framing::Chunked => {
                wire::encode::last_chunk(output.bytes(), trailers.filter(|_| self.with_trailers));
            }
            Framing::Length(_) if self.remaining > 0 => return Err(SinkFailure::TooShort),
            Framing::Length(_) | Framing::Close | Framing::None => {}
        }
        Ok(())
    }
}

/// Why a body did not get across.
#[derive(Debug)]
pub enum TransferFailure<F> {
    Source(F),
    Sink(SinkFailure),
}

/// Moves a body from its source into an HTTP/1 message until both are at their end and everything has left this
/// process. When the source has nothing for now, what was collected is written at once: a stream is never held back.
pub fn poll_transfer<S: Source>(
    io: &mut Transport,
    output: &mut Output,
    outgoing: &mut Outgoing,
    source: &mut S,
    cx: &mut Context<'_>,
) -> Poll<Result<(), TransferFailure<S::Failure>>> {
    loop {
        match source.poll_piece(cx) {
            Poll::Ready(Ok(Offer::Piece)) => {
                ready!(outgoing.poll_take(io, output, source, cx)).map_err(TransferFailure::Sink)?;
            }
            Poll::Ready(Ok(Offer::End)) => {
                outgoing.finish(output, source.trailers()).map_err(TransferFailure::Sink)?;
                let drained = ready!(output.poll_drain(io, cx));
                return Poll::Ready(drained.map_err(|error| TransferFailure::Sink(SinkFailure::Io(error))));
            }
            Poll::Ready(Err(failure)) => return Poll::Ready(Err(TransferFailure::Source(failure))),
            Poll::Pending => {
                return match output.poll_drain(io, cx) {
                    Poll::Ready(Err(error)) => {
                        Poll::Ready(Err(TransferFailure::Sink(SinkFailure::Io(error))))
                    }
                    Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
                };
            }
        }
    }
}
