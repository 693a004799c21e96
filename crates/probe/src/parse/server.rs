//! Logs of Python servers: Gunicorn, uWSGI, Uvicorn, Hypercorn, Daphne.
//!
//! One reader for all of them: what a supervisor captures of standard error holds lines of the server, of its workers and of
//! the application, in several forms. Lines without a time have that of the line before.

use model::evidence::Place;
use model::{Evidence, Moment};

use super::pattern::{Table, patterns};
use super::python::{self, Traceback};
use super::traffic::Traffic;
use super::{EachRequest, Format, Lines, clock, served};

/// Lines of Gunicorn 20.1 to 27 (arbiter.py, workers/base.py, workers/gthread.py, http/errors.py).
pub(crate) static GUNICORN: Table = Table::new(patterns! {
    "gunicorn.starting" "the master started" { "version" } "Starting gunicorn" r"Starting gunicorn (?<version>\S+)"
    "gunicorn.listening" "it listens" { "bind" } "Listening at: " r"Listening at: (?:https?://)?(?<bind>[^\s,]+)"
    "gunicorn.worker-class" "what its workers are" { "class" } "Using worker: " r"Using worker: (?<class>\S+)"
    "gunicorn.booting" "a worker started" { } "Booting worker with pid" r"Booting worker with pid: (?<pid>\d+)"
    "gunicorn.worker-timeout" "a worker gave no sign of life for the time `timeout`" { } "WORKER TIMEOUT" r"WORKER TIMEOUT \(pid:(?<pid>\d+)\)"
    "gunicorn.sigkill" "a worker ended by SIGKILL, from whomever" { } "SIGKILL" r"Worker \(pid:\s*(?<pid>\d+)\) was sent SIGKILL"
    "gunicorn.sigterm" "a worker ended by SIGTERM, which is no failure" { } "was sent SIGTERM" r"Worker \(pid:\s*(?<pid>\d+)\) was sent SIGTERM"
    "gunicorn.signal-exit" "a worker ended by a signal" { "signal" } "was sent SIG" r"Worker \(pid:\s*(?<pid>\d+)\) was sent (?<signal>SIG[A-Z]+)"
    "gunicorn.sigkill" "the same, in the words of 20.1" { } "terminated due to signal 9" r"Worker with pid (?<pid>\d+) was terminated due to signal 9"
    "gunicorn.signal-exit" "the same, in the words of 20.1" { "signal" } "was terminated due to signal" r"Worker with pid (?<pid>\d+) was terminated due to signal (?<signal>\d+)"
    "gunicorn.exited" "a worker ended with a code" { "code" } "exited with code" r"Worker \(pid:\s*(?<pid>\d+)\) exited with code (?<code>\d+)"
    "gunicorn.boot-failed" "the application could not be imported: the master gives up" { } "Reason: Worker failed to boot" ""
    "gunicorn.load-failed" "the application object was not found: the master gives up" { } "Reason: App failed to load" ""
    "gunicorn.object-not-found" "the module has no such object" { "object" "module" } "Failed to find attribute" r"Failed to find attribute '(?<object>[^']+)' in '(?<module>[^']+)'"
    "gunicorn.worker-exception" "an exception while a worker started, a traceback follows" { "exception" "message" "file" "line" } "Exception in worker process" ""
    "gunicorn.address-in-use" "another process has the address" { "bind" } "Connection in use" r"Connection in use: \(?(?<bind>.+?)\)?$"
    "gunicorn.cannot-listen" "it gave up listening" { "bind" } "Can't connect to" r"Can't connect to \(?(?<bind>.+?)\)?$"
    "gunicorn.invalid-address" "the machine has no such address" { "bind" } "Invalid address" r"Invalid address: \(?(?<bind>.+?)\)?$"
    "gunicorn.handling-error" "an exception while a request was handled; the client got 500" { "method" "uri" "exception" "message" "file" "line" } "Error handling request " r"Error handling request (?:(?<method>[A-Z]+) )?(?<uri>/\S*)"
    "gunicorn.response-cut" "an exception after the head of the answer was sent: the answer ends early" { "exception" "message" "file" "line" } "Error handling request" "Error handling request$"
    "gunicorn.handling-error" "the same before the request was read" { "exception" "message" "file" "line" } "Error handling request" ""
    "gunicorn.socket-error" "an OSError left the application and was taken for one of the client's socket: nothing was answered" { "method" "uri" "exception" "message" "file" "line" } "Socket error processing request" ""
    "gunicorn.silent-close" "at the level debug only: an error of a connection left the application" { "what" } "Ignoring " r"Ignoring (?<what>EPIPE|connection reset|premature client disconnection|socket not connected)"
    "gunicorn.invalid-request" "a request that it could not read" { "reason" "client" } "Invalid request from ip" r"Invalid request from ip=(?<client>\S+): (?<reason>.*)"
    "gunicorn.autorestart" "a worker reached max_requests" { } "Autorestarting worker after current request" ""
    "gunicorn.signal" "the master got a signal" { "signal" } "Handling signal: " r"Handling signal: (?<signal>\w+)"
    "gunicorn.shutdown" "the master ends" { } "Shutting down: Master" ""
    "gunicorn.invalid-header" "the application gave a header that it refuses" { "header" } "Invalid response header" r"Invalid response header from the application: (?<header>.*)"
    "gunicorn.reloader" "it restarts on changes of files" { } "Reloader is on" ""
    "gunicorn.worker-exiting" "a worker ends" { } "Worker exiting" r"Worker exiting \(pid: (?<pid>\d+)\)"
});

/// Lines of uWSGI 2.0 (core/master.c, core/harakiri.c, core/protocol.c, core/socket.c).
pub(crate) static UWSGI: Table = Table::new(patterns! {
    "uwsgi.starting" "the master started" { "version" } "Starting uWSGI" r"Starting uWSGI (?<version>\S+)"
    "uwsgi.harakiri" "a worker was killed because a request took longer than `harakiri`" { "worker" } "HARAKIRI ON WORKER" r"HARAKIRI ON WORKER (?<worker>\d+) \(pid: (?<pid>\d+)"
    "uwsgi.harakiri-wait" "what the killed worker waited for in the kernel" { "wchan" } "HARAKIRI: -- wchan>" r"wchan> (?<wchan>\S+)"
    "uwsgi.harakiri-request" "the request that took too long" { "method" "uri" } "HARAKIRI [core" r"- (?<method>[A-Z]+) (?<uri>[^ ?]+)\S* since"
    "uwsgi.died" "a worker died" { "signal" "worker" } "died, killed by signal" r"worker (?<worker>\d+) \(pid: (?<pid>\d+)\) died, killed by signal (?<signal>\d+)"
    "uwsgi.died" "the same where it ended by itself" { "signal" "worker" } " died :(" r"worker (?<worker>\d+) \(pid: (?<pid>\d+)\) died :\("
    "uwsgi.respawned" "a worker was started again" { "worker" } "Respawned uWSGI worker" r"Respawned uWSGI worker (?<worker>\d+) \(new pid: (?<pid>\d+)\)"
    "uwsgi.respawning-fast" "workers die as fast as they are started" { } "respawning too fast" ""
    "uwsgi.segfault" "a worker crashed" { } "got Segmentation Fault" r"process (?<pid>\d+) got Segmentation Fault"
    "uwsgi.listen-queue-full" "more connections wait than the queue takes" { "queue" "backlog" "bind" } "listen queue of socket" r#"listen queue of socket "(?<bind>[^"]+)".*full !!! \((?<queue>\d+)/(?<backlog>\d+)\)"#
    "uwsgi.listen-above-somaxconn" "it does not start: `listen` is above the kernel's limit" { "max" } "Listen queue size is greater than the system max" r"somaxconn \((?<max>\d+)\)"
    "uwsgi.http-to-uwsgi" "HTTP was spoken to a uwsgi socket: the size is made of the second and third letter of GET, POST, PUT, HEAD, DELETE, OPTIONS, PATCH or PRI" { "size" } "invalid request block size" r"block size: (?<size>21573|21327|21589|16709|19525|21584|21569|18770) "
    "uwsgi.request-too-big" "the head of a request is larger than `buffer-size`" { "size" "max" } "invalid request block size" r"block size: (?<size>\d+) \(max (?<max>\d+)\)"
    "uwsgi.request-too-big" "the same for HTTP" { "max" } "invalid HTTP request size" r"request size \(max (?<max>\d+)\)"
    "uwsgi.no-application" "a request came and no application is loaded" { } "no python application found" ""
    "uwsgi.load-failed" "the application could not be loaded" { } "unable to load app 0" ""
    "uwsgi.gave-up" "it ended because no application could be loaded (`need-app`)" { } "no app loaded. GAME OVER" ""
    "uwsgi.dynamic-mode" "it serves without an application" { } "going in full dynamic mode" ""
    "uwsgi.client-gone" "whoever asked had gone when the answer came" { "uri" } "SIGPIPE: writing to a closed pipe" r"on request (?<uri>[^ ?]+)"
    "uwsgi.empty-reply" "an exception left the application: nothing was answered" { "method" "uri" } "(HTTP/1.1 500) 0 headers" r"\} \[[^\]]*\] (?<method>[A-Z]+) (?<uri>[^ ?]+)\S* => generated 0 bytes"
    "uwsgi.empty-reply" "the same over HTTP/1.0" { "method" "uri" } "(HTTP/1.0 500) 0 headers" r"\} \[[^\]]*\] (?<method>[A-Z]+) (?<uri>[^ ?]+)\S* => generated 0 bytes"
    "uwsgi.no-head" "the application answered without start_response: bytes without a head" { "method" "uri" } " 500) 0 headers in 0 bytes" r"\} \[[^\]]*\] (?<method>[A-Z]+) (?<uri>[^ ?]+)\S* => generated [1-9]"
    "uwsgi.client-gone" "the same when it was written to" { "method" "uri" "reason" } "_do(): " r"uwsgi_response_write\w*\(\): (?<reason>[^\[]+) \[.* during (?<method>[A-Z]+) (?<uri>[^ ?]+)"
    "uwsgi.write-timeout" "the other side did not take the answer" { } "uwsgi_response_write_body_do() TIMEOUT" ""
    "uwsgi.evil-reload" "a worker was killed for its memory by `evil-reload-on-rss`" { } "EVIL RELOAD ON WORKER" r"EVIL RELOAD ON WORKER (?<pid>\d+)"
    "uwsgi.no-mercy" "a worker did not end in time" { } "NO MERCY" r"\(pid: (?<pid>\d+)\)"
    "uwsgi.http-parser-closed" "what came was no HTTP" { } "uwsgi_proto_http_parser() -> client closed connection" ""
    "uwsgi.spawned" "a worker was started" { "worker" } "spawned uWSGI worker" r"spawned uWSGI worker (?<worker>\d+) \([^)]*pid: (?<pid>\d+)"
    "uwsgi.address-in-use" "another process has the address" { } "probably another instance of uWSGI is running on the same address" ""
});

/// Lines of Uvicorn, Hypercorn, Daphne and of asyncio beneath them.
pub(crate) static ASGI: Table = Table::new(patterns! {
    "uvicorn.asgi-exception" "an exception left the application" { "exception" "message" "file" "line" } "Exception in ASGI application" ""
    "uvicorn.no-response" "the application returned without an answer" { } "ASGI callable returned without starting response" ""
    "uvicorn.incomplete-response" "the application returned before the end of its answer" { } "ASGI callable returned without completing response" ""
    "uvicorn.length-short" "fewer bytes than announced" { } "Response content shorter than Content-Length" ""
    "uvicorn.length-short" "the same in h11's words" { } "Too little data for declared Content-Length" ""
    "uvicorn.length-long" "more bytes than announced" { } "Response content longer than Content-Length" ""
    "uvicorn.length-long" "the same in h11's words" { } "Too much data for declared Content-Length" ""
    "uvicorn.invalid-header" "a header that may not be sent: the connection is dropped" { } "Invalid HTTP header value" ""
    "uvicorn.invalid-header" "the same in h11's words" { } "Illegal header value" ""
    "uvicorn.invalid-header" "the same about a name" { } "Illegal header name" ""
    "uvicorn.concurrency-limit" "503 by `limit_concurrency`" { } "Exceeded concurrency limit" ""
    "uvicorn.invalid-request" "a request that it could not read" { } "Invalid HTTP request received" ""
    "uvicorn.no-websocket-library" "a WebSocket was asked for and cannot be served" { } "No supported WebSocket library detected" ""
    "uvicorn.unsupported-upgrade" "an upgrade that it does not serve" { } "Unsupported upgrade request" ""
    "uvicorn.import-failed" "the module could not be imported" { "module" } "Could not import module" r#"Could not import module "(?<module>[^"]+)""#
    "uvicorn.object-not-found" "the module has no such object" { "object" "module" } "not found in module" r#"Attribute "(?<object>[^"]+)" not found in module "(?<module>[^"]+)""#
    "uvicorn.startup-waiting" "start-up of the application began" { } "Waiting for application startup" ""
    "uvicorn.startup-complete" "start-up of the application ended" { } "Application startup complete" ""
    "uvicorn.startup-failed" "start-up of the application failed" { } "Application startup failed" ""
    "uvicorn.running" "it listens" { "bind" } "Uvicorn running on" r"Uvicorn running on (?:https?://)?(?<bind>\S+)"
    "uvicorn.started" "a server process started" { } "Started server process" r"Started server process \[(?<pid>\d+)\]"
    "uvicorn.child-died" "a worker died" { } "died" r"Child process \[(?<pid>\d+)\] died"
    "uvicorn.max-requests" "a worker reached its number of requests" { } "Maximum request limit of" ""
    "uvicorn.shutdown-cancelled" "requests were cancelled at the end of the graceful time" { } "timeout graceful shutdown exceeded" ""
    "uvicorn.shutdown" "it ends" { } "Shutting down" ""
    "uvicorn.address-in-use" "another process has the address" { "bind" } "error while attempting to bind on address" r"bind on address \((?<bind>[^)]*)\)"
    "uvicorn.lifespan-unsupported" "an exception in the lifespan task was taken for missing support" { } "ASGI 'lifespan' protocol appears unsupported" ""
    "uvicorn.out-of-resources" "asyncio could not accept: no descriptor left" { } "socket.accept() out of system resource" ""
    "hypercorn.asgi-exception" "an exception left the application" { "exception" "message" "file" "line" } "Error in ASGI Framework" ""
    "hypercorn.lifespan-error" "an exception in the lifespan task; it goes on without" { } "ASGI Framework Lifespan error" ""
    "hypercorn.running" "it listens" { "bind" } "Running on http" r"Running on https?://(?<bind>\S+)"
    "daphne.asgi-exception" "an exception left the application" { "exception" "message" "file" "line" } "Exception inside application: " ""
    "daphne.running" "it listens" { "bind" } "Listening on TCP address" r"TCP address (?<bind>\S+)"
    "daphne.killed-application" "an application that did not end was killed" { } "took too long to shut down and was killed" ""
});

/// Lines of web frameworks about a view that failed (Flask's `log_exception`, Django's `log_response`).
pub(crate) static FRAMEWORKS: Table = Table::new(patterns! {
    "python.unhandled" "a framework caught an exception of a view and answered 500" { "uri" "method" "exception" "message" "file" "line" } "Exception on " r"Exception on (?<uri>/\S*) \[(?<method>[A-Z]+)\]"
    "python.unhandled" "the same in Django's words" { "uri" "exception" "message" "file" "line" } "Internal Server Error: /" r"Internal Server Error: (?<uri>/\S*)"
    "python.host-refused" "Django refuses the Host of a request, which is not among ALLOWED_HOSTS: 400" { "host" } "Invalid HTTP_HOST header: " r"Invalid HTTP_HOST header: '(?<host>[^']*)'"
});

/// The time, process and message of a line.
struct Line<'a> {
    time: Option<Moment>,
    pid: Option<&'a str>,
    message: &'a str,
}

pub(crate) fn sniff(line: &str) -> Option<Format> {
    let gunicorn = line.starts_with('[') && line.contains("] [") && head(line, 0).time.is_some();
    let uvicorn = ["INFO:     ", "ERROR:    ", "WARNING:  "].iter().any(|level| line.starts_with(level));
    if line.contains("uWSGI") || line.starts_with("[pid: ") || line.starts_with("*** ") {
        Some(Format::Uwsgi)
    } else if gunicorn && line.contains("Running on http") {
        Some(Format::Hypercorn)
    } else if line.contains("Starting server at tcp:") || line.contains("Exception inside application: ") {
        Some(Format::Daphne)
    } else if gunicorn {
        Some(Format::Gunicorn)
    } else if uvicorn {
        Some(Format::Uvicorn)
    } else {
        (line == python::START).then_some(Format::Gunicorn)
    }
}

pub(crate) fn read(lines: &Lines<'_>, format: Format, out: &mut Vec<Evidence>, each: EachRequest<'_>) {
    let (source, product) = (source(format), format.product());
    let mut time = None;
    let mut before = None;
    let mut traffic = Traffic::default();
    let mut chain = Chain::default();
    let mut traceback: Option<Traceback<'_>> = None;
    for (number, text) in lines.iter() {
        if let Some(open) = traceback.as_mut() {
            match open.take(text) {
                python::Taken::More => continue,
                python::Taken::Last => {
                    chain.finish(traceback.take(), out);
                    continue;
                }
                python::Taken::Not => chain.finish(traceback.take(), out),
            }
        }
        chain.line(text, out);
        let line = head(text, lines.zone);
        time = line.time.or(time);
        before = process(&line, text, before);
        if let Some(begun) = Traceback::begin(lines.path, number, line.message, time, source, before) {
            traceback = Some(begun);
            continue;
        }
        let served = served::one(line.message, lines.zone);
        if let Some(served) = &served {
            time = served.time.or(time);
            traffic.add(time, served.failed());
            if let Some(time) = time {
                each(time, served.failed(), served.elapsed);
            }
        }
        let found = [&GUNICORN, &UWSGI, &ASGI, &FRAMEWORKS].iter().find_map(|table| table.read(line.message));
        if let Some(mut evidence) = found {
            if evidence.get("pid").is_none() {
                evidence = evidence.with_some("pid", line.pid);
            }
            if let Some(uri) = evidence.get("uri").map(|uri| super::failure::uri_of(uri).to_owned()) {
                evidence = evidence.with("uri", uri);
            }
            if let Some(bind) = evidence.get("bind").map(address) {
                evidence = evidence.with("bind", bind);
            }
            let evidence = evidence.text(text).from(source).at(Place::file(lines.path, number)).time(time);
            out.extend(software(&evidence));
            out.push(evidence);
        } else if let Some(evidence) = served.map(|served| served.failed().then(|| served.evidence(product)))
        {
            out.extend(evidence.map(|evidence| {
                evidence
                    .with_some("pid", line.pid)
                    .text(text)
                    .from(source)
                    .at(Place::file(lines.path, number))
                    .time(time)
            }));
        } else if let Some(evidence) = python::message(line.message) {
            // Libraries log their errors without a traceback, too.
            out.push(
                evidence
                    .with_some("pid", line.pid)
                    .text(text)
                    .from(source)
                    .at(Place::file(lines.path, number))
                    .time(time),
            );
        }
    }
    chain.finish(traceback, out);
    out.extend(traffic.evidence(product, source, lines.path));
}

/// The process that a traceback is of: that of the line before it, or of the traceback that it came of. A request line of
/// uWSGI is about another one, as likely as not.
fn process<'a>(line: &Line<'a>, text: &str, before: Option<&'a str>) -> Option<&'a str> {
    if text.starts_with("[pid: ") {
        return None;
    }
    let goes_on = text.trim().is_empty()
        || text.contains(python::START)
        || python::CHAINED.iter().any(|sentence| text.contains(sentence));
    line.pid.or(before.filter(|_| goes_on))
}

/// Python writes addresses as `'127.0.0.1', 8000`, and those of Unix sockets as their path.
fn address(bind: &str) -> String {
    match bind.split_once("', ") {
        Some((host, port)) => {
            let host = host.trim_start_matches('\'');
            let port = port.split(',').next().unwrap_or(port);
            if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
        }
        None if bind.starts_with('/') => format!("unix:{bind}"),
        None => bind.to_owned(),
    }
}

/// A start line tells the version.
fn software(starting: &Evidence) -> Option<Evidence> {
    let product = starting.kind.strip_suffix(".starting")?;
    let version = starting.get("version")?.trim_matches('*').trim_end_matches("-debian");
    let mut evidence = starting.clone();
    evidence.kind = "software".into();
    evidence.fields.clear();
    Some(evidence.with("product", product).with("version", version).with("role", "server"))
}

/// What a line about an exception tells, with a traceback behind it.
const BEFORE: &[&str] = &[
    "daphne.asgi-exception",
    "gunicorn.handling-error",
    "gunicorn.response-cut",
    "gunicorn.socket-error",
    "gunicorn.worker-exception",
    "hypercorn.asgi-exception",
    "python.unhandled",
    "uvicorn.asgi-exception",
];

/// Tracebacks that follow each other: `During handling of the above exception, another exception occurred`.
#[derive(Default)]
struct Chain {
    /// The line that the first of them belongs to.
    of: Option<usize>,
    /// The next traceback is what came of the one before it.
    open: bool,
}

impl Chain {
    /// Takes a line that is not part of a traceback.
    fn line(&mut self, text: &str, out: &mut [Evidence]) {
        let continues = python::CHAINED.iter().any(|sentence| text.contains(sentence));
        if continues && let Some(last) = out.iter_mut().rev().find(|last| last.kind == "python.exception") {
            *last = last.clone().with("inner", "yes");
        }
        self.open = continues || (self.open && text.trim().is_empty());
    }

    /// The last exception of a chain is the one that the line before the first was about.
    fn finish(&mut self, traceback: Option<Traceback<'_>>, out: &mut Vec<Evidence>) {
        let Some(evidence) = traceback.and_then(Traceback::finish) else { return };
        if !self.open {
            let about = |before: &Evidence| BEFORE.contains(&before.kind.as_ref());
            self.of = out.last().is_some_and(about).then(|| out.len() - 1);
        }
        if let Some(before) = self.of.and_then(|of| out.get_mut(of)) {
            for name in ["exception", "message", "file", "line"] {
                *before = before.clone().with_some(name, evidence.get(name));
            }
        }
        // Its last line may be one of those that mean something for the server.
        let told = [&GUNICORN, &ASGI].iter().find_map(|table| table.read(&evidence.text));
        out.extend(told.map(|told| {
            told.with_some("pid", evidence.get("pid"))
                .text(&evidence.text)
                .from(evidence.source.clone())
                .at(evidence.place.clone())
                .time(evidence.time)
        }));
        out.push(evidence);
    }
}

pub(crate) fn time(line: &str, zone: clock::Zone) -> Option<Moment> {
    head(line, zone).time
}

fn source(format: Format) -> &'static str {
    match format {
        Format::Uwsgi => "uwsgi log",
        Format::Uvicorn => "uvicorn log",
        Format::Hypercorn => "hypercorn log",
        Format::Daphne => "daphne log",
        _ => "gunicorn log",
    }
}

/// The parts of a line: `[2026-11-23 07:06:57 +0000] [pid] [LEVEL] text` of Gunicorn and Hypercorn, `INFO:     text` of
/// Uvicorn, `Mon Nov 23 07:06:57 2026 - text` of uWSGI, `2026-11-23 07:06:57,123 LEVEL text` of many applications.
fn head(line: &str, zone: clock::Zone) -> Line<'_> {
    if let Some(rest) = line.strip_prefix('[')
        && let Some((time, rest)) = clock::iso(rest, zone)
        && let Some(rest) = rest.strip_prefix(']')
    {
        let (pid, rest) = bracketed(rest);
        let (_, message) = bracketed(rest);
        return Line {
            time: Some(time),
            pid: pid.filter(|pid| pid.bytes().all(|b| b.is_ascii_digit())),
            message,
        };
    }
    if let Some((time, rest)) = clock::iso(line, zone) {
        return Line { time: Some(time), pid: None, message: rest.trim_start_matches([' ', '-', ':']) };
    }
    if let Some((time, rest)) = clock::asctime(line, zone)
        && let Some(message) = rest.strip_prefix(" - ")
    {
        return Line { time: Some(time), pid: None, message };
    }
    if line.starts_with("*** Starting uWSGI ") {
        let time = line.split_once(" on [").and_then(|(_, rest)| clock::asctime(rest, zone));
        return Line { time: time.map(|(time, _)| time), pid: None, message: line };
    }
    // uWSGI's own request lines carry their time in the middle.
    if let Some(rest) = line.strip_prefix("[pid: ")
        && let Some((pid, rest)) = rest.split_once('|')
    {
        let time =
            rest.split_once("} [").and_then(|(_, rest)| clock::asctime(rest, zone)).map(|(time, _)| time);
        return Line { time, pid: Some(pid.trim()), message: line };
    }
    let levels = ["INFO:", "ERROR:", "WARNING:", "CRITICAL:", "DEBUG:"];
    let message = levels.iter().find_map(|level| line.strip_prefix(level)).map_or(line, str::trim_start);
    Line { time: None, pid: None, message }
}

fn bracketed(text: &str) -> (Option<&str>, &str) {
    let text = text.trim_start();
    match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inside, rest)) => (Some(inside), rest.trim_start()),
        None => (None, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_patterns_hold() {
        [&GUNICORN, &UWSGI, &ASGI, &FRAMEWORKS].into_iter().for_each(super::super::pattern::check);
    }
}
