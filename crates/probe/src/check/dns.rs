//! A name, asked of the resolver that the proxy uses, and of libc.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use model::evidence::Place;
use model::{Evidence, Want};

use super::{Answer, Budget, probed, skipped};
use crate::discover::Scene;

const WAIT: Duration = Duration::from_millis(1_500);
const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;

pub(super) fn probe(scene: &Scene, want: &Want, budget: &Budget) -> Answer {
    let written = want
        .get("name")
        .map(str::to_owned)
        .or_else(|| scene.upstreams.first().map(|upstream| upstream.written.clone()));
    let Some(name) = written
        .map(|written| written.split(':').next().unwrap_or_default().to_owned())
        .filter(|name| !name.is_empty())
    else {
        return Answer::default();
    };
    let resolver = resolver(scene, want);
    match (want.get("via"), resolver) {
        (Some("proxy"), Some(resolver)) => of_resolver(scene, &name, resolver, budget),
        (Some("proxy"), None) => Answer {
            skipped: vec![skipped(want, "the proxy has no resolver of its own", "")],
            ..Answer::default()
        },
        _ => of_libc(scene, &name, budget),
    }
}

/// The resolver that the configuration of the proxy names, or the one that is asked for.
fn resolver(scene: &Scene, want: &Want) -> Option<SocketAddr> {
    let told = want.get("resolver").map(str::to_owned).or_else(|| {
        let setting = scene
            .evidence
            .iter()
            .find(|item| item.kind == "setting" && item.get("name") == Some("resolver"))?;
        setting.get("value").map(str::to_owned)
    })?;
    let first = told.split([' ', ',']).next()?;
    first.parse().ok().or_else(|| Some(SocketAddr::new(first.trim_matches(['[', ']']).parse().ok()?, 53)))
}

fn of_libc(scene: &Scene, name: &str, budget: &Budget) -> Answer {
    let begun = Instant::now();
    let (sender, receiver) = mpsc::channel();
    let asked = name.to_owned();
    // getaddrinfo cannot be told how long to wait: it is left behind on its thread.
    let spawned = std::thread::Builder::new().name("getaddrinfo".to_owned()).spawn(move || {
        let found = (asked.as_str(), 80)
            .to_socket_addrs()
            .map(|all| all.map(|address| address.ip()).collect::<Vec<_>>());
        // The doctor may have gone on.
        let _ = sender.send(found);
    });
    let result = match spawned.map(|_| receiver.recv_timeout(budget.at_most(WAIT))) {
        Ok(Ok(result)) => result,
        _ => Err(io::Error::from(io::ErrorKind::TimedOut)),
    };
    let (word, ips) = match result {
        Ok(ips) if ips.is_empty() => ("nxdomain", ips),
        Ok(ips) => ("ok", ips),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => ("timeout", Vec::new()),
        Err(error) if error.to_string().contains("Temporary failure") => ("servfail", Vec::new()),
        Err(_) => ("nxdomain", Vec::new()),
    };
    told(scene, &Asked { name, resolver: None, result: word, ips, begun })
}

fn of_resolver(scene: &Scene, name: &str, resolver: SocketAddr, budget: &Budget) -> Answer {
    let begun = Instant::now();
    let mut ips = Vec::new();
    let mut word = "nxdomain";
    for kind in [TYPE_A, TYPE_AAAA] {
        match query(name, kind, resolver, budget.at_most(WAIT)) {
            Ok(Reply { code: 0, ips: found }) => {
                ips.extend(found);
                word = "ok";
            }
            Ok(Reply { code: 2, .. }) => word = "servfail",
            Ok(Reply { code: 5, .. }) => word = "refused",
            Ok(_) => {}
            Err(error) => {
                word =
                    if error.kind() == io::ErrorKind::ConnectionRefused { "unreachable" } else { "timeout" };
                break;
            }
        }
    }
    if word == "ok" && ips.is_empty() {
        word = "nxdomain";
    }
    told(scene, &Asked { name, resolver: Some(resolver), result: word, ips, begun })
}

/// A name that was asked for; without a resolver, libc was asked.
struct Asked<'a> {
    name: &'a str,
    resolver: Option<SocketAddr>,
    result: &'static str,
    ips: Vec<IpAddr>,
    begun: Instant,
}

fn told(scene: &Scene, asked: &Asked<'_>) -> Answer {
    let Asked { name, resolver, result: word, ref ips, begun } = *asked;
    let via = if resolver.is_some() { "proxy" } else { "libc" };
    let addresses: Vec<String> =
        ips.iter().map(ToString::to_string).collect::<BTreeSet<_>>().into_iter().collect();
    // Addresses to which connections failed, and which the name no longer gives.
    let failed =
        scene.evidence.iter().filter(|item| item.kind == "failure" && item.get("phase") == Some("connect"));
    let stale: BTreeSet<String> = failed
        .filter_map(|item| item.get("upstream")?.parse::<SocketAddr>().ok())
        .map(|address| address.ip().to_string())
        .filter(|ip| word == "ok" && !addresses.contains(ip))
        .collect();
    let first = ips.first().map(|ip| if ip.is_ipv4() { 4 } else { 6 });
    let by = resolver.map_or_else(|| "libc".to_owned(), |resolver| resolver.to_string());
    let evidence = Evidence::new("dns-probe")
        .with("name", name)
        .with("via", via)
        .with_some("resolver", resolver)
        .with("result", word)
        .with("addresses", addresses.join(" "))
        .with("elapsed", format!("{:.3}", begun.elapsed().as_secs_f64()))
        .with_some("first", first)
        .with_some("stale", (!stale.is_empty()).then(|| stale.into_iter().collect::<Vec<_>>().join(" ")))
        .text(format!("{name} asked of {by}: {word} {}", addresses.join(" ")))
        .from("dns probe")
        .at(Place::Probe(format!("{name} asked of {by}")));
    Answer {
        evidence: vec![evidence],
        probed: vec![probed(format!("{name} asked of {by}"), word, begun)],
        ..Answer::default()
    }
}

/// What a name server said (RFC 1035).
struct Reply {
    code: u8,
    ips: Vec<IpAddr>,
}

fn query(name: &str, kind: u16, resolver: SocketAddr, limit: Duration) -> io::Result<Reply> {
    let any: IpAddr =
        if resolver.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    socket.connect(resolver)?;
    socket.set_read_timeout(Some(limit.max(Duration::from_millis(50))))?;
    let id = (std::process::id() as u16) ^ kind;
    socket.send(&question(name, kind, id))?;
    let mut buffer = [0; 4096];
    loop {
        let length = socket.recv(&mut buffer)?;
        let message = buffer.get(..length).unwrap_or_default();
        if message.get(..2) == Some(&id.to_be_bytes()) {
            return reply(message).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData));
        }
    }
}

fn question(name: &str, kind: u16, id: u16) -> Vec<u8> {
    let mut message = Vec::from(id.to_be_bytes());
    // Recursion is desired; one question.
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.trim_end_matches('.').split('.') {
        let label: Vec<u8> = label.bytes().take(63).collect();
        message.push(label.len() as u8);
        message.extend(label);
    }
    message.push(0);
    message.extend(kind.to_be_bytes());
    message.extend([0, 1]);
    message
}

fn reply(message: &[u8]) -> Option<Reply> {
    let u16_at = |at: usize| Some(u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?));
    let code = message.get(3)? & 0x0f;
    let answers = u16_at(6)?;
    let mut at = skip_name(message, 12)? + 4;
    let mut ips = Vec::new();
    for _ in 0..answers {
        at = skip_name(message, at)?;
        let (kind, length) = (u16_at(at)?, usize::from(u16_at(at + 8)?));
        let data = message.get(at + 10..at + 10 + length)?;
        match kind {
            TYPE_A => ips.push(IpAddr::from(<[u8; 4]>::try_from(data).ok()?)),
            TYPE_AAAA => ips.push(IpAddr::from(<[u8; 16]>::try_from(data).ok()?)),
            _ => {}
        }
        at += 10 + length;
    }
    Some(Reply { code, ips })
}

/// Where a name ends; a pointer ends it.
fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length if length & 0xc0 == 0xc0 => return Some(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_and_replies() {
        let asked = question("a.example", TYPE_A, 7);
        assert_eq!(asked.len(), 12 + 11 + 4);
        let mut message = asked.clone();
        message[3] = 0x80;
        message[7] = 1;
        message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 0, 0, 7]);
        let reply = reply(&message).expect("a reply");
        assert_eq!((reply.code, reply.ips), (0, vec![IpAddr::from([10, 0, 0, 7])]));
        assert!(super::reply(&message[..20]).is_none());
    }
}
