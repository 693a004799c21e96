//! What is heard from the target on an HTTP/2 connection, beneath the library: when last, and how it ended.
//!
//! The library keeps both to itself: it calls a clean end a broken pipe, and waits for a silent peer without end.
//! What follows from it is decided in [`crate::http2`].

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::io::Transport;

/// How long a request may wait on a connection that says nothing at all before other requests are kept away from it.
/// A path that has lost its state swallows everything, and the time limits for answers are far longer; the price for a
/// target that is merely slow is one more connection.
const DOUBT_AFTER: Duration = Duration::from_secs(5);

/// What was heard on one connection.
#[derive(Debug)]
pub(crate) struct Pulse {
    heard: Cell<Instant>,
    /// When the first request was sent that nothing at all was heard after.
    unanswered_since: Cell<Option<Instant>>,
    end: Cell<Option<End>>,
}

/// How the connection ended, as far as the target is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Fin,
    Failed { errno: Option<i32> },
}

/// A transport that is watched.
#[derive(Debug)]
pub(crate) struct Watched {
    io: Transport,
    pulse: Rc<Pulse>,
}

impl Pulse {
    pub(crate) fn new(now: Instant) -> Rc<Pulse> {
        Rc::new(Pulse { heard: Cell::new(now), unanswered_since: Cell::new(None), end: Cell::new(None) })
    }

    /// A request was sent.
    pub(crate) fn asked(&self, now: Instant) {
        if self.unanswered_since.get().is_none() {
            self.unanswered_since.set(Some(now));
        }
    }

    /// Nobody waits for an answer any more.
    pub(crate) fn at_rest(&self) {
        self.unanswered_since.set(None);
    }

    /// Whether a request has waited so long without a sign of life that the connection may well be dead.
    pub(crate) fn is_doubtful(&self, now: Instant) -> bool {
        self.unanswered_since.get().is_some_and(|since| now.saturating_duration_since(since) >= DOUBT_AFTER)
    }

    pub(crate) fn was_heard_after(&self, at: Instant) -> bool {
        self.heard.get() > at
    }

    pub(crate) fn end(&self) -> Option<End> {
        self.end.get()
    }

    fn note_read(&self, read: &io::Result<()>, n: usize) {
        match read {
            Ok(()) if n > 0 => {
                self.heard.set(Instant::now());
                self.unanswered_since.set(None);
            }
            Ok(()) => self.end_with(End::Fin),
            // TLS: the stream ended without close_notify.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => self.end_with(End::Fin),
            Err(error) => self.end_with(End::Failed { errno: error.raw_os_error() }),
        }
    }

    fn note_write(&self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Err(error)) = written {
            self.end_with(End::Failed { errno: error.raw_os_error() });
        }
    }

    /// The first end is the reason of the others.
    fn end_with(&self, end: End) {
        if self.end.get().is_none() {
            self.end.set(Some(end));
        }
    }
}

impl Watched {
    pub(crate) fn new(io: Transport, pulse: Rc<Pulse>) -> Watched {
        Watched { io, pulse }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let (before, has_room) = (buffer.filled().len(), buffer.remaining() > 0);
        let read = Pin::new(&mut this.io).poll_read(cx, buffer);
        if let (Poll::Ready(read), true) = (&read, has_room) {
            this.pulse.note_read(read, buffer.filled().len() - before);
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write(cx, data);
        this.pulse.note_write(&written);
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write_vectored(cx, data);
        this.pulse.note_write(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_without_a_sign_of_life_makes_doubt_and_any_sign_ends_it() {
        let start = Instant::now();
        let pulse = Pulse::new(start);
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(!pulse.is_doubtful(at(3600)), "nobody asked");
        pulse.asked(at(10));
        pulse.asked(at(14));
        assert!(!pulse.is_doubtful(at(14)));
        assert!(pulse.is_doubtful(at(15)), "the first request counts");
        pulse.note_read(&Ok(()), 1);
        assert!(!pulse.is_doubtful(at(3600)));
        pulse.asked(at(20));
        pulse.at_rest();
        assert!(!pulse.is_doubtful(at(3600)));
    }
}
