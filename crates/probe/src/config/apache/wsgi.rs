//! mod_wsgi: applications that Apache runs itself, in daemon processes or its own.

use super::site::Scope;
use super::tree::Directive;
use crate::config::{Matching, Part, Route, Server, Setting, Site};

const PRODUCT: &str = "mod_wsgi";

/// Ours, the option of `WSGIDaemonProcess`, and what it is where it is not written; from mod_wsgi's documentation.
const OPTIONS: &[(&str, &str, Option<&str>)] = &[
    ("workers", "processes", Some("1")),
    ("threads", "threads", Some("15")),
    ("request-timeout", "request-timeout", Some("0")),
    ("queue-timeout", "queue-timeout", Some("0")),
    ("read-timeout", "socket-timeout", None),
    ("connect-timeout", "connect-timeout", Some("15")),
    ("graceful-timeout", "graceful-timeout", Some("0")),
    ("stop-timeout", "shutdown-timeout", Some("5")),
    ("worker-timeout", "deadlock-timeout", Some("300")),
    ("startup-timeout", "startup-timeout", Some("0")),
    ("max-requests", "maximum-requests", Some("0")),
    ("response-header-buffer", "header-buffer-size", Some("32768")),
    ("backlog", "listen-backlog", Some("100")),
    ("user", "user", None),
    ("chdir", "home", None),
];

/// The daemon processes that are defined here.
pub(super) fn daemons(directives: &[Directive], main: &Scope<'_>, part: &mut Part) {
    for directive in directives.iter().filter(|directive| directive.name == "wsgidaemonprocess") {
        let origin = &directive.origin;
        let value = |wanted: &str| {
            let words = directive.arguments.iter().skip(1);
            words
                .filter_map(|word| word.split_once('='))
                .find(|(name, _)| *name == wanted)
                .map(|(_, value)| value)
        };
        let mut server = Server {
            product: PRODUCT,
            unit: Some(directive.argument(0).to_owned()),
            directory: value("home").map(str::to_owned),
            origin: origin.clone(),
            ..Server::default()
        };
        for (name, option, default) in OPTIONS {
            match (value(option), default) {
                (Some(value), _) => server.settings.push(Setting::new(name, value, origin)),
                (None, Some(default)) => server.settings.push(Setting::by_default(name, default, origin)),
                (None, None) => {}
            }
        }
        if value("socket-timeout").is_none() {
            // It is `Timeout` then.
            let setting = match main.get("timeout") {
                Some(found) => Setting::new("read-timeout", found.argument(0), &found.origin),
                None => Setting::by_default("read-timeout", 60, origin),
            };
            server.settings.push(setting);
        }
        part.servers.push(server);
    }
}

/// `WSGIScriptAlias /path /srv/app/wsgi.py [process-group=NAME]`
pub(super) fn alias(directive: &Directive, scope: &Scope<'_>, site: &mut Site) {
    let own = directive.arguments.iter().find_map(|word| word.strip_prefix("process-group="));
    let group = own.or_else(|| scope.get("wsgiprocessgroup").map(|found| found.argument(0)));
    let matching = if directive.name.ends_with("match") { Matching::Pattern } else { Matching::Prefix };
    site.routes.push(Route {
        path: directive.argument(0).to_owned(),
        matching,
        scheme: "wsgi".to_owned(),
        group: group.map(str::to_owned),
        targets: Vec::new(),
        settings: vec![Setting::new("app", directive.argument(1), &directive.origin)],
        origin: directive.origin.clone(),
    });
}
