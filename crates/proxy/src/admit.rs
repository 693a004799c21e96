//! Limits on an exchange: counted when it begins, settled when it ends.

use std::time::{SystemTime, UNIX_EPOCH};

use model::{Exchange, Fault, Phase};
use policy::{Hold, Request};

use crate::ai::Words;
use crate::answer::Answer;
use crate::exchange::{Context, Stop};

/// What an AI call may use.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Estimate<'a> {
    pub(crate) model: &'a str,
    pub(crate) tokens: u64,
    pub(crate) cost_nanos: u64,
}

/// Lets the exchange through, or not. `None` where nothing is limited.
pub(crate) fn admit(
    ctx: Context<'_>,
    record: &Exchange,
    estimate: Estimate<'_>,
) -> Result<Option<Hold>, Stop> {
    let limits = &ctx.serving.limits;
    if limits.is_empty() {
        return Ok(None);
    }
    let request = Request {
        service: record.service.as_deref().unwrap_or_default(),
        consumer: record.consumer.as_deref(),
        model: estimate.model,
        tokens: estimate.tokens,
        cost: estimate.cost_nanos,
        unix_seconds: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
    };
    limits.admit(request).map(Some).map_err(|exceeded| {
        let text = format!("limit `{}` of {} is used up", exceeded.limit, exceeded.what);
        let words = Words { message: text.as_str().into(), code: None, param: None };
        let answer = Answer {
            retry_after: exceeded.retry_after,
            words: Some(Box::new(words)),
            ..Answer::new(Fault::LimitExceeded)
        };
        Stop::Refused { answer, phase: Phase::Policy, detail: Some(text.into()) }
    })
}

/// What an AI call has used, however it ended. What nobody knows the price of costs nothing.
pub(crate) fn settle(hold: Option<Hold>, record: &Exchange) {
    if let (Some(hold), Some(call)) = (hold, &record.ai) {
        hold.settle(call.usage.total(), call.cost_nanos.unwrap_or(0));
    }
}
