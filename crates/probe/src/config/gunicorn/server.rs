//! From Gunicorn's own settings to ours, with the defaults of its reference.

use super::{Given, Layer, PRODUCT};
use crate::config::address::Address;
use crate::config::quantity::number;
use crate::config::{Bind, Origin, Server, Setting};

/// Ours, Gunicorn's, and what Gunicorn does where it is not set; `None` where that says nothing.
const SETTINGS: &[(&str, &str, Option<&str>)] = &[
    ("worker-timeout", "timeout", Some("30")),
    ("graceful-timeout", "graceful_timeout", Some("30")),
    ("backlog", "backlog", Some("2048")),
    ("workers", "workers", Some("1")),
    ("max-connections", "worker_connections", Some("1000")),
    ("max-requests", "max_requests", Some("0")),
    ("max-requests-jitter", "max_requests_jitter", Some("0")),
    ("preload", "preload_app", Some("no")),
    ("post-fork", "post_fork", None),
    ("reload", "reload", Some("no")),
    ("daemon", "daemon", Some("no")),
    ("request-line-limit", "limit_request_line", Some("4094")),
    ("request-fields-limit", "limit_request_fields", Some("100")),
    ("request-header-limit", "limit_request_field_size", Some("8190")),
    ("forwarded-allow", "forwarded_allow_ips", Some("127.0.0.1,::1")),
    ("proxy-protocol", "proxy_protocol", Some("no")),
    ("lifespan", "asgi_lifespan", None),
    ("log-level", "loglevel", Some("info")),
    ("user", "user", None),
    ("os-group", "group", None),
    ("umask", "umask", Some("0")),
    ("chdir", "chdir", None),
    ("pid-file", "pidfile", None),
];

/// Worker classes that answer several requests over one connection.
const KEEPING: &[&str] = &["gthread", "gevent", "eventlet", "tornado", "asgi", "uvicorn"];

/// The address that Gunicorn binds where none is set; `PORT` in its environment makes it `0.0.0.0:$PORT`.
const BIND: &str = "127.0.0.1:8000";

pub(super) fn build(layer: &Layer, at: &Origin) -> Server {
    let mut server = Server { product: PRODUCT, origin: at.clone(), ..Server::default() };
    let class = class(layer, at);
    let scheme = if layer.contains_key("certfile") {
        "https"
    } else if layer.get("protocol").and_then(first) == Some("uwsgi") {
        "uwsgi"
    } else {
        "http"
    };
    server.binds = binds(layer, scheme, at);
    server.app = layer.get("wsgi_app").and_then(first).map(str::to_owned);
    server.directory = layer.get("chdir").and_then(first).map(str::to_owned);
    for (name, key, default) in SETTINGS {
        match (layer.get(*key), default) {
            (Some(given), _) => server.settings.push(setting(name, given)),
            (None, Some(default)) => server.settings.push(Setting::by_default(name, default, at)),
            (None, None) => {}
        }
    }
    server.settings.push(keep_alive(layer, &class, at));
    server.settings.push(threads(layer, &class, at));
    server.settings.push(class);
    if layer.contains_key("certfile") {
        server.settings.extend(layer.get("certfile").map(|given| Setting::new("tls", "yes", &given.origin)));
    }
    logs(layer, at, &mut server.settings);
    if let Some(given) = layer.get("raw_env") {
        for variable in given.values.iter().flatten() {
            let name = variable.split('=').next().unwrap_or_default();
            server.settings.push(Setting::new("environment", name, &redacted(&given.origin)));
        }
    }
    if scheme == "uwsgi" {
        server.settings.retain(|setting| setting.name != "keep-alive");
    }
    server
}

/// A line that sets variables may hold secrets.
fn redacted(origin: &Origin) -> Origin {
    Origin { text: std::sync::Arc::from(""), written: std::sync::Arc::from(""), ..origin.clone() }
}

fn first(given: &Given) -> Option<&str> {
    given.values.as_ref()?.first().map(String::as_str)
}

fn setting(name: &'static str, given: &Given) -> Setting {
    let value = first(given).map_or_else(
        || "unknown".to_owned(),
        |text| text.parse::<f64>().map_or_else(|_| text.to_owned(), number),
    );
    Setting::new(name, value, &given.origin).uncertain(given.uncertain)
}

fn binds(layer: &Layer, scheme: &'static str, at: &Origin) -> Vec<Bind> {
    let Some(given) = layer.get("bind") else {
        let origin = at.clone();
        return vec![Bind { address: BIND.to_owned(), scheme, default: true, uncertain: false, origin }];
    };
    let Some(values) = &given.values else { return Vec::new() };
    let addresses = values.iter().flat_map(|value| value.split(','));
    let bind = |text: &str| Bind {
        address: Address::parse(text.trim(), Some(8000))
            .map_or_else(|| text.to_owned(), |address| address.to_string()),
        scheme,
        default: false,
        uncertain: given.uncertain,
        origin: given.origin.clone(),
    };
    addresses.map(bind).collect()
}

/// The class in force: more than one thread makes `sync` to `gthread` (`Config.worker_class_str`).
fn class(layer: &Layer, at: &Origin) -> Setting {
    let many = layer
        .get("threads")
        .is_some_and(|given| first(given).and_then(|text| text.parse().ok()) > Some(1u32));
    let named = layer.get("worker_class");
    let written = match named {
        Some(given) => match first(given) {
            Some(text) => text,
            None => return setting("worker-class", given),
        },
        None => "sync",
    };
    let is_sync = written == "sync" || written.ends_with("sync.SyncWorker");
    match (is_sync && many, layer.get("threads"), named) {
        (true, Some(threads), _) => {
            Setting::new("worker-class", "gthread", &threads.origin).uncertain(threads.uncertain)
        }
        (_, _, Some(given)) => {
            Setting::new("worker-class", common(written), &given.origin).uncertain(given.uncertain)
        }
        _ => Setting::by_default("worker-class", "sync", at),
    }
}

/// The common name of a class that is written as a path.
fn common(written: &str) -> &str {
    let known = [
        ("uvicorn", "uvicorn"),
        ("gthread", "gthread"),
        ("ThreadWorker", "gthread"),
        ("gevent", "gevent"),
        ("eventlet", "eventlet"),
        ("tornado", "tornado"),
        ("asgi", "asgi"),
        ("SyncWorker", "sync"),
    ];
    known.iter().find(|(part, _)| written.contains(part)).map_or(written, |(_, class)| class)
}

/// `sync` answers one request per connection, whatever is set; a class of one's own may do either.
fn keep_alive(layer: &Layer, class: &Setting, at: &Origin) -> Setting {
    if class.value == "sync" {
        let origin = layer.get("keepalive").map_or(at, |given| &given.origin);
        return Setting::by_default("keep-alive", 0, origin).uncertain(class.uncertain);
    }
    match layer.get("keepalive") {
        Some(given) => setting("keep-alive", given),
        None => {
            let known = KEEPING.contains(&class.value.as_str());
            Setting::by_default("keep-alive", 2, at).uncertain(!known || class.uncertain)
        }
    }
}

fn threads(layer: &Layer, class: &Setting, at: &Origin) -> Setting {
    match layer.get("threads") {
        Some(given) => setting("threads", given),
        None => Setting::by_default("threads", 1, at).uncertain(class.uncertain),
    }
}

fn logs(layer: &Layer, at: &Origin, settings: &mut Vec<Setting>) {
    match layer.get("errorlog") {
        Some(given) => {
            let value = first(given).map_or("unknown", |text| if text == "-" { "stderr" } else { text });
            settings.push(Setting::new("error-log", value, &given.origin).uncertain(given.uncertain));
        }
        None => settings.push(Setting::by_default("error-log", "stderr", at)),
    }
    match layer.get("accesslog") {
        Some(given) => {
            let value = first(given).map_or("unknown", |text| if text == "-" { "stdout" } else { text });
            let setting = Setting::new("access-log", value, &given.origin).uncertain(given.uncertain);
            settings.push(match layer.get("access_log_format").and_then(first) {
                Some(format) => setting.more("format", format),
                None => setting,
            });
        }
        None => settings.push(Setting::by_default("access-log", "off", at)),
    }
}
