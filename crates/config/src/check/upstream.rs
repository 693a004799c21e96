//! Upstreams, those that are short for one target included.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use model::ByteSize;
use model::gateway::{
    Endpoint, Hedge, ListenAddress, Listener, Pool, Queue, RequestBuffering, Retries, Scheme, Target,
    Timeouts, Upstream, UpstreamLimits, UpstreamTls,
};

use super::balance;
use super::files;
use super::health;
use super::names::Names;
use super::timeouts;
use crate::ctx::Ctx;
use crate::decode::{At, default};
use crate::scalar::{Name, TargetUrl};
use crate::shape;
use crate::suggest::nearest;
use crate::tree::Place;

/// How long an idle connection to a provider of AI models is kept: shorter than the hops on the way do.
const PROVIDER_IDLE: Duration = Duration::from_secs(30);

pub(crate) struct Upstreams {
    all: BTreeMap<Arc<str>, Arc<Upstream>>,
    names: Names,
    used: BTreeSet<Arc<str>>,
    /// Where each target stands, behind the key that names it.
    places: Vec<(&'static str, TargetUrl, Place)>,
    /// The largest bodies that somebody wants in files.
    body_files: Vec<(ByteSize, Place)>,
    /// How long the servers of an upstream let a request take, where somebody has said it.
    worker_timeouts: BTreeMap<Arc<str>, Duration>,
    /// What an upstream of one target has beside it.
    defaults: shape::Upstream,
    /// Where this gateway runs.
    zone: Option<Box<str>>,
}

pub(crate) fn upstreams(shapes: &[At<shape::Upstream>], zone: Option<At<Name>>, ctx: &mut Ctx) -> Upstreams {
    // The rest of an upstream comes from the same table as everything else.
    let defaults = default("{ name: default, targets: [\"http://127.0.0.1\"] }", ctx)
        .expect("an upstream of name and target must be readable");
    let mut upstreams = Upstreams {
        all: BTreeMap::new(),
        names: Names::new("upstream"),
        used: BTreeSet::new(),
        places: Vec::new(),
        body_files: Vec::new(),
        worker_timeouts: BTreeMap::new(),
        defaults,
        zone: zone.as_ref().map(|zone| zone.0.clone()),
    };
    for shape in shapes {
        let targets: Vec<(Target, Place)> = shape
            .targets
            .given()
            .into_iter()
            .flat_map(|targets| targets.iter())
            .filter_map(|at| {
                let url = target_url(at.value.0.url.given()?, ctx);
                upstreams.places.push(("targets", url.clone(), at.place));
                let zone = at.value.0.zone.given().map(|zone| zone.0.clone());
                Some((Target { zone, ..target(&url, at.value.0.weight.0) }, at.place))
            })
            .collect();
        check_targets(shape, &targets, ctx);
        let checked: Vec<&Target> = targets.iter().map(|(target, _)| target).collect();
        health::check(&shape.health, &checked, shape.tls.http2.value, ctx);
        balance::check(shape, ctx);
        timeouts::check_total(&shape.timeouts, shape.timeouts.total.0.map(|total| total.0), ctx);
        timeouts::check_worker(worker_timeout(shape), &shape.timeouts, ctx);
        check_queue(&shape.queue, ctx);
        check_retries(&shape.retries, ctx);
        check_buffering(shape, &targets, ctx);
        let body_file = &shape.request_buffering.0.file;
        if body_file.given {
            upstreams.body_files.push((body_file.0, body_file.place));
        }
        let tls = tls(&shape.tls, ctx);
        if let Some(name) = upstreams.names.claim(&shape.name, ctx) {
            let targets = targets.into_iter().map(|(target, _)| target).collect();
            let name = upstreams.insert(upstream(name.into(), targets, tls, shape));
            if let Some(worker) = worker_timeout(shape) {
                upstreams.worker_timeouts.insert(name, worker);
            }
        }
    }
    if let Some(zone) = zone {
        upstreams.check_zone(&zone, ctx);
    }
    upstreams
}

impl Upstreams {
    /// A zone in which no target is, although some are in others, is most likely misspelt.
    fn check_zone(&self, own: &At<Name>, ctx: &mut Ctx) {
        let targets = self.all.values().flat_map(|upstream| &upstream.targets);
        let zones: BTreeSet<&str> = targets.filter_map(|target| target.zone.as_deref()).collect();
        if zones.is_empty() || zones.contains(&*own.0) {
            return;
        }
        let known: Vec<&str> = zones.iter().copied().collect();
        let hint = match nearest(&own.0, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the zones of targets are {}", known.join(", ")),
        };
        ctx.warn(own.place, format!("zone: no target is in `{}`", own.0), hint);
    }

    fn insert(&mut self, mut upstream: Upstream) -> Arc<str> {
        upstream.zone.clone_from(&self.zone);
        let name = Arc::clone(&upstream.name);
        self.all.insert(Arc::clone(&name), Arc::new(upstream));
        name
    }

    /// The upstream that `to: URL` is short for.
    pub(crate) fn of_one(&mut self, name: &str, url: &At<TargetUrl>, ctx: &mut Ctx) -> Option<Arc<str>> {
        if let Some(place) = self.names.place(name) {
            let first = ctx.place_seen_from(place, url.place);
            let message = format!("to: there is an upstream `{name}` already, at {first}");
            ctx.error_with(url.place, message, format!("write `upstream: {name}` to use it"));
            return None;
        }
        self.names.claim_text(name, url.place, ctx);
        let place = url.place;
        let url = target_url(url, ctx);
        self.places.push(("to", url.clone(), place));
        let tls = tls(&self.defaults.tls, ctx);
        let shape = self.defaults.clone();
        let name = self.insert(upstream(name.into(), vec![target(&url, 1)], tls, &shape));
        self.used.insert(Arc::clone(&name));
        Some(name)
    }

    /// The upstream of a provider of AI models.
    pub(crate) fn of_provider(
        &mut self,
        name: &str,
        url: &TargetUrl,
        place: Place,
        timeouts: Timeouts,
        ctx: &mut Ctx,
    ) -> Arc<str> {
        if let Some(first) = self.names.place(name) {
            let first = ctx.place_seen_from(first, place);
            ctx.error_with(place, format!("there is an upstream `{name}` already, at {first}"), "rename it");
        }
        self.places.push(("url", url.clone(), place));
        let tls = tls(&self.defaults.tls, ctx);
        let upstream = upstream(name.into(), vec![target(url, 1)], tls, &self.defaults);
        // Vendors keep connections for minutes, and a TLS handshake with them is long.
        let pool = Pool { idle: PROVIDER_IDLE, ..upstream.pool };
        self.insert(Upstream { timeouts, pool, ..upstream })
    }

    /// An upstream of one target that no route can name: for requests of the gateway's own.
    pub(crate) fn beside(&self, name: &str, url: &TargetUrl, ctx: &mut Ctx) -> Upstream {
        let tls = tls(&self.defaults.tls, ctx);
        upstream(name.into(), vec![target(url, 1)], tls, &self.defaults)
    }

    /// The upstream that a name refers to.
    pub(crate) fn named(&mut self, name: &str, place: Place, ctx: &mut Ctx) -> Option<Arc<str>> {
        if !self.names.require(name, "upstream", place, ctx) {
            return None;
        }
        let (name, _) = self.all.get_key_value(name)?;
        let name = Arc::clone(name);
        self.used.insert(Arc::clone(&name));
        Some(name)
    }

    /// How long its servers let a request take, if somebody has said it.
    pub(crate) fn worker_timeout(&self, name: &str) -> Option<Duration> {
        self.worker_timeouts.get(name).copied()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Upstream> {
        self.all.get(name).map(|upstream| &**upstream)
    }

    /// A target that is a listener of this gateway sends every request round and round.
    pub(crate) fn check_loops(&self, listeners: &[Arc<Listener>], ctx: &mut Ctx) {
        for (key, url, place) in &self.places {
            let own = listeners.iter().find(|listener| is_reached(&listener.address, &url.endpoint));
            if let Some(listener) = own {
                let message = format!(
                    "{key}: `{}` is this gateway itself, which listens on {}: a request would go round and round",
                    url.text, listener.address
                );
                ctx.error_with(*place, message, "name the address of the API, or listen on another one");
            }
        }
    }

    /// A body that is larger than all files together may be never gets into one.
    pub(crate) fn check_body_files(&self, all_max: ByteSize, ctx: &mut Ctx) {
        for (max, place) in self.body_files.iter().filter(|(max, _)| *max > all_max) {
            let message =
                format!("file: {max} is more than `spool.size-max`, which is {all_max} for all bodies");
            ctx.warn(*place, message, "larger bodies than that stream; raise `spool.size-max`");
        }
    }

    /// All of them; one that nothing leads to is worth a word.
    pub(crate) fn finish(self, ctx: &mut Ctx) -> BTreeMap<Arc<str>, Arc<Upstream>> {
        // A reference with an error may have meant it.
        let references_hold = !ctx.has_errors();
        for (name, place) in self.names.iter().filter(|_| references_hold) {
            if !self.used.contains(name) {
                let message = format!("no route leads to upstream `{name}`");
                ctx.warn(place, message, "name it in a service or a route, or remove it");
            }
        }
        self.all
    }
}

fn upstream(name: Arc<str>, targets: Vec<Target>, tls: UpstreamTls, shape: &shape::Upstream) -> Upstream {
    Upstream {
        name,
        targets,
        timeouts: timeouts::of_upstream(shape),
        limits: UpstreamLimits { head_bytes: shape.limits.head.0, fields: shape.limits.fields.number() },
        pool: Pool { idle_max: shape.pool.idle_max.number(), idle: shape.pool.idle.0, age: shape.pool.age.0 },
        retries: Retries {
            attempts: shape.retries.attempts.number(),
            bad_answers: shape.retries.bad_answers.value,
            undelivered: shape.retries.undelivered.value,
            back_off: shape.retries.back_off.0,
            non_idempotent: shape.retries.non_idempotent.value,
            hedge: shape.retries.hedge.0,
        },
        concurrency: shape.concurrency.0,
        queue: Queue {
            length: shape.queue.length.number(),
            bytes_max: shape.queue.bytes.0,
            wait: shape.queue.wait.0,
            standing_wait: shape.queue.standing_wait.0,
        },
        request_buffering: request_buffering(&shape.request_buffering.0),
        health: health::rules(&shape.health),
        balance: balance::balance(&shape.balance.0),
        stickiness: balance::stickiness(shape),
        zone: None,
        tls,
        proxy_protocol: shape.proxy_protocol.given().map(|version| version.value),
    }
}

fn request_buffering(shape: &shape::RequestBuffering) -> RequestBuffering {
    RequestBuffering { enabled: shape.enabled.value, memory_max: shape.memory.0, file_max: shape.file.0 }
}

fn target(url: &TargetUrl, weight: u32) -> Target {
    Target {
        url: url.text.as_ref().into(),
        scheme: url.scheme,
        endpoint: url.endpoint.clone(),
        weight,
        zone: None,
    }
}

/// With the path of a socket resolved, so that the URL means the same wherever it is shown.
fn target_url(url: &At<TargetUrl>, ctx: &Ctx) -> TargetUrl {
    match &url.endpoint {
        Endpoint::Unix(path) => TargetUrl::unix(url.scheme, ctx.resolve(url.place, path)),
        Endpoint::Host { .. } => url.value.clone(),
    }
}

/// Whether a connection to the endpoint arrives at the listener.
fn is_reached(listener: &ListenAddress, endpoint: &Endpoint) -> bool {
    match (listener, endpoint) {
        (ListenAddress::Unix(listener), Endpoint::Unix(path)) => listener == path,
        (ListenAddress::Tcp(listener), Endpoint::Host { host, port }) if listener.port() == *port => {
            let addresses = match host.parse() {
                Ok(address) => vec![address],
                Err(_) if host.eq_ignore_ascii_case("localhost") => {
                    vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
                }
                // What other names lead to is known when they are looked up.
                Err(_) => Vec::new(),
            };
            addresses.into_iter().any(|address| is_reached_at(listener.ip(), address))
        }
        _ => false,
    }
}

fn is_reached_at(listener: IpAddr, address: IpAddr) -> bool {
    // A connection to no address in particular is one to this machine.
    let address = match address {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        _ => address,
    };
    // `[::]` also takes IPv4 connections; `0.0.0.0` leaves IPv6 alone.
    let takes_family = listener.is_ipv6() || address.is_ipv4();
    listener == address || (listener.is_unspecified() && takes_family && address.is_loopback())
}

fn check_targets(shape: &shape::Upstream, targets: &[(Target, Place)], ctx: &mut Ctx) {
    let mut endpoints = HashSet::new();
    for (target, place) in targets {
        if !endpoints.insert(&target.endpoint) {
            let message = format!("targets: `{}` stands here twice", target.url);
            ctx.error_with(*place, message, "`weight` gives a target a larger share");
        }
    }
    let speaks_tls = targets.iter().any(|(target, _)| target.scheme == Scheme::Https);
    if shape.tls.given && !speaks_tls && !targets.is_empty() {
        ctx.warn(shape.tls.place, "tls: no target here speaks TLS", "write https:// in the target's URL");
    }
    if !shape.tls.verify.value {
        let message =
            "tls: with `verify: false` anyone between here and the target can read and change everything";
        ctx.warn(shape.tls.verify.place, message, "give `ca` the authority of a private certificate");
    }
}

fn worker_timeout(shape: &shape::Upstream) -> Option<Duration> {
    shape.worker_timeout.given().map(|time| time.0)
}

fn check_retries(shape: &shape::Retries, ctx: &mut Ctx) {
    if shape.non_idempotent.value {
        let message = "non-idempotent: a POST whose answer is lost will be executed twice";
        let hint = "without it, what cannot have been executed is sent again all the same, and so is what has an \
                    `Idempotency-Key`";
        ctx.warn(shape.non_idempotent.place, message, hint);
    }
    if shape.hedge.given && shape.hedge.0 != Hedge::Off && shape.attempts.0 < 2 {
        let message = "hedge: a second attempt needs `attempts` of at least 2";
        ctx.error(shape.hedge.place, message);
    }
}

fn check_queue(shape: &shape::Queue, ctx: &mut Ctx) {
    if shape.standing_wait.given && shape.standing_wait.0 > shape.wait.0 {
        let message = format!(
            "standing-wait: {:?} must not be longer than `wait`, which is {:?}",
            shape.standing_wait.0, shape.wait.0
        );
        ctx.error(shape.standing_wait.place, message);
    }
}

fn check_buffering(shape: &shape::Upstream, targets: &[(Target, Place)], ctx: &mut Ctx) {
    let buffers = |target: &Target| matches!(target.scheme, Scheme::Http | Scheme::Uwsgi);
    let has_effect = targets.is_empty() || targets.iter().any(|(target, _)| buffers(target));
    if shape.request_buffering.given && !has_effect {
        let message = "request-buffering: to targets of https:// and h2c:// bodies stream in any case";
        ctx.warn(shape.request_buffering.place, message, "remove it");
    }
}

fn tls(shape: &shape::UpstreamTls, ctx: &mut Ctx) -> UpstreamTls {
    let client_certificate = shape.client_certificate.given();
    UpstreamTls {
        verify: shape.verify.value,
        ca: shape.ca.given().map(|path| files::authorities("ca", path, ctx)),
        client_certificate: client_certificate.and_then(|at| files::certificate(at, ctx)),
        server_name: shape.server_name.given().map(|name| name.0.clone()),
        http2: shape.http2.value,
    }
}
