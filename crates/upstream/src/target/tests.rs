//! Reloads and the state of targets that outlives them.

use super::*;
use crate::resolve::Resolver;
use std::future::poll_fn;

struct Nothing;

impl config::Lookup for Nothing {
    fn env(&self, _: &str) -> Option<String> {
        None
    }

    fn file(&self, path: &std::path::Path) -> std::io::Result<String> {
        std::fs::read_to_string(path)
    }
}

pub(crate) fn registry() -> Registry {
    Registry::new(Resolver::new(tokio::runtime::Handle::current()))
}

/// The upstream `app` with these settings in flow style, made and not yet in charge.
pub(crate) fn upstream(registry: &Registry, settings: &str) -> Arc<Upstream> {
    let text =
        format!("upstreams: [{{ name: app, {settings} }}]\nservices: [{{ name: shop, upstream: app }}]\n");
    let source = config::Source { name: "test.yaml".to_owned(), text };
    let checked = config::build(&[source], &config::Overrides::default(), &Nothing).unwrap();
    registry.upstream(checked.gateway.upstreams.get("app").unwrap()).unwrap()
}

fn serving(registry: &Registry, settings: &str) -> Arc<Upstream> {
    let upstream = upstream(registry, settings);
    upstream.take_over();
    upstream
}

pub(crate) fn wanted() -> Wanted {
    Wanted { tried: 0, may_try: true, regardless: false, streams: false, affinity: Affinity::default() }
}

#[tokio::test]
async fn a_configuration_that_is_made_and_refused_changes_nothing() {
    let registry = registry();
    let settings = "targets: [\"http://127.0.0.1:1\"], concurrency: 1";
    let check = "health: { check: { http: /healthz, interval: 1h, fall: 1 } }";
    let serving = serving(&registry, &format!("{settings}, {check}"));
    let target = &serving.targets[0];
    serving.checked(target, Instant::now(), &Err(check::Failed::Status(500)));
    let Choice::Slot(slot) = serving.choose(wanted(), Instant::now(), 0) else { panic!() };
    let patient = Patient {
        criticality: model::gateway::Criticality::Normal,
        bytes: 0,
        may_try: true,
        streams: false,
        affinity: Affinity::default(),
    };
    let mut waiting = serving.wait(patient, Instant::now()).unwrap();
    drop(upstream(&registry, settings));
    assert_eq!(target.state.condition().id(), "down");
    drop(slot);
    let came = poll_fn(|cx| waiting.poll(cx)).await.unwrap();
    assert!(Arc::ptr_eq(came.upstream(), &serving));
}
