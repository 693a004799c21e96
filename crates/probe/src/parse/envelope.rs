//! Lines of many programs in one log, each with what a collector put before it: syslog files, `journalctl` (short forms and
//! `-o json`), Docker's `json-file`, and the form that container runtimes of Kubernetes write (CRI).
//!
//! What stands inside is taken apart by program and process and read in the form of that program. The kernel's and
//! systemd's own messages in plain text are for `system`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use model::evidence::Place;
use model::{Evidence, Moment};
use serde_json::Value;

use super::system::{KERNEL, SYSTEMD};
use super::{EachRequest, Format, Lines, clock, nginx, python, read_requests, sniff, sniff_line};

/// Programs and processes whose lines are kept apart; a log in which every line has another process is cut off here.
const STREAMS_MAX: usize = 2_000;

/// One line without what was put before it.
struct Inner<'a> {
    time: Option<Moment>,
    /// The program that wrote it; empty where the collector does not say.
    who: Cow<'a, str>,
    pid: Option<Cow<'a, str>>,
    message: Cow<'a, str>,
}

/// The lines of one process.
#[derive(Default)]
struct Stream {
    text: String,
    numbers: Vec<u64>,
    times: Vec<Option<Moment>>,
}

pub(crate) fn sniff_container(line: &str) -> bool {
    docker(line).is_some() || container(line).is_some()
}

pub(crate) fn sniff_journal(line: &str) -> bool {
    line.starts_with('{') && line.contains("\"__REALTIME_TIMESTAMP\"")
        || syslog(line, &Lines { now: Some(Moment(0)), ..Lines::of("", "") })
            .is_some_and(|inner| inner.pid.is_some() || inner.who == "kernel")
}

pub(crate) fn time(line: &str, lines: &Lines<'_>) -> Option<Moment> {
    unwrap(line, lines)?.time
}

/// What is inside, by the programs that are known.
pub(crate) fn formats(lines: &Lines<'_>) -> Vec<Format> {
    let mut found: Vec<Format> =
        streams(lines).iter().filter_map(|((who, _), stream)| format(who, &stream.text)).collect();
    let of_kernel = |line: &str| unwrap(line, lines).is_some_and(|inner| inner.who == "kernel");
    if lines.iter().any(|(_, line)| of_kernel(line)) {
        found.push(Format::Kernel);
    }
    found.sort();
    found.dedup();
    found
}

pub(crate) fn read(lines: &Lines<'_>, out: &mut Vec<Evidence>, each: EachRequest<'_>) {
    let begin = out.len();
    for ((who, pid), stream) in streams(lines) {
        if matches!(who.as_str(), "kernel" | "systemd") {
            stream.system(&who, lines.path, out);
            continue;
        }
        let Some(format) = format(&who, &stream.text) else { continue };
        let inner = Lines { text: &stream.text, first: 1, ..*lines };
        for evidence in read_requests(format, &inner, each) {
            out.push(stream.placed(evidence, &pid, lines.path));
        }
    }
    // In the order of the log again, with what is about all of it at the end.
    out.get_mut(begin..).unwrap_or_default().sort_by_key(|evidence| match evidence.place {
        Place::File { line, .. } if line > 0 => line,
        _ => u64::MAX,
    });
}

impl Stream {
    /// Gives evidence the place, the time and the process that the collector knows.
    fn placed(&self, mut evidence: Evidence, pid: &str, path: &str) -> Evidence {
        if let Place::File { line, .. } = evidence.place {
            let index = line.checked_sub(1).and_then(|index| usize::try_from(index).ok());
            let number = index.and_then(|index| self.numbers.get(index)).copied().unwrap_or(0);
            evidence.time = evidence.time.or_else(|| self.times.get(index?).copied()?);
            evidence.place = Place::file(path, number);
        }
        let takes_pid = crate::kinds::kinds()
            .any(|kind| kind.name == evidence.kind && kind.fields.iter().any(|field| field.name == "pid"));
        if takes_pid && evidence.get("pid").is_none() && !pid.is_empty() {
            evidence = evidence.with("pid", pid);
        }
        evidence
    }

    fn system(&self, who: &str, path: &str, out: &mut Vec<Evidence>) {
        let (table, source) =
            if who == "kernel" { (&KERNEL, "kernel log") } else { (&SYSTEMD, "system log") };
        for ((number, line), time) in self.numbers.iter().zip(self.text.lines()).zip(&self.times) {
            out.extend(
                table.read(line).map(|evidence| {
                    evidence.text(line).from(source).at(Place::file(path, *number)).time(*time)
                }),
            );
        }
    }
}

/// Lines by program and process, in their order.
fn streams(lines: &Lines<'_>) -> BTreeMap<(String, String), Stream> {
    let mut streams: BTreeMap<(String, String), Stream> = BTreeMap::new();
    for (number, line) in lines.iter() {
        let Some(inner) = unwrap(line, lines) else { continue };
        // Those in plain text are read by `system`.
        if !line.starts_with('{') && matches!(inner.who.as_ref(), "kernel" | "systemd") {
            continue;
        }
        let mut who = inner.who.into_owned();
        // nginx writes errors and requests under one name.
        if who == "nginx" && nginx::sniff(&inner.message) {
            who.push_str(" error");
        }
        let key = (who, inner.pid.map(Cow::into_owned).unwrap_or_default());
        if streams.len() >= STREAMS_MAX && !streams.contains_key(&key) {
            continue;
        }
        let stream = streams.entry(key).or_default();
        for one in inner.message.lines() {
            stream.text.push_str(one);
            stream.text.push('\n');
            stream.numbers.push(number);
            stream.times.push(inner.time);
        }
    }
    streams
}

/// By the name of the program where it is one that is known, else by the lines.
fn format(who: &str, text: &str) -> Option<Format> {
    const NAMES: &[(&str, Format)] = &[
        ("apache2", Format::ApacheError),
        ("caddy", Format::Caddy),
        ("daphne", Format::Daphne),
        ("gunicorn", Format::Gunicorn),
        ("haproxy", Format::Haproxy),
        ("httpd", Format::ApacheError),
        ("hypercorn", Format::Hypercorn),
        ("mariadbd", Format::Mysql),
        ("mysqld", Format::Mysql),
        ("nginx error", Format::NginxError),
        ("nginx", Format::NginxAccess),
        ("postgres", Format::Postgres),
        ("rabbitmq-server", Format::Rabbitmq),
        ("redis-server", Format::Redis),
        ("traefik", Format::Traefik),
        ("uvicorn", Format::Uvicorn),
        ("uwsgi", Format::Uwsgi),
    ];
    if let Some((_, format)) = NAMES.iter().find(|(name, _)| *name == who) {
        return Some(*format);
    }
    // Programs run by `python3`, `sh`, or the name of a unit; no envelope stands in an envelope.
    let plain = text.lines().any(|line| sniff_line(line).is_some_and(|format| !wraps(format)));
    let found = if plain { sniff("", text).filter(|format| !wraps(*format)) } else { None };
    found.or_else(|| text.contains(python::START).then_some(Format::Gunicorn))
}

fn wraps(format: Format) -> bool {
    matches!(format, Format::Container | Format::Journal | Format::Kernel | Format::Systemd)
}

fn unwrap<'a>(line: &'a str, lines: &Lines<'_>) -> Option<Inner<'a>> {
    if line.starts_with('{') {
        return journal(line).or_else(|| docker(line));
    }
    container(line).or_else(|| syslog(line, lines))
}

/// `journalctl -o json`: times are microseconds since 1970; a message that is no text is a list of bytes.
fn journal(line: &str) -> Option<Inner<'static>> {
    let value: Value = serde_json::from_str(line).ok()?;
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let micros: i64 = text("__REALTIME_TIMESTAMP")?.parse().ok()?;
    let message = match value.get("MESSAGE")? {
        Value::Array(bytes) => {
            let bytes = bytes.iter().filter_map(|byte| u8::try_from(byte.as_u64()?).ok()).collect::<Vec<_>>();
            String::from_utf8_lossy(&bytes).into_owned()
        }
        message => message.as_str()?.to_owned(),
    };
    let who = text("SYSLOG_IDENTIFIER").or_else(|| text("_COMM")).unwrap_or_default();
    let pid = text("_PID").or_else(|| text("SYSLOG_PID"));
    Some(Inner {
        time: Some(Moment(micros / 1000)),
        who: who.into(),
        pid: pid.map(Cow::Owned),
        message: message.into(),
    })
}

/// `{"log":"text\n","stream":"stderr","time":"2026-11-23T07:06:57.120Z"}`
fn docker(line: &str) -> Option<Inner<'static>> {
    if !line.starts_with("{\"log\":") {
        return None;
    }
    let value: Value = serde_json::from_str(line).ok()?;
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    text("stream")?;
    Some(Inner {
        time: text("time").and_then(|time| clock::iso(time, 0)).map(|(time, _)| time),
        who: "".into(),
        pid: None,
        message: text("log")?.trim_end_matches('\n').to_owned().into(),
    })
}

/// `2026-11-23T07:06:57.120000000Z stderr F text`
fn container(line: &str) -> Option<Inner<'_>> {
    let (time, rest) = clock::iso(line, 0)?;
    let rest = rest.trim_start();
    let rest = rest.strip_prefix("stdout ").or_else(|| rest.strip_prefix("stderr "))?;
    let message = rest.strip_prefix("F ").or_else(|| rest.strip_prefix("P ")).or(rest.strip_prefix('F'))?;
    Some(Inner { time: Some(time), who: "".into(), pid: None, message: message.into() })
}

/// `Nov 23 07:06:57 host program[812]: text`, or with a time of ISO 8601.
fn syslog<'a>(line: &'a str, lines: &Lines<'_>) -> Option<Inner<'a>> {
    let (time, rest) = clock::iso(line, lines.zone).or_else(|| clock::syslog(line, lines.zone, lines.now))?;
    let (host, rest) = rest.trim_start().split_once(' ')?;
    let (who, message) = rest.split_once(": ").or_else(|| Some((rest.strip_suffix(':')?, "")))?;
    let (who, pid) = match who.strip_suffix(']').and_then(|who| who.split_once('[')) {
        Some((who, pid)) => (who, Some(pid)),
        None => (who, None),
    };
    let named = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/'))
    };
    let numbered = pid.is_none_or(|pid| pid.bytes().all(|b| b.is_ascii_digit()));
    // systemd's own `(gunicorn)` is a process before it became the program.
    (named(host) && named(who.trim_matches(['(', ')'])) && numbered).then(|| Inner {
        time: Some(time),
        who: who.trim_matches(['(', ')']).into(),
        pid: pid.map(Cow::Borrowed),
        message: message.into(),
    })
}
