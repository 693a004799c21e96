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
    let targets = targets(&configuration.sites);
    let reached: Vec<Vec<Reached<'_>>> = configuration
        .servers
        .iter()
        .map(|server| reached(server, &configuration.servers, &targets))
        .collect();
    let stray = stray(&configuration.servers, &reached);
    for site in &configuration.sites {
        let via = via(site, &targets);
        out.site(site, via.as_deref());
        if let Some(stray) = &stray {
            out.unserved(site, &reached, stray);
        }
    }
    for (server, reached) in configuration.servers.iter().zip(&reached) {
        out.server(server, reached);
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

/// An address under which a server is known.
struct Reached<'a> {
    address: Address,
    bind: &'a Bind,
    /// A proxy of the set sends there.
    is_target: bool,
}

/// The addresses under which a server is sent to, and its own where nobody sends to it.
fn reached<'a>(server: &'a Server, all: &[Server], targets: &[Address]) -> Vec<Reached<'a>> {
    let mut found: Vec<Reached<'a>> = Vec::new();
    for bind in &server.binds {
        let Some(bound) = Address::parse(&bind.address, None) else { continue };
        for target in targets {
            if is_reached(server, &bound, target, all) && !found.iter().any(|known| known.address == *target)
            {
                found.push(Reached { address: target.clone(), bind, is_target: true });
            }
        }
    }
    if found.is_empty() {
        let own = |bind: &'a Bind| {
            Some(Reached { address: Address::parse(&bind.address, None)?, bind, is_target: false })
        };
        found.extend(server.binds.iter().filter_map(own));
    }
    found
}

/// An address at which a server of this host listens although no proxy of the set sends there: the only such server.
fn stray(servers: &[Server], reached: &[Vec<Reached<'_>>]) -> Option<String> {
    let mut unknown = servers.iter().zip(reached).filter(|(server, reached)| {
        server.hosts.is_empty()
            && !reached.is_empty()
            && reached.iter().all(|known| !known.is_target && !known.bind.uncertain)
    });
    match (unknown.next(), unknown.next()) {
        (Some((_, reached)), None) => reached.first().map(|known| known.address.to_string()),
        _ => None,
    }
}

/// The address under which another proxy of the set sends to this site.
fn via(site: &Site, targets: &[Address]) -> Option<String> {
    let listens: Vec<Address> =
        site.listens.iter().filter_map(|listen| Address::parse(&listen.address, None)).collect();
    // Its own targets are not it: a proxy that sends to itself is a loop, and no tier.
    let own = self::targets(std::slice::from_ref(site));
    targets
        .iter()
        .find(|target| listens.iter().any(|listen| listen.covers(target)) && !own.contains(target))
        .map(Address::to_string)
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
    fn site(&mut self, site: &Site, via: Option<&str>) {
        let name = site.names.first();
        for setting in &site.settings {
            for listen in &site.listens {
                let evidence = evidence(site.product, Role::Proxy, setting).with("bind", &listen.address);
                self.push(evidence.with_some("site", name).with_some("via", via));
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
            self.route(site, route, via);
        }
    }

    fn route(&mut self, site: &Site, route: &Route, via: Option<&str>) {
        let name = site.names.first();
        let about = |evidence: Evidence| {
            let evidence = evidence.with_some("group", route.group.as_ref()).with("uri", &route.path);
            evidence.with_some("site", name).with_some("via", via)
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

    /// Local addresses that the proxy sends to and no server of the set has, while one has another.
    fn unserved(&mut self, site: &Site, reached: &[Vec<Reached<'_>>], stray: &str) {
        for target in site.routes.iter().flat_map(|route| &route.targets) {
            let Some(address) = Address::parse(&target.written, None) else { continue };
            let is_local = match &address {
                Address::Unix(_) => true,
                Address::Ip(ip, _) => ip.is_loopback(),
                Address::Name(..) => false,
            };
            if is_local && !reached.iter().flatten().any(|known| known.address == address) {
                let setting = Setting::new("served-elsewhere", stray, &target.origin);
                self.push(evidence(site.product, Role::Proxy, &setting).with("target", &address));
            }
        }
    }

    fn server(&mut self, server: &Server, reached: &[Reached<'_>]) {
        let about = |role: Role, product: &'static str, setting: &Setting| {
            let mut evidence = evidence(product, role, setting);
            if role != Role::Server {
                evidence = evidence.with("of", server.product);
            }
            evidence.with_some("unit", server.unit.as_ref())
        };
        let mut settings: Vec<(Role, &'static str, Setting)> = Vec::new();
        if let Some(app) = &server.app {
            settings.push((Role::Server, server.product, Setting::new("app", app, &server.origin)));
        }
        settings
            .extend(server.settings.iter().map(|setting| (Role::Server, server.product, setting.clone())));
        settings.extend(server.around.iter().cloned());
        if reached.is_empty() {
            for (role, product, setting) in &settings {
                self.push(about(*role, product, setting));
            }
        }
        for known in reached {
            let at = |evidence: Evidence| {
                let evidence = evidence.with("bind", &known.address);
                if known.is_target { evidence.with("proxied", "yes") } else { evidence }
            };
            let bind = Setting::new("bind", &known.bind.address, &known.bind.origin);
            let bind = Setting { default: known.bind.default, uncertain: known.bind.uncertain, ..bind };
            let protocol = Setting::new("protocol", known.bind.scheme, &known.bind.origin);
            for setting in [&bind, &protocol] {
                self.push(at(about(Role::Server, server.product, setting)));
            }
            for (role, product, setting) in &settings {
                self.push(at(about(*role, product, setting)));
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
