//! What Redis says of itself (`INFO`), with the password of the application's own connection string, if it has one.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use model::evidence::Place;
use model::{Evidence, Want};

use super::http::Connection;
use super::{Answer, Budget, probed, skipped, tcp};
use crate::discover::Scene;
use crate::host::process;
use crate::host::sockets::Address;

const WAIT: Duration = Duration::from_millis(800);
/// `INFO` has some kilobytes.
const BYTES_MAX: usize = 256 << 10;

pub(super) fn probe(scene: &Scene, want: &Want, budget: &Budget) -> Answer {
    let known = scene.peers.iter().find(|peer| peer.product == "redis").map(|peer| peer.address.clone());
    let Some(Address::Inet(address)) = known.or_else(|| Address::parse("127.0.0.1:6379")) else {
        return Answer::default();
    };
    let begun = Instant::now();
    let mut stream = match tcp::stream(address, budget.at_most(WAIT)) {
        Ok(stream) => stream,
        Err(error) => {
            return Answer {
                skipped: vec![skipped(want, format!("{address}: {error}"), "")],
                ..Answer::default()
            };
        }
    };
    let said = ask(&mut stream, password(scene).as_deref(), budget.at_most(WAIT));
    let mut answer = Answer {
        probed: vec![probed(
            format!("INFO to {address}"),
            if said.is_some() { "answered" } else { "not answered" },
            begun,
        )],
        ..Answer::default()
    };
    match said {
        Some(said) if said.starts_with("-NOAUTH") || said.starts_with("-WRONGPASS") => {
            answer.skipped.push(skipped(
                want,
                "Redis wants a password",
                "REDIS_URL in the worker's environment",
            ));
        }
        Some(said) => answer.evidence.push(evidence(&address.to_string(), &said)),
        None => answer.skipped.push(skipped(want, "Redis did not answer in time", "")),
    }
    answer
}

/// Of `redis://user:password@host`; it is sent to nobody but that Redis.
fn password(scene: &Scene) -> Option<String> {
    scene.workers.iter().find_map(|pid| {
        let environment = process::environment(*pid)?;
        environment.into_iter().find_map(|(name, value)| match name.as_str() {
            "REDIS_PASSWORD" => Some(value),
            "REDIS_URL" | "CACHE_URL" | "CELERY_BROKER_URL" => {
                let (_, rest) = value.strip_prefix("redis").and_then(|rest| rest.split_once("://"))?;
                let (user, _) = rest.rsplit_once('@')?;
                user.split_once(':').map(|(_, password)| password.to_owned())
            }
            _ => None,
        })
    })
}

fn ask(stream: &mut TcpStream, password: Option<&str>, limit: Duration) -> Option<String> {
    let until = Instant::now() + limit;
    let mut request = String::new();
    if let Some(password) = password {
        request.push_str(&format!("*2\r\n$4\r\nAUTH\r\n${}\r\n{password}\r\n", password.len()));
    }
    request.push_str(
        "*1\r\n$4\r\nINFO\r\n*3\r\n$6\r\nCONFIG\r\n$3\r\nGET\r\n$9\r\nmaxmemory\r\n*1\r\n$4\r\nPING\r\n",
    );
    stream.wait(limit).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 << 10];
    while bytes.len() < BYTES_MAX && Instant::now() < until {
        let Ok(count) = stream.read(&mut buffer) else { break };
        if count == 0 {
            break;
        }
        bytes.extend(buffer.get(..count).unwrap_or_default());
        let ended = bytes.ends_with(b"+PONG\r\n") || (bytes.starts_with(b"-") && bytes.ends_with(b"\r\n"));
        if ended {
            break;
        }
    }
    let said = String::from_utf8_lossy(&bytes).into_owned();
    (!said.is_empty()).then(|| said.strip_prefix("+OK\r\n").unwrap_or(&said).to_owned())
}

fn evidence(addr: &str, said: &str) -> Evidence {
    let of =
        |name: &str| said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let used = of("used_memory");
    let max = of("maxmemory").filter(|max| *max != "0");
    let role = of("role");
    Evidence::new("redis.info")
        .with("addr", addr)
        .with_some("used", used)
        .with_some("max", max)
        .with_some(
            "policy",
            of("maxmemory_policy")
                .map(|policy| policy.trim_start_matches("allkeys-").to_owned())
                .map(|policy| if policy == "noeviction" { policy } else { format!("evicts: {policy}") })
                .map(|policy| policy.replace("evicts: ", "")),
        )
        .with_some("clients", of("connected_clients"))
        .with_some("max-clients", of("maxclients"))
        .with_some("role", role)
        .with_some("loading", of("loading"))
        .with_some("blocked", of("blocked_clients"))
        .with_some("last-save", of("rdb_last_bgsave_status"))
        .text(format!(
            "Redis {} is {}, used memory {} of {}",
            of("redis_version").unwrap_or("?"),
            role.unwrap_or("?"),
            used.unwrap_or("?"),
            max.unwrap_or("no limit")
        ))
        .from("redis info")
        .at(Place::Object(format!("INFO of {addr}")))
}
