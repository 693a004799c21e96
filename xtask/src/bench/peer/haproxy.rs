//! HAProxy of the distribution: one thread, its log to a local datagram socket, which is how it logs.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::logs::{Log, Sink};
use super::{PATIENCE, Plan, Start, write};
use crate::process::answer_of;
use crate::programs::{find_program, version_in};

pub(super) fn find() -> anyhow::Result<(PathBuf, String)> {
    let program = find_program("haproxy")?;
    let version = version_in(&answer_of(&program, &["-v"])?);
    Ok((program, version))
}

/// Its limit of connections follows from the limit of open files by itself.
pub(super) fn plan(program: &Path, plan: &Plan<'_>) -> anyhow::Result<Start> {
    let Plan { setup, folder, certificate, http, https, .. } = plan;
    let log = folder.join("log");
    // Else it waits up to 200 ms for more to send along with an event.
    let no_delay = if setup.streaming { "option http-no-delay" } else { "" };
    let text = format!(
        "global
    nbthread 1
    log {log} local0
    ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
    mode http
    log global
    option httplog
    option forwardfor
    {no_delay}
    http-reuse always
    timeout connect 5s
    timeout client {PATIENCE}
    timeout server {PATIENCE}
    timeout http-keep-alive {PATIENCE}
frontend front
    bind 127.0.0.1:{http}
    bind 127.0.0.1:{https} ssl crt {both} alpn h2,http/1.1
    http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
    http-request set-header X-Forwarded-Proto http if !{{ ssl_fc }}
    default_backend back
backend back
    server backend 127.0.0.1:{backend}
",
        log = log.display(),
        both = certificate.both.display(),
        backend = setup.backend,
    );
    let path = folder.join("haproxy.cfg");
    write(&path, &text)?;
    let mut command = Command::new(program);
    command.arg("-db").arg("-f").arg(path);
    Ok(Start { command, log: Log::Socket(Sink::open(&log)?) })
}
