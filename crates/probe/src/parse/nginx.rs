//! nginx's error log, that of ingress-nginx included.
//!
//! `2026/11/23 07:06:57 [error] 812#812: *5 MESSAGE while ACTION, client: IP, server: NAME, request: "...", upstream: "...",
//! host: "..."`. Wording as in ngx_http_upstream.c, ngx_event_connect.c and ngx_http_upstream_round_robin.c.

use std::sync::LazyLock;

use model::evidence::Place;
use model::{Evidence, Moment};

use super::Lines;
use super::clock;
use super::failure::{How, Phase, uri_of};
use super::pattern::Words;

/// What a message means: words that it has, what happened, and the phase where the words tell more than the action.
struct Meaning {
    words: &'static str,
    how: How,
    phase: Option<Phase>,
}

const fn meaning(words: &'static str, how: How) -> Meaning {
    Meaning { words, how, phase: None }
}

const fn in_phase(words: &'static str, how: How, phase: Phase) -> Meaning {
    Meaning { words, how, phase: Some(phase) }
}

/// The first whose words are in the message counts: longer wordings stand before their parts.
const MEANINGS: &[Meaning] = &[
    in_phase("no live upstreams", How::NoLive, Phase::Select),
    in_phase("upstream server temporarily disabled", How::Disabled, Phase::Select),
    in_phase("worker_connections are not enough", How::NoConnections, Phase::Connect),
    meaning("upstream timed out", How::Timeout),
    meaning("upstream prematurely closed connection", How::Closed),
    in_phase("upstream prematurely closed stream", How::Closed, Phase::Head),
    in_phase("upstream sent too big header", How::HeaderTooBig, Phase::Head),
    in_phase("upstream sent duplicate header line", How::DuplicateLength, Phase::Head),
    in_phase(
        "\"Content-Length\" and \"Transfer-Encoding\" headers at the same time",
        How::LengthAndChunked,
        Phase::Head,
    ),
    in_phase("upstream sent invalid \"Content-Length\"", How::InvalidLength, Phase::Head),
    in_phase("upstream sent unknown \"Transfer-Encoding\"", How::InvalidHeader, Phase::Head),
    in_phase("upstream sent invalid chunked response", How::InvalidChunk, Phase::Body),
    in_phase("upstream sent no valid", How::NotHttp, Phase::Head),
    in_phase("upstream sent invalid header", How::InvalidHeader, Phase::Head),
    in_phase("upstream sent too large http2 frame", How::FrameTooLarge, Phase::Head),
    in_phase("upstream sent goaway", How::Goaway, Phase::Head),
    in_phase("upstream rejected request with error", How::Goaway, Phase::Head),
    in_phase("upstream prematurely sent response", How::EarlyResponse, Phase::Tls),
    in_phase("upstream SSL certificate does not match", How::NameMismatch, Phase::Tls),
    in_phase("certificate has expired", How::Expired, Phase::Tls),
    in_phase("upstream SSL certificate verify error", How::Verify, Phase::Tls),
    in_phase("wrong version number", How::WrongVersion, Phase::Tls),
    in_phase("unrecognized name", How::UnknownName, Phase::Tls),
    in_phase("peer closed connection in SSL handshake", How::Closed, Phase::Tls),
    in_phase("SSL_do_handshake() failed", How::Handshake, Phase::Tls),
    in_phase("could not be resolved", How::NotFound, Phase::Resolve),
    in_phase("no resolver defined", How::NoResolver, Phase::Resolve),
    in_phase("client prematurely closed connection", How::Aborted, Phase::Client),
    in_phase("client intended to send too large body", How::BodyTooLarge, Phase::Client),
    in_phase("client sent too long", How::HeaderTooBigRequest, Phase::Client),
    in_phase("client timed out", How::Timeout, Phase::Client),
    in_phase("broken header: ", How::InvalidRequest, Phase::Client),
    meaning("(111: ", How::Refused),
    meaning("(110: ", How::Timeout),
    meaning("(113: ", How::UnreachableHost),
    meaning("(101: ", How::UnreachableNetwork),
    meaning("(104: ", How::Reset),
    meaning("(32: ", How::BrokenPipe),
    meaning("(99: ", How::NoPorts),
    meaning("(24: ", How::NoDescriptors),
    meaning("(28: ", How::NoSpace),
    meaning("(13: ", How::Permission),
    meaning("(2: ", How::NoFile),
    meaning("(11: ", How::QueueFull),
];

/// A request's own words can be in the message; a detail is for a person to read.
const DETAIL_MAX: usize = 200;

/// Words that tell the phase.
const ACTIONS: &[(&str, Phase)] = &[
    ("while connecting to upstream", Phase::Connect),
    ("while SSL handshaking to upstream", Phase::Tls),
    ("while sending request to upstream", Phase::Send),
    ("while sending to client", Phase::Client),
    ("while reading response header from upstream", Phase::Head),
    ("while reading upstream", Phase::Body),
    ("while proxying upgraded connection", Phase::Body),
    ("while resolving", Phase::Resolve),
    ("while reading PROXY protocol", Phase::Client),
    ("while reading client request", Phase::Client),
];

/// Whether the line looks like one of this log, or of the controller of ingress-nginx, which writes into the same.
pub(crate) fn sniff(line: &str) -> bool {
    clock::slashed(line, 0).is_some_and(|(_, rest)| rest.starts_with(" ["))
        || without_endpoint(line).is_some()
}

/// `W1123 07:06:57.120000       7 controller.go:1107] Service "shop/api" does not have any active Endpoint.`: the name of the
/// service (ingress-nginx, `internal/ingress/controller/controller.go`; the head is klog's).
fn without_endpoint(line: &str) -> Option<&str> {
    let (head, message) = line.split_once("] ")?;
    let level = head.strip_prefix(['I', 'W', 'E', 'F'])?;
    let dated =
        level.as_bytes().iter().take(4).all(u8::is_ascii_digit) && level.as_bytes().get(4) == Some(&b' ');
    let (name, _) = message.strip_prefix("Service \"")?.split_once("\" does not have any active Endpoint")?;
    dated.then_some(name)
}

fn of_controller(lines: &Lines<'_>, number: u64, line: &str, service: &str) -> Evidence {
    Evidence::new("failure")
        .with("proxy", "nginx")
        .with("phase", Phase::Select.name())
        .with("how", How::NoLive.name())
        .with("upstream", service)
        .with("group", service)
        .with("detail", "the service does not have any active Endpoint")
        .text(line)
        .from("nginx error log")
        .at(Place::file(lines.path, number))
        .time(klog_time(line, lines))
}

/// The month and day of klog, in the year of the present.
fn klog_time(line: &str, lines: &Lines<'_>) -> Option<Moment> {
    let (date, rest) = line.get(1..)?.split_once(' ')?;
    let (month, day) = date.split_at_checked(2)?;
    let (year, _, _) = lines.now?.date();
    let time = rest.split_once(' ')?.0;
    clock::iso(&format!("{year:04}-{month}-{day} {time}"), lines.zone).map(|(time, _)| time)
}

pub(crate) fn read(lines: &Lines<'_>, out: &mut Vec<Evidence>) {
    for (number, line) in lines.iter() {
        if let Some(evidence) = one(lines, number, line) {
            out.push(evidence);
        }
    }
}

fn one(lines: &Lines<'_>, number: u64, line: &str) -> Option<Evidence> {
    if let Some(service) = without_endpoint(line) {
        return Some(of_controller(lines, number, line, service));
    }
    let (time, rest) = clock::slashed(line, lines.zone)?;
    let (level, rest) = rest.strip_prefix(" [")?.split_once("] ")?;
    let (process, rest) = rest.split_once(": ")?;
    let pid = process.split('#').next();
    let (connection, message) = match rest.strip_prefix('*').and_then(|rest| rest.split_once(' ')) {
        Some((connection, message)) => (Some(connection), message),
        None => (None, rest),
    };
    let at = |evidence: Evidence| {
        evidence
            .with_some("pid", pid)
            .text(line)
            .from("nginx error log")
            .at(Place::file(lines.path, number))
            .time(Some(time))
    };
    if let Some(name) = host_not_found(message) {
        return Some(at(Evidence::new("nginx.start-refused").with("name", name).with("level", level)));
    }
    if level == "notice" {
        return notice(message).map(at);
    }
    if let Some((worker, signal)) = message.split_once(" exited on signal ") {
        let (worker, signal) = (worker.rsplit(' ').next(), signal.split(' ').next());
        let died = at(Evidence::new("nginx.worker-died").with_some("signal", signal));
        return Some(died.with_some("pid", worker));
    }
    // Behind it stand words of the client, which could be any.
    let told = message.split(", client: ").next().unwrap_or(message);
    static WORDS: LazyLock<Words> =
        LazyLock::new(|| Words::new(MEANINGS.iter().map(|meaning| meaning.words)));
    let meaning = WORDS.in_text(told).next().and_then(|first| MEANINGS.get(first))?;
    // A duplicate that nginx only ignores is told at the level warn.
    if matches!(level, "warn" | "notice" | "debug") && meaning.how != How::Disabled
        || told.contains(", ignored")
    {
        return None;
    }
    let phase = phase(message, told, meaning)?;
    if phase == Phase::Client && of_strangers(meaning.how) {
        return None;
    }
    let upstream = quoted(message, "upstream: \"");
    let request = quoted(message, "request: \"").unwrap_or_default();
    let mut words = request.split(' ');
    let how = how(told, meaning, phase);
    let mut evidence = Evidence::new("failure")
        .with("proxy", "nginx")
        .with("phase", phase.name())
        .with("how", how.name())
        // A resolver has numbers of its own: 3 is "Host not found".
        .with_some("errno", errno(told).filter(|_| !told.contains("could not be resolved")))
        .with_some("connection", connection)
        .with_some("method", words.next().filter(|method| !method.is_empty()))
        .with_some("uri", words.next().map(uri_of))
        .with_some("server", field(message, "server: "))
        .with_some("client", field(message, "client: "))
        .with_some("host", quoted(message, "host: \""))
        .with_some("name", unresolved(message));
    if let Some(upstream) = upstream {
        let (scheme, address) = target(upstream);
        let scheme = if told.contains("proxying upgraded connection") { Some("ws") } else { scheme };
        evidence = evidence.with("upstream", address).with_some("scheme", scheme);
    } else if phase == Phase::Resolve {
        evidence = evidence.with_some("upstream", unresolved(message));
    }
    Some(at(evidence.with("detail", detail(message))))
}

/// Handshakes that clients fail are the noise of scanners, in words that are also those of an upstream's.
fn of_strangers(how: How) -> bool {
    matches!(
        how,
        How::WrongVersion | How::UnknownName | How::Handshake | How::Closed | How::Expired | How::Verify
    )
}

/// What the action says, unless the message itself tells more.
fn phase(message: &str, told: &str, meaning: &Meaning) -> Option<Phase> {
    if message.contains("while SSL handshaking, client") {
        return Some(Phase::Client);
    }
    if meaning.how == How::NoSpace || (meaning.how == How::Permission && message.starts_with("open()")) {
        let answer = told.contains("while reading upstream") || message.contains("upstream: \"");
        return Some(if answer { Phase::Body } else { Phase::Client });
    }
    let acted = ACTIONS.iter().find(|(words, _)| told.contains(words)).map(|(_, phase)| *phase);
    match (meaning.phase, acted) {
        // A certificate is judged after the handshake, which the action already calls reading.
        (Some(phase), _) => Some(phase),
        (None, Some(phase)) => Some(phase),
        // accept4() and socket() without a client have no action.
        (None, None) if message.starts_with("accept") => Some(Phase::Client),
        (None, None) => None,
    }
}

fn how(told: &str, meaning: &Meaning, phase: Phase) -> How {
    match (meaning.how, phase) {
        (How::Closed, Phase::Body) => How::Truncated,
        (How::NotFound, Phase::Resolve) if told.contains("(2: ") => How::ServerFailed,
        (How::NotFound, Phase::Resolve) if told.contains("(5: ") => How::Refused,
        (How::NotFound, Phase::Resolve) if told.contains("(110: ") => How::Timeout,
        (How::DuplicateLength, _) if !told.to_ascii_lowercase().contains("content-length") => {
            How::InvalidHeader
        }
        (how, _) => how,
    }
}

/// Start-up and shutdown, from which restarts and reloads are seen, and the version.
fn notice(message: &str) -> Option<Evidence> {
    if let Some(version) = message.strip_prefix("nginx/") {
        let version = version.split(' ').next();
        return Some(
            Evidence::new("software")
                .with("product", "nginx")
                .with_some("version", version)
                .with("role", "proxy"),
        );
    }
    let kind = if message.contains("start worker processes") {
        "nginx.started"
    } else if message.contains("(SIGHUP) received") {
        "nginx.reloaded"
    } else if message.contains("exiting") || message.contains("(SIGTERM) received") {
        "nginx.stopping"
    } else {
        return None;
    };
    Some(Evidence::new(kind))
}

fn host_not_found(message: &str) -> Option<&str> {
    quoted(message, "host not found in upstream \"")
}

fn unresolved(message: &str) -> Option<&str> {
    if let Some((name, _)) = message.split_once(" could not be resolved") {
        return name.split(' ').next_back();
    }
    message
        .split_once("no resolver defined to resolve ")
        .map(|(_, rest)| rest.split([' ', ',']).next().unwrap_or(rest))
}

/// The number of the system's error: `(111: Connection refused)`.
fn errno(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once(" (")?;
    let (number, _) = rest.split_once(": ")?;
    (number.len() <= 3 && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())).then_some(number)
}

/// The number of a verify error, or the message without where it happened.
fn detail(message: &str) -> &str {
    if let Some((_, rest)) = message.split_once("verify error: (") {
        return rest.split(':').next().unwrap_or(rest);
    }
    let message = message.split(" while ").next().unwrap_or(message);
    let message = message.split(", client: ").next().unwrap_or(message);
    let end = message.char_indices().nth(DETAIL_MAX).map_or(message.len(), |(end, _)| end);
    message.get(..end).unwrap_or(message)
}

/// Scheme and address of `http://127.0.0.1:8000/path`, `http://unix:/run/app.sock:/path`, or a name of a group.
fn target(upstream: &str) -> (Option<&str>, String) {
    let (scheme, rest) = match upstream.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, upstream),
    };
    if rest.starts_with("unix:") {
        // The path ends where the URI begins: at a colon.
        let end = rest.get(5..).and_then(|path| path.find(':')).map_or(rest.len(), |end| end + 5);
        return (scheme, rest.get(..end).unwrap_or(rest).to_owned());
    }
    (scheme, rest.split('/').next().unwrap_or(rest).to_owned())
}

fn quoted<'a>(message: &'a str, before: &str) -> Option<&'a str> {
    let (_, rest) = message.split_once(before)?;
    rest.split('"').next()
}

fn field<'a>(message: &'a str, before: &str) -> Option<&'a str> {
    let (_, rest) = message.split_once(before)?;
    rest.split(',').next().filter(|value| !value.is_empty())
}
