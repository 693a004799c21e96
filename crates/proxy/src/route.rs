//! Which route takes a request.
//!
//! Routes become rules, one per host and path, in one order: priority, then the more exact host, then the more exact
//! path (exact, template, regular expression, longer prefix), then more conditions, then the order of the configuration.
//! The first rule that matches wins. Hosts are found by a map, so that many services do not slow each other.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use model::gateway::{HostMatch, NamedMatch, PathMatch, Route, Segment, Service};
use model::{Fault, Gateway, Method};
use policy::Policies;
use regex::Regex;
use smallvec::SmallVec;
use upstream::Upstream;
use wire::{Known, RequestHead};

/// All rules of a gateway.
#[derive(Debug, Default)]
pub struct RouteTable {
    rules: Vec<Rule>,
    /// For each host named exactly, the rules that can match it, in order.
    by_host: HashMap<Box<str>, Vec<u32>, ahash::RandomState>,
    /// The rules for every other host.
    others: Vec<u32>,
}

/// Where a request goes.
#[derive(Debug)]
pub struct Destination {
    pub service: Arc<Service>,
    pub route: Arc<Route>,
    pub upstream: Arc<Upstream>,
    pub policies: Policies,
}

/// The destination that was found, and the parameters of its path template.
#[derive(Debug)]
pub(crate) struct Found {
    pub destination: Arc<Destination>,
    pub parameters: Parameters,
}

/// Template parameters in the order in which they stand in the template.
pub(crate) type Parameters = SmallVec<[(Box<str>, Box<str>); 2]>;

/// Why no route took it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotFound {
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
    ) -> Result<RouteTable, String> {
        let mut rules = Vec::new();
        for service in &gateway.services {
            for route in &service.routes {
                let upstream = upstreams
                    .get(&route.upstream)
                    .ok_or_else(|| format!("route \"{}\" names no known upstream", route.name))?;
                let destination = Arc::new(Destination {
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
        let mut by_host: HashMap<Box<str>, Vec<u32>, ahash::RandomState> = HashMap::default();
        for rule in &rules {
            if let Some(HostMatch::Exact(host)) = &rule.host {
                by_host.entry(host.clone()).or_default();
            }
        }
        let numbered = || rules.iter().zip(0u32..);
        for (host, list) in &mut by_host {
            list.extend(numbered().filter(|(rule, _)| rule.takes_host(host)).map(|(_, number)| number));
        }
        let others = numbered()
            .filter(|(rule, _)| !matches!(rule.host, Some(HostMatch::Exact(_))))
            .map(|(_, number)| number)
            .collect();
        RouteTable { rules, by_host, others }
    }

    /// The destination of a request.
    pub(crate) fn find(&self, head: &RequestHead) -> Result<Found, NotFound> {
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
        let host = head.target.host();
        let candidates = self.by_host.get(host).unwrap_or(&self.others);
        let mut allow = Vec::new();
        for rule in candidates.iter().filter_map(|number| self.rules.get(*number as usize)) {
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
    head.fields.get_all(Known::Cookie).any(|line| {
        line.split(|byte| *byte == b';').any(|crumb| {
            let crumb = crumb.trim_ascii();
            let at = crumb.iter().position(|byte| *byte == b'=').unwrap_or(crumb.len());
            let (name, value) = crumb.split_at_checked(at).unwrap_or((crumb, b""));
            name == wanted.name.as_bytes()
                && wanted.value.as_ref().is_none_or(|want| value.get(1..) == Some(want.as_bytes()))
        })
    })
}
