//! Limits: requests, tokens, money and requests at once, counted for whatever requests have in common.
//!
//! One counter for all of them. What a request will use is not known before its end: so much is reserved, and settled then. A
//! request that ends without settling keeps its reservation: whoever errs, errs against spending too much. The windows are those of
//! the calendar in UTC, so that a bill and a budget are about the same month; twice the amount can pass around a border.
//!
//! Counts live in memory. [`Counters::written`] is what a process keeps for the one after it, with what is reserved counted as used.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::gateway::{Consumer, Limit, LimitBy, Rate};

/// Above it, counts of stretches that are over are forgotten.
const COUNTERS_MAX: usize = 10_000;
/// Between the parts of a counter's name; no name has it.
const BETWEEN: char = '\u{1f}';

/// The limits of a configuration, with the counts of the process.
#[derive(Debug, Default)]
pub struct Limits {
    limits: Vec<Arc<Limit>>,
    teams: HashMap<Arc<str>, Arc<str>, ahash::RandomState>,
    counters: Arc<Counters>,
}

/// All counts of a process.
#[derive(Debug, Default)]
pub struct Counters {
    counts: Mutex<HashMap<Box<str>, Count, ahash::RandomState>>,
    is_changed: AtomicBool,
}

#[derive(Debug, Default)]
struct Count {
    requests: Used,
    tokens: Used,
    cost: Used,
    at_once: u32,
}

/// What is used in a stretch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Used {
    /// When it ends; a later one begins with nothing.
    until: u64,
    amount: u64,
}

/// A request that wants to be let through.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub service: &'a str,
    pub consumer: Option<&'a str>,
    /// As the client names it; empty where there is none.
    pub model: &'a str,
    /// What it may use, to be reserved.
    pub tokens: u64,
    pub cost: u64,
    pub unix_seconds: u64,
}

/// A request that was let through.
#[derive(Debug)]
pub struct Hold {
    counters: Arc<Counters>,
    held: Vec<(Box<str>, Arc<Limit>)>,
    tokens: u64,
    cost: u64,
    unix_seconds: u64,
}

/// Why a request is not let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exceeded {
    pub limit: Arc<str>,
    /// `60 requests per minute`.
    pub what: Box<str>,
    pub retry_after: Duration,
}

impl Limits {
    pub fn new(limits: &[Arc<Limit>], consumers: &[Arc<Consumer>], counters: Arc<Counters>) -> Limits {
        let teams = consumers.iter().filter_map(|one| Some((one.name.clone(), one.team.clone()?)));
        Limits { limits: limits.to_vec(), teams: teams.collect(), counters }
    }

    pub fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    /// Whether no request of this kind needs to be counted.
    pub fn is_empty(&self) -> bool {
        self.limits.is_empty()
    }

    /// Counts the request against every limit that is for it, or against none of them.
    pub fn admit(&self, request: Request<'_>) -> Result<Hold, Exceeded> {
        let mut held = Vec::new();
        for limit in self.limits.iter().filter(|limit| is_for(limit, &request)) {
            held.push((self.name(limit, &request), limit.clone()));
        }
        let Request { tokens, cost, unix_seconds, .. } = request;
        let mut hold = Hold { counters: self.counters.clone(), held: Vec::new(), tokens, cost, unix_seconds };
        if held.is_empty() {
            return Ok(hold);
        }
        let mut counts = self.counters.lock();
        for (name, limit) in &held {
            let count = counts.entry(name.clone()).or_default();
            check(limit, count, &request)?;
        }
        for (name, limit) in &held {
            let Some(count) = counts.get_mut(name) else { continue };
            count.at_once += 1;
            for (rate, used, amount) in [
                (limit.requests, &mut count.requests, 1),
                (limit.tokens, &mut count.tokens, tokens),
                (limit.cost, &mut count.cost, cost),
            ] {
                if let Some(rate) = rate {
                    used.add(rate, amount, unix_seconds);
                }
            }
        }
        if counts.len() > COUNTERS_MAX {
            counts.retain(|_, count| count.is_used(unix_seconds));
        }
        self.counters.is_changed.store(true, Ordering::Relaxed);
        drop(counts);
        hold.held = held;
        Ok(hold)
    }

    /// The counter of this request: the limit, and what it is counted by.
    fn name(&self, limit: &Limit, request: &Request<'_>) -> Box<str> {
        let mut name = limit.name.to_string();
        for by in &limit.by {
            name.push(BETWEEN);
            let consumer = request.consumer.unwrap_or_default();
            name.push_str(match by {
                LimitBy::Consumer => consumer,
                LimitBy::Model => request.model,
                LimitBy::Service => request.service,
                LimitBy::Team => self.teams.get(consumer).map_or("", |team| team),
            });
        }
        name.into()
    }
}

fn is_for(limit: &Limit, request: &Request<'_>) -> bool {
    let has = |list: &[Arc<str>], name: &str| list.is_empty() || list.iter().any(|known| **known == *name);
    has(&limit.services, request.service)
        && has(&limit.consumers, request.consumer.unwrap_or_default())
        && has(&limit.models, request.model)
}

fn check(limit: &Limit, count: &Count, request: &Request<'_>) -> Result<(), Exceeded> {
    let exceeded = |what: String, retry_after: Duration| {
        Err(Exceeded { limit: limit.name.clone(), what: what.into(), retry_after })
    };
    if let Some(most) = limit.concurrency.filter(|most| count.at_once >= *most) {
        return exceeded(format!("{most} requests at once"), Duration::from_secs(1));
    }
    let now = request.unix_seconds;
    let kinds = [
        (limit.requests, count.requests, 1, "requests"),
        (limit.tokens, count.tokens, request.tokens, "tokens"),
        (limit.cost, count.cost, request.cost, "dollars"),
    ];
    for (rate, used, wanted, unit) in kinds {
        let Some(rate) = rate else { continue };
        let used = used.now(now);
        // One that is larger than the whole amount gets through when nothing is used, or it never would.
        if used > 0 && used.saturating_add(wanted) > rate.amount || used == 0 && rate.amount == 0 {
            let (_, end) = rate.per.around(now);
            let amount = match unit {
                "dollars" => dollars(rate.amount),
                _ => rate.amount.to_string(),
            };
            let what = format!("{amount} {unit} per {}", rate.per.id());
            return exceeded(what, Duration::from_secs(end - now));
        }
    }
    Ok(())
}

fn dollars(nanos: u64) -> String {
    format!("{}.{:02}", nanos / 1_000_000_000, nanos % 1_000_000_000 / 10_000_000)
}

impl Used {
    fn now(self, unix_seconds: u64) -> u64 {
        if self.until > unix_seconds { self.amount } else { 0 }
    }

    fn add(&mut self, rate: Rate, amount: u64, unix_seconds: u64) {
        let until = rate.per.around(unix_seconds).1;
        if self.until != until {
            *self = Used { until, amount: 0 };
        }
        self.amount = self.amount.saturating_add(amount);
    }

    /// Puts what was used in the place of what was reserved, if its stretch is not over.
    fn settle(&mut self, rate: Rate, reserved: u64, amount: u64, began: u64) {
        if self.until == rate.per.around(began).1 {
            self.amount = self.amount.saturating_sub(reserved).saturating_add(amount);
        }
    }
}

impl Count {
    fn is_used(&self, unix_seconds: u64) -> bool {
        let used = [self.requests, self.tokens, self.cost];
        self.at_once > 0 || used.iter().any(|used| used.now(unix_seconds) > 0)
    }
}

impl Hold {
    /// The request has ended, and used this.
    pub fn settle(mut self, tokens: u64, cost: u64) {
        let mut counts = self.counters.lock();
        for (name, limit) in &self.held {
            let Some(count) = counts.get_mut(name) else { continue };
            if let Some(rate) = limit.tokens {
                count.tokens.settle(rate, self.tokens, tokens, self.unix_seconds);
            }
            if let Some(rate) = limit.cost {
                count.cost.settle(rate, self.cost, cost, self.unix_seconds);
            }
        }
        drop(counts);
        (self.tokens, self.cost) = (tokens, cost);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let mut counts = self.counters.lock();
        for (name, _) in &self.held {
            if let Some(count) = counts.get_mut(name) {
                count.at_once = count.at_once.saturating_sub(1);
            }
        }
        self.counters.is_changed.store(true, Ordering::Relaxed);
    }
}

impl Counters {
    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Count, ahash::RandomState>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether something was counted since the last time that somebody asked.
    pub fn take_changed(&self) -> bool {
        self.is_changed.swap(false, Ordering::Relaxed)
    }

    /// All counts that still matter, a line each.
    pub fn written(&self, unix_seconds: u64) -> String {
        let mut text = String::new();
        for (name, count) in self.lock().iter().filter(|(_, count)| count.is_used(unix_seconds)) {
            text.push_str(name);
            for used in [count.requests, count.tokens, count.cost] {
                let _ = write!(text, "\t{} {}", used.until, used.amount);
            }
            text.push('\n');
        }
        text
    }

    /// Goes on from what another process has written. A line that cannot be read counts for nothing.
    pub fn read(&self, text: &str) {
        let used = |part: &str| {
            let (until, amount) = part.split_once(' ')?;
            Some(Used { until: until.parse().ok()?, amount: amount.parse().ok()? })
        };
        let mut counts = self.lock();
        for line in text.lines() {
            let mut parts = line.split('\t');
            let name = parts.next().unwrap_or_default();
            let read: Option<Vec<Used>> = parts.map(used).collect();
            if let Some([requests, tokens, cost]) = read.as_deref() {
                let count = Count { requests: *requests, tokens: *tokens, cost: *cost, at_once: 0 };
                counts.insert(name.into(), count);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use model::gateway::Window;

    use super::*;

    const NOW: u64 = 1_795_745_250;

    fn limit() -> Limit {
        Limit {
            name: "l".into(),
            by: vec![LimitBy::Consumer],
            services: Vec::new(),
            consumers: Vec::new(),
            models: Vec::new(),
            requests: None,
            tokens: None,
            cost: None,
            concurrency: None,
        }
    }

    fn of(limit: Limit) -> Limits {
        Limits::new(&[Arc::new(limit)], &[], Arc::default())
    }

    fn request(consumer: &str) -> Request<'_> {
        Request { service: "s", consumer: Some(consumer), model: "m", tokens: 10, cost: 5, unix_seconds: NOW }
    }

    fn per_minute(amount: u64) -> Option<Rate> {
        Some(Rate { amount, per: Window::Minute })
    }

    #[test]
    fn requests_are_counted_for_each_consumer_and_minute() {
        let limits = of(Limit { requests: per_minute(2), ..limit() });
        for _ in 0..2 {
            limits.admit(request("alice")).unwrap();
        }
        let exceeded = limits.admit(request("alice")).unwrap_err();
        assert_eq!(
            (&*exceeded.what, exceeded.retry_after),
            ("2 requests per minute", Duration::from_secs(30))
        );
        limits.admit(request("bob")).unwrap();
        limits.admit(Request { unix_seconds: NOW + 30, ..request("alice") }).unwrap();
    }

    #[test]
    fn what_is_reserved_is_settled_and_what_is_not_settled_stays() {
        let limits = of(Limit { tokens: per_minute(25), ..limit() });
        let first = limits.admit(request("alice")).unwrap();
        let second = limits.admit(request("alice")).unwrap();
        assert_eq!(&*limits.admit(request("alice")).unwrap_err().what, "25 tokens per minute");
        first.settle(3, 0);
        // 3 and 10 reserved.
        drop(second);
        limits.admit(request("alice")).unwrap().settle(12, 0);
        assert!(limits.admit(request("alice")).is_err());
    }

    #[test]
    fn a_request_larger_than_all_is_let_through_alone() {
        let limits = of(Limit { tokens: per_minute(5), ..limit() });
        limits.admit(request("alice")).unwrap().settle(7, 0);
        assert!(limits.admit(request("alice")).is_err());
    }

    #[test]
    fn requests_at_once_end_with_their_holds() {
        let limits = of(Limit { concurrency: Some(1), ..limit() });
        let hold = limits.admit(request("alice")).unwrap();
        assert_eq!(&*limits.admit(request("alice")).unwrap_err().what, "1 requests at once");
        drop(hold);
        limits.admit(request("alice")).unwrap();
    }

    #[test]
    fn a_refusal_counts_against_no_other_limit() {
        let open = Limit { name: "a".into(), requests: per_minute(3), ..limit() };
        let shut = Limit { name: "b".into(), requests: per_minute(1), ..limit() };
        let limits = Limits::new(&[Arc::new(open), Arc::new(shut)], &[], Arc::default());
        limits.admit(request("alice")).unwrap();
        for _ in 0..5 {
            assert_eq!(&*limits.admit(request("alice")).unwrap_err().limit, "b");
        }
        assert_eq!(limits.counters.lock().get("a\u{1f}alice").unwrap().requests.amount, 1);
    }

    #[test]
    fn counts_outlive_the_process_and_reservations_count_as_used() {
        let limits = of(Limit { cost: Some(Rate { amount: 12, per: Window::Month }), ..limit() });
        let held = limits.admit(request("alice")).unwrap();
        let text = limits.counters.written(NOW);
        let later = of(Limit { cost: Some(Rate { amount: 12, per: Window::Month }), ..limit() });
        later.counters.read(&text);
        later.counters.read("garbage\n\tx y\n");
        later.admit(request("alice")).unwrap();
        assert_eq!(&*later.admit(request("alice")).unwrap_err().what, "0.00 dollars per month");
        drop(held);
        // A month later they are nothing any more.
        assert_eq!(limits.counters.written(NOW + 40 * 86_400), "");
    }
}
