//! Request bodies in files, for as long as they may have to be sent: until their target has taken them, and answers.
//!
//! A file has no name, so that none is left behind however the process ends. All of them together are bounded, and so is
//! how long a disk may take. Reads and writes are done by threads of their own. Most only copy to or from the page cache,
//! which takes 27 µs for 64 KiB, where the hand-over to a thread takes 11 µs; but a disk that is behind with writing makes
//! a writer wait (33 ms at worst while 4 GB were written to a fast one), and a worker would wait with all of its requests.

use std::fs::{DirBuilder, File, OpenOptions};
use std::future::Future;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::{JoinHandle, spawn_blocking};

/// Read and written at once: what is held in memory of a body that is in a file.
pub(crate) const PIECE_BYTES: usize = 64 << 10;
/// How long a disk may take for one piece. One that takes longer is broken, or so far behind that nobody is helped.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(10);
/// Pieces on their way to or from the disk in the whole process. With more, no other body is put into a file: the disk
/// stands still, and each piece is memory. Together 16 MiB.
const PIECES_MAX: usize = 256;
/// Threads per worker that may wait for the disk at once.
pub(crate) const THREADS_MAX: usize = 4;

/// Why a body streams that was to be read before its target is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unspooled {
    /// The disk is full, broken, too slow, or the directory cannot be written.
    Disk,
    /// Larger than an upstream allows.
    Large,
    /// The worker's bodies have all the memory that they may have, and each needs some on its way into a file.
    Memory,
    /// The files of all requests have what they may have.
    Quota,
}

impl Unspooled {
    pub const ALL: &'static [Unspooled] =
        &[Unspooled::Disk, Unspooled::Large, Unspooled::Memory, Unspooled::Quota];

    /// The name in metrics.
    pub fn id(self) -> &'static str {
        match self {
            Unspooled::Disk => "disk",
            Unspooled::Large => "large",
            Unspooled::Memory => "memory",
            Unspooled::Quota => "quota",
        }
    }
}

/// What files of request bodies take, and what was counted of them. One per process.
#[derive(Debug, Default)]
pub struct Usage {
    /// Kept free for the bodies that are in files now, or on their way there.
    reserved: AtomicU64,
    /// On their way to or from the disk.
    pieces: AtomicUsize,
    spooled: AtomicU64,
    unspooled: [AtomicU64; Unspooled::ALL.len()],
}

impl Usage {
    /// What is reserved for bodies in files now.
    pub fn bytes(&self) -> u64 {
        self.reserved.load(Ordering::Relaxed)
    }

    /// Bodies that were put into files since the start.
    pub fn spooled(&self) -> u64 {
        self.spooled.load(Ordering::Relaxed)
    }

    /// Bodies that were not, for this reason.
    pub fn unspooled(&self, why: Unspooled) -> u64 {
        self.unspooled.get(why as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    pub(crate) fn count_unspooled(&self, why: Unspooled) {
        if let Some(count) = self.unspooled.get(why as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A share of the bytes that all files may have; given back when it goes.
#[derive(Debug)]
pub(crate) struct Reservation {
    usage: Arc<Usage>,
    bytes: AtomicU64,
}

impl Reservation {
    /// Room for so many bytes, if all files together have no more than `max` then.
    pub(crate) fn new(usage: &Arc<Usage>, bytes: u64, max: u64) -> Result<Reservation, Unspooled> {
        if usage.pieces.load(Ordering::Relaxed) >= PIECES_MAX {
            return Err(Unspooled::Disk);
        }
        let reservation = Reservation { usage: usage.clone(), bytes: AtomicU64::new(0) };
        reservation.grow(bytes, max)?;
        Ok(reservation)
    }

    fn grow(&self, bytes: u64, max: u64) -> Result<(), Unspooled> {
        let grown = self.usage.reserved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |reserved| {
            reserved.checked_add(bytes).filter(|total| *total <= max)
        });
        grown.map_err(|_| Unspooled::Quota)?;
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.usage.reserved.fetch_sub(self.bytes.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

/// A body, or its beginning, in a file.
#[derive(Debug)]
pub(crate) struct SpoolFile {
    open: Arc<Open>,
    length: u64,
}

/// The file itself, which a thread may still be at when its exchange is over, and the room that it takes until then.
#[derive(Debug)]
struct Open {
    file: Option<File>,
    reservation: Option<Reservation>,
}

impl Open {
    fn reservation(&self) -> &Reservation {
        self.reservation.as_ref().expect("an open file must have its reservation")
    }
}

impl Drop for Open {
    /// To close a file without a name is to free what it takes on the disk, which may take its time.
    fn drop(&mut self) {
        if let Ok(runtime) = Handle::try_current() {
            // In this order: the room is free when the file is gone.
            let gone = (self.file.take(), self.reservation.take());
            runtime.spawn_blocking(move || drop(gone));
        }
    }
}

/// Something that a thread does with a file.
#[derive(Debug)]
pub(crate) struct Working<T>(JoinHandle<io::Result<T>>);

impl<T: Send + 'static> Working<T> {
    fn start(usage: &Arc<Usage>, work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Working<T> {
        let piece = Piece(usage.clone());
        usage.pieces.fetch_add(1, Ordering::Relaxed);
        Working(spawn_blocking(move || {
            let _piece = piece;
            work()
        }))
    }
}

impl<T> Future for Working<T> {
    type Output = io::Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        Pin::new(&mut self.0).poll(cx).map(|done| done.unwrap_or_else(|error| Err(io::Error::other(error))))
    }
}

/// Counts a piece for as long as a thread has it.
struct Piece(Arc<Usage>);

impl Drop for Piece {
    fn drop(&mut self) {
        self.0.pieces.fetch_sub(1, Ordering::Relaxed);
    }
}

impl SpoolFile {
    /// An empty file in this directory, which is made where it is missing.
    pub(crate) async fn create(directory: &Path, reservation: Reservation) -> io::Result<SpoolFile> {
        let directory = directory.to_owned();
        let file = Working::start(&reservation.usage, move || nameless(&directory)).await?;
        reservation.usage.spooled.fetch_add(1, Ordering::Relaxed);
        let open = Open { file: Some(file), reservation: Some(reservation) };
        Ok(SpoolFile { open: Arc::new(open), length: 0 })
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Reserves what is needed for `more` bytes beyond those for which there is room already.
    pub(crate) fn make_room(&self, more: u64, max: u64) -> Result<(), Unspooled> {
        let reservation = self.open.reservation();
        let lacking = (self.length + more).saturating_sub(reservation.bytes.load(Ordering::Relaxed));
        if lacking > 0 { reservation.grow(lacking, max) } else { Ok(()) }
    }

    /// Writes a piece at the end. Ready when it is written; the file is longer once [`SpoolFile::wrote`] was told.
    pub(crate) fn write(&self, piece: bytes::Bytes) -> Working<()> {
        let (open, at) = (self.open.clone(), self.length);
        Working::start(&self.open.reservation().usage, move || {
            open.file.as_ref().map_or(Ok(()), |file| file.write_all_at(&piece, at))
        })
    }

    pub(crate) fn wrote(&mut self, bytes: u64) {
        self.length += bytes;
    }

    /// Begins to read what was written.
    pub(crate) fn reader(&self) -> SpoolReader {
        SpoolReader { open: self.open.clone(), at: 0, length: self.length, working: None }
    }
}

/// Reads a file from its beginning to its end, piece by piece. There may be several.
#[derive(Debug)]
pub(crate) struct SpoolReader {
    open: Arc<Open>,
    at: u64,
    length: u64,
    working: Option<Working<Vec<u8>>>,
}

impl SpoolReader {
    /// The next piece; an empty one at the end.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Vec<u8>>> {
        if self.at == self.length {
            return Poll::Ready(Ok(Vec::new()));
        }
        let working = self.working.get_or_insert_with(|| {
            let (open, at) = (self.open.clone(), self.at);
            let left = usize::try_from(self.length - self.at).unwrap_or(usize::MAX);
            let mut piece = vec![0; left.min(PIECE_BYTES)];
            Working::start(&self.open.reservation().usage, move || {
                open.file.as_ref().map_or(Ok(()), |file| file.read_exact_at(&mut piece, at))?;
                Ok(piece)
            })
        });
        let read = std::task::ready!(Pin::new(working).poll(cx));
        self.working = None;
        let piece = read?;
        self.at += piece.len() as u64;
        Poll::Ready(Ok(piece))
    }

    /// Whether it is the disk that is waited for.
    pub(crate) fn is_reading(&self) -> bool {
        self.working.is_some()
    }
}

/// A file without a name, for reading and writing by this user alone.
fn nameless(directory: &Path) -> io::Result<File> {
    let open = || {
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(0o600).custom_flags(libc::O_TMPFILE).open(directory)
    };
    let opened = match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
            open()
        }
        opened => opened,
    };
    match opened {
        // What filesystems say that know no such files, and kernels before 3.11.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR)) => {
            unlinked(directory)
        }
        opened => opened,
    }
}

/// The same where a file must have a name at first.
fn unlinked(directory: &Path) -> io::Result<File> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = directory.join(format!("{PREFIX}{}-{number}", std::process::id()));
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).mode(0o600).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

/// How the names of files begin that have one for a moment.
const PREFIX: &str = "clearway-body-";

/// Removes what a process left behind that was killed between making a file and taking its name away, and says whether
/// files can be made here. To be called at the start; that another process uses the same directory does no harm.
pub fn prepare(directory: &Path) -> io::Result<()> {
    drop(nameless(directory)?);
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            match std::fs::remove_file(entry.path()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[tokio::test]
    async fn what_was_written_is_read_again_as_often_as_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("made/on/demand");
        let usage = Arc::new(Usage::default());
        let reservation = Reservation::new(&usage, 10, 1 << 20).unwrap();
        let mut file = SpoolFile::create(&directory, reservation).await.unwrap();
        let body: Vec<u8> = (0..PIECE_BYTES * 2 + 7).map(|n| (n % 251) as u8).collect();
        for piece in body.chunks(50_000) {
            file.make_room(piece.len() as u64, 1 << 20).unwrap();
            file.write(bytes::Bytes::copy_from_slice(piece)).await.unwrap();
            file.wrote(piece.len() as u64);
        }
        for _ in 0..2 {
            let (mut reader, mut read) = (file.reader(), Vec::new());
            loop {
                let piece = poll_fn(|cx| reader.poll_next(cx)).await.unwrap();
                if piece.is_empty() {
                    break;
                }
                read.extend(piece);
            }
            assert!(read == body);
        }
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0, "it has no name");
        assert_eq!(usage.bytes(), body.len() as u64);
        drop(file);
        while usage.bytes() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(usage.spooled(), 1);
    }

    #[test]
    fn all_files_together_are_bounded() {
        let usage = Arc::new(Usage::default());
        let first = Reservation::new(&usage, 60, 100).unwrap();
        assert_eq!(Reservation::new(&usage, 41, 100).unwrap_err(), Unspooled::Quota);
        let second = Reservation::new(&usage, 30, 100).unwrap();
        assert_eq!(second.grow(11, 100), Err(Unspooled::Quota));
        second.grow(10, 100).unwrap();
        drop(first);
        assert_eq!(usage.bytes(), 40);
        drop(second);
        usage.pieces.store(PIECES_MAX, Ordering::Relaxed);
        assert_eq!(Reservation::new(&usage, 1, 100).unwrap_err(), Unspooled::Disk, "it stands still");
        assert_eq!(usage.bytes(), 0);
    }

    #[test]
    fn a_file_with_a_name_loses_it_and_one_that_was_left_behind_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let file = unlinked(folder.path()).unwrap();
        file.write_all_at(b"body", 0).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        std::fs::write(folder.path().join(format!("{PREFIX}1-1")), "left behind").unwrap();
        std::fs::write(folder.path().join("of somebody else"), "").unwrap();
        prepare(folder.path()).unwrap();
        let left: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["of somebody else"]);
    }
}
