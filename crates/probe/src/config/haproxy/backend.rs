//! A backend of HAProxy as a route: its servers, and what is in force for them.

use super::section::{Kind, Line, Section};
use super::{address, last, timeout_setting};
use crate::config::address::Address;
use crate::config::quantity::{haproxy_time, number};
use crate::config::{Matching, Origin, Route, Setting, Target};

/// Options that make HAProxy close connections to servers after each answer.
const CLOSING: &[&str] = &["httpclose", "http-server-close", "forceclose"];

pub(super) fn route(
    section: &Section,
    sections: &[Section],
    global: &[&Line],
    at: &Origin,
    path: String,
) -> Route {
    let lines = section.inherited(sections);
    let mode = last(&lines, "mode").map_or("tcp", |line| line.word(1));
    let servers: Vec<&Line> =
        section.lines.iter().filter(|line| matches!(line.word(0), "server" | "server-template")).collect();
    let mut route = Route {
        path,
        matching: Matching::Prefix,
        scheme: scheme(mode, &servers).to_owned(),
        group: Some(section.name.clone()),
        origin: at.clone(),
        ..Route::default()
    };
    route.settings = settings(section, &lines, mode, global);
    let backups = servers.iter().filter(|line| line.has("backup")).count();
    route.settings.push(Setting::new("peers", servers.len() - backups, &section.origin));
    if backups > 0 {
        route.settings.push(Setting::new("backups", backups, &section.origin));
    }
    // What `default-server` says holds for the servers after it.
    let defaults: Vec<&Line> =
        lines.iter().filter(|line| line.word(0) == "default-server").copied().collect();
    route.targets = servers.iter().filter_map(|line| target(line, &defaults, &lines, sections)).collect();
    route
}

fn scheme(mode: &str, servers: &[&Line]) -> &'static str {
    let tls = servers.iter().any(|line| line.has("ssl"));
    let h2 = servers.iter().any(|line| line.after("proto") == Some("h2"));
    match (mode, tls, h2) {
        ("http", true, _) => "https",
        ("http", false, true) => "h2c",
        ("http", false, false) => "http",
        _ => "tcp",
    }
}

fn settings(section: &Section, lines: &[&Line], mode: &str, global: &[&Line]) -> Vec<Setting> {
    let at = &section.origin;
    let mut settings = Vec::new();
    for (name, timeout) in [("connect-timeout", "connect"), ("read-timeout", "server")] {
        // Without a limit it waits for ever, and warns at its start.
        settings
            .push(timeout_setting(lines, name, timeout).unwrap_or_else(|| Setting::by_default(name, 0, at)));
    }
    settings.extend(timeout_setting(lines, "tunnel-timeout", "tunnel"));
    settings.extend(
        timeout_setting(lines, "queue-timeout", "queue")
            .or_else(|| timeout_setting(lines, "queue-timeout", "connect")),
    );
    settings.push(match last(lines, "retries") {
        Some(line) => Setting::new("retries", line.word(1), &line.origin),
        None => Setting::by_default("retries", 3, at),
    });
    settings.push(match last(lines, "retry-on") {
        Some(line) => {
            Setting::new("retry-on", line.words.get(1..).unwrap_or_default().join(" "), &line.origin)
        }
        None => Setting::by_default("retry-on", "conn-failure", at),
    });
    settings.push(match last(lines, "balance") {
        Some(line) => Setting::new("balance", line.word(1), &line.origin),
        None => Setting::by_default("balance", "roundrobin", at),
    });
    if mode == "http" {
        settings.push(pool(lines, at));
        let buffer = global.iter().rev().find(|line| line.word(0) == "tune.bufsize");
        settings.push(match buffer {
            Some(line) => Setting::new("response-header-buffer", line.word(1), &line.origin),
            None => Setting::by_default("response-header-buffer", 16384, at),
        });
    }
    settings.extend(health(lines));
    settings
}

/// Idle connections to servers are kept without a limit of time (half of those not needed are closed every
/// `pool-purge-delay`), unless an option closes them.
fn pool(lines: &[&Line], at: &Origin) -> Setting {
    let option = lines.iter().rev().find(|line| line.word(0) == "option" && CLOSING.contains(&line.word(1)));
    if let Some(line) = option {
        return Setting::new("idle-timeout", 0, &line.origin);
    }
    match last(lines, "http-reuse").filter(|line| line.word(1) == "never") {
        // Each client's connection still keeps its own connection to the server.
        Some(line) => Setting::new("idle-timeout", "none", &line.origin),
        None => Setting::by_default("idle-timeout", "none", at),
    }
}

fn health(lines: &[&Line]) -> Vec<Setting> {
    let mut settings = Vec::new();
    let option = lines.iter().rev().find(|line| line.word(0) == "option" && line.word(1) == "httpchk");
    let Some(option) = option else { return settings };
    let sent = lines.iter().rev().find(|line| line.word(0) == "http-check" && line.word(1) == "send");
    let path = sent.and_then(|line| Some((line.after("uri")?, *line)));
    // `option httpchk [METHOD] URI`
    let short = option.words.get(2..).unwrap_or_default().iter().find(|word| word.starts_with('/'));
    match (path, short) {
        (Some((path, line)), _) => settings.push(Setting::new("health-path", path, &line.origin)),
        (None, Some(path)) => settings.push(Setting::new("health-path", path, &option.origin)),
        (None, None) => settings.push(Setting::by_default("health-path", "/", &option.origin)),
    }
    if let Some(line) = sent {
        let host = line.words.iter().position(|word| word == "hdr").and_then(|at| {
            line.words
                .get(at + 1)
                .filter(|name| name.eq_ignore_ascii_case("host"))
                .and_then(|_| line.words.get(at + 2))
        });
        settings.extend(host.map(|host| Setting::new("health-host", host, &line.origin)));
    }
    if !settings.iter().any(|setting| setting.name == "health-host") {
        settings.push(Setting::by_default("health-host", "none", &option.origin));
    }
    let expected = lines.iter().rev().find(|line| line.word(0) == "http-check" && line.word(1) == "expect");
    settings.push(match expected {
        Some(line) => {
            let value = line.words.get(2..).unwrap_or_default().join(" ");
            Setting::new("health-expect", value, &line.origin)
        }
        None => Setting::by_default("health-expect", "status 200-399", &option.origin),
    });
    settings
}

fn target(line: &Line, defaults: &[&Line], lines: &[&Line], sections: &[Section]) -> Option<Target> {
    let origin = &line.origin;
    let written = address(line.word(if line.word(0) == "server-template" { 3 } else { 2 }))?;
    // The server's own word, else that of the last `default-server` before it.
    let before = |other: &&&Line| other.origin.path != origin.path || other.origin.line < origin.line;
    let mut told = std::iter::once(line).chain(defaults.iter().rev().filter(|other| before(other)).copied());
    let value = |name: &str| {
        std::iter::once(line)
            .chain(defaults.iter().rev().copied())
            .find_map(|line| Some((line.after(name)?, line)))
    };
    let has = |name: &str| line.has(name) || defaults.iter().any(|line| line.has(name));
    let mut settings = Vec::new();
    if told.any(|line| line.has("check")) && !line.has("no-check") {
        settings.push(Setting::new("check", "yes", origin));
        let interval = value("inter").and_then(|(text, line)| Some((haproxy_time(text)?, line)));
        settings.push(match interval {
            Some((interval, line)) => Setting::new("check-interval", interval, &line.origin),
            None => Setting::by_default("check-interval", 2, origin),
        });
        for (name, word, default) in [("check-fall", "fall", 3), ("check-rise", "rise", 2)] {
            settings.push(match value(word) {
                Some((count, line)) => Setting::new(name, count, &line.origin),
                None => Setting::by_default(name, default, origin),
            });
        }
    } else {
        settings.push(Setting::by_default("check", "no", origin));
    }
    if let Some((count, line)) = value("maxconn") {
        settings.push(Setting::new("max-connections", count, &line.origin));
    }
    if has("ssl") {
        settings.push(Setting::new("upstream-tls", "yes", origin));
        settings.push(match value("verify") {
            Some(("none", line)) => Setting::new("verify", "no", &line.origin),
            Some((_, line)) => Setting::new("verify", "yes", &line.origin),
            None => Setting::by_default("verify", "yes", origin),
        });
        let sni = value("sni");
        settings.push(match sni {
            Some((_, line)) => Setting::new("sni", "yes", &line.origin),
            None => Setting::by_default("sni", "no", origin),
        });
    }
    if has("send-proxy") || has("send-proxy-v2") {
        settings.push(Setting::new("send-proxy", "yes", origin));
    }
    if let Some(Address::Name(name, _)) = Address::parse(&written, None) {
        settings.push(Setting::new("target-name", name, origin));
        let resolvers = value("resolvers");
        let when = if resolvers.is_some() { "run" } else { "start" };
        settings.push(Setting::new("target-name-resolved", when, origin));
        if let Some((name, line)) = resolvers {
            let servers = nameservers(name, sections);
            settings.push(Setting::new(
                "resolver",
                if servers.is_empty() { name } else { &servers },
                &line.origin,
            ));
        }
    }
    settings.extend(fails(line, lines));
    settings.push(Setting::new("server-name", line.word(1), origin));
    Some(Target { written, settings, origin: origin.clone() })
}

/// Failures of requests take a server out only where it is told to observe them.
fn fails(line: &Line, lines: &[&Line]) -> Option<Setting> {
    let observing = std::iter::once(&line)
        .chain(lines.iter().filter(|line| line.word(0) == "default-server"))
        .find(|line| line.has("observe"))?;
    let limit = observing.after("error-limit").and_then(|text| text.parse::<f64>().ok());
    Some(Setting::new("max-fails", number(limit.unwrap_or(10.0)), &observing.origin))
}

fn nameservers(name: &str, sections: &[Section]) -> String {
    let section = sections.iter().find(|section| section.kind == Kind::Other && section.name == name);
    let lines = section.map(|section| section.lines.as_slice()).unwrap_or_default();
    let servers: Vec<&str> =
        lines.iter().filter(|line| line.word(0) == "nameserver").map(|line| line.word(2)).collect();
    servers.join(" ")
}
