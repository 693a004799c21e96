//! `upstream` blocks of nginx.

use super::tree::Directive;
use crate::config::quantity::nginx_time;
use crate::config::{Origin, Setting};

/// A server of an upstream block.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) written: String,
    pub(super) backup: bool,
    pub(super) resolve: bool,
    pub(super) settings: Vec<Setting>,
    pub(super) origin: Origin,
}

/// An upstream block.
#[derive(Clone, Debug)]
pub(super) struct Upstream {
    pub(super) name: String,
    pub(super) peers: Vec<Peer>,
    pub(super) balance: Setting,
    /// How many connections each worker keeps, where it is set.
    pub(super) keepalive: Option<Setting>,
    pub(super) keepalive_timeout: Option<Setting>,
    pub(super) origin: Origin,
}

pub(super) fn read(directive: &Directive) -> Upstream {
    let block = directive.children();
    let find = |name: &str| block.iter().find(|inner| inner.name == name);
    let methods = ["least_conn", "ip_hash", "hash", "random", "least_time"];
    let balance = match block.iter().find(|inner| methods.contains(&inner.name.as_str())) {
        Some(inner) => Setting::new("balance", inner.name.replace('_', "-"), &inner.origin),
        None => Setting::by_default("balance", "round-robin", &directive.origin),
    };
    let keepalive = find("keepalive").map(|inner| Setting::new("pool-size", inner.first(), &inner.origin));
    let keepalive_timeout = find("keepalive_timeout")
        .and_then(|inner| Some(Setting::new("idle-timeout", nginx_time(inner.first())?, &inner.origin)));
    Upstream {
        name: directive.first().to_owned(),
        peers: block.iter().filter(|inner| inner.name == "server").filter_map(peer).collect(),
        balance,
        keepalive,
        keepalive_timeout,
        origin: directive.origin.clone(),
    }
}

/// `None` for a server that is marked as down.
fn peer(directive: &Directive) -> Option<Peer> {
    let origin = &directive.origin;
    let parameters = || directive.arguments.iter().skip(1).map(String::as_str);
    let value =
        |name: &str| parameters().find_map(|parameter| parameter.strip_prefix(name)?.strip_prefix('='));
    let has = |name: &str| parameters().any(|parameter| parameter == name);
    if has("down") {
        return None;
    }
    let mut settings = Vec::new();
    settings.push(match value("max_fails") {
        Some(value) => Setting::new("max-fails", value, origin),
        None => Setting::by_default("max-fails", 1, origin),
    });
    settings.push(match value("fail_timeout").and_then(nginx_time) {
        Some(value) => Setting::new("fail-timeout", value, origin),
        None => Setting::by_default("fail-timeout", 10, origin),
    });
    if let Some(value) = value("max_conns") {
        settings.push(Setting::new("max-connections", value, origin));
    }
    Some(Peer {
        written: directive.first().to_owned(),
        backup: has("backup"),
        resolve: has("resolve"),
        settings,
        origin: origin.clone(),
    })
}
