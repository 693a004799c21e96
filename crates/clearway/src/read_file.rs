//! Reads a file that a person named: what it is and how large it is are looked at first, because a name may lead to a
//! pipe that nobody writes to, to a device that never ends, or to a file that was not meant.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The bytes of a file. If it is larger than `bytes_max`, one byte more than that.
pub(crate) fn at_most(path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    must_be_file(&fs::metadata(path)?)?;
    // What was a file may be something else by now: neither opening nor reading waits for anybody.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    read(file, bytes_max)
}

fn read(file: File, bytes_max: usize) -> io::Result<Vec<u8>> {
    must_be_file(&file.metadata()?)?;
    let mut bytes = Vec::new();
    file.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn must_be_file(metadata: &fs::Metadata) -> io::Result<()> {
    match metadata.file_type() {
        kind if kind.is_file() => Ok(()),
        kind if kind.is_dir() => Err(ErrorKind::IsADirectory.into()),
        _ => Err(io::Error::other(
            "it is a pipe, a socket or a device; only a file can be read again at a reload",
        )),
    }
}
