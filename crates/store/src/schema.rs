//! The schema of the main database, as an ordered list of migrations that only grows.
//!
//! A migration that was released is never edited. Each runs in a transaction of its own together with the note that it
//! ran, so that a crash leaves the database at one version or the next, never between.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;

use crate::StoreError;

/// The migrations in order; the first makes version 1.
pub(crate) const MIGRATIONS: &[&str] = &[
    // 1: meta, token.
    include_str!("migrations/0001_start.sql"),
    // 2: incident.
    include_str!("migrations/0002_incident.sql"),
];

/// Brings a database to the newest schema. One that is newer than that is refused, untouched.
pub(crate) async fn migrate(
    connection: &mut SqliteConnection,
    path: &Path,
    migrations: &[&str],
) -> Result<(), StoreError> {
    let found = version(connection, path).await?;
    refuse_newer(path, found, migrations)?;
    let done = usize::try_from(found).unwrap_or(0);
    for (number, sql) in (1i64..).zip(migrations).skip(done) {
        apply(connection, number, sql).await.map_err(StoreError::database(path, "migrate"))?;
    }
    Ok(())
}

/// Refuses a database whose schema this version cannot read: newer, or not yet migrated.
pub(crate) async fn check(connection: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    let found = version(connection, path).await?;
    refuse_newer(path, found, MIGRATIONS)
}

fn refuse_newer(path: &Path, found: i64, migrations: &[&str]) -> Result<(), StoreError> {
    let known = i64::try_from(migrations.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(StoreError::SchemaNewer { path: path.to_owned(), found, known });
    }
    Ok(())
}

async fn version(connection: &mut SqliteConnection, path: &Path) -> Result<i64, StoreError> {
    read_version(connection).await.map_err(StoreError::database(path, "read the schema version of"))
}

async fn read_version(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    let table: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'schema_version'",
    )
    .fetch_one(&mut *connection)
    .await?;
    if table == 0 {
        return Ok(0);
    }
    sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM schema_version").fetch_one(connection).await
}

async fn apply(connection: &mut SqliteConnection, number: i64, sql: &str) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::raw_sql(
        "CREATE TABLE IF NOT EXISTS schema_version (
             version             INTEGER PRIMARY KEY,
             applied_unix_millis INTEGER NOT NULL
         ) STRICT",
    )
    .execute(&mut *transaction)
    .await?;
    sqlx::raw_sql(sql).execute(&mut *transaction).await?;
    sqlx::query("INSERT INTO schema_version (version, applied_unix_millis) VALUES (?, ?)")
        .bind(number)
        .bind(unix_millis(SystemTime::now()))
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await
}

/// Unix time in milliseconds as SQLite stores it.
pub(crate) fn unix_millis(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::sqlite::SqliteSynchronous;

    const FIRST: &str = "CREATE TABLE one (x INTEGER) STRICT; INSERT INTO one VALUES (7);";
    const SECOND: &str = "ALTER TABLE one ADD COLUMN y TEXT;";

    async fn database() -> (tempfile::TempDir, SqliteConnection) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("test.db");
        let connection = crate::sqlite::open(&path, SqliteSynchronous::Full).await.unwrap();
        (directory, connection)
    }

    #[tokio::test]
    async fn migrations_run_once_each_in_order() {
        let (directory, mut connection) = database().await;
        let path = directory.path();
        migrate(&mut connection, path, &[FIRST]).await.unwrap();
        migrate(&mut connection, path, &[FIRST, SECOND]).await.unwrap();
        migrate(&mut connection, path, &[FIRST, SECOND]).await.unwrap();
        let row: (i64, Option<String>) =
            sqlx::query_as("SELECT x, y FROM one").fetch_one(&mut connection).await.unwrap();
        assert_eq!(row, (7, None));
        assert_eq!(version(&mut connection, path).await.unwrap(), 2);
        let older = migrate(&mut connection, path, &[FIRST]).await.unwrap_err();
        assert!(matches!(older, StoreError::SchemaNewer { found: 2, known: 1, .. }));
    }

    #[tokio::test]
    async fn a_migration_that_fails_changes_nothing() {
        let (directory, mut connection) = database().await;
        let path = directory.path();
        let broken = "DELETE FROM one; CREATE TABLE two (x NONSENSE) STRICT;";
        let failed = migrate(&mut connection, path, &[FIRST, broken]).await.unwrap_err();
        assert!(matches!(failed, StoreError::Database { action: "migrate", .. }), "{failed:?}");
        assert_eq!(version(&mut connection, path).await.unwrap(), 1);
        migrate(&mut connection, path, &[FIRST, SECOND]).await.unwrap();
        let rows: i64 =
            sqlx::query_scalar("SELECT count(*) FROM one").fetch_one(&mut connection).await.unwrap();
        assert_eq!(rows, 1);
    }
}
