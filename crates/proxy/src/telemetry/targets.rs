//! How targets stand, as metrics. Read from their state when somebody asks; nothing is counted here.

use std::time::Instant;

use upstream::Standing;

use super::exposition::{Exposition, Kind};
use crate::worker::Shared;

/// The metrics of all targets that are served.
pub(super) fn write(text: &mut Exposition, shared: &Shared) {
    let serving = shared.serving.load();
    let now = Instant::now();
    let upstreams: Vec<_> =
        serving.gateway.upstreams.keys().filter_map(|name| serving.upstreams.get(name)).collect();
    let mut targets: Vec<([(&str, &str); 2], Standing)> = Vec::new();
    for upstream in &upstreams {
        for (target, standing) in upstream.targets.iter().zip(upstream.standings(now)) {
            let labels = [("upstream", &*upstream.settings.name), ("target", &*target.settings.url)];
            targets.push((labels, standing));
        }
    }
    text.family(
        "clearway_target_condition",
        Kind::Gauge,
        "1 for the condition a target is in: up, unreachable, down, ejected or on-trial.",
    );
    for ([upstream, target], standing) in &targets {
        let labels = [*upstream, *target, ("condition", standing.condition.id())];
        text.sample("clearway_target_condition", &labels, 1.0);
    }
    text.family(
        "clearway_target_share",
        Kind::Gauge,
        "The part of new requests that a target gets by its weight: 0 while it is out, less than usual after its return.",
    );
    for (labels, standing) in &targets {
        text.sample("clearway_target_share", labels, standing.share);
    }
    text.family(
        "clearway_target_ejections_total",
        Kind::Counter,
        "Ejections: for failures in a row, for the share of failures, for a failed trial.",
    );
    for ([upstream, target], standing) in &targets {
        let ejected = standing.ejected;
        for (reason, count) in
            [("in-a-row", ejected.in_a_row), ("share", ejected.share), ("trial", ejected.trial)]
        {
            let labels = [*upstream, *target, ("reason", reason)];
            text.sample("clearway_target_ejections_total", &labels, count as f64);
        }
    }
    text.family(
        "clearway_target_checks_total",
        Kind::Counter,
        "Active checks of a target, by what came of them.",
    );
    for ([upstream, target], standing) in &targets {
        for (result, count) in [("pass", standing.checks.0), ("fail", standing.checks.1)] {
            let labels = [*upstream, *target, ("result", result)];
            text.sample("clearway_target_checks_total", &labels, count as f64);
        }
    }
    text.family(
        "clearway_upstream_waiting",
        Kind::Gauge,
        "Requests that wait for a target that has room or accepts connections.",
    );
    for upstream in &upstreams {
        let labels = [("upstream", &*upstream.settings.name)];
        text.sample("clearway_upstream_waiting", &labels, upstream.waiting() as f64);
    }
}
