//! Several processes on one data directory: a reader beside the owner, and an owner that is killed.
//!
//! The owner is this test binary again, told by an environment variable to be one.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use store::{DataDir, Query, RecordReader, RecordWriter, StoreError};

use crate::settings;
use crate::traffic::{Traffic, noon};

const DIRECTORY: &str = "CLEARWAY_TEST_OWNER_OF";

/// Does nothing as a test. As the owner it records a block of a thousand for each line it reads, and answers each with
/// the number of blocks so far; at the end of its input it leaves half a block open and waits to be killed.
#[test]
fn be_the_owner() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let dir = DataDir::open(PathBuf::from(directory)).unwrap();
        let database = dir.database().await.unwrap();
        database.set_meta("owner", "was here").await.unwrap();
        let mut writer = RecordWriter::new(&dir, settings());
        let mut traffic = Traffic::today();
        for (number, line) in (1..).zip(std::io::stdin().lines()) {
            let batch = if line.unwrap() == "half" { 500 } else { 1_000 };
            writer.append(traffic.batch(batch)).await;
            writeln!(std::io::stdout(), "owner: {number}").unwrap();
        }
    });
}

struct Owner {
    process: Child,
    say: ChildStdin,
    hear: BufReader<ChildStdout>,
}

impl Owner {
    fn start(directory: &std::path::Path) -> Owner {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "process::be_the_owner", "--nocapture"])
            .env(DIRECTORY, directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (say, hear) = (process.stdin.take().unwrap(), BufReader::new(process.stdout.take().unwrap()));
        Owner { process, say, hear }
    }

    fn ask(&mut self, line: &str) {
        writeln!(self.say, "{line}").unwrap();
    }

    fn wait_for_answer(&mut self) {
        let mut line = String::new();
        while !line.contains("owner: ") {
            line.clear();
            assert!(self.hear.read_line(&mut line).unwrap() > 0, "the owner ended");
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // SIGKILL: nothing in the owner gets to run.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

async fn count(dir: &DataDir) -> usize {
    let query = Query { limit: 10_000, ..Query::default() };
    let page = RecordReader::open(dir).search(&query).await.unwrap();
    assert_eq!((page.blocks.corrupt, page.blocks.files_unreadable), (0, 0));
    page.exchanges.len()
}

#[tokio::test]
async fn readers_work_beside_an_owner_and_after_it_was_killed() {
    let directory = tempfile::tempdir().unwrap();
    let mut owner = Owner::start(directory.path());
    owner.ask("full");
    owner.wait_for_answer();
    let reader = DataDir::open_read_only(directory.path()).unwrap();
    assert_eq!(count(&reader).await, 1_000);
    let taken = DataDir::open(directory.path()).unwrap_err();
    assert!(
        matches!(taken, StoreError::InUse { pid: Some(pid), .. } if pid == owner.process.id()),
        "{taken:?}"
    );

    // Reads while it writes: each reading sees whole blocks, and never fewer than the one before.
    (0..8).for_each(|_| owner.ask("full"));
    let mut seen = 1_000;
    while seen < 9_000 {
        let now = count(&reader).await;
        assert!(now >= seen && now % 1_000 == 0, "{seen} then {now}");
        seen = now;
    }
    (0..8).for_each(|_| owner.wait_for_answer());
    owner.ask("half");
    owner.wait_for_answer();
    drop(owner);

    // Its log is hot: nothing was copied into the file, and nobody closed it.
    let has_log = std::fs::read_dir(directory.path().join("records"))
        .unwrap()
        .any(|entry| entry.unwrap().file_name().to_string_lossy().ends_with(".db-wal"));
    assert!(has_log);
    assert_eq!(count(&reader).await, 9_000, "only the open block is lost");
    let database = reader.database().await.unwrap();
    assert_eq!(database.meta("owner").await.unwrap().as_deref(), Some("was here"));

    // The lock went with the process; the next owner goes on.
    let next = DataDir::open(directory.path()).unwrap();
    let mut writer = RecordWriter::new(&next, settings());
    writer.append(Traffic::at(noon(0) + Duration::from_secs(3_600)).batch(1_000)).await;
    writer.close().await;
    assert_eq!(count(&next).await, 10_000);
}
