//! Clearway with its defaults: its targets are named, and where it writes.

use std::path::Path;
use std::process::Command;

use super::{Plan, with_name_server};
use crate::battery::server::{Protocol, Target};

pub(super) fn configuration(plan: &Plan<'_>) -> String {
    let Plan { setup, folder, port, admin, generation } = plan;
    let targets: Vec<String> = setup.targets.iter().map(url).collect();
    let first = targets.first().map_or("", String::as_str);
    let races = |line: &dyn Fn(u32) -> String| (0..setup.races).map(line).collect::<String>();
    format!(
        "listeners: [{{ address: \"127.0.0.1:{port}\" }}]
admin: 127.0.0.1:{admin}
data: {data}
# What is known of each request, so that failures can be explained.
log: {{ format: json, file: {log} }}
upstreams:
  - name: app
    targets: [{targets}]
{upstreams}services:
  - {{ name: app, upstream: app }}
{services}  # Another one with each reload, so that there is something new in it.
  - {{ name: generation-{generation}, upstream: app, routes: [{{ paths: [/generation/{generation}] }}] }}
",
        data = folder.join("data").display(),
        log = folder.join("access.log").display(),
        targets = targets.join(", "),
        upstreams =
            races(&|number| format!("  - {{ name: r{number}, targets: [{first}], pool: {{ idle: 1h }} }}\n")),
        services = races(&|number| format!(
            "  - {{ name: r{number}, upstream: r{number}, routes: [{{ paths: [/r{number}/*] }}] }}\n"
        )),
    )
}

fn url(target: &Target) -> String {
    let scheme = match target.protocol {
        Protocol::Http => "http",
        Protocol::Uwsgi => "uwsgi",
    };
    format!("\"{scheme}://{}:{}\"", target.host, target.port)
}

pub(super) fn command(program: &Path, plan: &Plan<'_>) -> anyhow::Result<Command> {
    let mut command = match &plan.setup.name_server {
        Some(server) => with_name_server(program, plan.folder, server)?,
        None => Command::new(program),
    };
    command.arg("up").arg(plan.folder.join("clearway.yaml"));
    Ok(command)
}
