//! What is seen of an HTTP/2 connection beneath the library: how it ended.
//!
//! The library keeps that to itself: it calls a clean end a broken pipe, and drops the errno of others. What follows
//! from it is decided in [`crate::http2`].

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::io::Transport;

/// What was seen of one connection.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
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
    pub(crate) fn end(&self) -> Option<End> {
        self.end.get()
    }

    fn note_read(&self, read: &io::Result<()>, n: usize) {
        match read {
            Ok(()) if n > 0 => {}
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
