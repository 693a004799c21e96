//! Incidents of the running process: what they are made of when it starts, how they are counted, and how they are asked for.
//! When they open and close is `incident`'s rule; what is done then is for the keeper.

pub(crate) mod keeper;
mod look;
pub(crate) mod webhook;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use admin::{ControlError, IncidentFilter, IncidentPage, IncidentRow};
use incident::{Counts, Detector, Past, Totals};
use model::{Incident, IncidentId, Moment};
use proxy::telemetry::exposition::{Exposition, Kind};
use serde::{Deserialize, Serialize};
use store::{Database, IncidentQuery};

use crate::output;
use crate::recorder::watch::Watch;
use crate::running::Running;
use keeper::{Keeper, Means};

/// Under this name the past of the services is kept.
const PASTS: &str = "incident-pasts";
/// An hour later it is no past any more.
const PASTS_AGE_MAX_SECONDS: f64 = 3600.0;

/// What the process before has left: its open incidents, and the past of its services.
struct Left {
    detector: Detector,
    open: Vec<Incident>,
}

/// Begins to keep incidents, and gives what notices them.
pub(crate) async fn start(running: &Running) -> Watch {
    let Left { detector, open } = left(&running.database).await;
    let open_now = open.len();
    let means = Means {
        database: running.database.clone(),
        reader: running.reader.clone(),
        tally: running.incidents.clone(),
        untold: running.untold.clone(),
        shared: running.shared.clone(),
    };
    let (keeper, news) = Keeper::new(means, open);
    tokio::task::spawn_local(keeper.run());
    Watch::new(detector, open_now, news)
}

/// The past of the services as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct KeptPasts {
    unix_millis: i64,
    services: BTreeMap<String, (u64, u64)>,
}

/// Reads what the process before has left. What cannot be read is told and begun anew: serving does not depend on it.
async fn left(database: &Database) -> Left {
    let mut detector = Detector::default();
    match database.meta(PASTS).await {
        Ok(kept) => detector.recall(&pasts(kept.as_deref(), now())),
        Err(error) => output::warn(&format!("failed to {error}")),
    }
    let query =
        IncidentQuery { open_only: true, limit: IncidentQuery::LIMIT_MAX, ..IncidentQuery::default() };
    let open = database.incidents(&query).await.unwrap_or_else(|error| {
        output::warn(&format!("failed to {error}"));
        Vec::new()
    });
    for incident in &open {
        let totals = Totals {
            counts: Counts { requests: incident.requests, failed: incident.failed },
            peak_share: incident.peak_share,
            usual_share: incident.usual_share,
        };
        detector.resume(&incident.service, totals);
    }
    Left { detector, open }
}

fn pasts(kept: Option<&str>, now: Moment) -> Vec<Past> {
    let Some(kept) = kept.and_then(|text| serde_json::from_str::<KeptPasts>(text).ok()) else {
        return Vec::new();
    };
    if !(0.0..PASTS_AGE_MAX_SECONDS).contains(&now.seconds_since(Moment(kept.unix_millis))) {
        return Vec::new();
    }
    let past = |(service, (requests, failed)): (String, (u64, u64))| Past {
        service: service.into(),
        counts: Counts { requests, failed: failed.min(requests) },
    };
    kept.services.into_iter().map(past).collect()
}

async fn keep_pasts(database: &Database, pasts: &[Past]) -> Result<(), store::StoreError> {
    let services = pasts
        .iter()
        .map(|past| (past.service.to_string(), (past.counts.requests, past.counts.failed)))
        .collect();
    let kept = KeptPasts { unix_millis: now().0, services };
    let text = serde_json::to_string(&kept).expect("counts must have a JSON form");
    database.set_meta(PASTS, &text).await
}

fn now() -> Moment {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Moment(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Incidents that match, wherever the database is read from.
pub(crate) async fn list(database: &Database, filter: &IncidentFilter) -> Result<IncidentPage, ControlError> {
    let query = filter.query(SystemTime::now()).map_err(ControlError::Question)?;
    let found = database.incidents(&query).await.map_err(unreadable)?;
    let next = if found.len() < query.limit { None } else { found.last().map(|last| last.id.to_string()) };
    Ok(IncidentPage { incidents: found.iter().map(IncidentRow::of).collect(), next })
}

/// The incident with this id.
pub(crate) async fn find(database: &Database, id: IncidentId) -> Result<Option<IncidentRow>, ControlError> {
    let found = database.incident(id).await.map_err(unreadable)?;
    Ok(found.as_ref().map(IncidentRow::of))
}

fn unreadable(error: store::StoreError) -> ControlError {
    ControlError::Unreadable(format!("failed to {error}"))
}

/// What metrics say of incidents. Services are named by the configuration and causes by the catalogue, so that the number of
/// series is bounded.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    open: BTreeMap<Arc<str>, bool>,
    closed: BTreeMap<(Arc<str>, String), u64>,
    /// Messages to the webhook that were delivered, and those that were not.
    messages: [u64; 2],
}

impl Tally {
    fn set_open(&mut self, service: &Arc<str>, open: bool) {
        self.open.insert(service.clone(), open);
    }

    fn count_closed(&mut self, incident: &Incident) {
        let cause = incident.cause.as_ref().map_or("unknown", |cause| &cause.cause);
        *self.closed.entry((incident.service.clone(), cause.to_owned())).or_default() += 1;
    }

    fn count_message(&mut self, delivered: bool) {
        let [yes, no] = &mut self.messages;
        *(if delivered { yes } else { no }) += 1;
    }

    pub(crate) fn write(&self, text: &mut Exposition) {
        let name = "clearway_incidents_open";
        text.family(name, Kind::Gauge, "1 while an incident of the service is open.");
        for (service, open) in &self.open {
            text.sample(name, &[("service", service)], f64::from(u8::from(*open)));
        }
        let name = "clearway_incidents_total";
        text.family(
            name,
            Kind::Counter,
            "Incidents that have closed, by service and by the cause that was found.",
        );
        for ((service, cause), count) in &self.closed {
            text.sample(name, &[("service", service), ("cause", cause)], *count as f64);
        }
        let name = "clearway_incident_messages_total";
        text.family(name, Kind::Counter, "Messages to the webhook of incidents, by what became of them.");
        for (result, count) in ["delivered", "lost"].into_iter().zip(&self.messages) {
            text.sample(name, &[("result", result)], *count as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_past_is_taken_over_for_an_hour_and_nonsense_is_none() {
        let kept = r#"{"unix_millis":1000,"services":{"shop":[50,3]}}"#;
        let counts = Counts { requests: 50, failed: 3 };
        assert_eq!(pasts(Some(kept), Moment(60_000)), [Past { service: "shop".into(), counts }]);
        assert_eq!(pasts(Some(kept), Moment(3_700_000)), []);
        assert_eq!(pasts(Some(kept), Moment(0)), []);
        assert_eq!(pasts(Some("{"), Moment(60_000)), []);
        assert_eq!(pasts(None, Moment(60_000)), []);
    }
}
