//! The log line of an exchange, as JSON or for people.
//!
//! The names in the JSON are public and permanent; `clearway calls --format json` and the management API give the
//! same document. Absent facts are left out; `ending.fault` is `null` where nothing went wrong.

use model::{Attempt, Ending, Exchange, Limit, PeerEnd, Reuse, Timeline};
use std::time::Duration;

use super::text;

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
        timeline: Timeline { head_micros, response_micros, done_micros },
        attempts,
    } = exchange;
    out.extend_from_slice(b"{\"time\":\"");
    text::time(out, *started_unix_micros);
    out.extend_from_slice(b"\",\"id\":\"");
    out.extend_from_slice(&id.to_ascii());
    out.push(b'"');
    string(out, "listener", listener);
    if let Some(client) = client {
        address(out, "client", client);
    }
    plain(out, "protocol", protocol.id());
    flag(out, "tls", *tls);
    string(out, "method", method.as_str());
    string(out, "host", host);
    string(out, "path", path);
    for (name, value) in [("service", service), ("route", route), ("consumer", consumer)] {
        optional(out, name, value.as_deref());
    }
    optional(out, "external_id", external_id.as_deref());
    number(out, "status", u64::from(*status));
    write_ending(out, *ending);
    optional(out, "detail", detail.as_deref());
    number(out, "request_body_bytes", *request_body_bytes);
    number(out, "response_body_bytes", *response_body_bytes);
    number(out, "duration_us", *done_micros);
    number(out, "head_us", *head_micros);
    if let Some(response) = response_micros {
        number(out, "response_us", *response);
    }
    key(out, "attempts");
    out.push(b'[');
    for (index, attempt) in attempts.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_attempt(out, attempt);
    }
    out.extend_from_slice(b"]}");
}

fn write_attempt(out: &mut Vec<u8>, attempt: &Attempt) {
    let Attempt {
        upstream,
        target,
        address: peer,
        started_micros,
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
    string(out, "target", target);
    if let Some(peer) = peer {
        address(out, "address", peer);
    }
    number(out, "started_us", *started_micros);
    flag(out, "reused", reuse.is_some());
    if let Some(Reuse { requests, idle }) = reuse {
        number(out, "reuse_requests", u64::from(*requests));
        number(out, "reuse_idle_us", micros(*idle));
    }
    for (name, step) in [
        ("resolve_us", resolve),
        ("connect_us", connect),
        ("tls_us", tls),
        ("send_us", send),
        ("head_us", await_head),
    ] {
        if let Some(step) = step {
            number(out, name, micros(*step));
        }
    }
    number(out, "total_us", micros(*total));
    number(out, "bytes_sent", *bytes_sent);
    number(out, "bytes_received", *bytes_received);
    if let Some(acked) = bytes_acked {
        number(out, "bytes_acked", *acked);
    }
    if let Some(status) = status {
        number(out, "status", u64::from(*status));
    }
    write_ending(out, *ending);
    if let Some(end) = peer_end {
        plain(out, "peer_end", peer_end_id(*end));
    }
    if let Some(errno) = errno {
        number(out, "errno", u64::from(errno.unsigned_abs()));
    }
    if let Some(alert) = tls_alert {
        number(out, "tls_alert", u64::from(*alert));
    }
    if let Some(limit) = limit {
        write_limit(out, *limit);
    }
    optional(out, "detail", detail.as_deref());
    out.push(b'}');
}

fn write_ending(out: &mut Vec<u8>, ending: Ending) {
    let Ending { by, during, fault } = ending;
    out.extend_from_slice(b",\"ending\":{\"by\":\"");
    out.extend_from_slice(by.id().as_bytes());
    out.push(b'"');
    plain(out, "during", during.id());
    match fault {
        Some(fault) => plain(out, "fault", fault.id()),
        None => out.extend_from_slice(b",\"fault\":null"),
    }
    out.push(b'}');
}

fn write_limit(out: &mut Vec<u8>, limit: Limit) {
    let (name, unit, max) = match limit {
        Limit::Bytes { name, max } => (name, "max_bytes", max),
        Limit::Count { name, max } => (name, "max", max),
        Limit::Time { name, max } => (name, "max_us", micros(max)),
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

fn key(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn number(out: &mut Vec<u8>, name: &str, value: u64) {
    key(out, name);
    text::number(out, value);
}

fn flag(out: &mut Vec<u8>, name: &str, value: bool) {
    key(out, name);
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

fn string(out: &mut Vec<u8>, name: &str, value: &str) {
    key(out, name);
    text::json(out, value);
}

/// A string that needs no escape.
fn plain(out: &mut Vec<u8>, name: &str, value: &str) {
    key(out, name);
    out.push(b'"');
    out.extend_from_slice(value.as_bytes());
    out.push(b'"');
}

fn optional(out: &mut Vec<u8>, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        string(out, name, value);
    }
}

fn address(out: &mut Vec<u8>, name: &str, address: &dyn std::fmt::Display) {
    use std::io::Write;
    key(out, name);
    // Writing to a vector does not fail.
    let _ = write!(out, "\"{address}\"");
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
        timeline: Timeline { head_micros: _, response_micros: _, done_micros },
        attempts,
        // In the record and in JSON; a line that a person reads in passing must be short.
        listener: _,
        client,
        protocol: _,
        tls: _,
        external_id: _,
        request_body_bytes: _,
        response_body_bytes: _,
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
        word(out, "from ", &client.to_string());
    }
    if let Some(consumer) = consumer {
        word(out, "consumer ", consumer);
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

fn word(out: &mut Vec<u8>, before: &str, value: &str) {
    out.push(b' ');
    out.extend_from_slice(before.as_bytes());
    text::human(out, value);
}
