//! Accounts for every request: how it ended for its client, and how often a backend executed it.

use std::collections::BTreeMap;

use super::client::{CLASSES, Class};
use super::load::Outcome;

/// What became of the requests of one class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) requests: u64,
    pub(super) good: u64,
    /// By how they ended.
    pub(super) failures: BTreeMap<String, u64>,
    /// Failures that were not a 502 or 504.
    pub(super) dishonest: u64,
    pub(super) executed_twice: u64,
    pub(super) executed_but_failed: u64,
}

impl Counts {
    pub(super) fn failed(&self) -> u64 {
        self.requests - self.good
    }

    /// `502 x3, reset x1`, or `0`.
    pub(super) fn failures(&self) -> String {
        if self.failures.is_empty() {
            return "0".to_owned();
        }
        let parts: Vec<String> =
            self.failures.iter().map(|(kind, count)| format!("{kind} x{count}")).collect();
        parts.join(", ")
    }
}

/// Which backends executed which request.
#[derive(Debug, Default)]
pub(super) struct Executions(BTreeMap<String, Vec<String>>);

impl Executions {
    /// From the lines that the backends wrote: the id, and who they are.
    pub(super) fn parse(text: &str) -> Self {
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (id, name) in text.lines().filter_map(|line| line.split_once(' ')) {
            all.entry(id.to_owned()).or_default().push(name.to_owned());
        }
        Self(all)
    }

    pub(super) fn times(&self, id: &str) -> usize {
        self.0.get(id).map_or(0, Vec::len)
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Accounts {
    counts: BTreeMap<Class, Counts>,
    /// Requests that a person wants to look at: failed, or executed twice without being repeatable.
    pub(super) remarkable: Vec<String>,
}

impl Accounts {
    pub(super) fn of(outcomes: &[Outcome], executions: &Executions) -> Self {
        let mut accounts = Self::default();
        for outcome in outcomes {
            let counts = accounts.counts.entry(outcome.class).or_default();
            let times = executions.times(&outcome.id);
            counts.requests += 1;
            if outcome.end.is_good() {
                counts.good += 1;
            } else {
                *counts.failures.entry(outcome.end.to_string()).or_default() += 1;
                counts.dishonest += u64::from(!outcome.end.is_honest());
                counts.executed_but_failed += u64::from(times > 0);
            }
            counts.executed_twice += u64::from(times > 1);
            if !outcome.end.is_good() || (times > 1 && !outcome.class.may_repeat()) {
                accounts
                    .remarkable
                    .push(format!("{} ended with {}, executed {times} times", outcome.id, outcome.end));
            }
        }
        accounts
    }

    pub(super) fn of_class(&self, class: Class) -> Counts {
        self.counts.get(&class).cloned().unwrap_or_default()
    }

    /// The requests of all classes that may be repeated, or of all.
    pub(super) fn sum(&self, wanted: impl Fn(Class) -> bool) -> Counts {
        let mut sum = Counts::default();
        for class in CLASSES.into_iter().filter(|class| wanted(*class)) {
            let counts = self.of_class(class);
            sum.requests += counts.requests;
            sum.good += counts.good;
            sum.dishonest += counts.dishonest;
            sum.executed_twice += counts.executed_twice;
            sum.executed_but_failed += counts.executed_but_failed;
            for (kind, count) in counts.failures {
                *sum.failures.entry(kind).or_default() += count;
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::client::{Answer, End};
    use super::*;

    #[test]
    fn every_request_is_accounted_for() {
        let now = Instant::now();
        let answered = |status| End::Answered(Answer { status, ..Answer::default() });
        let outcome = |id: &str, class, end| Outcome { id: id.to_owned(), class, sent: now, done: now, end };
        let outcomes = [
            outcome("a", Class::Get, answered(200)),
            outcome("b", Class::Get, End::Reset),
            outcome("c", Class::Post, answered(502)),
            outcome("d", Class::Post, answered(200)),
            outcome("e", Class::Post, answered(503)),
        ];
        let executions = Executions::parse("a 1\na 2\nc 1\nd 1\nd 2\nprobe 1\n");
        let accounts = Accounts::of(&outcomes, &executions);
        let get = accounts.of_class(Class::Get);
        assert_eq!((get.requests, get.good, get.failures()), (2, 1, "reset x1".to_owned()));
        assert_eq!((get.dishonest, get.executed_twice, get.executed_but_failed), (1, 1, 0));
        let post = accounts.of_class(Class::Post);
        assert_eq!((post.requests, post.good, post.failures()), (3, 1, "502 x1, 503 x1".to_owned()));
        assert_eq!((post.dishonest, post.executed_twice, post.executed_but_failed), (1, 1, 1));
        assert_eq!(accounts.of_class(Class::Put).failures(), "0");
        let all = accounts.sum(|_| true);
        assert_eq!(
            (all.requests, all.failed(), all.failures()),
            (5, 3, "502 x1, 503 x1, reset x1".to_owned())
        );
        let expect = [
            "b ended with reset, executed 0 times",
            "c ended with 502, executed 1 times",
            "d ended with 200, executed 2 times",
            "e ended with 503, executed 0 times",
        ];
        assert_eq!(accounts.remarkable, expect);
    }
}
