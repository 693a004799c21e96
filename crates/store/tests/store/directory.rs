//! Who owns a data directory.

use std::os::unix::fs::PermissionsExt;

use store::{DataDir, StoreError};

#[test]
fn a_new_directory_is_private_and_so_are_its_files() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("deep/clearway-data");
    let dir = DataDir::open(&path).unwrap();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    assert_eq!(mode(&dir.records_path()), 0o700);
    assert_eq!(mode(&path.join("lock")), 0o600);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let database = runtime.block_on(dir.database()).unwrap();
    for name in ["clearway.db", "clearway.db-wal", "clearway.db-shm"] {
        assert_eq!(mode(&path.join(name)), 0o600, "{name}");
    }
    drop(database);
}

#[test]
fn one_process_owns_it_and_the_next_is_told_which() {
    let parent = tempfile::tempdir().unwrap();
    let first = DataDir::open(parent.path()).unwrap();
    let second = DataDir::open(parent.path()).unwrap_err();
    let pid = std::process::id();
    assert!(matches!(second, StoreError::InUse { pid: Some(owner), .. } if owner == pid), "{second:?}");
    assert_eq!(
        second.to_string(),
        format!(
            "own the data directory {}: process {pid} owns it; stop that process or choose another directory with --data",
            parent.path().display()
        )
    );
    let reader = DataDir::open_read_only(parent.path()).unwrap();
    assert!(first.is_owned() && !reader.is_owned());
    drop(first);
    DataDir::open(parent.path()).unwrap();
}

#[test]
fn a_directory_that_cannot_be_used_is_named_with_the_reason() {
    let parent = tempfile::tempdir().unwrap();
    let missing = parent.path().join("missing");
    let error = DataDir::open_read_only(&missing).unwrap_err().to_string();
    assert!(error.contains("missing") && error.contains("--data"), "{error}");
    assert!(!missing.exists());
    let file = parent.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = DataDir::open(&file).unwrap_err();
    assert!(matches!(error, StoreError::File { .. }), "{error:?}");
}

#[test]
fn a_lock_that_is_handed_over_is_held_until_both_are_gone() {
    let (parent, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = DataDir::open(parent.path()).unwrap();
    let handed = || std::os::fd::OwnedFd::from(first.lock().unwrap().try_clone().unwrap());
    let elsewhere = DataDir::take_over(other.path(), handed()).unwrap_err().to_string();
    assert!(
        elsewhere.contains(other.path().to_str().unwrap()) && elsewhere.contains("another one"),
        "{elsewhere}"
    );
    let second = DataDir::take_over(parent.path(), handed()).unwrap();
    assert!(first.is_owned() && second.is_owned());
    let owner = || std::fs::read_to_string(parent.path().join("lock")).unwrap();
    std::fs::write(parent.path().join("lock"), "4000000000\n").unwrap();
    second.name_owner().unwrap();
    assert_eq!(owner(), format!("{}\n", std::process::id()));
    drop(first);
    assert!(matches!(DataDir::open(parent.path()), Err(StoreError::InUse { .. })));
    drop(second);
    DataDir::open(parent.path()).unwrap();
}
