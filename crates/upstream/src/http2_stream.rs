//! HTTP/2 messages of both sides: bodies over `h2` streams, and heads between `wire` and `http`.
//!
//! `http::HeaderMap` lives only here and where `h2` is driven. Flow-control credit is given back as the sink consumes,
//! so that a slow reader slows its writer.

use std::cell::Cell;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue};
use wire::Fields;

use crate::body::{Offer, Source};

/// One DATA frame's worth handed to `h2` at a time; it holds what the peer's window does not take.
const DATA_BYTES: usize = 64 << 10;

/// The receiving side of a stream.
#[derive(Debug)]
pub struct Http2Incoming {
    stream: RecvStream,
    piece: Bytes,
    trailers: Fields,
    /// The end was read, or seen to have come. Noted, because the library forgets it at the end of the connection.
    ended: Cell<bool>,
    /// Body bytes offered so far.
    pub total: u64,
}

impl Http2Incoming {
    pub fn new(stream: RecvStream) -> Http2Incoming {
        let ended = Cell::new(stream.is_end_stream());
        Http2Incoming { stream, piece: Bytes::new(), trailers: Fields::default(), ended, total: 0 }
    }

    /// Whether the message has no body, or it was read to its end.
    pub fn is_end(&self) -> bool {
        if !self.ended.get() && self.piece.is_empty() && self.stream.is_end_stream() {
            self.ended.set(true);
        }
        self.ended.get()
    }
}

impl Source for Http2Incoming {
    type Failure = h2::Error;

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Offer, h2::Error>> {
        loop {
            if !self.piece.is_empty() {
                return Poll::Ready(Ok(Offer::Piece));
            }
            if self.ended.get() {
                return Poll::Ready(Ok(Offer::End));
            }
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(piece)) => {
                    self.total += piece.len() as u64;
                    self.piece = piece;
                }
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => {
                    if let Some(trailers) = ready!(self.stream.poll_trailers(cx))? {
                        fields_from(&trailers, &mut self.trailers);
                        wire::filter_trailers(&mut self.trailers);
                    }
                    self.ended.set(true);
                }
            }
        }
    }

    fn piece(&self) -> &[u8] {
        &self.piece
    }

    fn consume(&mut self, n: usize) {
        self.piece.advance(n);
        // Fails only when the stream is gone, and then the next read says so.
        let _ = self.stream.flow_control().release_capacity(n);
    }

    fn take(&mut self, max: usize) -> Bytes {
        let taken = self.piece.split_to(self.piece.len().min(max));
        let _ = self.stream.flow_control().release_capacity(taken.len());
        taken
    }

    fn trailers(&self) -> Option<&Fields> {
        Some(&self.trailers).filter(|trailers| !trailers.is_empty())
    }
}

/// Why a body did not get across.
#[derive(Debug)]
pub enum Http2TransferFailure<F> {
    Source(F),
    /// The peer reset the stream, or the connection failed.
    Sink(h2::Error),
}

/// Moves a body from its source into a stream, end and trailers included. `total` counts what was taken.
pub fn poll_transfer<S: Source>(
    stream: &mut SendStream<Bytes>,
    source: &mut S,
    total: &mut u64,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Http2TransferFailure<S::Failure>>> {
    loop {
        match source.poll_piece(cx) {
            Poll::Ready(Ok(Offer::Piece)) => {
                let wanted = source.piece().len().min(DATA_BYTES);
                stream.reserve_capacity(wanted);
                while stream.capacity() == 0 {
                    match ready!(stream.poll_capacity(cx)) {
                        Some(Ok(_)) => {}
                        Some(Err(error)) => return Poll::Ready(Err(Http2TransferFailure::Sink(error))),
                        None => return Poll::Ready(Err(Http2TransferFailure::Sink(Reason::CANCEL.into()))),
                    }
                }
                let data = source.take(wanted.min(stream.capacity()));
                *total += data.len() as u64;
                stream.send_data(data, false).map_err(Http2TransferFailure::Sink)?;
            }
            Poll::Ready(Ok(Offer::End)) => {
                let sent = match source.trailers() {
                    Some(trailers) => stream.send_trailers(header_map(trailers)),
                    None => stream.send_data(Bytes::new(), true),
                };
                return Poll::Ready(sent.map_err(Http2TransferFailure::Sink));
            }
            Poll::Ready(Err(failure)) => return Poll::Ready(Err(Http2TransferFailure::Source(failure))),
            Poll::Pending => {
                return match stream.poll_reset(cx) {
                    Poll::Ready(Ok(reason)) => Poll::Ready(Err(Http2TransferFailure::Sink(reason.into()))),
                    Poll::Ready(Err(error)) => Poll::Ready(Err(Http2TransferFailure::Sink(error))),
                    Poll::Pending => Poll::Pending,
                };
            }
        }
    }
}

/// Appends all fields of a header map.
pub fn fields_from(map: &HeaderMap, fields: &mut Fields) {
    for (name, value) in map {
        // What the field grammar of RFC 9110 section 5.5 does not allow is not passed on.
        let _ = fields.push_checked(name.as_str().as_bytes(), value.as_bytes());
    }
}

/// The fields as a header map: names in lower case; those HTTP/2 has no place for (RFC 9113 section 8.2.2) are to be
/// removed before.
pub fn header_map(fields: &Fields) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(fields.len());
    for field in fields.iter() {
        let name = HeaderName::from_bytes(field.name);
        let value = HeaderValue::from_bytes(field.value);
        if let (Ok(name), Ok(value)) = (name, value) {
            map.append(name, value);
        }
    }
    map
}
