//! When targets are taken out, and how they come back.

use super::shape;
use crate::scalar::{Percent, PercentOrOff, Time, Whole};

shape! {
    /// When a target gets no requests for a while. What attempts show is counted per process, for all workers together.
    /// A target that is alone is always asked; where all are out, the one that is soonest to be asked again is.
    Health {
        /// Connections in a row that could not be made. After them only probes go there, and the first one that connects
        /// brings the target back.
        unreachable_after: Whole<1, 1000> [= "1"] "3";
        /// Failures in a row of attempts that did reach it: closed, reset, silent for too long, not HTTP, or answered 502,
        /// 503 or 504. After them it is ejected; one request is its trial when that time is over.
        eject_after: Whole<1, 1000> [= "5"] "3";
        /// How long the first ejection lasts. Each further one in a row lasts twice as long.
        ejection: Time<1> [= "5s"] "10s";
        /// The longest ejection.
        ejection_max: Time<1> [= "5m"] "1m";
        /// The share of the targets that may be out for an ejection to follow: above it, the failing ones stay. With `0%`
        /// none is ever ejected.
        ejected_max: Percent<0, 100> [= "50%"] "30%";
        /// A target is ejected as well when the share of its requests that failed, or were answered 500 to 599, is so many
        /// points above that of the other targets together. An upstream that fails as a whole loses nobody.
        failure_share_margin: PercentOrOff<1, 99> [= "30%"] "off";
        /// Over which time shares are compared.
        failure_share_window: Time<1000> [= "10s"] "1m";
        /// Requests that a target must have had in that time.
        failure_share_requests: Whole<1, 1_000_000> [= "20"] "100";
        /// From a target's return to its full share of the requests, which grows with the time. `0s`: at once.
        slow_start: Time<0> [= "10s"] "30s";
    }
}
