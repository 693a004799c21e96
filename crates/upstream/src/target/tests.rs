//! Reloads and the state of targets that outlives them.

use super::*;
use crate::resolve::Resolver;
use model::Fault;
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

const REFUSED: Outcome = Outcome::Unreachable(Fault::ConnectRefused);

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let limit = tokio::time::timeout(Duration::from_secs(10), async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    });
    assert!(limit.await.is_ok(), "{what}");
}

/// An address where nobody listens, until somebody does.
fn closed() -> (SocketAddr, tokio::net::TcpSocket) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    (socket.local_addr().unwrap(), socket)
}

#[tokio::test]
async fn what_an_exchange_of_before_a_reload_finds_unreachable_is_probed_as_long_as_anybody_uses_it() {
    let registry = registry();
    let (address, socket) = closed();
    let old = serving(&registry, &format!("targets: [\"http://{address}\"]"));
    let new = serving(&registry, &format!("targets: [\"http://{address}\"], concurrency: 7"));
    old.observe(&old.targets[0], Instant::now(), REFUSED);
    drop(old);
    let state = &new.targets[0].state;
    assert_eq!(state.condition().id(), "unreachable");
    let _listener = socket.listen(8).unwrap();
    until("a probe", || state.condition().id() == "up").await;
}

#[tokio::test]
async fn there_is_one_probe_however_often_the_target_goes() {
    let registry = registry();
    let (address, socket) = closed();
    let settings = format!("targets: [\"http://{address}\"]");
    let upstream = serving(&registry, &settings);
    let target = &upstream.targets[0];
    upstream.observe(target, Instant::now(), REFUSED);
    upstream.take_over();
    serving(&registry, &settings);
    assert_eq!(Arc::weak_count(&target.state), 2, "the registry's, and that of a probe");
    let _listener = socket.listen(8).unwrap();
    until("a probe", || target.state.condition().id() == "up").await;
    upstream.observe(target, Instant::now(), REFUSED);
    until("the next one", || target.state.condition().id() == "up").await;
}

#[tokio::test]
async fn a_check_that_connects_brings_back_what_could_not_be_reached() {
    let registry = registry();
    let (address, _socket) = closed();
    let settings = "health: { check: { http: /healthz, interval: 1h, rise: 1, fall: 1 } }";
    let upstream = serving(&registry, &format!("targets: [\"http://{address}\"], {settings}"));
    let target = &upstream.targets[0];
    for (result, expect) in [(Err(check::Failed::Status(500)), "down"), (Ok(()), "up")] {
        upstream.observe(target, Instant::now(), REFUSED);
        assert_eq!(target.state.condition().id(), "unreachable");
        upstream.checked(target, Instant::now(), &result);
        assert_eq!(target.state.condition().id(), expect);
    }
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
