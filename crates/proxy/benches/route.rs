//! What finding a route costs with few and with many routes on one host. `cargo bench -p proxy --bench route`; numbers
//! to read, not a test.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints, and a broken configuration must stop it"
)]

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use config::{Lookup, Overrides, Source};
use proxy::RouteTable;
use upstream::{Registry, Resolver};
use wire::RequestHead;

const LOOKUPS: u32 = 1_000;
const ROUNDS: usize = 20;

struct Nothing;

impl Lookup for Nothing {
    fn env(&self, _: &str) -> Option<String> {
        None
    }

    fn file(&self, _: &Path) -> std::io::Result<String> {
        Err(std::io::ErrorKind::NotFound.into())
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let registry = Registry::new(Resolver::new(runtime.handle().clone()));
    for routes in [1, 10, 100, 3_000] {
        let table = table(routes, &registry);
        let last = routes - 1;
        report(&table, routes, "exact", &format!("/v1/exact-{last}"));
        report(&table, routes, "template", &format!("/v1/items-{last}/42"));
        report(&table, routes, "prefix", &format!("/v1/files-{last}/a/b/c"));
        report(&table, routes, "none", "/v1/nowhere");
    }
}

/// Three routes each: an exact path, a template and a prefix.
fn table(routes: usize, registry: &Registry) -> RouteTable {
    let routes: Vec<String> = (0..routes)
        .map(|n| format!("{{ paths: [/v1/exact-{n}, \"/v1/items-{n}/{{id}}\", \"/v1/files-{n}/*\"] }}"))
        .collect();
    let text = format!(
        "upstreams: [{{ name: app, targets: [\"http://192.0.2.1\"] }}]\n\
         services: [{{ name: api, upstream: app, routes: [{}] }}]\n",
        routes.join(", ")
    );
    let source = Source { name: "bench.yaml".to_owned(), text };
    let gateway = config::build(&[source], &Overrides::default(), &Nothing).unwrap().gateway;
    let upstreams = gateway.upstreams.iter();
    let upstreams = upstreams.map(|(name, settings)| (name.clone(), registry.upstream(settings).unwrap()));
    RouteTable::new(&gateway, &upstreams.collect(), &proxy::Rests::default()).unwrap()
}

fn report(table: &RouteTable, routes: usize, what: &str, path: &str) {
    let mut head = RequestHead::default();
    head.set_target(path.as_bytes(), Some(b"api.example.com")).unwrap();
    assert_eq!(table.find(&head).is_ok(), what != "none", "{path}");
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        for _ in 0..LOOKUPS {
            let _ = black_box(table.find(black_box(&head)));
        }
        best = best.min(started.elapsed() / LOOKUPS);
    }
    println!("{routes} routes, {what}: {} ns", best.as_nanos());
}
