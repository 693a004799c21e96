//! Compressed logs: read from the front, because they cannot be otherwise, of which only the end is kept.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Instant;

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Gzip,
    Zstd,
}

/// The end of a compressed file.
pub(super) struct Tail {
    pub(super) tail: Vec<u8>,
    /// Lines that were passed over.
    pub(super) lines_before: u64,
    /// The time was up before the end.
    pub(super) cut: bool,
}

/// By its first bytes: a name can be anything.
pub(super) fn kind(path: &Path) -> Option<Kind> {
    let mut magic = [0; 4];
    File::open(path).and_then(|mut file| file.read_exact(&mut magic)).ok()?;
    match magic {
        [0x1f, 0x8b, ..] => Some(Kind::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd] => Some(Kind::Zstd),
        _ => None,
    }
}

pub(super) fn tail(path: &Path, kind: Kind, bytes_max: usize, deadline: Option<Instant>) -> io::Result<Tail> {
    let file = File::open(path)?;
    let mut reader: Box<dyn Read> = match kind {
        Kind::Gzip => Box::new(flate2::read::MultiGzDecoder::new(file)),
        Kind::Zstd => Box::new(zstd::Decoder::new(file)?),
    };
    let mut kept: VecDeque<Vec<u8>> = VecDeque::new();
    let (mut bytes, mut lines_before, mut cut) = (0, 0, false);
    loop {
        let mut block = vec![0; 1 << 20];
        let read = reader.read(&mut block)?;
        if read == 0 {
            break;
        }
        block.truncate(read);
        bytes += read;
        kept.push_back(block);
        while bytes > bytes_max
            && let Some(oldest) = kept.pop_front()
        {
            bytes -= oldest.len();
            lines_before += memchr::memchr_iter(b'\n', &oldest).count() as u64;
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            cut = true;
            break;
        }
    }
    Ok(Tail { tail: kept.into_iter().flatten().collect(), lines_before, cut })
}
