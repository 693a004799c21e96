//! Apache's error log: mod_proxy, mod_proxy_http, mod_proxy_uwsgi, mod_ssl, mod_wsgi, and the limits of the server itself.
//!
//! `[time] [module:level] [pid N:tid N] (errno)text: [client A:P] AHnnnnn: message`. Numbers as in httpd 2.4. Several lines
//! belong to one failure; the one that tells most becomes the failure.

use model::evidence::Place;
use model::{Evidence, Moment};

use super::failure::{How, Phase, of_errno};
use super::pattern::{Table, patterns};
use super::python::{self, Traceback};
use super::{Lines, clock};

/// Lines of mod_wsgi (mod_wsgi.c, wsgi_server.c), and of httpd's own limits.
pub(crate) static TABLE: Table = Table::new(patterns! {
    "modwsgi.header-truncated" "a daemon process died or sent too large a head: 500" { "uri" "group" } "Truncated or oversized response headers" r"daemon process '(?<group>[^']*)'(?:: (?<uri>\S+))?"
    "modwsgi.socket-timeout" "a daemon process did not answer within socket-timeout: 504" { "uri" "group" } "Timeout when reading response headers" r"daemon process '(?<group>[^']*)'(?:: (?<uri>\S+))?"
    "modwsgi.queue-timeout" "a request waited longer than queue-timeout: 504" { "group" } "Queue timeout expired" r"daemon process '(?<group>[^']*)'"
    "modwsgi.request-timeout" "requests exceeded request-timeout: the daemon process ends" { "group" } "request time limit exceeded" r"stopping process '(?<group>[^']*)'"
    "modwsgi.deadlock-timeout" "the interpreter's lock was held for deadlock-timeout" { "group" } "deadlock timer expired" r"stopping process '(?<group>[^']*)'"
    "modwsgi.thread-stack" "what a thread did when its process was stopped" { "file" "line" "function" } "executing file" r#"executing file "(?<file>[^"]*)", line (?<line>\d+), in (?<function>\S+)"#
    "modwsgi.script-failed" "the script could not be executed" { "file" } "Failed to exec Python script file" r"script file '(?<file>[^']*)'"
    "modwsgi.system-exit" "the application called sys.exit, which was ignored" { } "SystemExit exception raised by WSGI script" ""
    "modwsgi.process-died" "a daemon process died" { "group" } "has died, deregister and restart it" r"Process '(?<group>[^']*)'"
    "modwsgi.signal-exit" "a daemon process ended by a signal" { "signal" } "terminated by signal" r"terminated by signal (?<signal>\d+)"
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
    ("AH02003", Phase::Tls, How::Handshake),
    ("AH02411", Phase::Tls, How::NameMismatch),
    ("AH02039", Phase::Tls, How::Verify),
    ("AH00940", Phase::Select, How::Disabled),
    ("AH00959", Phase::Select, How::Disabled),
    ("AH01167", Phase::Select, How::NoLive),
    ("AH01170", Phase::Select, How::NoLive),
    ("AH00561", Phase::Client, How::HeaderTooBigRequest),
    ("AH00565", Phase::Client, How::HeaderTooBigRequest),
];

pub(crate) fn sniff(line: &str) -> bool {
    head(line, 0).is_some_and(|head| head.module.contains(':'))
}

pub(crate) fn read(lines: &Lines<'_>, out: &mut Vec<Evidence>) {
    let mut traceback: Option<Traceback<'_>> = None;
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
        } else if let Some(evidence) = failure(&head).or_else(|| TABLE.read(head.message)) {
            let evidence = evidence.with_some("pid", head.pid);
            let evidence = if evidence.kind == "modwsgi.unreachable" {
                evidence.with_some("errno", head.errno)
            } else {
                evidence
            };
            out.push(
                evidence
                    .text(line)
                    .from("apache error log")
                    .at(Place::file(lines.path, number))
                    .time(Some(head.time)),
            );
        }
    }
    out.extend(traceback.and_then(Traceback::finish));
}

struct Head<'a> {
    time: Moment,
    module: &'a str,
    pid: Option<&'a str>,
    errno: Option<&'a str>,
    client: Option<&'a str>,
    message: &'a str,
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
        && number.bytes().all(|b| b.is_ascii_digit())
        && let Some((_, after)) = after.split_once(": ")
    {
        (errno, rest) = (Some(number), after);
    }
    // The client stands before or behind the error, by version.
    if let Some((who, after)) = rest.strip_prefix("[client ").and_then(|rest| rest.split_once("] ")) {
        (client, rest) = (Some(who), after);
    }
    Some(Head { time, module, pid, errno, client, message: rest })
}

fn failure(head: &Head<'_>) -> Option<Evidence> {
    let (number, message) = head.message.split_once(": ").unwrap_or((head.message, ""));
    if number == "AH00898" {
        return resolve(head, message);
    }
    let (_, phase, meant) = NUMBERS.iter().find(|(known, _, _)| *known == number)?;
    // These come with an errno that is not theirs.
    let fixed = matches!(number, "AH10124" | "AH02429" | "AH10404");
    let how = match head.errno {
        Some(_) if fixed => *meant,
        Some("70007") => How::Timeout,
        Some("70014") if *phase == Phase::Head => How::InvalidHeader,
        Some("20014" | "70014") => *meant,
        Some(errno) => of_errno(errno).unwrap_or(*meant),
        None => *meant,
    };
    let upstream = address(message);
    Some(
        Evidence::new("failure")
            .with("proxy", "apache")
            .with("phase", phase.name())
            .with("how", how.name())
            .with_some("errno", head.errno.filter(|errno| errno.len() <= 3))
            .with_some("upstream", upstream)
            .with_some("client", head.client)
            .with("detail", message),
    )
}

/// `DNS lookup failure for: NAME returned by /path`, and `Error reading from remote server returned by /path`, which only
/// follows another line.
fn resolve(head: &Head<'_>, message: &str) -> Option<Evidence> {
    let (_, rest) = message.split_once("DNS lookup failure for: ")?;
    let name = rest.split(' ').next()?;
    let uri = rest.split_once("returned by ").map(|(_, uri)| super::failure::uri_of(uri));
    Some(
        Evidence::new("failure")
            .with("proxy", "apache")
            .with("phase", Phase::Resolve.name())
            .with("how", How::NotFound.name())
            .with("name", name)
            .with_some("uri", uri)
            .with_some("client", head.client)
            .with("detail", message),
    )
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
