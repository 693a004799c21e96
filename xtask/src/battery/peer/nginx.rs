//! nginx as an expert configures it for Python servers. Each line that is not plumbing says why it is there.

use std::path::Path;
use std::process::Command;

use super::Plan;
use crate::battery::server::Protocol;

pub(super) fn configuration(plan: &Plan<'_>) -> String {
    let Plan { setup, port, generation, .. } = plan;
    // SAFETY: geteuid touches no memory of ours.
    let is_root = unsafe { libc::geteuid() } == 0;
    // Else the workers of a master that is root change to a user who may not write here.
    let user = if is_root { "user root;\n" } else { "" };
    // One more in the queue of each worker, and the rest is shed at once.
    let (zone, shed) = match setup.workers {
        Some(workers) => (
            "    limit_conn_zone $server_name zone=under_way:1m;\n".to_owned(),
            format!(
                "            limit_conn under_way {};\n            limit_conn_status 503;\n            \
                 error_page 503 @busy;\n",
                u64::from(workers) * 2 * setup.targets.len() as u64
            ),
        ),
        None => Default::default(),
    };
    format!(
        "{user}daemon {daemon};
# As many as there are cores.
worker_processes auto;
pid nginx.pid;
error_log stderr error;
events {{ worker_connections 4096; }}
http {{
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    access_log off;
{zone}{upstream}    server {{
        server_name battery.test;
        listen 127.0.0.1:{port} backlog=4096;
        location = /generation/{generation} {{ return 204; }}
        # Who sheds says when to come again.
        location @busy {{ add_header Retry-After 1 always; return 503; }}
        location / {{
{pass}{shed}        }}
    }}
}}
",
        daemon = if setup.upgrades { "on" } else { "off" },
        upstream = upstream(plan),
        pass = pass(plan),
    )
}

/// The parameters of the uwsgi protocol, as Debian's package has them.
const UWSGI_PARAMS: &str = "            uwsgi_param QUERY_STRING $query_string;
            uwsgi_param REQUEST_METHOD $request_method;
            uwsgi_param CONTENT_TYPE $content_type;
            uwsgi_param CONTENT_LENGTH $content_length;
            uwsgi_param REQUEST_URI $request_uri;
            uwsgi_param PATH_INFO $document_uri;
            uwsgi_param SERVER_PROTOCOL $server_protocol;
            uwsgi_param REMOTE_ADDR $remote_addr;
            uwsgi_param SERVER_PORT $server_port;
            uwsgi_param SERVER_NAME $server_name;
";

fn upstream(plan: &Plan<'_>) -> String {
    let setup = plan.setup;
    if setup.name_server.is_some() {
        return String::new();
    }
    let servers: Vec<String> = setup
        .targets
        .iter()
        // One failure takes a server out for ten seconds by default: too soon for one that had a bad moment, and too long
        // for one that has been restarted.
        .map(|target| format!("        server {}:{} max_fails=3 fail_timeout=1s;\n", target.host, target.port))
        .collect();
    format!(
        "    upstream app {{
        # What is known of a server is known to all workers.
        zone app 256k;
        # Fewest requests in flight: the better choice where servers are of different speed.
        least_conn;
{servers}        keepalive 64;
        # Below the 2 s after which Gunicorn closes.
        keepalive_timeout 1s;
    }}
",
        servers = servers.concat(),
    )
}

fn pass(plan: &Plan<'_>) -> String {
    let setup = plan.setup;
    let protocol = setup.targets.first().map_or(Protocol::Http, |target| target.protocol);
    // It knows no 502 of a uwsgi server.
    let (name, bad, more) = match protocol {
        // So that connections are kept.
        Protocol::Http => (
            "proxy",
            "http_502 http_503",
            "            proxy_http_version 1.1;\n            proxy_set_header Connection \"\";\n            \
             proxy_set_header Host $host;\n",
        ),
        Protocol::Uwsgi => ("uwsgi", "http_503", UWSGI_PARAMS),
    };
    let to = match (&setup.name_server, setup.targets.first()) {
        // Only names in variables are asked for again.
        (Some(server), Some(target)) => format!(
            "            resolver {server} valid=1s ipv6=off;\n            set $app {}:{};\n            \
             proxy_pass http://$app;\n",
            target.host, target.port
        ),
        _ if protocol == Protocol::Http => "            proxy_pass http://app;\n".to_owned(),
        _ => "            uwsgi_pass app;\n".to_owned(),
    };
    format!(
        "{to}{more}            # All that says that a server is not well; what must not be executed twice is not sent twice.
            {name}_next_upstream error timeout {bad};
            {name}_next_upstream_tries 3;
            # The default of 60 s hides outages.
            {name}_connect_timeout 2s;
            # An API may think that long.
            {name}_read_timeout 60s;
"
    )
}

/// Starts it as a daemon and stays for as long as it lives, so that it is stopped with whoever started this.
const GUARD: &str = "trap 'kill $(cat nginx.pid)' TERM; \"$0\" \"$@\" || exit
while kill -0 $(cat nginx.pid) 2>/dev/null; do sleep 0.1; done";

pub(super) fn command(program: &Path, plan: &Plan<'_>) -> Command {
    let mut command = if plan.setup.upgrades {
        let mut command = Command::new("sh");
        command.args(["-c", GUARD]).arg(program);
        command
    } else {
        Command::new(program)
    };
    // The folder ends with a slash: nginx puts names right behind it.
    command.arg("-p").arg(format!("{}/", plan.folder.display()));
    command.arg("-c").arg(plan.folder.join("nginx.conf")).args(["-e", "stderr"]);
    command
}

/// The process id of the master.
pub(super) fn pid(folder: &Path) -> Option<u32> {
    std::fs::read_to_string(folder.join("nginx.pid")).ok()?.trim().parse().ok()
}
