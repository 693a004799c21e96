//! `clearway routes` and `clearway upstreams`: what the running process serves now.

use std::process::ExitCode;

use admin::{RouteRow, UpstreamRow};
use anyhow::{Context, bail};
use proxy::telemetry::{duration_text, printable};
use serde::de::DeserializeOwned;

use crate::args::{Format, Listing};
use crate::ask::{Asked, ask};
use crate::control::Request;
use crate::output;

pub(crate) fn routes(args: &Listing) -> anyhow::Result<ExitCode> {
    list(args, &Request::Routes, "no route is served", route_line)
}

pub(crate) fn upstreams(args: &Listing) -> anyhow::Result<ExitCode> {
    list(args, &Request::Upstreams, "no upstream is served", upstream_lines)
}

fn list<T: DeserializeOwned>(
    args: &Listing,
    request: &Request,
    nothing: &str,
    line: impl Fn(&T) -> String,
) -> anyhow::Result<ExitCode> {
    let mut listed = 0;
    let asked = ask(&args.data, request, |document| {
        listed += 1;
        let text = match args.format {
            Format::Json => format!("{document}\n"),
            Format::Human => line(&serde_json::from_str(document.get()).context("failed to read a row")?),
        };
        Ok(output::print(text.as_bytes())?)
    })?;
    if asked == Asked::NotRunning {
        bail!(
            "no clearway process answers for {}: only a running one knows what is served; start it with \
             `clearway up`, name its directory with --data, or see what a file holds with `clearway check`",
            args.data.display()
        );
    }
    if listed == 0 && args.format == Format::Human {
        output::say(nothing);
    }
    Ok(ExitCode::SUCCESS)
}

fn route_line(row: &RouteRow) -> String {
    let any = |list: &[String], all: &str| if list.is_empty() { all.to_owned() } else { list.join(",") };
    let mut text = format!(
        "{}, {}: {} {} {}",
        row.service,
        row.route,
        any(&row.methods, "any method"),
        any(&row.hosts, "any host"),
        any(&row.paths, "/*"),
    );
    for (name, list) in [("header", &row.headers), ("query", &row.query), ("cookie", &row.cookies)] {
        if !list.is_empty() {
            text.push_str(&format!("  {name} {}", list.join(",")));
        }
    }
    if row.priority != 0 {
        text.push_str(&format!("  priority {}", row.priority));
    }
    if !row.policies.is_empty() {
        text.push_str(&format!("  policies {}", row.policies.join(",")));
    }
    format!("{}\n", printable(&format!("{text}  -> {} ({})", row.upstream, row.targets.join(", "))))
}

fn upstream_lines(row: &UpstreamRow) -> String {
    let waiting = if row.waiting == 0 { String::new() } else { format!("  {} waiting", row.waiting) };
    let mut text = format!("{}  {} in flight{waiting}\n", printable(&row.upstream), row.in_flight);
    for target in &row.targets {
        let addresses = match &target.resolve_error {
            Some(reason) => format!("  cannot be resolved: {reason}"),
            None if target.addresses.is_empty() || target.target.contains(&target.addresses.join("")) => {
                String::new()
            }
            None => format!("  at {}", target.addresses.join(", ")),
        };
        let latency = target.latency_us.map(|micros| format!("  answers in {}", duration_text(micros)));
        let idle =
            target.idle_limit_ms.map(|millis| format!("  idle limit {}", duration_text(millis * 1000)));
        let limit = target.concurrency_limit.map(|limit| format!(" of {limit}")).unwrap_or_default();
        let line = format!(
            "  {}  {}  weight {}  {}{limit} in flight  {} connections  {} attempts  {} failed{}{}{addresses}",
            target.target,
            target.condition,
            target.weight,
            target.in_flight,
            target.connections,
            target.attempts,
            target.failures,
            latency.unwrap_or_default(),
            idle.unwrap_or_default(),
        );
        text.push_str(&printable(&line));
        text.push('\n');
    }
    text
}
