//! What Clearway's own records say of a request, or of a service in a time, as evidence: for `clearway doctor REQUEST-ID` and for
//! incidents.
//!
//! Reads records and no more; what they mean is for `doctor`.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use admin::ControlError;
use anyhow::Context;
use model::{Evidence, Exchange, RequestId};
use store::{Query, RecordReader};

use crate::ask::{Asked, ask};
use crate::calls;
use crate::control::Request;

/// How far around a request its neighbours are looked at: causes show themselves in what failed before and after it.
const AROUND: Duration = Duration::from_secs(180);
/// Failed exchanges that become evidence, the newest: rules count to dozens, not to thousands.
const FAILED_MAX: usize = 300;
/// Failed exchanges that are looked at for them; most of a gateway's failures may be of other services.
const FAILED_READ_MAX: usize = 2_000;
/// Exchanges that are counted as traffic, the newest.
const COUNTED_MAX: usize = 2_000;
/// Blocks that are decoded for one question: a quarter of a second of work on one core.
const BLOCKS_MAX: usize = 500;

/// What is known of a request and around it.
#[derive(Debug, PartialEq)]
pub(crate) struct OwnRecords {
    /// The request for a person.
    pub(crate) subject: String,
    pub(crate) evidence: Vec<Evidence>,
}

/// A time in the records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) since: SystemTime,
    pub(crate) until: SystemTime,
}

/// The records around a request, from the running process or, when none runs, from the data directory. `None` if no
/// request with this id is kept.
pub(crate) fn around_request(data: &Path, id: &str) -> anyhow::Result<Option<OwnRecords>> {
    let request_id = admin::call_id(id).map_err(anyhow::Error::msg)?;
    let mut lines: Vec<String> = Vec::new();
    let asked = ask(data, &Request::Evidence { id: id.to_owned() }, |document| {
        lines.push(serde_json::from_str(document.get()).context("failed to read evidence")?);
        Ok(())
    })?;
    if asked == Asked::NotRunning {
        return Ok(calls::block_on(of_request(&calls::reader(data)?, request_id))??);
    }
    OwnRecords::from_lines(lines)
}

impl OwnRecords {
    /// As it goes over the control socket: the subject first, then a line for each fact.
    pub(crate) fn into_lines(self) -> Vec<String> {
        let evidence = self.evidence.iter().map(ToString::to_string);
        std::iter::once(self.subject).chain(evidence).collect()
    }

    fn from_lines(lines: Vec<String>) -> anyhow::Result<Option<OwnRecords>> {
        let mut lines = lines.into_iter();
        let Some(subject) = lines.next() else { return Ok(None) };
        let evidence = lines.map(|line| line.parse().context("failed to understand evidence"));
        Ok(Some(OwnRecords { subject, evidence: evidence.collect::<anyhow::Result<_>>()? }))
    }
}

/// The evidence of a request, and of those of the same service and upstreams in the minutes around it.
pub(crate) async fn of_request(
    reader: &RecordReader,
    id: RequestId,
) -> Result<Option<OwnRecords>, ControlError> {
    let Some(exchange) = reader.find(id).await.map_err(unreadable)? else { return Ok(None) };
    let mut evidence = probe::exchange::evidence(&exchange);
    let began = UNIX_EPOCH + Duration::from_micros(exchange.started_unix_micros);
    let done = began + Duration::from_micros(exchange.timeline.done_micros);
    let span = Span { since: began.checked_sub(AROUND).unwrap_or(UNIX_EPOCH), until: done + AROUND };
    let upstreams: Vec<&str> = exchange.attempts.iter().map(|attempt| &*attempt.upstream).collect();
    let others = of_neighbours(reader, exchange.service.as_deref(), &upstreams, span).await?;
    let own = model::evidence::Place::Exchange(id.to_string());
    evidence.extend(others.into_iter().filter(|other| other.place != own));
    let subject = format!("{} {}{} ({id})", exchange.method, exchange.host, exchange.path);
    Ok(Some(OwnRecords { subject, evidence }))
}

/// What failed of a service in a time, and how much there was.
pub(crate) async fn of_service(
    reader: &RecordReader,
    service: &str,
    span: Span,
) -> Result<Vec<Evidence>, ControlError> {
    of_neighbours(reader, Some(service), &[], span).await
}

async fn of_neighbours(
    reader: &RecordReader,
    service: Option<&str>,
    upstreams: &[&str],
    Span { since, until }: Span,
) -> Result<Vec<Evidence>, ControlError> {
    let within = Query { since: Some(since), until: Some(until), blocks_max: BLOCKS_MAX, ..Query::default() };
    // Another service may share the upstream, so that only without one can the store choose by service.
    let only = if upstreams.is_empty() { service.map(Box::from) } else { None };
    let query = Query { service: only, failed_only: true, limit: FAILED_READ_MAX, ..within.clone() };
    let failed = reader.search(&query).await.map_err(unreadable)?.exchanges;
    let related = |exchange: &&Exchange| {
        exchange.service.as_deref() == service
            || exchange.attempts.iter().any(|attempt| upstreams.contains(&&*attempt.upstream))
    };
    let mut evidence: Vec<Evidence> = failed
        .iter()
        .filter(related)
        .take(FAILED_MAX)
        .flat_map(probe::exchange::evidence)
        .take(FAILED_MAX)
        .collect();
    if let Some(service) = service {
        let query = Query { service: Some(service.into()), limit: COUNTED_MAX, ..within };
        let counted = reader.search(&query).await.map_err(unreadable)?.exchanges;
        evidence.extend(probe::exchange::traffic(&counted));
    }
    Ok(evidence)
}

fn unreadable(error: store::StoreError) -> ControlError {
    ControlError::Unreadable(format!("failed to {error}"))
}

#[cfg(test)]
mod tests;
