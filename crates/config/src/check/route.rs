//! Routes: where they lead, what becomes of the path, and which policies hold.

use std::collections::HashSet;
use std::sync::Arc;

use model::gateway::{AiService, ApiKey, Consumer, Match, NamedMatch, PathChange, PathForm, Policy, Route};

use super::consumer::Consumers;
use super::overlap::Overlaps;
use super::timeouts::{check_total, check_worker, overridden};
use super::upstream::Upstreams;
use crate::ctx::Ctx;
use crate::decode::{At, Field, List, Map};
use crate::scalar::{Name, TargetUrl, misspelt};
use crate::shape::{self, MatchValue};
use crate::tree::Place;

/// What a route is checked and built with.
pub(crate) struct Surrounding<'s> {
    pub(crate) service: &'s str,
    /// Where routes of the service lead that say nothing themselves.
    pub(crate) destination: Destination,
    pub(crate) upstreams: &'s mut Upstreams,
    pub(crate) consumers: &'s Consumers,
    /// What the service offers, if it is an AI API.
    pub(crate) ai: Option<&'s AiService>,
}

/// Where requests go.
#[derive(Clone)]
pub(crate) enum Destination {
    /// Nothing is said.
    Absent,
    /// It is said, but unusable; the problem is noted.
    Bad,
    Upstream(Arc<str>),
}

impl Destination {
    /// The upstream of the first provider.
    pub(crate) fn of_ai(ai: &AiService) -> Destination {
        let first = ai.providers.iter().flat_map(|provider| &provider.endpoints).next();
        first.map_or(Destination::Bad, |endpoint| Destination::Upstream(endpoint.upstream.clone()))
    }

    /// From `upstream` or `to`; the upstream that `to` is short for has the name of its owner.
    pub(crate) fn of(
        owner: &str,
        upstream: &Field<Name>,
        to: &Field<TargetUrl>,
        upstreams: &mut Upstreams,
        ctx: &mut Ctx,
    ) -> Destination {
        let found = match (upstream, to) {
            (Field::Absent, Field::Absent) => return Destination::Absent,
            (Field::Given(_) | Field::Bad, Field::Given(to)) => {
                ctx.error_with(to.place, "to: must not stand beside `upstream`", "remove one of the two");
                None
            }
            (Field::Given(name), _) => upstreams.named(&name.0, name.place, ctx),
            // A service without a usable name is reported already; its upstream could have no name either.
            (Field::Absent, Field::Given(_)) if owner.is_empty() => None,
            (Field::Absent, Field::Given(to)) => upstreams.of_one(owner, to, ctx),
            (_, Field::Bad) | (Field::Bad, Field::Absent) => None,
        };
        found.map_or(Destination::Bad, Destination::Upstream)
    }
}

pub(crate) fn routes(
    service: &At<shape::Service>,
    surrounding: &mut Surrounding,
    overlaps: &mut Overlaps,
    ctx: &mut Ctx,
) -> Vec<Arc<Route>> {
    let mut taken = HashSet::new();
    let mut all = Vec::new();
    for shape in service.routes.iter() {
        let name = name(shape, &mut taken, ctx);
        let label = match surrounding.service {
            "" => format!("route `{name}`"),
            service => format!("route `{name}` of service `{service}`"),
        };
        // A route that nobody wrote is reported where its service stands.
        let place = if service.routes.given { shape.place } else { service.place };
        let route = route(shape, name, &label, place, surrounding, ctx);
        check_consumer_keys(&route, place, surrounding, ctx);
        if !surrounding.service.is_empty() {
            overlaps.add(&route, label, place, shape.path.place);
        }
        all.push(Arc::new(route));
    }
    all
}

/// The given name, or the first path, or the first host; numbered if that is taken.
fn name(shape: &shape::Route, taken: &mut HashSet<Arc<str>>, ctx: &mut Ctx) -> Arc<str> {
    if let Some(given) = shape.name.given() {
        let name: Arc<str> = given.0.as_ref().into();
        if !taken.insert(Arc::clone(&name)) {
            let message = format!("name: there is a route `{name}` in this service already");
            ctx.error_with(given.place, message, "give one of the two another name");
        }
        return name;
    }
    let path = shape.paths.given().and_then(|paths| paths.iter().next()).map(|path| path.text.to_string());
    let host = || shape.hosts.given().and_then(|hosts| hosts.iter().next()).map(|host| host.0.to_string());
    let base = path.or_else(host).unwrap_or_else(|| "/*".into());
    let mut name: Arc<str> = base.as_str().into();
    let mut number = 2;
    while !taken.insert(Arc::clone(&name)) {
        name = format!("{base} #{number}").into();
        number += 1;
    }
    name
}

fn route(
    shape: &shape::Route,
    name: Arc<str>,
    label: &str,
    place: Place,
    surrounding: &mut Surrounding,
    ctx: &mut Ctx,
) -> Route {
    let owner = format!("{}:{name}", surrounding.service);
    let own = Destination::of(&owner, &shape.upstream, &shape.to, surrounding.upstreams, ctx);
    let destination = match (&own, &surrounding.destination) {
        (Destination::Absent, Destination::Absent) => {
            let message = format!("{label} leads nowhere");
            ctx.error_with(place, message, "give the route or its service `upstream: NAME` or `to: URL`");
            Destination::Bad
        }
        (Destination::Absent, of_service) => of_service.clone(),
        _ => own,
    };
    let upstream = match destination {
        Destination::Upstream(name) => name,
        Destination::Absent | Destination::Bad => "".into(),
    };
    let base = surrounding.upstreams.get(&upstream).map(|upstream| upstream.timeouts);
    let timeouts = overridden(base.as_ref(), &shape.timeouts);
    check_total(&shape.timeouts, timeouts.total, ctx);
    check_worker(surrounding.upstreams.worker_timeout(&upstream), &shape.timeouts, ctx);
    Route {
        name,
        priority: shape.priority.number(),
        matches: matches(shape, ctx),
        upstream,
        path: shape.path.value,
        path_change: path_change(shape, ctx),
        host: shape.host.0.clone(),
        policies: policies(shape, surrounding, ctx),
        body_bytes_max: shape.body_max.0.map(|size| size.0),
        timeouts,
        client_gone: shape.when_client_leaves.value,
        criticality: shape.criticality.value,
    }
}

fn matches(shape: &shape::Route, ctx: &mut Ctx) -> Match {
    let methods = given(&shape.methods);
    for method in &methods {
        if let Some(near) = misspelt(&method.0) {
            let message = format!("methods: `{}` is an uncommon method", method.0);
            ctx.warn(method.place, message, format!("did you mean `{near}`?"));
        }
    }
    Match {
        hosts: given(&shape.hosts).iter().map(|host| host.0.clone()).collect(),
        paths: given(&shape.paths).iter().map(|path| path.matched.clone()).collect(),
        methods: methods.iter().map(|method| method.0.clone()).collect(),
        headers: named(&shape.headers, |name| &name.0),
        query: named(&shape.query, |name| &name.0),
        cookies: named(&shape.cookies, |name| &name.0),
    }
}

fn given<T, const MIN: usize>(field: &Field<List<T, MIN>>) -> Vec<&At<T>> {
    field.given().into_iter().flat_map(|list| list.iter()).collect()
}

fn named<K>(map: &Map<K, MatchValue>, name: impl Fn(&K) -> &Box<str>) -> Vec<NamedMatch> {
    let value = |value: &MatchValue| match value {
        MatchValue::Exactly(text) => Some(text.clone()),
        MatchValue::Present => None,
    };
    map.0.iter().map(|(key, at)| NamedMatch { name: name(key).clone(), value: value(at) }).collect()
}

fn path_change(shape: &shape::Route, ctx: &mut Ctx) -> PathChange {
    let strip = shape.strip_prefix.given();
    let rewrite = shape.rewrite.given();
    if let (Some(_), Some(rewrite)) = (strip, rewrite) {
        let message = "rewrite: must not stand beside `strip-prefix`";
        ctx.error_with(rewrite.place, message, "a rewrite can leave the prefix away itself");
    }
    let change = strip.map(|at| ("strip-prefix", at.place)).or(rewrite.map(|at| ("rewrite", at.place)));
    if let (Some((key, place)), PathForm::AsSent) = (change, shape.path.value) {
        let message =
            format!("{key}: must not stand beside `path: as-sent`, which changes no byte of the path");
        ctx.error_with(place, message, "remove one of the two");
    }
    let paths = given(&shape.paths);
    if let Some(strip) = strip {
        for path in paths.iter().filter(|path| !path.can_begin_with(&strip.0)) {
            let message = format!("strip-prefix: `{}` can never begin with `{}`", path.text, strip.value.0);
            ctx.error_with(path.place, message, "paths are matched before the prefix is taken off");
        }
        return PathChange::StripPrefix(strip.0.clone());
    }
    let Some(rewrite) = rewrite else { return PathChange::Keep };
    for parameter in &rewrite.parameters {
        if paths.is_empty() {
            let message = format!("rewrite: no path binds the parameter {{{parameter}}}");
            ctx.error_with(
                rewrite.place,
                message,
                format!("for example `paths: [\"/items/{{{parameter}}}\"]`"),
            );
        }
        for path in &paths {
            let bound = path.parameters().unwrap_or_default();
            if bound.contains(&&**parameter) {
                continue;
            }
            let message = format!("rewrite: `{}` does not bind the parameter {{{parameter}}}", path.text);
            let hint = match crate::suggest::nearest(parameter, bound.iter().copied()) {
                Some(near) => format!("did you mean {{{near}}}?"),
                None => "every path of the route must bind it".into(),
            };
            ctx.error_with(rewrite.place, message, hint);
        }
    }
    PathChange::Rewrite(rewrite.text.clone())
}

/// In the order of the policy slot, whatever the order in the file.
fn policies(route: &shape::Route, surrounding: &Surrounding, ctx: &mut Ctx) -> Vec<Policy> {
    let mut policies = Vec::new();
    for shape in route.policies.iter() {
        if let Some(settings) = shape.value.0.api_key.given() {
            if !policies.is_empty() {
                ctx.error_with(shape.place, "policies: `api-key` stands here twice", "join the two");
                continue;
            }
            policies.push(Policy::ApiKey(api_key(settings, surrounding.consumers, ctx)));
        }
    }
    // Each SDK has a place of its own for the key; a route that names one knows better.
    if surrounding.ai.is_some_and(|ai| ai.key) && policies.is_empty() {
        policies.push(Policy::AiKey);
    }
    policies
}

fn api_key(shape: &shape::ApiKey, consumers: &Consumers, ctx: &mut Ctx) -> ApiKey {
    let named = given(&shape.consumers);
    let known = |name: &&&At<Name>| consumers.names.require(&name.0, "consumers", name.place, ctx);
    ApiKey {
        header: shape.header.0.clone(),
        consumers: named.iter().filter(known).map(|name| name.0.as_ref().into()).collect(),
        forward: shape.forward.value,
    }
}

/// A door without a single key is probably a forgotten one.
fn check_consumer_keys(route: &Route, place: Place, surrounding: &Surrounding, ctx: &mut Ctx) {
    for policy in &route.policies {
        let Policy::ApiKey(settings) = policy else { continue };
        let may_pass = |name: &Arc<str>| settings.consumers.is_empty() || settings.consumers.contains(name);
        let unreadable = &surrounding.consumers.unreadable;
        let has_key =
            |consumer: &Consumer| !consumer.api_keys.is_empty() || unreadable.contains(&consumer.name);
        let mut consumers = surrounding.consumers.all.iter();
        if !consumers.any(|consumer| may_pass(&consumer.name) && has_key(consumer)) {
            let message =
                format!("nobody can pass `api-key` of route `{}`: no consumer has a key", route.name);
            ctx.warn(place, message, "give a consumer `api-keys`");
        }
    }
}
