//! The attempt loop: targets are tried until one answers, or until trying again would not be safe.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;

use model::gateway::{ClientGone, HostRewrite, Scheme};
use model::{Exchange, Fault, Phase, Retry};
use upstream::{Addresses, DialTimes, Failure, Lease, Purpose, Request, Target};
use wire::{Framing, Known, RequestFacts, RequestHead};

use crate::attempt_log;
use crate::await_head::{Waiting, await_head};
use crate::client::{ClientFailure, Downstream};
use crate::collect;
use crate::exchange::{Context, Scratch, Stop};
use crate::forward::PathRewrite;
use crate::route::Destination;

/// Attempts per exchange. More do not help a client who waits, and multiply the load on what still works.
const ATTEMPTS_MAX: usize = 3;

/// A final response head has arrived.
#[derive(Debug)]
pub(crate) struct Answered {
    pub lease: Lease,
    pub destination: Arc<Destination>,
    pub framing: Framing,
    /// The request is out, its end included.
    pub uploaded: bool,
}

/// What an attempt works on.
pub(crate) struct Trial<'a, D> {
    pub ctx: Context<'a>,
    pub client: &'a mut D,
    pub scratch: &'a mut Scratch,
    pub facts: &'a RequestFacts,
    pub destination: &'a Arc<Destination>,
    pub rewrite: &'a PathRewrite,
    pub record: &'a mut Exchange,
}

/// How one attempt went.
enum Outcome {
    Answered { lease: Lease, framing: Framing, uploaded: bool },
    Failed { failure: Failure, lease: Option<Lease> },
    Stopped { stop: Stop, lease: Option<Lease> },
}

/// Why there is no connection.
enum Acquire {
    Failed(Failure),
    Stopped(Stop),
}

impl<D: Downstream> Trial<'_, D> {
    /// Tries targets until one gives a final response head.
    pub(crate) async fn until_answered(mut self) -> Result<Answered, Stop> {
        let ctx = self.ctx;
        let mut tried = 0u64;
        let mut fresh = false;
        let mut last_failure = None;
        for _ in 0..ATTEMPTS_MAX {
            let Some((index, target)) = self.destination.upstream.pick(tried) else { break };
            attempt_log::begin(ctx, self.record, self.destination, target);
            let (failure, lease) = match self.attempt(target, fresh).await {
                Outcome::Answered { lease, framing, uploaded } => {
                    let destination = self.destination.clone();
                    return Ok(Answered { lease, destination, framing, uploaded });
                }
                Outcome::Stopped { stop, lease } => {
                    attempt_log::abandon(ctx, self.record, target, lease.as_ref(), &stop);
                    return Err(stop);
                }
                Outcome::Failed { failure, lease } => (failure, lease),
            };
            attempt_log::fail(ctx, self.record, target, lease.as_ref(), &failure);
            let was_reused = attempt_log::current(self.record).reuse.is_some();
            let may_retry = self.may_retry(&failure, was_reused);
            last_failure = Some(failure);
            if !may_retry {
                break;
            }
            if was_reused {
                fresh = true;
            } else if index < 64 {
                tried |= 1 << index;
            }
        }
        Err(match last_failure {
            Some(failure) => Stop::Upstream(failure),
            None => Stop::refused(Phase::Queue, Fault::NoTarget),
        })
    }

    fn may_retry(&self, failure: &Failure, was_reused: bool) -> bool {
        let has_body_left = self.client.counts().0 == 0 || self.scratch.collected.is_some();
        match failure.fault.retry() {
            Retry::Unsent => has_body_left,
            // The pooled connection had been closed by the target before it saw the request, most likely; for an
            // idempotent method it does not matter.
            Retry::IfIdempotent => {
                let is_idempotent = self.scratch.request.method.is_idempotent();
                was_reused && has_body_left && is_idempotent && failure.limit.is_none()
            }
            Retry::Never => false,
        }
    }

    async fn attempt(&mut self, target: &Arc<Target>, fresh: bool) -> Outcome {
        let ctx = self.ctx;
        let mut lease = match self.acquire(target, fresh).await {
            Ok(lease) => lease,
            Err(Acquire::Failed(failure)) => return Outcome::Failed { failure, lease: None },
            Err(Acquire::Stopped(stop)) => return Outcome::Stopped { stop, lease: None },
        };
        let needs_length = target.settings.scheme == Scheme::Uwsgi && self.facts.framing == Framing::Chunked;
        if needs_length && self.scratch.collected.is_none() {
            match collect::body(ctx, self.client).await {
                Ok(body) => self.scratch.collected = Some(body),
                Err(stop) => return Outcome::Stopped { stop, lease: Some(lease) },
            }
        }
        if let Err(failure) = self.start(target, &mut lease) {
            return Outcome::Failed { failure, lease: Some(lease) };
        }
        let mut timer = ctx.worker.lend_timer();
        let outcome = await_head(self, &mut lease, &mut timer).await;
        ctx.worker.return_timer(timer);
        match outcome {
            Ok((response, uploaded)) => Outcome::Answered { lease, framing: response.framing, uploaded },
            Err(Waiting::Failed(failure)) => Outcome::Failed { failure, lease: Some(lease) },
            Err(Waiting::Stopped(stop)) => Outcome::Stopped { stop, lease: Some(lease) },
        }
    }

    /// Encodes the request for this target.
    fn start(&mut self, target: &Target, lease: &mut Lease) -> Result<(), Failure> {
        let collected = self.scratch.collected.as_ref();
        let framing = collected.map_or(self.facts.framing, |body| Framing::Length(body.bytes.len() as u64));
        fit_to_target(&mut self.scratch.request, framing, self.destination, target);
        let head = &self.scratch.request;
        let host = head.fields.get(Known::Host).and_then(|host| std::str::from_utf8(host).ok());
        lease.connection.start(&Request {
            head,
            target: self.rewrite.target.as_deref().unwrap_or(head.target.path_and_query()),
            scheme: self.ctx.peer.scheme(),
            authority: host.unwrap_or(""),
            framing,
            script_name: &self.rewrite.prefix,
            client: self.ctx.peer.client,
            listener: self.ctx.peer.local,
        })
    }

    /// A pooled connection, or a new one; a client who leaves while it is made ends it.
    async fn acquire(&mut self, target: &Arc<Target>, fresh: bool) -> Result<Lease, Acquire> {
        let clock = &self.ctx.worker.clock;
        let pool = &self.ctx.worker.pool;
        let upstream = &self.destination.upstream;
        if !fresh && let Some((lease, reuse)) = pool.take(upstream, target, self.facts.upgrade, clock.now()) {
            let attempt = attempt_log::current(self.record);
            attempt.address = lease.address();
            attempt.reuse = Some(reuse);
            return Ok(lease);
        }
        let peer = self.ctx.peer;
        let addresses = peer.client.zip(peer.local).map(|(client, listener)| Addresses { client, listener });
        let purpose = Purpose { addresses, upgrade: self.facts.upgrade };
        let mut times = DialTimes::default();
        let dialed = {
            let mut dial = Box::pin(pool.dial(upstream, target, purpose, &mut times));
            let cancel_if_gone = self.destination.route.client_gone == ClientGone::Cancel;
            let watch = cancel_if_gone && self.client.body_is_read();
            poll_fn(|cx| {
                if let Poll::Ready(result) = dial.as_mut().poll(cx) {
                    return Poll::Ready(result.map_err(Acquire::Failed));
                }
                if watch && self.client.poll_gone(cx).is_ready() {
                    let stop = Stop::Client { failure: ClientFailure::Gone, phase: Phase::Connect };
                    return Poll::Ready(Err(Acquire::Stopped(stop)));
                }
                Poll::Pending
            })
            .await
        };
        clock.tick();
        attempt_log::dialed(self.record, times);
        if let Ok(lease) = &dialed {
            attempt_log::current(self.record).address = lease.address();
        }
        dialed
    }
}

/// Sets the fields that depend on the target.
fn fit_to_target(head: &mut RequestHead, framing: Framing, destination: &Destination, target: &Target) {
    let RequestHead { target: asked, fields, .. } = head;
    match &destination.route.host {
        HostRewrite::Client if asked.authority().is_empty() => {
            fields.set(Known::Host, target.authority.as_bytes());
        }
        // Also for a request that came by HTTP/2, which has no Host field.
        HostRewrite::Client => fields.set(Known::Host, asked.authority().as_bytes()),
        HostRewrite::Target => fields.set(Known::Host, target.authority.as_bytes()),
        HostRewrite::Set(host) => fields.set(Known::Host, host.as_bytes()),
    }
    // The client's own field went with the hop-by-hop ones; HTTP/2 takes it away again.
    match framing {
        Framing::Chunked => fields.set(Known::TransferEncoding, b"chunked"),
        Framing::Length(length) if fields.get(Known::ContentLength).is_none() => {
            fields.remove(Known::TransferEncoding);
            fields.push_known(Known::ContentLength, length.to_string().as_bytes());
        }
        Framing::Length(_) | Framing::None | Framing::Close => {}
    }
    if target.settings.scheme == Scheme::H2c {
        // HTTP/2 has no upgrades (RFC 9113 section 8.6); the request goes on as an ordinary one.
        fields.remove(Known::Connection);
        fields.remove(Known::Upgrade);
    }
}
