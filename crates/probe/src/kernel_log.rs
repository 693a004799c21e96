//! The kernel's ring buffer, for machines on which no file has it.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;

use model::Evidence;
use model::evidence::Place;
use model::report::Skipped;

use crate::logs::Options;
use crate::parse::{self, Format, Lines};

/// The ring is a few hundred kilobytes, some megabytes at most.
const BYTES_MAX: usize = 16 << 20;
/// The longest record (`LOG_LINE_MAX` and its prefix).
const RECORD_BYTES: usize = 8 << 10;

/// Reads the ring without waiting for more.
pub fn read(options: &Options) -> Result<Vec<Evidence>, Skipped> {
    let skipped = |reason: String| Skipped {
        check: "read the kernel log".to_owned(),
        reason,
        needs: "root, or the capability CAP_SYSLOG".to_owned(),
    };
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg");
    let mut file = file.map_err(|error| skipped(format!("/dev/kmsg: {error}")))?;
    let mut text = String::new();
    let mut record = vec![0; RECORD_BYTES];
    loop {
        match file.read(&mut record) {
            Ok(0) => break,
            Ok(count) => {
                let one = String::from_utf8_lossy(record.get(..count).unwrap_or_default()).into_owned();
                // Lines that begin with a blank belong to the record: a dictionary nobody reads here.
                text.push_str(one.lines().next().unwrap_or_default());
                text.push('\n');
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            // Records that were overwritten while they were read.
            Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
            Err(error) => return Err(skipped(format!("/dev/kmsg: {error}"))),
        }
        if text.len() > BYTES_MAX {
            break;
        }
    }
    let lines = Lines { boot: options.boot, now: options.now, ..Lines::of("/dev/kmsg", &text) };
    let recent =
        |item: &Evidence| options.since.is_none_or(|since| item.time.is_none_or(|time| time >= since));
    let mut evidence: Vec<Evidence> = parse::read(Format::Kernel, &lines)
        .into_iter()
        .filter(recent)
        // The ring has no lines that a person could count.
        .map(|item| item.at(Place::file("/dev/kmsg", 0)))
        .collect();
    evidence.push(
        Evidence::new("read")
            .with("what", "kernel-log")
            .with("product", "kernel")
            .with("path", "/dev/kmsg")
            .with_some("from", options.since)
            .with_some("to", options.now)
            .with("lines", text.lines().count())
            .text("the kernel log was read")
            .from("kernel log")
            .at(Place::file("/dev/kmsg", 0)),
    );
    Ok(evidence)
}
