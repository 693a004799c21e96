//! The request body on its way to the target, from before the response head until after it.
//!
//! A target may answer before it has read everything, so the same upload goes on while the response comes.

use std::task::{Context as TaskContext, Poll};
use std::time::Instant;

use model::{Fault, Phase};
use upstream::body::Source;
use upstream::{Failure, Lease, UploadFailure};

use crate::client::Downstream;
use crate::collect::Collected;
use crate::exchange::{Context, Stop};
use crate::whole::Whole;

/// How far the request has come.
#[derive(Debug)]
pub(crate) struct Upload {
    state: State,
    /// A body that was collected before, in place of the client's.
    collected: Option<Whole>,
    /// When the last of it was out.
    pub sent_at: Option<Instant>,
}

#[derive(Debug, PartialEq)]
enum State {
    Running,
    Done,
    Failed(Box<Failure>),
}

/// Who has to do something so that a transfer goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Client,
    Target,
}

impl Upload {
    pub(crate) fn new(collected: Option<&Collected>) -> Upload {
        let collected = collected.map(|body| Whole::new(body.bytes.clone()));
        Upload { state: State::Running, collected, sent_at: None }
    }

    /// Sends what can be sent; gives the reason when the client's side has failed in this phase.
    pub(crate) fn poll<D: Downstream>(
        &mut self,
        ctx: Context<'_>,
        client: &mut D,
        lease: &mut Lease,
        phase: Phase,
        cx: &mut TaskContext<'_>,
    ) -> Option<Stop> {
        if self.state != State::Running {
            return None;
        }
        let sent = match &mut self.collected {
            None => lease.connection.poll_upload(client, cx),
            Some(body) => lease.connection.poll_upload(body, cx).map_err(|failure| match failure {
                UploadFailure::Client(never) => match never {},
                UploadFailure::Upstream(failure) => UploadFailure::Upstream(failure),
            }),
        };
        match sent {
            Poll::Ready(Ok(())) => {
                self.sent_at = Some(ctx.worker.clock.tick());
                self.state = State::Done;
            }
            Poll::Ready(Err(UploadFailure::Client(failure))) => return Some(Stop::Client { failure, phase }),
            // The target may have answered before it closed: its answer counts more than our failed write.
            Poll::Ready(Err(UploadFailure::Upstream(failure))) => {
                self.state = State::Failed(Box::new(failure));
            }
            Poll::Pending => {}
        }
        None
    }

    /// Whose turn it is, unless nothing is left to send. To be asked after [`Upload::poll`].
    pub(crate) fn turn<D: Downstream>(&self, client: &D, lease: &Lease) -> Option<Turn> {
        if self.state != State::Running {
            return None;
        }
        let has_piece = match &self.collected {
            None => !client.piece().is_empty(),
            Some(body) => !body.piece().is_empty(),
        };
        Some(if has_piece || lease.connection.has_unsent() { Turn::Target } else { Turn::Client })
    }

    /// The request is out, its end included.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// A write that failed first is the better reason than the missing answer that follows from it.
    pub(crate) fn blame(&mut self, failure: Failure) -> Failure {
        let no_answer = matches!(failure.fault, Fault::EarlyClose | Fault::Reset) && failure.detail.is_none();
        match std::mem::replace(&mut self.state, State::Done) {
            State::Failed(first) if no_answer => *first,
            _ => failure,
        }
    }
}
