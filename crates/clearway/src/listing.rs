//! `clearway routes` and `clearway upstreams`: what the running process serves now.

use std::process::ExitCode;

use admin::{RouteRow, TargetRow, UpstreamRow};
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
    let mut line = format!("{}  {}", row.upstream, row.balance);
    for (name, value) in [("by", &row.key), ("sticky by cookie", &row.sticky_cookie), ("zone", &row.zone)] {
        if let Some(value) = value {
            line.push_str(&format!("  {name} {value}"));
        }
    }
    let waiting = if row.waiting == 0 { String::new() } else { format!("  {} waiting", row.waiting) };
    let mut text = format!("{}  {} in flight{waiting}\n", printable(&line), row.in_flight);
    for target in &row.targets {
        text.push_str(&printable(&target_line(target)));
        text.push('\n');
    }
    text
}

fn target_line(target: &TargetRow) -> String {
    let mut line = format!("  {}  {}", target.target, target.condition);
    if let Some(millis) = target.ejection_ms {
        line.push_str(&format!(" for {}", duration_text(millis * 1000)));
    }
    if let Some(why) = &target.why {
        line.push_str(&format!(": {why}"));
    }
    line.push_str(&format!("  share {:.0}%  weight {}", target.share * 100.0, target.weight));
    if let Some(zone) = &target.zone {
        line.push_str(&format!("  zone {zone}"));
    }
    let limit = target.concurrency_limit.map(|limit| format!(" of {limit}")).unwrap_or_default();
    line.push_str(&format!(
        "  {}{limit} in flight  {} connections  {} attempts  {} failed",
        target.in_flight, target.connections, target.attempts, target.failures,
    ));
    if target.ejected > 0 {
        line.push_str(&format!("  {} ejections", target.ejected));
    }
    if target.checks_passed + target.checks_failed > 0 {
        line.push_str(&format!("  checks {} passed, {} failed", target.checks_passed, target.checks_failed));
    }
    if let Some(micros) = target.latency_us {
        line.push_str(&format!("  answers in {}", duration_text(micros)));
    }
    if let Some(millis) = target.idle_limit_ms {
        line.push_str(&format!("  idle limit {}", duration_text(millis * 1000)));
    }
    match &target.resolve_error {
        Some(reason) => line.push_str(&format!("  cannot be resolved: {reason}")),
        None if target.addresses.is_empty() || target.target.contains(&target.addresses.join("")) => {}
        None => line.push_str(&format!("  at {}", target.addresses.join(", "))),
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_says_how_it_chooses_and_each_target_how_it_stands() {
        let up = TargetRow {
            target: "http://10.0.0.1:8000".into(),
            condition: "up".into(),
            share: 1.0,
            weight: 1,
            zone: Some("a".into()),
            in_flight: 2,
            concurrency_limit: Some(8),
            connections: 3,
            attempts: 40,
            latency_us: Some(1_500),
            idle_limit_ms: Some(2_000),
            checks_passed: 7,
            addresses: vec!["10.0.0.1".into()],
            ..TargetRow::default()
        };
        let ejected = TargetRow {
            target: "http://app:8000".into(),
            condition: "ejected".into(),
            why: Some("5 failures in a row, last early-close".into()),
            ejection_ms: Some(5_000),
            weight: 2,
            failures: 5,
            ejected: 1,
            addresses: vec!["10.0.0.2".into()],
            ..TargetRow::default()
        };
        let row = UpstreamRow {
            upstream: "shop".into(),
            balance: "hash".into(),
            key: Some("header x-tenant".into()),
            sticky_cookie: None,
            zone: Some("a".into()),
            in_flight: 2,
            waiting: 4,
            targets: vec![up, ejected],
        };
        assert_eq!(
            upstream_lines(&row),
            "shop  hash  by header x-tenant  zone a  2 in flight  4 waiting\n  \
             http://10.0.0.1:8000  up  share 100%  weight 1  zone a  2 of 8 in flight  3 connections  40 attempts  0 failed  \
             checks 7 passed, 0 failed  answers in 1.50ms  idle limit 2.00s\n  \
             http://app:8000  ejected for 5.00s: 5 failures in a row, last early-close  share 0%  weight 2  0 in flight  \
             0 connections  0 attempts  5 failed  1 ejections  at 10.0.0.2\n"
        );
    }
}
