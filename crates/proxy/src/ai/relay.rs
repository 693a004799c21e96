//! A streamed answer on its way: held until its first content, listened to all the way, and never completed if the provider did not.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use ai::form::Event;
use ai::frame::{Framing as StreamFraming, JsonArray};
use ai::protocol::{Speak, StreamEncoder, StreamEnd, StreamSettings};
use ai::tap::Reader;
use ai::{Problem, Protocol};
use model::{Ending, Fault, Phase, Usage};
use upstream::body::{Offer, Source};
use wire::sse::Framer;

use super::bridge::Bridge;
use super::lanes::Lane;
use super::whole;
use super::{Call, Failed, answer};
use crate::attempt::Answered;
use crate::attempt_log;
use crate::await_head::moved;
use crate::client::{ClientFailure, Downstream};
use crate::exchange::{Finish, Stop};
use crate::watch::Due;

/// Start-up frames that are held: more than any provider sends before its first word.
const HELD_BYTES_MAX: usize = 256 << 10;

/// What became of a stream.
pub(super) enum Outcome {
    Told(Finish),
    Failed(Failed),
}

/// Turns what comes into what the client gets.
struct Relay {
    reader: Reader,
    /// `None` where the client speaks the provider's protocol: its bytes go on.
    encoder: Option<StreamEncoder>,
    /// Where events of the provider's own bytes end, so that one that is an error is not passed on.
    framer: Framer,
    /// The beginning of an event whose end has not come.
    begun: Vec<u8>,
    events: Vec<Event>,
    /// For the client, before the first content.
    held: Vec<u8>,
    is_event_stream: bool,
    /// For clients whose protocol has an id and a model where the provider's has none.
    id: String,
    model: Arc<str>,
}

impl Relay {
    fn new(call: &Call<'_>, lane: &Lane) -> Relay {
        let client = call.ask.protocol();
        let settings = StreamSettings {
            unix_seconds: whole::unix_seconds(),
            usage: call.ask.request_usage(),
            whole_tool_calls: false,
        };
        let mut reader = Reader::new(lane.protocol);
        if lane.is_json_array(call.ask) {
            reader = reader.with_framing(StreamFraming::JsonArray(JsonArray::default()));
        }
        Relay {
            reader,
            encoder: (lane.protocol != client).then(|| client.stream_encoder(settings)),
            framer: Framer::new(ai::frame::FRAME_BYTES_MAX),
            begun: Vec::new(),
            events: Vec::new(),
            held: Vec::new(),
            id: whole::own_id(call.record),
            model: lane.model.clone(),
            is_event_stream: lane.protocol != Protocol::Bedrock && !lane.is_json_array(call.ask),
        }
    }

    /// Reads a piece; what the client gets of it is added to what is held.
    fn push(&mut self, piece: &[u8]) -> Result<(), Problem> {
        if self.encoder.is_some() {
            let read = self.reader.push(piece, &mut self.events);
            self.encode();
            return read;
        }
        if !self.is_event_stream {
            self.reader.push(piece, &mut self.events)?;
            self.events.clear();
            self.held.extend_from_slice(piece);
            return Ok(());
        }
        let mut rest = piece;
        while let Some((event, after)) = self.next_event(rest)?.and_then(|end| rest.split_at_checked(end)) {
            let begun = std::mem::take(&mut self.begun);
            let bytes = if begun.is_empty() { event.to_vec() } else { [begun.as_slice(), event].concat() };
            self.reader.push(&bytes, &mut self.events)?;
            self.events.clear();
            self.held.extend_from_slice(&bytes);
            rest = after;
        }
        self.begun.extend_from_slice(rest);
        Ok(())
    }

    /// The end of the event that goes on with this piece.
    fn next_event(&mut self, piece: &[u8]) -> Result<Option<usize>, Problem> {
        let end = self.framer.next_event(piece);
        end.map_err(|_| Problem::unreadable(200, "an event of the provider's is larger than 16 MiB"))
    }

    fn encode(&mut self) {
        if let Some(encoder) = &mut self.encoder {
            for mut event in self.events.drain(..) {
                if let Event::Start { id, model } = &mut event {
                    whole::fill(id, &self.id);
                    whole::fill(model, &self.model);
                }
                encoder.event(&event, &mut self.held);
            }
        }
    }

    /// The provider's stream is over.
    fn end(&mut self, why: StreamEnd) -> Result<(), Problem> {
        let begun = std::mem::take(&mut self.begun);
        if !begun.is_empty() {
            self.reader.push(&begun, &mut self.events)?;
            self.held.extend_from_slice(&begun);
        }
        let lacks_empty_line = self.reader.lacks_empty_line();
        let ended = self.reader.end(why, &mut self.events);
        self.encode();
        self.events.clear();
        if lacks_empty_line && self.encoder.is_none() {
            // The one exception to "as it is": four SDKs lose the last event without it.
            self.held.extend_from_slice(b"\n\n");
        }
        ended.map_err(|problem| if self.reader.heard.is_ended { problem } else { whole::unfinished() })
    }

    /// No other lane can answer any more.
    fn is_committed(&self) -> bool {
        self.reader.heard.has_content || self.held.len() >= HELD_BYTES_MAX
    }
}

/// How reading ended.
enum Read {
    Whole,
    Problem(Problem),
    Stop(Stop),
}

pub(super) async fn run<D: Downstream>(
    call: &mut Call<'_>,
    lane: &Lane,
    mut answered: Answered,
    bridge: &mut Bridge<'_, D>,
) -> Outcome {
    let ctx = call.ctx;
    let mut relay = Relay::new(call, lane);
    let relayed = whole::relayed(&call.scratch.response.fields);
    call.record.status = 200;
    let mut timer = ctx.worker.lend_timer();
    let read = poll_fn(|cx| {
        loop {
            if relay.is_committed() && !relay.held.is_empty() {
                if !bridge.has_content() {
                    whole::note(call, lane);
                    let mut fields = relayed.clone();
                    whole::about(ctx, call.record, lane, &mut fields);
                    bridge.begin(ctx, &fields);
                    let micros = ctx.micros(ctx.worker.clock.tick());
                    call.record.timeline.response_micros.get_or_insert(micros);
                    bridge.commit();
                }
                bridge.push(&relay.held, ctx.worker.clock.tick());
                relay.held.clear();
            }
            if bridge.has_begun()
                && let Poll::Ready(Err(failure)) = bridge.poll_send(cx)
            {
                return Poll::Ready(Read::Stop(Stop::Client { failure, phase: Phase::Body }));
            }
            if bridge.is_full() {
                break;
            }
            let Answered { lease, .. } = &mut answered;
            match lease.connection.poll_piece(cx) {
                Poll::Ready(Ok(Offer::Piece)) => {
                    let pushed = relay.push(lease.connection.piece());
                    let n = lease.connection.piece().len();
                    lease.connection.consume(n);
                    if let Err(problem) = pushed {
                        return Poll::Ready(Read::Problem(problem));
                    }
                }
                Poll::Ready(Ok(Offer::End)) => {
                    return Poll::Ready(match relay.end(StreamEnd::Eof) {
                        Ok(()) => Read::Whole,
                        Err(problem) => Read::Problem(problem),
                    });
                }
                Poll::Ready(Err(failure)) => return Poll::Ready(Read::Stop(Stop::Upstream(failure))),
                Poll::Pending => break,
            }
        }
        if bridge.poll_gone(cx).is_ready() {
            let stop = Stop::Client { failure: ClientFailure::Gone, phase: Phase::Body };
            return Poll::Ready(Read::Stop(stop));
        }
        let due = if bridge.is_full() { Due::ResponseTaken } else { Due::ResponseBody };
        let Answered { lease, destination, watch, .. } = &mut answered;
        let expiry = watch.next(ctx, &destination.route.timeouts, due, moved(bridge, lease));
        timer.poll(expiry.at, cx).map(|()| Read::Stop(expiry.stop()))
    })
    .await;
    ctx.worker.return_timer(timer);
    settle(call, lane, &relay);
    finish(call, lane, answered, bridge, relay, read).await
}

/// What the answer used goes into the record, also if it broke off: where nobody told, it is made from what was said.
fn settle(call: &mut Call<'_>, lane: &Lane, relay: &Relay) {
    let heard = &relay.reader.heard;
    let Some(record) = &mut call.record.ai else { return };
    record.usage = heard.usage;
    // A provider that did not come to its end has not told all, and some tell nothing. Four bytes are about a token in most
    // languages of most models.
    let (told, said) = (heard.usage, heard.output_bytes.div_ceil(4));
    if said > 0 && (!heard.is_ended || told.output_all() == 0) {
        let input = if told.input_all() == 0 { call.ask.body.len() as u64 / 4 } else { told.input };
        record.usage = Usage { input, output: said.max(told.output), ..told };
        record.usage_is_estimated = true;
    }
    record.cost_nanos = ai::catalogue::cost(&lane.provider.kind, &lane.model, &record.usage);
}

async fn finish<D: Downstream>(
    call: &mut Call<'_>,
    lane: &Lane,
    answered: Answered,
    bridge: &mut Bridge<'_, D>,
    mut relay: Relay,
    read: Read,
) -> Outcome {
    let ctx = call.ctx;
    let Answered { lease, .. } = answered;
    let now = ctx.worker.clock.tick();
    let counts = lease.connection.counts();
    let failed = match read {
        Read::Whole => {
            attempt_log::finish(ctx, call.record, lease.target(), now, counts, Ending::ANSWERED);
            ctx.worker.pool.release(lease, now);
            bridge.begin(ctx, &Default::default());
            bridge.commit();
            bridge.push(&relay.held, now);
            bridge.end();
            return send_rest(call, bridge).await;
        }
        Read::Problem(problem) => {
            let ending = Ending::failed(Phase::Body, fault_of(&problem));
            attempt_log::finish(ctx, call.record, lease.target(), now, counts, ending);
            Failed::Problem(problem)
        }
        Read::Stop(stop) => {
            attempt_log::abandon(ctx, call.record, lease.target(), Some(&lease), &stop);
            Failed::Stop(stop)
        }
    };
    if bridge.has_content() {
        // What was good before the error is still the client's.
        bridge.push(&std::mem::take(&mut relay.held), now);
        let stop = match failed {
            Failed::Stop(stop) => stop,
            Failed::Problem(problem) => answer::of_problem(problem, lane, Phase::Body),
        };
        return Outcome::Failed(Failed::Stop(stop));
    }
    Outcome::Failed(failed)
}

fn fault_of(problem: &Problem) -> Fault {
    match (problem.class, &*problem.code) {
        (_, "unfinished") => Fault::StreamUnfinished,
        (ai::Class::Unreadable, _) => Fault::ProviderUnreadable,
        (ai::Class::Overloaded, _) => Fault::ProviderOverloaded,
        (ai::Class::RateLimited, _) => Fault::ProviderRateLimited,
        (ai::Class::Credentials | ai::Class::NoMoney, _) => Fault::UpstreamCredentials,
        _ => Fault::ProviderFailed,
    }
}

/// The provider is done; the client may take its time.
async fn send_rest<D: Downstream>(call: &mut Call<'_>, bridge: &mut Bridge<'_, D>) -> Outcome {
    let ctx = call.ctx;
    let max = ctx.listening.settings().timeouts.client_send;
    let mut timer = ctx.worker.lend_timer();
    let mut until = ctx.worker.clock.tick() + max;
    let mut sent_before = 0;
    let sent = poll_fn(|cx| {
        if let Poll::Ready(sent) = bridge.poll_send(cx) {
            return Poll::Ready(sent);
        }
        let sent = bridge.counts().1;
        if sent > sent_before {
            (sent_before, until) = (sent, ctx.worker.clock.tick() + max);
        }
        timer.poll(until, cx).map(|()| Err(ClientFailure::Gone))
    })
    .await;
    ctx.worker.return_timer(timer);
    call.record.response_body_bytes = bridge.counts().1;
    match sent {
        Ok(()) => {
            call.record.ending = Ending::ANSWERED;
            Outcome::Told(Finish::Complete)
        }
        Err(failure) => Outcome::Failed(Failed::Stop(Stop::Client { failure, phase: Phase::Body })),
    }
}
