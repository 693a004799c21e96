//! Where log lines go: standard output or a file, written by a thread of its own.
//!
//! A pipe that nobody reads or a slow disk blocks that thread only: nothing here waits for it but the end of the process,
//! and that not for long. Batches that find no room are dropped, counted, and spoken of.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::output;

/// Batches that may wait for the disk. At full speed that is a fifth of a second.
const BATCHES_MAX: usize = 8;
/// A log that cannot be written is reported this often.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);
/// How long a stopping process waits for the last lines.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Takes batches of lines. Dropping it leaves the thread to finish what it has.
#[derive(Debug)]
pub(crate) struct LogFile {
    batches: SyncSender<Batch>,
    spare: Receiver<Vec<u8>>,
    /// Ends when the thread does.
    finished: oneshot::Receiver<()>,
    shared: Arc<Shared>,
    /// Dropped lines that were spoken of, and when.
    told: u64,
    told_at: Option<Instant>,
}

/// Lines, and how many they are. An empty one only wakes the thread.
#[derive(Debug, Default)]
struct Batch {
    lines: Vec<u8>,
    count: u64,
}

/// What both sides know.
#[derive(Debug, Default)]
struct Shared {
    dropped: Arc<AtomicU64>,
    /// Lines that were handed over and are not written yet.
    waiting: AtomicU64,
    /// The place to go on in. Not in the queue, which may be full: lines that wait go to the new place too.
    next: Mutex<Option<Place>>,
}

/// A file, or standard output.
type Place = Option<PathBuf>;

impl LogFile {
    /// Begins to write to `path`; without one, to standard output.
    pub(crate) fn start(path: Place) -> io::Result<LogFile> {
        let (batches, receiver) = sync_channel::<Batch>(BATCHES_MAX);
        let (empty, spare) = channel();
        let (finishes, finished) = oneshot::channel();
        let shared = Arc::new(Shared { next: Mutex::new(Some(path)), ..Shared::default() });
        let mut writer =
            Writer { path: None, file: None, broken_line: false, complained: None, shared: shared.clone() };
        std::thread::Builder::new().name("log".to_owned()).spawn(move || {
            // Lives as long as the thread.
            let _finishes = finishes;
            writer.follow();
            while let Ok(Batch { mut lines, count }) = receiver.recv() {
                writer.follow();
                if count == 0 {
                    continue;
                }
                writer.write(&lines, count);
                lines.clear();
                // The other side is gone when the process stops.
                let _ = empty.send(lines);
            }
        })?;
        Ok(LogFile { batches, spare, finished, shared, told: 0, told_at: None })
    }

    /// Lines that were not written since the start of the process.
    pub(crate) fn dropped(&self) -> Arc<AtomicU64> {
        self.shared.dropped.clone()
    }

    /// An empty buffer, used before where possible.
    pub(crate) fn buffer(&self) -> Vec<u8> {
        self.spare.try_recv().unwrap_or_default()
    }

    /// Hands lines over; never waits.
    pub(crate) fn write(&mut self, lines: Vec<u8>, count: u64) {
        self.shared.waiting.fetch_add(count, Ordering::Relaxed);
        if self.batches.try_send(Batch { lines, count }).is_err() {
            self.shared.waiting.fetch_sub(count, Ordering::Relaxed);
            self.shared.dropped.fetch_add(count, Ordering::Relaxed);
        }
        if self.told_at.is_none_or(|told| told.elapsed() >= COMPLAIN_EVERY) {
            self.tell_of_dropped();
        }
    }

    fn tell_of_dropped(&mut self) {
        let dropped = self.shared.dropped.load(Ordering::Relaxed);
        if dropped > self.told {
            let more = dropped - self.told;
            output::error(&format!(
                "{more} log lines were dropped: they are not written as fast as they come; serving goes on"
            ));
            (self.told, self.told_at) = (dropped, Some(Instant::now()));
        }
    }

    /// Goes on in a file, which is opened anew even if it is the same: it may have been renamed. Never waits.
    pub(crate) fn open(&self, path: Place) {
        *self.shared.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(path);
        // If there is no room, there are batches, and the thread looks before each.
        let _ = self.batches.try_send(Batch::default());
    }

    /// Waits until everything is written, but not for long.
    pub(crate) async fn close(mut self) {
        self.tell_of_dropped();
        let LogFile { batches, finished, shared, .. } = self;
        // The thread ends behind the last batch.
        drop(batches);
        if timeout(CLOSE_TIMEOUT, finished).await.is_err() {
            let waiting = shared.waiting.load(Ordering::Relaxed);
            output::error(&format!("the last {waiting} log lines could not be written in time"));
        }
    }
}

/// The thread's side.
#[derive(Debug)]
struct Writer {
    path: Option<PathBuf>,
    file: Option<File>,
    /// The last write failed in the middle: the next one begins a new line.
    broken_line: bool,
    complained: Option<Instant>,
    shared: Arc<Shared>,
}

impl Writer {
    /// Goes where it was told to.
    fn follow(&mut self) {
        let next = self.shared.next.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(path) = next {
            self.path = path;
            self.open();
        }
    }

    fn open(&mut self) {
        let opened = match &self.path {
            // Lines go out whole, past the buffer of the standard library.
            None => io::stdout().as_fd().try_clone_to_owned().map(File::from),
            Some(path) => OpenOptions::new().append(true).create(true).mode(0o640).open(path),
        };
        match opened {
            Ok(file) => self.file = Some(file),
            Err(error) => {
                self.file = None;
                self.complain(&error);
            }
        }
    }

    fn write(&mut self, lines: &[u8], count: u64) {
        if self.file.is_none() {
            self.open();
        }
        let written = match &mut self.file {
            Some(file) if self.broken_line => file.write_all(b"\n").and_then(|()| file.write_all(lines)),
            Some(file) => file.write_all(lines),
            None => {
                self.settle(count, false);
                return;
            }
        };
        self.broken_line = written.is_err();
        self.settle(count, written.is_ok());
        if let Err(error) = written {
            self.complain(&error);
            self.file = None;
        }
    }

    fn settle(&self, count: u64, written: bool) {
        self.shared.waiting.fetch_sub(count, Ordering::Relaxed);
        if !written {
            self.shared.dropped.fetch_add(count, Ordering::Relaxed);
        }
    }

    fn complain(&mut self, error: &io::Error) {
        let now = Instant::now();
        if self.complained.is_some_and(|last| now.duration_since(last) < COMPLAIN_EVERY) {
            return;
        }
        self.complained = Some(now);
        let place = match &self.path {
            Some(path) => path.display().to_string(),
            None => "standard output".to_owned(),
        };
        output::error(&format!(
            "failed to write the log to {place}: {error}; lines are dropped, serving goes on"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[tokio::test]
    async fn lines_go_to_the_file_and_after_a_rotation_to_the_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let mut log = LogFile::start(Some(path.clone())).unwrap();
        let dropped = log.dropped();
        log.write(b"one\n".to_vec(), 1);
        log.open(Some(path.clone()));
        log.write(b"two\n".to_vec(), 1);
        log.close().await;
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        fs::rename(&path, folder.path().join("access.log.1")).unwrap();
        let mut log = LogFile::start(Some(path.clone())).unwrap();
        log.write(b"three\n".to_vec(), 1);
        log.close().await;
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
        assert_eq!(dropped.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_written_costs_lines_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = LogFile::start(Some(folder.path().to_owned())).unwrap();
        let dropped = log.dropped();
        log.write(b"one\ntwo\n".to_vec(), 2);
        log.close().await;
        assert_eq!(dropped.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_takes_nothing_holds_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: the name is a live string that ends with NUL.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        // Opening a pipe waits for its reader, who never comes.
        let mut log = LogFile::start(Some(path.clone())).unwrap();
        let dropped = log.dropped();
        let batches = BATCHES_MAX as u64 + 5;
        (0..batches).for_each(|_| log.write(b"line\nline\n".to_vec(), 2));
        (0..20).for_each(|_| log.open(Some(path.clone())));
        assert_eq!(dropped.load(Ordering::Relaxed), 2 * 5);
        log.close().await;
    }
}
