//! Clearway itself, as a user starts it: log lines and records on, unless the scenario is about their price.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::bail;

use super::super::logs::Log;
use super::{PATIENCE, Plan, Start, write};
use crate::process::answer_of;
use crate::programs::version_in;

/// `checkout` is what the program was built from, if that is known.
pub(super) fn find(program: &Path, checkout: Option<&Path>) -> anyhow::Result<(PathBuf, String)> {
    if !program.is_file() {
        bail!("there is no {}", program.display());
    }
    let version =
        answer_of(program, &["--version"]).map_or_else(|_| "unknown".to_owned(), |v| version_in(&v));
    let commit = match checkout {
        Some(root) => {
            let root = root.to_string_lossy();
            answer_of("git", &["-C", &root, "describe", "--always", "--dirty"]).unwrap_or_default()
        }
        None => "(a given binary)".to_owned(),
    };
    Ok((program.to_owned(), format!("{version} {commit}").trim().to_owned()))
}

pub(super) fn plan(program: &Path, plan: &Plan<'_>) -> anyhow::Result<Start> {
    let Plan { setup, folder, certificate, http, https, admin } = plan;
    let log = folder.join("access.log");
    let format = if setup.log { "json" } else { "off" };
    let file = if setup.log { format!(", file: {}", log.display()) } else { String::new() };
    let retention = if setup.records { 7 } else { 0 };
    let limits = "{ connections: 100000, requests-per-connection: 1000000000 }";
    let text = format!(
        "workers: 1
admin: 127.0.0.1:{admin}
data: {data}
log: {{ format: {format}{file} }}
records: {{ retention-days: {retention} }}
listeners:
  - address: 127.0.0.1:{http}
    timeouts: {{ keep-alive: {PATIENCE} }}
    limits: {limits}
  - address: 127.0.0.1:{https}
    timeouts: {{ keep-alive: {PATIENCE} }}
    limits: {limits}
    tls: {{ certificates: [{{ certificate: {certificate}, key: {key} }}] }}
upstreams:
  - name: backend
    targets: [\"http://127.0.0.1:{backend}\"]
    pool: {{ idle-max: 256, idle: {PATIENCE} }}
services:
  - name: bench
    upstream: backend
",
        data = folder.join("data").display(),
        certificate = certificate.chain.display(),
        key = certificate.key.display(),
        backend = setup.backend,
    );
    let path = folder.join("clearway.yaml");
    write(&path, &text)?;
    let mut command = Command::new(program);
    command.arg("up").arg(path).arg("--data").arg(folder.join("data"));
    Ok(Start { command, log: if setup.log { Log::File(log) } else { Log::Off } })
}
