//! Where log lines go: standard output or a file, written by a thread of its own.
//!
//! A pipe that nobody reads or a slow disk blocks that thread only; batches that find no room are counted and dropped.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, channel, sync_channel};
use std::time::{Duration, Instant};

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
    commands: SyncSender<Command>,
    spare: Receiver<Vec<u8>>,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Command {
    Write {
        lines: Vec<u8>,
        count: u64,
    },
    /// Goes on in this file, opened anew.
    Open(Option<PathBuf>),
    Close(SyncSender<()>),
}

impl LogFile {
    /// Begins to write to `path`; without one, to standard output.
    pub(crate) fn start(path: Option<PathBuf>) -> io::Result<LogFile> {
        let (commands, receiver) = sync_channel(BATCHES_MAX);
        let (empty, spare) = channel();
        let dropped = Arc::new(AtomicU64::new(0));
        let mut writer =
            Writer { path, file: None, broken_line: false, complained: None, dropped: dropped.clone() };
        writer.open();
        std::thread::Builder::new().name("log".to_owned()).spawn(move || {
            while let Ok(command) = receiver.recv() {
                match command {
                    Command::Write { mut lines, count } => {
                        writer.write(&lines, count);
                        lines.clear();
                        // The other side is gone when the process stops.
                        let _ = empty.send(lines);
                    }
                    Command::Open(path) => {
                        writer.path = path;
                        writer.open();
                    }
                    Command::Close(done) => {
                        let _ = done.send(());
                        return;
                    }
                }
            }
        })?;
        Ok(LogFile { commands, spare, dropped })
    }

    /// Lines that were not written since the start of the process.
    pub(crate) fn dropped(&self) -> Arc<AtomicU64> {
        self.dropped.clone()
    }

    /// An empty buffer, used before where possible.
    pub(crate) fn buffer(&self) -> Vec<u8> {
        self.spare.try_recv().unwrap_or_default()
    }

    /// Hands lines over; never waits.
    pub(crate) fn write(&self, lines: Vec<u8>, count: u64) {
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
            self.commands.try_send(Command::Write { lines, count })
        {
            self.dropped.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Goes on in a file, which is opened anew even if it is the same: it may have been renamed.
    pub(crate) fn open(&self, path: Option<PathBuf>) {
        // Waits if the disk is slow, as the next write would; losing the command would lose every line to come.
        let _ = self.commands.send(Command::Open(path));
    }

    /// Waits until everything is written, but not for long.
    pub(crate) fn close(self) {
        let (done, closed) = sync_channel(1);
        if self.commands.send(Command::Close(done)).is_ok()
            && let Err(RecvTimeoutError::Timeout) = closed.recv_timeout(CLOSE_TIMEOUT)
        {
            output::warn("the last log lines could not be written in time");
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
    dropped: Arc<AtomicU64>,
}

impl Writer {
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
                self.dropped.fetch_add(count, Ordering::Relaxed);
                return;
            }
        };
        self.broken_line = written.is_err();
        if let Err(error) = written {
            self.dropped.fetch_add(count, Ordering::Relaxed);
            self.complain(&error);
            self.file = None;
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

    #[test]
    fn lines_go_to_the_file_and_after_a_rotation_to_the_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let log = LogFile::start(Some(path.clone())).unwrap();
        let dropped = log.dropped();
        log.write(b"one\n".to_vec(), 1);
        // The rotation renames the file after everything so far was written to it.
        log.open(Some(path.clone()));
        log.write(b"two\n".to_vec(), 1);
        log.close();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        fs::rename(&path, folder.path().join("access.log.1")).unwrap();
        let log = LogFile::start(Some(path.clone())).unwrap();
        log.write(b"three\n".to_vec(), 1);
        log.close();
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
        assert_eq!(dropped.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_file_that_cannot_be_written_costs_lines_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let log = LogFile::start(Some(folder.path().to_owned())).unwrap();
        let dropped = log.dropped();
        log.write(b"one\ntwo\n".to_vec(), 2);
        log.close();
        assert_eq!(dropped.load(Ordering::Relaxed), 2);
    }
}
