//! Incidents in the main database: written as they open, change and close, listed newest first, and forgotten with the records.

use model::{Closed, ClosedBy, Incident, IncidentId, Moment, NamedCause};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Row, Sqlite};

use crate::{Database, StoreError};

/// Incidents that are kept, whatever the days: with reports of tens of kilobytes, a few hundred megabytes at most.
const KEPT_MAX: u32 = 10_000;

/// Which incidents are wanted. Every part that is set must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct IncidentQuery {
    pub service: Option<Box<str>>,
    /// Only those that last.
    pub open_only: bool,
    /// Only those that lasted at this time or later.
    pub since: Option<Moment>,
    /// Only older ones: the last of the page before.
    pub before: Option<IncidentId>,
    /// At most so many.
    pub limit: usize,
}

impl IncidentQuery {
    /// A page is held in memory, without reports.
    pub const LIMIT_MAX: usize = 1_000;
}

impl Default for IncidentQuery {
    fn default() -> IncidentQuery {
        IncidentQuery { service: None, open_only: false, since: None, before: None, limit: 50 }
    }
}

/// What of an incident is read: reports are large and wanted one at a time.
const COLUMNS: &str = "id, service, began_unix_millis, opened_unix_millis, closed_unix_millis, closed_by, reopened, requests, failed, \
     peak_share, usual_share, cause, confidence, summary, diagnosed_unix_millis";

impl Database {
    /// Writes an incident, new or changed.
    pub async fn incident_put(&self, incident: &Incident) -> Result<(), StoreError> {
        let mut connection = self.connection.lock().await;
        put(&mut connection, incident).await.map_err(StoreError::database(&self.path, "write"))
    }

    /// The incident with this id, with its report.
    pub async fn incident(&self, id: IncidentId) -> Result<Option<Incident>, StoreError> {
        let mut connection = self.connection.lock().await;
        find(&mut connection, id).await.map_err(StoreError::database(&self.path, "read"))
    }

    /// Incidents that match, newest first, without their reports.
    pub async fn incidents(&self, query: &IncidentQuery) -> Result<Vec<Incident>, StoreError> {
        let mut connection = self.connection.lock().await;
        list(&mut connection, query).await.map_err(StoreError::database(&self.path, "read"))
    }

    /// Forgets incidents that closed before this time, and the oldest where there are too many.
    pub async fn incidents_forget(&self, before: Moment) -> Result<(), StoreError> {
        sqlx::query(
            "DELETE FROM incident WHERE closed_unix_millis IS NOT NULL AND (closed_unix_millis < ? OR id <
                 (SELECT id FROM incident ORDER BY id DESC LIMIT 1 OFFSET ?))",
        )
        .bind(before.0)
        .bind(KEPT_MAX - 1)
        .execute(&mut *self.connection.lock().await)
        .await
        .map(|_| ())
        .map_err(StoreError::database(&self.path, "write"))
    }
}

async fn put(connection: &mut SqliteConnection, incident: &Incident) -> Result<(), sqlx::Error> {
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
    sqlx::query(&format!(
        "INSERT OR REPLACE INTO incident ({COLUMNS}, report) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    ))
    .bind(id.0.to_be_bytes().to_vec())
    .bind(&**service)
    .bind(began.0)
    .bind(opened.0)
    .bind(closed.map(|closed| closed.at.0))
    .bind(closed.map(|closed| closed.why.id()))
    .bind(i64::from(*reopened))
    .bind(i64::try_from(*requests).unwrap_or(i64::MAX))
    .bind(i64::try_from(*failed).unwrap_or(i64::MAX))
    .bind(peak_share)
    .bind(usual_share)
    .bind(cause.as_ref().map(|cause| &cause.cause))
    .bind(cause.as_ref().map(|cause| cause.confidence))
    .bind(cause.as_ref().map(|cause| &cause.summary))
    .bind(diagnosed.map(|moment| moment.0))
    .bind(report.as_deref())
    .execute(connection)
    .await
    .map(|_| ())
}

async fn find(connection: &mut SqliteConnection, id: IncidentId) -> Result<Option<Incident>, sqlx::Error> {
    if !has_table(connection).await? {
        return Ok(None);
    }
    let row = sqlx::query(&format!("SELECT {COLUMNS}, report FROM incident WHERE id = ?"))
        .bind(id.0.to_be_bytes().to_vec())
        .fetch_optional(connection)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let mut incident = read(&row)?;
    incident.report = row.try_get::<Option<String>, _>("report")?.map(Box::from);
    Ok(Some(incident))
}

async fn list(
    connection: &mut SqliteConnection,
    query: &IncidentQuery,
) -> Result<Vec<Incident>, sqlx::Error> {
    if !has_table(connection).await? {
        return Ok(Vec::new());
    }
    let mut asked = sqlx::QueryBuilder::<Sqlite>::new(format!("SELECT {COLUMNS} FROM incident WHERE 1"));
    if let Some(service) = &query.service {
        asked.push(" AND service = ").push_bind(service.to_string());
    }
    if query.open_only {
        asked.push(" AND closed_unix_millis IS NULL");
    }
    if let Some(since) = query.since {
        asked.push(" AND (closed_unix_millis IS NULL OR closed_unix_millis >= ").push_bind(since.0).push(")");
    }
    if let Some(before) = query.before {
        asked.push(" AND id < ").push_bind(before.0.to_be_bytes().to_vec());
    }
    asked.push(" ORDER BY id DESC LIMIT ").push_bind(query.limit.min(IncidentQuery::LIMIT_MAX) as i64);
    asked.build().fetch_all(connection).await?.iter().map(read).collect()
}

/// A directory that is only read may not have been opened since the table came.
async fn has_table(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    let found = sqlx::query("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'incident'");
    Ok(found.fetch_optional(connection).await?.is_some())
}

fn read(row: &SqliteRow) -> Result<Incident, sqlx::Error> {
    let number = |name: &str| row.try_get::<i64, _>(name);
    let moment = |name: &str| row.try_get::<Option<i64>, _>(name).map(|millis| millis.map(Moment));
    let id: Vec<u8> = row.try_get("id")?;
    let id = <[u8; 16]>::try_from(id).map_err(|_| sqlx::Error::Decode("an id of another length".into()))?;
    let why: Option<String> = row.try_get("closed_by")?;
    let why = ClosedBy::ALL.iter().find(|known| Some(known.id()) == why.as_deref());
    let cause: Option<String> = row.try_get("cause")?;
    let cause = match cause {
        Some(cause) => Some(NamedCause {
            cause,
            confidence: row.try_get("confidence")?,
            summary: row.try_get("summary")?,
        }),
        None => None,
    };
    Ok(Incident {
        id: IncidentId(u128::from_be_bytes(id)),
        service: row.try_get::<String, _>("service")?.into(),
        began: Moment(number("began_unix_millis")?),
        opened: Moment(number("opened_unix_millis")?),
        // A reason of a later version is none that is known here; the time counts.
        closed: moment("closed_unix_millis")?
            .map(|at| Closed { at, why: why.copied().unwrap_or(ClosedBy::Recovered) }),
        reopened: u32::try_from(number("reopened")?).unwrap_or(u32::MAX),
        requests: number("requests")?.unsigned_abs(),
        failed: number("failed")?.unsigned_abs(),
        peak_share: row.try_get("peak_share")?,
        usual_share: row.try_get("usual_share")?,
        cause,
        diagnosed: moment("diagnosed_unix_millis")?,
        report: None,
    })
}
