//! How long a server keeps an idle connection: one request, then nothing, until it closes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use model::evidence::Place;
use model::{Evidence, Want};

use super::http::{Connection, Head};
use super::{Answer, Budget, probed, skipped, tcp};
use crate::discover::Scene;
use crate::host::sockets::Address;

/// Two and five seconds are what Gunicorn, Uvicorn and Hypercorn keep; whoever keeps longer is not the cause of races.
const WATCHED: Duration = Duration::from_millis(3_200);

pub(super) fn probe(scene: &Scene, want: &Want, budget: &Budget) -> Answer {
    let Some(addr) = want.get("addr") else { return Answer::default() };
    let upstream = scene.upstreams.iter().find(|upstream| {
        upstream.written == addr || upstream.addresses.iter().any(|known| known.to_string() == addr)
    });
    let address =
        upstream.and_then(|upstream| upstream.addresses.first().cloned()).or_else(|| tcp::resolve(addr));
    let plain = upstream.is_none_or(|upstream| upstream.scheme == "http");
    let Some(Address::Inet(address)) = address.filter(|_| plain) else {
        return Answer {
            skipped: vec![skipped(want, "only plain HTTP over TCP is watched", "")],
            ..Answer::default()
        };
    };
    if !budget.take_request() {
        return Answer { skipped: vec![skipped(want, "enough requests were made", "")], ..Answer::default() };
    }
    let begun = Instant::now();
    let Ok(mut stream) = tcp::stream(address, budget.at_most(WATCHED)) else {
        return Answer { skipped: vec![skipped(want, "it accepts no connection", "")], ..Answer::default() };
    };
    let host = upstream.map_or(addr, |upstream| upstream.host.as_str());
    let found = watch(&mut stream, addr, host, budget.at_most(WATCHED));
    let told = found.as_ref().map_or("no idle connection", |evidence| evidence.text.as_str());
    let probed = vec![probed(format!("HEAD http://{addr}/ and then nothing"), told, begun)];
    let skipped = match &found {
        Some(_) => Vec::new(),
        None => vec![skipped(want, "it does not keep connections open after an answer", "")],
    };
    Answer { evidence: found.into_iter().collect(), skipped, probed }
}

/// Asks once, and waits for the end of the connection; `None` where it ends with the answer, or has none.
fn watch(stream: &mut TcpStream, addr: &str, host: &str, limit: Duration) -> Option<Evidence> {
    let request =
        format!("HEAD / HTTP/1.1\r\nHost: {host}\r\nUser-Agent: clearway-doctor\r\nAccept: */*\r\n\r\n");
    let mut bytes = Vec::new();
    let mut buffer = [0; 8 << 10];
    stream.wait(limit).and_then(|()| stream.write_all(request.as_bytes())).ok()?;
    while !Head::read(&bytes, "HEAD").is_complete(&bytes) {
        let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        bytes.extend(buffer.get(..count).unwrap_or_default());
    }
    let since = Instant::now();
    stream.wait(limit).ok()?;
    match stream.read(&mut buffer) {
        Ok(0) => Some(closed(addr, since, "fin")),
        Err(error) if error.raw_os_error() == Some(libc::ECONNRESET) => Some(closed(addr, since, "rst")),
        // What comes unasked is no idle connection.
        Ok(_) => None,
        Err(_) => {
            let open = since.elapsed().as_secs_f64();
            Some(
                Evidence::new("idle-probe")
                    .with("addr", addr)
                    .with("open-after", format!("{open:.1}"))
                    .text(format!("an idle connection to {addr} was still open after {open:.1} s"))
                    .from("idle probe")
                    .at(Place::Probe(format!("an idle connection to {addr}"))),
            )
        }
    }
}

fn closed(addr: &str, since: Instant, end: &str) -> Evidence {
    let after = since.elapsed().as_secs_f64();
    Evidence::new("idle-probe")
        .with("addr", addr)
        .with("closed-after", format!("{after:.2}"))
        .with("end", end)
        .text(format!("{addr} closed an idle connection after {after:.2} s"))
        .from("idle probe")
        .at(Place::Probe(format!("an idle connection to {addr}")))
}
