//! `reverse_proxy` of a Caddyfile as a route.

use super::matcher;
use super::tree::Directive;
use crate::config::address::Address;
use crate::config::quantity::{bytes, go_time};
use crate::config::{Matching, Origin, Route, Setting, Target};

/// Ours, the option of the transport, what Caddy does without it.
const TRANSPORT: &[(&str, &str, &str)] = &[
    ("connect-timeout", "dial_timeout", "3"),
    ("head-timeout", "response_header_timeout", "0"),
    ("read-timeout", "read_timeout", "0"),
    ("send-timeout", "write_timeout", "0"),
    ("idle-timeout", "keepalive", "120"),
];

pub(super) fn route(directive: &Directive, around: &str, how: Matching, siblings: &[Directive]) -> Route {
    let origin = &directive.origin;
    let mut upstreams: Vec<&str> = directive.words.iter().skip(1).map(String::as_str).collect();
    let (path, matching) = matcher(directive.word(1), around, how, siblings);
    if directive.word(1).starts_with(['/', '@', '*']) {
        upstreams.remove(0);
    }
    let option = |name: &str| directive.children().iter().rev().find(|inner| inner.word(0) == name);
    for inner in directive.children().iter().filter(|inner| inner.word(0) == "to") {
        upstreams.extend(inner.words.iter().skip(1).map(String::as_str));
    }
    let mut route =
        Route { path, matching, scheme: "http".to_owned(), origin: origin.clone(), ..Route::default() };
    let transport = option("transport");
    let inner = |name: &str| {
        transport.and_then(|transport| transport.children().iter().find(|inner| inner.word(0) == name))
    };
    for text in &upstreams {
        let (scheme, written) = upstream(text);
        if let Some(scheme) = scheme {
            route.scheme = scheme.to_owned();
        }
        route.targets.push(target(written, origin));
    }
    if transport.is_some_and(|transport| transport.word(1) == "fastcgi") {
        route.scheme = "fastcgi".to_owned();
    } else if inner("tls").is_some() {
        route.scheme = "https".to_owned();
    }
    let versions = inner("versions").map(|inner| inner.words.get(1..).unwrap_or_default().join(" "));
    if let (Some(versions), Some(inner)) = (versions, inner("versions")) {
        if versions.contains("h2c") {
            route.scheme = "h2c".to_owned();
        }
        route.settings.push(Setting::new("http-version", versions, &inner.origin));
    }
    for (name, key, default) in TRANSPORT {
        let found = inner(key);
        let value = found.and_then(|found| match found.word(1) {
            "off" => Some("0".to_owned()),
            text => go_time(text),
        });
        route.settings.push(match found.zip(value) {
            Some((found, value)) => Setting::new(name, value, &found.origin),
            None => {
                Setting::by_default(name, default, transport.map_or(origin, |transport| &transport.origin))
            }
        });
    }
    if let Some(found) = inner("read_buffer")
        && let Some(size) = bytes(found.word(1))
    {
        route.settings.push(Setting::new("response-header-buffer", size, &found.origin));
    }
    route.settings.push(Setting::new("peers", route.targets.len(), origin));
    if route.scheme == "https" {
        route.settings.push(Setting::new("upstream-tls", "yes", origin));
        let skipped = inner("tls_insecure_skip_verify");
        route.settings.push(match skipped {
            Some(found) => Setting::new("verify", "no", &found.origin),
            None => Setting::by_default("verify", "yes", origin),
        });
        route.settings.push(Setting::by_default("sni", "yes", origin));
    }
    settings(&mut route.settings, directive, origin);
    route
}

fn settings(settings: &mut Vec<Setting>, directive: &Directive, origin: &Origin) {
    let option = |name: &str| directive.children().iter().rev().find(|inner| inner.word(0) == name);
    if let Some(found) = option("lb_policy") {
        settings.push(Setting::new("balance", found.word(1), &found.origin));
    }
    settings.push(match option("lb_retries") {
        Some(found) => Setting::new("retries", found.word(1), &found.origin),
        None => Setting::by_default("retries", 0, origin),
    });
    for (name, key) in [("health-path", "health_uri"), ("health-expect", "health_status")] {
        if let Some(found) = option(key) {
            settings.push(Setting::new(name, found.word(1), &found.origin));
        }
    }
    if let Some(found) = option("health_uri") {
        settings.push(Setting::new("check", "yes", &found.origin));
    }
    if let Some((found, time)) =
        option("health_interval").and_then(|found| Some((found, go_time(found.word(1))?)))
    {
        settings.push(Setting::new("check-interval", time, &found.origin));
    }
    // Failures of requests count only where it is told how long they are remembered.
    match option("fail_duration").and_then(|found| Some((found, go_time(found.word(1))?))) {
        Some((found, time)) => {
            settings.push(Setting::new("fail-timeout", time, &found.origin));
            settings.push(match option("max_fails") {
                Some(found) => Setting::new("max-fails", found.word(1), &found.origin),
                None => Setting::by_default("max-fails", 1, &found.origin),
            });
        }
        None => settings.push(Setting::by_default("max-fails", 0, origin)),
    }
    let host = directive
        .children()
        .iter()
        .find(|inner| inner.word(0) == "header_up" && inner.word(1).eq_ignore_ascii_case("host"));
    settings.push(match host {
        Some(found) => {
            let value = match found.word(2) {
                text if text.contains("upstream_hostport") => "upstream",
                text => text,
            };
            Setting::new("host-header", value, &found.origin)
        }
        None => Setting::by_default("host-header", "client", origin),
    });
}

/// Scheme and address with its port.
fn upstream(text: &str) -> (Option<&'static str>, String) {
    if let Some(path) = text.strip_prefix("unix//").or_else(|| text.strip_prefix("unix/")) {
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        return (None, format!("unix:{path}"));
    }
    let (scheme, rest) = match text.split_once("://") {
        Some(("https", rest)) => (Some("https"), rest),
        Some(("h2c", rest)) => (Some("h2c"), rest),
        Some((_, rest)) => (Some("http"), rest),
        None => (None, text),
    };
    let port = if scheme == Some("https") { 443 } else { 80 };
    // An address without a host is one of this host.
    let rest = if rest.starts_with(':') { format!("localhost{rest}") } else { rest.to_owned() };
    let written = Address::parse(&rest, Some(port)).map_or(rest, |address| address.to_string());
    (scheme, written)
}

fn target(written: String, origin: &Origin) -> Target {
    let mut settings = Vec::new();
    if let Some(Address::Name(name, _)) = Address::parse(&written, None) {
        settings.push(Setting::new("target-name", name, origin));
        // Go looks the name up for every connection.
        settings.push(Setting::by_default("target-name-resolved", "run", origin));
    }
    Target { written, settings, origin: origin.clone() }
}
