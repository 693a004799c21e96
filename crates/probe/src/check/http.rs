//! A request, written and read byte by byte: a broken answer is what one wants to see.
//!
//! GET and HEAD only, without cookies or credentials. Directly to a server as its proxy asks it, in HTTP or uwsgi, and through
//! the proxy as a client does. TLS is spoken where the URL says so.

mod answer;

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use model::evidence::Place;
use model::{Evidence, Moment, Want};

use super::{Answer, Budget, probed, skipped, tcp, tls};
use crate::discover::{Scene, Upstream, Url};
use crate::host::sockets::Address;

pub(super) use answer::Head;

/// A server that has not begun to answer by then is slow, which is what is to be found out.
const WAIT: Duration = Duration::from_millis(2_500);
/// Bytes of an answer that are looked at: its head, and whether a body follows as announced.
const BYTES_MAX: usize = 256 << 10;

/// The present, as evidence has it.
pub(super) fn now() -> Option<Moment> {
    SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|now| Moment(now.as_millis() as i64))
}

/// What is asked, and of whom.
struct Question {
    via: &'static str,
    addr: String,
    address: Address,
    scheme: String,
    method: String,
    uri: String,
    host: String,
    /// It is not the path that failed.
    trivial: bool,
    /// Directly, and with the Host of the client.
    as_client: bool,
}

pub(super) fn probe(scene: &Scene, want: &Want, budget: &Budget) -> Answer {
    let question = match want.get("via") {
        Some("proxy") => through_proxy(scene, want),
        _ => directly(scene, want),
    };
    let Some(question) = question else {
        return Answer {
            skipped: vec![skipped(want, "nobody knows where to ask", "a URL")],
            ..Answer::default()
        };
    };
    if asked(scene, &question) {
        return Answer::default();
    }
    if !budget.take_request() {
        return Answer { skipped: vec![skipped(want, "enough requests were made", "")], ..Answer::default() };
    }
    ask(&question, budget)
}

/// Whether the same was asked before, in other words.
fn asked(scene: &Scene, question: &Question) -> bool {
    scene.evidence.iter().any(|item| {
        let same = [
            ("via", question.via),
            ("addr", &question.addr),
            ("method", &question.method),
            ("uri", super::super::parse::failure::uri_of(&question.uri)),
            ("scheme", &question.scheme),
        ];
        let as_client = item.get("asked-as") == Some("client");
        item.kind == "http-probe"
            && as_client == question.as_client
            && same.iter().all(|(name, value)| item.get(name) == Some(value))
    })
}

/// The clock of the server, by the field Date.
pub(super) fn clock(scene: &Scene, want: &Want, budget: &Budget) -> Answer {
    let mut answer =
        probe(scene, &Want::new("http-probe").with("via", "direct").with("method", "HEAD"), budget);
    let offset = answer.evidence.iter().find_map(|evidence| evidence.number("clock-offset"));
    if let Some(offset) = offset {
        answer.evidence.push(
            Evidence::new("clock")
                .with("of", "the server")
                .with("offset", offset)
                .text(format!("the field Date is {offset} s ahead of this machine's clock"))
                .from("http probe")
                .at(Place::Probe("the field Date of an answer".to_owned())),
        );
    } else {
        answer.skipped.push(skipped(want, "no answer told the time", ""));
    }
    answer
}

fn through_proxy(scene: &Scene, want: &Want) -> Option<Question> {
    let url = scene.url.as_ref()?;
    let address = tcp::resolve(&format!("{}:{}", bracketed(&url.host), url.port))
        .or_else(|| Address::parse(&format!("127.0.0.1:{}", url.port)))?;
    let uri = want.get("uri").map_or_else(|| url.request_target(), str::to_owned);
    Some(Question {
        via: "proxy",
        addr: address.to_string(),
        address,
        scheme: if url.tls { "https" } else { "http" }.to_owned(),
        method: method(want),
        trivial: uri != url.request_target(),
        uri,
        host: url.authority(),
        as_client: false,
    })
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

fn directly(scene: &Scene, want: &Want) -> Option<Question> {
    let of = |upstream: &&Upstream| {
        want.get("addr").is_none_or(|addr| {
            upstream.written == addr || upstream.addresses.iter().any(|known| known.to_string() == addr)
        })
    };
    let upstream = scene.upstreams.iter().find(of);
    let addr =
        want.get("addr").map(str::to_owned).or_else(|| upstream.map(|upstream| upstream.written.clone()))?;
    let address =
        upstream.and_then(|upstream| upstream.addresses.first().cloned()).or_else(|| tcp::resolve(&addr))?;
    let usual = upstream.map_or("/", |upstream| upstream.uri.as_str());
    let uri = want.get("uri").unwrap_or(usual).to_owned();
    let scheme =
        want.get("scheme").or(upstream.map(|upstream| upstream.scheme.as_str())).unwrap_or("http").to_owned();
    let client = scene.url.as_ref().filter(|_| want.get("asked-as") == Some("client"));
    let as_client = client.is_some();
    let host = client.map(Url::authority).or_else(|| upstream.map(|upstream| upstream.host.clone()));
    Some(Question {
        via: "direct",
        trivial: uri != usual,
        as_client,
        host: host.unwrap_or_else(|| addr.clone()),
        addr,
        address,
        scheme,
        method: method(want),
        uri,
    })
}

/// Anything but HEAD is asked as GET.
fn method(want: &Want) -> String {
    if want.get("method") == Some("HEAD") { "HEAD" } else { "GET" }.to_owned()
}

fn ask(question: &Question, budget: &Budget) -> Answer {
    let begun = Instant::now();
    let limit = budget.at_most(WAIT);
    let (bytes, end) = exchange(question, limit);
    let elapsed = begun.elapsed().as_secs_f64();
    let head = Head::read(&bytes, &question.method);
    let result = head.result(&end, &bytes);
    let what = format!(
        "{} {}://{}{} {}",
        question.method,
        question.scheme,
        question.addr,
        question.uri,
        if question.via == "proxy" { "as a client" } else { "directly" }
    );
    let status = head.status.map(|status| status.to_string());
    let said = status.clone().unwrap_or_else(|| result.to_owned());
    let evidence = Evidence::new("http-probe")
        .with("via", question.via)
        .with("addr", &question.addr)
        .with("method", &question.method)
        .with("uri", super::super::parse::failure::uri_of(&question.uri))
        .with("scheme", &question.scheme)
        .with_some("status", status)
        .with("result", result)
        .with_some("server", head.field("server"))
        .with_some("generator", head.generator(&bytes))
        .with("head-bytes", head.bytes)
        .with("lengths", head.count("content-length"))
        .with("chunked", if head.field("transfer-encoding").is_some() { "yes" } else { "no" })
        .with("keep-alive", if head.keeps_alive() { "yes" } else { "no" })
        .with("elapsed", format!("{elapsed:.3}"))
        .with_some("asked-as", question.as_client.then_some("client"))
        .with("trivial", if question.trivial { "yes" } else { "no" })
        .with_some("clock-offset", head.clock_offset(now()))
        .text(format!("{what}: {said} after {:.0} ms", elapsed * 1000.0))
        .from(if question.via == "proxy" { "http probe through the proxy" } else { "http probe" })
        .at(Place::Probe(what.clone()))
        .time(now());
    let mut found = vec![evidence];
    if let (End::Unconnected(error), "direct") = (&end, question.via) {
        found.push(tcp::evidence(&question.addr, Err(error), elapsed));
    }
    Answer { evidence: found, probed: vec![probed(what, said, begun)], ..Answer::default() }
}

/// How reading ended.
#[derive(Debug)]
pub(super) enum End {
    Closed,
    Complete,
    Failed(io::Error),
    Timeout,
    /// There was no connection.
    Unconnected(io::Error),
}

/// Sends the request and reads until the answer is whole, the other side ends, or the time is up.
fn exchange(question: &Question, limit: Duration) -> (Vec<u8>, End) {
    let until = Instant::now() + limit;
    let connection: io::Result<Box<dyn Connection>> = match &question.address {
        Address::Inet(address) => tcp_connection(*address, question, limit),
        Address::Unix(path) => tcp::unix_stream(path).map(|stream| Box::new(stream) as Box<dyn Connection>),
    };
    let mut connection = match connection {
        Ok(connection) => connection,
        Err(error) => return (Vec::new(), End::Unconnected(error)),
    };
    let request = if question.scheme == "uwsgi" { uwsgi(question) } else { plain(question) };
    if let Err(error) = connection.wait(limit).and_then(|()| connection.write_all(&request)) {
        return (Vec::new(), End::Failed(error));
    }
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 16 << 10];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return (bytes, End::Timeout);
        }
        if let Err(error) = connection.wait(left) {
            return (bytes, End::Failed(error));
        }
        match connection.read(&mut buffer) {
            Ok(0) => return (bytes, End::Closed),
            Ok(count) => {
                bytes.extend(buffer.get(..count).unwrap_or_default());
                if bytes.len() >= BYTES_MAX || Head::read(&bytes, &question.method).is_complete(&bytes) {
                    return (bytes, End::Complete);
                }
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return (bytes, End::Timeout);
            }
            Err(error) => return (bytes, End::Failed(error)),
        }
    }
}

/// A connection that waits no longer than it is told.
pub(super) trait Connection: Read + Write {
    fn wait(&self, limit: Duration) -> io::Result<()>;
}

impl Connection for std::net::TcpStream {
    fn wait(&self, limit: Duration) -> io::Result<()> {
        let limit = Some(limit.max(Duration::from_millis(10)));
        self.set_read_timeout(limit).and_then(|()| self.set_write_timeout(limit))
    }
}

impl Connection for UnixStream {
    fn wait(&self, limit: Duration) -> io::Result<()> {
        let limit = Some(limit.max(Duration::from_millis(10)));
        self.set_read_timeout(limit).and_then(|()| self.set_write_timeout(limit))
    }
}

fn tcp_connection(
    address: SocketAddr,
    question: &Question,
    limit: Duration,
) -> io::Result<Box<dyn Connection>> {
    let stream = tcp::stream(address, limit)?;
    stream.wait(limit)?;
    if question.scheme == "https" {
        return tls::connection(stream, &question.host);
    }
    Ok(Box::new(stream))
}

fn plain(question: &Question) -> Vec<u8> {
    let Question { method, uri, host, .. } = question;
    format!("{method} {uri} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: clearway-doctor\r\nAccept: */*\r\nConnection: close\r\n\r\n").into_bytes()
}

/// A packet of the uwsgi protocol: four bytes of head, then lengths and texts.
fn uwsgi(question: &Question) -> Vec<u8> {
    let (path, query) = question.uri.split_once('?').unwrap_or((&question.uri, ""));
    let variables = [
        ("REQUEST_METHOD", question.method.as_str()),
        ("REQUEST_URI", &question.uri),
        ("PATH_INFO", path),
        ("QUERY_STRING", query),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("HTTP_HOST", &question.host),
        ("SERVER_NAME", &question.host),
        ("SERVER_PORT", "80"),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("HTTP_USER_AGENT", "clearway-doctor"),
    ];
    let mut body = Vec::new();
    for (name, value) in variables {
        for text in [name, value] {
            body.extend((text.len().min(usize::from(u16::MAX)) as u16).to_le_bytes());
            body.extend(text.bytes().take(usize::from(u16::MAX)));
        }
    }
    let mut packet = vec![0];
    packet.extend((body.len() as u16).to_le_bytes());
    packet.push(0);
    packet.extend(body);
    packet
}
