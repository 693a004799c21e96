//! The log line of an exchange, as JSON or for people.
//!
//! The names in the JSON are public and permanent; `clearway calls --format json` and the management API give the
//! same document. Absent facts are left out; `ending.fault` is `null` where nothing went wrong.

use model::{AiCall, Attempt, Ending, Exchange, Limit, PeerEnd, RetryRule, Reuse, Timeline, Usage};
use std::time::Duration;

use super::text;

/// What stands between the value before and that of this name. A constant, so that it is written with one copy.
macro_rules! key {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
}

/// Appends the line as JSON, without its line feed.
pub fn json(out: &mut Vec<u8>, exchange: &Exchange) {
    let Exchange {
        id,
        started_unix_micros,
        listener,
        client,
        protocol,
        tls,
        method,
        host,
        path,
        service,
        route,
        consumer,
        external_id,
        status,
        ending,
        detail,
        request_body_bytes,
        response_body_bytes,
        timeline: Timeline { head_micros, body_micros, response_micros, done_micros },
        attempts,
        ai,
    } = exchange;
    out.extend_from_slice(b"{\"time\":\"");
    text::time(out, *started_unix_micros);
    out.extend_from_slice(b"\",\"id\":\"");
    out.extend_from_slice(&id.to_ascii());
    out.push(b'"');
    string(out, key!("listener"), listener);
    if let Some(client) = client {
        out.extend_from_slice(key!("client").as_bytes());
        out.push(b'"');
        text::ip(out, *client);
        out.push(b'"');
    }
    plain(out, key!("protocol"), protocol.id());
    flag(out, key!("tls"), *tls);
    string(out, key!("method"), method.as_str());
    string(out, key!("host"), host);
    string(out, key!("path"), path);
    optional(out, key!("service"), service.as_deref());
    optional(out, key!("route"), route.as_deref());
    optional(out, key!("consumer"), consumer.as_deref());
    optional(out, key!("external_id"), external_id.as_deref());
    number(out, key!("status"), u64::from(*status));
    write_ending(out, *ending);
    optional(out, key!("detail"), detail.as_deref());
    number(out, key!("request_body_bytes"), *request_body_bytes);
    number(out, key!("response_body_bytes"), *response_body_bytes);
    number(out, key!("duration_us"), *done_micros);
    number(out, key!("head_us"), *head_micros);
    if let Some(body) = body_micros {
        number(out, key!("body_us"), *body);
    }
    if let Some(response) = response_micros {
        number(out, key!("response_us"), *response);
    }
    out.extend_from_slice(key!("attempts").as_bytes());
    out.push(b'[');
    for (index, attempt) in attempts.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_attempt(out, attempt);
    }
    out.push(b']');
    if let Some(call) = ai {
        write_ai(out, call);
    }
    out.push(b'}');
}

/// What the exchange was as a call of an AI model.
fn write_ai(out: &mut Vec<u8>, call: &AiCall) {
    let AiCall {
        protocol,
        operation,
        asked,
        provider,
        model,
        key,
        stream,
        usage,
        usage_is_estimated,
        cost_nanos,
        first_content_micros,
        losses,
    } = call;
    out.extend_from_slice(b",\"ai\":{\"protocol\":\"");
    out.extend_from_slice(protocol.id().as_bytes());
    out.push(b'"');
    string(out, key!("operation"), operation);
    string(out, key!("asked"), asked);
    optional(out, key!("provider"), provider.as_deref());
    optional(out, key!("model"), model.as_deref());
    optional(out, key!("key"), key.as_deref());
    flag(out, key!("stream"), *stream);
    let Usage {
        input,
        cache_read,
        cache_write,
        cache_write_long,
        audio_input,
        output,
        reasoning,
        audio_output,
    } = usage;
    let buckets = [
        (key!("input_tokens"), input),
        (key!("cache_read_tokens"), cache_read),
        (key!("cache_write_tokens"), cache_write),
        (key!("cache_write_long_tokens"), cache_write_long),
        (key!("audio_input_tokens"), audio_input),
        (key!("output_tokens"), output),
        (key!("reasoning_tokens"), reasoning),
        (key!("audio_output_tokens"), audio_output),
    ];
    for (name, count) in buckets {
        // Input and output always; the rest is seldom there.
        if *count > 0 || matches!(name, key!("input_tokens") | key!("output_tokens")) {
            number(out, name, *count);
        }
    }
    flag(out, key!("usage_is_estimated"), *usage_is_estimated);
    if let Some(cost) = cost_nanos {
        number(out, key!("cost_nanodollars"), *cost);
    }
    if let Some(first) = first_content_micros {
        number(out, key!("first_content_us"), *first);
    }
    out.extend_from_slice(key!("losses").as_bytes());
    out.push(b'[');
    for (index, loss) in losses.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        text::json(out, loss);
    }
    out.extend_from_slice(b"]}");
}

fn write_attempt(out: &mut Vec<u8>, attempt: &Attempt) {
    let Attempt {
        upstream,
        target,
        address,
        started_micros,
        why,
        waited,
        reuse,
        resolve,
        connect,
        tls,
        send,
        await_head,
        total,
        bytes_sent,
        bytes_received,
        bytes_acked,
        status,
        ending,
        peer_end,
        errno,
        tls_alert,
        limit,
        detail,
    } = attempt;
    out.extend_from_slice(b"{\"upstream\":");
    text::json(out, upstream);
    string(out, key!("target"), target);
    if let Some(peer) = address {
        out.extend_from_slice(key!("address").as_bytes());
        out.push(b'"');
        text::socket(out, *peer);
        out.push(b'"');
    }
    number(out, key!("started_us"), *started_micros);
    write_reasons(out, *why, *waited, *reuse);
    step(out, key!("resolve_us"), resolve);
    step(out, key!("connect_us"), connect);
    step(out, key!("tls_us"), tls);
    step(out, key!("send_us"), send);
    step(out, key!("head_us"), await_head);
    number(out, key!("total_us"), micros(*total));
    number(out, key!("bytes_sent"), *bytes_sent);
    number(out, key!("bytes_received"), *bytes_received);
    if let Some(acked) = bytes_acked {
        number(out, key!("bytes_acked"), *acked);
    }
    if let Some(status) = status {
        number(out, key!("status"), u64::from(*status));
    }
    write_ending(out, *ending);
    if let Some(end) = peer_end {
        plain(out, key!("peer_end"), peer_end_id(*end));
    }
    if let Some(errno) = errno {
        number(out, key!("errno"), u64::from(errno.unsigned_abs()));
    }
    if let Some(alert) = tls_alert {
        number(out, key!("tls_alert"), u64::from(*alert));
    }
    if let Some(limit) = limit {
        write_limit(out, *limit);
    }
    optional(out, key!("detail"), detail.as_deref());
    out.push(b'}');
}

/// How the attempt came about, and its connection.
fn write_reasons(out: &mut Vec<u8>, why: Option<RetryRule>, waited: Option<Duration>, reuse: Option<Reuse>) {
    if let Some(why) = why {
        plain(out, key!("why"), why.id());
    }
    step(out, key!("waited_us"), &waited);
    flag(out, key!("reused"), reuse.is_some());
    if let Some(Reuse { requests, idle }) = reuse {
        number(out, key!("reuse_requests"), u64::from(requests));
        number(out, key!("reuse_idle_us"), micros(idle));
    }
}

fn write_ending(out: &mut Vec<u8>, ending: Ending) {
    let Ending { by, during, fault } = ending;
    out.extend_from_slice(b",\"ending\":{\"by\":\"");
    out.extend_from_slice(by.id().as_bytes());
    out.push(b'"');
    plain(out, key!("during"), during.id());
    match fault {
        Some(fault) => plain(out, key!("fault"), fault.id()),
        None => out.extend_from_slice(b",\"fault\":null"),
    }
    out.push(b'}');
}

fn write_limit(out: &mut Vec<u8>, limit: Limit) {
    let (name, unit, max) = match limit {
        Limit::Bytes { name, max } => (name, key!("max_bytes"), max),
        Limit::Count { name, max } => (name, key!("max"), max),
        Limit::Time { name, max } => (name, key!("max_us"), micros(max)),
    };
    out.extend_from_slice(b",\"limit\":{\"name\":\"");
    out.extend_from_slice(name.id().as_bytes());
    out.push(b'"');
    number(out, unit, max);
    out.push(b'}');
}

/// The public name of the way a peer ended its side.
pub fn peer_end_id(end: PeerEnd) -> &'static str {
    match end {
        PeerEnd::Fin => "fin",
        PeerEnd::Rst => "rst",
    }
}

fn micros(duration: Duration) -> u64 {
    duration.as_micros() as u64
}

fn number(out: &mut Vec<u8>, key: &str, value: u64) {
    out.extend_from_slice(key.as_bytes());
    text::number(out, value);
}

/// A step that happened and ended.
fn step(out: &mut Vec<u8>, key: &str, took: &Option<Duration>) {
    if let Some(took) = took {
        number(out, key, micros(*took));
    }
}

fn flag(out: &mut Vec<u8>, key: &str, value: bool) {
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

fn string(out: &mut Vec<u8>, key: &str, value: &str) {
    out.extend_from_slice(key.as_bytes());
    text::json(out, value);
}

/// A string that needs no escape.
fn plain(out: &mut Vec<u8>, key: &str, value: &str) {
    out.extend_from_slice(key.as_bytes());
    out.push(b'"');
    out.extend_from_slice(value.as_bytes());
    out.push(b'"');
}

fn optional(out: &mut Vec<u8>, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        string(out, key, value);
    }
}

/// Appends the line for people, without its line feed: what was asked and answered, and for failures why.
pub fn human(out: &mut Vec<u8>, exchange: &Exchange) {
    let Exchange {
        id,
        started_unix_micros,
        method,
        host,
        path,
        service: _,
        route: _,
        consumer,
        status,
        ending,
        detail,
        timeline: Timeline { head_micros: _, body_micros: _, response_micros: _, done_micros },
        attempts,
        // In the record and in JSON; a line that a person reads in passing must be short.
        listener: _,
        client,
        protocol: _,
        tls: _,
        external_id: _,
        request_body_bytes: _,
        response_body_bytes: _,
        ai,
    } = exchange;
    text::time(out, *started_unix_micros);
    out.push(b' ');
    text::number(out, u64::from(*status));
    out.push(b' ');
    text::human(out, method.as_str());
    out.push(b' ');
    text::human(out, if host.is_empty() { "-" } else { host });
    text::human(out, path);
    word(out, "", &text::duration_text(*done_micros));
    if let Some(client) = client {
        out.extend_from_slice(b" from ");
        text::ip(out, *client);
    }
    if let Some(consumer) = consumer {
        word(out, "consumer ", consumer);
    }
    if let Some(call) = ai {
        human_ai(out, call);
    }
    out.extend_from_slice(b" id ");
    out.extend_from_slice(&id.to_ascii());
    let Ending { by, during, fault } = ending;
    let Some(fault) = fault else { return };
    word(out, "", fault.id());
    word(out, "during ", during.id());
    word(out, "by ", by.id());
    if let Some(last) = attempts.last() {
        word(out, "at ", &last.target);
        let count = attempts.len();
        word(out, "after ", &format!("{count} attempt{}", if count == 1 { "" } else { "s" }));
    }
    let last_detail = attempts.last().and_then(|attempt| attempt.detail.as_deref());
    if let Some(detail) = detail.as_deref().or(last_detail) {
        word(out, "- ", detail);
    }
}

/// Who answered, and what it took.
fn human_ai(out: &mut Vec<u8>, call: &AiCall) {
    match (&call.provider, &call.model) {
        (Some(provider), Some(model)) => word(out, "", &format!("{provider}/{model}")),
        _ if call.asked.is_empty() => {}
        _ => word(out, "model ", &call.asked),
    }
    if !call.usage.is_empty() {
        let about = if call.usage_is_estimated { "about " } else { "" };
        let tokens = format!("{} in, {} out", call.usage.input_all(), call.usage.output_all());
        word(out, about, &tokens);
    }
    if let Some(cost) = call.cost_nanos {
        word(out, "", &text::dollars_text(cost));
    }
}

fn word(out: &mut Vec<u8>, before: &str, value: &str) {
    out.push(b' ');
    out.extend_from_slice(before.as_bytes());
    text::human(out, value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::sample::{answered, failed};
    use model::{Fault, LimitName};

    fn line(write: impl Fn(&mut Vec<u8>, &Exchange), exchange: &Exchange) -> String {
        let mut out = Vec::new();
        write(&mut out, exchange);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_ordinary_request_as_json() {
        let expect = concat!(
            r#"{"time":"2025-11-24T16:00:00.123456Z","id":"0193a7c1-5a3e-7c2f-8d41-2f6f0c9b7a10","#,
            r#""listener":"0.0.0.0:8080","client":"192.0.2.1","protocol":"HTTP/1.1","tls":false,"method":"GET","#,
            r#""host":"shop.test","path":"/items/1","service":"shop","route":"/items/*","status":200,"#,
            r#""ending":{"by":"upstream","during":"done","fault":null},"#,
            r#""request_body_bytes":0,"response_body_bytes":512,"duration_us":1234,"head_us":20,"response_us":1100,"#,
            r#""attempts":[{"upstream":"shop","target":"http://app:8000","address":"192.0.2.7:8000","started_us":25,"#,
            r#""reused":true,"reuse_requests":7,"reuse_idle_us":1500,"send_us":12,"head_us":1050,"total_us":1200,"#,
            r#""bytes_sent":301,"bytes_received":702,"status":200,"#,
            r#""ending":{"by":"upstream","during":"done","fault":null}}]}"#
        );
        assert_eq!(line(json, &answered()), expect);
    }

    #[test]
    fn a_failure_as_json_with_everything_there_is() {
        let expect = concat!(
            r#"{"time":"2025-11-24T16:00:00.123456Z","id":"0193a7c1-5a3e-7c2f-8d41-2f6f0c9b7a10","#,
            r#""listener":"0.0.0.0:8080","client":"192.0.2.1","protocol":"HTTP/2","tls":true,"method":"PROPFIND","#,
            r#""host":"shop.test","path":"/items/\"\u001b[2J","service":"shop","route":"/items/*","#,
            r#""consumer":"mobile","external_id":"edge-7","status":504,"#,
            r#""ending":{"by":"upstream","during":"await-head","fault":"await-head-timeout"},"#,
            r#""detail":"no head in time","request_body_bytes":10,"response_body_bytes":512,"duration_us":1234,"#,
            r#""head_us":20,"body_us":24,"response_us":1100,"attempts":[{"upstream":"shop","target":"http://app:8000","#,
            r#""address":"192.0.2.7:8000","started_us":25,"reused":true,"reuse_requests":7,"reuse_idle_us":1500,"#,
            r#""resolve_us":1,"connect_us":2,"tls_us":3,"send_us":12,"head_us":1050,"total_us":1200,"bytes_sent":301,"#,
            r#""bytes_received":702,"bytes_acked":300,"#,
            r#""ending":{"by":"upstream","during":"await-head","fault":"await-head-timeout"},"peer_end":"rst","#,
            r#""errno":104,"tls_alert":40,"limit":{"name":"await-head","max_us":60000000},"#,
            r#""detail":"first bytes: \\x00"}]}"#
        );
        assert_eq!(line(json, &failed()), expect);
        serde_json::from_str::<serde_json::Value>(expect).unwrap();
    }

    #[test]
    fn what_is_not_known_is_left_out_and_the_line_stays_json() {
        let mut exchange = failed();
        exchange.client = None;
        exchange.service = None;
        exchange.route = None;
        exchange.timeline.response_micros = None;
        exchange.attempts.clear();
        let text = line(json, &exchange);
        for name in ["client", "service", "route", "response_us"] {
            assert!(!text.contains(&format!("\"{name}\":")), "{name} in {text}");
        }
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["attempts"], serde_json::json!([]));
    }

    #[test]
    fn each_kind_of_limit_has_its_unit() {
        for (limit, expect) in [
            (
                Limit::Bytes { name: LimitName::RequestHead, max: 7 },
                r#","limit":{"name":"request-head","max_bytes":7}"#,
            ),
            (
                Limit::Count { name: LimitName::Connections, max: 7 },
                r#","limit":{"name":"connections","max":7}"#,
            ),
            (
                Limit::Time { name: LimitName::Connect, max: Duration::from_millis(7) },
                r#","limit":{"name":"connect","max_us":7000}"#,
            ),
        ] {
            let mut out = Vec::new();
            write_limit(&mut out, limit);
            assert_eq!(String::from_utf8(out).unwrap(), expect);
        }
    }

    #[test]
    fn every_name_is_documented() {
        fn names(value: &serde_json::Value, found: &mut Vec<String>) {
            match value {
                serde_json::Value::Object(entries) => entries.iter().for_each(|(name, value)| {
                    found.push(name.clone());
                    names(value, found);
                }),
                serde_json::Value::Array(items) => items.iter().for_each(|item| names(item, found)),
                _ => {}
            }
        }
        let documentation = include_str!("../../../../docs/calls.md");
        let mut found = Vec::new();
        names(&serde_json::from_str(&line(json, &failed())).unwrap(), &mut found);
        assert!(found.len() > 40, "{found:?}");
        for name in found {
            assert!(documentation.contains(&format!("`{name}`")), "{name}");
        }
    }

    #[test]
    fn lines_for_people() {
        assert_eq!(
            line(human, &answered()),
            "2025-11-24T16:00:00.123456Z 200 GET shop.test/items/1 1.23ms from 192.0.2.1 \
             id 0193a7c1-5a3e-7c2f-8d41-2f6f0c9b7a10"
        );
        assert_eq!(
            line(human, &failed()),
            "2025-11-24T16:00:00.123456Z 504 PROPFIND shop.test/items/\"\\u{1b}[2J 1.23ms from 192.0.2.1 \
             consumer mobile id 0193a7c1-5a3e-7c2f-8d41-2f6f0c9b7a10 await-head-timeout during await-head by upstream \
             at http://app:8000 after 1 attempt - no head in time"
        );
        let mut refused = answered();
        refused.host = "".into();
        refused.path = "".into();
        refused.client = None;
        refused.attempts.clear();
        refused.status = 400;
        refused.ending = Ending::failed(model::Phase::ReadRequest, Fault::RequestMalformed);
        assert_eq!(
            line(human, &refused),
            "2025-11-24T16:00:00.123456Z 400 GET - 1.23ms id 0193a7c1-5a3e-7c2f-8d41-2f6f0c9b7a10 \
             request-malformed during read-request by client"
        );
    }
}
