//! The beginning of an attempt: a connection to its target, and the request as that target must see it.

use std::future::{Future, poll_fn};
use std::task::Poll;
use std::time::{Duration, Instant};

use model::Phase;
use model::gateway::{ClientGone, HostRewrite, Scheme};
use upstream::{Addresses, DialTimes, Failure, Lease, Purpose, Request, Slot, Target};
use wire::{Framing, Known, RequestHead};

use crate::attempt::Trial;
use crate::attempt_log;
use crate::client::{ClientFailure, Downstream};
use crate::deadline::Deadline;
use crate::exchange::{Context, Stop};
use crate::forward::PathRewrite;
use crate::route::Destination;
use crate::watch::Expiry;

impl<D: Downstream> Trial<'_, D> {
    /// A pooled connection, or a new one; a client who leaves while it is made ends it, and so does the total time.
    pub(crate) async fn acquire(&mut self, slot: Slot, fresh: bool) -> Result<Lease, Stop> {
        let ctx = self.ctx;
        let pool = &ctx.worker.pool;
        let slot = match fresh {
            true => slot,
            false => match pool.take(slot, self.facts.upgrade, ctx.worker.clock.now()) {
                Ok((lease, reuse)) => {
                    let attempt = attempt_log::current(self.record);
                    attempt.address = lease.address();
                    attempt.reuse = Some(reuse);
                    return Ok(lease);
                }
                Err(slot) => slot,
            },
        };
        let mut times = DialTimes::default();
        let route = &self.destination.route;
        let limit = Expiry::total(ctx, &route.timeouts, Phase::Connect);
        let limit = Expiry::attempt(self.begun(), &route.timeouts, Phase::Connect)
            .map(|attempt| limit.map_or(attempt, |limit| limit.or(attempt)))
            .or(limit);
        let dialed = {
            let mut dial = Box::pin(pool.dial(slot, purpose(ctx, self.facts.upgrade), &mut times));
            let watch = route.client_gone == ClientGone::Cancel && self.client.shows_leaving();
            let mut timer = Deadline::default();
            poll_fn(|cx| {
                if let Poll::Ready(result) = dial.as_mut().poll(cx) {
                    return Poll::Ready(result.map_err(Stop::Upstream));
                }
                if watch && self.client.poll_gone(cx).is_ready() {
                    let stop = Stop::Client { failure: ClientFailure::Gone, phase: Phase::Connect };
                    return Poll::Ready(Err(stop));
                }
                match limit {
                    Some(limit) => timer.poll(limit.at, cx).map(|()| Err(limit.stop())),
                    None => Poll::Pending,
                }
            })
            .await
        };
        ctx.worker.clock.tick();
        let attempt = attempt_log::current(self.record);
        attempt_log::dialed(attempt, times);
        if let Ok(lease) = &dialed {
            attempt.address = lease.address();
        }
        dialed
    }

    /// When the attempt under way began.
    pub(crate) fn begun(&mut self) -> Instant {
        self.ctx.started + Duration::from_micros(attempt_log::current(self.record).started_micros)
    }

    /// Encodes the request for this target.
    pub(crate) fn start(&mut self, lease: &mut Lease) -> Result<(), Failure> {
        let framing = self.framing();
        start(self.ctx, &mut self.scratch.request, framing, self.destination, self.rewrite, lease)
    }

    /// How the body is sent: one that is held whole has a length.
    pub(crate) fn framing(&self) -> Framing {
        let whole = self.scratch.collected.as_ref().filter(|body| body.is_whole());
        whole.map_or(self.facts.framing, |body| Framing::Length(body.length()))
    }
}

/// What a connection is made for.
pub(crate) fn purpose(ctx: Context<'_>, upgrade: bool) -> Purpose {
    let addresses = ctx.peer.client.zip(ctx.peer.local);
    let addresses = addresses.map(|(client, listener)| Addresses { client, listener });
    Purpose { addresses, upgrade }
}

/// Encodes a request for the target of this connection.
pub(crate) fn start(
    ctx: Context<'_>,
    head: &mut RequestHead,
    framing: Framing,
    destination: &Destination,
    rewrite: &PathRewrite,
    lease: &mut Lease,
) -> Result<(), Failure> {
    fit_to_target(head, framing, destination, lease.target());
    let host = head.fields.get(Known::Host).and_then(|host| std::str::from_utf8(host).ok());
    lease.connection.start(&Request {
        head,
        target: rewrite.target.as_deref().unwrap_or(head.target.path_and_query()),
        scheme: ctx.peer.scheme(),
        authority: host.unwrap_or(""),
        framing,
        script_name: &rewrite.prefix,
        client: ctx.peer.client,
        listener: ctx.peer.local,
    })
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
