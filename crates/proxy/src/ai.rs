//! AI calls: one honest API in front of every model.
//!
//! ```text
//! body ─▶ what is asked ─▶ lanes ─▶ attempt (the house's own loop) ─▶ judge ─┐
//!                            ▲                                  another lane ┤
//!                            └───────────────────────────────────────────────┘
//!                                       first content ─▶ relay ─▶ client
//! ```
//!
//! A lane is a provider, one of its models, and a key. Until the first content has gone to the client another lane may answer in
//! the place of one that fails; from then on a failure is told in the stream, in the client's own dialect. [`bridge`] keeps the
//! client's connection alive meanwhile. Nothing here owns a socket: attempts are made by [`crate::attempt`].

mod answer;
mod ask;
mod bridge;
mod lanes;
mod listing;
mod offer;
mod outgoing;
mod relay;
mod rest;
mod whole;

use std::time::{Duration, Instant};

use ai::endpoint::Hints;
use ai::{Class, Endpoint, Operation, Problem, Protocol};
use bytes::Bytes;
use model::gateway::RequestBuffering;
use model::{AiCall, ByteSize, Exchange, Fault, Method, Phase, RetryRule, Usage};
use policy::aws_signature;
use upstream::Affinity;
use wire::{Framing, Known, RequestFacts, RequestHead};

pub(crate) use self::answer::{Dialect, Words};
pub use self::offer::Offer;
pub use self::rest::Rests;

use self::ask::Ask;
use self::bridge::Bridge;
use self::lanes::{Lane, Plan};
use self::relay::Outcome;
use crate::admit;
use crate::answer::Answer;
use crate::attempt::{Answered, Trial};
use crate::attempt_log::Before;
use crate::client::{ClientFailure, Downstream};
use crate::collect::{self, Wanted};
use crate::exchange::{Context, Finish, Scratch, Stop, close_record};
use crate::forward::PathRewrite;
use crate::route::Found;

/// The largest request: pictures and documents travel in them.
const BODY_BYTES_MAX: u64 = 64 << 20;
/// Lanes that are asked for one request.
const LANES_MAX: usize = 6;
/// Before the same lane is asked again.
const AGAIN_AFTER: Duration = Duration::from_millis(300);
const ASKED_BYTES_MAX: usize = 128;

/// Runs an AI call, from its head on.
pub(crate) async fn run<D: Downstream>(
    ctx: Context<'_>,
    client: &mut D,
    scratch: &mut Scratch,
    facts: &RequestFacts,
    record: &mut Exchange,
    found: &Found,
) -> Result<Finish, Stop> {
    let endpoint = place(&scratch.request, record)?;
    // Where nobody has to be anybody, what AWS's SDKs sign with is not looked at.
    let is_signed = record.consumer.is_some() && aws_signature::is_signed(&scratch.request);
    if is_signed && endpoint.protocol != Protocol::Bedrock {
        // Nothing else than Bedrock's SDKs signs, and nothing but their requests is verified.
        record.consumer = None;
        return Err(Stop::refused(Phase::Policy, Fault::Unauthenticated));
    }
    let Some(offer) = &found.destination.offer else {
        return Err(Stop::refused(Phase::Policy, Fault::Internal));
    };
    if matches!(endpoint.operation, Operation::Models | Operation::Model) {
        return listing::run(ctx, client, scratch, record, &endpoint, offer).await;
    }
    if endpoint.operation.has_json_body() && scratch.request.method != Method::Post {
        let answer = Answer { allow: vec![Method::Post], ..Answer::new(Fault::MethodNotAllowed) };
        return Err(Stop::Refused { answer, phase: Phase::Policy, detail: None });
    }
    let body = read(ctx, client, scratch, facts, found).await?;
    if is_signed {
        verify(ctx, &scratch.request, &body, record)?;
    }
    let ask = Ask::new(endpoint, &scratch.request, body).map_err(|reject| answer::malformed(&reject))?;
    if let Some(call) = &mut record.ai {
        call.asked = cut(ask.model());
        call.stream = ask.stream;
    }
    let plan = offer.plan(&ask, ctx.worker.ids.borrow_mut().random())?;
    let hold = admit::admit(ctx, record, plan.estimate(&ask))?;
    let protocol = ask.endpoint.protocol;
    let mut bridge = Bridge::new(ctx, client, ask.stream.then_some(protocol), &record.id.to_ascii());
    let mut call = Call { ctx, scratch, record, ask: &ask, plan };
    let told = call.until_told(&mut bridge).await;
    admit::settle(hold, record);
    match told {
        // The client has an answer that has begun: what went wrong can only be told in it.
        Err(stop) if bridge.has_begun() => {
            let said = answer::said(&stop);
            close_record(stop, true, record);
            let id = record.id.to_string();
            let finish = bridge.break_off(ctx, &said.told(&id)).await;
            record.status = 200;
            record.response_body_bytes = bridge.counts().1;
            Ok(finish)
        }
        other => other,
    }
}

/// Whoever a policy took the caller for has signed the request.
fn verify(ctx: Context<'_>, head: &RequestHead, body: &[u8], record: &mut Exchange) -> Result<(), Stop> {
    let verified = aws_signature::verify(head, body, &ctx.serving.consumers, whole::unix_seconds()).map_err(
        |rejection| {
            record.consumer = None;
            let answer = Answer { challenge: rejection.challenge, ..Answer::new(rejection.fault) };
            Stop::Refused { answer, phase: Phase::Policy, detail: Some(rejection.detail.into()) }
        },
    )?;
    record.consumer = Some(verified);
    Ok(())
}

/// How a client at this place is told of errors.
pub(crate) fn dialect(head: &RequestHead) -> Option<Dialect> {
    find(head).map(|endpoint| Dialect { protocol: endpoint.protocol })
}

fn find(head: &RequestHead) -> Option<Endpoint> {
    let hints = Hints {
        anthropic_version: head.fields.find(b"anthropic-version").is_some(),
        google_client: head.fields.find(b"x-goog-api-client").is_some(),
    };
    Endpoint::find(head.target.path(), hints)
}

/// What the path asks for, noted in the record.
fn place(head: &RequestHead, record: &mut Exchange) -> Result<Endpoint, Stop> {
    let endpoint = find(head).ok_or_else(|| Stop::refused(Phase::Policy, Fault::NoRoute))?;
    record.ai = Some(Box::new(AiCall {
        protocol: endpoint.protocol,
        operation: endpoint.operation.id().into(),
        asked: "".into(),
        provider: None,
        model: None,
        key: None,
        stream: false,
        usage: Usage::default(),
        usage_is_estimated: false,
        cost_nanos: None,
        first_content_micros: None,
        losses: Vec::new(),
    }));
    Ok(endpoint)
}

/// The whole body, in memory.
async fn read<D: Downstream>(
    ctx: Context<'_>,
    client: &mut D,
    scratch: &mut Scratch,
    facts: &RequestFacts,
    found: &Found,
) -> Result<Bytes, Stop> {
    let max = found.destination.route.body_bytes_max.map_or(BODY_BYTES_MAX, |max| max.0.min(BODY_BYTES_MAX));
    let too_large = || Stop::Client { failure: ClientFailure::TooLarge { max }, phase: Phase::ReadRequest };
    let wanted = match facts.framing {
        Framing::None | Framing::Close => return Ok(Bytes::new()),
        Framing::Length(length) if length > max => return Err(too_large()),
        Framing::Length(length) => Wanted::Known(length),
        Framing::Chunked => Wanted::Whole,
    };
    client.limit_body(Some(max));
    let limits = RequestBuffering {
        enabled: true,
        memory_max: ByteSize(BODY_BYTES_MAX + 1),
        file_max: ByteSize(BODY_BYTES_MAX),
    };
    scratch.is_collecting = true;
    let collected = collect::body(ctx, client, &found.destination.route.timeouts, limits, wanted).await;
    scratch.is_collecting = false;
    let whole = collected?.filter(|body| body.is_whole() && body.file().is_none());
    let body = whole.ok_or_else(|| Stop::refused(Phase::ReadRequest, Fault::Overloaded))?;
    let bytes = body.bytes().clone();
    // It is counted as held for as long as the exchange may have to send it.
    scratch.collected = Some(body);
    Ok(bytes)
}

fn cut(text: &str) -> Box<str> {
    let mut end = text.len().min(ASKED_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().into()
}

/// A call under way.
struct Call<'a> {
    ctx: Context<'a>,
    scratch: &'a mut Scratch,
    record: &'a mut Exchange,
    ask: &'a Ask,
    plan: Plan,
}

/// Why a lane came to nothing, for now.
enum Failed {
    Problem(Problem),
    /// The exchange ends here, or the connection to the provider did.
    Stop(Stop),
}

impl Call<'_> {
    /// Asks lanes until the client has been told something: an answer, or why there is none.
    async fn until_told<D: Downstream>(&mut self, bridge: &mut Bridge<'_, D>) -> Result<Finish, Stop> {
        let mut asked = 0;
        let mut why = None;
        loop {
            let now = Instant::now();
            let Some(lane) = self.plan.next(now) else {
                return Err(answer::resting(self.plan.rests_for(now)));
            };
            asked += 1;
            let failed = match self.ask_lane(&lane, why, bridge).await {
                Ok(finish) => {
                    lane.rest.succeeded();
                    return Ok(finish);
                }
                Err(failed) => failed,
            };
            let failed = match failed {
                Failed::Stop(stop) if !is_lanes_doing(&stop) => {
                    lane.rest.abandoned();
                    return Err(stop);
                }
                failed => failed,
            };
            let class = class(&failed);
            lane.rest.failed(class, retry_after(&failed), Instant::now());
            let is_over = class == Class::Client
                || bridge.has_content()
                || asked >= LANES_MAX
                || (may_be_done(class) && !self.may_repeat());
            if is_over {
                return self.tell(failed, &lane, bridge).await;
            }
            why = match self.plan.after(&lane, class, Instant::now()) {
                lanes::After::Other => Some(RetryRule::OtherLane),
                lanes::After::Same => {
                    self.pause(bridge).await?;
                    Some(RetryRule::SameLane)
                }
                lanes::After::None => return self.tell(failed, &lane, bridge).await,
            };
        }
    }

    /// Whether it does no harm if two lanes, or one twice, do what is asked.
    fn may_repeat(&self) -> bool {
        self.ask.endpoint.operation.may_repeat() || self.ask.method.is_idempotent()
    }

    /// What the last lane said is what the client is told.
    async fn tell<D: Downstream>(
        &mut self,
        failed: Failed,
        lane: &Lane,
        bridge: &mut Bridge<'_, D>,
    ) -> Result<Finish, Stop> {
        let problem = match failed {
            Failed::Stop(stop) => return Err(stop),
            Failed::Problem(problem) => problem,
        };
        let stop = answer::of_problem(problem, lane, Phase::AwaitHead);
        if bridge.has_begun() {
            return Err(stop);
        }
        let Stop::Refused { answer, detail, .. } = stop else { return Err(stop) };
        answer::send(self.ctx, bridge.client, self.scratch, self.record, answer, detail).await
    }

    /// One lane, from the request to the end of its answer.
    async fn ask_lane<D: Downstream>(
        &mut self,
        lane: &Lane,
        why: Option<RetryRule>,
        bridge: &mut Bridge<'_, D>,
    ) -> Result<Finish, Failed> {
        let ctx = self.ctx;
        let outgoing =
            outgoing::build(self.ask, lane).map_err(|reject| Failed::Stop(answer::malformed(&reject)))?;
        if let Some(call) = &mut self.record.ai {
            call.provider = Some(lane.provider.name.clone());
            call.model = Some(lane.model.clone());
            call.key = lane.key.as_ref().map(|key| key.name.clone());
            call.losses = outgoing.losses.names().map(Into::into).collect();
        }
        let kept = std::mem::replace(&mut self.scratch.request, outgoing.head);
        let before = self.scratch.collected.take();
        self.scratch.collected = Some(collect::Collected::in_memory(ctx, outgoing.body));
        let rewrite = PathRewrite { target: Some(outgoing.target), prefix: "".into() };
        let facts =
            RequestFacts { framing: Framing::None, keep_alive: true, expect_continue: false, upgrade: false };
        let trial = Trial {
            ctx,
            client: &mut *bridge,
            scratch: self.scratch,
            facts: &facts,
            destination: &lane.destination,
            rewrite: &rewrite,
            affinity: Affinity::default(),
            record: self.record,
            before: Before { why, waited: None },
        };
        let answered = trial.until_answered().await;
        self.scratch.request = kept;
        self.scratch.collected = before;
        let answered = answered.map_err(Failed::Stop)?;
        self.judge(lane, answered, bridge).await
    }

    /// Reads as much of an answer as tells whether it is one, and gives it to the client if so.
    async fn judge<D: Downstream>(
        &mut self,
        lane: &Lane,
        answered: Answered,
        bridge: &mut Bridge<'_, D>,
    ) -> Result<Finish, Failed> {
        let (ctx, status) = (self.ctx, self.scratch.response.status);
        if !(200..300).contains(&status) {
            let head = whole::error_head(&self.scratch.response);
            let body = whole::read(ctx, bridge, self.record, answered, whole::ERROR_BYTES_MAX).await;
            let body = body.map_err(Failed::Stop)?.unwrap_or_default();
            return Err(Failed::Problem(whole::problem(head, &body)));
        }
        let media_type = self.scratch.response.fields.get(Known::ContentType).unwrap_or_default();
        let is_stream = media_type.starts_with(b"text/event-stream")
            || media_type.starts_with(b"application/vnd.amazon.eventstream");
        if self.ask.stream
            && (is_stream || lane.is_json_array(self.ask) && media_type.starts_with(b"application/json"))
        {
            return match relay::run(self, lane, answered, bridge).await {
                Outcome::Told(finish) => Ok(finish),
                Outcome::Failed(failed) => Err(failed),
            };
        }
        whole::run(self, lane, answered, bridge).await
    }

    /// Waits a moment before the same lane is asked again; a client that leaves meanwhile leaves.
    async fn pause<D: Downstream>(&mut self, bridge: &mut Bridge<'_, D>) -> Result<(), Stop> {
        let random = self.ctx.worker.ids.borrow_mut().random();
        let pause = AGAIN_AFTER + AGAIN_AFTER.mul_f64((random % 1000) as f64 / 1000.0);
        bridge.wait(self.ctx.worker.clock.tick() + pause).await
    }
}

/// Whether another lane could do better: not where the client left, or the whole exchange ran out of time.
fn is_lanes_doing(stop: &Stop) -> bool {
    match stop {
        Stop::Upstream(_) => true,
        Stop::Refused { answer: Answer { fault, .. }, .. } => {
            matches!(fault, Fault::QueueFull | Fault::QueueTimeout | Fault::NoTarget)
        }
        Stop::Client { .. } | Stop::Timeout { .. } => false,
    }
}

/// Whether the provider may have done what was asked although it failed. What it refuses it has not done.
fn may_be_done(class: Class) -> bool {
    matches!(class, Class::Server | Class::Unreadable)
}

fn class(failed: &Failed) -> Class {
    match failed {
        Failed::Problem(problem) => problem.class,
        Failed::Stop(_) => Class::Server,
    }
}

fn retry_after(failed: &Failed) -> Option<Duration> {
    match failed {
        Failed::Problem(problem) => problem.retry_after,
        Failed::Stop(_) => None,
    }
}
