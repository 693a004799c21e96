//! HAProxy's log: requests by `option httplog`, health of servers, and its own troubles.
//!
//! `client [t] frontend backend/server TR/Tw/Tc/Tr/Ta status bytes - - FLAGS counters queues "request"` (configuration
//! manual, section 8.2.3), with or without what syslog puts before it. The flags (section 8.5) say who ended it, and when.

use model::evidence::Place;
use model::{Evidence, Moment};

use super::failure::{How, Phase, uri_of};
use super::pattern::{Table, patterns};
use super::traffic::Traffic;
use super::{EachRequest, Lines, clock};

/// Lines that are not requests (server.c, check.c, backend.c, listener.c).
pub(crate) static TABLE: Table = Table::new(patterns! {
    "haproxy.server-down" "a health check failed: the server gets no requests" { "group" "server" "reason" "info" "code" "active" } " is DOWN" r#"Server (?<group>[^/ ]+)/(?<server>\S+) is DOWN, reason: (?<reason>[^,]+)(?:, code: (?<code>\d+))?(?:, info: "(?<info>[^"]*)")?(?:.*?(?<active>\d+) active)?"#
    "haproxy.server-up" "a health check succeeded" { "group" "server" "reason" } " is UP" r"Server (?<group>[^/ ]+)/(?<server>\S+) is UP, reason: (?<reason>[^,]+)"
    "haproxy.no-server" "a backend has no server left" { "group" } "has no server available" r"(?:backend|proxy) '?(?<group>[^\s']+)'? has no server available"
    "haproxy.unix-queue-full" "the queue of a server's Unix socket is full" { "group" } "check backlog size on the server" r"backend (?<group>[^ :]+): can't connect"
    "haproxy.no-proxy-protocol" "a client spoke without the PROXY protocol that the listener expects" { "client" "frontend" } "does not look like a PROXY protocol header" r"(?<client>\S+) \[[^\]]*\] (?<frontend>[^/ ]+)/"
    "haproxy.no-ports" "no local port left for a connection" { "group" } "no free ports" r"backend (?<group>[^ :]+): no free ports"
});

struct Request<'a> {
    time: Moment,
    client: &'a str,
    group: &'a str,
    server: &'a str,
    /// TR, Tw, Tc, Tr, Ta: milliseconds, -1 where the phase did not end.
    timers: Vec<i64>,
    status: &'a str,
    bytes: &'a str,
    flags: &'a str,
    retries: &'a str,
    method: Option<&'a str>,
    uri: Option<&'a str>,
}

impl Request<'_> {
    /// Seconds from the first byte of the request to the last of the answer.
    fn elapsed(&self) -> Option<f64> {
        self.timers.get(4).map(|total| *total as f64 / 1000.0)
    }
}

pub(crate) fn sniff(line: &str) -> bool {
    request(line, 0).is_some() || TABLE.read(line).is_some()
}

pub(crate) fn read(lines: &Lines<'_>, out: &mut Vec<Evidence>, each: EachRequest<'_>) {
    let mut traffic = Traffic::default();
    let mut last = None;
    for (number, line) in lines.iter() {
        if let Some(request) = request(line, lines.zone) {
            last = Some(request.time);
            let failed = failure(&request);
            traffic.add(last, failed.is_some());
            each(request.time, request.status.starts_with('5'), request.elapsed());
            out.extend(failed.map(|evidence| {
                evidence.text(line).from("haproxy log").at(Place::file(lines.path, number)).time(last)
            }));
        } else if let Some(evidence) = TABLE.read(line) {
            let time = syslog_time(line, lines).or(last);
            out.push(evidence.text(line).from("haproxy log").at(Place::file(lines.path, number)).time(time));
        }
    }
    out.extend(traffic.evidence("haproxy", "haproxy log", lines.path));
}

pub(crate) fn time(line: &str, lines: &Lines<'_>) -> Option<Moment> {
    request(line, lines.zone).map(|request| request.time).or_else(|| syslog_time(line, lines))
}

/// The failure, or the upstream's own 5xx; `None` for what went well.
fn failure(request: &Request<'_>) -> Option<Evidence> {
    let (phase, how) = match meaning(request) {
        Some(meaning) => meaning,
        None if request.status.starts_with('5') => {
            return Some(common(
                Evidence::new("request").with("own", "yes").with("upstream-status", request.status),
                request,
            ));
        }
        None => return None,
    };
    Some(common(Evidence::new("failure").with("phase", phase.name()).with("how", how.name()), request))
}

fn common(evidence: Evidence, request: &Request<'_>) -> Evidence {
    let upstream = if request.server == "<NOSRV>" {
        request.group.to_owned()
    } else {
        format!("{}/{}", request.group, request.server)
    };
    evidence
        .with("proxy", "haproxy")
        .with("status", request.status)
        .with("flags", request.flags)
        .with("upstream", upstream)
        .with("group", request.group)
        .with("client", request.client)
        .with_some("method", request.method)
        .with_some("uri", request.uri.map(uri_of))
        .with_some("elapsed", request.elapsed())
        .with("received", request.bytes)
        .with("retries", request.retries)
}

/// First letter: who ended it (C client, S server, P proxy, R resource, L local; small: time limit). Second: when.
fn meaning(request: &Request<'_>) -> Option<(Phase, How)> {
    let flags = request.flags.as_bytes();
    let connecting = request.timers.get(2) == Some(&-1);
    Some(match (flags.first()?, flags.get(1)?) {
        (b'S', b'C') if request.server == "<NOSRV>" => (Phase::Select, How::NoLive),
        (b'S', b'C') => (Phase::Connect, How::Refused),
        (b's', b'C') => (Phase::Connect, How::Timeout),
        (b'S', b'H') => (Phase::Head, How::Closed),
        (b's', b'H') => (Phase::Head, How::Timeout),
        // The timer of the head did not end: the request was still being sent.
        (b'S', b'D') if request.timers.get(3) == Some(&-1) => (Phase::Send, How::Closed),
        (b'S', b'D') => (Phase::Body, How::Truncated),
        (b's', b'D') => (Phase::Body, How::Timeout),
        (b'S', b'Q') | (b's', b'Q') => (Phase::Select, How::Overflow),
        // An invalid head, one that is too big, and what is no HTTP have the same letters.
        (b'P', b'H') => (Phase::Head, How::InvalidHeader),
        (b'P', b'D') => (Phase::Body, How::InvalidChunk),
        (b'P', b'C') => (Phase::Connect, How::NoConnections),
        (b'P', b'R') => (Phase::Client, How::InvalidRequest),
        (b'R', b'C') => (Phase::Connect, How::NoPorts),
        (b'R', _) => (Phase::Connect, How::NoDescriptors),
        (b'C', b'R') if request.method.is_none() => (Phase::Client, How::InvalidRequest),
        (b'C', _) => (Phase::Client, How::Aborted),
        (b'c', _) => (Phase::Client, How::Timeout),
        (b'-', b'-') if request.server == "<NOSRV>" && request.status == "503" => {
            (Phase::Select, How::NoLive)
        }
        _ if connecting && request.status == "503" => (Phase::Connect, How::Other),
        _ => return None,
    })
}

fn request(line: &str, zone: clock::Zone) -> Option<Request<'_>> {
    // What syslog puts before it ends with `haproxy[pid]: `.
    let rest =
        line.split_once("]: ").filter(|(before, _)| !before.contains('"')).map_or(line, |(_, rest)| rest);
    let (client, rest) = rest.split_once(" [")?;
    let (time, rest) = clock::common_log(rest, zone)?;
    let mut words = rest.strip_prefix("] ")?.splitn(12, ' ');
    let _frontend = words.next()?;
    let (group, server) = words.next()?.split_once('/')?;
    let timers: Vec<i64> =
        words.next()?.split('/').filter_map(|timer| timer.trim_start_matches('+').parse().ok()).collect();
    let status = words.next()?;
    let bytes = words.next()?;
    let (_, _) = (words.next()?, words.next()?);
    let flags = words.next()?;
    let counters = words.next()?;
    let _queues = words.next()?;
    let asked: Vec<&str> = words.collect();
    let asked = asked.join(" ");
    if timers.len() < 5 || flags.len() != 4 {
        return None;
    }
    // The request is quoted; <BADREQ> stands for none.
    let start = line.len().checked_sub(asked.len())?;
    let asked = line.get(start..)?.trim().trim_matches('"');
    let mut asked = asked.split(' ').skip_while(|word| word.starts_with('{'));
    let method = asked
        .next()
        .map(|method| method.trim_start_matches('"'))
        .filter(|method| *method != "<BADREQ>" && !method.is_empty());
    Some(Request {
        time,
        client: client.rsplit(' ').next()?,
        group,
        server,
        timers,
        status,
        bytes,
        flags,
        retries: counters.rsplit('/').next()?,
        method,
        uri: method.and(asked.next()),
    })
}

fn syslog_time(line: &str, lines: &Lines<'_>) -> Option<Moment> {
    // RFC 5424 has its version before the time, `<134>1 2026-11-23T07:08:00Z`.
    let line = line.strip_prefix('<').and_then(|rest| rest.split_once('>')).map_or(line, |(_, rest)| rest);
    let line = line.strip_prefix("1 ").unwrap_or(line);
    clock::iso(line, lines.zone).or_else(|| clock::syslog(line, lines.zone, lines.now)).map(|(time, _)| time)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_patterns_hold() {
        super::super::pattern::check(&super::TABLE);
    }
}
