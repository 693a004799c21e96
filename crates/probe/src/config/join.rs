//! From tiers to evidence: settings of proxies once per address they send to, settings of servers once per address that some proxy
//! of the set sends to, so that a rule joins the two by the address.

use std::collections::HashSet;

use model::evidence::{Evidence, Place};

use super::address::Address;
use super::{Bind, Configuration, EVIDENCE_MAX, Problem, Role, Route, Server, Setting, Site, Wide};

/// Makes the evidence of a configuration whose tiers are complete.
pub(super) fn finish(configuration: &mut Configuration) {
    let mut out = Out::default();
    for software in &configuration.software {
        let evidence = Evidence::new("software")
            .with("product", &software.product)
            .with("version", &software.version)
            .text(software.origin.text.to_string())
            .from("configuration")
            .at(Place::file(software.origin.path.to_string(), u64::from(software.origin.line)));
        out.push(evidence);
    }
    for site in &configuration.sites {
        out.site(site);
    }
    let targets = targets(&configuration.sites);
    for server in &configuration.servers {
        let addresses = addresses(server, &configuration.servers, &targets);
        out.server(server, &addresses);
    }
    for wide in &configuration.wide {
        out.wide(wide);
    }
    if out.dropped > 0 {
        let message = format!("{} settings beyond the first {EVIDENCE_MAX} were left out", out.dropped);
        configuration.problems.push(Problem::unseen("", 0, message));
    }
    configuration.evidence = out.evidence;
}

/// Every address that proxies of the set try, each once.
fn targets(sites: &[Site]) -> Vec<Address> {
    let mut seen = HashSet::new();
    let all = sites.iter().flat_map(|site| &site.routes).flat_map(|route| &route.targets);
    let tried =
        all.filter_map(|target| Address::parse(&target.written, None)).flat_map(|address| address.tried());
    tried.filter(|address| seen.insert(address.to_string())).collect()
}

/// The addresses under which a server is sent to, and its own where nobody sends to it.
fn addresses(server: &Server, all: &[Server], targets: &[Address]) -> Vec<(String, bool)> {
    let mut found: Vec<(String, bool)> = Vec::new();
    for bind in &server.binds {
        let Some(bound) = Address::parse(&bind.address, None) else { continue };
        for target in targets {
            if is_reached(server, &bound, target, all)
                && !found.iter().any(|(known, _)| *known == target.to_string())
            {
                found.push((target.to_string(), true));
            }
        }
    }
    if found.is_empty() {
        found.extend(server.binds.iter().filter_map(|bind| {
            let address = Address::parse(&bind.address, None)?;
            Some((address.to_string(), false))
        }));
    }
    found
}

fn is_reached(server: &Server, bound: &Address, target: &Address, all: &[Server]) -> bool {
    if let Address::Name(name, port) = target
        && !server.hosts.is_empty()
    {
        let is_host = server.hosts.iter().any(|host| host == name);
        return is_host && bound.port() == Some(*port) && (bound.is_open() || bound.covers(target));
    }
    // A server in a container of its own is not at the loopback address of others.
    if server.hosts.is_empty() && bound.covers(target) {
        return true;
    }
    // Under a name or another host's address it can be known as well, if it is the only one there with this port.
    let same_port = |server: &&Server| {
        server.binds.iter().any(|bind: &Bind| {
            let bound = Address::parse(&bind.address, None);
            bound.is_some_and(|bound| bound.is_open() && bound.port() == target.port())
        })
    };
    let elsewhere =
        matches!(target, Address::Name(..)) || matches!(target, Address::Ip(ip, _) if !ip.is_loopback());
    server.hosts.is_empty()
        && elsewhere
        && bound.is_open()
        && bound.port() == target.port()
        && all.iter().filter(same_port).count() == 1
}

#[derive(Default)]
struct Out {
    evidence: Vec<Evidence>,
    seen: HashSet<String>,
    dropped: usize,
}

impl Out {
    fn site(&mut self, site: &Site) {
        let name = site.names.first();
        for setting in &site.settings {
            for listen in &site.listens {
                let evidence = evidence(site.product, Role::Proxy, setting).with("bind", &listen.address);
                self.push(evidence.with_some("site", name));
            }
            if site.listens.is_empty() {
                self.push(evidence(site.product, Role::Proxy, setting).with_some("site", name));
            }
        }
        for listen in &site.listens {
            let setting = Setting::new("listen", &listen.address, &listen.origin);
            let setting = setting.more("tls", if listen.tls { "yes" } else { "no" });
            for setting in std::iter::once(&setting).chain(&listen.settings) {
                let evidence = evidence(site.product, Role::Proxy, setting).with("bind", &listen.address);
                self.push(evidence.with_some("site", name));
            }
        }
        for route in &site.routes {
            self.route(site, route);
        }
    }

    fn route(&mut self, site: &Site, route: &Route) {
        let name = site.names.first();
        let about = |evidence: Evidence| {
            evidence.with_some("group", route.group.as_ref()).with("uri", &route.path).with_some("site", name)
        };
        if route.targets.is_empty() {
            for setting in &route.settings {
                self.push(about(evidence(site.product, Role::Proxy, setting)));
            }
        }
        for target in &route.targets {
            let addresses = Address::parse(&target.written, None).map(|address| address.tried());
            let addresses: Vec<String> = match addresses {
                Some(addresses) => addresses.iter().map(Address::to_string).collect(),
                None => vec![target.written.clone()],
            };
            for address in addresses {
                let protocol = Setting::new("protocol", &route.scheme, &route.origin);
                for setting in std::iter::once(&protocol).chain(&route.settings).chain(&target.settings) {
                    let evidence = evidence(site.product, Role::Proxy, setting).with("target", &address);
                    self.push(about(evidence));
                }
            }
        }
    }

    fn server(&mut self, server: &Server, addresses: &[(String, bool)]) {
        let none = [(String::new(), false)];
        let addresses = if addresses.is_empty() { &none[..] } else { addresses };
        for (address, is_target) in addresses {
            let mut settings: Vec<(Role, &'static str, Setting)> = Vec::new();
            for bind in &server.binds {
                let setting = Setting::new("bind", &bind.address, &bind.origin);
                let setting = Setting { default: bind.default, uncertain: bind.uncertain, ..setting };
                settings.push((Role::Server, server.product, setting));
                let setting = Setting::new("protocol", bind.scheme, &bind.origin);
                settings.push((Role::Server, server.product, setting));
            }
            if let Some(app) = &server.app {
                settings.push((Role::Server, server.product, Setting::new("app", app, &server.origin)));
            }
            settings.extend(
                server.settings.iter().map(|setting| (Role::Server, server.product, setting.clone())),
            );
            settings.extend(server.around.iter().cloned());
            for (role, product, setting) in &settings {
                let mut evidence = evidence(product, *role, setting);
                if !address.is_empty() {
                    evidence = evidence.with("bind", address);
                    if *is_target {
                        evidence = evidence.with("proxied", "yes");
                    }
                }
                if *role != Role::Server {
                    evidence = evidence.with("of", server.product);
                }
                self.push(evidence.with_some("unit", server.unit.as_ref()));
            }
        }
    }

    fn wide(&mut self, wide: &Wide) {
        for setting in &wide.settings {
            let evidence = evidence(wide.product, wide.role, setting);
            self.push(evidence.with_some("of", wide.of.as_ref()).with_some("unit", wide.unit.as_ref()));
        }
    }

    fn push(&mut self, evidence: Evidence) {
        if self.evidence.len() >= EVIDENCE_MAX {
            self.dropped += 1;
            return;
        }
        if self.seen.insert(evidence.to_string()) {
            self.evidence.push(evidence);
        }
    }
}

fn evidence(product: &'static str, role: Role, setting: &Setting) -> Evidence {
    let mut evidence = Evidence::new("setting")
        .with("product", product)
        .with("role", role.name())
        .with("name", setting.name)
        .with("value", &setting.value);
    if setting.default {
        evidence = evidence.with("default", "yes");
    }
    if setting.uncertain {
        evidence = evidence.with("uncertain", "yes");
    }
    for (field, value) in &setting.more {
        evidence = evidence.with(*field, value);
    }
    if !setting.origin.written.is_empty() {
        evidence = evidence.with("written", &setting.origin.written);
    }
    if setting.origin.is_option {
        evidence = evidence.with("form", "option");
    }
    let place = Place::file(setting.origin.path.to_string(), u64::from(setting.origin.line));
    evidence.text(setting.origin.text.to_string()).from("configuration").at(place)
}
