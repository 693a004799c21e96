//! Incidents as they are asked for and given: one set of names for the command line, the query string, the webhook and JSON.

use std::time::SystemTime;

use model::{Incident, IncidentId, Moment};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::IncidentQuery;

use crate::calls::{DEFAULT_LIMIT, duration};

/// A filter of incidents; what is absent does not filter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IncidentFilter {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Only those that last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open: Option<bool>,
    /// How far back they may have ended: `10m`, `2h`, `1d`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Only older ones than this: `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
}

impl IncidentFilter {
    /// The question to the store; an error is a sentence that says what would be right.
    pub fn query(&self, now: SystemTime) -> Result<IncidentQuery, String> {
        let since = match &self.since {
            Some(text) => {
                let since = now.checked_sub(duration("since", text)?).unwrap_or(SystemTime::UNIX_EPOCH);
                let since = since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                Some(Moment(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)))
            }
            None => None,
        };
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=IncidentQuery::LIMIT_MAX).contains(&limit) {
            return Err(format!("limit must be between 1 and {}, not {limit}", IncidentQuery::LIMIT_MAX));
        }
        Ok(IncidentQuery {
            service: self.service.as_deref().map(Box::from),
            open_only: self.open.unwrap_or(false),
            since,
            before: self.before.as_deref().map(incident_id).transpose()?,
            limit,
        })
    }
}

/// Reads the id of an incident.
pub fn incident_id(text: &str) -> Result<IncidentId, String> {
    text.parse().map_err(|_| {
        format!("\"{text}\" is not the id of an incident; ids look like 0193a7c1-5a3e-7c2f-8d41-2f6f0c9b7a10")
    })
}

/// A page of incidents.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct IncidentPage {
    pub incidents: Vec<IncidentRow>,
    /// `before` of the page that follows; absent when there is nothing older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// An incident. Times are RFC 3339 in UTC, shares and the confidence 0 to 1.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IncidentRow {
    pub id: String,
    pub service: String,
    /// `open`, `recovered` or `quiet`.
    pub state: String,
    /// When the failures began.
    pub began: String,
    /// When there were enough of them.
    pub opened: String,
    /// Absent while it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<String>,
    /// How often it began anew soon after it had closed.
    pub reopened: u32,
    pub requests: u64,
    pub failed: u64,
    /// The largest share that failed in ten seconds.
    pub peak_share: f64,
    /// The share that usually fails, at most.
    pub usual_share: f64,
    /// The name of the page of its cause; absent where none was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// When it was last looked into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnosed: Option<String>,
    /// The report of that, as `clearway doctor --format json` gives it; not in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Box<RawValue>>,
}

impl IncidentRow {
    pub fn of(incident: &Incident) -> IncidentRow {
        let Incident {
            id,
            service,
            began,
            opened,
            closed,
            reopened,
            requests,
            failed,
            peak_share,
            usual_share,
            cause,
            diagnosed,
            report,
        } = incident;
        // To the thousandth: more would claim what counts of a few seconds do not hold.
        let rounded = |share: f64| (share * 1e3).round() / 1e3;
        IncidentRow {
            id: id.to_string(),
            service: service.to_string(),
            state: closed.map_or("open", |closed| closed.why.id()).to_owned(),
            began: began.to_string(),
            opened: opened.to_string(),
            closed: closed.map(|closed| closed.at.to_string()),
            reopened: *reopened,
            requests: *requests,
            failed: *failed,
            peak_share: rounded(*peak_share),
            usual_share: rounded(*usual_share),
            cause: cause.as_ref().map(|cause| cause.cause.clone()),
            confidence: cause.as_ref().map(|cause| (cause.confidence * 100.0).round() / 100.0),
            summary: cause.as_ref().map(|cause| cause.summary.clone()),
            diagnosed: diagnosed.map(|moment| moment.to_string()),
            report: report.as_deref().and_then(|text| RawValue::from_string(text.to_owned()).ok()),
        }
    }
}
