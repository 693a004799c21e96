//! Takes exchanges, packs them into blocks and writes those. Never fails a caller: when the disk does not take a block,
//! recording stops, says so, and tries again.
//!
//! It works on the runtime it is called from. Packing takes about a quarter of a millisecond of it for each
//! thousand exchanges; SQLite works on its own thread.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use model::gateway::Records;
use model::{ByteSize, Exchange};
use tokio::time::{Instant, sleep_until};

use super::block::pack;
use super::day::Day;
use super::decode::Rows;
use super::file::DayFile;
use super::query::Query;
use super::reader::RecordReader;
use super::retention::{self, Keep};
use super::shared::{Follower, SealedBlock, Shared};
use super::status::{RecordState, RecordStatus, StopReason};
use crate::{DataDir, StoreError};

/// How long to wait before trying to write again after a failure.
const PROBE_EVERY: Duration = Duration::from_secs(5);
/// How often files are looked after while there is traffic; then also how long an unused file stays open.
const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(60);
/// And while there is none: days pass then, too.
const HOUSEKEEPING_AT_REST: Duration = Duration::from_secs(3600);
/// Files open at once: today's, and yesterday's for what began before midnight.
const FILES_MAX: usize = 2;
/// Files are also looked after when this part of the allowed size was written since the last time.
const SIZE_PARTS: u64 = 32;

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordSettings {
    /// Whole days before today that are kept; 0 keeps no records at all.
    pub retention_days: u32,
    /// All record files together.
    pub size_max: ByteSize,
    /// One record file; recording stops as on a full disk when it is reached. `None` is no limit.
    pub file_bytes_max: Option<ByteSize>,
}

impl From<&Records> for RecordSettings {
    fn from(records: &Records) -> RecordSettings {
        RecordSettings {
            retention_days: records.retention_days,
            size_max: records.size_max,
            file_bytes_max: None,
        }
    }
}

/// The one writer of records of a data directory. Its owner gives it batches, and calls [`RecordWriter::tick`] whenever
/// [`RecordWriter::due`] says so:
///
/// ```no_run
/// # async fn run(mut writer: store::RecordWriter, mut batches: tokio::sync::mpsc::Receiver<Vec<model::Exchange>>) {
/// loop {
///     tokio::select! {
///         batch = batches.recv() => match batch {
///             Some(batch) => writer.append(batch).await,
///             None => break,
///         },
///         () = writer.due() => writer.tick().await,
///     }
/// }
/// writer.close().await;
/// # }
/// ```
pub struct RecordWriter {
    directory: PathBuf,
    settings: RecordSettings,
    shared: Arc<Shared>,
    files: Vec<DayFile>,
    /// `Some` while recording is stopped.
    probe_at: Option<Instant>,
    /// The day whose file did not take a block.
    failed_day: Option<Day>,
    housekeeping_at: Instant,
    written_bytes: u64,
}

impl RecordWriter {
    /// Opens nothing yet, so that even a full disk does not keep a gateway from starting.
    ///
    /// # Panics
    /// If this process does not own the data directory.
    pub fn new(dir: &DataDir, settings: RecordSettings) -> RecordWriter {
        assert!(dir.is_owned(), "only the owner of a data directory may write records");
        let writer = RecordWriter {
            directory: dir.records_path(),
            settings,
            shared: Arc::new(Shared::new()),
            files: Vec::new(),
            probe_at: None,
            failed_day: None,
            housekeeping_at: Instant::now(),
            written_bytes: 0,
        };
        writer.shared.status.set(writer.state_when_well());
        writer
    }

    /// How recording is doing; to be read from any thread.
    pub fn status(&self) -> Arc<RecordStatus> {
        self.shared.status.clone()
    }

    /// A reader that also sees what is not in a file yet.
    pub fn reader(&self) -> RecordReader {
        RecordReader::beside(self.directory.clone(), self.shared.clone())
    }

    /// Exchanges that match, as they end, from now on.
    pub fn follow(&self, query: Query) -> Follower {
        self.shared.follow(query)
    }

    /// Takes effect with the next block.
    pub fn set_settings(&mut self, settings: RecordSettings) {
        if self.settings == settings {
            return;
        }
        self.settings = settings;
        // Limits of a file are set when it is opened.
        self.files.clear();
        self.housekeeping_at = Instant::now();
        if self.is_off() {
            self.shared.discard();
            self.probe_at = None;
        }
        if self.probe_at.is_none() {
            self.shared.status.set(self.state_when_well());
        }
    }

    /// Records a batch. Waits only when a block is full and the disk is busy.
    pub async fn append(&mut self, batch: Vec<Exchange>) {
        if batch.is_empty() {
            return;
        }
        if self.probe_at.is_some() {
            RecordStatus::add(&self.shared.status.dropped, batch.len() as u64);
        } else if !self.is_off() {
            let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.shared.push(&batch, Instant::now(), unix.as_millis() as u64);
        }
        self.shared.publish(batch);
        if self.probe_at.is_none() {
            self.write_sealed().await;
        }
    }

    /// Waits until [`RecordWriter::tick`] has something to do: a block to write, a probe, old files.
    pub async fn due(&self) {
        let write_at = match self.probe_at {
            Some(probe_at) => Some(probe_at),
            None => self.shared.due(),
        };
        let at = write_at.map_or(self.housekeeping_at, |write_at| write_at.min(self.housekeeping_at));
        sleep_until(at).await;
    }

    /// Does what is due.
    pub async fn tick(&mut self) {
        let now = Instant::now();
        match self.probe_at {
            Some(probe_at) if now >= probe_at => self.probe().await,
            Some(_) => {}
            None => {
                self.shared.seal_old(now);
                self.write_sealed().await;
            }
        }
        if now >= self.housekeeping_at {
            self.keep_house(now).await;
        }
    }

    /// Writes all there is, and closes the files.
    pub async fn close(mut self) {
        self.let_go().await;
        RecordStatus::add(&self.shared.status.dropped, self.shared.discard());
    }

    /// Writes all there is and closes the files, so that another process can write. Until the next batch or tick nothing
    /// here touches them.
    pub async fn let_go(&mut self) {
        self.shared.seal_all();
        self.write_sealed().await;
        for file in self.files.drain(..) {
            file.close().await;
        }
    }

    /// What could not be written, for whoever writes from now on.
    pub fn take_unwritten(&mut self) -> Vec<Exchange> {
        let blocks = self.shared.raw_blocks();
        self.shared.discard();
        // What this process packed, it can read.
        blocks.iter().filter_map(|raw| Rows::read(raw).ok()).flatten().filter_map(Result::ok).collect()
    }

    fn is_off(&self) -> bool {
        self.settings.retention_days == 0
    }

    fn state_when_well(&self) -> RecordState {
        if self.is_off() { RecordState::Off } else { RecordState::Recording }
    }

    async fn write_sealed(&mut self) {
        while let Some(block) = self.shared.first_sealed() {
            if let Err(error) = self.write(&block).await {
                self.stop(&error, block.day);
                return;
            }
            self.shared.remove(&block);
        }
        if self.written_bytes > self.settings.size_max.0 / SIZE_PARTS {
            self.housekeeping_at = Instant::now();
        }
    }

    async fn write(&mut self, block: &SealedBlock) -> Result<(), StoreError> {
        let data = pack(&block.raw);
        let file = self.file(block.day).await?;
        file.insert(&block.summary, &data, &block.failures).await?;
        let status = &self.shared.status;
        RecordStatus::add(&status.recorded, block.summary.exchanges.into());
        RecordStatus::add(&status.blocks, 1);
        RecordStatus::add(&status.raw_bytes, block.raw.len() as u64);
        RecordStatus::add(&status.stored_bytes, data.len() as u64);
        self.written_bytes += data.len() as u64;
        Ok(())
    }

    /// The open file of a day. The one unused for longest makes room.
    async fn file(&mut self, day: Day) -> Result<&mut DayFile, StoreError> {
        let at = match self.files.iter().position(|file| file.day == day) {
            Some(at) => at,
            None => {
                if self.files.len() >= FILES_MAX {
                    self.files.sort_by_key(|file| file.written_at);
                    self.files.remove(0).close().await;
                }
                let bytes_max = self.settings.file_bytes_max.map(|size| size.0);
                self.files.push(DayFile::open(&self.directory, day, bytes_max).await?);
                self.files.len() - 1
            }
        };
        Ok(self.files.get_mut(at).expect("the file was found or pushed at this place"))
    }

    fn stop(&mut self, error: &StoreError, day: Day) {
        // After a failed write the connection may be in any state; the probe begins with a fresh one.
        self.files.retain(|file| file.day != day);
        let since = match self.shared.status.state() {
            RecordState::Stopped { since, .. } => since,
            RecordState::Off | RecordState::Recording => {
                RecordStatus::add(&self.shared.status.stops, 1);
                SystemTime::now()
            }
        };
        let reason = StopReason::of(error);
        self.shared.status.set(RecordState::Stopped { reason, message: error.to_string().into(), since });
        self.failed_day = Some(day);
        self.probe_at = Some(Instant::now() + PROBE_EVERY);
    }

    /// Tries again with the block that could not be written. Until it is, nothing else is taken in.
    async fn probe(&mut self) {
        self.probe_at = None;
        if let RecordState::Stopped { reason: StopReason::Corrupt, .. } = self.shared.status.state()
            && let Some(day) = self.failed_day
            && let Err(error) = retention::set_aside(&self.directory, day)
        {
            self.stop(&StoreError::file(&self.directory, "set a damaged file aside in")(error), day);
            return;
        }
        self.write_sealed().await;
        if self.probe_at.is_none() {
            self.failed_day = None;
            self.shared.status.set(self.state_when_well());
        }
    }

    async fn keep_house(&mut self, now: Instant) {
        let idle = |file: &DayFile| now.duration_since(file.written_at) >= HOUSEKEEPING_EVERY;
        while let Some(at) = self.files.iter().position(idle) {
            self.files.swap_remove(at).close().await;
        }
        if self.files.is_empty() {
            self.shared.release_memory();
        }
        self.written_bytes = 0;
        self.forget().await;
        // A file that is gone, by retention or by hand, would take blocks that nobody can read.
        self.files.retain(|file| file.path.exists());
        let at_rest = self.files.is_empty();
        self.housekeeping_at =
            Instant::now() + if at_rest { HOUSEKEEPING_AT_REST } else { HOUSEKEEPING_EVERY };
    }

    /// Deletes days that are too old or too many, and the oldest blocks of a day that is too large by itself.
    async fn forget(&mut self) {
        if self.is_off() {
            return;
        }
        let keep = Keep {
            today: Day::today(),
            days: self.settings.retention_days,
            bytes_max: self.settings.size_max.0,
        };
        let directory = self.directory.clone();
        // Deleting a file of gigabytes takes the kernel a while.
        let swept = tokio::task::spawn_blocking(move || retention::sweep(&directory, keep)).await;
        // What could not be deleted now is tried again next time.
        let Ok(Ok(files_bytes)) = swept else { return };
        self.shared.status.files_bytes.store(files_bytes, std::sync::atomic::Ordering::Relaxed);
        let newest = self.files.iter_mut().max_by_key(|file| file.day);
        if files_bytes > keep.bytes_max
            && let Some(file) = newest
            && let Ok(free) = file.free_bytes().await
            && files_bytes - free.min(files_bytes) > keep.bytes_max
            && let Err(error) = file.trim().await
        {
            let day = file.day;
            self.stop(&error, day);
        }
    }
}
