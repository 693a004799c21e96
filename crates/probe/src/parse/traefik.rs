//! Traefik's own log, as text, `name=value` pairs or JSON, and its access log (JSON).
//!
//! Errors of upstreams are those of Go's net/http, as Caddy's, and are told at the level DEBUG only
//! (`pkg/proxy/httputil/proxy.go`). No line here was captured: the form is that of Traefik's documentation and source.

use model::evidence::Place;
use model::{Evidence, Moment};
use serde_json::Value;

use super::caddy::{dialled, meaning};
use super::failure::uri_of;
use super::traffic::Traffic;
use super::{EachRequest, Lines, clock};
use crate::kinds::{Field, Kind};

const HEALTH: &str = "traefik.health-failed";

pub(crate) const KINDS: &[Kind] = &[Kind {
    name: HEALTH,
    doc: "a health check of Traefik failed: the server gets no requests",
    fields: &[
        Field { name: "upstream", doc: "that was checked" },
        Field { name: "detail", doc: "the error, or what was not expected" },
    ],
}];

/// Answers that Traefik makes itself where an upstream failed.
const ANSWERS: &[&str] =
    &["502 Bad Gateway", "504 Gateway Timeout", "500 Internal Server Error", "499 Client Closed Request"];

pub(crate) fn sniff(line: &str) -> bool {
    line.starts_with('{') && line.contains("\"DownstreamStatus\"")
        || (line.contains(" > ") || line.contains("level=")) && line.contains("traefik/")
        || line.contains("level=") && ANSWERS.iter().any(|answer| line.contains(answer))
}

pub(crate) fn read(lines: &Lines<'_>, out: &mut Vec<Evidence>, each: EachRequest<'_>) {
    let mut traffic = Traffic::default();
    for (number, line) in lines.iter() {
        let value = line.starts_with('{').then(|| serde_json::from_str::<Value>(line).ok()).flatten();
        let time = time_of(line, lines.zone);
        let status = value.as_ref().and_then(|value| value.get("DownstreamStatus")).and_then(Value::as_u64);
        let evidence = match (&value, status) {
            (Some(value), Some(status)) => {
                let elapsed = nanoseconds(value, "Duration");
                traffic.add(time, status >= 500);
                if let Some(time) = time {
                    each(time, status >= 500, elapsed);
                }
                (status >= 500).then(|| request(value, status))
            }
            (Some(value), None) => {
                let text = |name: &str| value.get(name).and_then(Value::as_str);
                let message = text("message").or_else(|| text("msg")).unwrap_or_default();
                told(message, text("error"))
            }
            (None, _) => {
                let message = pair(line, "msg").unwrap_or_else(|| line.to_owned());
                told(&message, pair(line, "error").as_deref())
            }
        };
        out.extend(evidence.map(|evidence| {
            evidence.text(line).from("traefik log").at(Place::file(lines.path, number)).time(time)
        }));
    }
    out.extend(traffic.evidence("traefik", "traefik log", lines.path));
}

fn told(message: &str, error: Option<&str>) -> Option<Evidence> {
    if message.contains("Health check failed") {
        let error = error.unwrap_or(message);
        return Some(Evidence::new(HEALTH).with_some("upstream", dialled(error)).with("detail", error));
    }
    ANSWERS.iter().find(|answer| message.contains(*answer))?;
    // Until version 2: `'502 Bad Gateway' caused by: EOF`.
    let error = error.or_else(|| message.split_once("caused by: ").map(|(_, error)| error))?;
    let (phase, how) = meaning(error)?;
    Some(
        Evidence::new("failure")
            .with("proxy", "traefik")
            .with("phase", phase.name())
            .with("how", how.name())
            .with_some("upstream", dialled(error))
            .with("detail", error),
    )
}

/// A request of the access log that failed. Traefik counts an answer that it made itself as the upstream's.
fn request(value: &Value, status: u64) -> Evidence {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    Evidence::new("request")
        .with("proxy", "traefik")
        .with("status", status)
        .with_some("upstream-status", value.get("OriginStatus").and_then(Value::as_u64))
        .with_some("method", text("RequestMethod"))
        .with_some("uri", text("RequestPath").map(uri_of))
        .with_some("host", text("RequestHost"))
        .with_some("upstream", text("ServiceAddr"))
        .with_some("group", text("ServiceName"))
        .with_some("client", text("ClientAddr"))
        .with_some("elapsed", nanoseconds(value, "Duration"))
        .with_some("upstream-elapsed", nanoseconds(value, "OriginDuration"))
}

fn nanoseconds(value: &Value, name: &str) -> Option<f64> {
    value.get(name).and_then(Value::as_f64).map(|nanoseconds| nanoseconds / 1e9)
}

/// `name=value` or `name="value with \"quotes\""`.
fn pair(line: &str, name: &str) -> Option<String> {
    let at = line.match_indices(name).find_map(|(at, _)| {
        let before = line.get(..at)?;
        let value = line.get(at + name.len()..)?.strip_prefix('=')?;
        (before.is_empty() || before.ends_with(' ')).then_some(value)
    })?;
    let Some(quoted) = at.strip_prefix('"') else {
        return at.split(' ').next().map(str::to_owned);
    };
    let mut value = String::new();
    let mut characters = quoted.chars();
    while let Some(c) = characters.next() {
        match c {
            '"' => return Some(value),
            '\\' => value.extend(characters.next()),
            c => value.push(c),
        }
    }
    None
}

pub(crate) fn time_of(line: &str, zone: clock::Zone) -> Option<Moment> {
    let text = if line.starts_with('{') {
        serde_json::from_str::<Value>(line).ok()?.get("time")?.as_str()?.to_owned()
    } else {
        pair(line, "time").unwrap_or_else(|| line.to_owned())
    };
    clock::iso(&text, zone).map(|(time, _)| time)
}
