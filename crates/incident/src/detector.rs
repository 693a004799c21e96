//! The detector: counts per service, and what changes with each second. The rule and its reasons stand in the crate's
//! documentation; here are its numbers.

use std::collections::HashMap;
use std::sync::Arc;

use crate::counts::{Counts, Ring};

/// The window in which a service is looked at.
const WINDOW_SECONDS: usize = 10;
/// The window of a service that has few requests: this minute and four before it.
const SLOW_WINDOW_MINUTES: usize = 4;
const FAILED_MIN: f64 = 5.0;
const SHARE_MIN: f64 = 0.05;
const SLOW_SHARE_MIN: f64 = 0.5;
/// How much more than usual it must be to open, and may be to close.
const OPENS_AT_TIMES: f64 = 4.0;
const CLOSES_AT_TIMES: f64 = 2.0;
const CLOSES_AT_SHARE: f64 = 0.025;
/// How many standard deviations of the expected failures chance is given, and how many failures beside.
const CHANCE_DEVIATIONS: f64 = 5.0;
const CHANCE_FAILURES: f64 = 3.0;
/// The length of the past, without the minute that is not past yet.
const PAST_MINUTES: usize = 60;
const PAST_REQUESTS_MIN: u64 = 50;
/// What is assumed of a service without a past.
const UNKNOWN_SHARE: f64 = 0.05;
/// For how long it must go well.
const CLOSE_SECONDS: usize = 60;
const QUIET_SECONDS: u64 = 600;
const REOPEN_SECONDS: u64 = 300;
/// A service that nobody asked for so long is forgotten: it has no past then.
const FORGET_SECONDS: u64 = PAST_MINUTES as u64 * 60;
/// Services that are watched at once, each in about a kilobyte. Names come from the configuration; ten thousand of them would be a
/// file of a megabyte.
const SERVICES_MAX: usize = 10_000;

/// Watches services.
#[derive(Debug, Default)]
pub struct Detector {
    services: HashMap<Arc<str>, Watched, ahash::RandomState>,
    /// The second that is counted in.
    now: u64,
}

/// What has changed with a service.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub service: Arc<str>,
    pub what: What,
    pub totals: Totals,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Failures began so many seconds ago.
    Opened {
        seconds_ago: u64,
    },
    /// Not long after it had closed.
    Reopened,
    Closed(Closing),
}

/// Why an incident closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// Nobody has asked for long, so that nothing is known.
    Quiet,
    Recovered,
}

/// What an incident amounts to so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Totals {
    /// Since the failures began.
    pub counts: Counts,
    /// The largest share that failed in a window.
    pub peak_share: f64,
    /// The share that usually fails, taken from above.
    pub usual_share: f64,
}

/// The past of a service, to be told to the process after this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    pub service: Arc<str>,
    pub counts: Counts,
}

#[derive(Debug)]
struct Watched {
    current: Counts,
    seconds: Ring<CLOSE_SECONDS>,
    past: Ring<PAST_MINUTES>,
    last_request: u64,
    state: State,
    /// Of the incident that is open, or was last.
    totals: Totals,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Calm {
        closed: Option<u64>,
    },
    /// The rule for opening held last in the second `bad`.
    Open {
        since: u64,
        bad: u64,
    },
}

impl Detector {
    /// Counts a request that has just ended.
    pub fn observe(&mut self, service: &Arc<str>, failed: bool) {
        if let Some(watched) = self.services.get_mut(service) {
            watched.count(failed, self.now);
        } else if self.services.len() < SERVICES_MAX {
            let mut watched = Watched::new(self.now);
            watched.count(failed, self.now);
            self.services.insert(service.clone(), watched);
        }
    }

    /// Goes on with an incident of the process before this one.
    pub fn resume(&mut self, service: &Arc<str>, totals: Totals) {
        let watched = self.services.entry(service.clone()).or_insert_with(|| Watched::new(self.now));
        watched.state = State::Open { since: self.now, bad: self.now };
        watched.totals = totals;
    }

    /// Takes over the past that another process has seen; it counts as of now.
    pub fn recall(&mut self, pasts: &[Past]) {
        for past in pasts.iter().take(SERVICES_MAX) {
            let watched = self.services.entry(past.service.clone()).or_insert_with(|| Watched::new(self.now));
            watched.past.put(self.now / 60, past.counts);
            // Further back than the slow window.
            watched.past.put(self.now / 60 + SLOW_WINDOW_MINUTES as u64, Counts::default());
        }
    }

    /// The past of every service that has one.
    pub fn pasts(&self) -> Vec<Past> {
        let past = |(service, watched): (&Arc<str>, &Watched)| Past {
            service: service.clone(),
            counts: watched.past.last(PAST_MINUTES),
        };
        self.services.iter().map(past).filter(|past| !past.counts.is_empty()).collect()
    }

    /// What the incidents that are open amount to so far.
    pub fn open(&self) -> Vec<(Arc<str>, Totals)> {
        let open = self.services.iter().filter(|(_, watched)| matches!(watched.state, State::Open { .. }));
        open.map(|(service, watched)| (service.clone(), watched.totals)).collect()
    }

    /// Whether anything can change without another request.
    pub fn is_awake(&self) -> bool {
        self.services.values().any(|watched| {
            watched.state != State::Calm { closed: None }
                || watched.last_request + CLOSE_SECONDS as u64 >= self.now
        })
    }

    /// Ends the second that was counted in, goes on to a later one, and says what has changed.
    pub fn advance(&mut self, second: u64) -> Vec<Change> {
        if second <= self.now {
            return Vec::new();
        }
        let ended = second - 1;
        let counted = self.now;
        self.now = second;
        let mut changes = Vec::new();
        for (service, watched) in &mut self.services {
            if let Some(what) = watched.advance(counted, ended) {
                changes.push(Change { service: service.clone(), what, totals: watched.totals });
            }
        }
        self.services.retain(|_, watched| {
            watched.last_request + FORGET_SECONDS > second || matches!(watched.state, State::Open { .. })
        });
        changes
    }
}

impl Watched {
    fn new(now: u64) -> Watched {
        Watched {
            current: Counts::default(),
            seconds: Ring::new(now),
            past: Ring::new(now / 60),
            last_request: now,
            state: State::Calm { closed: None },
            totals: Totals::default(),
        }
    }

    fn count(&mut self, failed: bool, now: u64) {
        self.current.count(failed);
        self.last_request = now;
    }

    /// `counted` is the second whose requests are in `current`; all up to `ended` are over.
    fn advance(&mut self, counted: u64, ended: u64) -> Option<What> {
        let current = std::mem::take(&mut self.current);
        let mut fallen = self.seconds.put(counted, current);
        fallen += self.seconds.put(ended, Counts::default());
        match self.state {
            State::Calm { closed } => {
                self.past.put(ended / 60, fallen);
                let closed = closed.filter(|closed| closed + REOPEN_SECONDS > ended);
                self.state = State::Calm { closed };
                self.open(closed.is_some(), ended)
            }
            State::Open { since, bad } => {
                self.totals.counts += current;
                let bad = if self.look() { ended } else { bad };
                self.state = State::Open { since, bad };
                self.close(since, bad, ended)
            }
        }
    }

    fn open(&mut self, again: bool, now: u64) -> Option<What> {
        let window = self.seconds.last(WINDOW_SECONDS);
        let minute = self.seconds.last(CLOSE_SECONDS);
        if minute.failed == 0 {
            return None;
        }
        let usual = self.usual_share();
        let slow = minute + self.past.last(SLOW_WINDOW_MINUTES);
        let seconds = if is_beyond(window, usual, SHARE_MIN) {
            WINDOW_SECONDS
        } else if is_beyond(slow, usual, SLOW_SHARE_MIN) {
            CLOSE_SECONDS
        } else {
            return None;
        };
        self.state = State::Open { since: now, bad: now };
        let counts = self.seconds.last(seconds);
        if again {
            self.totals.counts += counts;
            self.look();
            return Some(What::Reopened);
        }
        self.totals = Totals { counts, peak_share: counts.share(), usual_share: usual };
        let first = self.seconds.first_failed(seconds).unwrap_or(now);
        Some(What::Opened { seconds_ago: now + 1 - first })
    }

    /// Notes the worst, and says whether the rule for opening still holds.
    fn look(&mut self) -> bool {
        let window = self.seconds.last(WINDOW_SECONDS);
        if window.failed as f64 >= FAILED_MIN {
            self.totals.peak_share = self.totals.peak_share.max(window.share());
        }
        is_beyond(window, self.totals.usual_share, SHARE_MIN)
    }

    fn close(&mut self, since: u64, bad: u64, now: u64) -> Option<What> {
        let minute = self.seconds.last(CLOSE_SECONDS);
        let usual = self.totals.usual_share;
        let enough = CLOSES_AT_SHARE.max(times(usual, CLOSES_AT_TIMES));
        let is_over = bad + CLOSE_SECONDS as u64 <= now && minute.share() <= enough;
        let closing = if is_over && minute.requests > minute.failed {
            Closing::Recovered
        } else if self.last_request.max(since) + QUIET_SECONDS <= now {
            Closing::Quiet
        } else {
            return None;
        };
        self.state = State::Calm { closed: Some(now) };
        Some(What::Closed(closing))
    }

    /// At most this share of its requests usually fails. What the slow window sees is not past yet.
    fn usual_share(&self) -> f64 {
        let (whole, recent) = (self.past.last(PAST_MINUTES), self.past.last(SLOW_WINDOW_MINUTES));
        let (requests, failed) = (whole.requests - recent.requests, whole.failed - recent.failed);
        if requests < PAST_REQUESTS_MIN {
            return UNKNOWN_SHARE;
        }
        let failed = failed as f64;
        // Two standard deviations above what was seen; of none, three: 1 + 2.
        ((failed + 2.0 * (failed + 1.0).sqrt() + 1.0) / requests as f64).min(1.0)
    }
}

/// Whether more failed than is usual, by the rule for opening.
fn is_beyond(seen: Counts, usual: f64, share_min: f64) -> bool {
    let failed = seen.failed as f64;
    let expected = usual * seen.requests as f64;
    let by_chance = expected + CHANCE_DEVIATIONS * expected.sqrt() + CHANCE_FAILURES;
    failed >= FAILED_MIN.max(by_chance.min(seen.requests as f64))
        && seen.share() >= share_min.max(times(usual, OPENS_AT_TIMES))
}

/// A multiple of a share, or halfway from it to everything.
fn times(share: f64, factor: f64) -> f64 {
    (share * factor).min((1.0 + share) / 2.0)
}

#[cfg(test)]
mod tests;
