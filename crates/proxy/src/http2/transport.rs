//! What stands between the HTTP/2 library and a client's socket: bytes that were read before, a meter on what comes, and a
//! watch on what the client takes.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use model::gateway::Listener;
use model::{Fault, Limit, LimitName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use upstream::io::Transport;

use crate::deadline::Deadline;
use crate::frame_meter::FrameMeter;
use crate::watch::PACE_BYTES;

/// How a client went over a limit of its connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offence {
    pub fault: Fault,
    pub limit: Limit,
}

/// A transport some of whose bytes were read already. It judges how the client behaves where the library does not look: it
/// reads no further from one that floods, and ends when one does not take what it asked for.
pub(crate) struct Watched {
    input: BytesMut,
    io: Transport,
    meter: FrameMeter,
    backlog: Backlog,
    /// Told to whoever drives the connection.
    offence: Rc<Cell<Option<Offence>>>,
}

/// Bytes that wait for the client to take them. The library holds them for streams that are over for the rest of us, so
/// that no exchange watches them.
#[derive(Debug)]
struct Backlog {
    /// Since when the client is watched, and what it had taken by then; `None` while everything is written.
    since: Option<(Instant, u64)>,
    written: u64,
    /// In which it has to take [`PACE_BYTES`].
    time: Duration,
    timer: Deadline,
}

impl Watched {
    pub(crate) fn new(input: BytesMut, io: Transport, settings: &Listener) -> Watched {
        let backlog = Backlog {
            since: None,
            written: 0,
            time: settings.timeouts.client_send,
            timer: Deadline::default(),
        };
        let meter = FrameMeter::new(&settings.limits, Instant::now());
        Watched { input, io, meter, backlog, offence: Rc::default() }
    }

    /// Where an offence will be told.
    pub(crate) fn offence(&self) -> Rc<Cell<Option<Offence>>> {
        self.offence.clone()
    }

    fn received(&mut self, bytes: &[u8]) {
        if let Err(limit) = self.meter.received(bytes, Instant::now()) {
            self.offence.set(Some(Offence { fault: Fault::ClientFlood, limit }));
        }
    }

    fn wrote(
        &mut self,
        data: &[io::IoSlice<'_>],
        written: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(n)) = written {
            self.backlog.written += n as u64;
            let now = Instant::now();
            let mut left = n;
            for part in data {
                let taken = part.get(..left.min(part.len())).unwrap_or_default();
                self.meter.sent(taken, now);
                left -= taken.len();
            }
        }
        self.unless_stalled(written, cx)
    }

    /// Ends a write that waits for a client that takes nothing, with a reset.
    fn unless_stalled<T>(
        &mut self,
        result: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if result.is_pending() && self.backlog.poll_stalled(&self.io, cx).is_ready() {
            let limit = Limit::Time { name: LimitName::ClientSend, max: self.backlog.time };
            self.offence.set(Some(Offence { fault: Fault::ClientSendTimeout, limit }));
            self.io.socket().reset_on_close();
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        result
    }
}

impl Backlog {
    /// To be asked while a write waits: ready when the client has been too slow.
    fn poll_stalled(&mut self, io: &Transport, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some((since, before)) = self.since else {
                self.since = Some((Instant::now(), self.taken(io)));
                continue;
            };
            let end = since + self.time;
            ready!(self.timer.poll(end, cx));
            let taken = self.taken(io);
            if taken.saturating_sub(before) < PACE_BYTES {
                return Poll::Ready(());
            }
            self.since = Some((end, taken));
        }
    }

    /// What the client has acknowledged, where that is known. The kernel asks for more only when a good part of its buffer
    /// is free, which a slow but honest reader can take minutes for.
    fn taken(&self, io: &Transport) -> u64 {
        io.socket().bytes_acked().unwrap_or(self.written)
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.offence.get().is_some() {
            return Poll::Pending;
        }
        if this.input.is_empty() {
            let before = buffer.filled().len();
            let read = Pin::new(&mut this.io).poll_read(cx, buffer);
            this.received(buffer.filled().get(before..).unwrap_or_default());
            return read;
        }
        let given = this.input.split_to(this.input.len().min(buffer.remaining()));
        buffer.put_slice(&given);
        this.received(&given);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write(cx, data);
        this.wrote(&[io::IoSlice::new(data)], written, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write_vectored(cx, data);
        this.wrote(data, written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.io).poll_flush(cx);
        if flushed.is_ready() {
            this.backlog.since = None;
        }
        this.unless_stalled(flushed, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::net::UnixStream;
    use upstream::io::Socket;

    use super::*;

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn a_reader_that_keeps_some_pace_is_waited_for() {
        let time = Duration::from_secs(10);
        for (taken, periods) in [(0, 1), (PACE_BYTES - 1, 1), (PACE_BYTES, 2)] {
            let (socket, _peer) = UnixStream::pair().unwrap();
            let io = Transport::Plain(Socket::Unix(socket));
            let begun = tokio::time::Instant::now();
            let timer = Deadline::default();
            let mut backlog = Backlog { since: Some((begun.into_std(), 0)), written: taken, time, timer };
            poll_fn(|cx| backlog.poll_stalled(&io, cx)).await;
            assert_eq!(begun.elapsed().as_secs(), periods * time.as_secs(), "{taken} bytes");
        }
    }
}
