//! nginx of the distribution, twice: as a proxy that is compared, and as the backend of all of them.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::backend::{BODY_PATH, SMALL, SMALL_PATH};
use super::super::logs::Log;
use super::{PATIENCE, Plan, Start, write};
use crate::process::answer_of;
use crate::programs::{find_program, version_in};

/// Folders for bodies on disk, which nginx makes at its start even if it never needs them.
const TEMPORARY: &str = "\
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
";

pub(super) fn find() -> anyhow::Result<(PathBuf, String)> {
    let program = find_program("nginx")?;
    let version = version_in(&answer_of(&program, &["-v"])?);
    Ok((program, version))
}

/// Connections to clients and backend have no last request, the log is not buffered, as its default is.
pub(super) fn plan(program: &Path, plan: &Plan<'_>) -> anyhow::Result<Start> {
    let Plan { setup, folder, certificate, http, https, .. } = plan;
    let log = folder.join("access.log");
    let buffering = if setup.streaming { "off" } else { "on" };
    let text = format!(
        "{main}
http {{
{TEMPORARY}
    access_log {log} combined;
    keepalive_requests 1000000000;
    keepalive_timeout {PATIENCE};
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    upstream backend {{
        server 127.0.0.1:{backend};
        keepalive 256;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{http};
        listen 127.0.0.1:{https} ssl http2;
        location / {{
            proxy_pass http://backend;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_read_timeout {PATIENCE};
            proxy_buffering {buffering};
            proxy_buffers 16 64k;
            proxy_busy_buffers_size 256k;
            proxy_max_temp_file_size 0;
        }}
    }}
}}
",
        main = main_section(),
        log = log.display(),
        certificate = certificate.chain.display(),
        key = certificate.key.display(),
        backend = setup.backend,
    );
    Ok(Start { command: command(program, folder, &text)?, log: Log::File(log) })
}

/// A server of two static answers, with the file `body` in `folder`.
pub(in super::super) fn backend(folder: &Path, port: u16) -> anyhow::Result<Command> {
    let text = format!(
        "{main}
http {{
{TEMPORARY}
    access_log off;
    sendfile on;
    tcp_nopush on;
    open_file_cache max=10;
    keepalive_requests 1000000000;
    keepalive_timeout {PATIENCE};
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        default_type application/json;
        location = {SMALL_PATH} {{ return 200 '{SMALL}'; }}
        location = {BODY_PATH} {{ alias {body}; }}
    }}
}}
",
        main = main_section(),
        body = folder.join("body").display(),
    );
    command(&find_program("nginx")?, folder, &text)
}

fn main_section() -> String {
    // SAFETY: geteuid touches no memory of ours.
    let is_root = unsafe { libc::geteuid() } == 0;
    // Else the worker of a master that is root changes to a user who may not write here.
    let user = if is_root { "user root;\n" } else { "" };
    format!(
        "{user}daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr error;
events {{ worker_connections 16384; }}"
    )
}

fn command(program: &Path, folder: &Path, text: &str) -> anyhow::Result<Command> {
    let path = folder.join("nginx.conf");
    write(&path, text)?;
    let mut command = Command::new(program);
    command.arg("-p").arg(folder).arg("-c").arg(path).args(["-e", "stderr"]).current_dir(folder);
    Ok(command)
}
