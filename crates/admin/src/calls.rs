//! Which calls are wanted, in the words of the command line and of the query string: one set of names for both.

use std::time::{Duration, SystemTime};

use model::{Fault, Method, RequestId};
use serde::{Deserialize, Serialize};
use store::{Query, StatusMatch};

/// How many calls are listed where nothing else is said.
pub const DEFAULT_LIMIT: usize = 50;

/// A filter of calls. Lists are written with commas; what is absent does not filter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CallFilter {
    /// Statuses (`502`) and classes of them (`5xx`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Fault ids.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The beginning of the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// A duration: `500ms`, `2s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slower_than: Option<String>,
    /// How far back: `10m`, `2h`, `1d`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Only calls older than the one with this id: `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
}

impl CallFilter {
    /// The question to the store; an error is a sentence that says what would be right.
    pub fn query(&self, now: SystemTime) -> Result<Query, String> {
        let statuses = list("status", self.status.as_deref())?
            .into_iter()
            .map(|text| text.parse::<StatusMatch>().map_err(|error| format!("failed to {error}")))
            .collect::<Result<Vec<_>, _>>()?;
        let faults = list("fault", self.fault.as_deref())?;
        let faults = faults.into_iter().map(fault).collect::<Result<Vec<_>, _>>()?;
        let since = match &self.since {
            Some(text) => Some(now.checked_sub(duration("since", text)?).unwrap_or(SystemTime::UNIX_EPOCH)),
            None => None,
        };
        let method = match &self.method {
            Some(text) => Some(
                Method::parse(text.as_bytes()).map_err(|_| format!("\"{text}\" is not a request method"))?,
            ),
            None => None,
        };
        let before = match &self.before {
            Some(text) => Some(call_id(text)?),
            None => None,
        };
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=Query::LIMIT_MAX).contains(&limit) {
            return Err(format!("limit must be between 1 and {}, not {limit}", Query::LIMIT_MAX));
        }
        let name = |text: &Option<String>| text.as_deref().map(Box::from);
        Ok(Query {
            since,
            statuses,
            faults,
            service: name(&self.service),
            route: name(&self.route),
            consumer: name(&self.consumer),
            path_prefix: name(&self.path),
            method,
            slower_than: self.slower_than.as_deref().map(|text| duration("slower-than", text)).transpose()?,
            limit,
            before,
            ..Query::default()
        })
    }
}

/// Reads the id of a call.
pub fn call_id(text: &str) -> Result<RequestId, String> {
    text.parse().map_err(|_| {
        format!("\"{text}\" is not the id of a call; ids look like 0193a7c1-5a3e-7c2f-8d41-2f6f0c9b7a10")
    })
}

/// The parts of a list. A list of nothing is no filter, and would list everything to whoever forgot what to write.
fn list<'t>(name: &str, text: Option<&'t str>) -> Result<Vec<&'t str>, String> {
    let Some(text) = text else { return Ok(Vec::new()) };
    let parts: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        return Err(format!("{name}: \"{text}\" names nothing; leave it out to list everything"));
    }
    Ok(parts)
}

fn fault(text: &str) -> Result<Fault, String> {
    let known = Fault::ALL.iter().find(|fault| fault.id() == text);
    known.copied().ok_or_else(|| {
        let ids: Vec<&str> = Fault::ALL.iter().map(|fault| fault.id()).collect();
        format!("\"{text}\" is not a fault; faults are {}", ids.join(", "))
    })
}

/// A duration as the command line and filters write it.
pub fn duration(name: &str, text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|character: char| character.is_ascii_alphabetic());
    let unit_millis = match text.get(digits.len()..) {
        Some("ms") => 1,
        Some("s") => 1_000,
        Some("m") => 60_000,
        Some("h") => 3_600_000,
        Some("d") => 86_400_000,
        _ => 0,
    };
    let amount = digits.parse::<u64>().ok().and_then(|amount| amount.checked_mul(unit_millis));
    match amount {
        Some(millis) if unit_millis > 0 => Ok(Duration::from_millis(millis)),
        _ => {
            Err(format!("{name}: \"{text}\" must be a whole number with ms, s, m, h or d, like 500ms or 10m"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expect: Result<Query, &str>) {
        let filter: CallFilter = serde_json::from_str(json).unwrap();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(10_000);
        match (filter.query(now), expect) {
            (Err(found), Err(expect)) => assert!(found.contains(expect), "{found}"),
            (found, expect) => assert_eq!(found, expect.map_err(str::to_owned), "{json}"),
        }
    }

    #[test]
    fn every_part_reaches_the_question() {
        let base = || Query { limit: DEFAULT_LIMIT, ..Query::default() };
        check("{}", Ok(base()));
        check(
            r#"{"status":"5xx, 404","fault":"reset,early-close"}"#,
            Ok(Query {
                statuses: vec![StatusMatch::Class(5), StatusMatch::Exact(404)],
                faults: vec![Fault::Reset, Fault::EarlyClose],
                ..base()
            }),
        );
        check(
            r#"{"service":"shop","route":"r","consumer":"c","path":"/items","method":"PUT"}"#,
            Ok(Query {
                service: Some("shop".into()),
                route: Some("r".into()),
                consumer: Some("c".into()),
                path_prefix: Some("/items".into()),
                method: Some(Method::Put),
                ..base()
            }),
        );
        check(
            r#"{"slower_than":"500ms","since":"10m","limit":7,"before":"0193a7c1-5a3e-7c2f-8d41-2f6f0c9b7a10"}"#,
            Ok(Query {
                slower_than: Some(Duration::from_millis(500)),
                since: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(9_400)),
                limit: 7,
                before: Some("0193a7c1-5a3e-7c2f-8d41-2f6f0c9b7a10".parse().unwrap()),
                ..base()
            }),
        );
    }

    #[test]
    fn nonsense_is_answered_with_what_would_be_right() {
        check(r#"{"status":"6xx"}"#, Err("from 1xx to 5xx"));
        check(r#"{"status":""}"#, Err("status: \"\" names nothing"));
        check(r#"{"fault":" , "}"#, Err("fault: \" , \" names nothing"));
        check(r#"{"fault":"rest"}"#, Err("early-close, reset"));
        check(r#"{"since":"10"}"#, Err("like 500ms or 10m"));
        check(r#"{"since":"m"}"#, Err("since: \"m\" must be"));
        check(r#"{"slower_than":"18446744073709551615d"}"#, Err("slower-than"));
        check(r#"{"limit":0}"#, Err("between 1 and 10000"));
        check(r#"{"before":"7"}"#, Err("not the id of a call"));
    }
}
