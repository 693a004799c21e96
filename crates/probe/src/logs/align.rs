//! Logs of one request on one axis: a log whose times are those of another zone, or of a clock that is wrong, is shifted to
//! the log of the proxy, where the same requests stand in both.
//!
//! Only failures are compared, by their path. A shift is believed where it brings most of them together and no shift does not;
//! paths that are asked for at regular intervals match at many shifts, and then nothing is done.

use std::collections::{BTreeMap, HashMap};

use model::evidence::Place;
use model::{Evidence, Moment};

/// Zones are whole quarters of an hour from UTC, at most 14 hours.
const QUARTER_SECONDS: f64 = 900.0;
const QUARTERS_MAX: i64 = 56;
/// The log of a server may have a request before or behind the proxy's, by the time that it took.
const NEAR_SECONDS: f64 = 5.0;
/// A clock that is wrong by more is no accident of one log.
const SKEW_SECONDS_MAX: i64 = 120;
/// Fewer requests in common can be chance.
const COMMON_MIN: usize = 3;
/// Of the failures of a log, so many must find their like.
const SHARE_MIN: f64 = 0.8;
/// The latest failures of a log that are compared.
const EVENTS_MAX: usize = 400;

const PROXIES: &[&str] = &["apache", "caddy", "envoy", "haproxy", "nginx", "traefik"];

struct Event {
    time: Moment,
    uri: String,
}

/// Shifts the evidence of logs that are off, and tells by how much.
pub fn align(evidence: &mut Vec<Evidence>) {
    let mut proxies: BTreeMap<String, usize> = BTreeMap::new();
    let mut events: BTreeMap<String, Vec<Event>> = BTreeMap::new();
    for item in evidence.iter() {
        let (Place::File { path, .. }, Some(time), Some(uri)) = (&item.place, item.time, item.get("uri"))
        else {
            continue;
        };
        if item.get("proxy").is_some_and(|proxy| PROXIES.contains(&proxy)) {
            *proxies.entry(path.clone()).or_default() += 1;
        }
        events.entry(path.clone()).or_default().push(Event { time, uri: uri.to_owned() });
    }
    for events in events.values_mut() {
        events.sort_by_key(|event| event.time);
        events.drain(..events.len().saturating_sub(EVENTS_MAX));
    }
    let Some((reference, _)) = proxies.iter().max_by_key(|(_, count)| **count) else { return };
    let Some(reference_events) = events.get(reference) else { return };
    let mut told = Vec::new();
    for (path, own) in events.iter().filter(|(path, _)| *path != reference) {
        let Some(shift) = shift(own, reference_events) else { continue };
        for item in evidence.iter_mut() {
            if matches!(&item.place, Place::File { path: of, .. } if of == path) {
                move_back(item, shift.seconds);
            }
        }
        let (kind, why) = match shift.zone {
            true => ("zone", "another zone than was thought"),
            false => ("clock", "a clock that differs"),
        };
        told.push(
            Evidence::new(kind)
                .with("of", path)
                .with("offset", shift.seconds)
                .text(format!("the times of {path} are {} s ahead of {reference}: {why}", shift.seconds))
                .from("logs compared")
                .at(Place::file(path, 0)),
        );
    }
    evidence.extend(told);
}

/// Its time, and the times within it.
fn move_back(item: &mut Evidence, seconds: f64) {
    item.time = item.time.map(|time| time.plus_seconds(-seconds));
    for (name, value) in &mut item.fields {
        if matches!(name.as_ref(), "from" | "to" | "last-good" | "last-failed")
            && let Ok(time) = value.parse::<Moment>()
        {
            *value = time.plus_seconds(-seconds).to_string();
        }
    }
}

/// By how much a log is ahead.
struct Shift {
    seconds: f64,
    zone: bool,
}

fn shift(own: &[Event], reference: &[Event]) -> Option<Shift> {
    let mut by_uri: HashMap<&str, Vec<Moment>> = HashMap::new();
    for event in reference {
        by_uri.entry(&event.uri).or_default().push(event.time);
    }
    let (mut together, mut quarters, mut seconds) = (0, BTreeMap::new(), BTreeMap::new());
    for event in own {
        let Some(times) = by_uri.get(event.uri.as_str()) else { continue };
        let ahead = || times.iter().map(|time| event.time.seconds_since(*time));
        together += usize::from(ahead().any(|ahead| ahead.abs() <= NEAR_SECONDS));
        // Each counts once for a shift, however many requests it could be.
        let mut own_quarters: Vec<i64> = ahead()
            .map(|ahead| ((ahead / QUARTER_SECONDS).round() as i64, ahead))
            .filter(|(quarter, ahead)| {
                *quarter != 0
                    && quarter.abs() <= QUARTERS_MAX
                    && (ahead - *quarter as f64 * QUARTER_SECONDS).abs() <= NEAR_SECONDS
            })
            .map(|(quarter, _)| quarter)
            .collect();
        let mut own_seconds: Vec<i64> = ahead()
            .map(|ahead| ahead.round() as i64)
            .filter(|ahead| ahead.abs() <= SKEW_SECONDS_MAX && ahead.abs() as f64 > NEAR_SECONDS)
            .collect();
        for (counts, own) in [(&mut quarters, &mut own_quarters), (&mut seconds, &mut own_seconds)] {
            own.sort_unstable();
            own.dedup();
            own.iter().for_each(|shift| *counts.entry(*shift).or_insert(0) += 1);
        }
    }
    let clear = |counts: &BTreeMap<i64, usize>| {
        let (best, count) = counts.iter().max_by_key(|(_, count)| **count).map(|(s, c)| (*s, *c))?;
        let rival = counts.iter().filter(|(shift, _)| **shift != best).map(|(_, count)| *count).max();
        let enough = count >= COMMON_MIN && count as f64 >= SHARE_MIN * own.len() as f64;
        (enough && together * 2 < count && rival.unwrap_or(0) * 2 < count).then_some(best)
    };
    if let Some(quarter) = clear(&quarters) {
        return Some(Shift { seconds: quarter as f64 * QUARTER_SECONDS, zone: true });
    }
    clear(&seconds).map(|seconds| Shift { seconds: seconds as f64, zone: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(kind: &'static str, path: &str, second: i64, uri: &str) -> Evidence {
        let evidence = Evidence::new(kind).with("uri", uri).at(Place::file(path, 1));
        let evidence = if kind == "request" { evidence.with("proxy", "nginx") } else { evidence };
        evidence.time(Some(Moment(1_795_000_000_000 + second * 1_000)))
    }

    /// Requests at the seconds in the proxy's log, and by so much later in the server's.
    #[track_caller]
    fn check(seconds: &[i64], ahead: i64, expected: &[&str]) {
        let mut evidence = Vec::new();
        for second in seconds {
            evidence.push(failed("request", "/access.log", *second, "/cart"));
            evidence.push(failed("gunicorn.handling-error", "/gunicorn.log", second + ahead, "/cart"));
        }
        align(&mut evidence);
        let told: Vec<String> = evidence
            .iter()
            .filter(|item| matches!(item.kind.as_ref(), "zone" | "clock"))
            .map(|item| format!("{} {}", item.kind, item.get("offset").unwrap_or("")))
            .collect();
        assert_eq!(told, expected);
        if !expected.is_empty() {
            let times = |kind| {
                evidence.iter().filter(|item| item.kind == kind).map(|item| item.time).collect::<Vec<_>>()
            };
            assert_eq!(times("request"), times("gunicorn.handling-error"));
        }
    }

    #[test]
    fn logs_are_shifted_where_most_of_their_failures_then_meet() {
        check(&[0, 17, 61, 250], 7_200, &["zone 7200"]);
        check(&[0, 17, 61, 250], -20_700, &["zone -20700"]);
        check(&[0, 17, 61, 250], 40, &["clock 40"]);
    }

    #[test]
    fn what_is_not_clear_is_left() {
        // They meet as they are; too few; a shift that is no zone; a path that is asked for every quarter of an hour.
        check(&[0, 17, 61, 250], 0, &[]);
        check(&[0, 17, 61, 250], 3, &[]);
        check(&[0, 17], 7_200, &[]);
        check(&[0, 17, 61, 250], 1_000, &[]);
        check(&[0, 900, 1_800, 2_700, 3_600], 1_800, &[]);
    }
}
