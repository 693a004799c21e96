//! What outcomes and checks make of a target, one by one and in any order.

use super::*;
use Outcome::Good;

const FAULTY: Outcome = Outcome::Faulty(Sign::Fault(Fault::EarlyClose));
const REFUSED: Outcome = Outcome::Unreachable(Fault::ConnectRefused);

const RULES: HealthRules = HealthRules {
    unreachable_after: 2,
    eject_after: 3,
    ejection: Duration::from_secs(5),
    ejection_max: Duration::from_secs(60),
    ejected_max_percent: 50,
    slow_start: Duration::from_secs(10),
    failure_share: None,
    check: None,
};

const CHECK: Check = Check {
    kind: model::gateway::CheckKind::Tcp,
    interval: Duration::from_secs(1),
    timeout: Duration::from_secs(1),
    rise: 2,
    fall: 3,
};

struct Run {
    health: Health,
    begun: Instant,
}

impl Run {
    fn new() -> Run {
        Run { health: Health::default(), begun: Instant::now() }
    }

    fn at(&self, seconds: u64) -> Instant {
        self.begun + Duration::from_secs(seconds)
    }

    fn observe(&mut self, seconds: u64, outcomes: &[Outcome]) {
        for outcome in outcomes {
            self.health.observe(&RULES, self.at(seconds), self.at(seconds), *outcome, true);
        }
    }

    fn admission(&self, seconds: u64) -> Admission {
        self.health.admission(&RULES, self.at(seconds))
    }
}

#[test]
fn failures_in_a_row_eject_for_a_time_that_doubles() {
    let mut run = Run::new();
    run.observe(0, &[FAULTY, FAULTY, Good, FAULTY, FAULTY]);
    assert_eq!(run.admission(0), Admission::Share(1.0), "never three in a row");
    run.observe(0, &[FAULTY]);
    assert_eq!((run.admission(4), run.admission(5)), (Admission::No, Admission::Trial));
    run.health.begin_trial(run.at(5));
    assert_eq!(run.admission(6), Admission::No, "one at a time");
    run.observe(6, &[FAULTY]);
    assert_eq!((run.admission(15), run.admission(16)), (Admission::No, Admission::Trial), "ten seconds");
    for _ in 0..10 {
        run.observe(16, &[]);
        run.health.begin_trial(run.at(16));
        run.observe(16, &[FAULTY]);
    }
    assert_eq!((run.admission(75), run.admission(76)), (Admission::No, Admission::Trial), "a minute at most");
}

#[test]
fn connections_that_fail_and_failures_of_what_connected_are_two_rows() {
    let mut run = Run::new();
    run.observe(0, &[REFUSED, FAULTY, REFUSED, FAULTY]);
    assert_eq!((run.admission(0), run.health.failures()), (Admission::Share(1.0), 2));
    run.observe(0, &[FAULTY]);
    assert_eq!(run.health.condition().id(), "ejected", "three that reached it");
    let mut run = Run::new();
    run.observe(0, &[FAULTY, FAULTY, REFUSED]);
    assert_eq!(run.admission(0), Admission::Share(1.0));
    run.observe(0, &[REFUSED]);
    assert_eq!(run.health.condition().id(), "unreachable", "two that did not");
}

#[test]
fn a_trial_that_goes_well_brings_it_back_slowly() {
    let mut run = Run::new();
    run.observe(0, &[FAULTY, FAULTY, FAULTY]);
    run.observe(1, &[Good]);
    assert_eq!(run.admission(1), Admission::No, "that one had begun before");
    run.health.begin_trial(run.at(5));
    run.observe(6, &[Good]);
    assert_eq!(run.admission(6), Admission::Share(SHARE_MIN));
    assert_eq!(run.admission(11), Admission::Share(0.5));
    assert_eq!(run.admission(16), Admission::Share(1.0));
}

#[test]
fn what_began_before_decides_no_trial_and_brings_nothing_back() {
    let mut run = Run::new();
    run.observe(0, &[FAULTY, FAULTY, FAULTY]);
    run.health.begin_trial(run.at(5));
    for outcome in [Good, FAULTY] {
        assert_eq!(run.health.observe(&RULES, run.at(4), run.at(6), outcome, true), None);
    }
    assert!(run.health.observe(&RULES, run.at(5), run.at(6), Good, true).is_some());
    run.observe(7, &[REFUSED, REFUSED]);
    assert_eq!(run.health.observe(&RULES, run.at(6), run.at(8), Good, true), None, "it is stopping");
    assert!(run.health.observe(&RULES, run.at(8), run.at(8), Good, true).is_some());
}

#[test]
fn a_trial_without_an_outcome_is_followed_by_another() {
    let mut run = Run::new();
    run.observe(0, &[FAULTY, FAULTY, FAULTY]);
    run.health.begin_trial(run.at(5));
    assert_eq!((run.admission(14), run.admission(15)), (Admission::No, Admission::Trial));
}

#[test]
fn a_trial_that_nobody_fit_for_it_begins_is_anybodys_after_a_while() {
    let mut run = Run::new();
    run.observe(0, &[FAULTY, FAULTY, FAULTY]);
    assert!(!run.health.is_overdue(run.at(14)));
    assert!(run.health.is_overdue(run.at(15)));
}

#[test]
fn what_cannot_be_reached_is_left_to_probes() {
    let mut run = Run::new();
    run.observe(0, &[REFUSED]);
    assert_eq!(run.admission(0), Admission::Share(1.0));
    run.observe(0, &[REFUSED]);
    assert_eq!(run.admission(1000), Admission::No);
    run.health.reached(run.at(1000));
    assert_eq!(run.admission(1000), Admission::Share(SHARE_MIN));
}

#[test]
fn the_last_ones_are_not_ejected() {
    let mut run = Run::new();
    for _ in 0..100 {
        assert_eq!(run.health.observe(&RULES, run.at(0), run.at(0), FAULTY, false), None);
    }
    assert_eq!(run.admission(0), Admission::Share(1.0));
    assert!(
        run.health.observe(&RULES, run.at(0), run.at(0), FAULTY, true).is_some(),
        "but as soon as there are others"
    );
}

#[test]
fn it_says_why_it_is_out() {
    let mut run = Run::new();
    let why = |run: &Run| run.health.why().unwrap_or_default();
    run.observe(0, &[FAULTY, FAULTY]);
    assert_eq!(run.health.why(), None);
    run.observe(0, &[Outcome::Faulty(Sign::Status(503))]);
    assert_eq!(why(&run), "3 failures in a row, last 503");
    run.health.begin_trial(run.at(5));
    run.observe(6, &[FAULTY]);
    assert_eq!(why(&run), "it failed its trial: early-close");
    run.health.begin_trial(run.at(16));
    run.observe(16, &[Good]);
    assert_eq!(run.health.why(), None);
    run.observe(16, &[REFUSED, REFUSED]);
    assert_eq!(why(&run), "connect-refused");
}

#[test]
fn a_share_of_failures_ejects_and_its_trial_is_for_that() {
    let mut run = Run::new();
    let excess = Excess { index: 0, own_percent: 47, others_percent: 3 };
    run.health.eject_for_share(&RULES, run.at(0), excess);
    assert_eq!(run.health.why().as_deref(), Some("47% of its requests failed, 3% of the others'"));
    run.health.begin_trial(run.at(5));
    assert!(run.health.is_tried_for_share());
    run.observe(6, &[FAULTY]);
    run.health.begin_trial(run.at(16));
    assert!(run.health.is_tried_for_share(), "still for that");
    run.observe(16, &[Outcome::Error(500)]);
    assert_eq!(run.admission(16), Admission::Share(SHARE_MIN), "the caller says what an error means here");
    run.health.eject_for_share(&RULES, run.at(26), excess);
    run.health.eject_for_share(&RULES, run.at(27), excess);
    assert_eq!((run.admission(45), run.admission(46)), (Admission::No, Admission::Trial), "once");
}

#[test]
fn checks_take_a_target_out_and_bring_it_back_slowly() {
    let mut run = Run::new();
    let at = run.at(0);
    let check = |run: &mut Run, result| run.health.checked(&CHECK, at, result);
    assert_eq!(check(&mut run, Err("500")), None);
    assert_eq!(check(&mut run, Err("500")), None);
    assert_eq!(check(&mut run, Ok(())), None);
    assert_eq!(check(&mut run, Err("500")), None);
    assert_eq!(check(&mut run, Err("501")), None, "never three in a row");
    assert_eq!(check(&mut run, Err("502")), Some(Condition::Down { since: at }));
    assert_eq!(check(&mut run, Err("503")), None);
    assert_eq!((run.admission(100), run.health.why().as_deref()), (Admission::No, Some("503")));
    run.observe(100, &[Good]);
    assert_eq!(run.admission(100), Admission::No, "only checks bring it back");
    assert_eq!(check(&mut run, Ok(())), None);
    assert_eq!(check(&mut run, Ok(())), Some(Condition::Up { since: Some(at) }));
    assert_eq!(run.admission(0), Admission::Share(SHARE_MIN));
    assert_eq!(run.health.why(), None);
}

#[test]
fn checks_and_requests_do_not_overrule_each_other() {
    let mut run = Run::new();
    run.observe(0, &[FAULTY, FAULTY, FAULTY]);
    for _ in 0..5 {
        run.health.checked(&CHECK, run.at(1), Ok(()));
    }
    assert_eq!(run.admission(1), Admission::No, "its ejection goes on");
    for _ in 0..3 {
        run.health.checked(&CHECK, run.at(1), Err("500"));
    }
    assert_eq!(run.admission(5), Admission::No, "no trial while it is down");
    run.observe(6, &[REFUSED, REFUSED]);
    assert_eq!(run.health.condition().id(), "unreachable");
    run.health.reached(run.at(7));
    assert_eq!(run.health.condition().id(), "down", "its application is not up yet");
    run.health.checked(&CHECK, run.at(8), Ok(()));
    run.health.checked(&CHECK, run.at(9), Ok(()));
    assert_eq!(run.admission(9), Admission::Share(SHARE_MIN));
}

#[test]
fn a_target_that_is_not_checked_any_more_is_not_down_for_ever() {
    let mut run = Run::new();
    for _ in 0..3 {
        run.health.checked(&CHECK, run.at(0), Err("500"));
    }
    run.health.unchecked();
    assert_eq!(run.admission(0), Admission::Share(1.0));
}

#[test]
fn without_a_slow_start_a_target_is_back_at_once() {
    let mut run = Run::new();
    run.observe(0, &[REFUSED, REFUSED]);
    run.health.reached(run.at(1));
    let rules = HealthRules { slow_start: Duration::ZERO, ..RULES };
    assert_eq!(run.health.admission(&rules, run.at(1)), Admission::Share(1.0));
}

use proptest::prelude::*;

proptest! {
    /// Whatever happens to how many targets: never more of them are ejected than may be, and one alone never is.
    #[test]
    fn the_ejected_share_never_exceeds_its_cap(
        targets in 1usize..8,
        percent in 0u32..=100,
        events in prop::collection::vec((0usize..8, 0u8..8, 0u64..4_000), 1..300),
    ) {
        let rules = HealthRules { ejected_max_percent: percent, ..RULES };
        let mut fleet = vec![Health::default(); targets];
        let mut now = Instant::now();
        for (target, event, millis) in events {
            now += Duration::from_millis(millis);
            let out = fleet.iter().filter(|health| !health.is_up()).count();
            let may_eject = rules.may_eject(out, targets);
            let health = &mut fleet[target % targets];
            match event {
                0 => { health.observe(&rules, now, now, Good, may_eject); }
                1 | 2 => { health.observe(&rules, now, now, FAULTY, may_eject); }
                3 => { health.observe(&rules, now, now, REFUSED, may_eject); }
                4 => { health.checked(&CHECK, now, Ok(())); }
                5 => { health.checked(&CHECK, now, Err("500")); }
                6 if may_eject => {
                    health.eject_for_share(&rules, now, Excess { index: 0, own_percent: 50, others_percent: 0 });
                }
                _ => match health.admission(&rules, now) {
                    Admission::Trial => health.begin_trial(now),
                    Admission::Share(share) => prop_assert!(share > 0.0 && share <= 1.0),
                    Admission::No => {
                        health.reached(now);
                    }
                },
            }
            let ejected = fleet.iter().filter(|health| matches!(health.condition(),
                Condition::Ejected { .. } | Condition::Trial { .. })).count();
            prop_assert!(ejected * 100 <= percent as usize * targets, "{ejected} of {targets} at {percent}%");
            prop_assert!(targets > 1 || ejected == 0);
        }
    }
}
