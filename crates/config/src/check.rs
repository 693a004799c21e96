//! From the file shape to the gateway: sources are joined, names resolved, and what single values cannot show is
//! checked. Everything is built even when a part is bad, so that every problem is found; the caller throws the result
//! away if there was an error.

mod ai;
mod balance;
mod consumer;
mod files;
mod health;
mod incidents;
mod limit;
mod listener;
mod names;
mod overlap;
mod route;
mod service;
mod timeouts;
mod upstream;

use std::path::PathBuf;

use model::Gateway;
use model::gateway::{Log, Network, Records, Spool};

use crate::ctx::Ctx;
use crate::decode::{At, Decode, List, default};
use crate::scalar::{Name, NetworkText};
use crate::shape::Root;
use crate::tree::{self, Key, Node, Place, Scalar, Value};
use crate::{Overrides, ProcessSettings, Source};

/// What messages call the outermost object.
const TOP: &str = "top level";

pub(crate) struct Built {
    pub(crate) gateway: Gateway,
    pub(crate) process: ProcessSettings,
}

pub(crate) fn build(sources: &[Source], overrides: &Overrides, ctx: &mut Ctx) -> Built {
    let mut roots: Vec<Root> = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        let (node, problems) = tree::parse(&source.text, index);
        for problem in problems {
            ctx.push(crate::Severity::Error, problem.place, problem.message, problem.hint);
        }
        let root = node.filter(|node| !matches!(node.value, Value::Null));
        roots.extend(root.and_then(|node| Root::decode(&node, TOP, ctx)));
    }
    let has_files = !roots.is_empty();
    apply(overrides, &mut roots, ctx);
    // Comes last, so that it decides only where nothing else does.
    let nothing = Node { place: Place::whole(usize::MAX), value: Value::Map(Vec::new()) };
    roots.extend(Root::decode(&nothing, TOP, ctx));
    assemble(&roots, overrides, has_files, ctx)
}

/// Options speak through the same shape as files, so that the same checks hold.
fn apply(overrides: &Overrides, roots: &mut Vec<Root>, ctx: &mut Ctx) {
    if let Some(url) = &overrides.to {
        let place = ctx.option("--to");
        let service = map(place, vec![("name", text(place, "default")), ("to", text(place, url))]);
        roots.extend(option("services", list(place, vec![service]), place, ctx));
    }
    if !overrides.listen.is_empty() {
        let place = ctx.option("--listen");
        for root in roots.iter_mut() {
            root.listeners.given = false;
        }
        let listener = |address: &String| map(place, vec![("address", text(place, address))]);
        let listeners = list(place, overrides.listen.iter().map(listener).collect());
        roots.extend(option("listeners", listeners, place, ctx));
    }
    if let Some(address) = &overrides.admin {
        let place = ctx.option("--admin");
        for root in roots.iter_mut() {
            root.admin.given = false;
        }
        roots.extend(option("admin", text(place, address), place, ctx));
    }
    if let Some(directory) = &overrides.data {
        let place = ctx.option("--data");
        for root in roots.iter_mut() {
            root.data.given = false;
        }
        roots.extend(option("data", text(place, &directory.to_string_lossy()), place, ctx));
    }
}

fn option(key: &'static str, value: Node, place: Place, ctx: &mut Ctx) -> Option<Root> {
    Root::decode(&map(place, vec![(key, value)]), TOP, ctx)
}

fn text(place: Place, text: &str) -> Node {
    Node { place, value: Value::Scalar(Scalar { text: text.into(), plain: true }) }
}

fn list(place: Place, items: Vec<Node>) -> Node {
    Node { place, value: Value::List(items) }
}

fn map(place: Place, entries: Vec<(&'static str, Node)>) -> Node {
    let entry = |(text, node): (&str, Node)| (Key { place, text: text.into() }, node);
    Node { place, value: Value::Map(entries.into_iter().map(entry).collect()) }
}

fn assemble(roots: &[Root], overrides: &Overrides, has_files: bool, ctx: &mut Ctx) -> Built {
    let trusted_proxies = trusted(&joined(roots, |root| &root.trusted_proxies), ctx);
    let consumers = consumer::consumers(&joined(roots, |root| &root.consumers), ctx);
    let zone = zone(roots, ctx);
    let mut upstreams = upstream::upstreams(&joined(roots, |root| &root.upstreams), zone, ctx);
    let data = data(roots, ctx);
    let mut services = joined(roots, |root| &root.services);
    let offers_ai = services.iter().any(|service| !service.ai.is_absent());
    // Nothing is said of what to serve: what the environment has keys for.
    let is_alone = services.is_empty() && (!has_files || !overrides.providers.is_empty());
    let ai = ai::read(
        &ai::Lists {
            providers: &joined(roots, |root| &root.providers),
            models: &joined(roots, |root| &root.models),
            named: &overrides.providers,
            wanted: offers_ai || is_alone,
            data: &data,
        },
        &mut upstreams,
        ctx,
    );
    if is_alone && !ai.is_empty() {
        services.extend(
            default("{ name: ai, ai: {} }", ctx).map(|service| At::given(service, Place::whole(usize::MAX))),
        );
    }
    let services = service::services(&services, &ai, &mut upstreams, &consumers, ctx);
    let limits = limit::limits(&joined(roots, |root| &root.limits), &services, &consumers, ctx);
    let admin = one("admin", roots, |root| &root.admin, ctx);
    let around = listener::Around { has_trusted_proxies: !trusted_proxies.is_empty(), admin: admin.value.0 };
    let listeners = listener::listeners(&joined(roots, |root| &root.listeners), &around, ctx);
    upstreams.check_loops(&listeners, ctx);
    let log = one("log", roots, |root| &root.log, ctx);
    let records = one("records", roots, |root| &root.records, ctx);
    let incidents =
        incidents::incidents(&one("incidents", roots, |root| &root.incidents, ctx), &upstreams, ctx);
    let spool = one("spool", roots, |root| &root.spool, ctx);
    upstreams.check_body_files(spool.size_max.0, ctx);
    let gateway = Gateway {
        listeners,
        upstreams: upstreams.finish(ctx),
        services,
        consumers: consumers.all,
        limits,
        trusted_proxies,
        log: Log {
            format: log.format.value,
            file: log.file.given().map(|file| files::log("log.file", file, ctx)),
        },
        records: Records { retention_days: records.retention_days.number(), size_max: records.size_max.0 },
        incidents,
        grace: one("grace", roots, |root| &root.grace, ctx).value.0,
        workers: workers(roots, ctx),
        spool: Spool {
            directory: match spool.directory.given() {
                Some(directory) => files::spool("spool.directory", directory, ctx),
                None => data.join("spool"),
            },
            size_max: spool.size_max.0,
        },
    };
    Built { gateway, process: ProcessSettings { admin: admin.value.0, data } }
}

fn data(roots: &[Root], ctx: &mut Ctx) -> PathBuf {
    let data = one("data", roots, |root| &root.data, ctx);
    match data.given {
        true => ctx.resolve(data.place, &data.0),
        false => data.value.0,
    }
}

/// The entries of a list in all sources; the default if no source has the key.
fn joined<T: Clone, const MIN: usize>(roots: &[Root], of: impl Fn(&Root) -> &At<List<T, MIN>>) -> Vec<At<T>> {
    let given: Vec<&At<List<T, MIN>>> = roots.iter().map(&of).filter(|list| list.given).collect();
    match given.as_slice() {
        [] => roots.last().map(|root| of(root).0.clone()).unwrap_or_default(),
        lists => lists.iter().flat_map(|list| list.iter().cloned()).collect(),
    }
}

/// A key that at most one source may have.
fn one<T: Clone>(key: &str, roots: &[Root], of: impl Fn(&Root) -> &At<T>, ctx: &mut Ctx) -> At<T> {
    let mut given = roots.iter().map(&of).filter(|value| value.given);
    let first = given.next();
    if let Some(first) = first {
        for other in given {
            twice(key, first.place, other.place, ctx);
        }
    }
    let fallback = || roots.last().map(&of).expect("the root of defaults must be there");
    first.unwrap_or_else(fallback).clone()
}

fn twice(key: &str, first: Place, other: Place, ctx: &mut Ctx) {
    let message = format!("`{key}` is set already at {}", ctx.place_seen_from(first, other));
    ctx.error_with(other, message, "keep one of the two");
}

fn zone(roots: &[Root], ctx: &mut Ctx) -> Option<At<Name>> {
    let mut given = roots.iter().filter_map(|root| root.zone.given());
    let first = given.next()?;
    for other in given {
        twice("zone", first.place, other.place, ctx);
    }
    Some(first.clone())
}

fn workers(roots: &[Root], ctx: &mut Ctx) -> Option<usize> {
    let mut given = roots.iter().filter_map(|root| root.workers.given());
    let first = given.next()?;
    for other in given {
        twice("workers", first.place, other.place, ctx);
    }
    Some(first.number())
}

fn trusted(networks: &[At<NetworkText>], ctx: &mut Ctx) -> Vec<Network> {
    for network in networks {
        if network.0.prefix_bits == 0 {
            let message = "trusted-proxies: this range is everyone, so any client can choose the address it is seen with";
            ctx.warn(network.place, message, "name only the addresses of your own proxies");
        }
    }
    networks.iter().map(|network| network.0).collect()
}
