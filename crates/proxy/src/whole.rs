//! A body that is already all there.

use std::convert::Infallible;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use upstream::body::{Offer, Source};
use wire::Fields;

#[derive(Debug)]
pub(crate) struct Whole(Bytes);

impl Whole {
    pub(crate) fn new(bytes: Bytes) -> Whole {
        Whole(bytes)
    }
}

impl Source for Whole {
    type Failure = Infallible;

    fn poll_piece(&mut self, _: &mut Context<'_>) -> Poll<Result<Offer, Infallible>> {
        Poll::Ready(Ok(if self.0.is_empty() { Offer::End } else { Offer::Piece }))
    }

    fn piece(&self) -> &[u8] {
        &self.0
    }

    fn consume(&mut self, n: usize) {
        self.0.advance(n);
    }

    fn take(&mut self, max: usize) -> Bytes {
        self.0.split_to(self.0.len().min(max))
    }

    fn trailers(&self) -> Option<&Fields> {
        None
    }
}
