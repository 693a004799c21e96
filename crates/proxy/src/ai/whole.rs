//! Answers that are read whole before the client gets a byte of them: what is no answer must not pass as one.

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ai::problem::ErrorHead;
use ai::{Operation, Problem, Protocol, Speak};
use bytes::Bytes;
use model::{Ending, Exchange, Phase, Usage};
use upstream::body::{Offer, Source};
use wire::{Fields, Known, ResponseHead};

use super::bridge::Bridge;
use super::lanes::Lane;
use super::{Call, Failed};
use crate::attempt::Answered;
use crate::attempt_log;
use crate::await_head::moved;
use crate::client::{ClientFailure, Downstream};
use crate::download;
use crate::exchange::{Context, Finish, Stop, send_answer};
use crate::watch::Due;

/// So much of an error is read; the connection is used again if that was all.
pub(super) const ERROR_BYTES_MAX: usize = 256 << 10;
/// The largest answer: pictures travel in them.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// What a provider tells of its limits and its time, and Anthropic's id of the request. Cookies and everything else stay here.
const RELAYED: [&str; 3] = ["x-ratelimit-", "anthropic-ratelimit-", "openai-processing-ms"];

/// Reads the body to its end. `None` if it is larger than that.
pub(super) async fn read<D: Downstream>(
    ctx: Context<'_>,
    bridge: &mut Bridge<'_, D>,
    record: &mut Exchange,
    mut answered: Answered,
    max: usize,
) -> Result<Option<Vec<u8>>, Stop> {
    let mut body = Vec::new();
    let mut timer = ctx.worker.lend_timer();
    let read = {
        let Answered { lease, destination, watch, .. } = &mut answered;
        poll_fn(|cx| {
            loop {
                match lease.connection.poll_piece(cx) {
                    Poll::Ready(Ok(Offer::Piece)) => {
                        let piece = lease.connection.piece();
                        if body.len() + piece.len() > max {
                            return Poll::Ready(Ok(false));
                        }
                        body.extend_from_slice(piece);
                        let n = piece.len();
                        lease.connection.consume(n);
                    }
                    Poll::Ready(Ok(Offer::End)) => return Poll::Ready(Ok(true)),
                    Poll::Ready(Err(failure)) => return Poll::Ready(Err(Stop::Upstream(failure))),
                    Poll::Pending => break,
                }
            }
            if bridge.poll_gone(cx).is_ready() {
                let stop = Stop::Client { failure: ClientFailure::Gone, phase: Phase::Body };
                return Poll::Ready(Err(stop));
            }
            let timeouts = &destination.route.timeouts;
            let expiry = watch.next(ctx, timeouts, Due::ResponseBody, moved(bridge, lease));
            timer.poll(expiry.at, cx).map(|()| Err(expiry.stop()))
        })
        .await
    };
    ctx.worker.return_timer(timer);
    let Answered { lease, .. } = answered;
    match read {
        Ok(is_whole) => {
            let now = ctx.worker.clock.tick();
            attempt_log::finish(
                ctx,
                record,
                lease.target(),
                now,
                lease.connection.counts(),
                Ending::ANSWERED,
            );
            if is_whole {
                ctx.worker.pool.release(lease, now);
            }
            Ok(is_whole.then_some(body))
        }
        Err(stop) => {
            attempt_log::abandon(ctx, record, lease.target(), Some(&lease), &stop);
            Err(stop)
        }
    }
}

/// What counts of the head of an error, kept while its body is read.
#[derive(Clone, Debug)]
pub(super) struct KeptHead {
    status: u16,
    error_type: Option<String>,
    retry_after: Option<Duration>,
}

pub(super) fn error_head(head: &ResponseHead) -> KeptHead {
    let text = |value: &[u8]| std::str::from_utf8(value).ok().map(str::to_owned);
    KeptHead {
        status: head.status,
        error_type: head.fields.find(b"x-amzn-errortype").and_then(text),
        retry_after: head.fields.get(Known::RetryAfter).and_then(text).and_then(|text| seconds(&text)),
    }
}

/// Seconds (RFC 9110 section 10.2.3); the other form, a date, providers do not use.
fn seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// What an answer means that is no success.
pub(super) fn problem(head: KeptHead, body: &[u8]) -> Problem {
    let KeptHead { status, error_type, retry_after } = head;
    if (300..400).contains(&status) {
        return Problem::unreadable(
            status,
            &format!("the provider answered {status}; redirects are not followed"),
        );
    }
    Problem::of_answer(ErrorHead { status, error_type: error_type.as_deref(), retry_after }, body)
}

/// Reads a whole answer, and gives it to the client in the client's own words.
pub(super) async fn run<D: Downstream>(
    call: &mut Call<'_>,
    lane: &Lane,
    answered: Answered,
    bridge: &mut Bridge<'_, D>,
) -> Result<Finish, Failed> {
    let ctx = call.ctx;
    let operation = call.ask.endpoint.operation;
    let fields = &call.scratch.response.fields;
    let media_type: Vec<u8> = fields.get(Known::ContentType).unwrap_or_default().into();
    let relayed = relayed(fields);
    let is_json = media_type.starts_with(b"application/json");
    if !is_json && operation != Operation::Generate {
        return forward(call, lane, answered, bridge, &relayed, &media_type).await;
    }
    let status = call.scratch.response.status;
    let body = read(ctx, bridge, call.record, answered, ANSWER_BYTES_MAX).await.map_err(Failed::Stop)?;
    let body = body.ok_or_else(|| {
        Failed::Problem(Problem::unreadable(status, "the provider's answer is larger than 64 MiB"))
    })?;
    let body = judge(call, lane, body).map_err(Failed::Problem)?;
    note(call, lane);
    let head = &mut call.scratch.response;
    head.clear();
    head.status = status;
    head.fields.push_known(Known::ContentType, b"application/json");
    head.fields.push_known(Known::ContentLength, body.len().to_string().as_bytes());
    head.fields.append(&relayed);
    about(ctx, call.record, lane, &mut head.fields);
    call.record.status = status;
    call.record.ending = Ending::ANSWERED;
    let finish = send_answer(ctx, bridge.client, head, Bytes::from(body), false, call.record).await;
    Ok(finish)
}

/// Whether it is an answer; what it used goes into the record.
fn judge(call: &mut Call<'_>, lane: &Lane, body: Vec<u8>) -> Result<Vec<u8>, Problem> {
    let (client, is_stream) = (call.ask.protocol(), call.ask.stream);
    if is_stream {
        return Err(not_a_stream(&body));
    }
    if call.ask.endpoint.operation != Operation::Generate {
        let value: serde_json::Value = serde_json::from_slice(&body).map_err(|error| {
            Problem::unreadable(200, &format!("the provider answered with broken JSON: {error}"))
        })?;
        if let Some(problem) = Problem::inside(&value) {
            return Err(problem);
        }
        if let Some(record) = &mut call.record.ai {
            record.usage = of_others(&value);
        }
        return Ok(body);
    }
    let mut response = lane.protocol.decode_response(&body)?;
    if let Some(record) = &mut call.record.ai {
        record.usage = response.usage;
    }
    if lane.protocol == client {
        return Ok(body);
    }
    fill(&mut response.id, &own_id(call.record));
    fill(&mut response.model, &lane.model);
    Ok(client.encode_response(&response, unix_seconds()).to_string().into_bytes())
}

/// The id of an answer whose provider has none for it.
pub(super) fn own_id(record: &Exchange) -> String {
    format!("cw-{}", record.id)
}

pub(super) fn fill(text: &mut String, with: &str) {
    if text.is_empty() {
        with.clone_into(text);
    }
}

/// A stream was asked for, and something else came.
fn not_a_stream(body: &[u8]) -> Problem {
    match Protocol::Chat.decode_response(body) {
        Err(problem) => problem,
        Ok(_) => Problem::unreadable(200, "the provider answered a request for a stream with a whole answer"),
    }
}

/// The usage of embeddings and the like.
fn of_others(value: &serde_json::Value) -> Usage {
    let count =
        |pointer: &str| value.pointer(pointer).and_then(serde_json::Value::as_u64).unwrap_or_default();
    Usage {
        input: count("/usage/prompt_tokens").max(count("/usage/input_tokens")),
        output: count("/usage/completion_tokens").max(count("/usage/output_tokens")),
        ..Usage::default()
    }
}

pub(super) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// When the first content is there.
pub(super) fn note(call: &mut Call<'_>, lane: &Lane) {
    let micros = call.ctx.micros(call.ctx.worker.clock.tick());
    if let Some(record) = &mut call.record.ai {
        record.first_content_micros.get_or_insert(micros);
        record.cost_nanos = ai::catalogue::cost(&lane.provider.kind, &lane.model, &record.usage);
    }
}

/// What a provider's head tells the client.
pub(super) fn relayed(fields: &Fields) -> Fields {
    let mut relayed = Fields::new();
    for field in fields.iter() {
        let name = field.name.to_ascii_lowercase();
        if RELAYED.iter().any(|prefix| name.starts_with(prefix.as_bytes())) {
            relayed.push(field.name, field.value);
        }
        if name == b"request-id" {
            relayed.push(b"x-clearway-provider-request-id", field.value);
        }
    }
    relayed
}

/// Who answered, after how many attempts, and what of the time was Clearway's own.
pub(super) fn about(ctx: Context<'_>, record: &Exchange, lane: &Lane, fields: &mut Fields) {
    fields.push(b"x-clearway-provider", lane.provider.name.as_bytes());
    fields.push(b"x-clearway-model", lane.model.as_bytes());
    fields.push(b"x-clearway-attempts", record.attempts.len().to_string().as_bytes());
    if let Some(call) = &record.ai {
        if let Some(cost) = call.cost_nanos {
            fields.push(b"x-clearway-cost-nanodollars", cost.to_string().as_bytes());
        }
        if !call.losses.is_empty() {
            fields.push(b"x-clearway-losses", call.losses.join(",").as_bytes());
        }
    }
    let theirs: Duration =
        record.attempts.iter().map(|attempt| attempt.await_head.unwrap_or(attempt.total)).sum();
    let all = ctx.micros(ctx.worker.clock.tick());
    let own = all.saturating_sub(theirs.as_micros() as u64);
    fields.push(b"x-clearway-overhead-us", own.to_string().as_bytes());
}

/// Sound, pictures and files go on as they come.
async fn forward<D: Downstream>(
    call: &mut Call<'_>,
    lane: &Lane,
    answered: Answered,
    bridge: &mut Bridge<'_, D>,
    relayed: &Fields,
    media_type: &[u8],
) -> Result<Finish, Failed> {
    let ctx = call.ctx;
    if media_type.starts_with(b"text/html") {
        let _ = read(ctx, bridge, call.record, answered, ERROR_BYTES_MAX).await.map_err(Failed::Stop)?;
        let problem =
            Problem::unreadable(200, "the provider answered 200 with a page instead of its own format");
        return Err(Failed::Problem(problem));
    }
    let framing = answered.framing;
    let head = &mut call.scratch.response;
    let status = head.status;
    head.clear();
    head.status = status;
    head.fields.push_known(Known::ContentType, media_type);
    if let wire::Framing::Length(length) = framing {
        head.fields.push_known(Known::ContentLength, length.to_string().as_bytes());
    }
    head.fields.append(relayed);
    about(ctx, call.record, lane, &mut head.fields);
    crate::exchange::set_request_id(&mut head.fields, call.record);
    ctx.worker.clock.date(&mut head.fields);
    let last = ctx.worker.is_draining(ctx.listening);
    bridge.client.respond(head, crate::client::ResponseForm { framing, bodiless: false, last });
    call.record.status = status;
    call.record.timeline.response_micros = Some(ctx.micros(ctx.worker.clock.tick()));
    download::run(ctx, bridge.client, call.scratch, answered, call.record).await.map_err(Failed::Stop)?;
    call.record.ending = Ending::ANSWERED;
    Ok(Finish::Complete)
}

/// The reason for a stream whose end never came.
pub(super) fn unfinished() -> Problem {
    let message = "the provider's stream ended before its answer did";
    Problem { code: "unfinished".into(), ..Problem::unreadable(200, message) }
}
