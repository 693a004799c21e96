//! Envoy's access log, in its default form and as JSON.
//!
//! `[time] "METHOD PATH PROTO" status FLAGS received sent duration service-time "forwarded for" "agent" "id" "host" "upstream"`
//! (Envoy documentation, "Access logging", default format string); Istio's form has details and the failure of the transport
//! behind the flags, and the cluster at its end. Envoy declares its details unstable: only their beginnings and what stands
//! in braces is used. Its own log is known by its form, and tells nothing here.

use std::borrow::Cow;

use model::evidence::Place;
use model::{Evidence, Moment};
use serde_json::Value;

use super::edge::split_quoted;
use super::failure::{How, Phase, uri_of};
use super::traffic::Traffic;
use super::{EachRequest, Lines, clock};

/// A refusal takes one round trip.
const REFUSED_SECONDS: f64 = 0.2;

struct Request<'a> {
    time: Option<Moment>,
    method: Cow<'a, str>,
    uri: Cow<'a, str>,
    status: Cow<'a, str>,
    flags: Cow<'a, str>,
    details: Cow<'a, str>,
    reason: Cow<'a, str>,
    elapsed: Option<f64>,
    /// A head of an answer came from an upstream.
    answered: bool,
    host: Option<Cow<'a, str>>,
    upstream: Option<Cow<'a, str>>,
    cluster: Option<Cow<'a, str>>,
}

pub(crate) fn sniff(line: &str) -> bool {
    one(line, 0).is_some() || own_log(line)
}

/// `[2026-11-23 07:06:57.120][812][info][main] [source/server/server.cc:547] text`
fn own_log(line: &str) -> bool {
    let rest = line.strip_prefix('[').and_then(|rest| clock::iso(rest, 0)).map(|(_, rest)| rest);
    rest.is_some_and(|rest| rest.starts_with("][") && rest.contains("] [source/"))
}

pub(crate) fn read(lines: &Lines<'_>, out: &mut Vec<Evidence>, each: EachRequest<'_>) {
    let mut traffic = Traffic::default();
    for (number, line) in lines.iter() {
        let Some(request) = one(line, lines.zone) else { continue };
        let failed = evidence(&request);
        traffic.add(request.time, failed.is_some());
        if let Some(time) = request.time {
            each(time, request.status.starts_with('5'), request.elapsed);
        }
        out.extend(failed.map(|evidence| {
            evidence.text(line).from("envoy log").at(Place::file(lines.path, number)).time(request.time)
        }));
    }
    out.extend(traffic.evidence("envoy", "envoy log", lines.path));
}

fn one(line: &str, zone: clock::Zone) -> Option<Request<'_>> {
    if line.starts_with('{') { json(line, zone) } else { plain(line, zone) }
}

pub(crate) fn time(line: &str, zone: clock::Zone) -> Option<Moment> {
    one(line, zone)?.time
}

fn evidence(request: &Request<'_>) -> Option<Evidence> {
    // Without details, an answer whose head came from an upstream, and no flag, is the upstream's own.
    let own = if request.details.is_empty() {
        request.flags == "-" && request.answered
    } else {
        request.details.starts_with("via_upstream")
    };
    let meaning = if own { None } else { meaning(request) };
    let evidence = match meaning {
        Some((phase, how)) => Evidence::new("failure").with("phase", phase.name()).with("how", how.name()),
        None if request.status.starts_with('5') => Evidence::new("request")
            .with("own", if own { "yes" } else { "no" })
            .with_some("upstream-status", own.then_some(&request.status)),
        None => return None,
    };
    let told = |text: &Cow<'_, str>| !text.is_empty() && *text != "-";
    let detail = [&request.reason, &request.details].into_iter().find(|text| told(text));
    let upstream = request.upstream.as_ref().filter(|text| told(text)).map(|text| address(text));
    Some(
        evidence
            .with("proxy", "envoy")
            .with("status", &request.status)
            .with("flags", &request.flags)
            .with("method", &request.method)
            .with("uri", uri_of(&request.uri))
            .with_some("upstream", upstream.or_else(|| request.cluster.as_ref().map(ToString::to_string)))
            .with_some("group", request.cluster.as_ref())
            .with_some("host", request.host.as_ref())
            .with_some("elapsed", request.elapsed)
            .with_some("detail", detail),
    )
}

/// A path of a Unix socket stands without a scheme.
fn address(text: &str) -> String {
    if text.starts_with('/') { format!("unix:{text}") } else { text.to_owned() }
}

/// The last flag is that of the attempt; `URX` only says that there was more than one.
fn meaning(request: &Request<'_>) -> Option<(Phase, How)> {
    let told = format!("{} {}", request.details, request.reason);
    let flag = request.flags.split(',').rfind(|flag| *flag != "URX")?;
    let begun = told.contains("after_response_started")
        || told.contains("response_timeout") && request.status.starts_with('2')
        || request.details.is_empty() && request.answered;
    Some(match flag {
        "UF" if told.contains("TLS_error") || told.contains("TLS error") => (Phase::Tls, connect(&told)),
        // Without a reason, only what is refused at once can be told from what is not.
        "UF" if told.trim().is_empty() && request.elapsed > Some(REFUSED_SECONDS) => {
            (Phase::Connect, How::Other)
        }
        "UF" => (Phase::Connect, connect(&told)),
        // An answer that was cut and one with a broken chunk have the same flag.
        "UC" | "UR" | "UPE" if begun => (Phase::Body, How::Truncated),
        "UC" => (Phase::Head, How::Closed),
        "UR" => (Phase::Head, How::Reset),
        "UPE" => (Phase::Head, How::InvalidHeader),
        "UT" if begun => (Phase::Body, How::Timeout),
        "UT" | "DT" | "UMSDR" => (Phase::Head, How::Timeout),
        "SI" => (Phase::Body, How::Timeout),
        "UH" => (Phase::Select, How::NoLive),
        "UO" => (Phase::Select, How::Overflow),
        "NC" | "NR" => (Phase::Select, How::NotFound),
        "DF" => (Phase::Resolve, How::NotFound),
        "DC" => (Phase::Client, How::Aborted),
        "DPE" | "IH" => (Phase::Client, How::InvalidRequest),
        "OM" => (Phase::Client, How::NoConnections),
        "LR" | "LH" => (Phase::Select, How::Disabled),
        _ => return None,
    })
}

fn connect(told: &str) -> How {
    const WORDS: &[(&str, How)] = &[
        ("onnection_timeout", How::Timeout),
        ("onnection timeout", How::Timeout),
        ("WRONG_VERSION_NUMBER", How::WrongVersion),
        ("certificate_has_expired", How::Expired),
        ("certificate has expired", How::Expired),
        ("CERTIFICATE_VERIFY_FAILED", How::Verify),
        ("UNRECOGNIZED_NAME", How::UnknownName),
        ("TLS_error", How::Handshake),
        ("TLS error", How::Handshake),
        ("No_such_file", How::NoFile),
        ("No such file", How::NoFile),
        ("Permission", How::Permission),
        ("Cannot_assign", How::NoPorts),
        ("Cannot assign", How::NoPorts),
        ("Too_many_open", How::NoDescriptors),
        ("Too many open", How::NoDescriptors),
        ("No_route", How::UnreachableHost),
        ("No route", How::UnreachableHost),
        ("etwork_is_unreachable", How::UnreachableNetwork),
        ("etwork is unreachable", How::UnreachableNetwork),
        ("Resource_temporarily", How::QueueFull),
        ("Resource temporarily", How::QueueFull),
    ];
    WORDS.iter().find(|(word, _)| told.contains(word)).map_or(How::Refused, |(_, how)| *how)
}

fn plain(line: &str, zone: clock::Zone) -> Option<Request<'_>> {
    let (time, rest) = clock::iso(line.strip_prefix('[')?, zone)?;
    let (asked, rest) = rest.strip_prefix("] \"")?.split_once("\" ")?;
    let mut asked = asked.split(' ');
    let (method, uri) = (asked.next()?, asked.next()?);
    let fields = split_quoted(rest);
    let (status, flags) = (fields.first()?, fields.get(1)?);
    if status.len() > 3
        || !status.bytes().all(|b| b.is_ascii_digit())
        || !flags.bytes().all(|b| b.is_ascii_uppercase() || matches!(b, b',' | b'-'))
    {
        return None;
    }
    // Bytes received, bytes sent and the duration are the first three numbers in a row. What stands before them differs:
    // nothing, the details, or details with the failure of the transport (Istio).
    let number = |field: &Cow<'_, str>| !field.is_empty() && field.bytes().all(|b| b.is_ascii_digit());
    let told = fields.get(2..)?;
    let numbers = told.windows(3).position(|three| three.iter().all(number))?;
    let (told, rest) = told.split_at(numbers);
    let text = |index: usize| rest.get(index).cloned().filter(|text| text != "-");
    Some(Request {
        time: Some(time),
        method: Cow::Borrowed(method),
        uri: Cow::Borrowed(uri),
        status: status.clone(),
        flags: flags.clone(),
        details: told.first().cloned().unwrap_or_default(),
        reason: told.iter().skip(1).rfind(|text| *text != "-").cloned().unwrap_or_default(),
        elapsed: rest.get(2)?.parse::<f64>().ok().map(|millis| millis / 1000.0),
        answered: rest.get(3).is_some_and(number),
        host: text(7),
        upstream: text(8),
        cluster: text(9),
    })
}

/// Names as people give them: those of the commands of the format string, in small letters.
fn json(line: &str, zone: clock::Zone) -> Option<Request<'static>> {
    let Value::Object(fields) = serde_json::from_str(line).ok()? else { return None };
    let get = |names: &[&str]| {
        names.iter().find_map(|name| match fields.get(*name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        })
    };
    let flags = get(&["response_flags", "flags"])?;
    let status = get(&["response_code", "status"])?;
    let time = get(&["start_time", "time", "timestamp"])
        .and_then(|time| clock::iso(&time, zone).map(|(time, _)| time));
    Some(Request {
        time,
        method: get(&["method", "request_method"]).unwrap_or_default().into(),
        uri: get(&["path", "uri"]).unwrap_or_default().into(),
        status: status.into(),
        flags: flags.into(),
        details: get(&["response_code_details", "details"]).unwrap_or_default().into(),
        reason: get(&["upstream_transport_failure_reason", "failure_reason"]).unwrap_or_default().into(),
        elapsed: get(&["duration"])
            .and_then(|millis| millis.parse::<f64>().ok())
            .map(|millis| millis / 1000.0),
        answered: false,
        host: get(&["authority", "host"]).map(Cow::Owned),
        upstream: get(&["upstream_host", "upstream"]).map(Cow::Owned),
        cluster: get(&["upstream_cluster", "cluster"]).map(Cow::Owned),
    })
}
