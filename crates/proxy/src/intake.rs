//! The one way into an exchange and out of it, whatever the client speaks: its record, its place among those under way, and
//! an answer for what was no request or met a failure of our own.

use model::{Exchange, Fault, Method, Phase};
use wire::{RequestError, RequestFacts};

use crate::answer::Answer;
use crate::client::Downstream;
use crate::exchange::{self, Context, Finish, Scratch, Stop};
use crate::worker::Idle;

/// Why what a client sent is not taken for a request.
#[derive(Debug)]
pub(crate) struct Refusal {
    fault: Fault,
    detail: Option<Box<str>>,
}

impl From<RequestError> for Refusal {
    fn from(error: RequestError) -> Refusal {
        Refusal { fault: error.fault(), detail: Some(error.rule().into()) }
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Refusal {
        Refusal { fault, detail: None }
    }
}

/// Runs an exchange from its head, or what of it could be read, to its record.
pub(crate) async fn run<D: Downstream>(
    ctx: Context<'_>,
    idle: &Idle,
    client: &mut D,
    scratch: &mut Scratch,
    read: Result<RequestFacts, Refusal>,
) -> Finish {
    let _in_flight = ctx.worker.in_flight();
    let mut record = ctx.worker.begin_record(ctx);
    ctx.worker.fill_record(ctx, &scratch.request, &mut record);
    let finish = match read {
        Ok(facts) => match exchange::run_caught(ctx, idle, client, scratch, &facts, &mut record).await {
            Ok(finish) => finish,
            Err(exchange::Panicked) => {
                scratch.beside.take();
                answer_alone(ctx, client, scratch, Fault::Internal.into(), &mut record).await
            }
        },
        Err(refusal) => answer_alone(ctx, client, scratch, refusal, &mut record).await,
    };
    record.request_body_bytes = record.request_body_bytes.max(client.counts().0);
    ctx.worker.finish_record(record, ctx.started);
    finish
}

/// Answers without an exchange: the request could not be read, or our own code failed.
async fn answer_alone<D: Downstream>(
    ctx: Context<'_>,
    client: &mut D,
    scratch: &mut Scratch,
    refusal: Refusal,
    record: &mut Exchange,
) -> Finish {
    let Refusal { fault, detail } = refusal;
    let phase = if fault == Fault::Internal { Phase::Policy } else { Phase::ReadRequest };
    let stop = Stop::Refused { answer: Answer::new(fault), phase, detail };
    client.end_after_answer();
    let Some(answer) = exchange::close_record(stop, client.has_responded(), record) else {
        return Finish::Abort;
    };
    let body = answer.write(&mut scratch.response, &scratch.request.fields, record.id, None);
    let is_head = scratch.request.method == Method::Head;
    exchange::send_answer(ctx, client, &mut scratch.response, body, is_head, record).await
}
