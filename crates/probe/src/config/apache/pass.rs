//! Where mod_proxy sends: a URL with parameters, or a balancer and its members.

use super::tree::Directive;
use crate::config::address::Address;
use crate::config::quantity::apache_time;
use crate::config::{Origin, Setting, Target};

/// A worker of mod_proxy: a URL with its parameters.
#[derive(Clone, Debug)]
pub(super) struct Worker {
    pub(super) scheme: String,
    /// The name of a balancer, or an address with its port.
    pub(super) authority: String,
    pub(super) path: String,
    pub(super) parameters: Vec<(String, String, Origin)>,
    pub(super) origin: Origin,
}

impl Worker {
    pub(super) fn parameter(&self, name: &str) -> Option<(&str, &Origin)> {
        let found = self.parameters.iter().rev().find(|(known, _, _)| known == name);
        found.map(|(_, value, origin)| (value.as_str(), origin))
    }

    pub(super) fn is_balancer(&self) -> bool {
        self.scheme == "balancer"
    }
}

/// Reads `URL [name=value ...]` from the arguments at `from`; `None` for `!` and what depends on a request.
pub(super) fn worker(directive: &Directive, from: usize) -> Option<Worker> {
    let url = directive.argument(from);
    let (scheme, authority, path) = url_parts(url)?;
    let parameter = |word: &String| {
        let (name, value) = word.split_once('=')?;
        Some((name.to_ascii_lowercase(), value.to_owned(), directive.origin.clone()))
    };
    let parameters = directive.arguments.iter().skip(from + 1).filter_map(parameter).collect();
    Some(Worker { scheme, authority, path, parameters, origin: directive.origin.clone() })
}

/// `http://127.0.0.1:8000/x`, `unix:/run/app.sock|http://localhost/`, `balancer://app/`.
pub(super) fn url_parts(url: &str) -> Option<(String, String, String)> {
    if url == "!" || url.is_empty() {
        return None;
    }
    if let Some((socket, rest)) = url.strip_prefix("unix:").and_then(|rest| rest.split_once('|')) {
        let (scheme, rest) = rest.split_once(':')?;
        let rest = rest.trim_start_matches("//");
        let path = rest.find('/').and_then(|start| rest.get(start..)).unwrap_or_default();
        return Some((scheme.to_ascii_lowercase(), format!("unix:{socket}"), path.to_owned()));
    }
    let (scheme, rest) = url.split_once("://")?;
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "ws" => "http".to_owned(),
        "wss" | "h2" => "https".to_owned(),
        "fcgi" => "fastcgi".to_owned(),
        other => other.to_owned(),
    };
    let (authority, path) = match rest.find('/') {
        Some(start) => rest.split_at(start),
        None => (rest, ""),
    };
    if scheme == "balancer" {
        return Some((scheme, authority.to_ascii_lowercase(), path.to_owned()));
    }
    let port = match scheme.as_str() {
        "https" => 443,
        "uwsgi" => 3031,
        "fastcgi" => 8000,
        "scgi" => 4000,
        "ajp" => 8009,
        _ => 80,
    };
    let address =
        Address::parse(authority, Some(port)).map_or_else(|| authority.to_owned(), |found| found.to_string());
    Some((scheme, address, path.to_owned()))
}

/// The target that a worker is, with what is said of it alone.
pub(super) fn target(worker: &Worker) -> Target {
    let mut settings = Vec::new();
    let origin = &worker.origin;
    // mod_proxy takes a worker out for `retry` seconds after one failed connection.
    settings.push(match worker.parameter("retry") {
        Some((value, origin)) => {
            Setting::new("fail-timeout", apache_time(value).unwrap_or_else(|| value.to_owned()), origin)
        }
        None => Setting::by_default("fail-timeout", 60, origin),
    });
    settings.push(Setting::by_default("max-fails", 1, origin));
    settings.extend(idle(worker));
    if let Some((value, origin)) = worker.parameter("max") {
        settings.push(Setting::new("max-connections", value, origin));
    }
    if let Some((value, origin)) = worker.parameter("responsefieldsize") {
        settings.push(Setting::new("response-header-buffer", value, origin));
    }
    if let Some(Address::Name(name, _)) = Address::parse(&worker.authority, None) {
        settings.push(Setting::new("target-name", name, origin));
        settings.push(Setting::by_default("target-name-resolved", "start", origin));
    }
    if let Some((_, origin)) = worker.parameter("upgrade") {
        settings.push(Setting::new("websocket-upgrade", "yes", origin));
    }
    Target { written: worker.authority.clone(), settings, origin: origin.clone() }
}

/// How long a connection stays in the pool: for ever, unless `ttl` is set or reuse is off. FastCGI, SCGI and uwsgi do not
/// reuse unless told to.
fn idle(worker: &Worker) -> Option<Setting> {
    let on = |name: &str| worker.parameter(name).filter(|(value, _)| value.eq_ignore_ascii_case("on"));
    if let Some((_, origin)) = on("disablereuse") {
        return Some(Setting::new("idle-timeout", 0, origin));
    }
    if let Some((value, origin)) = worker.parameter("enablereuse")
        && value.eq_ignore_ascii_case("off")
    {
        return Some(Setting::new("idle-timeout", 0, origin));
    }
    let reuses = match worker.scheme.as_str() {
        "http" | "https" | "ajp" | "h2c" => true,
        _ => on("enablereuse").is_some(),
    };
    if !reuses {
        return Some(Setting::by_default("idle-timeout", 0, &worker.origin));
    }
    Some(match worker.parameter("ttl") {
        Some((value, origin)) => Setting::new("idle-timeout", apache_time(value)?, origin),
        None => Setting::by_default("idle-timeout", "none", &worker.origin),
    })
}
