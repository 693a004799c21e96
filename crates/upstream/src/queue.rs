//! The order in which requests wait for a target: by criticality, then first in first out, bounded in number, bytes and
//! time. A state machine without a clock of its own.
//!
//! How long a request may wait depends on the queue (as in CoDel, RFC 8289). One that empties now and then takes up a
//! burst, and waiting is worth it. One that has stood for a while takes up nothing: as much leaves as comes, and all that a
//! longer wait buys is that everybody waits longer. So it is kept short from then on: as long as those in it can be served in
//! the time that they have then, and who comes in addition is turned away at once.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use model::gateway::{Criticality, Queue as Rules};

/// Who waits; `T` is what they are known by.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    /// From critical to sheddable.
    classes: [VecDeque<Entry<T>>; 3],
    bytes: u64,
    /// Since when somebody has waited without a break, and since when they could have gone on.
    busy_since: Option<Instant>,
    opened: Option<Instant>,
    pace: Pace,
    next_ticket: u64,
}

/// How fast the queue moves: the average time between two who leave it for a target, recent ones counted more.
#[derive(Debug, Default)]
struct Pace {
    last: Option<Instant>,
    average: Duration,
}

impl Pace {
    fn step(&mut self, now: Instant) {
        if let Some(last) = self.last.replace(now) {
            let took = now.saturating_duration_since(last);
            self.average = if self.average.is_zero() { took } else { (self.average * 15 + took) / 16 };
        }
    }
}

/// Why there is no place, or why it went to somebody more critical.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// Too much is held of bodies.
    Bytes,
    /// Too many wait.
    Length,
    /// The queue stands, and is kept to what it serves in time.
    Standing,
}

/// A place was taken.
#[derive(Debug)]
pub(crate) struct Entered<T> {
    pub ticket: Ticket,
    /// Who lost theirs for it, and why.
    pub displaced: Vec<(T, Full)>,
}

#[derive(Debug)]
struct Entry<T> {
    ticket: Ticket,
    bytes: u64,
    value: T,
}

/// A place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    number: u64,
    criticality: Criticality,
    entered: Instant,
}

/// Whether a place may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Until then for certain.
    Until(Instant),
    /// No longer: this was the limit.
    Over { standing: bool },
}

impl<T> Default for Queue<T> {
    fn default() -> Queue<T> {
        Queue {
            classes: Default::default(),
            bytes: 0,
            busy_since: None,
            opened: None,
            pace: Pace::default(),
            next_ticket: 0,
        }
    }
}

fn class(criticality: Criticality) -> usize {
    match criticality {
        Criticality::Critical => 0,
        Criticality::Normal => 1,
        Criticality::Sheddable => 2,
    }
}

impl<T> Queue<T> {
    pub(crate) fn len(&self) -> usize {
        self.classes.iter().map(VecDeque::len).sum()
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.classes.iter_mut().flatten().map(|entry| &mut entry.value)
    }

    /// Takes a place. In a full queue somebody less critical, the last to have come, loses theirs, who is given back as
    /// well; without such a one the newcomer is refused.
    pub(crate) fn enter(
        &mut self,
        rules: &Rules,
        now: Instant,
        criticality: Criticality,
        bytes: u64,
        value: T,
    ) -> Result<Entered<T>, Full> {
        let length_max = self.length_max(rules, now);
        let too_long = if length_max < rules.length { Full::Standing } else { Full::Length };
        let less_critical = || self.classes.iter().skip(class(criticality) + 1).flatten();
        let stay = self.len() - less_critical().count();
        let stay_bytes = self.bytes - less_critical().map(|entry| entry.bytes).sum::<u64>();
        if stay >= length_max {
            return Err(too_long);
        }
        if stay_bytes + bytes > rules.bytes_max.0 {
            return Err(Full::Bytes);
        }
        let mut displaced = Vec::new();
        while self.len() >= length_max || self.bytes + bytes > rules.bytes_max.0 {
            let why = if self.len() >= length_max { too_long } else { Full::Bytes };
            let Some(last) = self.classes.iter_mut().rev().find_map(VecDeque::pop_back) else { break };
            self.bytes -= last.bytes;
            displaced.push((last.value, why));
        }
        let ticket = Ticket { number: self.next_ticket, criticality, entered: now };
        self.next_ticket += 1;
        self.bytes += bytes;
        self.busy_since.get_or_insert(now);
        if let Some(class) = self.classes.get_mut(class(criticality)) {
            class.push_back(Entry { ticket, bytes, value });
        }
        Ok(Entered { ticket, displaced })
    }

    /// How many may wait now.
    fn length_max(&self, rules: &Rules, now: Instant) -> usize {
        let stands = self.busy_since.is_some_and(|since| now >= since + rules.wait);
        if !stands || self.pace.average.is_zero() {
            return rules.length;
        }
        let in_time = rules.standing_wait.as_secs_f64() / self.pace.average.as_secs_f64();
        rules.length.min((in_time as usize).max(1))
    }

    /// The first one that suits, who leaves the queue, if they want what there is.
    pub(crate) fn next_if(
        &mut self,
        now: Instant,
        suits: impl Fn(&T) -> bool,
        wants: impl FnOnce(&T) -> bool,
    ) -> Option<T> {
        let (class, place) = self.classes.iter_mut().find_map(|class| {
            let place = class.iter().position(|entry| suits(&entry.value))?;
            Some((class, place))
        })?;
        if !wants(&class.get(place)?.value) {
            return None;
        }
        let first = class.remove(place)?;
        self.pace.step(now);
        self.left(first.bytes);
        Some(first.value)
    }

    /// In how long those who wait now will have left, if it goes on as it does; `None` where nobody has left yet.
    pub(crate) fn drains_in(&self) -> Option<Duration> {
        let average = Some(self.pace.average).filter(|average| !average.is_zero())?;
        Some(average.saturating_mul(u32::try_from(self.len()).unwrap_or(u32::MAX)))
    }

    /// Gives the place up, if it is still held.
    pub(crate) fn leave(&mut self, ticket: Ticket) {
        let Some(class) = self.classes.get_mut(class(ticket.criticality)) else { return };
        // Tickets are in order, and mostly it is the first that goes.
        let found = class.binary_search_by_key(&ticket.number, |entry| entry.ticket.number);
        if let Some(entry) = found.ok().and_then(|place| class.remove(place)) {
            self.left(entry.bytes);
        }
    }

    fn left(&mut self, bytes: u64) {
        self.bytes -= bytes;
        if self.len() == 0 {
            self.busy_since = None;
            self.pace.last = None;
        }
    }

    /// Nobody could go on until now, whatever the queue: what they have waited does not count against them.
    pub(crate) fn open(&mut self, now: Instant) {
        self.opened = Some(now);
        self.busy_since = self.busy_since.map(|_| now);
    }

    /// Whether a place may be kept. `out_until`: until when it is waited that anybody can go on, while nobody can.
    ///
    /// However often that happens: a request waits for `wait` at most until it could go on, and as long for its turn.
    pub(crate) fn verdict(
        &self,
        rules: &Rules,
        ticket: Ticket,
        now: Instant,
        out_until: Option<Instant>,
    ) -> Verdict {
        let last = ticket.entered + rules.wait * 2;
        let entered = ticket.entered.max(self.opened.unwrap_or(ticket.entered));
        let long = out_until.unwrap_or(entered + rules.wait).min(last);
        if now >= long {
            return Verdict::Over { standing: false };
        }
        if out_until.is_some() {
            return Verdict::Until(long);
        }
        let short = (entered + rules.standing_wait).min(long);
        let stands_from = self.busy_since.unwrap_or(now) + rules.wait;
        if now >= stands_from {
            return if now >= short { Verdict::Over { standing: true } } else { Verdict::Until(short) };
        }
        Verdict::Until(short.max(stands_from).min(long))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Criticality::{Critical, Normal, Sheddable};
    use model::ByteSize;
    use proptest::prelude::*;

    const RULES: Rules = Rules {
        length: 3,
        bytes_max: ByteSize(100),
        wait: Duration::from_secs(5),
        standing_wait: Duration::from_secs(1),
    };

    fn all(queue: &mut Queue<u32>) -> Vec<u32> {
        let now = Instant::now();
        std::iter::from_fn(|| queue.next_if(now, |_| true, |_| true)).collect()
    }

    #[test]
    fn first_in_first_out_within_a_criticality() {
        let mut queue = Queue::default();
        let now = Instant::now();
        let rules = Rules { length: 10, ..RULES };
        for (number, criticality) in
            [(1, Sheddable), (2, Normal), (3, Critical), (4, Normal), (5, Sheddable), (6, Critical)]
        {
            queue.enter(&rules, now, criticality, 0, number).unwrap();
        }
        assert_eq!(queue.next_if(now, |_| true, |number| *number != 3), None, "nobody overtakes");
        assert_eq!(all(&mut queue), [3, 6, 2, 4, 1, 5]);
    }

    #[test]
    fn who_is_less_critical_makes_room_last_come_first() {
        let mut queue = Queue::default();
        let now = Instant::now();
        for (number, criticality) in [(1, Sheddable), (2, Normal), (3, Sheddable)] {
            queue.enter(&RULES, now, criticality, 0, number).unwrap();
        }
        assert_eq!(queue.enter(&RULES, now, Sheddable, 0, 4).unwrap_err(), Full::Length);
        assert_eq!(queue.enter(&RULES, now, Normal, 0, 5).unwrap().displaced, [(3, Full::Length)]);
        assert_eq!(queue.enter(&RULES, now, Critical, 0, 6).unwrap().displaced, [(1, Full::Length)]);
        assert_eq!(queue.enter(&RULES, now, Normal, 0, 7).unwrap_err(), Full::Length);
        assert_eq!(all(&mut queue), [6, 2, 5]);
    }

    #[test]
    fn bytes_are_bounded_as_well() {
        let mut queue = Queue::default();
        let now = Instant::now();
        let first = queue.enter(&RULES, now, Normal, 60, 1).unwrap().ticket;
        assert_eq!(queue.enter(&RULES, now, Normal, 60, 2).unwrap_err(), Full::Bytes);
        assert_eq!(queue.enter(&RULES, now, Critical, 101, 3).unwrap_err(), Full::Bytes, "that helps nobody");
        queue.enter(&RULES, now, Normal, 40, 4).unwrap();
        queue.leave(first);
        queue.leave(first);
        queue.enter(&RULES, now, Normal, 60, 5).unwrap();
        assert_eq!(all(&mut queue), [4, 5]);
    }

    #[test]
    fn a_queue_that_stands_is_kept_short() {
        let mut queue = Queue::default();
        let begun = Instant::now();
        let at = |millis| begun + Duration::from_millis(millis);
        let first = queue.enter(&RULES, at(0), Normal, 0, 1).unwrap().ticket;
        assert_eq!(queue.verdict(&RULES, first, at(0), None), Verdict::Until(at(5000)));
        assert_eq!(queue.verdict(&RULES, first, at(5000), None), Verdict::Over { standing: false });
        let second = queue.enter(&RULES, at(4500), Normal, 0, 2).unwrap().ticket;
        assert_eq!(
            queue.verdict(&RULES, second, at(4500), None),
            Verdict::Until(at(5500)),
            "it stands by then"
        );
        assert_eq!(queue.next_if(at(4600), |_| true, |_| true), Some(1));
        assert_eq!(queue.verdict(&RULES, second, at(5499), None), Verdict::Until(at(5500)));
        assert_eq!(queue.verdict(&RULES, second, at(5500), None), Verdict::Over { standing: true });
        queue.leave(second);
        let third = queue.enter(&RULES, at(5600), Normal, 0, 3).unwrap().ticket;
        assert_eq!(queue.verdict(&RULES, third, at(5600), None), Verdict::Until(at(10_600)), "it was empty");
    }

    #[test]
    fn a_queue_that_stands_takes_no_more_than_it_serves_in_time() {
        let mut queue = Queue::default();
        let rules = Rules { length: 100, ..RULES };
        let begun = Instant::now();
        let at = |millis| begun + Duration::from_millis(millis);
        // Two leave each second, and there are always twenty or more.
        for number in 0..20 {
            queue.enter(&rules, at(0), Normal, 0, number).unwrap();
        }
        for step in 1..10 {
            assert!(queue.next_if(at(step * 500), |_| true, |_| true).is_some());
            queue.enter(&rules, at(step * 500), Normal, 0, 0).unwrap();
        }
        assert_eq!(queue.drains_in(), Some(Duration::from_secs(10)));
        let refused = queue.enter(&rules, at(5000), Normal, 0, 7);
        assert_eq!(refused.unwrap_err(), Full::Standing);
        let displaced = queue.enter(&rules, at(5000), Critical, 0, 8).unwrap().displaced;
        assert_eq!(displaced.len(), 19, "two are what a second is enough for");
        assert!(displaced.iter().all(|(_, why)| *why == Full::Standing));
    }

    #[test]
    fn time_while_nobody_could_go_on_does_not_count() {
        let mut queue = Queue::default();
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let ticket = queue.enter(&RULES, at(0), Normal, 0, 1).unwrap().ticket;
        queue.open(at(4));
        assert_eq!(queue.verdict(&RULES, ticket, at(4), None), Verdict::Until(at(9)));
    }

    #[test]
    fn who_suits_is_found_behind_those_who_do_not() {
        let mut queue = Queue::default();
        let now = Instant::now();
        for (number, criticality) in [(1, Sheddable), (2, Normal), (3, Normal)] {
            queue.enter(&RULES, now, criticality, 10, number).unwrap();
        }
        assert_eq!(queue.next_if(now, |number| *number != 2, |_| false), None, "and stays");
        assert_eq!(queue.next_if(now, |number| *number != 2, |_| true), Some(3));
        assert_eq!(queue.next_if(now, |number| *number > 2, |_| true), None);
        assert_eq!((all(&mut queue), queue.bytes), (vec![2, 1], 0));
    }

    #[test]
    fn an_outage_is_waited_for_and_then_a_turn_and_nothing_more() {
        let mut queue = Queue::default();
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let ticket = queue.enter(&RULES, at(0), Normal, 0, 1).unwrap().ticket;
        let verdict = |queue: &Queue<u32>, now, out| queue.verdict(&RULES, ticket, at(now), Some(at(out)));
        assert_eq!(verdict(&queue, 1, 4), Verdict::Until(at(4)));
        assert_eq!(verdict(&queue, 4, 4), Verdict::Over { standing: false });
        queue.open(at(4));
        assert_eq!(verdict(&queue, 5, 10), Verdict::Until(at(10)), "it is out again");
        queue.open(at(8));
        assert_eq!(queue.verdict(&RULES, ticket, at(8), None), Verdict::Until(at(10)));
        assert_eq!(queue.verdict(&RULES, ticket, at(10), None), Verdict::Over { standing: false });
        assert_eq!(verdict(&queue, 10, 14), Verdict::Over { standing: false });
    }

    proptest! {
        /// However often targets go and come back, nobody waits longer than for one outage and one turn.
        #[test]
        fn a_place_has_an_end(openings in prop::collection::vec(0u64..2_000, 0..30), out in any::<bool>()) {
            let mut queue = Queue::default();
            let begun = Instant::now();
            let ticket = queue.enter(&RULES, begun, Normal, 0, 1).unwrap().ticket;
            let last = begun + RULES.wait * 2;
            let mut now = begun;
            for step in openings {
                now += Duration::from_millis(step);
                queue.open(now);
                let out_until = out.then_some(now + RULES.wait);
                match queue.verdict(&RULES, ticket, now, out_until) {
                    Verdict::Until(until) => prop_assert!(now < until && until <= last),
                    Verdict::Over { .. } => prop_assert!(now >= last),
                }
            }
        }

        /// Whatever comes and goes: the bounds hold, nobody is lost, and nobody is there twice.
        #[test]
        fn the_bounds_are_never_exceeded(events in prop::collection::vec((0u8..4, 0u64..60, 0usize..6), 1..300)) {
            let mut queue = Queue::default();
            let now = Instant::now();
            let mut inside: Vec<(Ticket, u32)> = Vec::new();
            for (number, (event, bytes, place)) in events.into_iter().enumerate() {
                let number = number as u32;
                match event {
                    0 if place < inside.len() => queue.leave(inside.remove(place).0),
                    1 => {
                        let next = queue.next_if(now, |_| true, |_| true);
                        prop_assert_eq!(next.is_some(), !inside.is_empty());
                        inside.retain(|(_, inside)| Some(*inside) != next);
                    }
                    _ => {
                        let criticality = [Critical, Normal, Sheddable][place % 3];
                        match queue.enter(&RULES, now, criticality, bytes, number) {
                            Ok(Entered { ticket, displaced }) => {
                                inside.retain(|(_, inside)| displaced.iter().all(|(gone, _)| gone != inside));
                                inside.push((ticket, number));
                            }
                            Err(full) => prop_assert!(matches!(full, Full::Bytes | Full::Length)),
                        }
                    }
                }
                prop_assert_eq!(queue.len(), inside.len());
                prop_assert!(queue.len() <= RULES.length && queue.bytes <= RULES.bytes_max.0);
            }
        }
    }
}
