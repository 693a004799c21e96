//! The request body on its way to the target, from before the response head until after it.
//!
//! A target may answer before it has read everything, so the same upload goes on while the response comes.

use std::convert::Infallible;
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use model::{Attempt, Fault, Phase};
use upstream::body::Source;
use upstream::{Failure, Lease, UploadFailure};

use crate::answer::Answer;
use crate::client::Downstream;
use crate::collect::Collected;
use crate::exchange::{Context, Stop};
use crate::stored::{Stored, StoredFailure};
use crate::whole::Whole;

/// How far the request has come.
#[derive(Debug)]
pub(crate) struct Upload {
    state: State,
    body: Body,
    /// When the last of it was out.
    pub sent_at: Option<Instant>,
}

/// Where the body comes from.
#[derive(Debug)]
enum Body {
    Client,
    /// It was collected before, and is in memory.
    Whole(Whole),
    /// Some of it was collected before, or all of it and more than memory holds.
    Stored(Box<Stored>),
}

impl Body {
    fn new(collected: Option<&Collected>) -> Body {
        match collected {
            None => Body::Client,
            Some(body) if body.is_whole() && body.file().is_none() => {
                Body::Whole(Whole::new(body.bytes().clone()))
            }
            Some(body) => Body::Stored(Box::new(Stored::new(body))),
        }
    }
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
    /// The disk, which has a piece of the body.
    Disk,
    Target,
}

impl Upload {
    pub(crate) fn new(collected: Option<&Collected>) -> Upload {
        Upload { state: State::Running, body: Body::new(collected), sent_at: None }
    }

    /// The rest of a body in memory.
    pub(crate) fn going_on(body: Whole, is_sent: bool) -> Upload {
        let state = if is_sent { State::Done } else { State::Running };
        Upload { state, body: Body::Whole(body), sent_at: None }
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
        let sent = match &mut self.body {
            Body::Client => {
                lease.connection.poll_upload(client, cx).map_err(|failure| failure.map(StoredFailure::Client))
            }
            Body::Whole(body) => lease
                .connection
                .poll_upload(body, cx)
                .map_err(|failure| failure.map(|never: Infallible| match never {})),
            Body::Stored(body) => lease.connection.poll_upload(&mut body.before(client), cx),
        };
        match sent {
            Poll::Ready(Ok(())) => {
                self.sent_at = Some(ctx.worker.clock.tick());
                self.state = State::Done;
            }
            Poll::Ready(Err(UploadFailure::Client(StoredFailure::Client(failure)))) => {
                return Some(Stop::Client { failure, phase });
            }
            Poll::Ready(Err(UploadFailure::Client(StoredFailure::Disk(error)))) => {
                let detail = format!("failed to read the request body from its file: {error}");
                return Some(Stop::Refused {
                    answer: Answer::new(Fault::Overloaded),
                    phase,
                    detail: Some(detail.into()),
                });
            }
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
        let (piece, is_reading) = match &self.body {
            Body::Client => (client.piece(), false),
            Body::Whole(body) => (body.piece(), false),
            Body::Stored(body) => (body.piece().unwrap_or(client.piece()), body.is_reading()),
        };
        Some(if !piece.is_empty() || lease.connection.has_unsent() {
            Turn::Target
        } else if is_reading {
            Turn::Disk
        } else {
            Turn::Client
        })
    }

    /// How much of the time to an answer was the target's: not what a client takes to send its body. `None` if the target did
    /// not wait for all of that.
    pub(crate) fn targets_time(&self, attempt: &Attempt) -> Option<Duration> {
        let took = attempt.await_head?;
        match &self.body {
            Body::Whole(_) => Some(took),
            Body::Client | Body::Stored(_) => took.checked_sub(attempt.send?),
        }
    }

    /// The request is out, its end included.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Lets go of what was collected as soon as it is out. For a request that is not sent again.
    pub(crate) fn let_go(&mut self, collected: &mut Option<Collected>) {
        if collected.is_some() && self.state != State::Running {
            *collected = None;
            self.body = Body::Client;
        }
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
