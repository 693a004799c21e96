//! Times as logs write them.
//!
//! A log without a zone is read in the zone of its machine, which the caller knows.

use model::Moment;

/// Seconds that local time is ahead of UTC.
pub(crate) type Zone = i64;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// `2026/11/23 07:06:57`, as nginx's error log; the rest of the text comes with it.
pub(crate) fn slashed(text: &str, zone: Zone) -> Option<(Moment, &str)> {
    let (date, rest) = text.split_at_checked(10)?;
    if date.as_bytes().get(4) != Some(&b'/') {
        return None;
    }
    let date = calendar(date, '/')?;
    let (time, rest) = rest.strip_prefix(' ')?.split_at_checked(8)?;
    Some((Moment::of(date, hms(time)?, 0, zone)?, rest))
}

/// `2026-11-23 07:06:57`, `2026-11-23T07:06:57.123456`, with or without a fraction, a zone as `+0000`, `+02:00`, `Z` or ` UTC`.
pub(crate) fn iso(text: &str, zone: Zone) -> Option<(Moment, &str)> {
    let (date, rest) = text.split_at_checked(10)?;
    let date = calendar(date, '-')?;
    let (time, rest) = rest.strip_prefix([' ', 'T', '_'])?.split_at_checked(8)?;
    let time = hms(time)?;
    let (millis, rest) = fraction(rest);
    let blanks = rest.trim_start();
    let (zone, rest) = match blanks.as_bytes() {
        [b'Z', ..] => (0, blanks.get(1..)?),
        [b'+' | b'-', ..] => match offset(blanks) {
            Some((offset, after)) => (offset, after),
            None => (zone, rest),
        },
        _ if blanks.starts_with("UTC") || blanks.starts_with("GMT") => (0, blanks.get(3..)?),
        // Another abbreviation of a zone says nothing certain: IST is three of them.
        _ => (zone, rest),
    };
    Some((Moment::of(date, time, millis, zone)?, rest))
}

/// `23/Nov/2026:07:06:57 +0000`, as in access logs.
pub(crate) fn common_log(text: &str, zone: Zone) -> Option<(Moment, &str)> {
    let mut parts = text.splitn(3, '/');
    let day = digits(parts.next()?)?;
    let month = month(parts.next()?)?;
    let (year, rest) = parts.next()?.split_at_checked(4)?;
    let date = (i64::from(digits(year)?), month, day);
    let (time, rest) = rest.strip_prefix(':')?.split_at_checked(8)?;
    let (millis, rest) = fraction(rest);
    let (zone, rest) = match offset(rest.trim_start()) {
        Some((offset, after)) => (offset, after),
        None => (zone, rest),
    };
    Some((Moment::of(date, hms(time)?, millis, zone)?, rest))
}

/// `Mon Nov 23 07:06:57.123456 2026`, as Apache's error log and uWSGI write it (asctime).
pub(crate) fn asctime(text: &str, zone: Zone) -> Option<(Moment, &str)> {
    let (_, rest) = text.split_once(' ')?;
    let rest = rest.trim_start();
    let (month_name, rest) = rest.split_once(' ')?;
    let month = month(month_name)?;
    let (day, rest) = rest.trim_start().split_once(' ')?;
    let (time, rest) = rest.split_at_checked(8)?;
    let (millis, rest) = fraction(rest);
    let (year, rest) = rest.strip_prefix(' ')?.split_at_checked(4)?;
    let date = (i64::from(digits(year)?), month, digits(day)?);
    Some((Moment::of(date, hms(time)?, millis, zone)?, rest))
}

/// `Nov 23 07:06:57`, as syslog writes it: the year is that of `around`, or the one before if that would be far ahead of it.
pub(crate) fn syslog(text: &str, zone: Zone, around: Option<Moment>) -> Option<(Moment, &str)> {
    let (month_name, rest) = text.split_at_checked(3)?;
    let month = month(month_name)?;
    let (day, rest) = rest.trim_start().split_once(' ')?;
    let (time, rest) = rest.split_at_checked(8)?;
    let (millis, rest) = fraction(rest);
    let around = around?;
    let (year, _, _) = around.date();
    let of = |year| Moment::of((year, month, digits(day)?), hms(time)?, millis, zone);
    let moment = of(year)?;
    // A log of December, read in January.
    let moment = if moment.seconds_since(around) > 7.0 * 86_400.0 { of(year - 1)? } else { moment };
    Some((moment, rest))
}

fn calendar(text: &str, separator: char) -> Option<(i64, u32, u32)> {
    let mut parts = text.split(separator);
    let date = (i64::from(digits(parts.next()?)?), digits(parts.next()?)?, digits(parts.next()?)?);
    parts.next().is_none().then_some(date)
}

fn hms(text: &str) -> Option<(u32, u32, u32)> {
    let mut parts = text.split(':');
    let time = (digits(parts.next()?)?, digits(parts.next()?)?, digits(parts.next()?)?);
    parts.next().is_none().then_some(time)
}

fn month(name: &str) -> Option<u32> {
    MONTHS.iter().position(|known| *known == name).map(|index| index as u32 + 1)
}

/// Milliseconds after a point or a comma.
fn fraction(text: &str) -> (u32, &str) {
    let Some(rest) = text.strip_prefix(['.', ',']) else { return (0, text) };
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (number, after) = rest.split_at(end);
    let three: String = number.chars().chain("000".chars()).take(3).collect();
    digits(&three).map_or((0, text), |millis| (millis, after))
}

fn offset(text: &str) -> Option<(i64, &str)> {
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let rest = text.get(1..)?;
    let (hours, rest) = rest.split_at_checked(2)?;
    let (minutes, rest) = rest.strip_prefix(':').unwrap_or(rest).split_at_checked(2)?;
    Some((sign * i64::from(digits(hours)? * 3600 + digits(minutes)? * 60), rest))
}

fn digits(text: &str) -> Option<u32> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(parsed: Option<(Moment, &str)>, expected: &str) {
        let shown = parsed.map(|(moment, rest)| format!("{moment}|{rest}"));
        assert_eq!(shown.as_deref().unwrap_or("no time"), expected);
    }

    #[test]
    fn times_of_logs() {
        check(slashed("2026/11/23 07:06:57 [error]", 3600), "2026-11-23T06:06:57.000Z| [error]");
        check(iso("2026-11-23 07:06:57 +0200] [7]", 0), "2026-11-23T05:06:57.000Z|] [7]");
        check(iso("2026-11-23T07:06:57.123456Z x", 0), "2026-11-23T07:06:57.123Z| x");
        check(iso("2026-11-23 07:06:57.120 UTC [71] LOG", 3600), "2026-11-23T07:06:57.120Z| [71] LOG");
        check(iso("2026-11-23 07:06:57,120 - app", 3600), "2026-11-23T06:06:57.120Z| - app");
        check(common_log("23/Nov/2026:07:06:57 +0100] \"GET", 0), "2026-11-23T06:06:57.000Z|] \"GET");
        check(common_log("23/Nov/2026:07:06:57.123] x", 0), "2026-11-23T07:06:57.123Z|] x");
        check(asctime("Mon Nov 23 07:06:57.123456 2026] [proxy", 0), "2026-11-23T07:06:57.123Z|] [proxy");
        check(asctime("Mon Nov  3 07:06:57 2026 - x", 0), "2026-11-03T07:06:57.000Z| - x");
        let around = "2026-11-26T00:00:00Z".parse().ok();
        check(syslog("Nov 23 07:06:57 web1 x", 0, around), "2026-11-23T07:06:57.000Z| web1 x");
        check(
            syslog("Dec 31 23:59:59 web1 x", 0, "2026-01-02T00:00:00Z".parse().ok()),
            "2025-12-31T23:59:59.000Z| web1 x",
        );
        check(slashed("2026/13/23 07:06:57 x", 0), "no time");
        check(iso("é26-11-23 07:06:57", 0), "no time");
        check(common_log("23/Nov", 0), "no time");
    }
}
