//! The data directory: its layout, and the lock by which one process owns it.
//!
//! ```text
//! clearway-data/            0700
//!   lock                    held with flock by the owner, names its pid
//!   control.sock            the command line talks to the owner here
//!   clearway.db             configuration, identities and incidents
//!   secret.key              the master key, where none is configured
//!   records/2026-11-25.db   one database per UTC day
//!   spool/                  request bodies that wait for a target, in files without names
//! ```

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::{Database, StoreError};

/// A data directory, owned by this process or only read by it.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Held for as long as this process owns the directory; the kernel lets go of it however the process ends.
    lock: Option<File>,
}

impl DataDir {
    /// Creates the directory where it is missing (mode 0700) and takes its lock. A directory that exists keeps its
    /// mode: a service manager may have reasons for it, and the files in it are private by themselves.
    pub fn open(path: impl Into<PathBuf>) -> Result<DataDir, StoreError> {
        let mut dir = DataDir { path: path.into(), lock: None };
        create_private_dir(&dir.path)?;
        dir.lock = Some(lock(&dir.path, &dir.path.join("lock"))?);
        dir.name_owner()?;
        create_private_dir(&dir.records_path())?;
        Ok(dir)
    }

    /// Owns a directory together with the process that has handed its lock over, until that one ends. Fails if the lock is
    /// that of another directory.
    pub fn take_over(path: impl Into<PathBuf>, handed: OwnedFd) -> Result<DataDir, StoreError> {
        let path = path.into();
        let lock_path = path.join("lock");
        let handed = File::from(handed);
        let identity = |metadata: Metadata| (metadata.dev(), metadata.ino());
        let ours = fs::metadata(&lock_path).map(identity).ok();
        let theirs = handed.metadata().map(identity).map_err(StoreError::file(&lock_path, "look at"))?;
        if ours != Some(theirs) {
            return Err(StoreError::OtherDirectory { path });
        }
        // The lock belongs to what both processes have open, and goes when both have closed it.
        match handed.try_lock() {
            Ok(()) => Ok(DataDir { path, lock: Some(handed) }),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path, pid: None }),
            Err(TryLockError::Error(source)) => Err(StoreError::file(&lock_path, "lock")(source)),
        }
    }

    /// The lock, to be handed to another process; `None` for a directory that is only read.
    pub fn lock(&self) -> Option<&File> {
        self.lock.as_ref()
    }

    /// Writes this process's id where those look who find the directory in use.
    pub fn name_owner(&self) -> Result<(), StoreError> {
        let Some(mut file) = self.lock.as_ref() else { return Ok(()) };
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(StoreError::file(&self.path.join("lock"), "write the process id into"))
    }

    /// Reads a directory that another process may own, or that was left behind by one that was killed. Nothing in
    /// it is changed but SQLite's own shared index of a write-ahead log.
    pub fn open_read_only(path: impl Into<PathBuf>) -> Result<DataDir, StoreError> {
        let path = path.into();
        fs::read_dir(&path).map_err(StoreError::file(&path, "read the data directory"))?;
        Ok(DataDir { path, lock: None })
    }

    /// Whether this process owns the directory and may write to it.
    pub fn is_owned(&self) -> bool {
        self.lock.is_some()
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The socket on which the owner answers the command line.
    pub fn control_socket_path(&self) -> PathBuf {
        self.path.join("control.sock")
    }

    /// The configuration and identity database.
    pub fn database_path(&self) -> PathBuf {
        self.path.join("clearway.db")
    }

    /// The directory of the record files.
    pub fn records_path(&self) -> PathBuf {
        self.path.join("records")
    }

    /// The master key, where none is configured.
    pub fn secret_key_path(&self) -> PathBuf {
        self.path.join("secret.key")
    }

    /// Opens the configuration and identity database; the owner brings it to the current schema first.
    pub async fn database(&self) -> Result<Database, StoreError> {
        if self.is_owned() {
            Database::open(&self.database_path()).await
        } else {
            Database::open_read_only(&self.database_path()).await
        }
    }
}

fn create_private_dir(path: &Path) -> Result<(), StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(StoreError::file(path, "create the data directory"))
}

fn lock(dir: &Path, path: &Path) -> Result<File, StoreError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(StoreError::file(path, "open the lock file"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            // The owner writes its pid just after it took the lock: for a moment the file may be empty.
            let pid = file.take(32).read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
            Err(StoreError::InUse { path: dir.to_owned(), pid })
        }
        Err(TryLockError::Error(source)) => Err(StoreError::file(path, "lock")(source)),
    }
}
