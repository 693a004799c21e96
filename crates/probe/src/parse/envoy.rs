//! Envoy's access log, in its default form and as JSON.
//!
//! `[time] "METHOD PATH PROTO" status FLAGS DETAILS FAILURE "..." received sent duration service-time "..." ... "host"`
//! (Envoy documentation, "Access logging", default format string). Envoy declares its details unstable: only their
//! beginnings and what stands in braces is used.

use std::borrow::Cow;

use model::evidence::Place;
use model::{Evidence, Moment};
use serde_json::Value;

use super::failure::{How, Phase, uri_of};
use super::{Lines, clock};

struct Request<'a> {
    time: Option<Moment>,
    method: Cow<'a, str>,
    uri: Cow<'a, str>,
    status: Cow<'a, str>,
    flags: Cow<'a, str>,
    details: Cow<'a, str>,
    reason: Cow<'a, str>,
    elapsed: Option<f64>,
    host: Option<Cow<'a, str>>,
    upstream: Option<Cow<'a, str>>,
    cluster: Option<Cow<'a, str>>,
}

pub(crate) fn sniff(line: &str) -> bool {
    one(line, 0).is_some()
}

pub(crate) fn read(lines: &Lines<'_>, out: &mut Vec<Evidence>) {
    let (mut requests, mut failed, mut last_good): (u64, u64, Option<Moment>) = (0, 0, None);
    for (number, line) in lines.iter() {
        let Some(request) = one(line, lines.zone) else { continue };
        requests += 1;
        match evidence(&request) {
            Some(evidence) => {
                failed += 1;
                out.push(
                    evidence
                        .text(line)
                        .from("envoy log")
                        .at(Place::file(lines.path, number))
                        .time(request.time),
                );
            }
            None => last_good = last_good.max(request.time),
        }
    }
    if requests > 0 {
        out.push(
            Evidence::new("traffic")
                .with("proxy", "envoy")
                .with("requests", requests)
                .with("failed", failed)
                .with_some("last-good", last_good)
                .text(format!("{requests} requests, {failed} of them failed"))
                .from("envoy log")
                .at(Place::file(lines.path, 0)),
        );
    }
}

fn one(line: &str, zone: clock::Zone) -> Option<Request<'_>> {
    if line.starts_with('{') { json(line, zone) } else { plain(line, zone) }
}

pub(crate) fn time(line: &str, zone: clock::Zone) -> Option<Moment> {
    one(line, zone)?.time
}

pub(crate) fn each(lines: &Lines<'_>, take: &mut dyn FnMut(Moment, bool, Option<f64>)) {
    for request in lines.iter().filter_map(|(_, line)| one(line, lines.zone)) {
        if let Some(time) = request.time {
            take(time, request.status.starts_with('5'), request.elapsed);
        }
    }
}

fn evidence(request: &Request<'_>) -> Option<Evidence> {
    let own = request.details.starts_with("via_upstream");
    let meaning = if own { None } else { meaning(request) };
    let evidence = match meaning {
        Some((phase, how)) => Evidence::new("failure").with("phase", phase.name()).with("how", how.name()),
        None if request.status.starts_with('5') => Evidence::new("request")
            .with("own", if own { "yes" } else { "no" })
            .with("upstream-status", &request.status),
        None => return None,
    };
    Some(
        evidence
            .with("proxy", "envoy")
            .with("status", &request.status)
            .with("flags", &request.flags)
            .with("method", &request.method)
            .with("uri", uri_of(&request.uri))
            .with_some("upstream", request.upstream.as_ref().or(request.cluster.as_ref()))
            .with_some("group", request.cluster.as_ref())
            .with_some("host", request.host.as_ref())
            .with_some("elapsed", request.elapsed)
            .with(
                "detail",
                if request.reason.is_empty() || request.reason == "-" {
                    &request.details
                } else {
                    &request.reason
                },
            ),
    )
}

/// The last flag is that of the attempt; `URX` only says that there was more than one.
fn meaning(request: &Request<'_>) -> Option<(Phase, How)> {
    let told = format!("{} {}", request.details, request.reason);
    let flag = request.flags.split(',').rfind(|flag| *flag != "URX")?;
    Some(match flag {
        "UF" => (
            if told.contains("TLS_error") || told.contains("TLS error") {
                Phase::Tls
            } else {
                Phase::Connect
            },
            connect(&told),
        ),
        "UC" | "UR" if told.contains("after_response_started") => (Phase::Body, How::Truncated),
        "UC" => (Phase::Head, How::Closed),
        "UR" => (Phase::Head, How::Reset),
        "UPE" if told.contains("after_response_started") => (Phase::Body, How::InvalidChunk),
        "UPE" => (Phase::Head, How::InvalidHeader),
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
        ("CERTIFICATE_VERIFY_FAILED", How::Verify),
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
    let mut words = rest.splitn(5, ' ');
    let (status, flags, details) = (words.next()?, words.next()?, words.next()?);
    if status.len() > 3
        || !status.bytes().all(|b| b.is_ascii_digit())
        || !flags.bytes().all(|b| b.is_ascii_uppercase() || matches!(b, b',' | b'-'))
    {
        return None;
    }
    // Older versions have no field for the failure of the transport; a quote then stands here or right behind.
    let reason = words.next().filter(|word| !word.starts_with('"')).unwrap_or("-");
    let rest = words.next().unwrap_or("");
    let quoted: Vec<&str> = rest.split('"').collect();
    let numbers = quoted.iter().find(|part| {
        part.trim().split(' ').count() >= 3 && part.trim().starts_with(|c: char| c.is_ascii_digit())
    });
    let elapsed = numbers
        .and_then(|part| part.trim().split(' ').nth(2)?.parse::<f64>().ok())
        .map(|millis| millis / 1000.0);
    let strings: Vec<&str> = quoted.iter().skip(1).step_by(2).copied().collect();
    let last = |back: usize| strings.len().checked_sub(back).and_then(|index| strings.get(index)).copied();
    let address = last(1).filter(|text| text.contains(':') && !text.contains(' '));
    Some(Request {
        time: Some(time),
        method: Cow::Borrowed(method),
        uri: Cow::Borrowed(uri),
        status: Cow::Borrowed(status),
        flags: Cow::Borrowed(flags),
        details: Cow::Borrowed(details),
        reason: Cow::Borrowed(reason.trim_matches('"')),
        elapsed,
        host: last(2).map(Cow::Borrowed),
        upstream: address.map(Cow::Borrowed),
        cluster: None,
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
        host: get(&["authority", "host"]).map(Cow::Owned),
        upstream: get(&["upstream_host", "upstream"]).map(Cow::Owned),
        cluster: get(&["upstream_cluster", "cluster"]).map(Cow::Owned),
    })
}
