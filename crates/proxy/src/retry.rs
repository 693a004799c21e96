//! When another attempt may follow, and what an attempt says of its target. Pure decisions, one place.

use std::time::Duration;

use model::{Attempt, Fault, Retry, RetryRule};
use upstream::health::{Outcome, Sign};
use upstream::{Failure, Lease};
use wire::{Known, RequestHead};

/// What the rules are asked with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    pub failure: &'a Failure,
    /// The whole request can be sent again.
    pub has_body: bool,
    /// See `upstream::Delivery`.
    pub undelivered: bool,
    /// The operator takes executing twice for harmless.
    pub any_method: bool,
}

/// The rule by which another attempt may follow one that failed, if there is one.
pub(crate) fn after_failure(facts: Facts<'_>, head: &RequestHead) -> Option<RetryRule> {
    if !facts.has_body {
        return None;
    }
    match facts.failure.fault.retry() {
        Retry::Unsent => Some(RetryRule::Unsent),
        Retry::IfIdempotent if facts.undelivered => Some(RetryRule::Undelivered),
        Retry::IfIdempotent if head.method.is_idempotent() => Some(RetryRule::Idempotent),
        Retry::IfIdempotent if head.fields.get(Known::IdempotencyKey).is_some() => {
            Some(RetryRule::IdempotencyKey)
        }
        Retry::IfIdempotent if facts.any_method => Some(RetryRule::Configured),
        Retry::IfIdempotent | Retry::Never => None,
    }
}

/// Whether an answer is one that another target may do better, and the request may be sent there, too.
pub(crate) fn is_bad_answer(status: u16) -> bool {
    matches!(status, 502..=504)
}

/// Whether a retry by this rule multiplies the load of a target that is in trouble, and has to be paid from the budget.
pub(crate) fn costs(rule: RetryRule, was_stale: bool) -> bool {
    match rule {
        RetryRule::Unsent | RetryRule::Undelivered => false,
        // A pooled connection that its target had closed: nobody has worked on it, most likely.
        RetryRule::Idempotent | RetryRule::IdempotencyKey | RetryRule::Configured => !was_stale,
        RetryRule::BadAnswer | RetryRule::Hedged => true,
        // Lanes are bounded by themselves, and each bench keeps the load away from what is in trouble.
        RetryRule::OtherLane | RetryRule::SameLane => false,
    }
}

/// Whether it was the right of the target to end the connection: it had been idle, and was closed before the request, or
/// whoever closed it, could know of each other. What takes longer than that is the target's work.
pub(crate) fn is_stale(attempt: &Attempt, failure: &Failure, lease: Option<&Lease>) -> bool {
    let Some(connection) = lease.map(|lease| &lease.connection) else { return false };
    let is_reused = attempt.reuse.is_some();
    if failure.fault == Fault::StreamRefused {
        // The connection may have all the streams that it can have.
        return is_reused;
    }
    // A stream that is reset leaves its connection as it is.
    let has_ended = failure.peer_end.is_some() || failure.errno.is_some();
    let soon = connection.round_trip().unwrap_or_default() * 2 + STALE_WITHIN;
    is_reused && has_ended && connection.counts().1 == 0 && attempt.total <= soon
}

/// What the kernels and processes of both sides may add to two round trips.
const STALE_WITHIN: Duration = Duration::from_millis(20);

/// Whether the same target may do better in a moment: not if it took all the time that an answer may take, nor where the two
/// sides do not agree on how to speak.
pub(crate) fn may_pass(failure: &Failure) -> bool {
    match failure.fault {
        Fault::TlsFailed | Fault::TlsTimeout => false,
        Fault::ConnectTimeout => true,
        _ => failure.limit.is_none(),
    }
}

/// What a failed attempt says of its target; `None` if nothing.
pub(crate) fn outcome(failure: &Failure, was_stale: bool) -> Option<Outcome> {
    match failure.fault {
        Fault::DnsFailed | Fault::ConnectRefused | Fault::ConnectTimeout | Fault::ConnectFailed => {
            Some(Outcome::Unreachable(failure.fault))
        }
        // An idle connection that it had closed: its right.
        Fault::EarlyClose | Fault::Reset | Fault::SendFailed if was_stale => None,
        Fault::TlsFailed
        | Fault::TlsTimeout
        | Fault::SendTimeout
        | Fault::SendFailed
        | Fault::AwaitHeadTimeout
        | Fault::EarlyClose
        | Fault::Reset
        | Fault::ResponseMalformed
        | Fault::ResponseHeadTooLarge
        | Fault::BodyTruncated
        | Fault::BodyReset
        | Fault::BodyMalformed
        | Fault::BodyIdleTimeout => Some(Outcome::Faulty(Sign::Fault(failure.fault))),
        _ => None,
    }
}

/// What an answer says of its target.
pub(crate) fn outcome_of_status(status: u16) -> Outcome {
    match status {
        _ if is_bad_answer(status) => Outcome::Faulty(Sign::Status(status)),
        500..=599 => Outcome::Error(status),
        _ => Outcome::Good,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Phase;

    fn rule(
        fault: Fault,
        method: &str,
        more: &[(&str, &str)],
        has_body: bool,
        undelivered: bool,
    ) -> Option<RetryRule> {
        let mut text = format!("{method} / HTTP/1.1\r\nHost: a\r\n");
        for (name, value) in more {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        let limits = wire::http1::HeadLimits { head_bytes: 4096, fields: 20, target_bytes: 100 };
        let mut head = RequestHead::default();
        wire::parse_request(text.as_bytes(), &limits, &mut head).unwrap().unwrap();
        let failure = Failure::new(Phase::AwaitHead, fault);
        after_failure(Facts { failure: &failure, has_body, undelivered, any_method: false }, &head)
    }

    #[test]
    fn nothing_is_executed_twice_unless_that_is_safe() {
        use RetryRule::{IdempotencyKey, Idempotent, Undelivered, Unsent};
        let key = [("Idempotency-Key", "7")];
        for (fault, method, more, has_body, undelivered, expect) in [
            (Fault::ConnectRefused, "POST", &[][..], true, false, Some(Unsent)),
            (Fault::ConnectRefused, "POST", &[], false, false, None),
            (Fault::EarlyClose, "GET", &[], true, false, Some(Idempotent)),
            (Fault::EarlyClose, "PUT", &[], false, false, None),
            (Fault::EarlyClose, "POST", &[], true, false, None),
            (Fault::EarlyClose, "POST", &[], true, true, Some(Undelivered)),
            (Fault::EarlyClose, "POST", &[], false, true, None),
            (Fault::Reset, "POST", &key, true, false, Some(IdempotencyKey)),
            (Fault::AwaitHeadTimeout, "GET", &[], true, false, Some(Idempotent)),
            (Fault::BodyTruncated, "GET", &[], true, false, None),
            (Fault::ResponseMalformed, "GET", &[], true, false, None),
        ] {
            assert_eq!(rule(fault, method, more, has_body, undelivered), expect, "{fault} {method} {more:?}");
        }
    }
}
