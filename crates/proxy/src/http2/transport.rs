//! What stands between the HTTP/2 library and a client's socket: bytes that were read before, and a meter on what comes.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::{Buf, BytesMut};
use model::Limit;
use model::gateway::ListenerLimits;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use upstream::io::Transport;

use crate::frame_meter::FrameMeter;

/// The meter of a connection, and the limit that was gone over.
#[derive(Debug)]
pub(crate) struct Metered {
    meter: FrameMeter,
    pub exceeded: Option<Limit>,
}

impl Metered {
    pub(crate) fn new(limits: &ListenerLimits) -> Metered {
        Metered { meter: FrameMeter::new(limits, Instant::now()), exceeded: None }
    }
}

/// A transport some of whose bytes were read already, with a meter on what comes. It reads no further once a limit is
/// exceeded.
pub(crate) struct Rewind {
    pub input: BytesMut,
    pub io: Transport,
    pub meter: Rc<RefCell<Metered>>,
}

impl Rewind {
    fn count(&self, bytes: &[u8]) {
        let mut metered = self.meter.borrow_mut();
        if let Err(limit) = metered.meter.received(bytes, Instant::now()) {
            metered.exceeded = Some(limit);
        }
    }

    fn sent(&self, written: &Poll<std::io::Result<usize>>) {
        if let Poll::Ready(Ok(n)) = written {
            self.meter.borrow_mut().meter.sent(*n);
        }
    }
}

impl AsyncRead for Rewind {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        if this.meter.borrow().exceeded.is_some() {
            return Poll::Pending;
        }
        if this.input.is_empty() {
            let before = buffer.filled().len();
            let read = Pin::new(&mut this.io).poll_read(cx, buffer);
            this.count(buffer.filled().get(before..).unwrap_or_default());
            return read;
        }
        let n = this.input.len().min(buffer.remaining());
        let given = this.input.get(..n).unwrap_or_default();
        buffer.put_slice(given);
        this.count(given);
        this.input.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rewind {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<std::io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write(cx, data);
        this.sent(&written);
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write_vectored(cx, data);
        this.sent(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
