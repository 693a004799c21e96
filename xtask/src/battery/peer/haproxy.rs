//! HAProxy as an expert configures it for Python servers. Each line that is not plumbing says why it is there.

use std::path::Path;
use std::process::Command;

use super::Plan;

/// Idle connections are closed before the 2 s are over after which Gunicorn closes them.
const PURGE: &str = "pool-purge-delay 1s";

pub(super) fn configuration(plan: &Plan<'_>) -> String {
    let Plan { setup, port, generation, .. } = plan;
    // A server that is alone is better tried than declared down; with two, checks find the one that is not well.
    let check = if setup.targets.len() > 1 {
        "check inter 1s fastinter 500ms downinter 500ms fall 2 rise 1 observe layer7 error-limit 5 on-error mark-down"
    } else {
        ""
    };
    // No more than the workers of a server can take; the rest waits here.
    let limit = setup.workers.map(|workers| format!("maxconn {workers}")).unwrap_or_default();
    // Names are asked for again when their TTL ends.
    let (section, resolve) = match &setup.name_server {
        Some(server) => (
            format!(
                "resolvers names\n    nameserver one {server}:53\n    hold valid 1s\n    timeout resolve 1s\n"
            ),
            "resolvers names init-addr libc,none resolve-prefer ipv4",
        ),
        None => (String::new(), ""),
    };
    let servers: Vec<String> = setup
        .targets
        .iter()
        .enumerate()
        .map(|(number, target)| {
            format!(
                "    server app{number} {}:{} {check} {limit} {resolve} {PURGE}\n",
                target.host, target.http_port
            )
        })
        .collect();
    format!(
        "global
    # For reloads without a closed door: the new process takes the sockets of the old one from here.
    stats socket unix@haproxy.sock mode 600 level admin expose-fd listeners
    # So that a reload is over in the time of a scenario.
    hard-stop-after 30s
{section}defaults
    mode http
    timeout connect 2s
    timeout client 60s
    # An API may think that long.
    timeout server 60s
    timeout http-keep-alive 75s
    # How long a request waits for a free worker before it gets its 503.
    timeout queue 1s
    # Five tries a second apart carry a request over a restart of a server that is alone.
    retries 5
    # On each next try another server.
    option redispatch 1
    # All that says that a server is not well.
    retry-on conn-failure empty-response response-timeout 0rtt-rejected 502 503
    # Kept connections are used again only for requests that can be sent again.
    http-reuse safe
    # A request is read whole before a worker is taken for it, as far as a buffer has room.
    option http-buffer-request
    # Who sheds says when to come again.
    http-error status 503 content-type text/plain string \"busy\" hdr Retry-After 1
frontend front
    bind 127.0.0.1:{port}
    http-request return status 204 if {{ path /generation/{generation} }}
    # What must not be executed twice is not sent twice.
    http-request disable-l7-retry if METH_POST !{{ req.hdr(idempotency-key) -m found }}
    default_backend app
backend app
    # Fewest requests in flight: the better choice where servers are of different speed.
    balance leastconn
    option httpchk GET /health
    http-check expect status 200
{servers}",
        servers = servers.concat(),
    )
}

/// With a master, whose SIGUSR2 is the documented way to reload.
pub(super) fn command(program: &Path, plan: &Plan<'_>) -> Command {
    let mut command = Command::new(program);
    command.args(["-W", "-db", "-f"]).arg(plan.folder.join("haproxy.cfg"));
    command
}
