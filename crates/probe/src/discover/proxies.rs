//! What stands in front: the process that listens where the URL points, or every proxy; and which site and route of its
//! configuration takes the URL.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use model::Evidence;
use model::evidence::Place;

use super::{Scene, Upstream, Url};
use crate::config::{Configuration, Matching, Route, Site};
use crate::host::product::{Product, Tier};
use crate::host::sockets::Address;

/// A proxy, or a server that is reached without one.
#[derive(Clone, Debug)]
pub(super) struct Front {
    pub(super) pid: u32,
    pub(super) product: Product,
    /// The address the URL reaches it at, or one of those it listens on.
    pub(super) address: String,
}

/// The processes that the URL reaches, or all proxies.
pub(super) fn in_front(scene: &mut Scene) -> Vec<Front> {
    let Some(url) = scene.url.clone() else { return all(scene) };
    let mut fronts = Vec::new();
    let mut reached = Vec::new();
    for ip in addresses(&url) {
        let address = Address::Inet(SocketAddr::new(ip, url.port));
        let listeners = scene.host.listeners(scene.host.own_netns, &address);
        for listener in &listeners {
            reached.push(listener.local.to_string());
            for owner in scene.host.owners_of(listener) {
                let master = scene.host.master_of(owner);
                let Some(product) = master.product else { continue };
                if !fronts.iter().any(|front: &Front| front.pid == master.pid) {
                    fronts.push(Front { pid: master.pid, product, address: listener.local.to_string() });
                }
            }
        }
    }
    if reached.is_empty() {
        let evidence = Evidence::new("target")
            .with("addr", url.authority())
            .with("listening", "no")
            .text(format!("nothing on this machine listens at {}", url.authority()))
            .from("socket table")
            .at(Place::file("/proc/net/tcp", 0));
        scene.evidence.push(evidence);
    } else if fronts.is_empty() {
        // Whose they are may not be seen: the products that run are the likeliest.
        fronts = all(scene);
    }
    fronts
}

fn all(scene: &Scene) -> Vec<Front> {
    let proxies: Vec<Product> =
        [Product::Nginx, Product::Apache, Product::Haproxy, Product::Caddy, Product::Envoy, Product::Traefik]
            .into();
    let mut fronts = Vec::new();
    for product in proxies {
        for master in scene.host.masters(product) {
            if master.netns.is_some_and(|netns| netns != scene.host.own_netns) {
                continue;
            }
            fronts.push(Front { pid: master.pid, product, address: first_listener(scene, master.pid) });
        }
    }
    fronts
}

/// An address that a process, or a worker of it, listens on.
pub(super) fn first_listener(scene: &Scene, pid: u32) -> String {
    let Some(master) = scene.host.processes.get(&pid) else { return String::new() };
    let netns = master.netns.unwrap_or(scene.host.own_netns);
    let of_it = |owner: &u32| {
        *owner == pid
            || scene.host.processes.get(owner).is_some_and(|process| scene.host.master_of(process).pid == pid)
    };
    let mut found: Vec<String> = scene
        .host
        .listening(netns)
        .filter(|socket| scene.host.owners.get(&socket.inode).is_some_and(|owners| owners.iter().any(of_it)))
        .map(|socket| socket.local.to_string())
        .collect();
    found.sort();
    found.into_iter().next().unwrap_or_default()
}

/// The addresses that the URL's host stands for on this machine.
fn addresses(url: &Url) -> Vec<IpAddr> {
    let resolved = (url.host.as_str(), url.port).to_socket_addrs();
    let mut ips: Vec<IpAddr> =
        resolved.map(|all| all.map(|address| address.ip()).collect()).unwrap_or_default();
    if ips.is_empty() {
        // The name of a site often resolves elsewhere, or nowhere, on the machine that serves it.
        ips.push(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));
    }
    ips.dedup();
    ips
}

/// Puts the proxies into the chain, and the upstreams of the sites and routes that count.
pub(super) fn choose(scene: &mut Scene, fronts: &[Front], configuration: &Configuration) {
    for front in fronts {
        let tier = front.product.tier();
        if tier == Tier::Proxy {
            scene.proxy_pid.get_or_insert(front.pid);
            scene.proxy_netns =
                scene.proxy_netns.or(scene.host.processes.get(&front.pid).and_then(|process| process.netns));
        }
        scene.add_hop(front.product.name(), None, front.address.clone(), String::new());
        if tier == Tier::Server {
            let upstream = direct(scene, front);
            scene.upstreams.extend(upstream);
        }
    }
    let url = scene.url.clone();
    for site in &configuration.sites {
        if url.as_ref().is_some_and(|url| !takes(site, url, &configuration.sites)) {
            continue;
        }
        let routes: Vec<&Route> = match &url {
            Some(url) => route_of(site, &url.path).into_iter().collect(),
            None => site.routes.iter().collect(),
        };
        for route in routes {
            add_upstreams(scene, site, route, url.as_ref());
        }
    }
}

/// A server that clients reach without a proxy.
fn direct(scene: &Scene, front: &Front) -> Option<Upstream> {
    let url = scene.url.as_ref()?;
    let address = Address::parse(&front.address)?;
    Some(Upstream {
        written: front.address.clone(),
        addresses: vec![concrete(&address)],
        scheme: if url.tls { "https" } else { "http" }.to_owned(),
        uri: url.path.clone(),
        host: url.authority(),
        product: Some(front.product),
    })
}

/// An address one can connect to, for a socket that is bound to all of them.
pub(super) fn concrete(address: &Address) -> Address {
    match address {
        Address::Inet(inet) if inet.ip().is_unspecified() => {
            let ip = if inet.is_ipv4() {
                IpAddr::from([127, 0, 0, 1])
            } else {
                IpAddr::V6(std::net::Ipv6Addr::LOCALHOST)
            };
            Address::Inet(SocketAddr::new(ip, inet.port()))
        }
        address => address.clone(),
    }
}

/// Whether a site takes requests of the URL: it listens at the port, and has the name, or no other has it and it is the
/// default of the port.
fn takes(site: &Site, url: &Url, all: &[Site]) -> bool {
    let at_port = |site: &Site| {
        site.listens.is_empty()
            || site
                .listens
                .iter()
                .any(|listen| Address::parse(&listen.address).and_then(|a| a.port()) == Some(url.port))
    };
    if !at_port(site) {
        return false;
    }
    let named = |site: &Site| site.names.iter().any(|name| matches_name(name, &url.host));
    if named(site) {
        return true;
    }
    if all.iter().any(|other| at_port(other) && named(other)) {
        return false;
    }
    let is_default = |site: &Site| {
        site.listens.iter().any(|listen| {
            listen.default && Address::parse(&listen.address).and_then(|a| a.port()) == Some(url.port)
        })
    };
    let default = all
        .iter()
        .filter(|other| at_port(other))
        .find(|other| is_default(other))
        .or_else(|| all.iter().find(|other| at_port(other)));
    default.is_some_and(|default| std::ptr::eq(default, site))
}

fn matches_name(name: &str, host: &str) -> bool {
    if let Some(end) = name.strip_prefix('*') {
        return host.ends_with(end);
    }
    if let Some(end) = name.strip_prefix('.') {
        return host == end || host.ends_with(name);
    }
    name.eq_ignore_ascii_case(host)
}

/// The route that takes a path: an exact one, else the longest prefix; a pattern only where nothing else matches, because it
/// cannot be judged here.
fn route_of<'a>(site: &'a Site, path: &str) -> Option<&'a Route> {
    let exact = site.routes.iter().find(|route| route.matching == Matching::Exact && route.path == path);
    let prefix = || {
        site.routes
            .iter()
            .filter(|route| route.matching == Matching::Prefix && path.starts_with(route.path.as_str()))
            .max_by_key(|route| route.path.len())
    };
    exact.or_else(prefix).or_else(|| site.routes.iter().find(|route| route.matching == Matching::Pattern))
}

fn add_upstreams(scene: &mut Scene, site: &Site, route: &Route, url: Option<&Url>) {
    let host_sent = route
        .settings
        .iter()
        .find(|setting| setting.name == "host-header")
        .map(|setting| setting.value.as_str());
    let target_uri = route
        .settings
        .iter()
        .find(|setting| setting.name == "target-uri" && !setting.default)
        .map(|setting| setting.value.clone());
    for target in &route.targets {
        let host = match (host_sent, url) {
            (Some("client"), Some(url)) => url.authority(),
            (Some("client"), None) => site.names.first().cloned().unwrap_or_else(|| target.written.clone()),
            (Some("upstream") | None, _) => route.group.clone().unwrap_or_else(|| target.written.clone()),
            (Some(written), _) => written.to_owned(),
        };
        let path = url.map_or_else(|| route.path.clone(), |url| url.path.clone());
        let path = if path.starts_with('/') { path } else { "/".to_owned() };
        // The prefix that matched is replaced.
        let uri = match &target_uri {
            Some(replaced) => path
                .strip_prefix(route.path.as_str())
                .map_or(path.clone(), |rest| format!("{replaced}{rest}")),
            None => path,
        };
        let upstream = Upstream {
            written: target.written.clone(),
            addresses: resolve(&target.written),
            scheme: route.scheme.clone(),
            uri,
            host,
            product: None,
        };
        if !scene.upstreams.iter().any(|known| known.written == upstream.written) {
            scene.upstreams.push(upstream);
        }
    }
}

/// The addresses of a target as it is written.
fn resolve(written: &str) -> Vec<Address> {
    if let Some(address) = Address::parse(written) {
        return vec![address];
    }
    let mut found: Vec<Address> =
        written.to_socket_addrs().map(|all| all.map(Address::Inet).collect()).unwrap_or_default();
    found.dedup();
    found
}
