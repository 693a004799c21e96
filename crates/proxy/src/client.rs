//! The client's side of an exchange, whatever its protocol.

use std::task::{Context, Poll};

use bytes::BytesMut;
use model::Fault;
use upstream::body::Source;
use upstream::io::{Output, Transport};
use wire::{Framing, ResponseHead};

/// Why the client's side ended early.
#[derive(Debug)]
pub(crate) enum ClientFailure {
    /// It closed or reset.
    Gone,
    /// Its body breaks the rules.
    Malformed { fault: Fault, rule: &'static str },
    /// Its body is larger than the route allows.
    TooLarge { max: u64 },
}

/// Why a response did not get to its end.
#[derive(Debug)]
pub(crate) enum DownloadFailure<F> {
    Upstream(F),
    /// The source did not keep to the length it had announced.
    Length,
    ClientGone,
}

/// How a response goes to the client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResponseForm {
    /// The framing of the source.
    pub framing: Framing,
    /// No body may follow: HEAD, 204, 304.
    pub bodiless: bool,
    /// No other request may follow on this connection.
    pub last: bool,
}

/// A raw stream for an upgraded connection.
#[derive(Debug)]
pub(crate) struct TunnelEnd<'a> {
    pub io: &'a mut Transport,
    /// Bytes read and not yet used.
    pub input: &'a mut BytesMut,
    pub output: &'a mut Output,
}

/// A client. As a [`Source`] it is the request body; ending its response early is done by dropping it.
pub(crate) trait Downstream: Source<Failure = ClientFailure> {
    /// Sets the most that the request body may have.
    fn limit_body(&mut self, max: Option<u64>);

    /// The request body was read to its end.
    fn body_is_read(&self) -> bool;

    /// Passes a 1xx response on, where the protocol version has such.
    fn inform(&mut self, head: &ResponseHead);

    /// Sends what [`Downstream::inform`] was given; an error when the client has left.
    fn poll_informed(&mut self, cx: &mut Context<'_>) -> Result<(), ClientFailure>;

    /// Begins the final response. The head has end-to-end fields only; framing is added here.
    fn respond(&mut self, head: &mut ResponseHead, form: ResponseForm);

    /// No other request may follow on this connection, because where the current one ends is not known. Nothing to do where
    /// each has a stream of its own.
    fn end_after_answer(&mut self) {}

    /// Takes the response back if no byte of it has left this process; says whether it could.
    fn retract(&mut self) -> bool;

    /// Whether a final response has begun.
    fn has_responded(&self) -> bool;

    /// Sends the response body; ready when everything has left this process.
    fn poll_download<S: Source>(
        &mut self,
        source: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), DownloadFailure<S::Failure>>>;

    /// Whether it can be seen that the client leaves. With HTTP/1 only once its body is read: its end comes after that.
    fn shows_leaving(&self) -> bool {
        self.body_is_read()
    }

    /// Ready when the client has left. To be asked only where that can be seen.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Bytes that wait for the client to take them, and whether there are any is what decides whose turn it is.
    fn has_unsent(&self) -> bool;

    /// Body bytes: received, sent.
    fn counts(&self) -> (u64, u64);

    /// The raw stream; `None` where the protocol has no upgrades.
    fn tunnel_end(&mut self) -> Option<TunnelEnd<'_>>;
}
