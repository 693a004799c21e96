//! Uvicorn, Hypercorn and Daphne: their command lines, and what they do by themselves.

use super::Launch;
use crate::config::address::Address;
use crate::config::argument::{self, Switch, Takes, Word};
use crate::config::quantity::number;
use crate::config::{Bind, Server, Setting};

const fn value(names: &'static [&'static str], key: &'static str) -> Switch {
    Switch { names, takes: Takes::Value, key }
}

const fn flag(names: &'static [&'static str], key: &'static str) -> Switch {
    Switch { names, takes: Takes::Nothing, key }
}

/// Keys with a minus are settings under that name, with `_` in front something that is looked at here.
const UVICORN: &[Switch] = &[
    value(&["--host"], "_host"),
    value(&["--port"], "_port"),
    value(&["--uds"], "_uds"),
    value(&["--fd"], "_fd"),
    flag(&["--reload"], "reload"),
    value(&["--reload-dir"], ""),
    value(&["--reload-include"], ""),
    value(&["--reload-exclude"], ""),
    value(&["--reload-delay"], ""),
    value(&["--workers"], "workers"),
    value(&["--loop"], ""),
    value(&["--http"], ""),
    flag(&["--http2"], ""),
    value(&["--ws"], "websocket"),
    value(&["--ws-max-size"], ""),
    value(&["--ws-max-queue"], ""),
    value(&["--ws-ping-interval"], ""),
    value(&["--ws-ping-timeout"], ""),
    value(&["--ws-per-message-deflate"], ""),
    value(&["--lifespan"], "lifespan"),
    value(&["--interface"], ""),
    value(&["--env-file"], "environment-file"),
    value(&["--log-config"], ""),
    value(&["--log-level"], "log-level"),
    flag(&["--access-log"], ""),
    flag(&["--no-access-log"], "_no-access-log"),
    flag(&["--use-colors", "--no-use-colors"], ""),
    flag(&["--proxy-headers", "--no-proxy-headers"], ""),
    flag(&["--server-header", "--no-server-header"], ""),
    flag(&["--date-header", "--no-date-header"], ""),
    value(&["--forwarded-allow-ips"], "forwarded-allow"),
    value(&["--root-path"], ""),
    value(&["--limit-concurrency"], "limit-concurrency"),
    value(&["--backlog"], "backlog"),
    value(&["--limit-max-requests"], "max-requests"),
    value(&["--limit-max-requests-jitter"], "max-requests-jitter"),
    value(&["--timeout-keep-alive"], "keep-alive"),
    value(&["--timeout-graceful-shutdown"], "graceful-timeout"),
    value(&["--timeout-worker-healthcheck"], ""),
    value(&["--ssl-keyfile"], ""),
    value(&["--ssl-certfile"], "_tls"),
    value(&["--ssl-keyfile-password"], ""),
    value(&["--ssl-version"], ""),
    value(&["--ssl-cert-reqs"], ""),
    value(&["--ssl-ca-certs"], ""),
    value(&["--ssl-ciphers"], ""),
    value(&["--header"], ""),
    value(&["--app-dir"], "chdir"),
    value(&["--h11-max-incomplete-event-size"], ""),
    flag(&["--factory"], ""),
];

const HYPERCORN: &[Switch] = &[
    value(&["--access-log", "--access-logfile"], "access-log"),
    value(&["--access-logformat"], ""),
    value(&["--backlog"], "backlog"),
    value(&["-b", "--bind"], "_bind"),
    value(&["--ca-certs"], ""),
    value(&["--certfile"], "_tls"),
    value(&["--cert-reqs"], ""),
    value(&["--ciphers"], ""),
    value(&["-c", "--config"], ""),
    flag(&["-D", "--daemon"], "daemon"),
    flag(&["--debug"], ""),
    value(&["--error-log", "--error-logfile", "--log-file"], "error-log"),
    value(&["--graceful-timeout"], "graceful-timeout"),
    value(&["--read-timeout"], "client-timeout"),
    value(&["--max-requests"], "max-requests"),
    value(&["--max-requests-jitter"], "max-requests-jitter"),
    value(&["-g", "--group"], "os-group"),
    value(&["-k", "--worker-class"], "worker-class"),
    value(&["--keep-alive"], "keep-alive"),
    value(&["--keyfile"], ""),
    value(&["--keyfile-password"], ""),
    value(&["--insecure-bind"], "_bind"),
    value(&["--log-config"], ""),
    value(&["--log-level"], "log-level"),
    value(&["-p", "--pid"], "pid-file"),
    value(&["--quic-bind"], ""),
    flag(&["--reload"], "reload"),
    value(&["--root-path"], ""),
    value(&["--server-name"], ""),
    value(&["--statsd-host"], ""),
    value(&["--statsd-prefix"], ""),
    value(&["-m", "--umask"], "umask"),
    value(&["-u", "--user"], "user"),
    value(&["--verify-mode"], ""),
    value(&["--websocket-ping-interval"], ""),
    value(&["-w", "--workers"], "workers"),
];

const DAPHNE: &[Switch] = &[
    value(&["-p", "--port"], "_port"),
    value(&["-b", "--bind"], "_host"),
    value(&["--websocket_timeout", "--websocket-timeout"], ""),
    value(&["--websocket_connect_timeout", "--websocket-connect-timeout"], ""),
    value(&["-u", "--unix-socket"], "_uds"),
    value(&["--fd"], "_fd"),
    value(&["-e", "--endpoint"], "_endpoint"),
    value(&["-v", "--verbosity"], ""),
    value(&["-t", "--http-timeout"], "request-timeout"),
    value(&["--access-log"], "access-log"),
    value(&["--log-fmt"], ""),
    value(&["--ping-interval"], ""),
    value(&["--ping-timeout"], ""),
    value(&["--application-close-timeout"], ""),
    value(&["--root-path"], ""),
    flag(&["--proxy-headers"], ""),
    value(&["--proxy-headers-host"], ""),
    value(&["--proxy-headers-port"], ""),
    value(&["-s", "--server-name"], ""),
    flag(&["--no-server-name"], ""),
];

/// What each does by itself, from the help of uvicorn 0.54, hypercorn 0.18 and daphne 4.2.
type Defaults = &'static [(&'static str, &'static str)];
const UVICORN_DEFAULTS: Defaults = &[
    ("keep-alive", "5"),
    ("backlog", "2048"),
    ("workers", "1"),
    ("worker-timeout", "0"),
    ("graceful-timeout", "0"),
    ("max-requests", "0"),
    ("limit-concurrency", "0"),
    ("lifespan", "auto"),
    ("reload", "no"),
    ("log-level", "info"),
];
const HYPERCORN_DEFAULTS: Defaults = &[
    ("keep-alive", "5"),
    ("backlog", "100"),
    ("workers", "1"),
    ("worker-timeout", "0"),
    ("graceful-timeout", "3"),
    ("max-requests", "0"),
    ("keep-alive-requests", "1000"),
    ("startup-timeout", "60"),
    ("reload", "no"),
];
const DAPHNE_DEFAULTS: Defaults = &[("workers", "1"), ("request-timeout", "0"), ("worker-timeout", "0")];

pub(super) fn launched(product: &str, launch: &Launch) -> Server {
    let (product, table, defaults): (&'static str, _, _) = match product {
        "hypercorn" => ("hypercorn", HYPERCORN, HYPERCORN_DEFAULTS),
        "daphne" => ("daphne", DAPHNE, DAPHNE_DEFAULTS),
        _ => ("uvicorn", UVICORN, UVICORN_DEFAULTS),
    };
    let at = &launch.whole();
    let mut server =
        Server { product, origin: at.clone(), directory: launch.directory.clone(), ..Server::default() };
    let (mut options, others) = argument::options(&launch.words, table);
    if product == "uvicorn" {
        options.splice(0..0, variables(launch));
    }
    let last = |key: &str| options.iter().rev().find(|(known, _)| *known == key).map(|(_, word)| word);
    server.app = others.first().and_then(|word| word.text.clone());
    let scheme = if last("_tls").is_some() { "https" } else { "http" };
    server.binds = binds(&options, scheme, product, launch);
    for (key, word) in &options {
        if key.is_empty() || key.starts_with('_') {
            continue;
        }
        server.settings.retain(|setting| setting.name != *key);
        let value = match &word.text {
            Some(text) => text.parse::<f64>().map_or_else(|_| text.clone(), number),
            None => "unknown".to_owned(),
        };
        server.settings.push(Setting::new(key, value, &launch.place(word)).uncertain(word.uncertain));
    }
    for (name, default) in defaults {
        if !server.settings.iter().any(|setting| setting.name == *name) {
            server.settings.push(Setting::by_default(name, default, at));
        }
    }
    if scheme == "https" {
        server.settings.push(Setting::new("tls", "yes", at));
    }
    if last("_no-access-log").is_some() {
        server.settings.push(Setting::new("access-log", "off", at));
    }
    server
}

/// Uvicorn takes every option from a variable as well; `WEB_CONCURRENCY` is the number of workers.
fn variables(launch: &Launch) -> Vec<(&'static str, Word)> {
    let known = [
        ("UVICORN_HOST", "_host"),
        ("UVICORN_PORT", "_port"),
        ("UVICORN_UDS", "_uds"),
        ("WEB_CONCURRENCY", "workers"),
        ("UVICORN_WORKERS", "workers"),
        ("UVICORN_TIMEOUT_KEEP_ALIVE", "keep-alive"),
        ("UVICORN_BACKLOG", "backlog"),
        ("UVICORN_LIMIT_CONCURRENCY", "limit-concurrency"),
    ];
    known.iter().filter_map(|(name, key)| Some((*key, Word::known(&launch.variable(name)?)))).collect()
}

fn binds(
    options: &[(&'static str, Word)],
    scheme: &'static str,
    product: &str,
    launch: &Launch,
) -> Vec<Bind> {
    let last = |key: &str| options.iter().rev().find(|(known, _)| *known == key).map(|(_, word)| word);
    let bind = |address: String, uncertain: bool, default: bool| Bind {
        address,
        scheme,
        default,
        uncertain,
        origin: launch.origin.clone(),
    };
    let explicit: Vec<&Word> =
        options.iter().filter(|(key, _)| *key == "_bind").map(|(_, word)| word).collect();
    if !explicit.is_empty() {
        let known = explicit.into_iter().filter_map(|word| {
            let address = Address::parse(word.text.as_deref()?, Some(8000))?;
            Some(bind(address.to_string(), word.uncertain, false))
        });
        return known.collect();
    }
    if let Some(word) = last("_uds") {
        return word.text.iter().map(|path| bind(format!("unix:{path}"), word.uncertain, false)).collect();
    }
    if let Some(word) = last("_fd") {
        return word.text.iter().map(|fd| bind(format!("fd://{fd}"), word.uncertain, false)).collect();
    }
    if last("_endpoint").is_some() && product == "daphne" {
        return Vec::new();
    }
    let (host, port) = (last("_host"), last("_port"));
    let text = |word: Option<&Word>, default: &str| match word {
        Some(word) => word.text.clone(),
        None => Some(default.to_owned()),
    };
    let (Some(host_text), Some(port_text)) = (text(host, "127.0.0.1"), text(port, "8000")) else {
        return Vec::new();
    };
    let written = if host_text.contains(':') {
        format!("[{host_text}]:{port_text}")
    } else {
        format!("{host_text}:{port_text}")
    };
    let uncertain = [host, port].into_iter().flatten().any(|word| word.uncertain);
    let default = host.is_none() && port.is_none();
    Address::parse(&written, None)
        .map(|address| bind(address.to_string(), uncertain, default))
        .into_iter()
        .collect()
}
