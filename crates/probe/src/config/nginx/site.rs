//! Blocks of nginx to sites, and what is about the process as a whole.

use std::sync::Arc;

use super::PRODUCT;
use super::defaults::{self, OF_SITE};
use super::route::{self, PASSES, Place};
use super::scope::Scope;
use super::tree::Directive;
use super::upstream::{self, Upstream};
use crate::config::address::Address;
use crate::config::quantity::nginx_time;
use crate::config::{Listen, Matching, Origin, Part, Role, Route, Setting, Site, Target, Wide};

/// Directives of the main and events blocks that stand for one setting.
const OF_PROCESS: &[(&str, &str)] = &[
    ("user", "user"),
    ("workers", "worker_processes"),
    ("file-limit", "worker_rlimit_nofile"),
    ("pid-file", "pid"),
    ("max-connections", "worker_connections"),
];

pub(super) fn read(directives: &[Directive], path: &Arc<str>, part: &mut Part) {
    let mut upstreams = Vec::new();
    collect_upstreams(directives, &mut upstreams);
    let main = Scope::default().within(directives);
    process(directives, &main, path, part);
    let whole = Origin::new(path, 0, "");
    // Where a fragment begins within a location, everything it says is about that location.
    let mut loose = Site { product: PRODUCT, origin: whole, ..Site::default() };
    contents(directives, &main, &upstreams, part, &mut loose);
    if !loose.routes.is_empty() {
        part.sites.push(loose);
    }
}

fn collect_upstreams(directives: &[Directive], upstreams: &mut Vec<Upstream>) {
    for directive in directives {
        match directive.name.as_str() {
            "upstream" => upstreams.push(upstream::read(directive)),
            "http" | "stream" => collect_upstreams(directive.children(), upstreams),
            _ => {}
        }
    }
}

/// The contents of a file, or of an `http` or `stream` block.
fn contents(
    directives: &[Directive],
    scope: &Scope<'_>,
    upstreams: &[Upstream],
    part: &mut Part,
    loose: &mut Site,
) {
    let mut locations = Vec::new();
    for directive in directives {
        match directive.name.as_str() {
            "http" => {
                let scope = scope.within(directive.children());
                contents(directive.children(), &scope, upstreams, part, loose);
            }
            "stream" => {
                let scope = scope.within(directive.children());
                for server in directive.children().iter().filter(|inner| inner.name == "server") {
                    let site = stream(server, &scope, upstreams);
                    part.sites.push(site);
                }
            }
            "server" if directive.block.is_some() => {
                let site = server(directive, scope, upstreams, part);
                part.sites.push(site);
            }
            _ => locations.push(directive),
        }
    }
    let start = ("/".to_owned(), Matching::Prefix);
    for directive in locations {
        routes(directive, scope, &start, upstreams, part, &mut loose.routes);
    }
}

fn server(directive: &Directive, scope: &Scope<'_>, upstreams: &[Upstream], part: &Part) -> Site {
    let block = directive.children();
    let scope = scope.within(block);
    let mut site = Site { product: PRODUCT, origin: directive.origin.clone(), ..Site::default() };
    for inner in block {
        match inner.name.as_str() {
            "listen" => listen(inner, &mut site),
            "server_name" => site.names.extend(inner.arguments.iter().filter(|name| *name != "_").cloned()),
            _ => {}
        }
    }
    if site.listens.is_empty() {
        let origin = directive.origin.clone();
        site.listens.push(Listen {
            address: "0.0.0.0:80".to_owned(),
            tls: false,
            default: false,
            settings: Vec::new(),
            origin,
        });
    }
    let settings = OF_SITE.iter().filter_map(|row| defaults::setting(row, "", &scope, &directive.origin));
    site.settings.extend(settings);
    logs(&scope, &mut site.settings);
    let start = ("/".to_owned(), Matching::Prefix);
    for inner in block {
        routes(inner, &scope, &start, upstreams, part, &mut site.routes);
    }
    site
}

fn listen(directive: &Directive, site: &mut Site) {
    let text = directive.first();
    let has = |name: &str| directive.arguments.iter().any(|argument| argument == name);
    // A number alone is a port, a name alone an address.
    let address = match text.parse::<u16>() {
        Ok(port) => format!("0.0.0.0:{port}"),
        Err(_) => {
            Address::parse(text, Some(80)).map_or_else(|| text.to_owned(), |address| address.to_string())
        }
    };
    let backlog = directive.arguments.iter().find_map(|argument| argument.strip_prefix("backlog="));
    let mut settings = vec![match backlog {
        Some(backlog) => Setting::new("backlog", backlog, &directive.origin),
        // On Linux; elsewhere the system's own.
        None => Setting::by_default("backlog", 511, &directive.origin),
    }];
    if has("proxy_protocol") {
        settings.push(Setting::new("proxy-protocol", "yes", &directive.origin));
    }
    let default = has("default_server") || has("default");
    let origin = directive.origin.clone();
    site.listens.push(Listen { address, tls: has("ssl"), default, settings, origin });
}

/// Routes of a directive of a server or location: those of its own pass directive and of locations within.
fn routes(
    directive: &Directive,
    scope: &Scope<'_>,
    around: &(String, Matching),
    upstreams: &[Upstream],
    part: &Part,
    found: &mut Vec<Route>,
) {
    if directive.block.is_none() {
        if PASSES.iter().any(|(name, _, _)| *name == directive.name) {
            let place = Place { path: around.0.clone(), matching: around.1, pass: directive };
            found.extend(route::read(place, scope, upstreams, part));
        }
        return;
    }
    let within = match directive.name.as_str() {
        "location" => location(directive),
        "if" | "limit_except" => around.clone(),
        _ => return,
    };
    let scope = scope.within(directive.children());
    for inner in directive.children() {
        routes(inner, &scope, &within, upstreams, part, found);
    }
}

fn location(directive: &Directive) -> (String, Matching) {
    let second = || directive.arguments.get(1).cloned().unwrap_or_default();
    match directive.first() {
        "=" => (second(), Matching::Exact),
        "^~" => (second(), Matching::Prefix),
        "~" | "~*" => (second(), Matching::Pattern),
        path => match path.strip_prefix('=') {
            Some(path) if !path.is_empty() => (path.to_owned(), Matching::Exact),
            _ => (path.to_owned(), Matching::Prefix),
        },
    }
}

/// A server of a `stream` block passes bytes on.
fn stream(directive: &Directive, scope: &Scope<'_>, upstreams: &[Upstream]) -> Site {
    let scope = scope.within(directive.children());
    let mut site = Site { product: PRODUCT, origin: directive.origin.clone(), ..Site::default() };
    for inner in directive.children() {
        match inner.name.as_str() {
            "listen" => listen(inner, &mut site),
            "proxy_pass" => {
                let upstream = upstreams.iter().find(|upstream| upstream.name == inner.first());
                let target = |written: &str, settings: &[Setting], origin: &Origin| Target {
                    written: written.to_owned(),
                    settings: settings.to_vec(),
                    origin: origin.clone(),
                };
                let targets = match upstream {
                    Some(upstream) => {
                        let peers = upstream.peers.iter();
                        peers.map(|peer| target(&peer.written, &peer.settings, &peer.origin)).collect()
                    }
                    None => vec![target(inner.first(), &[], &inner.origin)],
                };
                let rows = [
                    ("connect-timeout", "proxy_connect_timeout", "60"),
                    ("read-timeout", "proxy_timeout", "600"),
                ];
                let time = |(name, directive, default): (&'static str, &str, &str)| match scope.get(directive)
                {
                    Some(found) => Some(Setting::new(name, nginx_time(found.first())?, &found.origin)),
                    None => Some(Setting::by_default(name, default, &inner.origin)),
                };
                let mut settings: Vec<Setting> = rows.into_iter().filter_map(time).collect();
                if let Some(found) = scope.get("proxy_protocol") {
                    settings.push(Setting::new("send-proxy", defaults::switch(found.first()), &found.origin));
                }
                site.routes.push(Route {
                    path: "/".to_owned(),
                    matching: Matching::Prefix,
                    scheme: "tcp".to_owned(),
                    group: upstream.map(|upstream| upstream.name.clone()),
                    targets,
                    settings,
                    origin: inner.origin.clone(),
                });
            }
            _ => {}
        }
    }
    site
}

fn logs(scope: &Scope<'_>, settings: &mut Vec<Setting>) {
    for log in scope.list("access_log") {
        let mut setting = Setting::new("access-log", target_of_log(log.first()), &log.origin);
        if let Some(format) = log.arguments.get(1).filter(|format| !format.contains('=')) {
            setting = setting.more("format-name", format);
        }
        settings.push(setting);
    }
    for log in scope.list("error_log") {
        let level = log.arguments.get(1).map_or("error", String::as_str);
        settings
            .push(Setting::new("error-log", target_of_log(log.first()), &log.origin).more("level", level));
    }
}

fn target_of_log(text: &str) -> &str {
    if text.starts_with("syslog:") { "syslog" } else { text }
}

fn process(directives: &[Directive], main: &Scope<'_>, path: &Arc<str>, part: &mut Part) {
    let mut settings = Vec::new();
    let events =
        directives.iter().filter(|directive| directive.name == "events").flat_map(Directive::children);
    for directive in directives.iter().filter(|directive| directive.block.is_none()).chain(events) {
        if let Some((name, _)) = OF_PROCESS.iter().find(|(_, known)| *known == directive.name) {
            settings.push(Setting::new(name, directive.first(), &directive.origin));
        }
    }
    let is_main = directives.iter().any(|directive| matches!(directive.name.as_str(), "events" | "http"));
    if is_main {
        let whole = Origin::new(path, 0, "");
        for (name, default) in [("max-connections", "512"), ("workers", "1")] {
            if !settings.iter().any(|setting| setting.name == name) {
                settings.push(Setting::by_default(name, default, &whole));
            }
        }
        logs(main, &mut settings);
    }
    let formats =
        directives.iter().filter(|directive| directive.name == "http").flat_map(Directive::children);
    for format in formats.chain(directives).filter(|directive| directive.name == "log_format") {
        let text: String = format.arguments.iter().skip(1).map(String::as_str).collect();
        settings.push(Setting::new("log-format", text, &format.origin).more("format-name", format.first()));
    }
    if !settings.is_empty() {
        part.wide.push(Wide { product: PRODUCT, role: Role::Proxy, unit: None, of: None, settings });
    }
}
