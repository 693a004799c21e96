//! Envoy: the static bootstrap: listeners, routes, clusters. What comes by xDS is not in the file.

mod cluster;

use super::address::Address;
use super::quantity::go_time;
use super::yaml::{self, Lines, Node};
use super::{Listen, Matching, Part, Route, Setting, Site, Source, Target};

pub(super) const PRODUCT: &str = "envoy";
/// Filters in filters: a listener's chains lie four levels deep.
const DEPTH_MAX: usize = 12;

pub(super) fn read(source: &Source, part: &mut Part) {
    let lines = Lines::new(&source.path, &source.text);
    for document in yaml::documents(&source.path, &source.text, part) {
        let resources = document.get("static_resources").unwrap_or(&document);
        let clusters: Vec<&Node> =
            resources.get("clusters").map(Node::items).unwrap_or_default().iter().collect();
        let listeners = resources.get("listeners").map(Node::items).unwrap_or_default();
        let mut used: Vec<String> = Vec::new();
        for listener in listeners {
            let site = site(listener, &clusters, &lines);
            used.extend(site.routes.iter().filter_map(|route| route.group.clone()));
            part.sites.push(site);
        }
        let mut rest = Site { product: PRODUCT, ..Site::default() };
        for cluster in &clusters {
            let name = cluster.text_at(&["name"]).unwrap_or_default();
            if !used.iter().any(|known| known == name) {
                rest.origin = lines.of(cluster);
                rest.routes.push(to_cluster("/", Matching::Prefix, cluster, &lines));
            }
        }
        if !rest.routes.is_empty() {
            part.sites.push(rest);
        }
    }
}

fn site(listener: &Node, clusters: &[&Node], lines: &Lines<'_>) -> Site {
    let mut site = Site { product: PRODUCT, origin: lines.of(listener), ..Site::default() };
    if let Some((address, node)) =
        listener.get("address").and_then(|node| Some((socket_address(node)?, node)))
    {
        let tls = text_somewhere(listener, "DownstreamTlsContext", 0);
        let settings = Vec::new();
        site.listens.push(Listen { address, tls, default: false, settings, origin: lines.of(node) });
    }
    let mut managers = Vec::new();
    collect(listener, "route_config", 0, &mut managers);
    for manager in managers {
        connection_manager(manager, clusters, lines, &mut site);
    }
    let mut proxies = Vec::new();
    collect(listener, "cluster", 0, &mut proxies);
    // A TCP proxy names its cluster where a route of HTTP would have a match.
    for proxy in
        proxies.iter().filter(|node| node.get("match").is_none() && node.get("stat_prefix").is_some())
    {
        let Some(name) = proxy.text_at(&["cluster"]) else { continue };
        if let Some(cluster) = clusters.iter().find(|cluster| cluster.text_at(&["name"]) == Some(name)) {
            let mut route = to_cluster("/", Matching::Prefix, cluster, lines);
            route.scheme = "tcp".to_owned();
            site.routes.push(route);
        }
    }
    site
}

/// Every map below a node that has a key.
fn collect<'n>(node: &'n Node, key: &str, depth: usize, found: &mut Vec<&'n Node>) {
    if depth > DEPTH_MAX {
        return;
    }
    if node.get(key).is_some() {
        found.push(node);
    }
    for (_, value) in node.entries() {
        collect(value, key, depth + 1, found);
    }
    for item in node.items() {
        collect(item, key, depth + 1, found);
    }
}

fn text_somewhere(node: &Node, wanted: &str, depth: usize) -> bool {
    depth <= DEPTH_MAX
        && (node.text().is_some_and(|text| text.contains(wanted))
            || node.entries().iter().any(|(_, value)| text_somewhere(value, wanted, depth + 1))
            || node.items().iter().any(|item| text_somewhere(item, wanted, depth + 1)))
}

fn connection_manager(manager: &Node, clusters: &[&Node], lines: &Lines<'_>, site: &mut Site) {
    let at = lines.of(manager);
    site.settings.push(match duration(manager.get("stream_idle_timeout")) {
        Some((time, node)) => Setting::new("client-timeout", time, &lines.of(node)),
        None => Setting::by_default("client-timeout", 300, &at),
    });
    site.settings.push(match duration(manager.at(&["common_http_protocol_options", "idle_timeout"])) {
        Some((time, node)) => Setting::new("keep-alive", time, &lines.of(node)),
        None => Setting::by_default("keep-alive", 3600, &at),
    });
    let mut logs = Vec::new();
    collect(manager, "access_log", 0, &mut logs);
    for log in logs {
        for item in log.get("access_log").map(Node::items).unwrap_or_default() {
            let config = item.get("typed_config").unwrap_or(item);
            let kind = config.text_at(&["@type"]).unwrap_or_default();
            let path = config.text_at(&["path"]).or(kind.contains("StdoutAccessLog").then_some("stdout"));
            site.settings.extend(path.map(|path| Setting::new("access-log", path, &lines.of(item))));
        }
    }
    for host in manager.at(&["route_config", "virtual_hosts"]).map(Node::items).unwrap_or_default() {
        let names = host.get("domains").map(Node::items).unwrap_or_default();
        site.names.extend(names.iter().filter_map(Node::text).filter(|name| *name != "*").map(str::to_owned));
        for route in host.get("routes").map(Node::items).unwrap_or_default() {
            routes(route, host, clusters, lines, site);
        }
    }
}

/// A route of a virtual host: one cluster, or several by weight.
fn routes(route: &Node, host: &Node, clusters: &[&Node], lines: &Lines<'_>, site: &mut Site) {
    let Some(action) = route.get("route") else { return };
    let (path, matching) = match route.get("match") {
        Some(rule) => match (rule.text_at(&["path"]), rule.text_at(&["prefix"])) {
            (Some(path), _) => (path, Matching::Exact),
            (None, Some(prefix)) => (prefix, Matching::Prefix),
            (None, None) => match rule.text_at(&["safe_regex", "regex"]) {
                Some(pattern) => (pattern, Matching::Pattern),
                None => (rule.text_at(&["path_separated_prefix"]).unwrap_or("/"), Matching::Prefix),
            },
        },
        None => ("/", Matching::Prefix),
    };
    let mut names: Vec<&str> = action.text_at(&["cluster"]).into_iter().collect();
    for item in action.at(&["weighted_clusters", "clusters"]).map(Node::items).unwrap_or_default() {
        names.extend(item.text_at(&["name"]));
    }
    for name in names {
        let Some(cluster) = clusters.iter().find(|cluster| cluster.text_at(&["name"]) == Some(name)) else {
            continue;
        };
        let mut found = to_cluster(path, matching, cluster, lines);
        found.origin = lines.of(action);
        found.settings.extend(of_action(action, host, lines));
        site.routes.push(found);
    }
}

fn of_action(action: &Node, host: &Node, lines: &Lines<'_>) -> Vec<Setting> {
    let at = lines.of(action);
    let mut settings = Vec::new();
    settings.push(match duration(action.get("timeout")) {
        Some((time, node)) => Setting::new("request-timeout", time, &lines.of(node)),
        // From the end of the request to the end of the answer.
        None => Setting::by_default("request-timeout", 15, &at),
    });
    if let Some((time, node)) = duration(action.get("idle_timeout")) {
        settings.push(Setting::new("read-timeout", time, &lines.of(node)));
    }
    let policy = action.get("retry_policy").or_else(|| host.get("retry_policy"));
    match policy {
        Some(policy) => {
            let count = policy.get("num_retries").and_then(|node| Some((node.text()?, node)));
            settings.push(match count {
                Some((count, node)) => Setting::new("retries", count, &lines.of(node)),
                None => Setting::by_default("retries", 1, &lines.of(policy)),
            });
            if let Some((on, node)) = policy.get("retry_on").and_then(|node| Some((node.text()?, node))) {
                settings.push(Setting::new("retry-on", on, &lines.of(node)));
            }
        }
        None => settings.push(Setting::by_default("retries", 0, &at)),
    }
    let host_header = action.get("host_rewrite_literal").and_then(|node| Some((node.text()?, node)));
    settings.push(match host_header {
        Some((text, node)) => Setting::new("host-header", text, &lines.of(node)),
        None => Setting::by_default("host-header", "client", &at),
    });
    settings
}

fn to_cluster(path: &str, matching: Matching, cluster: &Node, lines: &Lines<'_>) -> Route {
    let mut route = Route { path: path.to_owned(), matching, origin: lines.of(cluster), ..Route::default() };
    cluster::fill(&mut route, cluster, lines);
    route
}

fn duration(node: Option<&Node>) -> Option<(String, &Node)> {
    let node = node?;
    Some((go_time(node.text()?)?, node))
}

/// `socket_address` or `pipe`.
fn socket_address(node: &Node) -> Option<String> {
    if let Some(path) = node.text_at(&["pipe", "path"]) {
        return Some(format!("unix:{path}"));
    }
    let address = node.text_at(&["socket_address", "address"])?;
    let port = node.text_at(&["socket_address", "port_value"])?;
    let written =
        if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") };
    Address::parse(&written, None).map(|address| address.to_string())
}

fn target(written: String, settings: Vec<Setting>, node: &Node, lines: &Lines<'_>) -> Target {
    Target { written, settings, origin: lines.of(node) }
}
