//! Access logs in the common and combined forms of nginx, Apache and Gunicorn, with whatever stands behind them, and those
//! that are JSON documents or `name=value` pairs, one a line.

use std::borrow::Cow;
use std::collections::HashMap;

use model::evidence::Place;
use model::{Evidence, Moment};
use serde_json::Value;

use super::failure::uri_of;
use super::served::Served;
use super::{EachRequest, Format, Lines, clock};

/// Paths that are counted apart; the rest is in the sum.
const PATHS_MAX: usize = 64;
/// Of which so many are told: those that failed most, and then those that were asked for most.
const PATHS_TOLD_MAX: usize = 16;
/// Times that are kept for the median and the slow end.
const TIMES_MAX: usize = 20_000;
/// A request that took so long is told though it went well.
const SLOW_SECONDS: f64 = 2.0;

/// One line, whatever its form.
#[derive(Debug, Default)]
struct Request<'a> {
    time: Option<Moment>,
    status: Cow<'a, str>,
    method: Option<Cow<'a, str>>,
    uri: Option<Cow<'a, str>>,
    bytes: Option<Cow<'a, str>>,
    host: Option<Cow<'a, str>>,
    upstream: Option<Cow<'a, str>>,
    upstream_status: Option<Cow<'a, str>>,
    elapsed: Option<f64>,
    upstream_elapsed: Option<Cow<'a, str>>,
    header_time: Option<Cow<'a, str>>,
}

impl Request<'_> {
    /// 009 is an answer without a status line.
    fn failed(&self) -> bool {
        matches!(self.status.as_bytes().first(), Some(b'5' | b'0'))
    }

    /// A request with a body that was refused: an upload that is answered before it is read may fail at the proxy.
    fn refused_upload(&self) -> bool {
        self.status.starts_with('4') && matches!(self.method.as_deref(), Some("POST" | "PUT" | "PATCH"))
    }
}

pub(crate) fn read(lines: &Lines<'_>, format: Format, out: &mut Vec<Evidence>, each: EachRequest<'_>) {
    let (proxy, source) = match format {
        Format::ApacheAccess => ("apache", "apache access log"),
        Format::GunicornAccess => ("gunicorn", "gunicorn access log"),
        _ => ("nginx", "nginx access log"),
    };
    let mut count = Count::default();
    for (number, line) in lines.iter() {
        let Some(request) = one(line, lines.zone) else { continue };
        count.add(&request);
        if let Some(time) = request.time {
            each(time, request.failed(), request.elapsed);
        }
        let failed = request.failed()
            || matches!(request.status.as_ref(), "408" | "499")
            || (proxy == "gunicorn" && request.refused_upload());
        let retried = request.upstream_status.as_ref().is_some_and(|statuses| statuses.contains(','));
        if failed || retried || request.elapsed.is_some_and(|elapsed| elapsed >= SLOW_SECONDS) {
            out.push(
                evidence(&request, proxy)
                    .text(line)
                    .from(source)
                    .at(Place::file(lines.path, number))
                    .time(request.time),
            );
        }
    }
    count.finish(lines, proxy, source, out);
}

pub(crate) fn time(line: &str, zone: clock::Zone) -> Option<Moment> {
    one(line, zone)?.time
}

/// A line in the common form among those of a server.
pub(crate) fn served(line: &str, zone: clock::Zone) -> Option<Served<'_>> {
    let request = common(line, zone)?;
    Some(Served::new(request.time, request.status, request.method, request.uri, request.elapsed))
}

fn evidence(request: &Request<'_>, proxy: &'static str) -> Evidence {
    let last = |list: &Cow<'_, str>| list.rsplit([',', ':']).next().unwrap_or(list).trim().to_owned();
    let own = match (&request.upstream_status, &request.header_time) {
        (Some(statuses), Some(header)) => {
            Some(if last(statuses) == request.status && last(header) != "-" { "yes" } else { "no" })
        }
        _ => None,
    };
    Evidence::new("request")
        .with("proxy", proxy)
        .with("status", &request.status)
        .with_some("method", request.method.as_ref())
        .with_some("uri", request.uri.as_ref().map(|uri| uri_of(uri)))
        .with_some("host", request.host.as_ref())
        .with_some("upstream", request.upstream.as_ref().filter(|value| *value != "-"))
        .with_some("upstream-status", request.upstream_status.as_ref().filter(|value| *value != "-"))
        .with_some("elapsed", request.elapsed)
        .with_some(
            "upstream-elapsed",
            request.upstream_elapsed.as_ref().map(last).filter(|value| value != "-"),
        )
        .with_some("header-time", request.header_time.as_ref().map(last))
        .with_some("bytes", request.bytes.as_ref())
        .with_some("own", own)
}

fn one(line: &str, zone: clock::Zone) -> Option<Request<'_>> {
    if line.starts_with('{') { json(line, zone) } else { common(line, zone) }
}

/// `client - user [time] "METHOD URI PROTO" status bytes "referrer" "agent"` and pairs or numbers behind them.
fn common(line: &str, zone: clock::Zone) -> Option<Request<'_>> {
    let (_, rest) = line.split_once('[')?;
    let (time, rest) = clock::common_log(rest, zone)?;
    let (_, rest) = rest.split_once("] ")?;
    let (asked, rest) = quoted(rest)?;
    let mut words = rest.trim_start().splitn(3, ' ');
    let status = words.next()?;
    let bytes = words.next();
    if status.len() != 3 || !status.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut asked = asked.split(' ');
    let mut request = Request {
        time: Some(time),
        status: Cow::Borrowed(status),
        method: asked.next().filter(|method| !method.is_empty() && *method != "-").map(Cow::Borrowed),
        uri: asked.next().map(Cow::Borrowed),
        bytes: bytes.map(Cow::Borrowed),
        ..Request::default()
    };
    let rest = words.next().unwrap_or("");
    if ingress(rest, &mut request).is_none() {
        for (name, value) in pairs(rest) {
            set(&mut request, name, Cow::Borrowed(value));
        }
        request.elapsed = request.elapsed.or_else(|| last_number(rest));
    }
    Some(request)
}

/// A lone number behind the combined form: seconds with a fraction (`$request_time`, `%(L)s`), or microseconds (`%D`).
fn last_number(rest: &str) -> Option<f64> {
    let (_, rest) = quoted(rest)?;
    let (_, rest) = quoted(rest)?;
    let number = rest.trim();
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match number.split_once('.') {
        Some((whole, fraction)) if digits(whole) && digits(fraction) => number.parse().ok(),
        None if digits(number) => number.parse::<f64>().ok().map(|micros| micros / 1e6),
        _ => None,
    }
}

/// What ingress-nginx writes behind the combined form (`log-format-upstream`, its default): `"referrer" "agent" length time
/// [upstream name] [alternative] addresses lengths times statuses id`.
fn ingress<'a>(rest: &'a str, request: &mut Request<'a>) -> Option<()> {
    let (_, rest) = quoted(rest)?;
    let (_, rest) = quoted(rest)?;
    let (_, rest) = rest.trim_start().split_once(' ')?;
    let (elapsed, rest) = rest.split_once(" [")?;
    let (_name, rest) = rest.split_once("] [")?;
    let (_alternative, rest) = rest.split_once("] ")?;
    let mut rest = rest;
    let mut lists = std::iter::from_fn(|| {
        let (value, after) = list(rest);
        rest = after.trim_start();
        (!value.is_empty()).then_some(value)
    });
    let (upstream, _lengths, times, statuses) = (lists.next()?, lists.next()?, lists.next()?, lists.next()?);
    request.elapsed = elapsed.parse().ok();
    for (name, value) in
        [("upstream_addr", upstream), ("upstream_response_time", times), ("upstream_status", statuses)]
    {
        set(request, name, Cow::Borrowed(value));
    }
    Some(())
}

/// `name=value` and `name="value"`, wherever they stand among other words.
fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            rest = rest.trim_start();
            if rest.is_empty() {
                return None;
            }
            if let Some((_, after)) = rest.strip_prefix('"').and_then(|quoted| quoted.split_once('"')) {
                rest = after;
                continue;
            }
            let end = rest.find([' ', '=']).unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            let Some(value) = after.strip_prefix('=') else {
                rest = after.get(1..).unwrap_or("");
                continue;
            };
            if let Some((value, after)) = value.strip_prefix('"').and_then(|quoted| quoted.split_once('"')) {
                rest = after;
                return Some((name, value));
            }
            let (value, after) = list(value);
            rest = after;
            return Some((name, value));
        }
    })
}

/// A value up to its blank; lists of attempts have blanks within: `127.0.0.1:8000, 127.0.0.1:8001`, and ` : ` between groups.
fn list(text: &str) -> (&str, &str) {
    let blank =
        |from: usize| text.get(from..).and_then(|more| more.find(' ')).map_or(text.len(), |more| from + more);
    let mut end = blank(0);
    while end < text.len()
        && (text.get(..end).is_some_and(|taken| taken.ends_with([',', ':']))
            || text.get(end..).is_some_and(|rest| rest.starts_with(" : ")))
    {
        end = blank(end + 1);
    }
    text.split_at(end)
}

fn json(line: &str, zone: clock::Zone) -> Option<Request<'_>> {
    let Value::Object(fields) = serde_json::from_str(line).ok()? else { return None };
    let mut request = Request::default();
    for (name, value) in fields {
        let text = match value {
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            _ => continue,
        };
        if matches!(
            name.as_str(),
            "time" | "timestamp" | "time_iso8601" | "@timestamp" | "ts" | "time_local" | "msec"
        ) {
            request.time = request.time.or_else(|| any_time(&text, zone));
        } else {
            set(&mut request, &name, Cow::Owned(text));
        }
    }
    (!request.status.is_empty()).then_some(request)
}

fn any_time(text: &str, zone: clock::Zone) -> Option<Moment> {
    if let Some((time, _)) = clock::iso(text, zone).or_else(|| clock::common_log(text, zone)) {
        return Some(time);
    }
    let seconds: f64 = text.parse().ok()?;
    Some(Moment((seconds * 1000.0) as i64))
}

/// Names of variables of nginx, and the short ones that people give them.
fn set<'a>(request: &mut Request<'a>, name: &str, value: Cow<'a, str>) {
    match name {
        "status" | "response_code" => request.status = value,
        "request" => {
            let mut words = value.split(' ').map(str::to_owned);
            request.method = words.next().map(Cow::Owned);
            request.uri = words.next().map(Cow::Owned);
        }
        "request_method" | "method" => request.method = Some(value),
        "request_uri" | "uri" | "path" => request.uri = Some(value),
        "body_bytes_sent" | "bytes_sent" | "bytes" => request.bytes = Some(value),
        "host" | "http_host" => request.host = Some(value),
        "upstream_addr" | "upstream" | "ua" | "addr" => request.upstream = Some(value),
        "upstream_status" | "us" => request.upstream_status = Some(value),
        "request_time" | "rt" | "duration" => request.elapsed = value.trim_end_matches('s').parse().ok(),
        "upstream_response_time" | "urt" => request.upstream_elapsed = Some(value),
        "upstream_header_time" | "uht" => request.header_time = Some(value),
        _ => {}
    }
}

fn quoted(text: &str) -> Option<(&str, &str)> {
    let rest = text.trim_start().strip_prefix('"')?;
    let mut escaped = false;
    let end = rest.char_indices().find_map(|(index, c)| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends.then_some(index)
    })?;
    Some((rest.get(..end)?, rest.get(end + 1..)?))
}

pub(crate) fn sniff(line: &str) -> Option<Format> {
    if line.starts_with('{') {
        let request = json(line, 0)?;
        return request.uri.is_some().then_some(Format::NginxAccess);
    }
    common(line, 0).map(|_| Format::NginxAccess)
}

/// The requests of a log, counted.
#[derive(Default)]
struct Count<'a> {
    all: Sum,
    paths: HashMap<Cow<'a, str>, Sum>,
}

#[derive(Default)]
struct Sum {
    requests: u64,
    failed: u64,
    from: Option<Moment>,
    to: Option<Moment>,
    last_good: Option<Moment>,
    last_failed: Option<Moment>,
    times: Vec<f64>,
}

impl<'a> Count<'a> {
    fn add(&mut self, request: &Request<'a>) {
        self.all.add(request);
        let Some(uri) = &request.uri else { return };
        let uri = match uri {
            Cow::Borrowed(uri) => Cow::Borrowed(uri_of(uri)),
            Cow::Owned(uri) => Cow::Owned(uri_of(uri).to_owned()),
        };
        if let Some(sum) = self.paths.get_mut(&uri) {
            sum.add(request);
        } else if self.paths.len() < PATHS_MAX {
            self.paths.entry(uri).or_default().add(request);
        }
    }

    fn finish(self, lines: &Lines<'_>, proxy: &'static str, source: &'static str, out: &mut Vec<Evidence>) {
        let at = |evidence: Evidence| evidence.from(source).at(Place::file(lines.path, 0));
        if self.all.requests == 0 {
            return;
        }
        out.push(at(self.all.evidence(proxy, None)));
        let mut paths: Vec<_> = self.paths.into_iter().collect();
        paths.sort_by(|(a, x), (b, y)| (y.failed, y.requests, a).cmp(&(x.failed, x.requests, b)));
        for (uri, sum) in paths.into_iter().take(PATHS_TOLD_MAX) {
            out.push(at(sum.evidence(proxy, Some(&uri))));
        }
    }
}

impl Sum {
    fn add(&mut self, request: &Request<'_>) {
        let failed = request.failed();
        self.requests += 1;
        self.failed += u64::from(failed);
        self.from = self.from.min(request.time).or(self.from).or(request.time);
        self.to = self.to.max(request.time);
        if failed {
            self.last_failed = self.last_failed.max(request.time);
        } else {
            self.last_good = self.last_good.max(request.time);
        }
        if let Some(elapsed) = request.elapsed
            && self.times.len() < TIMES_MAX
        {
            self.times.push(elapsed);
        }
    }

    fn evidence(mut self, proxy: &'static str, uri: Option<&str>) -> Evidence {
        self.times.sort_by(f64::total_cmp);
        let share = |share: f64| {
            let index = ((self.times.len() as f64 - 1.0) * share).max(0.0) as usize;
            self.times.get(index).copied()
        };
        let of = uri.map(|uri| format!(" of {uri}")).unwrap_or_default();
        Evidence::new("traffic")
            .with("proxy", proxy)
            .with_some("uri", uri)
            .with("requests", self.requests)
            .with("failed", self.failed)
            .with_some("from", self.from)
            .with_some("to", self.to)
            .with_some("last-good", self.last_good)
            .with_some("last-failed", self.last_failed)
            .with_some("median", share(0.5))
            .with_some("p95", share(0.95))
            .text(format!("{} requests{of}, {} of them failed", self.requests, self.failed))
    }
}
