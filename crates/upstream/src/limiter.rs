//! How many requests a target is given at once, where nobody has said it: as many as it answers without letting them queue.
//!
//! What a target cannot work on waits in its accept queue or its event loop, where no order, deadline or priority reaches
//! it. That such a queue stands shows in the *fastest* answer of a while: with one in front, nobody is fast. So the limit
//! is lowered when the fastest answer takes more than twice of what the fastest took before, and raised when it is reached
//! without that.
//!
//! Other things make answers slow, too, and then fewer requests at once are no help: long polls, a database that has
//! become slow. So each reduction is a trial. Was there a queue, the fastest answer takes less in the same proportion. Did
//! that not happen, the limit of before is back, and the slowness is taken for the new measure. Such a mistake lasts some
//! tenths of a second, in which requests wait outside, long before one is turned away.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The limit is never below: so many keep a target that works on one at a time busy, and the kernel's queue short.
const LIMIT_MIN: usize = 4;
/// Above it there is no limit, as in the beginning.
const LIMIT_MAX: usize = 10_000;
/// An answer within this time is quick, whatever others took: a queue that is no longer harms nobody.
pub const QUICK: Duration = Duration::from_millis(10);
/// A step is made of the answers of at least this time ...
const WINDOW: Duration = Duration::from_millis(250);
/// ... and of at least so many.
const ANSWERS_MIN: u32 = 10;
/// What is aimed at: so many times the time without a queue. A limit that is reached grows up to there ...
const AIM: f64 = 2.0;
/// ... and is lowered from here. What lies between tells no reduction from chance.
const SLOW: f64 = 2.6;
/// With `n` at once, a target that works on one at a time is slower `n`-fold. So far above that is no queue: work varies.
const UNEVEN: f64 = 1.5;
/// A limit that was learnt grows when for so long nobody was answered who counted for it: what it was learnt from is over,
/// or what is there now takes long for other reasons than a queue.
const SILENCE: Duration = Duration::from_secs(1);
/// What a limit that was reached grows by, and the most that one shrinks to, in one step.
const GROWTH: f64 = 1.5;
const SHRINK_MIN: f64 = 0.5;
/// How far the measure follows faster answers in one step: a few that cost nothing do not make the others slow.
const FOLLOW: f64 = 0.25;

/// The limit of one target.
#[derive(Debug)]
pub(crate) struct Limiter {
    limit: AtomicUsize,
    /// There was a quick answer in this window.
    quick: AtomicBool,
    window: Mutex<Window>,
}

#[derive(Debug)]
struct Window {
    begun: Option<Instant>,
    answers: u32,
    /// The fastest answer, and the requests that it met, itself included.
    fastest: Duration,
    met: usize,
    /// How long the fastest answer takes where nothing queues; not less than a quick one.
    base: Option<Duration>,
    /// The limit has just been lowered.
    trial: Option<Trial>,
    /// The last answer.
    heard: Option<Instant>,
}

/// What was before the limit was lowered.
#[derive(Clone, Copy, Debug)]
struct Trial {
    limit: usize,
    met: usize,
    fastest: f64,
}

impl Default for Limiter {
    fn default() -> Limiter {
        let window = Window {
            begun: None,
            answers: 0,
            fastest: Duration::MAX,
            met: 0,
            base: None,
            trial: None,
            heard: None,
        };
        Limiter {
            limit: AtomicUsize::new(usize::MAX),
            quick: AtomicBool::new(false),
            window: Mutex::new(window),
        }
    }
}

impl Limiter {
    /// Requests that the target is given at once; `usize::MAX` while no limit is needed.
    pub(crate) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// The limit, if there is one, and how long answers take where nothing queues.
    pub(crate) fn learned(&self) -> (Option<usize>, Option<Duration>) {
        let base = self.window.lock().unwrap_or_else(PoisonError::into_inner).base;
        (Some(self.limit()).filter(|limit| *limit <= LIMIT_MAX), base)
    }

    /// Goes on from what another process has learned.
    pub(crate) fn recall(&self, limit: Option<usize>, base: Option<Duration>) {
        let limit = limit.map_or(usize::MAX, |limit| limit.clamp(LIMIT_MIN, LIMIT_MAX));
        self.limit.store(limit, Ordering::Relaxed);
        self.window.lock().unwrap_or_else(PoisonError::into_inner).base = base.filter(|base| !base.is_zero());
    }

    /// The target has answered after `took`; `met` requests were there when the answered one came, itself included. Says
    /// whether the limit has grown.
    pub(crate) fn observe(&self, now: Instant, took: Duration, met: usize) -> bool {
        let before = self.limit();
        if took <= QUICK && before == usize::MAX {
            // What nearly all targets do nearly always costs next to nothing.
            if !self.quick.load(Ordering::Relaxed) {
                self.quick.store(true, Ordering::Relaxed);
            }
            return false;
        }
        // It came before the limit was lowered.
        if met > before {
            return false;
        }
        // Whoever finds another worker at it does without: one answer more or less tells nothing.
        let Ok(mut window) = self.window.try_lock() else { return false };
        window.answers += 1;
        window.heard = Some(now);
        if took < window.fastest {
            (window.fastest, window.met) = (took, met);
        }
        let begun = *window.begun.get_or_insert(now);
        if window.answers < ANSWERS_MIN || now.saturating_duration_since(begun) < WINDOW {
            return false;
        }
        if self.quick.swap(false, Ordering::Relaxed) {
            window.fastest = window.fastest.min(QUICK);
        }
        let after = window.step(before);
        self.limit.store(after, Ordering::Relaxed);
        after > before
    }

    /// Somebody finds no room. A limit that is of no use any more grows; says whether it did.
    pub(crate) fn is_outlived(&self, now: Instant) -> bool {
        let limit = self.limit();
        let Ok(mut window) = self.window.try_lock() else { return false };
        let silent = window.heard.is_none_or(|heard| now.saturating_duration_since(heard) >= SILENCE);
        if limit == usize::MAX || !silent {
            return false;
        }
        window.heard = Some(now);
        window.trial = None;
        self.limit.store(grown(limit), Ordering::Relaxed);
        true
    }
}

fn grown(limit: usize) -> usize {
    let grown = ((limit as f64 * GROWTH) as usize).saturating_add(1);
    if grown > LIMIT_MAX { usize::MAX } else { grown }
}

impl Window {
    /// Ends the window; gives the next limit.
    fn step(&mut self, limit: usize) -> usize {
        let (fastest, met) = (self.fastest.max(QUICK).as_secs_f64(), self.met);
        (self.begun, self.answers, self.fastest) = (None, 0, Duration::MAX);
        if let Some(trial) = self.trial.take()
            && !trial.has_helped(fastest, met)
        {
            self.base = Some(Duration::from_secs_f64(fastest));
            return trial.limit;
        }
        let base = match self.base.map(|base| base.as_secs_f64()) {
            Some(base) if fastest < base => base + FOLLOW * (fastest - base),
            Some(base) if fastest <= base * met as f64 * UNEVEN => base,
            // The first window, or slower than a queue can make it.
            Some(_) | None => fastest,
        };
        self.base = Some(Duration::from_secs_f64(base));
        let slowness = fastest / base;
        if slowness > SLOW {
            let part = (AIM / slowness).max(SHRINK_MIN);
            let lowered = ((met as f64 * part) as usize).max(LIMIT_MIN);
            if lowered < met {
                self.trial = Some(Trial { limit, met, fastest });
                return lowered;
            }
        } else if slowness <= AIM {
            // Whether or not it was reached: a limit that is not needed is forgotten.
            return grown(limit);
        }
        limit
    }
}

impl Trial {
    /// Whether answers are faster for it: nearer to the proportion of a queue than to what they were.
    fn has_helped(self, fastest: f64, met: usize) -> bool {
        let proportion = met as f64 / self.met as f64;
        fastest <= self.fastest * (1.0 + proportion) / 2.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    /// A target and the requests that wait for it: what is above the limit waits outside, what is above `servers` inside.
    struct Simulation {
        limiter: Limiter,
        begun: Instant,
        now: f64,
        /// When the servers get free.
        free: BinaryHeap<Reverse<u64>>,
        /// When the requests inside came, how many they met, and when they are answered, in the order of that.
        inside: BinaryHeap<Reverse<(u64, u64, usize)>>,
        /// Requests that wait outside.
        outside: usize,
        outside_most: usize,
        answered: usize,
    }

    fn micros(seconds: f64) -> u64 {
        (seconds * 1e6) as u64
    }

    impl Simulation {
        fn new(servers: usize) -> Simulation {
            Simulation {
                limiter: Limiter::default(),
                begun: Instant::now(),
                now: 0.0,
                free: (0..servers).map(|_| Reverse(0)).collect(),
                inside: BinaryHeap::new(),
                outside: 0,
                outside_most: 0,
                answered: 0,
            }
        }

        fn admit(&mut self, service: f64) {
            while self.outside > 0 && self.inside.len() < self.limiter.limit() {
                self.outside -= 1;
                let Reverse(free) = self.free.pop().unwrap();
                let done = free.max(micros(self.now)) + micros(service);
                self.free.push(Reverse(done));
                self.inside.push(Reverse((done, micros(self.now), self.inside.len() + 1)));
            }
        }

        /// Requests that take `service` come at `rate` for so many seconds.
        fn run(&mut self, seconds: f64, rate: f64, service: f64) {
            let end = self.now + seconds;
            let mut next = self.now;
            self.answered = 0;
            self.outside_most = 0;
            loop {
                let done = self.inside.peek().map_or(f64::MAX, |Reverse((done, ..))| *done as f64 / 1e6);
                if next.min(done) > end {
                    self.now = end;
                    return;
                }
                if done <= next {
                    self.now = done;
                    let Reverse((done, came, met)) = self.inside.pop().unwrap();
                    let now = self.begun + Duration::from_micros(done);
                    self.limiter.observe(now, Duration::from_micros(done - came), met);
                    self.answered += 1;
                } else {
                    self.now = next;
                    self.outside += 1;
                    next += 1.0 / rate;
                }
                self.admit(service);
                self.outside_most = self.outside_most.max(self.outside);
            }
        }

        /// Everybody leaves who waits outside.
        fn clear(&mut self) {
            self.outside = 0;
        }
    }

    impl Limiter {
        /// As if that had been learnt.
        pub(crate) fn limit_to(&self, limit: usize) {
            self.limit.store(limit, Ordering::Relaxed);
            self.window.lock().unwrap().heard = Some(Instant::now());
        }
    }

    #[test]
    fn a_limit_is_outlived_where_nobody_is_answered() {
        let limiter = Limiter::default();
        let now = Instant::now();
        assert!(!limiter.is_outlived(now), "there is none");
        limiter.limit_to(4);
        assert!(!limiter.is_outlived(now));
        assert!(limiter.is_outlived(now + Duration::from_secs(2)));
        assert_eq!(limiter.limit(), 7);
        assert!(!limiter.is_outlived(now + Duration::from_secs(2)), "step by step");
    }

    #[test]
    fn a_target_that_keeps_up_is_not_limited() {
        for (servers, rate, service) in [(4, 70.0, 0.05), (1, 900.0, 0.001), (1000, 900.0, 1.0)] {
            let mut run = Simulation::new(servers);
            run.run(30.0, rate, service);
            assert_eq!(run.limiter.limit(), usize::MAX, "{servers} servers");
        }
    }

    #[test]
    fn an_overloaded_target_is_kept_busy_with_a_short_queue_of_its_own() {
        for (servers, service) in [(1, 0.01), (4, 0.05), (16, 0.1), (64, 0.02)] {
            let mut run = Simulation::new(servers);
            let capacity = servers as f64 / service;
            run.run(10.0, capacity * 4.0, service);
            let limit = run.limiter.limit();
            assert!(limit <= (servers * 4).max(LIMIT_MIN), "{servers} servers: {limit}");
            run.run(30.0, capacity * 4.0, service);
            assert!(run.answered as f64 >= 0.97 * capacity * 30.0, "{servers} servers: {}", run.answered);
            let limit = run.limiter.limit();
            assert!((servers..=(servers * 4).max(LIMIT_MIN)).contains(&limit.max(servers)), "{limit}");
        }
    }

    #[test]
    fn the_limit_goes_when_the_load_does() {
        let mut run = Simulation::new(4);
        run.run(20.0, 320.0, 0.05);
        run.clear();
        run.run(2.0, 60.0, 0.05);
        run.run(30.0, 60.0, 0.05);
        assert!(run.outside_most <= 1, "nobody waits outside: {}", run.outside_most);
    }

    #[test]
    fn work_that_becomes_slower_is_not_taken_for_a_queue_for_long() {
        // An event loop: everything at once. Its database becomes ten times slower; then everybody polls for 20 s.
        let mut run = Simulation::new(100_000);
        run.run(10.0, 200.0, 0.02);
        run.run(10.0, 200.0, 0.2);
        assert!(run.outside_most < 200, "for less than a second: {}", run.outside_most);
        run.run(60.0, 50.0, 20.0);
        run.run(60.0, 50.0, 20.0);
        assert_eq!(run.outside_most, 0, "and in the end for nobody");
    }

    #[test]
    fn a_few_fast_answers_do_not_make_the_others_slow() {
        let mut run = Simulation::new(100_000);
        for _ in 0..20 {
            run.run(2.0, 500.0, 0.1);
            run.run(0.3, 500.0, 0.001);
        }
        assert!(run.outside_most < 500, "for less than a second: {}", run.outside_most);
        run.run(10.0, 500.0, 0.1);
        run.run(10.0, 500.0, 0.1);
        assert_eq!(run.outside_most, 0, "and in the end for nobody");
    }
}
