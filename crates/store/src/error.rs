//! What can go wrong at the boundary of the store, and what to do about it. Recording has its own way to fail: it
//! stops and says so in its status, because a record never fails a request.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// An error of the data directory or of a database in it. The text is a fragment that fits "failed to ...".
#[derive(Debug)]
pub enum StoreError {
    /// Another process owns the data directory.
    InUse { path: PathBuf, pid: Option<u32> },
    /// The lock that was handed over is that of another data directory.
    OtherDirectory { path: PathBuf },
    /// A file or directory could not be used.
    File { path: PathBuf, action: &'static str, source: io::Error },
    /// A newer version of Clearway wrote this database.
    SchemaNewer { path: PathBuf, found: i64, known: i64 },
    /// SQLite refused; the source says why.
    Database { path: PathBuf, action: &'static str, source: Box<dyn Error + Send + Sync> },
    /// The operating system gave no randomness for a secret.
    Randomness(io::Error),
}

impl StoreError {
    pub(crate) fn file<'a>(
        path: &'a Path,
        action: &'static str,
    ) -> impl FnOnce(io::Error) -> StoreError + use<'a> {
        move |source| StoreError::File { path: path.to_owned(), action, source }
    }

    pub(crate) fn database<'a>(
        path: &'a Path,
        action: &'static str,
    ) -> impl FnOnce(sqlx::Error) -> StoreError + use<'a> {
        move |source| StoreError::Database { path: path.to_owned(), action, source: Box::new(source) }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::InUse { path, pid } => {
                write!(f, "own the data directory {}: ", path.display())?;
                match pid {
                    Some(pid) => write!(f, "process {pid} owns it; stop that process")?,
                    None => write!(f, "another process owns it; stop that process")?,
                }
                write!(f, " or choose another directory with --data")
            }
            StoreError::OtherDirectory { path } => write!(
                f,
                "take the data directory {} over: the process before uses another one; stop that process and start anew",
                path.display()
            ),
            StoreError::File { path, action, source } => {
                write!(f, "{action} {}: {source}", path.display())?;
                match source.kind() {
                    io::ErrorKind::PermissionDenied => {
                        write!(
                            f,
                            "; run as the user that owns the data directory, or choose another with --data"
                        )
                    }
                    io::ErrorKind::NotFound => write!(f, "; check --data"),
                    io::ErrorKind::StorageFull => write!(f, "; free some space on that disk"),
                    _ => Ok(()),
                }
            }
            StoreError::SchemaNewer { path, found, known } => write!(
                f,
                "open {}: its schema version is {found}, and this version of Clearway knows versions up to {known}; \
                 use the newer Clearway that wrote it, or restore a backup made before that",
                path.display()
            ),
            StoreError::Database { path, action, source } => {
                write!(f, "{action} {}: {source}", path.display())
            }
            StoreError::Randomness(source) => {
                write!(f, "read randomness for a secret from /dev/urandom: {source}")
            }
        }
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            StoreError::File { source, .. } | StoreError::Randomness(source) => Some(source),
            StoreError::Database { source, .. } => Some(source.as_ref()),
            StoreError::InUse { .. } | StoreError::OtherDirectory { .. } | StoreError::SchemaNewer { .. } => {
                None
            }
        }
    }
}
