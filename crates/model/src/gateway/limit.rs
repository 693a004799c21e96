//! How much callers may use.

use std::sync::Arc;

/// A limit on requests that have something in common.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    pub name: Arc<str>,
    /// What has a count of its own each; empty is one count for all.
    pub by: Vec<LimitBy>,
    /// The services that it is for; empty is all.
    pub services: Vec<Arc<str>>,
    /// The consumers that it is for; empty is all.
    pub consumers: Vec<Arc<str>>,
    /// The models, as clients name them, that it is for; empty is all, and requests that name none.
    pub models: Vec<Arc<str>>,
    pub requests: Option<Rate>,
    /// Of AI models, in and out.
    pub tokens: Option<Rate>,
    /// In billionths of a dollar.
    pub cost: Option<Rate>,
    /// Requests at once.
    pub concurrency: Option<u32>,
}

/// What requests can have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitBy {
    Consumer,
    Model,
    Service,
    Team,
}

/// An amount in each stretch of the calendar, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub amount: u64,
    pub per: Window,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    Second,
    Minute,
    Hour,
    Day,
    Month,
}

impl Window {
    pub const ALL: &'static [Window] =
        &[Window::Second, Window::Minute, Window::Hour, Window::Day, Window::Month];

    pub fn id(self) -> &'static str {
        match self {
            Window::Second => "second",
            Window::Minute => "minute",
            Window::Hour => "hour",
            Window::Day => "day",
            Window::Month => "month",
        }
    }

    /// When the stretch with this second of Unix time began, and when it ends.
    pub fn around(self, unix_seconds: u64) -> (u64, u64) {
        const DAY: u64 = 86_400;
        let length = match self {
            Window::Second => 1,
            Window::Minute => 60,
            Window::Hour => 3600,
            Window::Day => DAY,
            Window::Month => {
                let (start, end) = month_around(unix_seconds / DAY);
                return (start * DAY, end * DAY);
            }
        };
        let start = unix_seconds - unix_seconds % length;
        (start, start + length)
    }
}

/// The days since 1970 on which a day's month begins, and the next one does.
fn month_around(day: u64) -> (u64, u64) {
    let is_leap = |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let mut start = 0;
    for year in 1970.. {
        let february = if is_leap(year) { 29 } else { 28 };
        for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
            if day < start + length {
                return (start, start + length);
            }
            start += length;
        }
    }
    (start, start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_those_of_the_calendar() {
        // 2026-11-27T02:07:30Z.
        let now = 1_795_745_250;
        assert_eq!(Window::Second.around(now), (now, now + 1));
        assert_eq!(Window::Minute.around(now), (1_795_745_220, 1_795_745_280));
        assert_eq!(Window::Day.around(now), (1_795_737_600, 1_795_824_000));
        // From 2026-11-01 to 2026-12-01.
        assert_eq!(Window::Month.around(now), (1_793_491_200, 1_796_083_200));
        // 2024-02-29.
        assert_eq!(Window::Month.around(1_709_200_000), (1_706_745_600, 1_709_251_200));
    }
}
