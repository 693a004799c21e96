//! One call as a timeline: what happened when, and how it ended.

use std::fmt::Write;

use proxy::telemetry::{dollars_text, duration_text, printable};

use crate::call::{Ai, Attempt, Call, Ending, Limit};

/// The whole text. It is made of facts that came over the network, so that each line is made printable.
pub(crate) fn text(call: &Call) -> String {
    let mut text = String::new();
    let mut line = |line: &str| {
        text.push_str(&printable(line));
        text.push('\n');
    };
    let host = if call.host.is_empty() { "-" } else { &call.host };
    let mut heading = format!("{} {host}{}: {}", call.method, call.path, call.status);
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
        (Some(service), Some(route)) => facts.push(("route", format!("{service}, {route}"))),
        (Some(service), None) => facts.push(("service", service.clone())),
        _ => {}
    }
    if let Some(consumer) = &call.consumer {
        facts.push(("consumer", consumer.clone()));
    }
    if let Some(ai) = &call.ai {
        facts.push(("model", model(ai)));
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

/// The model that was asked for, who answered, and what it took.
fn model(ai: &Ai) -> String {
    let mut text = if ai.asked.is_empty() { "none".to_owned() } else { ai.asked.clone() };
    if let (Some(provider), Some(model)) = (&ai.provider, &ai.model) {
        let _ = write!(text, ", asked of {provider}/{model}");
    }
    if let Some(key) = &ai.key {
        let _ = write!(text, " with key {key}");
    }
    let about = if ai.usage_is_estimated { "about " } else { "" };
    let _ = write!(text, ": {about}{} tokens in, {} out", ai.input_tokens, ai.output_tokens);
    if let Some(cost) = ai.cost_nanodollars {
        let _ = write!(text, ", {}", dollars_text(cost));
    }
    if !ai.losses.is_empty() {
        let _ = write!(text, "; lost in translation: {}", ai.losses.join(", "));
    }
    text
}

/// What happened, in order; lines without a time belong to the one above.
fn steps(call: &Call) -> Vec<(Option<u64>, String)> {
    let mut steps = vec![(Some(0), "first byte of the request".to_owned())];
    // A head that was never whole has no time.
    if call.head_us > 0 || !call.attempts.is_empty() {
        steps.push((Some(call.head_us), "request head read".to_owned()));
    }
    if let Some(body) = call.body_us {
        steps.push((Some(body), "request body read before a target was taken".to_owned()));
    }
    for (index, attempt) in call.attempts.iter().enumerate() {
        attempt_steps(index + 1, attempt, &mut steps);
    }
    if let Some(first) = call.ai.as_ref().and_then(|ai| ai.first_content_us) {
        steps.push((Some(first), "first content of the answer".to_owned()));
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
    if let Some(waited) = attempt.waited_us {
        steps.push((None, format!("after {} of waiting for a target that accepts", duration_text(waited))));
    }
    if let Some(why) = &attempt.why {
        steps.push((None, format!("allowed after the one before by the rule {why}")));
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(json: &str) -> String {
        text(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn a_failed_call_with_two_attempts() {
        let json = r#"{"time":"2025-11-24T16:00:00.123456Z","id":"0193a7c1-5a3e-7c2f-8d41-2f6f0c9b7a10",
            "listener":"0.0.0.0:8080","client":"192.0.2.1","protocol":"HTTP/1.1","tls":true,"method":"POST",
            "host":"shop.test","path":"/orders/\u001b[2J","service":"shop","route":"/orders/*","consumer":"mobile",
            "external_id":"edge-7","status":502,
            "ending":{"by":"upstream","during":"await-head","fault":"early-close"},"detail":"closed without an answer",
            "request_body_bytes":10,"response_body_bytes":180,"duration_us":12400,"head_us":20,"body_us":28,
            "response_us":12300,
            "attempts":[
              {"upstream":"shop","target":"http://a:8000","address":"192.0.2.7:8000","started_us":30,"reused":false,
               "resolve_us":40,"total_us":200,"bytes_sent":0,"bytes_received":0,
               "ending":{"by":"upstream","during":"connect","fault":"connect-refused"},"errno":111},
              {"upstream":"shop","target":"http://b:8000","address":"192.0.2.8:8000","started_us":240,"reused":true,
               "reuse_requests":1,"reuse_idle_us":1500,"send_us":15,"head_us":900,"total_us":12000,"bytes_sent":301,
               "bytes_received":0,"bytes_acked":301,"status":200,
               "ending":{"by":"upstream","during":"await-head","fault":"early-close"},"peer_end":"fin",
               "tls_alert":40,"limit":{"name":"await-head","max_us":60000000},"detail":"first bytes: \\x00"}]}"#;
        assert_eq!(
            shown(json),
            "\
POST shop.test/orders/\\u{1b}[2J: 502 early-close
  id        0193a7c1-5a3e-7c2f-8d41-2f6f0c9b7a10
  began     2025-11-24T16:00:00.123456Z
  came as   edge-7
  client    192.0.2.1, HTTP/1.1 over TLS at listener 0.0.0.0:8080
  route     shop, /orders/*
  consumer  mobile
  bodies    10 bytes received, 180 bytes sent
  ended     early-close, by upstream during await-head
  because   closed without an answer

      0µs  first byte of the request
     20µs  request head read
     28µs  request body read before a target was taken
     30µs  attempt 1: http://a:8000 of upstream shop at 192.0.2.7:8000
           on a fresh connection
           took: resolve 40µs
    230µs  attempt 1 ended: connect-refused, by upstream during connect
           0 bytes sent, 0 bytes received
           Connection refused (os error 111)
    240µs  attempt 2: http://b:8000 of upstream shop at 192.0.2.8:8000
           on a connection that had served 1 request and been idle for 1.50ms
           took: send 15µs, response head 900µs
   12.2ms  attempt 2 ended with 200: early-close, by upstream during await-head
           301 bytes sent (301 acknowledged), 0 bytes received
           the target closed its side (FIN)
           TLS alert 40
           the limit await-head of 60.0s was reached
           first bytes: \\x00
   12.3ms  response head sent to the client: 502
   12.4ms  over
"
        );
    }

    #[test]
    fn a_call_of_a_model() {
        let json = r#"{"time":"2025-11-24T16:00:00.123456Z","id":"0193a7c1-5a3e-7c2f-8d41-2f6f0c9b7a10",
            "listener":"0.0.0.0:8080","protocol":"HTTP/1.1","tls":false,"method":"POST","host":"ai.test",
            "path":"/v1/messages","service":"ai","status":200,
            "ending":{"by":"upstream","during":"done","fault":null},
            "request_body_bytes":10,"response_body_bytes":20,"duration_us":5000,"head_us":20,"response_us":900,"attempts":[],
            "ai":{"protocol":"anthropic","operation":"generate","asked":"smart","provider":"openai","model":"gpt-5",
              "key":"2","stream":true,"input_tokens":10,"output_tokens":4,"usage_is_estimated":false,
              "cost_nanodollars":1250000,"first_content_us":800,"losses":["top_k"]}}"#;
        let shown = shown(json);
        let wanted = "  model     smart, asked of openai/gpt-5 with key 2: 10 tokens in, 4 out, $0.00125; lost in translation: top_k\n";
        assert!(shown.contains(wanted), "{shown}");
        assert!(
            shown.contains("    800µs  first content of the answer\n    900µs  response head sent"),
            "{shown}"
        );
    }

    #[test]
    fn a_request_that_never_was_one() {
        let json = r#"{"time":"2025-11-24T16:00:00.123456Z","id":"0193a7c1-5a3e-7c2f-8d41-2f6f0c9b7a10",
            "listener":"unix:in.sock","protocol":"HTTP/1.1","tls":false,"method":"GET","host":"","path":"","status":400,
            "ending":{"by":"client","during":"read-request","fault":"request-malformed"},
            "request_body_bytes":0,"response_body_bytes":180,"duration_us":90,"head_us":0,"attempts":[]}"#;
        assert_eq!(
            shown(json),
            "\
GET -: 400 request-malformed
  id        0193a7c1-5a3e-7c2f-8d41-2f6f0c9b7a10
  began     2025-11-24T16:00:00.123456Z
  client    a Unix socket, HTTP/1.1 at listener unix:in.sock
  bodies    0 bytes received, 180 bytes sent
  ended     request-malformed, by client during read-request

      0µs  first byte of the request
     90µs  over
"
        );
    }
}
