//! The life of a request, from its parsed head to the last byte of its answer.
//!
//! [`run`] branches between the phases; the phases do not call each other. Every way out passes through one place, which
//! writes the ending into the record and, if nothing was sent yet, the answer to the client.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use model::{Ending, Exchange, Fault, Limit, LimitName, Party, Phase};
use policy::Subject;
use upstream::Failure;
use upstream::body::Offer;
use wire::{Framing, Known, RequestFacts, RequestHead, ResponseHead};

use crate::admit::{self, Estimate};
use crate::affinity;
use crate::ai::{self, Dialect};
use crate::answer::Answer;
use crate::attempt::{Answered, Trial};
use crate::attempt_log::{self, Before};
use crate::client::{ClientFailure, Downstream, ResponseForm};
use crate::collect::Collected;
use crate::download;
use crate::forward::{self, Peer};
use crate::hedge::Beside;
use crate::listen::Listening;
use crate::route::Found;
use crate::serving::Serving;
use crate::tunnel;
use crate::whole::Whole;
use crate::worker::{Idle, Worker};

/// What an exchange happens in.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub worker: &'a Worker,
    pub serving: &'a Serving,
    pub listening: &'a Listening,
    pub peer: &'a Peer,
    pub started: Instant,
}

impl Context<'_> {
    /// Microseconds from the start of the exchange.
    pub(crate) fn micros(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.started).as_micros() as u64
    }
}

/// Heads that are filled again for each exchange.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub request: RequestHead,
    pub response: ResponseHead,
    /// The request body, where it was collected before it is sent, for as long as it may have to be sent.
    pub collected: Option<Collected>,
    /// The request body is being collected.
    pub is_collecting: bool,
    /// A second attempt beside the one that stands in the record.
    pub beside: Beside,
    /// How errors are told, if it is an AI call.
    pub dialect: Option<Dialect>,
}

/// What is left to do with the client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finish {
    /// The response went out whole.
    Complete,
    /// It did not: the client must not take what it has for the whole.
    Abort,
    /// The connection became a tunnel, and that is over.
    Tunneled,
}

/// Why an exchange goes no further.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Our own decision; answered if nothing was sent yet.
    Refused {
        answer: Answer,
        phase: Phase,
        detail: Option<Box<str>>,
    },
    Client {
        failure: ClientFailure,
        phase: Phase,
    },
    Upstream(Failure),
    /// A time limit that has nothing to do with one attempt: the client's body, the client's reading, the total.
    Timeout {
        fault: Fault,
        phase: Phase,
        limit: Limit,
    },
}

impl Stop {
    pub(crate) fn refused(phase: Phase, fault: Fault) -> Stop {
        Stop::Refused { answer: Answer::new(fault), phase, detail: None }
    }
}

/// Runs one exchange. The record is complete afterwards but for the end of its timeline.
pub(crate) async fn run<D: Downstream>(
    ctx: Context<'_>,
    idle: &Idle,
    client: &mut D,
    scratch: &mut Scratch,
    facts: &RequestFacts,
    record: &mut Exchange,
) -> Finish {
    let mut found = None;
    scratch.dialect = None;
    let outcome = {
        // Pinned in place, as below.
        let phases = pin!(proxy(ctx, client, scratch, facts, record, &mut found));
        until_cut(ctx, idle, phases).await
    };
    let stop = match outcome {
        Some(Ok(finish)) => return finish,
        Some(Err(stop)) => stop,
        None => Stop::refused(attempt_log::cut(ctx, scratch, record), Fault::Draining),
    };
    // No target gets it any more, and the client may take its time with the answer.
    scratch.collected = None;
    // A response whose head is still here can be replaced by an honest one.
    let has_responded = client.has_responded() && !client.retract();
    if !has_responded {
        record.timeline.response_micros = None;
        record.response_body_bytes = 0;
    }
    let answer = close_record(stop, has_responded, record);
    match answer {
        Some(answer) => {
            let service = found.as_ref().map(|found: &Found| &*found.destination.service);
            let body = match scratch.dialect {
                Some(dialect) => dialect.write(&answer, &mut scratch.response, record.id),
                None => answer.write(&mut scratch.response, &scratch.request.fields, record.id, service),
            };
            let is_head = scratch.request.method == model::Method::Head;
            send_answer(ctx, client, &mut scratch.response, body, is_head, record).await
        }
        None => Finish::Abort,
    }
}

/// What comes of the phases, unless the process ends before; then they are dropped, with the connection to the target.
async fn until_cut<T>(
    ctx: Context<'_>,
    idle: &Idle,
    mut phases: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    poll_fn(|cx| {
        if ctx.worker.is_cut() {
            return Poll::Ready(None);
        }
        let poll = phases.as_mut().poll(cx);
        if poll.is_pending() {
            idle.wait(cx);
        }
        poll.map(Some)
    })
    .await
}

/// [`run`], where a panic costs this exchange and nothing else: the client gets a 500, the record says so.
pub(crate) async fn run_caught<D: Downstream>(
    ctx: Context<'_>,
    idle: &Idle,
    client: &mut D,
    scratch: &mut Scratch,
    facts: &RequestFacts,
    record: &mut Exchange,
) -> Result<Finish, Panicked> {
    // Pinned in place: moving a future of this size costs more than catching.
    let mut run = pin!(run(ctx, idle, client, scratch, facts, record));
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| run.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(_) => Poll::Ready(Err(Panicked)),
    })
    .await
}

/// Our own code failed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Panicked;

/// The phases in their order.
async fn proxy<D: Downstream>(
    ctx: Context<'_>,
    client: &mut D,
    scratch: &mut Scratch,
    facts: &RequestFacts,
    record: &mut Exchange,
    found: &mut Option<Found>,
) -> Result<Finish, Stop> {
    let destination = route(ctx, &scratch.request, record, found)?;
    if destination.offer.is_some() {
        // Who is refused is refused in the words of its protocol, too.
        scratch.dialect = ai::dialect(&scratch.request);
    }
    apply_policies(ctx, &mut scratch.request, found.as_ref(), record)?;
    if let Some(found) = found.as_ref().filter(|found| found.destination.offer.is_some()) {
        return Box::pin(ai::run(ctx, client, scratch, facts, record, found)).await;
    }
    // Counts as one at once until all is over.
    let _hold = admit::admit(ctx, record, Estimate::default())?;
    let body_max = destination.route.body_bytes_max.map(|max| max.0);
    if let (Framing::Length(length), Some(max)) = (facts.framing, body_max)
        && length > max
    {
        return Err(Stop::Client { failure: ClientFailure::TooLarge { max }, phase: Phase::ReadRequest });
    }
    client.limit_body(body_max);
    let parameters = found.as_ref().map(|found| found.parameters.clone()).unwrap_or_default();
    let rewrite = forward::rewrite_path(&scratch.request, &destination.route, &parameters);
    prepare_fields(ctx, &mut scratch.request, facts, record);
    if !rewrite.prefix.is_empty() {
        scratch.request.fields.set(Known::XForwardedPrefix, rewrite.prefix.as_bytes());
    }
    let affinity = affinity::of(&destination.upstream, &scratch.request, record.client);
    let (destination, rewrite) = (&destination, &rewrite);
    let before = Before::default();
    let trial = Trial { ctx, client, scratch, facts, destination, rewrite, affinity, record, before };
    let answered = trial.until_answered().await?;
    affinity::stick(&answered.lease, ctx.worker.clock.now(), &scratch.request, &mut scratch.response);
    if scratch.response.status == 101 {
        return upgrade(ctx, client, scratch, answered, record).await;
    }
    respond(ctx, client, scratch, &answered);
    record.status = scratch.response.status;
    record.timeline.response_micros = Some(ctx.micros(ctx.worker.clock.now()));
    download::run(ctx, client, scratch, answered, record).await?;
    record.ending = Ending::ANSWERED;
    Ok(Finish::Complete)
}

fn route(
    ctx: Context<'_>,
    head: &RequestHead,
    record: &mut Exchange,
    found: &mut Option<Found>,
) -> Result<Arc<crate::route::Destination>, Stop> {
    if let Some(server_name) = &ctx.peer.server_name
        && !ctx.listening.same_certificate(server_name, head.target.host())
    {
        return Err(Stop::refused(Phase::Policy, Fault::Misdirected));
    }
    match ctx.serving.routes.find(head) {
        Ok(hit) => {
            let destination = hit.destination.clone();
            record.service = Some(destination.service.name.clone());
            record.route = Some(destination.route.name.clone());
            *found = Some(hit);
            Ok(destination)
        }
        Err(miss) => {
            let answer = Answer { allow: miss.allow, ..Answer::new(miss.fault) };
            Err(Stop::Refused { answer, phase: Phase::Policy, detail: None })
        }
    }
}

/// Those of the route, after those of a route that the path may mean to the target.
fn apply_policies(
    ctx: Context<'_>,
    head: &mut RequestHead,
    found: Option<&Found>,
    record: &mut Exchange,
) -> Result<(), Stop> {
    let Some(found) = found else { return Ok(()) };
    let consumers = &ctx.serving.consumers;
    let stop = |rejection: policy::Rejection| Stop::Refused {
        answer: Answer { challenge: rejection.challenge, ..Answer::new(rejection.fault) },
        phase: Phase::Policy,
        detail: Some(rejection.detail.into()),
    };
    if let Some(guard) = ctx.serving.routes.guard(head, found) {
        // Rare, so that a copy does no harm: what these rules take from a request is not for the route's own to miss.
        let mut copy = head.clone();
        let consumer = &mut record.consumer;
        let mut subject = Subject { head: &mut copy, consumers, consumer, verifies_signatures: false };
        if let Err(rejection) = guard.policies.on_request(&mut subject) {
            record.service = Some(guard.service.name.clone());
            record.route = Some(guard.route.name.clone());
            return Err(stop(rejection));
        }
    }
    let verifies_signatures = found.destination.offer.is_some();
    let mut subject = Subject { head, consumers, consumer: &mut record.consumer, verifies_signatures };
    found.destination.policies.on_request(&mut subject).map_err(stop)
}

/// Makes the client's fields those of the forwarded request, but for what depends on the target.
fn prepare_fields(ctx: Context<'_>, head: &mut RequestHead, facts: &RequestFacts, record: &Exchange) {
    let external_id = record.external_id.as_deref();
    let hop = if facts.upgrade {
        wire::strip_hop_by_hop_but_upgrade(&mut head.fields)
    } else {
        wire::strip_hop_by_hop(&mut head.fields)
    };
    if hop.te_trailers {
        head.fields.push_known(Known::Te, b"trailers");
    }
    forward::rewrite_fields(head, ctx.peer, record.id, external_id, ctx.worker);
}

/// Begins the response of the target.
fn respond<D: Downstream>(ctx: Context<'_>, client: &mut D, scratch: &mut Scratch, answered: &Answered) {
    let head = &mut scratch.response;
    wire::strip_hop_by_hop(&mut head.fields);
    head.fields.remove(Known::XAccelBuffering);
    ctx.worker.clock.date(&mut head.fields);
    let bodiless = scratch.request.method == model::Method::Head || matches!(head.status, 204 | 304);
    client.respond(
        head,
        ResponseForm { framing: answered.framing, bodiless, last: ctx.worker.is_draining(ctx.listening) },
    );
}

/// After a 101 the connection belongs to another protocol: bytes go both ways until both ends are done.
async fn upgrade<D: Downstream>(
    ctx: Context<'_>,
    client: &mut D,
    scratch: &mut Scratch,
    answered: Answered,
    record: &mut Exchange,
) -> Result<Finish, Stop> {
    let idle = answered.destination.route.timeouts.body_idle;
    let Answered { lease, .. } = answered;
    scratch.collected = None;
    let target = lease.target().clone();
    wire::strip_hop_by_hop_but_upgrade(&mut scratch.response.fields);
    client
        .respond(&mut scratch.response, ResponseForm { framing: Framing::None, bodiless: true, last: true });
    record.status = 101;
    record.timeline.response_micros = Some(ctx.micros(ctx.worker.clock.tick()));
    let counted = lease.connection.counts();
    let (Some(end), Some((io, input))) = (client.tunnel_end(), lease.connection.into_tunnel()) else {
        return Err(Stop::refused(Phase::Body, Fault::Internal));
    };
    let outcome = tunnel::run(ctx, end, io, input, idle).await;
    record.request_body_bytes = outcome.to_target;
    record.response_body_bytes = outcome.to_client;
    record.ending = outcome.ending;
    let bytes = (counted.0 + outcome.to_target, counted.1 + outcome.to_client);
    attempt_log::finish(ctx, record, &target, ctx.worker.clock.tick(), bytes, outcome.ending);
    Ok(Finish::Tunneled)
}

/// Writes the ending into the record; gives the answer that the client shall have, if it can still have one.
pub(crate) fn close_record(stop: Stop, has_responded: bool, record: &mut Exchange) -> Option<Answer> {
    let (answer, ending, detail) = match stop {
        Stop::Refused { answer, phase, detail } => {
            let ending = Ending::failed(phase, answer.fault);
            (Some(answer), ending, detail)
        }
        Stop::Upstream(failure) => (Some(Answer::new(failure.fault)), failure.ending(), failure.detail),
        Stop::Timeout { fault, phase, limit } => {
            let answer = if fault == Fault::ClientSendTimeout { None } else { Some(Answer::new(fault)) };
            (answer, Ending::failed(phase, fault), Some(limit_text(limit)))
        }
        Stop::Client { failure, phase } => match failure {
            ClientFailure::Gone => {
                let ending = Ending { by: Party::Client, during: phase, fault: Some(Fault::ClientGone) };
                (None, ending, None)
            }
            ClientFailure::Malformed { fault, rule } => {
                (Some(Answer::new(fault)), Ending::failed(phase, fault), Some(rule.into()))
            }
            ClientFailure::TooLarge { max } => {
                let fault = Fault::RequestBodyTooLarge;
                let limit = Limit::Bytes { name: LimitName::RequestBody, max };
                (Some(Answer::new(fault)), Ending::failed(phase, fault), Some(limit_text(limit)))
            }
        },
    };
    record.ending = ending;
    record.detail = detail;
    if has_responded {
        return None;
    }
    record.status = ending.fault.map_or(0, Fault::status);
    answer
}

pub(crate) fn limit_text(limit: Limit) -> Box<str> {
    match limit {
        Limit::Bytes { name: LimitName::BodyRate, max } => {
            format!("{} asks for at least {max} bytes per second", LimitName::BodyRate)
        }
        Limit::Bytes { name, max } => format!("{name} is limited to {max} bytes"),
        Limit::Count { name, max } => format!("{name} is limited to {max}"),
        Limit::Time { name, max } => format!("{name} is limited to {max:?}"),
    }
    .into()
}

/// Sends an answer of our own.
pub(crate) async fn send_answer<D: Downstream>(
    ctx: Context<'_>,
    client: &mut D,
    head: &mut ResponseHead,
    body: bytes::Bytes,
    is_head: bool,
    record: &mut Exchange,
) -> Finish {
    let framing = if body.is_empty() { Framing::None } else { Framing::Length(body.len() as u64) };
    set_request_id(&mut head.fields, record);
    ctx.worker.clock.date(&mut head.fields);
    client.respond(
        head,
        ResponseForm { framing, bodiless: is_head, last: ctx.worker.is_draining(ctx.listening) },
    );
    record.timeline.response_micros = Some(ctx.micros(ctx.worker.clock.tick()));
    let mut body = Whole::new(if is_head { bytes::Bytes::new() } else { body });
    let deadline = Instant::now() + ctx.listening.settings().timeouts.client_send;
    let mut timer = ctx.worker.lend_timer();
    let sent = poll_fn(|cx| {
        if let Poll::Ready(result) = client.poll_download(&mut body, cx) {
            return Poll::Ready(result.is_ok());
        }
        timer.poll(deadline, cx).map(|()| false)
    })
    .await;
    ctx.worker.return_timer(timer);
    record.response_body_bytes = client.counts().1;
    if sent { Finish::Complete } else { Finish::Abort }
}

/// Tells the client under which id the exchange is found again.
pub(crate) fn set_request_id(fields: &mut wire::Fields, record: &Exchange) {
    match &record.external_id {
        Some(id) => fields.set(Known::XRequestId, id.as_bytes()),
        None => fields.set(Known::XRequestId, &record.id.to_ascii()),
    }
}

/// Reads the rest of a request body that nobody wanted, within bounds; says whether it was read to its end.
pub(crate) async fn discard_body<D: Downstream>(client: &mut D, deadline: Instant, max: u64) -> bool {
    let mut timer = crate::deadline::Deadline::default();
    let mut read = 0u64;
    poll_fn(|cx| {
        loop {
            match client.poll_piece(cx) {
                Poll::Ready(Ok(Offer::End)) => return Poll::Ready(true),
                Poll::Ready(Ok(Offer::Piece)) => {
                    let n = client.piece().len();
                    read += n as u64;
                    client.consume(n);
                    if read > max {
                        return Poll::Ready(false);
                    }
                }
                Poll::Ready(Err(_)) => return Poll::Ready(false),
                Poll::Pending => return timer.poll(deadline, cx).map(|()| false),
            }
        }
    })
    .await
}
