//! Caddy's logs (JSON), whose errors are those of Go's net/http.
//!
//! Caddy: `logger` is `http.log.error...` with the error of Go as `msg`, or `http.log.access...` (Caddy documentation, "log").

use model::evidence::Place;
use model::{Evidence, Moment};
use serde_json::Value;

use super::failure::{How, Phase, uri_of};
use super::traffic::Traffic;
use super::{EachRequest, Lines, clock};
use crate::kinds::{Field, Kind};

/// A health check of Caddy's own.
const HEALTH: &str = "caddy.health-failed";

pub(crate) const KINDS: &[Kind] = &[Kind {
    name: HEALTH,
    doc: "a health check of Caddy failed: the upstream gets no requests",
    fields: &[
        Field { name: "upstream", doc: "that was checked" },
        Field { name: "detail", doc: "the error, or what was not expected" },
    ],
}];

/// Words of an error of Go, the phase and what happened: longer ones before their parts.
const WORDS: &[(&str, Phase, How)] = &[
    ("no such host", Phase::Resolve, How::NotFound),
    ("server misbehaving", Phase::Resolve, How::ServerFailed),
    ("no upstreams available", Phase::Select, How::NoLive),
    ("no available server", Phase::Select, How::NoLive),
    ("connect: connection refused", Phase::Connect, How::Refused),
    ("connect: no such file", Phase::Connect, How::NoFile),
    ("connect: permission denied", Phase::Connect, How::Permission),
    ("connect: no route to host", Phase::Connect, How::UnreachableHost),
    ("connect: network is unreachable", Phase::Connect, How::UnreachableNetwork),
    ("connect: cannot assign requested address", Phase::Connect, How::NoPorts),
    ("connect: resource temporarily unavailable", Phase::Connect, How::QueueFull),
    ("too many open files", Phase::Connect, How::NoDescriptors),
    ("i/o timeout", Phase::Connect, How::Timeout),
    ("first record does not look like a TLS handshake", Phase::Tls, How::WrongVersion),
    ("server gave HTTP response to HTTPS client", Phase::Tls, How::WrongVersion),
    ("certificate has expired", Phase::Tls, How::Expired),
    ("certificate is valid for", Phase::Tls, How::NameMismatch),
    ("x509:", Phase::Tls, How::Verify),
    ("tls: unrecognized name", Phase::Tls, How::UnknownName),
    ("tls:", Phase::Tls, How::Handshake),
    ("timeout awaiting response headers", Phase::Head, How::Timeout),
    ("aborting with incomplete response", Phase::Body, How::Truncated),
    ("too many transfer encodings", Phase::Head, How::InvalidHeader),
    ("unsupported transfer encoding", Phase::Head, How::InvalidHeader),
    ("bad Content-Length", Phase::Head, How::InvalidLength),
    ("multiple Content-Length", Phase::Head, How::DuplicateLength),
    ("malformed MIME header", Phase::Head, How::InvalidHeader),
    ("malformed HTTP", Phase::Head, How::NotHttp),
    ("invalid header field", Phase::Head, How::InvalidHeader),
    ("header list", Phase::Head, How::HeaderTooBig),
    ("headers exceeded", Phase::Head, How::HeaderTooBig),
    ("transport connection broken: unexpected EOF", Phase::Head, How::Closed),
    ("write: broken pipe", Phase::Send, How::BrokenPipe),
    ("connection reset by peer", Phase::Head, How::Reset),
    ("context canceled", Phase::Client, How::Aborted),
    ("EOF", Phase::Head, How::Closed),
];

pub(crate) fn sniff(line: &str) -> bool {
    line.starts_with('{') && line.contains("\"logger\":\"http.")
}

pub(crate) fn read(lines: &Lines<'_>, out: &mut Vec<Evidence>, each: EachRequest<'_>) {
    let mut traffic = Traffic::default();
    for (number, line) in lines.iter() {
        let Ok(value) = serde_json::from_str::<Value>(line) else { continue };
        let time = time(&value, lines.zone);
        let logger = value.get("logger").and_then(Value::as_str).unwrap_or_default();
        let status = value.get("status").and_then(Value::as_u64);
        if logger.starts_with("http.log.access") {
            traffic.add(time, status >= Some(500));
            if let Some(time) = time {
                each(time, status >= Some(500), value.get("duration").and_then(Value::as_f64));
            }
        }
        let evidence = if logger.starts_with("http.log.access") && status >= Some(500) {
            Some(of_request(Evidence::new("request").with("proxy", "caddy"), &value))
        } else {
            caddy(&value, logger)
        };
        out.extend(evidence.map(|evidence| {
            evidence.text(line).from("caddy log").at(Place::file(lines.path, number)).time(time)
        }));
    }
    out.extend(traffic.evidence("caddy", "caddy log", lines.path));
}

pub(crate) fn time_of(line: &str, zone: clock::Zone) -> Option<Moment> {
    time(&serde_json::from_str(line).ok()?, zone)
}

fn caddy(value: &Value, logger: &str) -> Option<Evidence> {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let message = text("msg")?;
    if logger.contains(".health_checker") {
        let error = text("error").unwrap_or(message);
        let upstream = text("host").map(str::to_owned).or_else(|| dialled(error));
        return Some(Evidence::new(HEALTH).with_some("upstream", upstream).with("detail", error));
    }
    let told = if logger.starts_with("http.log.error") {
        message
    } else if logger.starts_with("http.handlers.reverse_proxy") {
        text("error")?
    } else if logger.starts_with("http.log.access")
        && value.get("status").and_then(Value::as_u64) == Some(499)
    {
        "context canceled"
    } else {
        return None;
    };
    let (phase, how) = if message.contains("incomplete response") {
        match cut(told) {
            How::Aborted => (Phase::Client, How::Aborted),
            how => (Phase::Body, how),
        }
    } else {
        meaning(told)?
    };
    let upstream = text("upstream").map(str::to_owned).or_else(|| dialled(told));
    let failure = Evidence::new("failure")
        .with("proxy", "caddy")
        .with("phase", phase.name())
        .with("how", how.name())
        .with_some("upstream", upstream)
        .with_some(
            "name",
            told.split_once("lookup ").map(|(_, name)| name.split([' ', ':']).next().unwrap_or(name)),
        );
    Some(of_request(failure, value).with("detail", told))
}

/// Status, request and time of a line about a request.
fn of_request(evidence: Evidence, value: &Value) -> Evidence {
    let text =
        |name: &str| value.get("request").and_then(|request| request.get(name)).and_then(Value::as_str);
    evidence
        .with_some("status", value.get("status").map(Value::to_string))
        .with_some("method", text("method"))
        .with_some("uri", text("uri").map(uri_of))
        .with_some("host", text("host"))
        .with_some("elapsed", value.get("duration").and_then(Value::as_f64))
}

/// Phase and way of an error of Go.
pub(crate) fn meaning(told: &str) -> Option<(Phase, How)> {
    let (_, phase, how) = WORDS.iter().find(|(word, _, _)| told.contains(word))?;
    let phase = match phase {
        // An address was looked up, and the resolver could not be reached.
        Phase::Connect if told.contains("lookup ") => Phase::Resolve,
        // An answer that stalls is read, not dialled.
        Phase::Connect if told.starts_with("read ") => Phase::Head,
        Phase::Head if told.contains("write: ") => Phase::Send,
        phase => *phase,
    };
    Some((phase, *how))
}

/// How the body of an answer ended early, by the error behind `reading: `.
fn cut(error: &str) -> How {
    const WORDS: &[(&str, How)] = &[
        ("i/o timeout", How::Timeout),
        ("connection reset by peer", How::Reset),
        ("chunk", How::InvalidChunk),
        ("context canceled", How::Aborted),
    ];
    WORDS.iter().find(|(word, _)| error.contains(word)).map_or(How::Truncated, |(_, how)| *how)
}

/// `dial tcp 127.0.0.1:8000: connect: ...`, `dial unix /run/app.sock: ...`, `read tcp 127.0.0.1:5->127.0.0.1:8000: ...`
pub(crate) fn dialled(told: &str) -> Option<String> {
    if let Some((_, rest)) = told.split_once("dial unix ") {
        return rest.split(": ").next().map(|path| format!("unix:{path}"));
    }
    if let Some((_, rest)) = told.split_once("->") {
        return rest.split(": ").next().map(str::to_owned);
    }
    let (_, rest) = told.split_once("dial tcp ")?;
    rest.split(": ").next().map(str::to_owned)
}

fn time(value: &Value, zone: clock::Zone) -> Option<Moment> {
    let time = value.get("ts").or_else(|| value.get("time"))?;
    match time {
        Value::String(text) => {
            clock::iso(text, zone).or_else(|| clock::slashed(text, zone)).map(|(time, _)| time)
        }
        number => number.as_f64().map(|seconds| Moment((seconds * 1000.0) as i64)),
    }
}
