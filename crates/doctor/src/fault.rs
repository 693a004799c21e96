//! Every fault of Clearway's own traffic explained: what was seen, what to do, and which causes are behind it.
//!
//! The match is exhaustive, so that a new fault does not compile until it has its page.

use model::{Fault, Retry};

/// The page of a fault.
pub fn page(fault: Fault) -> &'static str {
    match fault {
        Fault::RequestMalformed => include_str!("faults/request-malformed.md"),
        Fault::RequestHeadTooLarge => include_str!("faults/request-head-too-large.md"),
        Fault::RequestTargetTooLong => include_str!("faults/request-target-too-long.md"),
        Fault::RequestBodyTooLarge => include_str!("faults/request-body-too-large.md"),
        Fault::RequestNotImplemented => include_str!("faults/request-not-implemented.md"),
        Fault::RequestLengthRequired => include_str!("faults/request-length-required.md"),
        Fault::RequestVersionUnsupported => include_str!("faults/request-version-unsupported.md"),
        Fault::ExpectationUnknown => include_str!("faults/expectation-unknown.md"),
        Fault::Misdirected => include_str!("faults/misdirected.md"),
        Fault::ClientHeadTimeout => include_str!("faults/client-head-timeout.md"),
        Fault::ClientBodyTimeout => include_str!("faults/client-body-timeout.md"),
        Fault::ClientTlsFailed => include_str!("faults/client-tls-failed.md"),
        Fault::ClientFlood => include_str!("faults/client-flood.md"),
        Fault::ClientGone => include_str!("faults/client-gone.md"),
        Fault::ClientSendTimeout => include_str!("faults/client-send-timeout.md"),
        Fault::NotConfigured => include_str!("faults/not-configured.md"),
        Fault::NoRoute => include_str!("faults/no-route.md"),
        Fault::MethodNotAllowed => include_str!("faults/method-not-allowed.md"),
        Fault::Unauthenticated => include_str!("faults/unauthenticated.md"),
        Fault::Forbidden => include_str!("faults/forbidden.md"),
        Fault::Overloaded => include_str!("faults/overloaded.md"),
        Fault::Draining => include_str!("faults/draining.md"),
        Fault::QueueFull => include_str!("faults/queue-full.md"),
        Fault::QueueTimeout => include_str!("faults/queue-timeout.md"),
        Fault::NoTarget => include_str!("faults/no-target.md"),
        Fault::Internal => include_str!("faults/internal.md"),
        Fault::AiRequestMalformed => include_str!("faults/ai-request-malformed.md"),
        Fault::ModelUnknown => include_str!("faults/model-unknown.md"),
        Fault::UpstreamCredentials => include_str!("faults/upstream-credentials.md"),
        Fault::ProviderFailed => include_str!("faults/provider-failed.md"),
        Fault::ProviderOverloaded => include_str!("faults/provider-overloaded.md"),
        Fault::LimitExceeded => include_str!("faults/limit-exceeded.md"),
        Fault::ProviderRateLimited => include_str!("faults/provider-rate-limited.md"),
        Fault::ProviderUnreadable => include_str!("faults/provider-unreadable.md"),
        Fault::StreamUnfinished => include_str!("faults/stream-unfinished.md"),
        Fault::LanesResting => include_str!("faults/lanes-resting.md"),
        Fault::DnsFailed => include_str!("faults/dns-failed.md"),
        Fault::ConnectRefused => include_str!("faults/connect-refused.md"),
        Fault::ConnectTimeout => include_str!("faults/connect-timeout.md"),
        Fault::ConnectFailed => include_str!("faults/connect-failed.md"),
        Fault::TlsFailed => include_str!("faults/tls-failed.md"),
        Fault::TlsTimeout => include_str!("faults/tls-timeout.md"),
        Fault::SendTimeout => include_str!("faults/send-timeout.md"),
        Fault::SendFailed => include_str!("faults/send-failed.md"),
        Fault::AwaitHeadTimeout => include_str!("faults/await-head-timeout.md"),
        Fault::EarlyClose => include_str!("faults/early-close.md"),
        Fault::Reset => include_str!("faults/reset.md"),
        Fault::StreamRefused => include_str!("faults/stream-refused.md"),
        Fault::ResponseMalformed => include_str!("faults/response-malformed.md"),
        Fault::ResponseHeadTooLarge => include_str!("faults/response-head-too-large.md"),
        Fault::BodyTruncated => include_str!("faults/body-truncated.md"),
        Fault::BodyReset => include_str!("faults/body-reset.md"),
        Fault::BodyMalformed => include_str!("faults/body-malformed.md"),
        Fault::BodyIdleTimeout => include_str!("faults/body-idle-timeout.md"),
        Fault::TotalTimeout => include_str!("faults/total-timeout.md"),
    }
}

/// The causes that show themselves as this fault, the commonest first.
pub fn causes(fault: Fault) -> impl Iterator<Item = &'static str> {
    let (_, list) = page(fault).split_once("## What can be behind it").unwrap_or_default();
    list.lines().filter_map(|line| line.strip_prefix("- "))
}

/// The page for a person, with what Clearway does about the fault.
pub fn explain(fault: Fault) -> String {
    let retry = match fault.retry() {
        Retry::Unsent => "any request is tried again: nothing of it was sent",
        Retry::IfIdempotent => {
            "tried again where it does no harm to execute it twice, or where it was not executed"
        }
        Retry::Never => "none",
    };
    let facts = format!(
        "- status: {}\n- whose doing: {}\n- another attempt: {retry}\n\n## What to do",
        fault.status(),
        fault.party().id()
    );
    let mut text = page(fault).replacen("## What to do", &facts, 1);
    if causes(fault).next().is_some() {
        text.push_str("\n`clearway doctor REQUEST-ID` finds out which of them it was.\n");
    }
    text
}
