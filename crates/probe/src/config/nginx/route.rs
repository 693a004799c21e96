//! A location of nginx that passes requests on: its targets, and every setting in force for them.

use super::PRODUCT;
use super::defaults::{self, OF_REQUEST, OF_ROUTE, OF_TLS};
use super::scope::Scope;
use super::tree::Directive;
use super::upstream::Upstream;
use crate::config::address::Address;
use crate::config::quantity::{bytes, number};
use crate::config::{Matching, Origin, Part, Route, Setting, Target};

/// Directives that pass on, with the prefix of their module's directives and the scheme of an address without one.
pub(super) const PASSES: &[(&str, &str, &str)] = &[
    ("proxy_pass", "proxy_", "http"),
    ("uwsgi_pass", "uwsgi_", "uwsgi"),
    ("fastcgi_pass", "fastcgi_", "fastcgi"),
    ("grpc_pass", "grpc_", "grpc"),
    ("scgi_pass", "scgi_", "scgi"),
];

/// Since this version an upstream block keeps idle connections by itself, and requests to upstreams are HTTP/1.1.
const KEEPS_BY_DEFAULT: &[u64] = &[1, 29, 7];

/// What a pass directive names.
struct Destination {
    scheme: String,
    authority: String,
    /// The path that replaces the matched one.
    uri: Option<String>,
    /// It is made of variables, and so looked up at run time.
    by_variable: bool,
}

pub(super) struct Place<'a> {
    pub(super) path: String,
    pub(super) matching: Matching,
    pub(super) pass: &'a Directive,
}

pub(super) fn read(
    place: Place<'_>,
    scope: &Scope<'_>,
    upstreams: &[Upstream],
    part: &Part,
) -> Option<Route> {
    let (_, prefix, scheme) = PASSES.iter().find(|(name, _, _)| *name == place.pass.name)?;
    let pass = place.pass;
    let mut route =
        Route { path: place.path, matching: place.matching, origin: pass.origin.clone(), ..Route::default() };
    let Some(destination) = destination(pass.first(), scheme, scope) else {
        route.scheme = (*scheme).to_owned();
        route.settings.push(Setting::new("target-variable", pass.first(), &pass.origin));
        route.settings.extend(common(prefix, scope, &pass.origin));
        return Some(route);
    };
    route.scheme.clone_from(&destination.scheme);
    let upstream = upstreams.iter().find(|upstream| upstream.name == destination.authority);
    route.settings = common(prefix, scope, &pass.origin);
    if let Some(uri) = &destination.uri {
        route.settings.push(Setting::new("target-uri", uri, &pass.origin));
    }
    if matches!(destination.scheme.as_str(), "https" | "grpcs" | "suwsgi") {
        tls(&mut route.settings, prefix, scope, pass);
    }
    match upstream {
        Some(upstream) => grouped(&mut route, upstream, &destination, scope),
        None => single(&mut route, &destination, scope, pass),
    }
    route.settings.extend(pool(&route.scheme, prefix, upstream, scope, part, &pass.origin));
    if *prefix == "proxy_" && route.scheme != "tcp" {
        headers(&mut route.settings, upstream, scope, part, pass);
    }
    Some(route)
}

/// `http://app:8000/path`, `unix:/run/app.sock`, `$scheme://$backend`.
fn destination(text: &str, scheme: &str, scope: &Scope<'_>) -> Option<Destination> {
    let (text, by_variable) = scope.expanded(text)?;
    let (scheme, rest) = match text.split_once("://") {
        Some(("unix", _)) | None => (scheme, text.as_str()),
        Some(split) => split,
    };
    let (authority, uri) = if let Some(path) = rest.strip_prefix("unix:") {
        // A colon ends the path of the socket.
        match path.split_once(':') {
            Some((path, uri)) => (format!("unix:{path}"), Some(uri.to_owned())),
            None => (format!("unix:{path}"), None),
        }
    } else {
        match rest.find('/') {
            Some(start) => {
                let (authority, uri) = rest.split_at(start);
                (authority.to_owned(), Some(uri.to_owned()))
            }
            None => (rest.to_owned(), None),
        }
    };
    let uri = uri.filter(|uri| !uri.is_empty());
    Some(Destination { scheme: scheme.to_ascii_lowercase(), authority, uri, by_variable })
}

fn port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "grpc" => Some(80),
        "https" | "grpcs" => Some(443),
        _ => None,
    }
}

/// The address with its port, and the host where it is a name.
fn written(text: &str, scheme: &str) -> (String, Option<String>) {
    match Address::parse(text, port(scheme).or(Some(80))) {
        Some(Address::Name(name, port)) => (format!("{name}:{port}"), Some(name)),
        Some(address) => (address.to_string(), None),
        None => (text.to_owned(), None),
    }
}

fn named(settings: &mut Vec<Setting>, name: Option<String>, at_run_time: bool, origin: &Origin) {
    let Some(name) = name else { return };
    settings.push(Setting::new("target-name", name, origin));
    settings.push(Setting::new("target-name-resolved", if at_run_time { "run" } else { "start" }, origin));
}

fn grouped(route: &mut Route, upstream: &Upstream, destination: &Destination, scope: &Scope<'_>) {
    route.group = Some(upstream.name.clone());
    let serving = upstream.peers.iter().filter(|peer| !peer.backup).count();
    let backups = upstream.peers.len() - serving;
    let by_name = |text: &str| matches!(Address::parse(text, Some(80)), Some(Address::Name(..)));
    let uncertain = upstream.peers.iter().any(|peer| by_name(&peer.written));
    route.settings.push(Setting::new("peers", serving, &upstream.origin).uncertain(uncertain));
    if backups > 0 {
        route.settings.push(Setting::new("backups", backups, &upstream.origin));
    }
    route.settings.push(upstream.balance.clone());
    for peer in &upstream.peers {
        // In an upstream block the port is 80 for every scheme.
        let (written, name) = written(&peer.written, "http");
        let mut settings = peer.settings.clone();
        named(&mut settings, name, peer.resolve, &peer.origin);
        if peer.resolve
            && let Some(resolver) = scope.get("resolver")
        {
            settings.push(Setting::new("resolver", resolver.arguments.join(" "), &resolver.origin));
        }
        route.targets.push(Target { written, settings, origin: peer.origin.clone() });
    }
    if destination.by_variable
        && let Some(resolver) = scope.get("resolver")
    {
        route.settings.push(Setting::new("resolver", resolver.arguments.join(" "), &resolver.origin));
    }
}

fn single(route: &mut Route, destination: &Destination, scope: &Scope<'_>, pass: &Directive) {
    let (written, name) = written(&destination.authority, &destination.scheme);
    let mut settings = Vec::new();
    // A name that is written out is looked up once and every address of it is a peer.
    let peers = if name.as_deref() == Some("localhost") { 2 } else { 1 };
    settings.push(Setting::new("peers", peers, &pass.origin).uncertain(name.is_some() && peers == 1));
    settings.push(Setting::by_default("max-fails", 1, &pass.origin));
    settings.push(Setting::by_default("fail-timeout", 10, &pass.origin));
    if destination.by_variable {
        match scope.get("resolver") {
            Some(resolver) => {
                settings.push(Setting::new("resolver", resolver.arguments.join(" "), &resolver.origin));
            }
            None if name.is_some() => settings.push(Setting::by_default("resolver", "none", &pass.origin)),
            None => {}
        }
    }
    named(&mut settings, name, destination.by_variable, &pass.origin);
    route.targets.push(Target { written, settings, origin: pass.origin.clone() });
}

fn common(prefix: &str, scope: &Scope<'_>, at: &Origin) -> Vec<Setting> {
    let mut settings: Vec<Setting> =
        OF_ROUTE.iter().filter_map(|row| defaults::setting(row, prefix, scope, at)).collect();
    settings.extend(OF_REQUEST.iter().filter_map(|row| defaults::setting(row, "", scope, at)));
    if prefix == "proxy_" {
        settings.extend(buffers(prefix, scope, at));
    }
    if let Some(tries) = scope.get(&format!("{prefix}next_upstream_tries")) {
        // nginx counts attempts, we count those after the first; its 0 is no limit.
        let value = match tries.first().parse::<u64>() {
            Ok(0) => "none".to_owned(),
            Ok(tries) => (tries - 1).to_string(),
            Err(_) => return settings,
        };
        settings.push(Setting::new("retries", value, &tries.origin));
    } else {
        settings.push(Setting::by_default("retries", "none", at));
    }
    for (name, directive) in [("temp-path", "temp_path"), ("body-temp-path", "client_body_temp_path")] {
        let full = if name == "temp-path" { format!("{prefix}{directive}") } else { directive.to_owned() };
        if let Some(found) = scope.get(&full) {
            settings.push(Setting::new(name, found.first(), &found.origin));
        }
    }
    settings
}

/// The buffers of an answer, where any of their sizes is set: nginx does not start if they do not fit each other
/// (`ngx_http_proxy_merge_loc_conf`).
fn buffers(prefix: &str, scope: &Scope<'_>, at: &Origin) -> Vec<Setting> {
    let directive = |name: &str| scope.get(&format!("{prefix}{name}"));
    let (one, many, busy) = (directive("buffer_size"), directive("buffers"), directive("busy_buffers_size"));
    let Some(set) = busy.or(one).or(many) else { return Vec::new() };
    let size = |found: Option<&Directive>, index: usize, default: f64| match found {
        Some(found) => found.arguments.get(index).and_then(|text| bytes(text)?.parse::<f64>().ok()),
        None => Some(default),
    };
    let count = many.map_or(Some(8.0), |found| found.first().parse::<f64>().ok());
    let (Some(one), Some(each), Some(count)) = (size(one, 0, 4096.0), size(many, 1, 4096.0), count) else {
        return Vec::new();
    };
    let Some(busy_size) = size(busy, 0, 2.0 * one.max(each)) else { return Vec::new() };
    let buffers = many.map_or(at, |found| &found.origin);
    vec![
        Setting {
            default: busy.is_none(),
            ..Setting::new("response-busy-buffers", number(busy_size), &set.origin)
        },
        Setting {
            default: many.is_none(),
            ..Setting::new("response-free-buffers", number((count - 1.0) * each), buffers)
        },
    ]
}

fn tls(settings: &mut Vec<Setting>, prefix: &str, scope: &Scope<'_>, pass: &Directive) {
    settings.push(Setting::new("upstream-tls", "yes", &pass.origin));
    settings.extend(OF_TLS.iter().filter_map(|row| defaults::setting(row, prefix, scope, &pass.origin)));
    if let Some(name) = scope.get(&format!("{prefix}ssl_name")) {
        settings.push(Setting::new("tls-name", name.first(), &name.origin));
    }
}

/// Whether idle connections are kept, and for how long.
fn pool(
    scheme: &str,
    prefix: &str,
    upstream: Option<&Upstream>,
    scope: &Scope<'_>,
    part: &Part,
    at: &Origin,
) -> Vec<Setting> {
    let none = |origin: &Origin| vec![Setting::by_default("idle-timeout", 0, origin)];
    // Without an upstream block there is no pool, in any version.
    let Some(upstream) = upstream else { return none(at) };
    if matches!(scheme, "uwsgi" | "suwsgi" | "scgi" | "tcp") {
        return none(at);
    }
    let modern = part.is_at_least(PRODUCT, KEEPS_BY_DEFAULT);
    let size = match &upstream.keepalive {
        Some(size) if size.value == "0" => return vec![Setting::new("idle-timeout", 0, &size.origin)],
        Some(size) => size.clone(),
        None => match modern {
            Some(true) => Setting::by_default("pool-size", 32, &upstream.origin),
            Some(false) => return none(&upstream.origin),
            // It depends on the version, which is not known.
            None => return Vec::new(),
        },
    };
    match is_persistent(scheme, prefix, scope, modern) {
        Some(true) => {}
        Some(false) => {
            let idle = Setting::new("idle-timeout", 0, &size.origin);
            return vec![size, idle];
        }
        None => return Vec::new(),
    }
    let idle = upstream.keepalive_timeout.clone();
    let idle = idle.unwrap_or_else(|| Setting::by_default("idle-timeout", 60, &size.origin));
    vec![size, idle]
}

/// Whether requests are sent in a way that lets the upstream keep the connection.
fn is_persistent(scheme: &str, prefix: &str, scope: &Scope<'_>, modern: Option<bool>) -> Option<bool> {
    match (scheme, prefix) {
        ("grpc" | "grpcs", _) => Some(true),
        ("fastcgi", _) => Some(scope.get("fastcgi_keep_conn").is_some_and(|found| found.first() == "on")),
        _ => {
            let version = scope.get("proxy_http_version").map(Directive::first);
            let connection =
                scope.header("proxy_set_header", "Connection").and_then(|field| field.arguments.get(1));
            match (version, connection.map(String::as_str)) {
                (Some("1.0"), _) => Some(false),
                (_, Some(value)) if value.eq_ignore_ascii_case("close") => Some(false),
                // As with the usual map of `$http_upgrade`, it is `close` for some requests.
                (_, Some(value)) if value.contains('$') => None,
                (Some(_), Some(_)) => Some(true),
                // Older versions speak HTTP/1.0 and say `Connection: close` by themselves.
                (Some(_), None) | (None, _) => modern,
            }
        }
    }
}

fn headers(
    settings: &mut Vec<Setting>,
    upstream: Option<&Upstream>,
    scope: &Scope<'_>,
    part: &Part,
    pass: &Directive,
) {
    let modern = part.is_at_least(PRODUCT, KEEPS_BY_DEFAULT);
    match scope.get("proxy_http_version") {
        Some(version) => settings.push(Setting::new("http-version", version.first(), &version.origin)),
        None => match modern {
            Some(false) => settings.push(Setting::by_default("http-version", "1.0", &pass.origin)),
            Some(true) => settings.push(Setting::by_default("http-version", "1.1", &pass.origin)),
            None => {}
        },
    }
    let connection = scope.header("proxy_set_header", "Connection");
    if let Some(connection) = connection {
        let value = match connection.arguments.get(1).map_or("", String::as_str) {
            "" => "none",
            value => value,
        };
        settings.push(Setting::new("connection-header", value, &connection.origin));
    }
    let upgrade = scope.header("proxy_set_header", "Upgrade");
    let value = if upgrade.is_some() && connection.is_some() { "yes" } else { "no" };
    settings.push(match upgrade {
        Some(upgrade) => Setting::new("websocket-upgrade", value, &upgrade.origin),
        None => Setting::by_default("websocket-upgrade", value, &pass.origin),
    });
    settings.push(match scope.header("proxy_set_header", "Host") {
        Some(host) => {
            let value = match host.arguments.get(1).map_or("", String::as_str) {
                "$host" | "$http_host" => "client",
                "$proxy_host" => "upstream",
                other => other,
            };
            Setting::new("host-header", value, &host.origin)
        }
        None => {
            // `$proxy_host` is the name of the group where there is one.
            let group = upstream.map(|upstream| upstream.name.clone());
            let setting = Setting::by_default("host-header", "upstream", &pass.origin);
            match group {
                Some(group) => setting.more("host", group),
                None => setting,
            }
        }
    });
}
