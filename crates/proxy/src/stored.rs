//! A request body of which something was read before: that comes first, and then what its client still sends.

use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use upstream::body::{Offer, Source};
use wire::Fields;

use crate::client::{ClientFailure, Downstream};
use crate::collect::Collected;
use crate::spool::{SpoolFile, SpoolReader};

/// Where sending a collected body stands.
#[derive(Debug)]
pub(crate) struct Stored {
    file: Option<SpoolReader>,
    /// The piece that was read from the file.
    piece: Bytes,
    /// What follows the file.
    rest: Bytes,
    /// Then it is the client's turn.
    whole: bool,
}

/// Why a collected body could not be sent to its end.
#[derive(Debug)]
pub(crate) enum StoredFailure {
    Client(ClientFailure),
    Disk(std::io::Error),
}

impl Stored {
    pub(crate) fn new(collected: &Collected) -> Stored {
        Stored {
            file: collected.file().map(SpoolFile::reader),
            piece: Bytes::new(),
            rest: collected.bytes().clone(),
            whole: collected.is_whole(),
        }
    }

    /// The body as a source.
    pub(crate) fn before<'a, D>(&'a mut self, client: &'a mut D) -> Chain<'a, D> {
        Chain { stored: self, client }
    }

    /// Whether it is the disk that is waited for.
    pub(crate) fn is_reading(&self) -> bool {
        self.file.as_ref().is_some_and(SpoolReader::is_reading)
    }

    /// The piece at hand; `None` where it is the client's.
    pub(crate) fn piece(&self) -> Option<&[u8]> {
        if !self.piece.is_empty() {
            return Some(&self.piece);
        }
        if self.file.is_some() {
            return Some(&[]);
        }
        (self.whole || !self.rest.is_empty()).then_some(&*self.rest)
    }

    fn at_hand(&mut self) -> Option<&mut Bytes> {
        if !self.piece.is_empty() {
            return Some(&mut self.piece);
        }
        (self.whole || !self.rest.is_empty()).then_some(&mut self.rest)
    }
}

/// What was collected, and then the client.
pub(crate) struct Chain<'a, D> {
    stored: &'a mut Stored,
    client: &'a mut D,
}

impl<D: Downstream> Source for Chain<'_, D> {
    type Failure = StoredFailure;

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Offer, StoredFailure>> {
        let stored = &mut *self.stored;
        if stored.piece.is_empty()
            && let Some(file) = &mut stored.file
        {
            stored.piece = Bytes::from(ready!(file.poll_next(cx)).map_err(StoredFailure::Disk)?);
            if stored.piece.is_empty() {
                stored.file = None;
            }
        }
        if !stored.piece.is_empty() || !stored.rest.is_empty() {
            return Poll::Ready(Ok(Offer::Piece));
        }
        if stored.whole {
            return Poll::Ready(Ok(Offer::End));
        }
        self.client.poll_piece(cx).map_err(StoredFailure::Client)
    }

    fn piece(&self) -> &[u8] {
        self.stored.piece().unwrap_or_else(|| self.client.piece())
    }

    fn consume(&mut self, n: usize) {
        match self.stored.at_hand() {
            Some(bytes) => bytes.advance(n),
            None => self.client.consume(n),
        }
    }

    fn take(&mut self, max: usize) -> Bytes {
        match self.stored.at_hand() {
            Some(bytes) => bytes.split_to(bytes.len().min(max)),
            None => self.client.take(max),
        }
    }

    fn trailers(&self) -> Option<&Fields> {
        self.client.trailers()
    }
}
