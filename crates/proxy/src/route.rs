//! Which route takes a request.
//!
//! Routes become rules, one per host and path, in one order: priority, then the more exact host, then the more exact
//! path (exact, template, regular expression, longer prefix), then more conditions, then the order of the configuration.
//! The first rule that matches wins. Hosts are found by a map, and so are paths up to their first parameter, so that many
//! services and many routes do not slow each other.

mod candidates;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use model::gateway::{HostMatch, NamedMatch, PathMatch, Route, Segment, Service};
use model::{Fault, Gateway, Method};
use policy::Policies;
use regex::Regex;
use smallvec::SmallVec;
use upstream::Upstream;
use wire::RequestHead;

use self::candidates::Candidates;
use crate::affinity::cookies;
use crate::ai::{Offer, Rests};

/// All rules of a gateway.
#[derive(Debug, Default)]
pub struct RouteTable {
    rules: Vec<Rule>,
    /// For each host named exactly, the rules that can match it.
    by_host: HashMap<Box<str>, Candidates, ahash::RandomState>,
    /// The rules for every other host.
    others: Candidates,
}

/// Where a request goes.
#[derive(Debug)]
pub struct Destination {
    pub service: Arc<Service>,
    pub route: Arc<Route>,
    pub upstream: Arc<Upstream>,
    pub policies: Policies,
    /// What is offered here, if it is an AI API.
    pub offer: Option<Arc<Offer>>,
}

/// The destination that was found, and the parameters of its path template.
#[derive(Debug)]
pub struct Found {
    pub destination: Arc<Destination>,
    pub parameters: Parameters,
}

/// Template parameters in the order in which they stand in the template.
pub type Parameters = SmallVec<[(Box<str>, Box<str>); 2]>;

/// Why no route took it.
#[derive(Debug, PartialEq, Eq)]
pub struct NotFound {
    pub fault: Fault,
    /// For a wrong method: the methods that are known for this path.
    pub allow: Vec<Method>,
}

#[derive(Debug)]
struct Rule {
    host: Option<HostMatch>,
    path: PathRule,
    destination: Arc<Destination>,
}

#[derive(Debug)]
enum PathRule {
    Any,
    Exact(Box<str>),
    Prefix(Box<str>),
    Template(Box<[Segment]>),
    Regex(Regex),
}

impl RouteTable {
    /// Compiles the routes. The gateway was checked, so a failure here is a bug of the checks, told plainly.
    pub fn new(
        gateway: &Gateway,
        upstreams: &HashMap<Arc<str>, Arc<Upstream>>,
        rests: &Rests,
    ) -> Result<RouteTable, String> {
        let mut rules = Vec::new();
        for service in &gateway.services {
            for route in &service.routes {
                let upstream = upstreams
                    .get(&route.upstream)
                    .ok_or_else(|| format!("route \"{}\" names no known upstream", route.name))?;
                let offer = match &service.ai {
                    Some(ai) => {
                        let find = |name: &str| upstreams.get(name).cloned();
                        Some(Arc::new(Offer::new(service, route, ai, find, rests)?))
                    }
                    None => None,
                };
                let destination = Arc::new(Destination {
                    offer,
                    service: service.clone(),
                    route: route.clone(),
                    upstream: upstream.clone(),
                    policies: Policies::new(&route.policies),
                });
                for host in each_or_any(&route.matches.hosts) {
                    for path in each_or_any(&route.matches.paths) {
                        let path = PathRule::new(path)?;
                        let host = host.map(without_brackets);
                        rules.push(Rule { host, path, destination: destination.clone() });
                    }
                }
            }
        }
        rules.sort_by_key(Rule::order);
        Ok(RouteTable::index(rules))
    }

    fn index(rules: Vec<Rule>) -> RouteTable {
        let mut by_host: HashMap<Box<str>, Candidates, ahash::RandomState> = HashMap::default();
        for rule in &rules {
            if let Some(HostMatch::Exact(host)) = &rule.host {
                by_host.entry(host.clone()).or_default();
            }
        }
        let mut others = Candidates::default();
        for (rule, number) in rules.iter().zip(0u32..) {
            if let Some(HostMatch::Exact(host)) = &rule.host {
                if let Some(candidates) = by_host.get_mut(host) {
                    candidates.push(number, &rule.path);
                }
                continue;
            }
            others.push(number, &rule.path);
            for (_, candidates) in by_host.iter_mut().filter(|(host, _)| rule.takes_host(host)) {
                candidates.push(number, &rule.path);
            }
        }
        RouteTable { rules, by_host, others }
    }

    /// The destination of a request.
    pub fn find(&self, head: &RequestHead) -> Result<Found, NotFound> {
        self.find_at(head, head.target.path())
    }

    /// Another destination with rules of its own that the request may mean to a server which decodes its path before it
    /// looks at the segments: what guards `/admin/x` must not let `/admin%2Fx` and `//admin/x` pass.
    pub(crate) fn guard(&self, head: &RequestHead, found: &Found) -> Option<Arc<Destination>> {
        let path = wire::path::as_decoded(head.target.path())?;
        let other = self.find_at(head, &path).ok()?.destination;
        let is_guard = !other.policies.is_empty() && other.policies != found.destination.policies;
        is_guard.then_some(other)
    }

    fn find_at(&self, head: &RequestHead, path: &str) -> Result<Found, NotFound> {
        let candidates = self.by_host.get(head.target.host()).unwrap_or(&self.others);
        let numbers = candidates.of(path);
        self.first(numbers.filter_map(|number| self.rules.get(number as usize)), head, path)
    }

    fn first<'r>(
        &self,
        candidates: impl Iterator<Item = &'r Rule>,
        head: &RequestHead,
        path: &str,
    ) -> Result<Found, NotFound> {
        let host = head.target.host();
        let mut allow = Vec::new();
        for rule in candidates {
            if !rule.takes_host(host) {
                continue;
            }
            let Some(parameters) = rule.path.matches(path) else { continue };
            let matches = &rule.destination.route.matches;
            if !conditions_hold(matches, head) {
                continue;
            }
            if matches.methods.is_empty() || matches.methods.contains(&head.method) {
                return Ok(Found { destination: rule.destination.clone(), parameters });
            }
            for method in &matches.methods {
                if !allow.contains(method) {
                    allow.push(method.clone());
                }
            }
        }
        let fault = match (self.rules.is_empty(), allow.is_empty()) {
            (true, _) => Fault::NotConfigured,
            (false, true) => Fault::NoRoute,
            (false, false) => Fault::MethodNotAllowed,
        };
        Err(NotFound { fault, allow })
    }
}

/// Configuration writes an IPv6 host as URLs do, a parsed request has it bare.
fn without_brackets(host: &HostMatch) -> HostMatch {
    match host {
        HostMatch::Exact(host) => {
            let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            HostMatch::Exact(bare.unwrap_or(host).into())
        }
        HostMatch::Suffix(suffix) => HostMatch::Suffix(suffix.clone()),
    }
}

/// Each of the list, or once "any" for an empty one.
fn each_or_any<T>(list: &[T]) -> impl Iterator<Item = Option<&T>> {
    let any = if list.is_empty() { Some(None) } else { None };
    list.iter().map(Some).chain(any)
}

impl Rule {
    fn order(&self) -> impl Ord + use<> {
        let host = match &self.host {
            Some(HostMatch::Exact(_)) => (0, Reverse(0)),
            Some(HostMatch::Suffix(suffix)) => (1, Reverse(suffix.len())),
            None => (2, Reverse(0)),
        };
        let path = match &self.path {
            PathRule::Exact(path) => (0, Reverse(path.len())),
            PathRule::Template(segments) => {
                let literal = segments.iter().filter(|part| matches!(part, Segment::Literal(_))).count();
                (1, Reverse(literal))
            }
            PathRule::Regex(_) => (2, Reverse(0)),
            PathRule::Prefix(path) => (3, Reverse(path.len())),
            PathRule::Any => (4, Reverse(0)),
        };
        let matches = &self.destination.route.matches;
        let conditions = matches.headers.len()
            + matches.query.len()
            + matches.cookies.len()
            + usize::from(!matches.methods.is_empty());
        (Reverse(self.destination.route.priority), host, path, Reverse(conditions))
    }

    fn takes_host(&self, host: &str) -> bool {
        match &self.host {
            None => true,
            Some(HostMatch::Exact(name)) => **name == *host,
            Some(HostMatch::Suffix(suffix)) => host.len() > suffix.len() && host.ends_with(&**suffix),
        }
    }
}

impl PathRule {
    fn new(path: Option<&PathMatch>) -> Result<PathRule, String> {
        Ok(match path {
            None => PathRule::Any,
            Some(PathMatch::Prefix(prefix)) if prefix.is_empty() => PathRule::Any,
            Some(PathMatch::Prefix(prefix)) => PathRule::Prefix(prefix.clone()),
            Some(PathMatch::Exact(path)) => PathRule::Exact(path.clone()),
            Some(PathMatch::Template(segments)) => PathRule::Template(segments.clone()),
            // The whole path must match, whatever anchors the expression has.
            Some(PathMatch::Regex(text)) => {
                PathRule::Regex(Regex::new(&format!("^(?:{text})$")).map_err(|error| error.to_string())?)
            }
        })
    }

    fn matches(&self, path: &str) -> Option<Parameters> {
        let matched = match self {
            PathRule::Any => true,
            PathRule::Exact(exact) => **exact == *path,
            PathRule::Prefix(prefix) => {
                path.strip_prefix(&**prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            PathRule::Regex(regex) => regex.is_match(path),
            PathRule::Template(segments) => return match_template(segments, path),
        };
        matched.then(Parameters::new)
    }
}

fn match_template(segments: &[Segment], path: &str) -> Option<Parameters> {
    let mut parameters = Parameters::new();
    let mut rest = path.strip_prefix('/')?;
    let mut at_end = false;
    for segment in segments {
        if at_end {
            return None;
        }
        if let Segment::Rest(name) = segment {
            parameters.push((name.clone(), rest.into()));
            return Some(parameters);
        }
        let part;
        (part, rest) = match rest.split_once('/') {
            Some((part, rest)) => (part, rest),
            None => {
                at_end = true;
                (rest, "")
            }
        };
        match segment {
            Segment::Literal(literal) if **literal == *part => {}
            Segment::Parameter(name) if !part.is_empty() => parameters.push((name.clone(), part.into())),
            Segment::Literal(_) | Segment::Parameter(_) | Segment::Rest(_) => return None,
        }
    }
    at_end.then_some(parameters)
}

fn conditions_hold(matches: &model::gateway::Match, head: &RequestHead) -> bool {
    matches.headers.iter().all(|wanted| {
        let mut values = head.fields.find_all(wanted.name.as_bytes());
        match &wanted.value {
            None => values.next().is_some(),
            Some(value) => values.any(|found| found == value.as_bytes()),
        }
    }) && matches.query.iter().all(|wanted| query_has(head.target.query().unwrap_or(""), wanted))
        && matches.cookies.iter().all(|wanted| cookie_has(head, wanted))
}

/// Names and values are compared after percent-decoding, with `+` as space, as HTML forms send them.
fn query_has(query: &str, wanted: &NamedMatch) -> bool {
    query.split('&').filter(|pair| !pair.is_empty()).any(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        decodes_to(name, &wanted.name) && wanted.value.as_ref().is_none_or(|want| decodes_to(value, want))
    })
}

/// Whether form-encoded text stands for `plain`, without decoding it into memory.
fn decodes_to(encoded: &str, plain: &str) -> bool {
    let mut encoded = encoded.bytes();
    let mut plain = plain.bytes();
    loop {
        let next = match encoded.next() {
            None => return plain.next().is_none(),
            Some(b'+') => b' ',
            Some(b'%') => {
                let digits = (encoded.next().and_then(hex), encoded.next().and_then(hex));
                let (Some(high), Some(low)) = digits else { return false };
                high << 4 | low
            }
            Some(byte) => byte,
        };
        if plain.next() != Some(next) {
            return false;
        }
    }
}

fn hex(byte: u8) -> Option<u8> {
    (byte as char).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn cookie_has(head: &RequestHead, wanted: &NamedMatch) -> bool {
    cookies(head, &wanted.name).any(|value| wanted.value.as_ref().is_none_or(|want| value == want.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::{Lookup, Overrides, Source};
    use upstream::{Registry, Resolver};

    struct Nothing;

    impl Lookup for Nothing {
        fn env(&self, _: &str) -> Option<String> {
            None
        }

        fn file(&self, _: &std::path::Path) -> std::io::Result<String> {
            Err(std::io::ErrorKind::NotFound.into())
        }
    }

    fn table(routes: &[String]) -> RouteTable {
        let text = format!(
            "upstreams: [{{ name: app, targets: [\"http://192.0.2.1\"] }}]\n\
             services: [{{ name: shop, upstream: app, routes: [{}] }}]\n",
            routes.join(", ")
        );
        let source = Source { name: "test.yaml".to_owned(), text };
        let checked = config::build(std::slice::from_ref(&source), &Overrides::default(), &Nothing);
        let gateway = checked.unwrap_or_else(|problems| panic!("{problems:?}\n{}", source.text)).gateway;
        let registry = Registry::new(Resolver::new(tokio::runtime::Handle::current()));
        let upstreams = gateway.upstreams.iter();
        let upstreams =
            upstreams.map(|(name, settings)| (name.clone(), registry.upstream(settings).unwrap()));
        RouteTable::new(&gateway, &upstreams.collect(), &Rests::default()).unwrap()
    }

    /// What a request finds, by the index and by asking every rule.
    fn both_ways(table: &RouteTable, head: &RequestHead) -> [String; 2] {
        [table.find(head), table.first(table.rules.iter(), head, head.target.path())].map(|result| {
            match result {
                Ok(found) => format!("{} {:?}", found.destination.route.name, found.parameters),
                Err(not_found) => format!("{not_found:?}"),
            }
        })
    }

    /// Small numbers in an order of their own, the same in each run.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, sides: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as usize % sides
        }

        fn one_of<'a>(&mut self, all: &[&'a str]) -> &'a str {
            all[self.below(all.len())]
        }
    }

    /// The name says what it is, so that a failure does.
    fn route(number: usize, dice: &mut Dice) -> String {
        let mut path = String::new();
        for depth in 0..dice.below(4) {
            let parameter = format!("{{p{depth}}}");
            path.push('/');
            path.push_str(dice.one_of(&["a", "a", "b", "ab", &parameter]));
        }
        path.push_str(dice.one_of(&["/*", "/*", "/c", "", "/{rest...}"]));
        let path = match dice.below(8) {
            0 => "~ /a(/.*)?".to_owned(),
            _ if path.is_empty() => "/".to_owned(),
            _ if path.contains('{') => path.replace('*', "{last}"),
            _ => path,
        };
        let host = dice.one_of(&["", "", "hosts: [a.test], ", "hosts: [b.test], ", "hosts: [\"*.test\"], "]);
        let method = dice.one_of(&["", "", "methods: [GET], ", "methods: [POST, PUT], "]);
        let priority = dice.below(8).saturating_sub(6);
        format!("{{ name: r{number}, {host}{method}priority: {priority}, paths: [\"{path}\"] }}")
    }

    #[tokio::test]
    async fn the_index_finds_what_asking_every_rule_finds() {
        let mut dice = Dice(7);
        let mut head = RequestHead::default();
        let mut found = 0;
        for _ in 0..200 {
            let routes: Vec<String> =
                (0..1 + dice.below(40)).map(|number| route(number, &mut dice)).collect();
            let table = table(&routes);
            for _ in 0..100 {
                let mut path = String::new();
                for _ in 0..dice.below(6) {
                    path.push('/');
                    path.push_str(dice.one_of(&["a", "a", "b", "ab", "c", ""]));
                }
                if path.is_empty() {
                    path.push('/');
                }
                let host = dice.one_of(&["a.test", "b.test", "c.test", "other"]);
                head.clear();
                head.method = Method::parse(dice.one_of(&["GET", "POST"]).as_bytes()).unwrap();
                head.set_target(path.as_bytes(), Some(host.as_bytes())).unwrap();
                let [indexed, scanned] = both_ways(&table, &head);
                assert_eq!(indexed, scanned, "{host}{path}\n{}", routes.join("\n"));
                found += usize::from(indexed.starts_with('r'));
            }
        }
        assert!(found > 5_000, "the requests must mean something: {found}");
    }
}
