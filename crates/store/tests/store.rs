//! The store at its boundary: real files in a temporary directory, other processes where it matters.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "in a test each of them is a failed check, also in the functions beside the test functions"
)]

#[path = "store/database.rs"]
mod database;
#[path = "store/directory.rs"]
mod directory;
#[path = "store/failing.rs"]
mod failing;
#[path = "store/incidents.rs"]
mod incidents;
#[path = "store/process.rs"]
mod process;
#[path = "store/records.rs"]
mod records;
#[path = "store/retention.rs"]
mod retention;
#[path = "store/traffic.rs"]
mod traffic;

use model::{ByteSize, Exchange, RequestId};
use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use store::{DataDir, RecordSettings, RecordWriter};

/// A data directory that is owned, and goes with the test.
struct Place {
    directory: tempfile::TempDir,
    dir: DataDir,
}

impl Place {
    fn new() -> Place {
        let directory = tempfile::tempdir().unwrap();
        let dir = DataDir::open(directory.path()).unwrap();
        Place { directory, dir }
    }

    fn writer(&self) -> RecordWriter {
        RecordWriter::new(&self.dir, settings())
    }

    /// The names in the directory of records, in order.
    fn record_files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.records_path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn settings() -> RecordSettings {
    RecordSettings { retention_days: 7, size_max: ByteSize::mib(256), file_bytes_max: None }
}

/// SQLite as another program would open it.
async fn sqlite(path: &std::path::Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).create_if_missing(true).connect().await.unwrap()
}

fn ids(exchanges: &[Exchange]) -> Vec<RequestId> {
    exchanges.iter().map(|exchange| exchange.id).collect()
}

fn newest_first(exchanges: &[Exchange]) -> Vec<RequestId> {
    let mut ids = ids(exchanges);
    ids.sort_by(|a, b| b.cmp(a));
    ids
}
