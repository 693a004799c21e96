//! The pace of a request body: a client that sends a byte now and then must not hold a target's worker for ever.

use std::time::{Duration, Instant};

use model::{Limit, LimitName};

/// A slow start is nobody's fault: the rate is asked for after this much waiting.
const GRACE: Duration = Duration::from_secs(10);

/// How long a client was waited for, against what it has sent.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Bytes per second; zero asks for nothing.
    min: u64,
    waited: Duration,
    /// Since when it is the client's turn, if it is.
    due_since: Option<Instant>,
}

impl Pace {
    pub(crate) fn new(min: u64) -> Pace {
        Pace { min, waited: Duration::ZERO, due_since: None }
    }

    /// The limit that it stands for.
    pub(crate) fn limit(&self) -> Limit {
        Limit::Bytes { name: LimitName::BodyRate, max: self.min }
    }

    /// When the client will have been too slow if nothing comes after these `bytes`. Only time in which the client was
    /// due counts: a target that takes the body slowly is not the client's doing.
    pub(crate) fn deadline(&mut self, now: Instant, bytes: u64, client_is_due: bool) -> Option<Instant> {
        if let Some(since) = self.due_since.take() {
            self.waited += now.saturating_duration_since(since);
        }
        if self.min == 0 || !client_is_due {
            return None;
        }
        self.due_since = Some(now);
        let earned = Duration::from_secs(bytes / self.min);
        // An instant in the past when it is too late already, not now: now would move away from each look at it.
        Some(now + GRACE + earned - self.waited)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_earned_by_bytes_and_spent_by_waiting_for_the_client() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut pace = Pace::new(100);
        assert_eq!(pace.deadline(at(0), 0, true), Some(at(10)));
        assert_eq!(pace.deadline(at(4), 500, true), Some(at(15)), "500 bytes are worth five seconds");
        assert_eq!(pace.deadline(at(5), 500, false), None, "the target's turn");
        assert_eq!(pace.deadline(at(100), 500, true), Some(at(110)), "which took 95 s that do not count");
        assert_eq!(pace.deadline(at(109), 501, true), Some(at(110)));
        assert_eq!(pace.deadline(at(112), 501, true), Some(at(110)), "two seconds ago");
    }

    #[test]
    fn no_rate_asks_for_nothing() {
        assert_eq!(Pace::new(0).deadline(Instant::now(), 0, true), None);
    }
}
