//! One call as a timeline: what happened when, and how it ended.

use std::fmt::Write;

use proxy::telemetry::{duration_text, printable};

use crate::call::{Attempt, Call, Ending, Limit};

/// The whole text. It is made of facts that came over the network, so that each line is made printable.
pub(crate) fn text(call: &Call) -> String {
    let mut text = String::new();
    let mut line = |line: &str| {
        text.push_str(&printable(line));
        text.push('\n');
    };
    let mut heading = format!("{} {}{}: {}", call.method, call.host, call.path, call.status);
    if let Some(fault) = &call.ending.fault {
        let _ = write!(heading, " {fault}");
    }
    line(&heading);
    for (name, fact) in facts(call) {
        line(&format!("  {name:<10}{fact}"));
    }
    line("");
    for (at, what) in steps(call) {
        let at = at.map(duration_text).unwrap_or_default();
        line(&format!("{at:>9}  {what}"));
    }
    text
}

/// What is not a matter of time.
fn facts(call: &Call) -> Vec<(&'static str, String)> {
    let mut facts = vec![("id", call.id.clone()), ("began", call.time.clone())];
    if let Some(id) = &call.external_id {
        facts.push(("came as", id.clone()));
    }
    let client = call.client.as_deref().unwrap_or("a Unix socket");
    let tls = if call.tls { " over TLS" } else { "" };
    facts.push(("client", format!("{client}, {}{tls} at listener {}", call.protocol, call.listener)));
    match (&call.service, &call.route) {
        (Some(service), Some(route)) => facts.push(("route", format!("{service}/{route}"))),
        (Some(service), None) => facts.push(("service", service.clone())),
        _ => {}
    }
    if let Some(consumer) = &call.consumer {
        facts.push(("consumer", consumer.clone()));
    }
    let bodies =
        format!("{} bytes received, {} bytes sent", call.request_body_bytes, call.response_body_bytes);
    facts.push(("bodies", bodies));
    facts.push(("ended", ending(&call.ending)));
    if let Some(detail) = &call.detail {
        facts.push(("because", detail.clone()));
    }
    facts
}

/// What happened, in order; lines without a time belong to the one above.
fn steps(call: &Call) -> Vec<(Option<u64>, String)> {
    let mut steps = vec![
        (Some(0), "first byte of the request".to_owned()),
        (Some(call.head_us), "request head read".to_owned()),
    ];
    for (index, attempt) in call.attempts.iter().enumerate() {
        attempt_steps(index + 1, attempt, &mut steps);
    }
    if let Some(response) = call.response_us {
        steps.push((Some(response), format!("response head sent to the client: {}", call.status)));
    }
    steps.push((Some(call.duration_us), "over".to_owned()));
    // Attempts overlap with what goes to the client. The sort keeps lines without a time below theirs.
    let mut last = 0;
    let mut keyed: Vec<(u64, (Option<u64>, String))> = steps
        .into_iter()
        .map(|step| {
            last = step.0.unwrap_or(last);
            (last, step)
        })
        .collect();
    keyed.sort_by_key(|(at, _)| *at);
    keyed.into_iter().map(|(_, step)| step).collect()
}

fn attempt_steps(number: usize, attempt: &Attempt, steps: &mut Vec<(Option<u64>, String)>) {
    let address = attempt.address.as_ref().map(|address| format!(" at {address}")).unwrap_or_default();
    let began = format!("attempt {number}: {} of upstream {}{address}", attempt.target, attempt.upstream);
    steps.push((Some(attempt.started_us), began));
    let connection = match (attempt.reuse_requests, attempt.reuse_idle_us) {
        (Some(requests), idle) => format!(
            "on a connection that had served {requests} request{} and been idle for {}",
            if requests == 1 { "" } else { "s" },
            duration_text(idle.unwrap_or(0))
        ),
        (None, _) => "on a fresh connection".to_owned(),
    };
    steps.push((None, connection));
    let took = [
        ("resolve", attempt.resolve_us),
        ("connect", attempt.connect_us),
        ("TLS", attempt.tls_us),
        ("send", attempt.send_us),
        ("response head", attempt.head_us),
    ];
    let took: Vec<String> = took
        .iter()
        .filter_map(|(name, micros)| Some(format!("{name} {}", duration_text((*micros)?))))
        .collect();
    if !took.is_empty() {
        steps.push((None, format!("took: {}", took.join(", "))));
    }
    let status = attempt.status.map(|status| format!(" with {status}")).unwrap_or_default();
    let ended = format!("attempt {number} ended{status}: {}", ending(&attempt.ending));
    steps.push((Some(attempt.started_us + attempt.total_us), ended));
    steps.push((None, bytes(attempt)));
    steps.extend(circumstances(attempt).into_iter().map(|what| (None, what)));
}

fn bytes(attempt: &Attempt) -> String {
    let acked = attempt.bytes_acked.map(|acked| format!(" ({acked} acknowledged)")).unwrap_or_default();
    format!("{} bytes sent{acked}, {} bytes received", attempt.bytes_sent, attempt.bytes_received)
}

/// What explains a failed attempt.
fn circumstances(attempt: &Attempt) -> Vec<String> {
    let mut lines = Vec::new();
    match attempt.peer_end.as_deref() {
        Some("fin") => lines.push("the target closed its side (FIN)".to_owned()),
        Some("rst") => lines.push("the target reset the connection (RST)".to_owned()),
        Some(other) => lines.push(format!("the target ended its side: {other}")),
        None => {}
    }
    if let Some(errno) = attempt.errno {
        lines.push(std::io::Error::from_raw_os_error(errno).to_string());
    }
    if let Some(alert) = attempt.tls_alert {
        lines.push(format!("TLS alert {alert}"));
    }
    if let Some(limit) = &attempt.limit {
        lines.push(limit_text(limit));
    }
    lines.extend(attempt.detail.clone());
    lines
}

fn limit_text(limit: &Limit) -> String {
    let max = match (limit.max_us, limit.max_bytes, limit.max) {
        (Some(micros), ..) => duration_text(micros),
        (None, Some(bytes), _) => format!("{bytes} bytes"),
        (None, None, Some(count)) => count.to_string(),
        (None, None, None) => "unknown".to_owned(),
    };
    format!("the limit {} of {max} was reached", limit.name)
}

fn ending(ending: &Ending) -> String {
    match &ending.fault {
        Some(fault) => format!("{fault}, by {} during {}", ending.by, ending.during),
        None if ending.during == "done" => format!("answered by {}", ending.by),
        None => format!("by {} during {}", ending.by, ending.during),
    }
}
