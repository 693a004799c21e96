//! An upgraded connection: bytes both ways, until both sides have ended or one has failed.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use model::{Ending, Fault, Party, Phase};
use tokio::io::AsyncWrite;
use upstream::buffers;
use upstream::io::Transport;

use crate::client::TunnelEnd;
use crate::exchange::Context;

/// How a tunnel ended, and what went through it.
#[derive(Debug)]
pub(crate) struct TunnelOutcome {
    pub to_target: u64,
    pub to_client: u64,
    pub ending: Ending,
}

/// One direction: what was read from one side and not yet taken by the other.
#[derive(Debug)]
struct Lane {
    buffer: BytesMut,
    moved: u64,
    ended: bool,
    /// The end was passed on.
    closed: bool,
}

/// Runs until it is over. `input` is what the target sent beyond its 101.
pub(crate) async fn run(
    ctx: Context<'_>,
    client: TunnelEnd<'_>,
    mut target: Transport,
    input: BytesMut,
    idle: Duration,
) -> TunnelOutcome {
    let TunnelEnd { io, input: client_input, output } = client;
    let mut up = Lane::new(std::mem::take(client_input));
    let mut down = Lane::new(input);
    let mut timer = ctx.worker.lend_timer();
    let mut last = (Instant::now(), 0);
    let ending = poll_fn(|cx| {
        // The 101 goes first.
        match output.poll_drain(io, cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => return Poll::Ready(Ending::failed(Phase::Body, Fault::ClientGone)),
            Poll::Pending => return Poll::Pending,
        }
        let upward = up.poll(io, &mut target, cx);
        let downward = down.poll(&mut target, io, cx);
        match (upward, downward) {
            (Poll::Ready(Err(end)), _) => {
                return Poll::Ready(end.ending(Fault::ClientGone, Fault::BodyReset));
            }
            (_, Poll::Ready(Err(end))) => {
                return Poll::Ready(end.ending(Fault::BodyReset, Fault::ClientGone));
            }
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => {
                return Poll::Ready(Ending { by: Party::Client, during: Phase::Done, fault: None });
            }
            (Poll::Ready(Ok(())) | Poll::Pending, _) => {}
        }
        let moved = up.moved + down.moved;
        if moved != last.1 {
            last = (Instant::now(), moved);
        }
        timer.poll(last.0 + idle, cx).map(|()| Ending::failed(Phase::Body, Fault::BodyIdleTimeout))
    })
    .await;
    ctx.worker.return_timer(timer);
    TunnelOutcome { to_target: up.moved, to_client: down.moved, ending }
}

/// Which side of a lane failed.
enum LaneFailure {
    Reading,
    Writing,
}

impl LaneFailure {
    fn ending(self, reading: Fault, writing: Fault) -> Ending {
        let fault = match self {
            LaneFailure::Reading => reading,
            LaneFailure::Writing => writing,
        };
        Ending::failed(Phase::Body, fault)
    }
}

impl Lane {
    fn new(buffer: BytesMut) -> Lane {
        Lane { buffer, moved: 0, ended: false, closed: false }
    }

    /// Moves what can be moved; ready when the end was passed on.
    fn poll(
        &mut self,
        from: &mut Transport,
        to: &mut Transport,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Result<(), LaneFailure>> {
        while !self.closed {
            if !self.buffer.is_empty() {
                let written = ready!(Pin::new(&mut *to).poll_write(cx, &self.buffer));
                let n = written.map_err(|_| LaneFailure::Writing)?;
                self.buffer.advance(n);
                self.moved += n as u64;
            } else if self.ended {
                ready!(Pin::new(&mut *to).poll_flush(cx)).map_err(|_| LaneFailure::Writing)?;
                // A half-closed side may still want to hear the rest of the other.
                let _ = ready!(Pin::new(&mut *to).poll_shutdown(cx));
                self.closed = true;
            } else {
                if self.buffer.capacity() < buffers::READ_BYTES
                    && !self.buffer.try_reclaim(buffers::READ_BYTES)
                {
                    self.buffer = buffers::lend();
                }
                match from.poll_read_buf(cx, &mut self.buffer) {
                    Poll::Ready(Ok(0)) => self.ended = true,
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(LaneFailure::Reading)),
                    Poll::Pending => {
                        // Nothing more for now: what TLS still holds must not wait for it.
                        ready!(Pin::new(&mut *to).poll_flush(cx)).map_err(|_| LaneFailure::Writing)?;
                        return Poll::Pending;
                    }
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}
