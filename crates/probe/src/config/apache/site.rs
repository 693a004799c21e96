//! Virtual hosts of Apache to sites: what they pass on, under which limits.

use std::collections::BTreeMap;

use super::pass::{self, Worker};
use super::tree::Directive;
use super::{PRODUCT, wsgi};
use crate::config::address::Address;
use crate::config::quantity::{apache_time, bytes};
use crate::config::{Listen, Matching, Origin, Part, Role, Route, Setting, Site, Target, Wide};

/// Directives in force, by name: those of a section over those around it.
pub(super) type Scope<'a> = BTreeMap<&'a str, &'a Directive>;

/// Ours, Apache's, for the process as a whole.
const OF_PROCESS: &[(&str, &str)] = &[
    ("user", "user"),
    ("max-connections", "maxrequestworkers"),
    ("max-connections", "maxclients"),
    ("backlog", "listenbacklog"),
    ("pid-file", "pidfile"),
];

pub(super) fn read(directives: &[Directive], part: &mut Part) {
    let main = within(&Scope::new(), directives);
    process(directives, part);
    let balancers = balancers(directives);
    wsgi::daemons(directives, &main, part);
    let listens: Vec<&Directive> = directives.iter().filter(|directive| directive.name == "listen").collect();
    let hosts: Vec<&Directive> =
        directives.iter().filter(|directive| directive.name == "virtualhost").collect();
    for host in &hosts {
        let site = host_site(host, &main, &balancers);
        wsgi::daemons(host.children(), &main, part);
        part.sites.push(site);
    }
    let mut whole = Site { product: PRODUCT, ..Site::default() };
    contents(directives, &main, &balancers, &mut whole);
    if let Some(first) = directives.first() {
        whole.origin = first.origin.clone();
    }
    if hosts.is_empty() {
        whole.listens = listens.iter().map(|directive| listen(directive.argument(0), directive)).collect();
    }
    if !whole.routes.is_empty() {
        part.sites.push(whole);
    }
}

pub(super) fn within<'a>(around: &Scope<'a>, directives: &'a [Directive]) -> Scope<'a> {
    let mut scope = around.clone();
    for directive in directives.iter().filter(|directive| directive.section.is_none()) {
        scope.insert(directive.name.as_str(), directive);
    }
    scope
}

fn listen(text: &str, directive: &Directive) -> Listen {
    let address = match text.parse::<u16>() {
        Ok(port) => format!("0.0.0.0:{port}"),
        // `_default_` and `*` are any address; a host without a port is one with port 80.
        Err(_) => Address::parse(&text.replace("_default_", "*"), Some(80))
            .map_or_else(|| text.to_owned(), |address| address.to_string()),
    };
    let origin = directive.origin.clone();
    let tls = directive.argument(1).eq_ignore_ascii_case("https");
    Listen { address, tls, default: false, settings: Vec::new(), origin }
}

fn host_site(host: &Directive, main: &Scope<'_>, balancers: &[Balancer]) -> Site {
    let scope = within(main, host.children());
    let mut site = Site { product: PRODUCT, origin: host.origin.clone(), ..Site::default() };
    let tls =
        scope.get("sslengine").is_some_and(|directive| directive.argument(0).eq_ignore_ascii_case("on"));
    site.listens = host.arguments.iter().map(|text| Listen { tls, ..listen(text, host) }).collect();
    for directive in host.children() {
        if matches!(directive.name.as_str(), "servername" | "serveralias") {
            let names = directive.arguments.iter().map(|name| {
                let name = name.split_once("://").map_or(name.as_str(), |(_, name)| name);
                name.split(':').next().unwrap_or_default().to_owned()
            });
            site.names.extend(names);
        }
    }
    let mut all: Vec<Balancer> = self::balancers(host.children());
    all.extend(balancers.iter().cloned());
    contents(host.children(), &scope, &all, &mut site);
    site.settings.extend(client(&scope, &host.origin));
    logs(host.children(), &mut site.settings);
    site
}

fn client(scope: &Scope<'_>, at: &Origin) -> Vec<Setting> {
    let off = scope.get("keepalive").filter(|directive| directive.argument(0).eq_ignore_ascii_case("off"));
    let keep = match (off, scope.get("keepalivetimeout")) {
        (Some(directive), _) => Some(Setting::new("keep-alive", 0, &directive.origin)),
        (None, Some(directive)) => {
            apache_time(directive.argument(0)).map(|time| Setting::new("keep-alive", time, &directive.origin))
        }
        (None, None) => Some(Setting::by_default("keep-alive", 5, at)),
    };
    keep.into_iter().collect()
}

/// Routes of a host, or of the configuration outside of hosts.
fn contents(directives: &[Directive], scope: &Scope<'_>, balancers: &[Balancer], site: &mut Site) {
    for directive in directives {
        match directive.name.as_str() {
            "proxypass" => {
                if let Some(worker) = pass::worker(directive, 1) {
                    let route = route(directive.argument(0), Matching::Prefix, &worker, scope, balancers);
                    site.routes.push(route);
                }
            }
            "proxypassmatch" => {
                if let Some(worker) = pass::worker(directive, 1) {
                    let route = route(directive.argument(0), Matching::Pattern, &worker, scope, balancers);
                    site.routes.push(route);
                }
            }
            "rewriterule" => rewrite(directive, scope, balancers, site),
            "location" | "locationmatch" => location(directive, scope, balancers, site),
            "wsgiscriptalias" | "wsgiscriptaliasmatch" => wsgi::alias(directive, scope, site),
            _ => {}
        }
    }
}

fn location(section: &Directive, around: &Scope<'_>, balancers: &[Balancer], site: &mut Site) {
    let scope = within(around, section.children());
    let (path, matching) = match section.argument(0) {
        "~" => (section.argument(1), Matching::Pattern),
        path if section.name == "locationmatch" => (path, Matching::Pattern),
        path => (path, Matching::Prefix),
    };
    for directive in section.children() {
        let from = match directive.name.as_str() {
            // In a section the path is the section's.
            "proxypass" | "proxypassmatch" => 0,
            "sethandler" => {
                let url = directive.argument(0).strip_prefix("proxy:");
                let parts = url.and_then(pass::url_parts);
                if let Some((scheme, authority, rest)) = parts {
                    let origin = directive.origin.clone();
                    let worker = Worker { scheme, authority, path: rest, parameters: Vec::new(), origin };
                    site.routes.push(route(path, matching, &worker, &scope, balancers));
                }
                continue;
            }
            _ => continue,
        };
        if let Some(worker) = pass::worker(directive, from) {
            site.routes.push(route(path, matching, &worker, &scope, balancers));
        }
    }
}

/// `RewriteRule ^/(.*) http://127.0.0.1:8000/$1 [P]`
fn rewrite(directive: &Directive, scope: &Scope<'_>, balancers: &[Balancer], site: &mut Site) {
    let flags = directive.argument(2).trim_matches(['[', ']']);
    if !flags.split(',').any(|flag| matches!(flag.trim(), "P" | "proxy")) {
        return;
    }
    let url = directive.argument(1);
    if let Some((scheme, authority, path)) = pass::url_parts(url)
        && !authority.contains(['$', '%'])
    {
        let origin = directive.origin.clone();
        let worker = Worker { scheme, authority, path, parameters: Vec::new(), origin };
        // Such a worker is made for the request and keeps no connection.
        let mut route = route(directive.argument(0), Matching::Pattern, &worker, scope, balancers);
        for target in &mut route.targets {
            target.settings.retain(|setting| setting.name != "idle-timeout");
            target.settings.push(Setting::by_default("idle-timeout", 0, &directive.origin));
        }
        site.routes.push(route);
    }
}

fn route(
    path: &str,
    matching: Matching,
    worker: &Worker,
    scope: &Scope<'_>,
    balancers: &[Balancer],
) -> Route {
    let origin = &worker.origin;
    let mut route = Route { path: path.to_owned(), matching, origin: origin.clone(), ..Route::default() };
    let balancer =
        balancers.iter().find(|balancer| worker.is_balancer() && balancer.name == worker.authority);
    let members: Vec<Worker> = if worker.is_balancer() {
        route.group = Some(worker.authority.clone());
        balancer.map(|balancer| balancer.members.clone()).unwrap_or_default()
    } else {
        vec![worker.clone()]
    };
    route.scheme = members.first().map_or("http", |member| member.scheme.as_str()).to_owned();
    let spare = |member: &Worker| {
        member.parameter("status").is_some_and(|(status, _)| status.contains(['H', 'h', 'R', 'r', 'D', 'd']))
    };
    let backups = members.iter().filter(|member| spare(member)).count();
    route.settings.push(Setting::new("peers", members.len() - backups, origin));
    if backups > 0 {
        route.settings.push(Setting::new("backups", backups, origin));
    }
    if let Some(balancer) = balancer {
        route.settings.extend(balancer.settings.iter().cloned());
    }
    route.targets = members.iter().map(|member| limited(member, worker, balancer, scope)).collect();
    if !worker.path.is_empty() && worker.path != "/" {
        route.settings.push(Setting::new("target-uri", &worker.path, origin));
    }
    route.settings.extend(request(scope, &route.scheme, origin));
    route
}

/// A target with its limits: its own, else those of `ProxyTimeout`, else `Timeout`.
fn limited(member: &Worker, worker: &Worker, balancer: Option<&Balancer>, scope: &Scope<'_>) -> Target {
    let mut target = pass::target(member);
    let of_balancer = balancer.and_then(|balancer| balancer.timeout.as_ref());
    let own = member.parameter("timeout").or_else(|| worker.parameter("timeout"));
    let own = own.and_then(|(text, origin)| Some(Setting::new("read-timeout", apache_time(text)?, origin)));
    let around = ["proxytimeout", "timeout"].iter().find_map(|name| {
        let directive = scope.get(name)?;
        Some(Setting::new("read-timeout", apache_time(directive.argument(0))?, &directive.origin))
    });
    let read = own
        .or_else(|| of_balancer.cloned())
        .or(around)
        .unwrap_or_else(|| Setting::by_default("read-timeout", 60, &member.origin));
    let connect = member.parameter("connectiontimeout").or_else(|| worker.parameter("connectiontimeout"));
    let connect =
        connect.and_then(|(text, origin)| Some(Setting::new("connect-timeout", apache_time(text)?, origin)));
    // Without one of its own, the limit of a connection is that of everything else.
    let connect =
        connect.unwrap_or_else(|| Setting { name: "connect-timeout", default: true, ..read.clone() });
    target.settings.push(connect);
    target.settings.push(read);
    target
}

fn request(scope: &Scope<'_>, scheme: &str, at: &Origin) -> Vec<Setting> {
    let on =
        |name: &str| scope.get(name).filter(|directive| directive.argument(0).eq_ignore_ascii_case("on"));
    let mut settings = Vec::new();
    settings.push(match on("proxypreservehost") {
        Some(directive) => Setting::new("host-header", "client", &directive.origin),
        None => Setting::by_default("host-header", "upstream", at),
    });
    let sizes: [(&'static str, &str, u32); 3] = [
        ("response-header-buffer", "responsefieldsize", 8192),
        ("request-header-limit", "limitrequestfieldsize", 8190),
        ("request-line-limit", "limitrequestline", 8190),
    ];
    for (name, directive, default) in sizes {
        settings.push(match scope.get(directive) {
            Some(found) => {
                let value = bytes(found.argument(0)).unwrap_or_else(|| found.argument(0).to_owned());
                Setting::new(name, value, &found.origin)
            }
            None => Setting::by_default(name, default, at),
        });
    }
    if let Some(found) = scope.get("limitrequestbody") {
        settings.push(Setting::new("request-body-max", found.argument(0), &found.origin));
    }
    if scheme == "https" {
        settings.push(Setting::new("upstream-tls", "yes", at));
        let verify = scope.get("sslproxyverify");
        settings.push(match verify {
            Some(found) if found.argument(0) == "none" => Setting::new("verify", "no", &found.origin),
            Some(found) => Setting::new("verify", "yes", &found.origin),
            None => Setting::by_default("verify", "no", at),
        });
        settings.push(match on("sslproxyengine") {
            Some(found) => Setting::new("sni", "yes", &found.origin),
            None => Setting::by_default("sni", "no", at),
        });
    }
    settings
}

/// A balancer with its members.
#[derive(Clone, Debug)]
pub(super) struct Balancer {
    name: String,
    members: Vec<Worker>,
    settings: Vec<Setting>,
    timeout: Option<Setting>,
}

fn balancers(directives: &[Directive]) -> Vec<Balancer> {
    let sections = directives.iter().filter(|directive| directive.name == "proxy");
    sections
        .filter_map(|section| {
            let name =
                section.argument(0).strip_prefix("balancer://")?.trim_end_matches('/').to_ascii_lowercase();
            let inner = || section.children().iter();
            let members = inner().filter(|directive| directive.name == "balancermember");
            let set = inner().filter(|directive| directive.name == "proxyset");
            let set: Vec<(&str, &str, &Origin)> = set
                .flat_map(|directive| directive.arguments.iter().map(move |word| (word, &directive.origin)))
                .filter_map(|(word, origin)| word.split_once('=').map(|(name, value)| (name, value, origin)))
                .collect();
            let value =
                |wanted: &str| set.iter().rev().find(|(name, _, _)| name.eq_ignore_ascii_case(wanted));
            let mut settings = Vec::new();
            if let Some((_, value, origin)) = value("lbmethod") {
                settings.push(Setting::new("balance", value, origin));
            }
            let timeout = value("timeout")
                .and_then(|(_, text, origin)| Some(Setting::new("read-timeout", apache_time(text)?, origin)));
            Some(Balancer {
                name,
                members: members.filter_map(|member| pass::worker(member, 0)).collect(),
                settings,
                timeout,
            })
        })
        .collect()
}

fn logs(directives: &[Directive], settings: &mut Vec<Setting>) {
    for directive in directives {
        let path = directive.argument(0);
        let path = if path.starts_with('|') { "pipe" } else { path };
        match directive.name.as_str() {
            "errorlog" => settings.push(Setting::new("error-log", path, &directive.origin)),
            "customlog" | "transferlog" => {
                let setting = Setting::new("access-log", path, &directive.origin);
                let format = directive.argument(1);
                settings.push(match format.contains('%') {
                    true => setting.more("format", format),
                    false => setting.more("format-name", format),
                });
            }
            "logformat" if !directive.argument(1).is_empty() => {
                let setting = Setting::new("log-format", path, &directive.origin);
                settings.push(setting.more("format-name", directive.argument(1)));
            }
            _ => {}
        }
    }
}

fn process(directives: &[Directive], part: &mut Part) {
    let mut settings = Vec::new();
    for directive in directives.iter().filter(|directive| directive.section.is_none()) {
        if let Some((name, _)) = OF_PROCESS.iter().find(|(_, known)| *known == directive.name) {
            settings.push(Setting::new(name, directive.argument(0), &directive.origin));
        }
    }
    logs(directives, &mut settings);
    if !settings.is_empty() {
        part.wide.push(Wide { product: PRODUCT, role: Role::Proxy, unit: None, of: None, settings });
    }
}
