//! The attempt loop: targets are tried until one answers, or until trying again would not be safe.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;

use model::gateway::{ClientGone, HostRewrite, Scheme};
use model::{Exchange, Fault, Phase, Retry};
use upstream::{Addresses, DialTimes, Failure, Lease, Purpose, Request, Target};
use wire::{Framing, Known, RequestFacts, RequestHead};

use crate::attempt_log;
use crate::await_head::await_head;
use crate::client::{ClientFailure, Downstream};
use crate::collect;
use crate::deadline::Deadline;
use crate::exchange::{Context, Scratch, Stop};
use crate::forward::PathRewrite;
use crate::route::Destination;
use crate::upload::Upload;
use crate::watch::{Expiry, Watch};

/// Attempts per exchange. More do not help a client who waits, and multiply the load on what still works.
const ATTEMPTS_MAX: usize = 3;

/// A final response head has arrived.
#[derive(Debug)]
pub(crate) struct Answered {
    pub lease: Lease,
    pub destination: Arc<Destination>,
    /// That of the response.
    pub framing: Framing,
    /// The request may not all be out yet.
    pub upload: Upload,
    pub watch: Watch,
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

/// An attempt came to nothing. One that the target is to blame for may be followed by another.
struct Failed {
    stop: Stop,
    lease: Option<Lease>,
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
            self.collect_for(target).await?;
            attempt_log::begin(ctx, self.record, self.destination, target);
            let Failed { stop, lease } = match self.attempt(target, fresh).await {
                Ok(answered) => return Ok(answered),
                Err(failed) => failed,
            };
            attempt_log::abandon(ctx, self.record, target, lease.as_ref(), &stop);
            let Stop::Upstream(failure) = stop else { return Err(stop) };
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

    /// Reads the request body where this target must be told its length first. Before there is a connection: a worker that
    /// has accepted one waits for the request, and not for long.
    async fn collect_for(&mut self, target: &Target) -> Result<(), Stop> {
        let needs_length = target.settings.scheme == Scheme::Uwsgi && self.facts.framing == Framing::Chunked;
        if needs_length && self.scratch.collected.is_none() {
            let timeouts = &self.destination.route.timeouts;
            self.scratch.collected = Some(collect::body(self.ctx, self.client, timeouts).await?);
        }
        Ok(())
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

    async fn attempt(&mut self, target: &Arc<Target>, fresh: bool) -> Result<Answered, Failed> {
        let ctx = self.ctx;
        let mut lease = match self.acquire(target, fresh).await {
            Ok(lease) => lease,
            Err(stop) => return Err(Failed { stop, lease: None }),
        };
        if let Err(failure) = self.start(target, &mut lease) {
            return Err(Failed { stop: Stop::Upstream(failure), lease: Some(lease) });
        }
        let mut upload = Upload::new(self.scratch.collected.as_ref());
        let mut watch = Watch::new(ctx.worker.clock.now(), self.body_rate());
        let mut timer = ctx.worker.lend_timer();
        let head = await_head(self, &mut lease, &mut upload, &mut watch, &mut timer).await;
        ctx.worker.return_timer(timer);
        match head {
            Ok(framing) => {
                Ok(Answered { lease, destination: self.destination.clone(), framing, upload, watch })
            }
            Err(stop) => Err(Failed { stop, lease: Some(lease) }),
        }
    }

    /// The pace that the request body must have. The messages of a gRPC stream come when there is something to say.
    fn body_rate(&self) -> u64 {
        let kind = self.scratch.request.fields.get(Known::ContentType).unwrap_or_default();
        let is_grpc = kind.get(..GRPC.len()).is_some_and(|start| start.eq_ignore_ascii_case(GRPC));
        if is_grpc { 0 } else { self.ctx.listening.settings().limits.body_rate }
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

    /// A pooled connection, or a new one; a client who leaves while it is made ends it, and so does the total time.
    async fn acquire(&mut self, target: &Arc<Target>, fresh: bool) -> Result<Lease, Stop> {
        let ctx = self.ctx;
        let pool = &ctx.worker.pool;
        let upstream = &self.destination.upstream;
        if !fresh
            && let Some((lease, reuse)) =
                pool.take(upstream, target, self.facts.upgrade, ctx.worker.clock.now())
        {
            let attempt = attempt_log::current(self.record);
            attempt.address = lease.address();
            attempt.reuse = Some(reuse);
            return Ok(lease);
        }
        let addresses = ctx.peer.client.zip(ctx.peer.local);
        let addresses = addresses.map(|(client, listener)| Addresses { client, listener });
        let purpose = Purpose { addresses, upgrade: self.facts.upgrade };
        let mut times = DialTimes::default();
        let dialed = {
            let mut dial = Box::pin(pool.dial(upstream, target, purpose, &mut times));
            let route = &self.destination.route;
            let watch = route.client_gone == ClientGone::Cancel && self.client.body_is_read();
            let total = Expiry::total(ctx, &route.timeouts, Phase::Connect);
            let mut timer = Deadline::default();
            poll_fn(|cx| {
                if let Poll::Ready(result) = dial.as_mut().poll(cx) {
                    return Poll::Ready(result.map_err(Stop::Upstream));
                }
                if watch && self.client.poll_gone(cx).is_ready() {
                    let stop = Stop::Client { failure: ClientFailure::Gone, phase: Phase::Connect };
                    return Poll::Ready(Err(stop));
                }
                match total {
                    Some(total) => timer.poll(total.at, cx).map(|()| Err(total.stop())),
                    None => Poll::Pending,
                }
            })
            .await
        };
        ctx.worker.clock.tick();
        attempt_log::dialed(self.record, times);
        if let Ok(lease) = &dialed {
            attempt_log::current(self.record).address = lease.address();
        }
        dialed
    }
}

/// The media type of gRPC and its variants begins so.
const GRPC: &[u8] = b"application/grpc";

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
        Framing::Length(length) => match fields.get(Known::ContentLength) {
            // As nearly everybody writes it; `007` is legal, too, but a gateway does not pass its riddles on.
            Some(b"0" | [b'1'..=b'9', ..]) => {}
            _ => {
                fields.remove(Known::TransferEncoding);
                fields.set(Known::ContentLength, length.to_string().as_bytes());
            }
        },
        Framing::None | Framing::Close => {}
    }
    if matches!(target.settings.scheme, Scheme::Http | Scheme::Uwsgi) {
        // It announces what does not follow: trailers do not go to these.
        fields.remove(Known::Trailer);
    }
    if target.settings.scheme == Scheme::H2c {
        // HTTP/2 has no upgrades (RFC 9113 section 8.6); the request goes on as an ordinary one.
        fields.remove(Known::Connection);
        fields.remove(Known::Upgrade);
    }
}
