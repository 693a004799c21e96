//! What the workers talk to: the other ends of their open connections.

use std::collections::{BTreeMap, BTreeSet};

use model::Evidence;
use model::evidence::Place;

use super::{Peer, Scene};
use crate::host::process;
use crate::host::product::Tier;
use crate::host::sockets::{self, Address, Socket, State};

/// Ports by which a product is known where its process is on another machine.
const PORTS: &[(u16, &str)] = &[
    (5432, "postgresql"),
    (6432, "postgresql"),
    (3306, "mysql"),
    (6379, "redis"),
    (5672, "rabbitmq"),
    (5671, "rabbitmq"),
    (11211, "memcached"),
    (27017, "mongodb"),
    (9200, "elasticsearch"),
    (9092, "kafka"),
];
/// Connections that are told one by one.
const PEERS_MAX: usize = 100;
/// What is lost now and then is acknowledged after one retransmission; what never arrives is sent again and again.
const STUCK_RETRANSMITS: u64 = 3;
const STUCK_BYTES: u64 = 1_000;

pub(super) fn look(scene: &mut Scene) {
    let found = peers(scene);
    for (peer, evidence) in found {
        if !scene.peers.contains(&peer) {
            scene.peers.push(peer.clone());
        }
        scene.evidence.push(evidence);
        if peer.product != "http" && !scene.chain.iter().any(|hop| hop.address == peer.address.to_string()) {
            scene.add_hop(peer.product, None, peer.address.to_string(), String::new());
        }
    }
    configured(scene);
}

/// Dependencies that the environment of the workers names, whether connected to now or not.
fn configured(scene: &mut Scene) {
    const VARIABLES: &[&str] = &[
        "DATABASE_URL",
        "REDIS_URL",
        "CELERY_BROKER_URL",
        "BROKER_URL",
        "AMQP_URL",
        "RABBITMQ_URL",
        "CACHE_URL",
    ];
    let mut found = Vec::new();
    for pid in scene.workers.clone() {
        let Some(environment) = process::environment(pid) else { continue };
        for (name, value) in environment {
            let proxy =
                matches!(name.to_ascii_uppercase().as_str(), "HTTP_PROXY" | "HTTPS_PROXY" | "ALL_PROXY");
            if proxy {
                let setting = Evidence::new("setting")
                    .with("product", "environment")
                    .with("role", "server")
                    .with("name", "environment")
                    .with("value", &name)
                    .with("pid", pid)
                    .text(format!("{name} is set for pid {pid}"))
                    .from("processes")
                    .at(Place::Process(pid));
                found.push(setting);
            }
            if VARIABLES.contains(&name.as_str())
                && let Some((product, address)) = of_dsn(&value)
                && !scene.peers.iter().any(|peer| peer.address == address)
            {
                scene.peers.push(Peer { pid, address, product });
            }
        }
    }
    found.dedup_by_key(|evidence| evidence.get("value").map(str::to_owned));
    scene.evidence.extend(found);
}

/// Product and address of `postgres://user:password@host:5432/name`.
fn of_dsn(dsn: &str) -> Option<(&'static str, Address)> {
    use std::net::ToSocketAddrs;
    let (scheme, rest) = dsn.split_once("://")?;
    let (product, port) = match scheme.split('+').next()? {
        "postgres" | "postgresql" => ("postgresql", 5432),
        "mysql" | "mariadb" => ("mysql", 3306),
        "redis" | "rediss" => ("redis", 6379),
        "amqp" | "amqps" | "pyamqp" => ("rabbitmq", 5672),
        _ => return None,
    };
    let authority = rest.split(['/', '?']).next()?;
    let host = authority.rsplit('@').next()?;
    let with_port = if host.contains(':') { host.to_owned() } else { format!("{host}:{port}") };
    let address = with_port.to_socket_addrs().ok()?.next()?;
    Some((product, Address::Inet(address)))
}

/// The connections of the workers to others, not those of the proxy to them.
pub(crate) fn peers(scene: &Scene) -> Vec<(Peer, Evidence)> {
    let host = &scene.host;
    let mut found = Vec::new();
    let mut inodes: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    for (inode, pids) in &host.owners {
        let ours: Vec<u32> = pids.iter().copied().filter(|pid| scene.workers.contains(pid)).collect();
        if !ours.is_empty() {
            inodes.insert(*inode, ours);
        }
    }
    for (netns, sockets) in &host.sockets {
        let ports: Vec<u16> = host.listening(*netns).filter_map(|socket| socket.local.port()).collect();
        for socket in
            sockets.iter().filter(|socket| matches!(socket.state, State::Established | State::CloseWait))
        {
            let (Some(pids), Some(peer)) = (inodes.get(&socket.inode), &socket.peer) else { continue };
            // Accepted, not made: its own end is a port that is listened on.
            let (Some(local), Some(port)) = (socket.local.port(), peer.port()) else { continue };
            let accepted = ports.contains(&local) && !ports.contains(&port);
            if accepted || upstream_port(scene, local) || found.len() >= PEERS_MAX {
                continue;
            }
            let product = product_at(scene, *netns, peer)
                .or_else(|| PORTS.iter().find(|(known, _)| *known == port).map(|(_, product)| *product))
                .unwrap_or("http");
            for pid in pids {
                let told = Peer { pid: *pid, address: peer.clone(), product };
                let evidence = evidence(socket, *pid, product, peer, pids.len());
                found.push((told, evidence));
            }
        }
    }
    found
}

/// Answers of the workers that are sent again and again and never acknowledged, as they are now.
pub(crate) fn stuck(scene: &Scene) -> Vec<Evidence> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for pid in &scene.workers {
        let netns = scene.host.processes.get(pid).and_then(|process| process.netns);
        if !seen.insert(netns) {
            continue;
        }
        let sockets = sockets::of_process(*pid);
        let ports: Vec<u16> = sockets
            .iter()
            .filter(|socket| socket.state == State::Listen)
            .filter_map(|socket| socket.local.port())
            .collect();
        for socket in sockets {
            let accepted = socket.local.port().is_some_and(|port| ports.contains(&port));
            let stuck = socket.retransmits >= STUCK_RETRANSMITS && socket.send_queue >= STUCK_BYTES;
            if !(accepted && stuck) || found.len() >= PEERS_MAX {
                continue;
            }
            found.push(
                Evidence::new("peer")
                    .with("pid", pid)
                    .with("addr", &socket.local)
                    .with("product", "proxy")
                    .with("retransmits", socket.retransmits)
                    .with("unacked", socket.send_queue)
                    .text(format!(
                        "{} bytes of an answer of {} were sent {} times, and nobody acknowledged them",
                        socket.send_queue,
                        socket.local,
                        socket.retransmits + 1
                    ))
                    .from("socket table")
                    .at(Place::Socket(socket.local.to_string())),
            );
        }
    }
    found
}

fn upstream_port(scene: &Scene, port: u16) -> bool {
    scene
        .upstreams
        .iter()
        .flat_map(|upstream| &upstream.addresses)
        .any(|address| address.port() == Some(port))
}

fn product_at(scene: &Scene, netns: u64, address: &Address) -> Option<&'static str> {
    let listener = scene.host.listeners(netns, address).into_iter().next()?;
    let owner = scene.host.owners_of(listener).into_iter().next()?;
    let product = scene.host.master_of(owner).product?;
    (product.tier() == Tier::Dependency).then(|| product.name())
}

fn evidence(socket: &Socket, pid: u32, product: &'static str, peer: &Address, shared: usize) -> Evidence {
    let state = if socket.state == State::CloseWait { "close-wait" } else { "established" };
    Evidence::new("peer")
        .with("pid", pid)
        .with("addr", peer)
        .with("product", product)
        .with("state", state)
        .with("retransmits", socket.retransmits)
        .with("unacked", socket.send_queue)
        .with("shared-by", shared)
        .text(format!("pid {pid} is connected to {product} at {peer}, {state}"))
        .from("socket table")
        .at(Place::Socket(format!("{}-{peer}", socket.local)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_dsns_without_their_secrets() {
        let (product, address) = of_dsn("postgresql+psycopg2://u:p@127.0.0.1:5433/app?x=1").expect("a dsn");
        assert_eq!((product, address.to_string().as_str()), ("postgresql", "127.0.0.1:5433"));
        assert_eq!(
            of_dsn("redis://127.0.0.1/0").map(|(_, address)| address.to_string()).as_deref(),
            Some("127.0.0.1:6379")
        );
        assert_eq!(of_dsn("sqlite:///x"), None);
    }
}
