//! How recording is doing: what logs and metrics read.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use crate::StoreError;
use crate::sqlite;

/// Whether exchanges are being recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordState {
    /// The retention is zero days: nothing is kept.
    Off,
    Recording,
    /// Nothing is recorded until a write succeeds again; it is tried every few seconds. Serving goes on.
    Stopped {
        reason: StopReason,
        message: Box<str>,
        since: SystemTime,
    },
}

/// Why recording stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The file of the day is damaged. It is set aside and a new one begun.
    Corrupt,
    /// No space is left on the disk, or the file reached its limit.
    DiskFull,
    /// The disk or file system failed.
    Io,
    /// A newer version of Clearway wrote the file of the day.
    NewerSchema,
    /// The files may not be written, or another process holds their lock.
    NotWritable,
}

impl StopReason {
    pub fn id(self) -> &'static str {
        match self {
            StopReason::Corrupt => "corrupt",
            StopReason::DiskFull => "disk-full",
            StopReason::Io => "io",
            StopReason::NewerSchema => "newer-schema",
            StopReason::NotWritable => "not-writable",
        }
    }

    pub(crate) fn of(error: &StoreError) -> StopReason {
        match error {
            StoreError::SchemaNewer { .. } => StopReason::NewerSchema,
            StoreError::File { source, .. } => Self::of_io(source),
            StoreError::Database { source, .. } => match source.downcast_ref::<sqlx::Error>() {
                Some(sqlx::Error::Io(source)) => Self::of_io(source),
                Some(error) => match sqlite::primary_code(error) {
                    Some(sqlite::FULL) => StopReason::DiskFull,
                    Some(sqlite::CORRUPT | sqlite::NOTADB) => StopReason::Corrupt,
                    Some(sqlite::IOERR) | None => StopReason::Io,
                    Some(_) => StopReason::NotWritable,
                },
                None => StopReason::Io,
            },
            StoreError::InUse { .. } | StoreError::OtherDirectory { .. } | StoreError::Randomness(_) => {
                StopReason::NotWritable
            }
        }
    }

    fn of_io(error: &std::io::Error) -> StopReason {
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => StopReason::DiskFull,
            std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
                StopReason::NotWritable
            }
            _ => StopReason::Io,
        }
    }
}

/// What to do about it.
impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StopReason::Corrupt => {
                "the record file of the day is damaged; it is set aside and a new one begun"
            }
            StopReason::DiskFull => "no space is left for records; free some, or lower records.size-max",
            StopReason::Io => "the disk or file system of the data directory failed; look at the system log",
            StopReason::NewerSchema => {
                "a newer version of Clearway wrote the record file of the day; use that version"
            }
            StopReason::NotWritable => "the record files cannot be written; check their owner and mode",
        })
    }
}

/// Numbers since the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordCounts {
    /// Exchanges in blocks that were committed.
    pub recorded: u64,
    /// Exchanges that were lost, because recording was stopped.
    pub dropped: u64,
    /// Failed exchanges without an indexed row, because there were too many in a second. They are recorded.
    pub failures_unlisted: u64,
    pub blocks: u64,
    /// Bytes of the blocks before and after compression.
    pub raw_bytes: u64,
    pub stored_bytes: u64,
    /// All record files together, when last looked at.
    pub files_bytes: u64,
    /// How often recording stopped.
    pub stops: u64,
}

/// Read from any thread.
#[derive(Debug)]
pub struct RecordStatus {
    state: Mutex<RecordState>,
    pub(crate) recorded: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) failures_unlisted: AtomicU64,
    pub(crate) blocks: AtomicU64,
    pub(crate) raw_bytes: AtomicU64,
    pub(crate) stored_bytes: AtomicU64,
    pub(crate) files_bytes: AtomicU64,
    pub(crate) stops: AtomicU64,
}

impl RecordStatus {
    pub(crate) fn new() -> RecordStatus {
        RecordStatus {
            state: Mutex::new(RecordState::Recording),
            recorded: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            failures_unlisted: AtomicU64::new(0),
            blocks: AtomicU64::new(0),
            raw_bytes: AtomicU64::new(0),
            stored_bytes: AtomicU64::new(0),
            files_bytes: AtomicU64::new(0),
            stops: AtomicU64::new(0),
        }
    }

    pub fn state(&self) -> RecordState {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    pub fn counts(&self) -> RecordCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RecordCounts {
            recorded: read(&self.recorded),
            dropped: read(&self.dropped),
            failures_unlisted: read(&self.failures_unlisted),
            blocks: read(&self.blocks),
            raw_bytes: read(&self.raw_bytes),
            stored_bytes: read(&self.stored_bytes),
            files_bytes: read(&self.files_bytes),
            stops: read(&self.stops),
        }
    }

    pub(crate) fn set(&self, state: RecordState) {
        *self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = state;
    }

    /// Only the writer adds, so that a plain add is never lost.
    pub(crate) fn add(counter: &AtomicU64, more: u64) {
        counter.fetch_add(more, Ordering::Relaxed);
    }
}
