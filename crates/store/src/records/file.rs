//! The database file of one day: blocks, their rows, and the rows of failed exchanges.

use std::path::{Path, PathBuf};
use std::time::Duration;

use model::RequestId;
use sqlx::sqlite::{SqliteConnection, SqliteRow, SqliteSynchronous};
use sqlx::{Connection, QueryBuilder, Row, Sqlite};
use tokio::time::Instant;

use super::day::Day;
use super::query::{Failure, IdRange};
use super::summary::{Counts, Summary};
use crate::{StoreError, sqlite};

/// The version of the schema below, kept in `user_version`. Days pass away by themselves, so there are no migrations:
/// a new version begins with a new day, and readers know the earlier ones.
const SCHEMA_VERSION: i64 = 1;

/// Ids are their 16 bytes, which sort like the ids. The rows of blocks lie apart from the data, so that a search walks
/// over thousands of them without touching the data between.
const SCHEMA: &str = "
    CREATE TABLE block (
        max_id          BLOB NOT NULL,
        id              INTEGER NOT NULL,
        min_id          BLOB NOT NULL,
        exchanges       INTEGER NOT NULL,
        failed          INTEGER NOT NULL,
        failures_listed INTEGER NOT NULL,
        slowest_micros  INTEGER NOT NULL,
        counts          TEXT NOT NULL,
        PRIMARY KEY (max_id, id)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE block_data (
        id   INTEGER PRIMARY KEY,
        data BLOB NOT NULL
    ) STRICT;
    CREATE TABLE failure (
        id      BLOB PRIMARY KEY,
        status  INTEGER NOT NULL,
        fault   TEXT,
        service TEXT,
        route   TEXT
    ) STRICT, WITHOUT ROWID;
    PRAGMA user_version = 1;
";

/// How much of a day that is too large is forgotten at once.
const TRIM_PARTS: i64 = 10;
/// And at most this many blocks, so that the transaction stays small.
const TRIM_BLOCKS_MAX: i64 = 2_000;

#[derive(Debug)]
pub(super) struct DayFile {
    pub(super) day: Day,
    pub(super) path: PathBuf,
    pub(super) written_at: Instant,
    connection: SqliteConnection,
}

impl DayFile {
    /// Opens the file for writing, and makes it where it is missing.
    pub(super) async fn open(
        directory: &Path,
        day: Day,
        bytes_max: Option<u64>,
    ) -> Result<DayFile, StoreError> {
        let path = directory.join(day.file_name());
        // The log is not synced at each commit: a killed process loses nothing by that, a power failure the last
        // moments, and neither damages the file.
        let connection = sqlite::open(&path, SqliteSynchronous::Normal)
            .await
            .map_err(StoreError::database(&path, "open the record file"))?;
        let mut file = DayFile { day, path, written_at: Instant::now(), connection };
        if check_version(&mut file.connection, &file.path).await? == 0 {
            create(&mut file.connection).await.map_err(file.error("create the tables of"))?;
        }
        if let Some(bytes) = bytes_max {
            file.limit(bytes).await.map_err(file.error("set the size limit of"))?;
        }
        Ok(file)
    }

    async fn limit(&mut self, bytes: u64) -> Result<(), sqlx::Error> {
        let page_bytes: i64 = sqlx::query_scalar("PRAGMA page_size").fetch_one(&mut self.connection).await?;
        let pages = bytes / u64::try_from(page_bytes).unwrap_or(4096).max(1);
        let pragma = format!("PRAGMA max_page_count = {}", pages.max(1));
        sqlx::query(&pragma).execute(&mut self.connection).await.map(|_| ())
    }

    /// Adds one block in one transaction.
    pub(super) async fn insert(
        &mut self,
        summary: &Summary,
        data: &[u8],
        failures: &[Failure],
    ) -> Result<(), StoreError> {
        self.written_at = Instant::now();
        insert(&mut self.connection, summary, data, failures).await.map_err(self.error("write"))
    }

    /// Room inside the file that is not used.
    pub(super) async fn free_bytes(&mut self) -> Result<u64, StoreError> {
        let free: Result<i64, _> = sqlx::query_scalar(
            "SELECT f.freelist_count * p.page_size FROM pragma_freelist_count f, pragma_page_size p",
        )
        .fetch_one(&mut self.connection)
        .await;
        Ok(free.map_err(self.error("read"))?.try_into().unwrap_or(0))
    }

    /// Forgets the oldest blocks. Their room is used again; the file does not shrink.
    pub(super) async fn trim(&mut self) -> Result<(), StoreError> {
        trim(&mut self.connection).await.map_err(self.error("trim"))
    }

    pub(super) async fn close(self) {
        // Closing copies the log into the file. What goes wrong there is found at the next opening, from the log.
        drop(self.connection.close().await);
    }

    fn error(&self, action: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError + use<> {
        let path = self.path.clone();
        move |source| StoreError::Database { path, action, source: Box::new(source) }
    }
}

async fn create(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::raw_sql(SCHEMA).execute(&mut *transaction).await?;
    transaction.commit().await
}

async fn insert(
    connection: &mut SqliteConnection,
    summary: &Summary,
    data: &[u8],
    failures: &[Failure],
) -> Result<(), sqlx::Error> {
    let counts = serde_json::to_string(&summary.counts).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let id = sqlx::query("INSERT INTO block_data (data) VALUES (?)")
        .bind(data)
        .execute(&mut *transaction)
        .await?
        .last_insert_rowid();
    sqlx::query(
        "INSERT INTO block (max_id, id, min_id, exchanges, failed, failures_listed, slowest_micros, counts)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&id_bytes(summary.max_id)[..])
    .bind(id)
    .bind(&id_bytes(summary.min_id)[..])
    .bind(summary.exchanges)
    .bind(summary.failed)
    .bind(failures.len() as i64)
    .bind(i64::try_from(summary.slowest.as_micros()).unwrap_or(i64::MAX))
    .bind(counts)
    .execute(&mut *transaction)
    .await?;
    if !failures.is_empty() {
        insert_failures(&mut transaction, failures).await?;
    }
    transaction.commit().await
}

async fn insert_failures(connection: &mut SqliteConnection, failures: &[Failure]) -> Result<(), sqlx::Error> {
    let mut insert =
        QueryBuilder::<Sqlite>::new("INSERT OR IGNORE INTO failure (id, status, fault, service, route) ");
    insert.push_values(failures, |mut row, failure| {
        row.push_bind(id_bytes(failure.id).to_vec())
            .push_bind(failure.status)
            .push_bind(failure.fault.as_deref())
            .push_bind(failure.service.as_deref())
            .push_bind(failure.route.as_deref());
    });
    // Each number of rows is another statement: not worth a place among the prepared ones.
    insert.build().persistent(false).execute(connection).await.map(|_| ())
}

async fn trim(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let cut: Option<i64> = sqlx::query_scalar(
        "SELECT min(id) + min(max((max(id) - min(id)) / ?, 1), ?) FROM block_data HAVING count(*) > 1",
    )
    .bind(TRIM_PARTS)
    .bind(TRIM_BLOCKS_MAX)
    .fetch_optional(&mut *transaction)
    .await?;
    sqlx::query("DELETE FROM block WHERE id < ?").bind(cut).execute(&mut *transaction).await?;
    sqlx::query("DELETE FROM block_data WHERE id < ?").bind(cut).execute(&mut *transaction).await?;
    sqlx::query("DELETE FROM failure WHERE id < (SELECT min(min_id) FROM block)")
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await
}

async fn check_version(connection: &mut SqliteConnection, path: &Path) -> Result<i64, StoreError> {
    let found: i64 = sqlx::query_scalar("PRAGMA user_version")
        .fetch_one(connection)
        .await
        .map_err(StoreError::database(path, "read the schema version of"))?;
    if found > SCHEMA_VERSION {
        return Err(StoreError::SchemaNewer { path: path.to_owned(), found, known: SCHEMA_VERSION });
    }
    Ok(found)
}

/// The row of a block, and the number under which its data lie.
#[derive(Clone, Debug)]
pub(super) struct BlockRow {
    pub(super) id: i64,
    pub(super) summary: Summary,
}

/// The file of a day, for reading.
pub(super) struct DayReader {
    path: PathBuf,
    connection: SqliteConnection,
}

impl DayReader {
    /// `None` where there is no file, or none with anything in it yet.
    pub(super) async fn open(path: PathBuf) -> Result<Option<DayReader>, StoreError> {
        if !path.exists() {
            return Ok(None);
        }
        let mut connection = match sqlite::open_read_only(&path).await {
            Ok(connection) => connection,
            // Retention may have deleted it since.
            Err(_) if !path.exists() => return Ok(None),
            Err(error) => return Err(StoreError::database(&path, "open the record file")(error)),
        };
        let version = check_version(&mut connection, &path).await?;
        Ok((version > 0).then_some(DayReader { path, connection }))
    }

    /// Rows of blocks that overlap the range, newest first, from just below a row on.
    pub(super) async fn blocks(
        &mut self,
        range: IdRange,
        below: Option<(RequestId, i64)>,
        count: u32,
    ) -> Result<Vec<BlockRow>, StoreError> {
        let (max_id, id) = below.unwrap_or((RequestId(u128::MAX), i64::MAX));
        let rows = sqlx::query(
            "SELECT max_id, id, min_id, exchanges, failed, slowest_micros, counts FROM block
             WHERE (max_id, id) < (?, ?) AND max_id >= ? AND min_id < ?
             ORDER BY max_id DESC, id DESC LIMIT ?",
        )
        .bind(&id_bytes(max_id)[..])
        .bind(id)
        .bind(&id_bytes(range.since)[..])
        .bind(&id_bytes(range.before)[..])
        .bind(count)
        .fetch_all(&mut self.connection)
        .await
        .and_then(|rows| rows.iter().map(block_row).collect());
        rows.map_err(StoreError::database(&self.path, "read"))
    }

    /// Blocks that may hold this id, the likeliest first: of prompt blocks the first or second one from the id
    /// upwards. Blocks of late exchanges reach far back and come after them.
    pub(super) async fn blocks_around(&mut self, id: RequestId) -> Result<Vec<i64>, StoreError> {
        sqlx::query_scalar("SELECT id FROM block WHERE max_id >= ? AND min_id <= ? ORDER BY max_id, id")
            .bind(&id_bytes(id)[..])
            .bind(&id_bytes(id)[..])
            .fetch_all(&mut self.connection)
            .await
            .map_err(StoreError::database(&self.path, "read"))
    }

    /// The data of a block; `None` if it was forgotten since its row was read.
    pub(super) async fn data(&mut self, id: i64) -> Result<Option<Vec<u8>>, StoreError> {
        sqlx::query_scalar("SELECT data FROM block_data WHERE id = ?")
            .bind(id)
            .fetch_optional(&mut self.connection)
            .await
            .map_err(StoreError::database(&self.path, "read"))
    }

    /// Failures in the range, newest first, and how many got no row.
    pub(super) async fn failures(
        &mut self,
        range: IdRange,
        limit: usize,
    ) -> Result<(Vec<Failure>, u64), StoreError> {
        let listed = sqlx::query(
            "SELECT id, status, fault, service, route FROM failure
             WHERE id >= ? AND id < ? ORDER BY id DESC LIMIT ?",
        )
        .bind(&id_bytes(range.since)[..])
        .bind(&id_bytes(range.before)[..])
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&mut self.connection)
        .await
        .and_then(|rows| rows.iter().map(failure).collect::<Result<Vec<_>, _>>());
        let listed = listed.map_err(StoreError::database(&self.path, "read"))?;
        let unlisted: i64 = sqlx::query_scalar(
            "SELECT coalesce(sum(failed - failures_listed), 0) FROM block WHERE max_id >= ? AND min_id < ?",
        )
        .bind(&id_bytes(range.since)[..])
        .bind(&id_bytes(range.before)[..])
        .fetch_one(&mut self.connection)
        .await
        .map_err(StoreError::database(&self.path, "read"))?;
        Ok((listed, unlisted.try_into().unwrap_or(0)))
    }

    pub(super) async fn close(self) {
        drop(self.connection.close().await);
    }
}

fn block_row(row: &SqliteRow) -> Result<BlockRow, sqlx::Error> {
    let counts = serde_json::from_str::<Counts>(row.try_get("counts")?)
        .map_err(|error| sqlx::Error::Decode(error.into()))?;
    let slowest: i64 = row.try_get("slowest_micros")?;
    Ok(BlockRow {
        id: row.try_get("id")?,
        summary: Summary {
            min_id: id_of(row.try_get("min_id")?)?,
            max_id: id_of(row.try_get("max_id")?)?,
            exchanges: row.try_get("exchanges")?,
            failed: row.try_get("failed")?,
            slowest: Duration::from_micros(slowest.try_into().unwrap_or(u64::MAX)),
            counts,
        },
    })
}

fn failure(row: &SqliteRow) -> Result<Failure, sqlx::Error> {
    let text = |column: &str| row.try_get::<Option<&str>, _>(column).map(|text| text.map(Box::from));
    Ok(Failure {
        id: id_of(row.try_get("id")?)?,
        status: row.try_get("status")?,
        fault: text("fault")?,
        service: text("service")?,
        route: text("route")?,
    })
}

fn id_bytes(id: RequestId) -> [u8; 16] {
    id.0.to_be_bytes()
}

fn id_of(bytes: &[u8]) -> Result<RequestId, sqlx::Error> {
    let bytes = bytes.try_into().map_err(|_| sqlx::Error::Decode("an id must have 16 bytes".into()))?;
    Ok(RequestId(u128::from_be_bytes(bytes)))
}
