//! The health of a target as a document for the process that takes the place of this one. Times are relative.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{ByRequests, Checks, Condition, Ejections, Health, Why};

/// Unknown fields are left out, missing ones are those of a target that is well.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LearnedHealth {
    /// The id of what its requests have brought about; one that is not known is `up`.
    pub condition: String,
    /// How long ago that began; absent for one that was never out.
    pub since_ms: Option<u64>,
    /// How long an ejection or a trial goes on.
    pub left_ms: u64,
    pub why: Option<String>,
    /// In a row.
    pub unreached: u32,
    pub failures: u32,
    pub ejections: u32,
    pub ejected_for_share: bool,
    /// How long ago its checks began to keep it out, and why; absent where they do not.
    pub down_ms: Option<u64>,
    pub down_why: String,
}

impl Health {
    pub(crate) fn learned(&self, now: Instant) -> LearnedHealth {
        let (since, until) = match self.condition {
            ByRequests::Up { since } => (since, None),
            ByRequests::Unreachable { since } => (Some(since), None),
            ByRequests::Ejected { since, until } | ByRequests::Trial { since, until } => {
                (Some(since), Some(until))
            }
        };
        let ago = |since| millis(now.saturating_duration_since(since));
        LearnedHealth {
            condition: Condition::from(self.condition).id().to_owned(),
            since_ms: since.map(ago),
            left_ms: until.map_or(0, |until| millis(until.saturating_duration_since(now))),
            why: self.why.as_ref().map(ToString::to_string),
            unreached: self.unreached,
            failures: self.failures,
            ejections: self.ejections,
            ejected_for_share: self.for_share,
            down_ms: self.checks.down.as_ref().map(|(since, _)| ago(*since)),
            down_why: self.checks.down.as_ref().map(|(_, why)| why.to_string()).unwrap_or_default(),
        }
    }

    /// The same in another process. `is_checked`: there are checks that could bring it back.
    pub(crate) fn recalled(learned: &LearnedHealth, is_checked: bool, now: Instant) -> Health {
        let ago = |millis| now.checked_sub(Duration::from_millis(millis)).unwrap_or(now);
        let since = learned.since_ms.map(ago);
        let (out_since, until) = (since.unwrap_or(now), now + Duration::from_millis(learned.left_ms));
        let all = [
            ByRequests::Unreachable { since: out_since },
            ByRequests::Ejected { since: out_since, until },
            ByRequests::Trial { since: out_since, until },
        ];
        let condition =
            all.into_iter().find(|condition| Condition::from(*condition).id() == learned.condition);
        let condition = condition.unwrap_or(ByRequests::Up { since });
        let is_up = matches!(condition, ByRequests::Up { .. });
        let down =
            learned.down_ms.filter(|_| is_checked).map(|down| (ago(down), learned.down_why.as_str().into()));
        Health {
            condition,
            unreached: learned.unreached,
            failures: learned.failures,
            ejections: learned.ejections,
            why: learned.why.as_deref().filter(|_| !is_up).map(|why| Why::Before(why.into())),
            for_share: learned.ejected_for_share,
            checks: Checks { down, ..Checks::default() },
            ejected: Ejections::default(),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis() as u64
}
