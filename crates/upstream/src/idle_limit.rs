//! After how much idling a target closes its connections, as far as it says or shows.
//!
//! A request on a connection that its target is just closing may be lost. So connections are retired well before: by what
//! `Keep-Alive: timeout` announces, and by the shortest idling after which the target was seen to close.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Closes after less are no idle limit: the target had other reasons.
const SEEN_MIN: Duration = Duration::from_millis(200);
/// How long a close is remembered. A restart closes after any idling; what it taught must not last.
const SEEN_FOR: Duration = Duration::from_secs(60);
/// How well before a limit a connection is retired, at least.
const GUARD_MIN: Duration = Duration::from_millis(100);

/// What is known of one target.
#[derive(Debug)]
pub struct IdleLimit {
    begun: Instant,
    /// Milliseconds; zero for unknown.
    announced: AtomicU64,
    /// Milliseconds, and when that was seen in milliseconds from a time before `begun`.
    seen: AtomicU64,
    seen_at: AtomicU64,
}

impl Default for IdleLimit {
    fn default() -> IdleLimit {
        IdleLimit {
            begun: Instant::now(),
            announced: AtomicU64::new(0),
            seen: AtomicU64::new(0),
            seen_at: AtomicU64::new(0),
        }
    }
}

impl IdleLimit {
    /// The target has announced that it keeps idle connections for so long.
    pub fn announced(&self, limit: Duration) {
        self.announced.store((limit.as_millis() as u64).max(1), Ordering::Relaxed);
    }

    /// The target has closed a connection that had still been open after so much idling. The shortest one counts.
    pub fn closed_after(&self, now: Instant, idle: Duration) {
        if idle < SEEN_MIN {
            return;
        }
        let idle = idle.as_millis() as u64;
        if self.seen(now).is_none_or(|seen| idle <= seen) {
            self.seen.store(idle, Ordering::Relaxed);
            self.seen_at.store(self.millis(now), Ordering::Relaxed);
        }
    }

    /// The limit, if one is known.
    pub fn known(&self, now: Instant) -> Option<Duration> {
        let seen = self.seen(now).map(Duration::from_millis);
        [self.known_by_announcement(), seen].into_iter().flatten().min()
    }

    pub(crate) fn known_by_announcement(&self) -> Option<Duration> {
        let announced = self.announced.load(Ordering::Relaxed);
        (announced > 0).then(|| Duration::from_millis(announced))
    }

    /// After how much idling the target was seen to close, and how long ago.
    pub(crate) fn seen_closing(&self, now: Instant) -> Option<(Duration, Duration)> {
        let idle = Duration::from_millis(self.seen(now)?);
        let ago = self.millis(now).saturating_sub(self.seen_at.load(Ordering::Relaxed));
        Some((idle, Duration::from_millis(ago)))
    }

    /// After how much idling a connection is retired, if the configuration says `configured`.
    pub fn retire_after(&self, now: Instant, configured: Duration) -> Duration {
        match self.known(now) {
            Some(known) => configured.min(known.saturating_sub((known / 5).max(GUARD_MIN))),
            None => configured,
        }
    }

    fn seen(&self, now: Instant) -> Option<u64> {
        let seen = Some(self.seen.load(Ordering::Relaxed)).filter(|seen| *seen > 0)?;
        let age = self.millis(now).saturating_sub(self.seen_at.load(Ordering::Relaxed));
        (age < SEEN_FOR.as_millis() as u64).then_some(seen)
    }

    fn millis(&self, now: Instant) -> u64 {
        // What a process before this one saw has its time, too.
        (now + SEEN_FOR).saturating_duration_since(self.begun).as_millis() as u64
    }
}

/// The value of `timeout` in a `Keep-Alive` field (RFC 2068 section 19.7.1.1), in whole seconds.
pub(crate) fn keep_alive_timeout(value: &[u8]) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?;
    let parameter = text.split(',').find_map(|part| part.trim().strip_prefix("timeout="))?;
    parameter.trim_matches('"').parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shorter_of_what_is_said_and_seen_counts_with_a_guard() {
        let (ms, seconds) = (Duration::from_millis, Duration::from_secs);
        let limit = IdleLimit::default();
        let now = Instant::now();
        assert_eq!(limit.retire_after(now, ms(1500)), ms(1500));
        limit.announced(seconds(5));
        assert_eq!(limit.retire_after(now, seconds(60)), seconds(4));
        assert_eq!(limit.retire_after(now, ms(1500)), ms(1500), "what is configured is not exceeded");
        limit.closed_after(now, ms(1000));
        limit.closed_after(now, ms(1200));
        assert_eq!(limit.retire_after(now, ms(1500)), ms(800));
        limit.closed_after(now, ms(10));
        assert_eq!(limit.retire_after(now, ms(1500)), ms(800), "that was no idle limit");
        limit.closed_after(now, ms(250));
        assert_eq!(limit.retire_after(now, ms(1500)), ms(150));
        assert_eq!(limit.retire_after(now + seconds(61), ms(1500)), ms(1500), "that was long ago");
    }

    #[test]
    fn keep_alive_is_read_as_servers_write_it() {
        for (value, seconds) in [
            (&b"timeout=5"[..], Some(5)),
            (b"timeout=5, max=100", Some(5)),
            (b"max=100, timeout=\"7\"", Some(7)),
            (b"max=100", None),
            (b"timeout=soon", None),
            (b"\xff", None),
        ] {
            assert_eq!(keep_alive_timeout(value), seconds.map(Duration::from_secs), "{value:?}");
        }
    }
}
