//! HAProxy: sections, what they inherit from `defaults`, and the servers of backends.

mod backend;
mod section;

use std::sync::Arc;

use super::address::Address;
use super::quantity::haproxy_time;
use super::{Listen, Matching, Origin, Part, Role, Route, Setting, Site, Source, Wide};
use section::{Kind, Line, Section};

pub(super) const PRODUCT: &str = "haproxy";

/// Directives of `global` that stand for one setting.
const OF_PROCESS: &[(&str, &str)] =
    &[("max-connections", "maxconn"), ("user", "user"), ("file-limit", "ulimit-n"), ("threads", "nbthread")];

pub(super) fn read(source: &Source, part: &mut Part) {
    let path: Arc<str> = Arc::from(source.path.as_str());
    let sections = section::read(&source.text, &path, part);
    let global: Vec<&Line> = sections
        .iter()
        .filter(|section| section.kind == Kind::Global)
        .flat_map(|section| &section.lines)
        .collect();
    process(&global, part);
    for section in &sections {
        if !matches!(section.kind, Kind::Frontend | Kind::Listen) {
            continue;
        }
        let site = site(section, &sections, &global);
        part.sites.push(site);
    }
    // A backend that no frontend names is configured all the same, and may be meant.
    let used: Vec<String> =
        part.sites.iter().flat_map(|site| &site.routes).filter_map(|route| route.group.clone()).collect();
    for section in
        sections.iter().filter(|section| section.kind == Kind::Backend && !used.contains(&section.name))
    {
        let route = backend::route(section, &sections, &global, &section.origin, "/".to_owned());
        part.sites.push(Site {
            product: PRODUCT,
            routes: vec![route],
            origin: section.origin.clone(),
            ..Site::default()
        });
    }
}

fn site(section: &Section, sections: &[Section], global: &[&Line]) -> Site {
    let lines = section.inherited(sections);
    let mut site = Site { product: PRODUCT, origin: section.origin.clone(), ..Site::default() };
    if !section.name.is_empty() {
        site.names.push(section.name.clone());
    }
    for line in section.lines.iter().filter(|line| line.word(0) == "bind") {
        let mut settings = Vec::new();
        if line.has("accept-proxy") {
            settings.push(Setting::new("proxy-protocol", "yes", &line.origin));
        }
        if let Some(backlog) = line.after("backlog") {
            settings.push(Setting::new("backlog", backlog, &line.origin));
        }
        for text in line.word(1).split(',') {
            let address = address(text).unwrap_or_else(|| text.to_owned());
            let (tls, settings, origin) = (line.has("ssl"), settings.clone(), line.origin.clone());
            site.listens.push(Listen { address, tls, default: false, settings, origin });
        }
    }
    site.settings.extend(client_settings(&lines));
    if section.kind == Kind::Listen {
        site.routes.push(backend::route(section, sections, global, &section.origin, "/".to_owned()));
        return site;
    }
    for (path, name, origin) in destinations(&lines) {
        match sections
            .iter()
            .find(|other| other.name == name && matches!(other.kind, Kind::Backend | Kind::Listen))
        {
            Some(found) => site.routes.push(backend::route(found, sections, global, &origin, path)),
            None => site.routes.push(Route {
                path,
                matching: Matching::Prefix,
                scheme: "http".to_owned(),
                group: Some(name.clone()),
                settings: vec![Setting::new("target-variable", name, &origin)],
                origin,
                ..Route::default()
            }),
        }
    }
    site
}

/// Backends that a frontend names: the path where a rule is about one, the backend, the place.
fn destinations(lines: &[&Line]) -> Vec<(String, String, Origin)> {
    let mut found: Vec<(String, String, Origin)> = Vec::new();
    let acls: Vec<&&Line> = lines.iter().filter(|line| line.word(0) == "acl").collect();
    for line in lines.iter().filter(|line| line.word(0) == "use_backend") {
        let condition = line.words.get(3..).unwrap_or_default();
        let named = |word: &&String| acls.iter().find(|acl| acl.word(1) == word.as_str());
        let path = condition.iter().filter_map(|word| named(&word)).find_map(|acl| {
            acl.word(2)
                .starts_with("path")
                .then(|| acl.words.iter().skip(3).find(|word| word.starts_with('/')))
                .flatten()
        });
        let path = path.cloned().unwrap_or_else(|| "/".to_owned());
        found.push((path, line.word(1).to_owned(), line.origin.clone()));
    }
    if let Some(line) = lines.iter().rev().find(|line| line.word(0) == "default_backend") {
        found.push(("/".to_owned(), line.word(1).to_owned(), line.origin.clone()));
    }
    found
}

fn client_settings(lines: &[&Line]) -> Vec<Setting> {
    let mut settings = Vec::new();
    for (name, timeout) in [("client-timeout", "client"), ("keep-alive", "http-keep-alive")] {
        settings.extend(timeout_setting(lines, name, timeout));
    }
    if let Some(line) = last(lines, "maxconn") {
        settings.push(Setting::new("max-connections", line.word(1), &line.origin));
    }
    settings
}

/// `timeout WHAT TIME`, the last one.
fn timeout_setting(lines: &[&Line], name: &'static str, what: &str) -> Option<Setting> {
    let line = lines.iter().rev().find(|line| line.word(0) == "timeout" && line.word(1) == what)?;
    Some(Setting::new(name, haproxy_time(line.word(2))?, &line.origin))
}

fn last<'a>(lines: &[&'a Line], word: &str) -> Option<&'a Line> {
    lines.iter().rev().find(|line| line.word(0) == word).copied()
}

/// `127.0.0.1:80`, `*:80`, `:::80`, `ipv4@...`, `unix@/path`, `/path`; `None` for what is only known at run time.
fn address(text: &str) -> Option<String> {
    let text = ["ipv4@", "ipv6@", "tcp@", "tcp4@", "tcp6@"]
        .iter()
        .find_map(|prefix| text.strip_prefix(prefix))
        .unwrap_or(text);
    if let Some(path) = text.strip_prefix("unix@").or_else(|| text.starts_with('/').then_some(text)) {
        return Some(format!("unix:{path}"));
    }
    // An IPv6 address may stand without brackets: what follows the last colon is the port.
    if text.matches(':').count() > 1 && !text.starts_with('[') {
        let (host, port) = text.rsplit_once(':')?;
        return Address::parse(&format!("[{host}]:{port}"), None).map(|address| address.to_string());
    }
    Address::parse(text, None).map(|address| address.to_string())
}

fn process(global: &[&Line], part: &mut Part) {
    let mut settings = Vec::new();
    for line in global {
        if let Some((name, _)) = OF_PROCESS.iter().find(|(_, known)| *known == line.word(0)) {
            settings.push(Setting::new(name, line.word(1), &line.origin));
        }
        if line.word(0) == "log" {
            let value = if line.word(1).starts_with('/') { "syslog" } else { line.word(1) };
            settings.push(Setting::new("access-log", value, &line.origin));
        }
        if line.word(0) == "pidfile" {
            settings.push(Setting::new("pid-file", line.word(1), &line.origin));
        }
    }
    if !settings.is_empty() {
        part.wide.push(Wide { product: PRODUCT, role: Role::Proxy, unit: None, of: None, settings });
    }
}
