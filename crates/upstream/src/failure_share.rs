//! Which target fails a larger share of its requests than its siblings do: a state machine of counts, without a clock.
//!
//! Failures in a row do not show a target that fails every second request, nor one whose application answers 500: that one
//! is fast, so that a choice by latency even prefers it. Compared is what came in the last seconds. An upstream that fails
//! as a whole is nobody's fault: nothing is ejected for it.
//!
//! Counting costs a healthy answer one addition. The rest is done when something has failed, and not more often than every
//! 20 ms.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use model::gateway::FailureShare;

/// How much a window moves at a time: a tenth of it.
const BUCKETS: u32 = 10;
/// Between two looks. Failures that come faster are judged together.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a target has done since the process began.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    good: AtomicU64,
    failed: AtomicU64,
}

impl Tally {
    pub(crate) fn good(&self) {
        self.good.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> Counts {
        Counts { good: self.good.load(Ordering::Relaxed), failed: self.failed.load(Ordering::Relaxed) }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub good: u64,
    pub failed: u64,
}

impl Counts {
    fn all(self) -> u64 {
        self.good + self.failed
    }

    /// The failed share at its worst: with two answers made up, one good and one failed, because a few good ones prove little.
    fn cautious_share(self) -> f64 {
        self.share().max((self.failed + 1) as f64 / (self.all() + 2) as f64)
    }

    fn share(self) -> f64 {
        self.failed as f64 / self.all().max(1) as f64
    }

    fn since(self, before: Counts) -> Counts {
        Counts {
            good: self.good.saturating_sub(before.good),
            failed: self.failed.saturating_sub(before.failed),
        }
    }
}

/// A target that does worse than its siblings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Excess {
    pub index: usize,
    /// What it failed of its own requests, in percent.
    pub own_percent: u32,
    /// What the others failed of theirs.
    pub others_percent: u32,
}

/// The last seconds of all targets of an upstream.
#[derive(Debug)]
pub(crate) struct FailureShares {
    /// By target: what its tally was, oldest first. The first one is the beginning of the window.
    windows: Vec<VecDeque<(Instant, Counts)>>,
    looked: Option<Instant>,
}

impl FailureShares {
    pub(crate) fn new(targets: usize) -> FailureShares {
        FailureShares { windows: vec![VecDeque::new(); targets], looked: None }
    }

    /// The target that exceeds its siblings most, if one does by the margin. `tallies` are those of all targets.
    pub(crate) fn look(
        &mut self,
        rules: &FailureShare,
        now: Instant,
        tallies: impl Iterator<Item = Counts>,
    ) -> Option<Excess> {
        if self.looked.is_some_and(|looked| now < looked + LOOK_EVERY) {
            return None;
        }
        self.looked = Some(now);
        let recent = self.recent(rules.window, now, tallies);
        let sum = total(&recent);
        let margin = f64::from(rules.margin_percent) / 100.0;
        let excess = |own: Counts| own.share() - sum.since(own).cautious_share();
        recent
            .iter()
            .enumerate()
            .filter(|(_, own)| own.all() >= u64::from(rules.requests_min) && excess(**own) > margin)
            .max_by(|(_, one), (_, other)| excess(**one).total_cmp(&excess(**other)))
            .map(|(index, own)| Excess {
                index,
                own_percent: percent(own.share()),
                others_percent: percent(sum.since(*own).share()),
            })
    }

    /// Whether a target that fails every request would exceed its siblings, as they are doing now.
    pub(crate) fn are_others_well(
        &mut self,
        rules: &FailureShare,
        now: Instant,
        tallies: impl Iterator<Item = Counts>,
        index: usize,
    ) -> bool {
        let recent = self.recent(rules.window, now, tallies);
        let own = recent.get(index).copied().unwrap_or_default();
        let others = total(&recent).since(own).cautious_share();
        others + f64::from(rules.margin_percent) / 100.0 < 1.0
    }

    /// What a target did before its ejection does not count after it.
    pub(crate) fn forget(&mut self, index: usize) {
        if let Some(window) = self.windows.get_mut(index) {
            window.clear();
        }
    }

    /// What each target did within the window. One that nobody looked at for so long begins now.
    fn recent(
        &mut self,
        window: Duration,
        now: Instant,
        tallies: impl Iterator<Item = Counts>,
    ) -> Vec<Counts> {
        let recent = |(known, tally): (&mut VecDeque<(Instant, Counts)>, Counts)| {
            while known.front().is_some_and(|(at, _)| *at + window < now) {
                known.pop_front();
            }
            if known.back().is_none_or(|(at, _)| *at + window / BUCKETS <= now) {
                known.push_back((now, tally));
            }
            known.front().map_or(Counts::default(), |(_, before)| tally.since(*before))
        };
        self.windows.iter_mut().zip(tallies).map(recent).collect()
    }
}

fn total(counts: &[Counts]) -> Counts {
    counts.iter().fold(Counts::default(), |sum, one| Counts {
        good: sum.good + one.good,
        failed: sum.failed + one.failed,
    })
}

fn percent(share: f64) -> u32 {
    (share * 100.0).round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: FailureShare =
        FailureShare { margin_percent: 30, window: Duration::from_secs(10), requests_min: 20 };

    struct Run {
        shares: FailureShares,
        counts: Vec<Counts>,
        now: Instant,
    }

    impl Run {
        fn new(targets: usize) -> Run {
            let mut run = Run {
                shares: FailureShares::new(targets),
                counts: vec![Counts::default(); targets],
                now: Instant::now(),
            };
            assert_eq!(run.after(0, &[]), None);
            run
        }

        /// So many milliseconds later and so many answers more, good and failed, by target.
        fn after(&mut self, millis: u64, more: &[(u64, u64)]) -> Option<(usize, u32, u32)> {
            self.now += Duration::from_millis(millis);
            for (counts, (good, failed)) in self.counts.iter_mut().zip(more) {
                counts.good += good;
                counts.failed += failed;
            }
            let excess = self.shares.look(&RULES, self.now, self.counts.iter().copied())?;
            Some((excess.index, excess.own_percent, excess.others_percent))
        }
    }

    #[test]
    fn a_target_that_fails_more_than_its_siblings_is_found() {
        let mut run = Run::new(3);
        assert_eq!(run.after(1_000, &[(100, 0), (60, 40), (100, 0)]), Some((1, 40, 0)));
    }

    #[test]
    fn an_upstream_that_fails_as_a_whole_is_nobodys_fault() {
        let mut run = Run::new(3);
        assert_eq!(run.after(1_000, &[(0, 100), (0, 90), (10, 90)]), None);
        assert_eq!(run.after(1_000, &[(50, 50), (60, 40), (40, 60)]), None);
    }

    #[test]
    fn the_margin_and_the_least_number_hold() {
        let mut run = Run::new(2);
        assert_eq!(run.after(1_000, &[(1_000, 0), (0, 19)]), None, "one too few");
        assert_eq!(run.after(1_000, &[(0, 0), (51, 0)]), None, "19 of 70 is less than 30 points above");
        assert_eq!(run.after(1_000, &[(0, 0), (0, 10)]), Some((1, 36, 0)));
    }

    #[test]
    fn one_that_takes_all_requests_by_failing_fast_is_found_and_a_half_failing_one_is_not() {
        let mut run = Run::new(2);
        assert_eq!(run.after(1_000, &[(0, 0), (20, 20)]), None, "nobody knows what the other would do");
        assert_eq!(run.after(10_500, &[(0, 0), (0, 0)]), None);
        assert_eq!(run.after(1_000, &[(0, 0), (0, 40)]), Some((1, 100, 0)));
    }

    #[test]
    fn what_is_long_ago_is_forgotten_and_so_is_what_led_to_an_ejection() {
        let mut run = Run::new(2);
        assert_eq!(run.after(1_000, &[(100, 0), (0, 19)]), None);
        assert_eq!(run.after(11_000, &[(100, 0), (0, 19)]), None, "nobody looked in between");
        assert_eq!(run.after(1_000, &[(0, 0), (0, 1)]), None, "a new window has begun");
        assert_eq!(run.after(1_000, &[(0, 0), (0, 19)]), Some((1, 100, 0)));
        run.shares.forget(1);
        assert_eq!(run.after(1_000, &[(0, 0), (0, 19)]), None);
    }

    #[test]
    fn looks_are_not_more_frequent_than_said() {
        let mut run = Run::new(2);
        assert_eq!(run.after(10, &[(100, 0), (0, 100)]), None);
        assert_eq!(run.after(10, &[(0, 0), (0, 0)]), Some((1, 100, 0)));
    }

    #[test]
    fn a_trial_is_judged_by_what_the_others_do() {
        let mut run = Run::new(2);
        run.after(1_000, &[(100, 0), (0, 1)]);
        let well = |run: &mut Run| {
            let tallies = run.counts.clone();
            run.shares.are_others_well(&RULES, run.now, tallies.into_iter(), 1)
        };
        assert!(well(&mut run));
        run.after(1_000, &[(0, 1_000), (0, 1)]);
        assert!(!well(&mut run));
    }

    use proptest::prelude::*;

    proptest! {
        /// Never one that does as its siblings do, and never one with few requests.
        #[test]
        fn what_is_found_exceeds_the_others(
            steps in prop::collection::vec(prop::collection::vec((0u64..30, 0u64..30), 1..5), 1..50),
        ) {
            let targets = steps.iter().map(Vec::len).max().unwrap();
            let mut run = Run::new(targets);
            for step in steps {
                if let Some((index, own, others)) = run.after(500, &step) {
                    // Both are rounded.
                    prop_assert!(own + 1 >= others + 30, "{own} {others}");
                    prop_assert!(run.counts[index].all() >= 20);
                    prop_assert!(targets > 1 || own > 80);
                }
            }
        }
    }
}
