//! Containers by Docker's socket: their states, ends, health, networks and logs. Read only: GET of two paths.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::evidence::Place;
use model::report::Skipped;
use model::{Evidence, Moment};
use serde_json::Value;

use crate::check;
use crate::parse::http_body;

/// Where the daemon listens unless `DOCKER_HOST` says otherwise.
const SOCKET: &str = "/var/run/docker.sock";
const WAIT: Duration = Duration::from_millis(800);
const BYTES_MAX: u64 = 16 << 20;
/// Containers that are looked at one by one: those that run, and those that ended last.
const CONTAINERS_MAX: usize = 32;

/// A container, and its log where the daemon keeps it in a file.
#[derive(Debug)]
pub struct Container {
    pub evidence: Vec<Evidence>,
    pub log: Option<PathBuf>,
}

/// All containers of this machine; nothing where there is no daemon.
pub fn look() -> Result<Vec<Container>, Skipped> {
    let Some(path) = socket() else { return Ok(Vec::new()) };
    let fail = |reason: String| Skipped {
        check: format!("containers by {}", path.display()),
        reason,
        needs: "root, or a user of the group docker".to_owned(),
    };
    let listed = get(&path, "/containers/json?all=1").map_err(|error| fail(error.to_string()))?;
    let Value::Array(listed) = listed else { return Err(fail("its answer is no list".to_owned())) };
    let mut found = Vec::new();
    for container in listed.iter().take(CONTAINERS_MAX) {
        let Some(id) = container.get("Id").and_then(Value::as_str) else { continue };
        if !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
            continue;
        }
        // One that has gone since is none.
        if let Ok(inspected) = get(&path, &format!("/containers/{id}/json")) {
            found.push(of(&inspected));
        }
    }
    Ok(found)
}

fn socket() -> Option<PathBuf> {
    let named = std::env::var("DOCKER_HOST").ok();
    let path = match named.as_deref() {
        Some(host) => PathBuf::from(host.strip_prefix("unix://")?),
        None => PathBuf::from(SOCKET),
    };
    path.exists().then_some(path)
}

fn get(socket: &Path, path: &str) -> io::Result<Value> {
    let mut stream = check::unix_stream(socket)?;
    stream.set_read_timeout(Some(WAIT))?;
    stream.set_write_timeout(Some(WAIT))?;
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut bytes = Vec::new();
    stream.take(BYTES_MAX).read_to_end(&mut bytes)?;
    let (status, body) = http_body::read(&bytes).ok_or_else(|| io::Error::other("the answer is no HTTP"))?;
    if status != 200 {
        return Err(io::Error::other(format!("GET {path}: {status}")));
    }
    serde_json::from_slice(&body).map_err(io::Error::other)
}

/// A container, once for each address it has.
fn of(inspected: &Value) -> Container {
    let text =
        |pointer: &str| inspected.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
    let number = |pointer: &str| inspected.pointer(pointer).and_then(Value::as_i64);
    let name = text("/Name").unwrap_or_default().trim_start_matches('/').to_owned();
    let state = text("/State/Status").unwrap_or("unknown");
    let ended = state != "running";
    let oom = inspected.pointer("/State/OOMKilled").and_then(Value::as_bool) == Some(true);
    let health = text("/State/Health/Status");
    let exit = number("/State/ExitCode").filter(|_| ended || number("/RestartCount") > Some(0));
    let restarts = number("/RestartCount").unwrap_or(0);
    let finished: Option<Moment> =
        text("/State/FinishedAt").and_then(|time| time.parse().ok()).filter(|time: &Moment| time.0 > 0);
    let mut words = format!("container {name} is {state}");
    if let Some(exit) = exit {
        words.push_str(&format!(", ended with {exit}"));
    }
    if oom {
        words.push_str(" for its memory");
    }
    if restarts > 0 {
        words.push_str(&format!(", started again {restarts} times"));
    }
    if let Some(health) = health {
        words.push_str(&format!(", {health}"));
    }
    let base = Evidence::new("container")
        .with("name", &name)
        .with("state", state)
        .with_some("exit-code", exit)
        .with("oom-killed", if oom { "yes" } else { "no" })
        .with_some("health", health)
        .with("restarts", restarts)
        .text(words)
        .from("Docker")
        .at(Place::Object(format!("container/{name}")))
        .time(finished.filter(|_| ended));
    let ports: Vec<&str> = inspected
        .pointer("/Config/ExposedPorts")
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(|ports| ports.keys())
        .filter_map(|port| port.strip_suffix("/tcp"))
        .collect();
    let networks = inspected.pointer("/NetworkSettings/Networks").and_then(Value::as_object);
    let mut evidence = Vec::new();
    for (network, settings) in networks.into_iter().flatten() {
        let ip = settings.get("IPAddress").and_then(Value::as_str).filter(|ip| !ip.is_empty());
        let named = base.clone().with("network", network);
        match (ip, ports.is_empty()) {
            (Some(ip), false) => {
                evidence.extend(ports.iter().map(|port| named.clone().with("addr", format!("{ip}:{port}"))));
            }
            (Some(ip), true) => evidence.push(named.with("addr", ip)),
            (None, _) => evidence.push(named),
        }
    }
    if evidence.is_empty() {
        evidence.push(base);
    }
    Container { evidence, log: text("/LogPath").map(PathBuf::from) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_container_that_was_killed_for_its_memory() {
        let inspected = json!({
            "Name": "/shop", "RestartCount": 4, "LogPath": "/var/lib/docker/containers/x/x-json.log",
            "State": {"Status": "exited", "ExitCode": 137, "OOMKilled": true, "FinishedAt": "2026-11-26T10:00:00.5Z"},
            "Config": {"ExposedPorts": {"8000/tcp": {}}},
            "NetworkSettings": {"Networks": {"web": {"IPAddress": "172.18.0.3"}, "db": {"IPAddress": ""}}},
        });
        let found = of(&inspected);
        let lines: Vec<String> = found.evidence.iter().map(|item| item.text.clone()).collect();
        assert_eq!(
            lines[0],
            "container shop is exited, ended with 137 for its memory, started again 4 times"
        );
        let addresses: Vec<Option<&str>> = found.evidence.iter().map(|item| item.get("addr")).collect();
        assert!(addresses.contains(&Some("172.18.0.3:8000")) && addresses.contains(&None), "{addresses:?}");
        assert_eq!(found.log, Some(PathBuf::from("/var/lib/docker/containers/x/x-json.log")));
    }
}
