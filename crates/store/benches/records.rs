//! What recording costs: CPU of the whole process per exchange, SQLite's thread included, and bytes on disk.
//!
//! `cargo bench -p store`. Exchanges are made before the clock starts, and dropped by the writer while it runs.

#[expect(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "made for the tests, which need more of it"
)]
#[path = "../tests/store/traffic.rs"]
mod traffic;

use std::time::{Duration, Instant};

use model::{ByteSize, Exchange};
use store::{DataDir, Query, RecordSettings, RecordWriter};
use traffic::Traffic;

const EXCHANGES: usize = 200_000;
const BATCH: usize = 64;
const ROUNDS: usize = 5;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    for round in 1..=ROUNDS {
        runtime.block_on(measure(round));
    }
}

async fn measure(round: usize) {
    let directory = tempfile::tempdir().expect("a directory");
    let dir = DataDir::open(directory.path()).expect("the directory opens");
    let settings = RecordSettings { retention_days: 7, size_max: ByteSize::mib(4096), file_bytes_max: None };
    let mut writer = RecordWriter::new(&dir, settings);
    let mut traffic = Traffic::today();
    let batches: Vec<Vec<Exchange>> = (0..EXCHANGES / BATCH).map(|_| traffic.batch(BATCH)).collect();
    let exchanges = (EXCHANGES / BATCH * BATCH) as f64;
    let (cpu, clock) = (cpu_time(), Instant::now());
    for batch in batches {
        writer.append(batch).await;
    }
    let (cpu, clock) = (cpu_time() - cpu, clock.elapsed());
    let (reader, status) = (writer.reader(), writer.status());
    let (search_cpu, search_clock) = (cpu_time(), Instant::now());
    let query = Query { path_prefix: Some("/nowhere".into()), ..Query::default() };
    let rare = reader.search(&query).await.expect("the search runs");
    let (search_cpu, search_clock) = (cpu_time() - search_cpu, search_clock.elapsed());
    let scan_clock = Instant::now();
    let query = Query { slower_than: Some(Duration::from_micros(4_850)), ..Query::default() };
    let found = reader.search(&query).await.expect("the search runs");
    let scan_clock = scan_clock.elapsed();
    writer.close().await;
    let counts = status.counts();
    let files: u64 = std::fs::read_dir(dir.records_path())
        .expect("the directory lists")
        .map(|entry| entry.and_then(|entry| entry.metadata()).map_or(0, |file| file.len()))
        .sum();
    let per_block = |time: Duration, blocks: usize| time.as_micros() as f64 / blocks as f64;
    #[expect(clippy::print_stdout, reason = "a benchmark prints its result")]
    {
        println!(
            "round {round}: {:.0} ns CPU and {:.0} ns clock per exchange; raw {:.1}, packed {:.1}, on disk {:.1} bytes; \
             per block {:.0} us CPU {:.0} us clock where its texts rule it out, {:.0} us clock where rows are read \
             ({} found)",
            cpu.as_nanos() as f64 / exchanges,
            clock.as_nanos() as f64 / exchanges,
            counts.raw_bytes as f64 / counts.recorded as f64,
            counts.stored_bytes as f64 / counts.recorded as f64,
            files as f64 / counts.recorded as f64,
            per_block(search_cpu, rare.blocks.decoded),
            per_block(search_clock, rare.blocks.decoded),
            per_block(scan_clock, found.blocks.decoded),
            found.exchanges.len(),
        );
    }
}

/// User and system time of the process.
fn cpu_time() -> Duration {
    // SAFETY: `getrusage` fills the structure it is given, and all zeros are a valid one.
    let usage = unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let time = |value: libc::timeval| {
        Duration::from_secs(value.tv_sec as u64) + Duration::from_micros(value.tv_usec as u64)
    };
    time(usage.ru_utime) + time(usage.ru_stime)
}
