//! A cluster of Envoy: its endpoints, its pool, its health checks.

use super::{duration, socket_address, target, text_somewhere};
use crate::config::address::Address;
use crate::config::yaml::{Lines, Node};
use crate::config::{Route, Setting};

pub(super) fn fill(route: &mut Route, cluster: &Node, lines: &Lines<'_>) {
    let at = lines.of(cluster);
    route.group = cluster.text_at(&["name"]).map(str::to_owned);
    let tls =
        cluster.get("transport_socket").is_some_and(|node| text_somewhere(node, "UpstreamTlsContext", 0));
    let h2 = find(cluster, "http2_protocol_options", 0).is_some();
    route.scheme = match (tls, h2) {
        (true, _) => "https",
        (false, true) => "h2c",
        (false, false) => "http",
    }
    .to_owned();
    if h2 {
        route.settings.push(Setting::new("http-version", 2, &at));
    } else {
        route.settings.push(Setting::by_default("http-version", "1.1", &at));
    }
    route.settings.push(match duration(cluster.get("connect_timeout")) {
        Some((time, node)) => Setting::new("connect-timeout", time, &lines.of(node)),
        None => Setting::by_default("connect-timeout", 5, &at),
    });
    route.settings.push(match duration(find(cluster, "idle_timeout", 0)) {
        Some((time, node)) => Setting::new("idle-timeout", time, &lines.of(node)),
        None => Setting::by_default("idle-timeout", 3600, &at),
    });
    if tls {
        let node = cluster.get("transport_socket").unwrap_or(cluster);
        route.settings.push(Setting::new("upstream-tls", "yes", &lines.of(node)));
        let sni = find(node, "sni", 0);
        route.settings.push(match sni.and_then(|node| Some((node.text()?, node))) {
            Some((name, node)) => Setting::new("sni", "yes", &lines.of(node)).more("tls-name", name),
            None => Setting::by_default("sni", "no", &lines.of(node)),
        });
        let verify = find(node, "trusted_ca", 0).or_else(|| find(node, "validation_context", 0));
        route.settings.push(match verify {
            Some(node) => Setting::new("verify", "yes", &lines.of(node)),
            None => Setting::by_default("verify", "no", &lines.of(node)),
        });
    }
    health(cluster, lines, &mut route.settings);
    let thresholds = cluster.at(&["circuit_breakers", "thresholds"]).map(Node::items).unwrap_or_default();
    if let Some((count, node)) = thresholds.iter().find_map(|node| {
        let node = node.get("max_connections")?;
        Some((node.text()?, node))
    }) {
        route.settings.push(Setting::new("max-connections", count, &lines.of(node)));
    }
    if let Some((count, node)) =
        cluster.at(&["outlier_detection", "consecutive_5xx"]).and_then(|node| Some((node.text()?, node)))
    {
        route.settings.push(Setting::new("max-fails", count, &lines.of(node)));
    }
    endpoints(route, cluster, lines);
}

fn endpoints(route: &mut Route, cluster: &Node, lines: &Lines<'_>) {
    let kind = cluster.text_at(&["type"]).unwrap_or("STATIC").to_ascii_uppercase();
    let groups = cluster.at(&["load_assignment", "endpoints"]).map(Node::items).unwrap_or_default();
    for endpoint in
        groups.iter().flat_map(|group| group.get("lb_endpoints").map(Node::items).unwrap_or_default())
    {
        let Some(node) = endpoint.at(&["endpoint", "address"]) else { continue };
        let Some(written) = socket_address(node) else { continue };
        let mut settings = Vec::new();
        if let Some(Address::Name(name, _)) = Address::parse(&written, None) {
            let origin = lines.of(node);
            settings.push(Setting::new("target-name", name, &origin));
            // Both kinds of DNS clusters look the name up again and again.
            let when = if kind.contains("DNS") { "run" } else { "start" };
            settings.push(Setting::new("target-name-resolved", when, &origin));
        }
        route.targets.push(target(written, settings, node, lines));
    }
    route
        .settings
        .push(Setting::new("peers", route.targets.len(), &lines.of(cluster)).uncertain(kind.contains("DNS")));
}

fn health(cluster: &Node, lines: &Lines<'_>, settings: &mut Vec<Setting>) {
    for check in cluster.get("health_checks").map(Node::items).unwrap_or_default() {
        settings.push(Setting::new("check", "yes", &lines.of(check)));
        if let Some((path, node)) =
            check.at(&["http_health_check", "path"]).and_then(|node| Some((node.text()?, node)))
        {
            settings.push(Setting::new("health-path", path, &lines.of(node)));
        }
        if let Some((host, node)) =
            check.at(&["http_health_check", "host"]).and_then(|node| Some((node.text()?, node)))
        {
            settings.push(Setting::new("health-host", host, &lines.of(node)));
        }
        if let Some((time, node)) = duration(check.get("interval")) {
            settings.push(Setting::new("check-interval", time, &lines.of(node)));
        }
        for (name, key) in [("check-fall", "unhealthy_threshold"), ("check-rise", "healthy_threshold")] {
            if let Some((count, node)) = check.get(key).and_then(|node| Some((node.text()?, node))) {
                settings.push(Setting::new(name, count, &lines.of(node)));
            }
        }
    }
}

/// The first value of a key anywhere below a node.
fn find<'n>(node: &'n Node, key: &str, depth: usize) -> Option<&'n Node> {
    if depth > super::DEPTH_MAX {
        return None;
    }
    if let Some(found) = node.get(key) {
        return Some(found);
    }
    // Checks and endpoints have keys of the same names.
    let entries = node
        .entries()
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "health_checks" | "load_assignment"));
    entries
        .filter_map(|(_, value)| find(value, key, depth + 1))
        .next()
        .or_else(|| node.items().iter().find_map(|item| find(item, key, depth + 1)))
}
