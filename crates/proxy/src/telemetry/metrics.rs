//! Metrics in the text format of Prometheus (version 0.0.4), counted from records; gauges are read when asked for.
//!
//! The number of series is bounded: services, routes, upstreams and targets are named by the configuration, methods
//! that are not registered count as `other`, and statuses have three digits. Nothing that a client chooses freely
//! becomes a label.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use model::{Attempt, Ending, Exchange, Fault, Gateway, Method, RetryRule, Timeline};

use super::exposition::{Exposition, Kind};
use super::{ai, targets};
use crate::spool::{self, Unspooled};
use crate::worker::Shared;

/// Upper bounds of the buckets of durations, as they are written and in microseconds: from an answer out of a cache to
/// a long poll.
const BUCKETS: &[(&str, u64)] = &[
    ("0.001", 1_000),
    ("0.0025", 2_500),
    ("0.005", 5_000),
    ("0.01", 10_000),
    ("0.025", 25_000),
    ("0.05", 50_000),
    ("0.1", 100_000),
    ("0.25", 250_000),
    ("0.5", 500_000),
    ("1", 1_000_000),
    ("2.5", 2_500_000),
    ("5", 5_000_000),
    ("10", 10_000_000),
    ("30", 30_000_000),
    ("60", 60_000_000),
    ("300", 300_000_000),
];

/// A map by a name of the configuration.
type ByName<T> = HashMap<Arc<str>, T, ahash::RandomState>;

/// What was counted since the start of the process.
#[derive(Debug, Default)]
pub struct Metrics {
    services: ByName<Service>,
    /// Requests that no service took.
    unserved: Service,
    /// By upstream, then by target.
    attempts: ByName<ByName<Attempts>>,
    ai: ai::Totals,
}

#[derive(Debug, Default)]
struct Service {
    durations: Histogram,
    request_bytes: u64,
    response_bytes: u64,
    routes: ByName<Requests>,
    /// Requests that no route took.
    unrouted: Requests,
}

/// Few combinations occur, so that a list is faster than a map.
#[derive(Debug, Default)]
struct Requests(Vec<(RequestKind, u64)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RequestKind {
    method: &'static str,
    status: u16,
    fault: Option<Fault>,
}

#[derive(Debug, Default)]
struct Attempts {
    by_fault: Vec<(Option<Fault>, u64)>,
    reused: u64,
    /// Those that followed another, by the rule that allowed it.
    by_rule: Vec<(RetryRule, u64)>,
    /// Those before which a target that accepts was waited for, and how long.
    waited: u64,
    waited_micros: u64,
}

#[derive(Debug, Default)]
pub(super) struct Histogram {
    /// One per bucket and one above, not cumulative.
    counts: [u64; BUCKETS.len() + 1],
    sum_micros: u64,
}

impl Metrics {
    /// Counts an exchange that is over.
    pub fn observe(&mut self, exchange: &Exchange) {
        let Exchange {
            method,
            service,
            route,
            status,
            ending: Ending { by: _, during: _, fault },
            request_body_bytes,
            response_body_bytes,
            timeline: Timeline { head_micros: _, body_micros: _, response_micros: _, done_micros },
            attempts,
            // A label for each of these would be as many series as a client wants.
            id: _,
            started_unix_micros: _,
            client: _,
            host: _,
            path: _,
            external_id: _,
            detail: _,
            // In records; as labels they would multiply every series.
            listener: _,
            protocol: _,
            tls: _,
            consumer: _,
            ai,
        } = exchange;
        if let Some(call) = ai {
            self.ai.observe(exchange, call);
        }
        let service = match service {
            Some(name) => entry(&mut self.services, name),
            None => &mut self.unserved,
        };
        service.durations.observe(*done_micros);
        service.request_bytes += request_body_bytes;
        service.response_bytes += response_body_bytes;
        let requests = match route {
            Some(name) => entry(&mut service.routes, name),
            None => &mut service.unrouted,
        };
        requests.count(RequestKind { method: method_label(method), status: *status, fault: *fault });
        for attempt in attempts {
            self.observe_attempt(attempt);
        }
    }

    fn observe_attempt(&mut self, attempt: &Attempt) {
        let Attempt {
            upstream,
            target,
            why,
            waited,
            reuse,
            ending: Ending { by: _, during: _, fault },
            // In records, where they can be seen beside each other.
            address: _,
            started_micros: _,
            resolve: _,
            connect: _,
            tls: _,
            send: _,
            await_head: _,
            total: _,
            bytes_sent: _,
            bytes_received: _,
            bytes_acked: _,
            status: _,
            peer_end: _,
            errno: _,
            tls_alert: _,
            limit: _,
            detail: _,
        } = attempt;
        let attempts = entry(entry(&mut self.attempts, upstream), target);
        attempts.reused += u64::from(reuse.is_some());
        count(&mut attempts.by_fault, *fault);
        if let Some(why) = why {
            count(&mut attempts.by_rule, *why);
        }
        if let Some(waited) = waited {
            attempts.waited += 1;
            attempts.waited_micros += waited.as_micros() as u64;
        }
    }

    /// Forgets what the running configuration no longer names, so that years of reloads do not add up.
    pub fn forget_unserved(&mut self, shared: &Shared) {
        self.forget_all_but(&shared.serving.load().gateway);
    }

    fn forget_all_but(&mut self, gateway: &Gateway) {
        let routes: HashMap<&str, HashSet<&str>> = gateway
            .services
            .iter()
            .map(|service| (&*service.name, service.routes.iter().map(|route| &*route.name).collect()))
            .collect();
        self.services.retain(|name, service| {
            let named = routes.get(&**name);
            service.routes.retain(|route, _| named.is_some_and(|named| named.contains(&**route)));
            named.is_some()
        });
        self.ai.retain(|service| routes.contains_key(service));
        self.attempts.retain(|name, targets| {
            let named = gateway.upstreams.get(name).map(|upstream| &upstream.targets);
            targets.retain(|url, _| {
                named.is_some_and(|targets| targets.iter().any(|target| target.url == *url))
            });
            named.is_some()
        });
    }

    /// Writes everything that the data plane knows.
    pub fn write(&self, text: &mut Exposition, shared: &Shared) {
        self.write_requests(text);
        text.family(
            "clearway_requests_in_flight",
            Kind::Gauge,
            "Requests that are being served now, upgraded connections included.",
        );
        text.sample("clearway_requests_in_flight", &[], shared.in_flight.load(Ordering::Relaxed) as f64);
        self.write_attempts(text);
        self.ai.write(text);
        write_connections(text, shared);
        targets::write(text, shared);
        write_spool(text, &shared.spool);
        text.family(
            "clearway_records_dropped_total",
            Kind::Counter,
            "Exchanges that were served and not recorded, by where they were lost.",
        );
        let dropped = shared.records.dropped() as f64;
        text.sample("clearway_records_dropped_total", &[("at", "queue")], dropped);
    }

    fn write_requests(&self, text: &mut Exposition) {
        text.family("clearway_requests_total", Kind::Counter, "Requests that are over.");
        for (service, name) in self.all_services() {
            let routes = service.routes.iter().map(|(route, requests)| (&**route, requests));
            for (route, requests) in routes.chain([("", &service.unrouted)]) {
                for (kind, count) in &requests.0 {
                    let labels = [
                        ("service", name),
                        ("route", route),
                        ("method", kind.method),
                        ("status", &kind.status.to_string()),
                        ("fault", kind.fault.map_or("", Fault::id)),
                    ];
                    text.sample("clearway_requests_total", &labels, *count as f64);
                }
            }
        }
        text.family(
            "clearway_request_duration_seconds",
            Kind::Histogram,
            "From the first byte of a request to the end of its answer.",
        );
        for (service, name) in self.all_services() {
            service.durations.write(text, "clearway_request_duration_seconds", &[("service", name)]);
        }
        type Bytes = fn(&Service) -> u64;
        let bytes: [(&str, &str, Bytes); 2] = [
            ("clearway_request_bytes_total", "Body bytes read from clients.", |service| {
                service.request_bytes
            }),
            ("clearway_response_bytes_total", "Body bytes sent to clients.", |service| {
                service.response_bytes
            }),
        ];
        for (family, help, of) in bytes {
            text.family(family, Kind::Counter, help);
            for (service, name) in self.all_services() {
                text.sample(family, &[("service", name)], of(service) as f64);
            }
        }
    }

    fn all_services(&self) -> impl Iterator<Item = (&Service, &str)> {
        let served = self.services.iter().map(|(name, service)| (service, &**name));
        served.chain([(&self.unserved, "")]).filter(|(service, _)| service.durations.count() > 0)
    }

    fn write_attempts(&self, text: &mut Exposition) {
        let all = || {
            self.attempts.iter().flat_map(|(upstream, targets)| {
                targets.iter().map(move |(target, attempts)| (&**upstream, &**target, attempts))
            })
        };
        text.family(
            "clearway_attempts_total",
            Kind::Counter,
            "Tries to have a request answered by a target; the fault is empty where it was.",
        );
        for (upstream, target, attempts) in all() {
            for (fault, count) in &attempts.by_fault {
                let fault = fault.map_or("", Fault::id);
                let labels = [("upstream", upstream), ("target", target), ("fault", fault)];
                text.sample("clearway_attempts_total", &labels, *count as f64);
            }
        }
        text.family(
            "clearway_attempts_reused_total",
            Kind::Counter,
            "Attempts on a connection that had served another one before.",
        );
        for (upstream, target, attempts) in all() {
            let labels = [("upstream", upstream), ("target", target)];
            text.sample("clearway_attempts_reused_total", &labels, attempts.reused as f64);
        }
        text.family(
            "clearway_attempts_repeated_total",
            Kind::Counter,
            "Attempts that followed one that came to nothing, by the rule that allowed it.",
        );
        for (upstream, target, attempts) in all() {
            for (rule, count) in &attempts.by_rule {
                let labels = [("upstream", upstream), ("target", target), ("why", rule.id())];
                text.sample("clearway_attempts_repeated_total", &labels, *count as f64);
            }
        }
        text.family(
            "clearway_attempts_waited_total",
            Kind::Counter,
            "Attempts before which a target that accepts connections was waited for.",
        );
        for (upstream, target, attempts) in all() {
            let labels = [("upstream", upstream), ("target", target)];
            text.sample("clearway_attempts_waited_total", &labels, attempts.waited as f64);
        }
        text.family("clearway_attempts_waited_seconds_total", Kind::Counter, "For how long, together.");
        for (upstream, target, attempts) in all() {
            let labels = [("upstream", upstream), ("target", target)];
            let seconds = attempts.waited_micros as f64 / 1e6;
            text.sample("clearway_attempts_waited_seconds_total", &labels, seconds);
        }
    }
}

fn write_spool(text: &mut Exposition, usage: &spool::Usage) {
    text.family(
        "clearway_spool_bytes",
        Kind::Gauge,
        "Taken by request bodies that wait in files for their target.",
    );
    text.sample("clearway_spool_bytes", &[], usage.bytes() as f64);
    text.family("clearway_bodies_spooled_total", Kind::Counter, "Request bodies that were put into files.");
    text.sample("clearway_bodies_spooled_total", &[], usage.spooled() as f64);
    text.family(
        "clearway_bodies_unspooled_total",
        Kind::Counter,
        "Request bodies that were too large for memory and not put into a file, by what was in the way.",
    );
    for why in Unspooled::ALL {
        let count = usage.unspooled(*why) as f64;
        text.sample("clearway_bodies_unspooled_total", &[("why", why.id())], count);
    }
}

/// Few kinds occur, so that a list is faster than a map.
fn count<T: PartialEq>(counts: &mut Vec<(T, u64)>, kind: T) {
    match counts.iter_mut().find(|(known, _)| *known == kind) {
        Some((_, count)) => *count += 1,
        None => counts.push((kind, 1)),
    }
}

fn write_connections(text: &mut Exposition, shared: &Shared) {
    let serving = shared.serving.load();
    let targets = || {
        serving.gateway.upstreams.keys().filter_map(|name| serving.upstreams.get(name)).flat_map(|upstream| {
            upstream.targets.iter().map(move |target| {
                ([("upstream", &*upstream.settings.name), ("target", &*target.settings.url)], &target.state)
            })
        })
    };
    text.family(
        "clearway_upstream_connections",
        Kind::Gauge,
        "Open connections to a target, idle ones included.",
    );
    for (labels, state) in targets() {
        let open = state.connections.load(Ordering::Relaxed);
        text.sample("clearway_upstream_connections", &labels, open as f64);
    }
    text.family("clearway_attempts_in_flight", Kind::Gauge, "Attempts that a target works on now.");
    for (labels, state) in targets() {
        let in_flight = state.in_flight.load(Ordering::Relaxed);
        text.sample("clearway_attempts_in_flight", &labels, in_flight as f64);
    }
    text.family(
        "clearway_target_concurrency_limit",
        Kind::Gauge,
        "Requests that a target is given at once now; absent while there is no limit.",
    );
    for upstream in serving.gateway.upstreams.keys().filter_map(|name| serving.upstreams.get(name)) {
        for target in &upstream.targets {
            if let Some(limit) = upstream.concurrency_limit(target) {
                let labels = [("upstream", &*upstream.settings.name), ("target", &*target.settings.url)];
                text.sample("clearway_target_concurrency_limit", &labels, limit as f64);
            }
        }
    }
    text.family(
        "clearway_upstream_connections_idle",
        Kind::Gauge,
        "Idle connections in the pools of all workers, up to a second old.",
    );
    let idle = shared.idle_connections.load(Ordering::Relaxed);
    text.sample("clearway_upstream_connections_idle", &[], idle as f64);
}

/// The entry of a name, without touching its reference count where it is known.
fn entry<'m, T: Default>(map: &'m mut ByName<T>, name: &Arc<str>) -> &'m mut T {
    if !map.contains_key(name) {
        map.insert(name.clone(), T::default());
    }
    map.get_mut(name).expect("the name must be there: it was inserted just now")
}

fn method_label(method: &Method) -> &'static str {
    match method {
        Method::Connect => "CONNECT",
        Method::Delete => "DELETE",
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Options => "OPTIONS",
        Method::Patch => "PATCH",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Trace => "TRACE",
        Method::Extension(_) => "other",
    }
}

impl Requests {
    fn count(&mut self, kind: RequestKind) {
        count(&mut self.0, kind);
    }
}

impl Histogram {
    pub(super) fn observe(&mut self, micros: u64) {
        let bucket = BUCKETS.iter().position(|(_, bound)| micros <= *bound).unwrap_or(BUCKETS.len());
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.sum_micros += micros;
    }

    fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub(super) fn write(&self, text: &mut Exposition, family: &str, labels: &[(&str, &str)]) {
        let mut cumulative = 0;
        let bounds = BUCKETS.iter().map(|(bound, _)| *bound).chain(["+Inf"]);
        for (bound, count) in bounds.zip(&self.counts) {
            cumulative += count;
            let labels = [labels, &[("le", bound)]].concat();
            text.sample(&format!("{family}_bucket"), &labels, cumulative as f64);
        }
        text.sample(&format!("{family}_sum"), labels, self.sum_micros as f64 / 1e6);
        text.sample(&format!("{family}_count"), labels, self.count() as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::sample::{answered, failed};

    /// The samples of a family, without zeros.
    fn samples(text: &str, family: &str) -> Vec<String> {
        let mut samples: Vec<String> = text
            .lines()
            .filter(|line| line.starts_with(family) && !line.ends_with(" 0"))
            .map(|line| line.strip_prefix(family).unwrap().to_owned())
            .collect();
        samples.sort();
        samples
    }

    fn counted(exchanges: &[Exchange]) -> String {
        let mut metrics = Metrics::default();
        exchanges.iter().for_each(|exchange| metrics.observe(exchange));
        let mut text = Exposition::default();
        metrics.write_requests(&mut text);
        metrics.write_attempts(&mut text);
        text.into_text()
    }

    #[test]
    fn requests_are_counted_by_what_the_configuration_names() {
        let mut unknown = answered();
        unknown.service = None;
        unknown.route = None;
        unknown.attempts.clear();
        unknown.status = 404;
        unknown.ending.fault = Some(Fault::NoRoute);
        let mut repeated = answered();
        for attempt in &mut repeated.attempts {
            attempt.why = Some(RetryRule::Unsent);
            attempt.waited = Some(std::time::Duration::from_millis(250));
        }
        let text = counted(&[repeated, answered(), failed(), unknown]);
        assert_eq!(
            samples(&text, "clearway_requests_total"),
            [
                r#"{service="",route="",method="GET",status="404",fault="no-route"} 1"#,
                r#"{service="shop",route="/items/*",method="GET",status="200",fault=""} 2"#,
                r#"{service="shop",route="/items/*",method="other",status="504",fault="await-head-timeout"} 1"#,
            ]
        );
        assert_eq!(samples(&text, "clearway_request_bytes_total"), [r#"{service="shop"} 10"#]);
        assert_eq!(
            samples(&text, "clearway_response_bytes_total"),
            [r#"{service=""} 512"#, r#"{service="shop"} 1536"#]
        );
        assert_eq!(
            samples(&text, "clearway_attempts_total"),
            [
                r#"{upstream="shop",target="http://app:8000",fault=""} 2"#,
                r#"{upstream="shop",target="http://app:8000",fault="await-head-timeout"} 1"#,
            ]
        );
        assert_eq!(
            samples(&text, "clearway_attempts_reused_total"),
            [r#"{upstream="shop",target="http://app:8000"} 3"#]
        );
        assert_eq!(
            samples(&text, "clearway_attempts_repeated_total"),
            [r#"{upstream="shop",target="http://app:8000",why="unsent"} 1"#]
        );
        assert_eq!(
            samples(&text, "clearway_attempts_waited_seconds_total"),
            [r#"{upstream="shop",target="http://app:8000"} 0.25"#]
        );
    }

    #[test]
    fn durations_fall_into_the_bucket_whose_bound_they_reach() {
        let with_duration = |micros| {
            let mut exchange = answered();
            exchange.timeline.done_micros = micros;
            exchange
        };
        let text = counted(&[with_duration(1_000), with_duration(1_001), with_duration(400_000_000)]);
        let bucket = |bound: &str| {
            let start =
                format!("clearway_request_duration_seconds_bucket{{service=\"shop\",le=\"{bound}\"}} ");
            text.lines().find_map(|line| line.strip_prefix(&start)).unwrap().to_owned()
        };
        assert_eq!([bucket("0.001"), bucket("0.0025"), bucket("300"), bucket("+Inf")], ["1", "2", "2", "3"]);
        assert!(
            text.contains("clearway_request_duration_seconds_sum{service=\"shop\"} 400.002001\n"),
            "{text}"
        );
        assert!(text.contains("clearway_request_duration_seconds_count{service=\"shop\"} 3\n"), "{text}");
    }

    #[test]
    fn labels_are_escaped_and_families_begin_with_help_and_type() {
        let mut text = Exposition::default();
        text.family("a_total", Kind::Counter, "Of a.");
        text.sample("a_total", &[("x", "a\"b\\c\nd"), ("y", "")], 7.0);
        text.family("b", Kind::Gauge, "Of b.");
        text.sample("b", &[], 0.5);
        assert_eq!(
            text.into_text(),
            "# HELP a_total Of a.\n# TYPE a_total counter\na_total{x=\"a\\\"b\\\\c\\nd\",y=\"\"} 7\n\
             # HELP b Of b.\n# TYPE b gauge\nb 0.5\n"
        );
    }
}
