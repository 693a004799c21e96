//! UTC days: the unit by which records are filed and forgotten.

use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use model::RequestId;

const DAY_MILLIS: u64 = 86_400_000;

/// A UTC day, counted from 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Day(pub(crate) u32);

impl Day {
    /// The day in which an id was made. Ids hold 48 bits of milliseconds, so the number of the day always fits.
    pub(crate) fn of(id: RequestId) -> Day {
        Day((id.unix_millis() / DAY_MILLIS) as u32)
    }

    pub(crate) fn today() -> Day {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Day((since.as_secs() / 86_400) as u32)
    }

    /// The smallest id of the day.
    pub(crate) fn first_id(self) -> RequestId {
        RequestId::first_at(u64::from(self.0) * DAY_MILLIS)
    }

    pub(crate) fn file_name(self) -> String {
        format!("{self}.db")
    }

    /// The day of a record file, or of one of the files that SQLite keeps beside it.
    pub(crate) fn of_file_name(name: &str) -> Option<Day> {
        name.split_once('.')?.0.parse().ok()
    }
}

/// Year, month and day of the proleptic Gregorian calendar. Years are counted from 1 March, so that the leap day is
/// the last of a year and months have a regular length pattern (153 days in five months).
impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Days since 0000-03-01; 719,468 of them were before 1970-01-01.
        let days = u64::from(self.0) + 719_468;
        let (era, of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

/// The text is not a day since 1970 as `YYYY-MM-DD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ParseDayError;

impl FromStr for Day {
    type Err = ParseDayError;

    fn from_str(text: &str) -> Result<Day, ParseDayError> {
        let mut parts = text.splitn(3, '-').map(|part| part.parse::<u32>().map_err(|_| ParseDayError));
        let mut part = || parts.next().unwrap_or(Err(ParseDayError));
        let (year, month, day) = (part()?, part()?, part()?);
        if !(1970..=10_889).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return Err(ParseDayError);
        }
        let (year, month_from_march) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let days =
            365 * year + year / 4 - year / 100 + year / 400 + (153 * month_from_march + 2) / 5 + day - 1;
        let found = Day(days.checked_sub(719_468).ok_or(ParseDayError)?);
        // Refuses 31 April, and other spellings of a number.
        if found.to_string() == text { Ok(found) } else { Err(ParseDayError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::RequestIds;

    #[test]
    fn days_are_written_as_dates_and_read_again() {
        for (number, text) in [
            (0, "1970-01-01"),
            (59, "1970-03-01"),
            (11_016, "2000-02-29"),
            (20_782, "2026-11-25"),
            (47_541, "2100-03-01"),
            (3_257_812, "10889-08-02"),
        ] {
            assert_eq!(Day(number).to_string(), text);
            assert_eq!(text.parse(), Ok(Day(number)));
        }
        for text in ["", "2026", "2026-11", "2026-04-31", "2026-1-1", "2026-13-01", "x-y-z", "2026-11-25-1"] {
            assert_eq!(text.parse::<Day>(), Err(ParseDayError), "{text}");
        }
    }

    #[test]
    fn an_id_is_of_the_day_it_was_made_in() {
        let last = RequestIds::new(1).next(1_764_115_199_999_999);
        let first = RequestIds::new(1).next(1_764_115_200_000_000);
        assert_eq!(Day::of(last).to_string(), "2025-11-25");
        assert_eq!(Day::of(first).to_string(), "2025-11-26");
        assert!(last < Day::of(first).first_id() && Day::of(first).first_id() <= first);
        assert_eq!(Day::of_file_name("2025-11-26.db-wal"), Some(Day::of(first)));
        assert_eq!(Day::of_file_name("notes.txt"), None);
    }
}
