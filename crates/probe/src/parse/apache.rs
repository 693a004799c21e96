//! Apache's error log: mod_proxy, mod_proxy_http, mod_proxy_uwsgi, mod_ssl, mod_wsgi, and the limits of the server itself.
//!
//! `[time] [module:level] [pid N:tid N] (errno)text: [client A:P] AHnnnnn: message`. Numbers as in httpd 2.4. Several lines
//! belong to one failure; the one that tells most becomes the failure.

use std::collections::HashMap;

use model::evidence::Place;
use model::{Evidence, Moment};

use super::failure::{How, Phase, of_errno, uri_of};
use super::pattern::{Table, patterns};
use super::python::{self, Traceback};
use super::{Lines, clock};

/// Lines of mod_wsgi (mod_wsgi.c, wsgi_server.c), and of httpd's own limits.
pub(crate) static TABLE: Table = Table::new(patterns! {
    "modwsgi.header-truncated" "a daemon process died or sent too large a head: 500" { "file" "group" } "Truncated or oversized response headers" r"daemon process '(?<group>[^']*)'(?:: (?<file>\S+))?"
    "modwsgi.socket-timeout" "a daemon process did not answer within socket-timeout: 504" { "file" "group" } "Timeout when reading response headers" r"daemon process '(?<group>[^']*)'(?:: (?<file>\S+))?"
    "modwsgi.queue-timeout" "a request waited longer than queue-timeout: 504" { "group" } "Queue timeout expired" r"daemon process '(?<group>[^']*)'"
    "modwsgi.request-timeout" "requests exceeded request-timeout: the daemon process ends" { "group" } "request time limit exceeded" r"stopping process '(?<group>[^']*)'"
    "modwsgi.deadlock-timeout" "the interpreter's lock was held for deadlock-timeout" { "group" } "deadlock timer expired" r"stopping process '(?<group>[^']*)'"
    "modwsgi.thread-stack" "what a thread did when its process was stopped" { "file" "line" "function" } "executing file" r#"executing file "(?<file>[^"]*)", line (?<line>\d+), in (?<function>\S+)"#
    "modwsgi.script-failed" "the script could not be executed" { "file" } "Failed to exec Python script file" r"script file '(?<file>[^']*)'"
    "modwsgi.system-exit" "the application called sys.exit, which was ignored" { } "SystemExit exception raised by WSGI script" ""
    "modwsgi.process-died" "a daemon process died" { "group" } "has died, deregister and restart it" r"(?:\(pid=(?<pid>\d+)\): )?Process '(?<group>[^']*)'"
    "modwsgi.signal-exit" "a daemon process ended by a signal, or with an exit code, which it calls a signal, too" { "signal" "group" } "terminated by signal" r"\(pid=(?<pid>\d+)\): Process '(?<group>[^']*)' terminated by signal (?<signal>\d+)"
    "modwsgi.exception" "an exception left the application: 500" { "file" } "Exception occurred processing WSGI script" r"WSGI script '(?<file>[^']*)'"
    "modwsgi.unreachable" "the socket of a daemon process cannot be reached: 503" { "group" "errno" } "Unable to connect to WSGI daemon process" r"daemon process '(?<group>[^']*)'"
    "apache.max-request-workers" "all of httpd's own workers are busy" { } "reached MaxRequestWorkers" ""
    "apache.started" "httpd started" { "version" } "resuming normal operations" r"Apache/(?<version>[\d.]+)"
    "apache.stopping" "httpd stops" { } "caught SIGTERM, shutting down" ""
});

/// Numbers of messages that are failures: words of the number, phase, and what it means where no errno tells.
const NUMBERS: &[(&str, Phase, How)] = &[
    ("AH00957", Phase::Connect, How::Other),
    ("AH02454", Phase::Connect, How::Other),
    ("AH10101", Phase::Connect, How::Other),
    ("AH01102", Phase::Head, How::Closed),
    ("AH10124", Phase::Head, How::HeaderTooBig),
    ("AH10404", Phase::Head, How::InvalidHeader),
    ("AH02429", Phase::Head, How::InvalidHeader),
    ("AH01106", Phase::Head, How::InvalidHeader),
    ("AH01110", Phase::Body, How::Truncated),
    ("AH01084", Phase::Send, How::BrokenPipe),
    ("AH10154", Phase::Send, How::BrokenPipe),
    ("AH01097", Phase::Send, How::BrokenPipe),
    ("AH00959", Phase::Select, How::Disabled),
    ("AH01167", Phase::Select, How::NoLive),
    ("AH01170", Phase::Select, How::NoLive),
    ("AH00561", Phase::Client, How::HeaderTooBigRequest),
    ("AH00565", Phase::Client, How::HeaderTooBigRequest),
];

/// These follow the line that tells what happened, and repeat it with the request or the client.
const FOLLOWERS: &[&str] = &["AH01097", "AH01106", "AH01114", "AH10101"];
/// A line that follows comes within this time from the same thread.
const FOLLOWS_MILLIS: i64 = 1_000;
/// Threads whose last failure is remembered; httpd has fewer.
const THREADS_MAX: usize = 4_096;

/// Words of mod_ssl about a handshake with an upstream, at the level info: longer ones before their parts.
const HANDSHAKES: &[(&str, How)] = &[
    ("does not match for hostname", How::NameMismatch),
    ("Error (10)", How::Expired),
    ("certificate has expired", How::Expired),
    ("Certificate Verification: Error", How::Verify),
    ("wrong version number", How::WrongVersion),
    ("unrecognized name", How::UnknownName),
    ("certificate verify failed", How::Verify),
];

pub(crate) fn sniff(line: &str) -> bool {
    head(line, 0).is_some_and(|head| head.module.contains(':'))
}

pub(crate) fn read(lines: &Lines<'_>, out: &mut Vec<Evidence>) {
    let mut traceback: Option<Traceback<'_>> = None;
    let mut threads: HashMap<&str, Thread> = HashMap::new();
    for (number, line) in lines.iter() {
        let Some(head) = head(line, lines.zone) else { continue };
        if let Some(open) = traceback.as_mut() {
            // Each line of a traceback has the whole head before it.
            match open.take(head.message) {
                python::Taken::More => continue,
                python::Taken::Last => {
                    out.extend(traceback.take().and_then(Traceback::finish));
                    continue;
                }
                python::Taken::Not => out.extend(traceback.take().and_then(Traceback::finish)),
            }
        }
        if let Some(begun) =
            Traceback::begin(lines.path, number, head.message, Some(head.time), "apache error log", head.pid)
        {
            traceback = Some(begun);
            continue;
        }
        if threads.len() > THREADS_MAX {
            threads.clear();
        }
        let thread = threads.entry(head.process).or_default();
        thread.handshake = handshake(&head).or(thread.handshake);
        if thread.follows(&head, out) {
            continue;
        }
        let failed = failure(&head, thread.handshake);
        if failed.is_some() {
            *thread = Thread { handshake: None, last: Some((out.len(), head.time)) };
        }
        if let Some(evidence) = failed.or_else(|| line_of(&head)) {
            // Some lines are about another process than the one that wrote them.
            let pid = evidence.get("pid").or(head.pid).map(str::to_owned);
            out.push(
                evidence
                    .with_some("pid", pid)
                    .text(line)
                    .from("apache error log")
                    .at(Place::file(lines.path, number))
                    .time(Some(head.time)),
            );
        }
    }
    out.extend(traceback.and_then(Traceback::finish));
}

fn line_of(head: &Head<'_>) -> Option<Evidence> {
    let evidence = TABLE.read(head.message)?;
    Some(match evidence.kind.as_ref() {
        "modwsgi.unreachable" => evidence.with_some("errno", head.errno),
        _ => evidence,
    })
}

/// What one thread of httpd said last: several lines belong to one failure.
#[derive(Default)]
struct Thread {
    /// Why a handshake with an upstream failed.
    handshake: Option<How>,
    /// Where its last failure stands, and when it was.
    last: Option<(usize, Moment)>,
}

impl Thread {
    /// Whether the line only tells more of the failure before it, which then has it.
    fn follows(&mut self, head: &Head<'_>, out: &mut [Evidence]) -> bool {
        let (number, message) = head.numbered();
        let Some((index, time)) = self.last else { return false };
        let Some(before) = out.get_mut(index).filter(|_| head.time.0 - time.0 <= FOLLOWS_MILLIS) else {
            return false;
        };
        let handshake = message.contains("Error during SSL Handshake");
        let read = message.contains("Error reading from remote server");
        if !FOLLOWERS.contains(&number) && !(number == "AH00898" && (handshake || read)) {
            return false;
        }
        // The failure of the handshake came out as one of sending the request.
        if handshake && before.get("phase") == Some(Phase::Send.name()) {
            let how = self.handshake.take().unwrap_or(How::Handshake);
            *before = before.clone().with("phase", Phase::Tls.name()).with("how", how.name());
        }
        let (uri, method) = returned_by(message);
        for (name, value) in [("client", head.client), ("uri", uri), ("method", method)] {
            if before.get(name).is_none() {
                *before = before.clone().with_some(name, value);
            }
        }
        true
    }
}

fn handshake(head: &Head<'_>) -> Option<How> {
    // Handshakes of clients speak of `[client`, those with upstreams of `[remote`, or of nobody.
    if !head.module.starts_with("ssl:") || head.client.is_some() {
        return None;
    }
    HANDSHAKES.iter().find(|(words, _)| head.message.contains(words)).map(|(_, how)| *how)
}

/// `... returned by /path (GET)`
fn returned_by(message: &str) -> (Option<&str>, Option<&str>) {
    let Some((_, rest)) = message.split_once("returned by ") else { return (None, None) };
    let mut words = rest.split(' ');
    let uri = words.next().map(uri_of);
    (uri, words.next().map(|method| method.trim_matches(['(', ')'])))
}

struct Head<'a> {
    time: Moment,
    module: &'a str,
    /// Process and thread.
    process: &'a str,
    pid: Option<&'a str>,
    errno: Option<&'a str>,
    client: Option<&'a str>,
    message: &'a str,
}

impl<'a> Head<'a> {
    /// The number of the message, and the rest of it.
    fn numbered(&self) -> (&'a str, &'a str) {
        self.message.split_once(": ").unwrap_or((self.message, ""))
    }
}

fn head(line: &str, zone: clock::Zone) -> Option<Head<'_>> {
    let (time, rest) = clock::asctime(line.strip_prefix('[')?, zone)?;
    let (module, rest) = rest.strip_prefix("] [")?.split_once("] ")?;
    let (process, mut rest) = rest.strip_prefix("[pid ")?.split_once("] ")?;
    let pid = process.split(':').next();
    let mut client = None;
    if let Some((who, after)) = rest.strip_prefix("[client ").and_then(|rest| rest.split_once("] ")) {
        (client, rest) = (Some(who), after);
    }
    let mut errno = None;
    if let Some((number, after)) = rest.strip_prefix('(').and_then(|rest| rest.split_once(')'))
        && number.trim_start_matches("EAI ").bytes().all(|b| b.is_ascii_digit())
        && let Some((_, after)) = after.split_once(": ")
    {
        (errno, rest) = (Some(number), after);
    }
    // The client stands before or behind the error, by version.
    if let Some((who, after)) = rest.strip_prefix("[client ").and_then(|rest| rest.split_once("] ")) {
        (client, rest) = (Some(who), after);
    }
    let errno = errno.filter(|number| !number.starts_with("EAI"));
    if let Some((_, after)) = rest.strip_prefix("[remote ").and_then(|rest| rest.split_once("] ")) {
        rest = after;
    }
    Some(Head { time, module, process, pid, errno, client, message: rest })
}

fn failure(head: &Head<'_>, handshake: Option<How>) -> Option<Evidence> {
    let (number, message) = head.numbered();
    if number == "AH00898" {
        return of_request(head, message, handshake);
    }
    let (_, phase, meant) = NUMBERS.iter().find(|(known, _, _)| *known == number)?;
    // These come with an errno that is not theirs.
    let fixed = matches!(number, "AH10124" | "AH02429");
    let how = match head.errno {
        Some(_) if fixed => *meant,
        Some("70007") => How::Timeout,
        Some("70014") if *phase == Phase::Head => How::Closed,
        Some("20014" | "70014" | "70008") => *meant,
        Some(errno) => of_errno(errno).unwrap_or(*meant),
        None => *meant,
    };
    let (phase, how) = match handshake {
        Some(how) if *phase == Phase::Send => (Phase::Tls, how),
        _ => (*phase, how),
    };
    let (uri, method) = returned_by(message);
    Some(
        failed(head, phase, how)
            .with_some("errno", head.errno.filter(|errno| errno.len() <= 3 && !fixed))
            .with_some("upstream", address(message))
            .with_some("uri", uri)
            .with_some("method", method)
            .with("detail", message),
    )
}

fn failed(head: &Head<'_>, phase: Phase, how: How) -> Evidence {
    Evidence::new("failure")
        .with("proxy", "apache")
        .with("phase", phase.name())
        .with("how", how.name())
        .with_some("client", head.client)
}

/// What mod_proxy says of the request: `DNS lookup failure for: NAME returned by /path`; other words follow another line, if
/// its level is logged.
fn of_request(head: &Head<'_>, message: &str, handshake: Option<How>) -> Option<Evidence> {
    let name = message.split_once("DNS lookup failure for: ").and_then(|(_, rest)| rest.split(' ').next());
    let (phase, how) = if name.is_some() {
        (Phase::Resolve, How::NotFound)
    } else if message.contains("Error during SSL Handshake") {
        (Phase::Tls, handshake.unwrap_or(How::Handshake))
    } else if message.contains("Unexpected Upgrade") {
        (Phase::Head, How::InvalidHeader)
    } else {
        return None;
    };
    let (uri, _) = returned_by(message);
    Some(failed(head, phase, how).with_some("name", name).with_some("uri", uri).with("detail", message))
}

/// The address within `attempt to connect to 127.0.0.1:8000 (127.0.0.1:8000) failed`, `Unix domain socket /run/app.sock
/// (localhost:80) failed`, `from remote server 127.0.0.1:8000`, or `worker for (127.0.0.1:8000)`.
fn address(message: &str) -> Option<String> {
    if let Some((_, rest)) = message.split_once("Unix domain socket ") {
        return rest.split(' ').next().map(|path| format!("unix:{path}"));
    }
    let words = message.split([' ', '(', ')', ',']);
    words
        .filter_map(|word| {
            let (host, port) = word.rsplit_once(':')?;
            let port_only = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
            (port_only && !host.is_empty() && host != "http" && host != "HTTP").then(|| word.to_owned())
        })
        .next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_patterns_hold() {
        super::super::pattern::check(&TABLE);
    }
}
