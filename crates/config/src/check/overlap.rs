//! What routes do to each other: one that takes what another took before, and forms of a path that could slip past
//! a rule for another route.

use std::collections::HashMap;

use model::gateway::{HostMatch, Match, PathForm, PathMatch, Policy, Route};

use crate::ctx::Ctx;
use crate::tree::Place;

/// Hosts times paths of one route that are compared; more are nobody's mistake to find here.
const PAIRS_MAX: usize = 4096;

#[derive(Default)]
pub(crate) struct Overlaps {
    routes: Vec<Entry>,
}

struct Entry {
    label: String,
    place: Place,
    path_place: Place,
    priority: i32,
    matches: Match,
    form: PathForm,
    policies: Vec<Policy>,
}

impl Overlaps {
    pub(crate) fn add(&mut self, route: &Route, label: String, place: Place, path_place: Place) {
        self.routes.push(Entry {
            label,
            place,
            path_place,
            priority: route.priority,
            matches: route.matches.clone(),
            form: route.path,
            policies: route.policies.clone(),
        });
    }

    pub(crate) fn check(&self, ctx: &mut Ctx) {
        self.same_match(ctx);
        for route in self.routes.iter().filter(|route| route.form == PathForm::AsSent) {
            self.as_sent(route, ctx);
        }
    }

    /// Two routes that take exactly the same requests: the second one never gets any.
    fn same_match(&self, ctx: &mut Ctx) {
        let mut taken: HashMap<String, &Entry> = HashMap::new();
        for route in &self.routes {
            for (shown, key) in pairs(route) {
                let Some(first) = taken.get(&key) else {
                    taken.insert(key, route);
                    continue;
                };
                if std::ptr::eq(*first, route) {
                    continue;
                }
                let at = ctx.place_seen_from(first.place, route.place);
                let message = format!(
                    "{} gets no request for {shown}: {} at {at} takes the same ones first",
                    route.label, first.label
                );
                ctx.warn(route.place, message, "remove one of the two, or give this one a higher `priority`");
                break;
            }
        }
    }

    /// A target may read the bytes as sent in another way than the rules did (`%2e%2e`, `%2F`), so that a request
    /// that matched an open path reaches a closed one.
    fn as_sent(&self, route: &Entry, ctx: &mut Ctx) {
        let is_by_path =
            |entry: &Entry| entry.matches.paths.iter().any(|path| *path != PathMatch::Prefix("".into()));
        let closed = self.routes.iter().find(|other| {
            !other.policies.is_empty()
                && (is_by_path(other) || is_by_path(route))
                && hosts_overlap(&route.matches.hosts, &other.matches.hosts)
        });
        if let Some(closed) = closed {
            let at = ctx.place_seen_from(closed.place, route.path_place);
            let message = format!(
                "path: `as-sent` must not stand beside access rules that depend on the path: {} at {at} has policies, \
                 and the target may read the bytes as sent as a path of that route",
                closed.label
            );
            let hint = "leave it `canonical`, or serve the two on different hosts";
            ctx.error_with(route.path_place, message, hint);
        }
    }
}

/// Every pair of host and path of a route, as text to show and as a key with everything else it matches by.
fn pairs(route: &Entry) -> Vec<(String, String)> {
    let matches = &route.matches;
    if matches.hosts.len().max(1).saturating_mul(matches.paths.len().max(1)) > PAIRS_MAX {
        return Vec::new();
    }
    let mut rest = [
        matches.methods.iter().map(|method| format!("m{method:?}")).collect::<Vec<_>>(),
        matches.headers.iter().map(|header| format!("h{header:?}")).collect(),
        matches.query.iter().map(|parameter| format!("q{parameter:?}")).collect(),
        matches.cookies.iter().map(|cookie| format!("c{cookie:?}")).collect(),
    ]
    .concat();
    rest.sort_unstable();
    let hosts: Vec<Option<&HostMatch>> = or_any(&matches.hosts);
    let everything = PathMatch::Prefix("".into());
    let paths: Vec<&PathMatch> =
        or_any(&matches.paths).into_iter().map(|path| path.unwrap_or(&everything)).collect();
    let mut pairs = Vec::new();
    for host in hosts {
        for path in &paths {
            let shown = format!("`{}{}`", host.map(ToString::to_string).unwrap_or_default(), path);
            pairs.push((shown, format!("{} {host:?} {path:?} {rest:?}", route.priority)));
        }
    }
    pairs
}

fn or_any<T>(items: &[T]) -> Vec<Option<&T>> {
    if items.is_empty() { vec![None] } else { items.iter().map(Some).collect() }
}

fn hosts_overlap(a: &[HostMatch], b: &[HostMatch]) -> bool {
    let one = |a: &HostMatch, b: &HostMatch| match (a, b) {
        (HostMatch::Exact(a), HostMatch::Exact(b)) => a == b,
        (HostMatch::Exact(host), HostMatch::Suffix(suffix))
        | (HostMatch::Suffix(suffix), HostMatch::Exact(host)) => host.ends_with(&**suffix),
        (HostMatch::Suffix(a), HostMatch::Suffix(b)) => a.ends_with(&**b) || b.ends_with(&**a),
    };
    a.is_empty() || b.is_empty() || a.iter().any(|a| b.iter().any(|b| one(a, b)))
}
