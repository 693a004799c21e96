//! One request of the gateway's own with a body, on a connection of its own: how others are told of something.
//!
//! Made like every other request to a target, over HTTP/1.1. Gives the status and forgets the answer.

use std::convert::Infallible;
use std::future::poll_fn;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use model::gateway::Scheme;
use model::{Fault, Method, Phase};
use wire::http1::HeadLimits;
use wire::{Fields, Framing, RequestHead, ResponseHead};

use crate::body::{Offer, Source};
use crate::connection::{Request, UploadFailure};
use crate::dial::{DialTimes, Purpose, dial};
use crate::failure::Failure;
use crate::http1::Http1;
use crate::pool::head_limits;
use crate::target::{Target, Upstream};

/// Bounds of a head that is made of configuration: as large as the largest that clients may send.
const HEAD_BYTES_MAX: usize = 64 << 10;
const FIELDS_MAX: usize = 128;

/// What is sent.
#[derive(Clone, Debug)]
pub struct Post<'a> {
    /// Path and query.
    pub path: &'a str,
    /// Fields beside Host, Content-Length, Content-Type, User-Agent and Connection.
    pub fields: Vec<(&'a str, &'a str)>,
    pub content_type: &'a str,
    pub body: Bytes,
}

/// Sends it, and gives the status of the answer. How long it may take altogether is for the caller to say.
pub async fn post(upstream: &Upstream, target: &Target, post: &Post<'_>) -> Result<u16, Failure> {
    let head = head(target, post).ok_or_else(|| {
        Failure::new(Phase::Send, Fault::Internal).with_detail("a request that cannot be written")
    })?;
    // A request that could switch protocols is made over HTTP/1.1, which is what is wanted here.
    let purpose = Purpose { addresses: None, upgrade: true };
    let dialed = dial(upstream, target, purpose, &mut DialTimes::default()).await?;
    let mut connection = Http1::new(dialed.transport, false);
    connection.start(&Request {
        head: &head,
        target: post.path,
        scheme: if target.settings.scheme == Scheme::Https { "https" } else { "http" },
        authority: &target.authority,
        framing: Framing::Length(post.body.len() as u64),
        script_name: "",
        client: None,
        listener: None,
    })?;
    let limits = head_limits(upstream);
    let mut body = Whole(post.body.clone());
    let mut response = ResponseHead::default();
    let mut sent = false;
    poll_fn(|cx| poll_answer(&mut connection, &mut body, &mut sent, &limits, &mut response, cx)).await?;
    Ok(response.status)
}

fn poll_answer(
    connection: &mut Http1,
    body: &mut Whole,
    sent: &mut bool,
    limits: &HeadLimits,
    response: &mut ResponseHead,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Failure>> {
    // An answer may come before all of the request is taken: it says why.
    if !*sent {
        match connection.poll_upload(body, cx) {
            Poll::Ready(Ok(())) => *sent = true,
            Poll::Ready(Err(UploadFailure::Upstream(failure))) => return Poll::Ready(Err(failure)),
            Poll::Ready(Err(UploadFailure::Client(never))) => match never {},
            Poll::Pending => {}
        }
    }
    loop {
        match connection.poll_head(&Method::Post, limits, response, cx) {
            Poll::Ready(Ok(facts)) if facts.informational => {}
            Poll::Ready(result) => return Poll::Ready(result.map(|_| ())),
            Poll::Pending => return Poll::Pending,
        }
    }
}

/// Method and fields; the path goes beside them.
fn head(target: &Target, post: &Post<'_>) -> Option<RequestHead> {
    let mut text = format!(
        "POST / HTTP/1.1\r\nHost: {}\r\nUser-Agent: clearway/{}\r\nContent-Type: {}\r\nContent-Length: {}\r\n\
         Connection: close\r\n",
        target.authority,
        env!("CARGO_PKG_VERSION"),
        post.content_type,
        post.body.len(),
    );
    for (name, value) in &post.fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    let limits = HeadLimits { head_bytes: HEAD_BYTES_MAX, fields: FIELDS_MAX, target_bytes: HEAD_BYTES_MAX };
    let mut head = RequestHead::default();
    wire::parse_request(text.as_bytes(), &limits, &mut head).ok().flatten().map(|_| head)
}

/// A body that is there.
#[derive(Debug)]
struct Whole(Bytes);

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
        self.0.split_to(max.min(self.0.len()))
    }

    fn trailers(&self) -> Option<&Fields> {
        None
    }
}
