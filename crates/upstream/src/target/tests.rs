//! Reloads and the state of targets that outlives them.

use super::*;
use crate::health::Sign;
use crate::resolve::Resolver;
use crate::waiting::Patience;
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

const FAULTY: Outcome = Outcome::Faulty(Sign::Status(503));

const PATIENT: Patient = Patient {
    criticality: model::gateway::Criticality::Normal,
    bytes: 0,
    may_try: true,
    tried: 0,
    streams: false,
    affinity: Affinity { key: None, target: None },
};

fn slot(choice: Choice) -> Slot {
    match choice {
        Choice::Slot(slot) => slot,
        other => panic!("{other:?}"),
    }
}

/// Two targets that nobody asks, with one slot each.
fn two(registry: &Registry, more: &str) -> Arc<Upstream> {
    serving(
        registry,
        &format!("targets: [\"http://127.0.0.1:1\", \"http://127.0.0.1:2\"], concurrency: 1{more}"),
    )
}

async fn granted(waiting: &mut Waiting) -> Slot {
    let granted = tokio::time::timeout(Duration::from_secs(4), poll_fn(|cx| waiting.poll(cx)));
    granted.await.expect("room must be given to those who wait").unwrap()
}

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
    old.observe(&old.targets[0], Instant::now(), Instant::now(), REFUSED);
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
    upstream.observe(target, Instant::now(), Instant::now(), REFUSED);
    upstream.take_over();
    serving(&registry, &settings);
    assert_eq!(Arc::weak_count(&target.state), 2, "the registry's, and that of a probe");
    let _listener = socket.listen(8).unwrap();
    until("a probe", || target.state.condition().id() == "up").await;
    upstream.observe(target, Instant::now(), Instant::now(), REFUSED);
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
        upstream.observe(target, Instant::now(), Instant::now(), REFUSED);
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
    let mut waiting = serving.wait(PATIENT, Instant::now()).unwrap();
    drop(upstream(&registry, settings));
    assert_eq!(target.state.condition().id(), "down");
    drop(slot);
    let came = poll_fn(|cx| waiting.poll(cx)).await.unwrap();
    assert!(Arc::ptr_eq(came.upstream(), &serving));
}

#[tokio::test]
async fn room_that_a_reload_brings_is_given_to_those_who_wait() {
    let one = "targets: [\"http://127.0.0.1:1\"]";
    for (before, after) in [
        ("concurrency: 1", format!("{one}, concurrency: 2")),
        (
            "concurrency: 1",
            "targets: [\"http://127.0.0.1:1\", \"http://127.0.0.1:2\"], concurrency: 1".to_owned(),
        ),
    ] {
        let registry = registry();
        let old = serving(&registry, &format!("{one}, {before}"));
        let _held = slot(old.choose(wanted(), Instant::now(), 0));
        let mut waiting = old.wait(PATIENT, Instant::now()).unwrap();
        let new = serving(&registry, &after);
        assert!(Arc::ptr_eq(granted(&mut waiting).await.upstream(), &new), "{after}");
    }
}

#[tokio::test]
async fn who_waits_for_an_outage_goes_to_a_target_that_a_reload_brings() {
    let registry = registry();
    let old = serving(&registry, "targets: [\"http://127.0.0.1:1\"]");
    let begun = Instant::now();
    old.observe(&old.targets[0], begun, begun, Outcome::Good);
    old.observe(&old.targets[0], begun, begun, REFUSED);
    let mut waiting = old.wait(PATIENT, begun).unwrap();
    assert_eq!(waiting.patience(begun, None), Patience::Until(begun + Duration::from_secs(5)));
    let new = serving(&registry, "targets: [\"http://127.0.0.1:1\", \"http://127.0.0.1:2\"]");
    assert_eq!(granted(&mut waiting).await.target().id, new.targets[1].id);
}

#[tokio::test]
async fn a_target_that_its_checks_bring_back_is_given_to_those_who_wait() {
    let registry = registry();
    let upstream = two(&registry, ", health: { check: { http: /healthz, interval: 1h, rise: 1, fall: 1 } }");
    upstream.checked(&upstream.targets[1], Instant::now(), &Err(check::Failed::Status(500)));
    let _held = slot(upstream.choose(wanted(), Instant::now(), 0));
    let mut waiting = upstream.wait(PATIENT, Instant::now()).unwrap();
    upstream.checked(&upstream.targets[1], Instant::now(), &Ok(()));
    assert_eq!(granted(&mut waiting).await.index(), 1);
}

#[tokio::test]
async fn the_end_of_an_ejection_is_seen_by_those_who_wait_and_they_may_be_overtaken_for_it() {
    let registry = registry();
    let upstream = two(&registry, ", health: { eject-after: 1, ejection: 100ms }");
    upstream.observe(&upstream.targets[1], Instant::now(), Instant::now(), FAULTY);
    let _held = slot(upstream.choose(wanted(), Instant::now(), 0));
    let _posts = upstream.wait(Patient { may_try: false, ..PATIENT }, Instant::now()).unwrap();
    let mut waiting = upstream.wait(PATIENT, Instant::now()).unwrap();
    assert_eq!(granted(&mut waiting).await.index(), 1);
    assert_eq!(upstream.waiting(), 1, "the one that may be no trial still waits");
}

#[tokio::test]
async fn only_the_return_of_the_first_target_gives_those_who_wait_another_while() {
    let registry = registry();
    let upstream = two(&registry, "");
    let begun = Instant::now();
    let at = |seconds| begun + Duration::from_secs(seconds);
    let _held: Vec<_> = (0..2).map(|_| slot(upstream.choose(wanted(), begun, 0))).collect();
    let waiting = upstream.wait(PATIENT, begun).unwrap();
    let [one, other] = &*upstream.targets else { panic!() };
    for seconds in 1..4 {
        upstream.observe(one, at(seconds), at(seconds), REFUSED);
        upstream.observe(one, at(seconds), at(seconds), Outcome::Good);
    }
    assert_eq!(waiting.patience(at(4), None), Patience::Until(at(5)), "the other one was there");
    upstream.observe(one, at(4), at(4), REFUSED);
    upstream.observe(other, at(4), at(4), REFUSED);
    assert_eq!(waiting.patience(at(4), None), Patience::Until(at(9)));
    upstream.observe(one, at(5), at(5), Outcome::Good);
    upstream.observe(other, at(6), at(6), Outcome::Good);
    assert_eq!(waiting.patience(at(6), None), Patience::Until(at(10)), "five seconds from then, ten in all");
    assert_eq!(waiting.patience(at(10), None), Patience::Over { standing: false });
}

#[tokio::test]
async fn one_that_has_tried_the_only_target_with_room_keeps_nobody_from_it() {
    let registry = registry();
    let upstream = two(&registry, "");
    let now = Instant::now();
    let first = slot(upstream.choose(wanted(), now, 0));
    let second = slot(upstream.choose(wanted(), now, 0));
    let (of_tried, _of_other) = if first.index() == 0 { (first, second) } else { (second, first) };
    let _tried = upstream.wait(Patient { tried: 1, ..PATIENT }, now).unwrap();
    let mut waiting = upstream.wait(PATIENT, now).unwrap();
    drop(of_tried);
    assert_eq!(granted(&mut waiting).await.index(), 0);
}

#[tokio::test]
async fn who_loses_the_place_to_somebody_more_critical_is_told_why() {
    let registry = registry();
    let held_bytes = |bytes| Patient { bytes, ..PATIENT };
    let more = [
        ("queue: { length: 1 }", held_bytes(0), Full::Length),
        ("queue: { bytes: 10B }", held_bytes(10), Full::Bytes),
    ];
    for (settings, patient, expect) in more {
        let upstream = two(&registry, &format!(", {settings}"));
        let _held: Vec<_> = (0..2).map(|_| slot(upstream.choose(wanted(), Instant::now(), 0))).collect();
        let mut waiting = upstream.wait(patient, Instant::now()).unwrap();
        let critical = Patient { criticality: model::gateway::Criticality::Critical, ..patient };
        let _critical = upstream.wait(critical, Instant::now()).unwrap();
        assert_eq!(poll_fn(|cx| waiting.poll(cx)).await.unwrap_err(), expect);
    }
}

/// One leaves, one comes and waits, and one only asks, all at once: when they are done, nobody waits beside a free slot.
#[tokio::test]
async fn nobody_is_left_waiting_beside_a_free_slot() {
    let registry = registry();
    let upstream = serving(&registry, "targets: [\"http://127.0.0.1:1\"], concurrency: 1");
    for _ in 0..2_000 {
        let now = Instant::now();
        let held = slot(upstream.choose(wanted(), now, 0));
        let barrier = std::sync::Barrier::new(3);
        let _waiting = std::thread::scope(|threads| {
            threads.spawn(|| {
                barrier.wait();
                drop(held);
            });
            threads.spawn(|| {
                barrier.wait();
                for _ in 0..16 {
                    drop(upstream.choose(wanted(), now, 0));
                }
            });
            barrier.wait();
            match upstream.choose(wanted(), now, 0) {
                Choice::Full => Some(upstream.wait(PATIENT, now).unwrap()),
                _ => None,
            }
        });
        assert_eq!(upstream.waiting(), 0);
    }
}

#[tokio::test]
async fn a_trial_that_its_request_has_left_is_given_to_the_next() {
    let registry = registry();
    let upstream = two(&registry, ", health: { eject-after: 1, ejection: 100ms }");
    upstream.observe(&upstream.targets[1], Instant::now(), Instant::now(), FAULTY);
    let _held = slot(upstream.choose(wanted(), Instant::now(), 0));
    let leaving = upstream.wait(PATIENT, Instant::now()).unwrap();
    let mut waiting = upstream.wait(PATIENT, Instant::now()).unwrap();
    until("a trial", || upstream.waiting() == 1).await;
    drop(leaving);
    assert_eq!(granted(&mut waiting).await.index(), 1);
}
