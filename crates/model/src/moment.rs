//! A point in time as evidence carries it: Unix milliseconds, written in UTC (RFC 3339).
//!
//! Reads no clock, and knows no time zones but offsets from UTC: which zone a log was written in is for its reader to say.

use std::fmt;
use std::str::FromStr;

/// Milliseconds since 1970-01-01T00:00:00Z; before that, negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub i64);

/// The text is not a moment as `2026-11-23T07:06:57.120Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseMomentError;

const DAY_SECONDS: i64 = 86_400;

impl Moment {
    /// The moment of a date and time of day in a zone that is `offset_seconds` ahead of UTC; `None` for a date that does
    /// not exist. A leap second counts as the second after it.
    pub fn of(
        date: (i64, u32, u32),
        time: (u32, u32, u32),
        millis: u32,
        offset_seconds: i64,
    ) -> Option<Moment> {
        let (year, month, day) = date;
        let (hour, minute, second) = time;
        let valid = (1..=12).contains(&month)
            && day >= 1
            && day <= days_of_month(year, month)
            && hour < 24
            && minute < 60
            && second <= 60
            && (0..=9999).contains(&year);
        if !valid {
            return None;
        }
        let seconds = days_from_civil(year, month, day) * DAY_SECONDS
            + i64::from(hour) * 3600
            + i64::from(minute) * 60
            + i64::from(second)
            - offset_seconds;
        Some(Moment(seconds * 1000 + i64::from(millis)))
    }

    /// Year, month and day in UTC.
    pub fn date(self) -> (i64, u32, u32) {
        civil_from_days(self.0.div_euclid(1000 * DAY_SECONDS))
    }

    /// Seconds from `earlier` to this one; negative if it is later.
    pub fn seconds_since(self, earlier: Moment) -> f64 {
        (self.0 - earlier.0) as f64 / 1000.0
    }

    /// The moment that many seconds later; earlier, if negative.
    pub fn plus_seconds(self, seconds: f64) -> Moment {
        Moment(self.0.saturating_add((seconds * 1000.0) as i64))
    }

    /// Hour, minute, second and millisecond in UTC, as `07:06:57.120`.
    pub fn clock_time(self) -> String {
        let millis = self.0.rem_euclid(1000 * DAY_SECONDS);
        let seconds = millis / 1000;
        format!("{:02}:{:02}:{:02}.{:03}", seconds / 3600, seconds / 60 % 60, seconds % 60, millis % 1000)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.date();
        write!(f, "{year:04}-{month:02}-{day:02}T{}Z", self.clock_time())
    }
}

impl FromStr for Moment {
    type Err = ParseMomentError;

    fn from_str(text: &str) -> Result<Moment, ParseMomentError> {
        rfc3339(text).ok_or(ParseMomentError)
    }
}

/// RFC 3339 with `T` or a blank between date and time, with or without a fraction, with `Z` or an offset.
fn rfc3339(text: &str) -> Option<Moment> {
    let (date, rest) = text.split_at_checked(10)?;
    let mut parts = date.split('-').map(digits);
    let date = (i64::from(parts.next()??), parts.next()??, parts.next()??);
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (time, rest) = rest.split_at_checked(8)?;
    let mut parts = time.split(':').map(digits);
    let time = (parts.next()??, parts.next()??, parts.next()??);
    let (millis, zone) = match rest.strip_prefix(['.', ',']) {
        None => (0, rest),
        Some(fraction) => {
            let end = fraction.find(|c: char| !c.is_ascii_digit()).unwrap_or(fraction.len());
            let (fraction, zone) = fraction.split_at(end);
            let three: String = fraction.chars().chain("000".chars()).take(3).collect();
            (digits(&three)?, zone)
        }
    };
    Moment::of(date, time, millis, offset(zone.trim_start())?)
}

/// Seconds ahead of UTC of `Z`, `+02:00` or `+0200`.
fn offset(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (sign, rest) = match zone.strip_prefix('+') {
        Some(rest) => (1, rest),
        None => (-1, zone.strip_prefix('-')?),
    };
    let plain: String = rest.chars().filter(|c| *c != ':').collect();
    let (hours, minutes) = plain.split_at_checked(2)?;
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    (hours < 24 && minutes < 60).then(|| sign * i64::from(hours * 3600 + minutes * 60))
}

fn digits(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn days_of_month(year: i64, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a date of the Gregorian calendar. Years begin in March here, so that the leap day is their last.
fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = i64::from((month + 9) % 12);
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u32;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 } as u32;
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(input: &str, expected: &str) {
        let shown = input.parse::<Moment>().map_or("not a moment".to_owned(), |moment| moment.to_string());
        assert_eq!(shown, expected, "{input}");
    }

    #[test]
    fn moments_are_read_and_written() {
        check("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z");
        check("2026-11-23T07:06:57.12Z", "2026-11-23T07:06:57.120Z");
        check("2026-11-23 07:06:57,123456 +0200", "2026-11-23T05:06:57.123Z");
        check("2024-02-29T23:59:60-01:30", "2024-03-01T01:30:00.000Z");
        check("1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z");
        check("2023-02-29T00:00:00Z", "not a moment");
        check("2026-11-23T07:06:57", "not a moment");
        check("2026-11-23T24:00:00Z", "not a moment");
        check("yesterday", "not a moment");
    }

    #[test]
    fn every_day_of_eight_centuries_comes_back() {
        for days in -146_097..2 * 73_000 {
            let moment = Moment(days * DAY_SECONDS * 1000);
            let (year, month, day) = moment.date();
            assert_eq!(Moment::of((year, month, day), (0, 0, 0), 0, 0), Some(moment));
        }
    }
}
