//! How SQLite is opened: small caches, no memory map, a write-ahead log, private files.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};

/// How long a statement waits for another process's lock. Writers hold it for milliseconds; only a backup is longer.
const BUSY_MAX: Duration = Duration::from_secs(5);
/// The page cache of one connection, in KiB. The whole process is to rest below 20 MiB.
const CACHE_KIB: &str = "-512";
/// A write-ahead log larger than this is cut back after its checkpoint.
const LOG_BYTES_MAX: &str = "4194304";
/// Prepared statements kept per connection; no user of one has more than a dozen.
const STATEMENTS_MAX: usize = 16;

/// Opens for reading and writing, creating the file with mode 0600 where it is missing.
pub(crate) async fn open(
    path: &Path,
    synchronous: SqliteSynchronous,
) -> Result<SqliteConnection, sqlx::Error> {
    create_private(path).map_err(sqlx::Error::Io)?;
    let connection = options(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous)
        .pragma("journal_size_limit", LOG_BYTES_MAX)
        .connect()
        .await?;
    Ok(connection)
}

/// Opens for reading, beside a running writer or after one that was killed with its write-ahead log still hot.
pub(crate) async fn open_read_only(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    match connect_and_read(options(path).read_only(true)).await {
        // The shared index of the log can neither be opened nor made: the disk or the directory is read-only. Without
        // a log the file is complete and can be read as it is.
        Err(error) if matches!(primary_code(&error), Some(CANTOPEN | READONLY)) && !has_log(path) => {
            connect_and_read(options(path).read_only(true).immutable(true)).await
        }
        opened => opened,
    }
}

/// Opening alone reads nothing, and so finds out nothing.
async fn connect_and_read(options: SqliteConnectOptions) -> Result<SqliteConnection, sqlx::Error> {
    let mut connection = options.connect().await?;
    sqlx::query("SELECT 1 FROM sqlite_schema").fetch_optional(&mut connection).await?;
    Ok(connection)
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY_MAX)
        .statement_cache_capacity(STATEMENTS_MAX)
        .pragma("cache_size", CACHE_KIB)
        .pragma("mmap_size", "0")
        .disable_statement_logging()
}

/// SQLite gives the log and its index the mode of the database, so that one decides for all three. Never opens an
/// existing file: closing it would drop the POSIX locks that SQLite holds on it in this process.
fn create_private(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn has_log(path: &Path) -> bool {
    std::fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0)
}

/// The files that SQLite keeps beside a database: `-wal` and `-shm`.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

// Primary result codes, https://www.sqlite.org/rescode.html.
pub(crate) const READONLY: u32 = 8;
pub(crate) const IOERR: u32 = 10;
pub(crate) const CORRUPT: u32 = 11;
pub(crate) const FULL: u32 = 13;
pub(crate) const CANTOPEN: u32 = 14;
pub(crate) const NOTADB: u32 = 26;

/// The primary result code of SQLite, where the error is one of SQLite's.
pub(crate) fn primary_code(error: &sqlx::Error) -> Option<u32> {
    let extended: u32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(extended & 0xff)
}
