//! systemd's journal, where servers that write to their standard error have their log.
//!
//! Read through `journalctl`: the journal's files have a format of their own, and who may read which of them is its affair.

use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use model::evidence::Place;
use model::report::Skipped;

use super::{LogRead, Options, Reader};
use crate::parse::Format;

/// Where journald listens; without it there is no journal.
const JOURNALD: &str = "/run/systemd/journal";
/// Messages, the latest: minutes of a busy machine.
const MESSAGES: &str = "100000";
/// What is kept of them in memory.
const BYTES_MAX: usize = 64 << 20;
/// How long it may take where no deadline is given.
const PATIENCE: Duration = Duration::from_secs(10);
const NAME: &str = "journal";

/// Reads the journal; `None` where the machine has none.
pub fn read_journal(options: &Options) -> Option<LogRead> {
    if !Path::new(JOURNALD).exists() {
        return None;
    }
    let mut command = Command::new("journalctl");
    command.args(["--output=json", "--output-fields=MESSAGE,SYSLOG_IDENTIFIER,_COMM,_PID"]).args([
        "--no-pager",
        "--quiet",
        "--lines",
        MESSAGES,
    ]);
    if let Some(since) = options.since {
        command.arg(format!("--since=@{}", since.0.div_euclid(1000)));
    }
    Some(read_from(&mut command, options))
}

/// Reads what a command prints.
fn read_from(command: &mut Command, options: &Options) -> LogRead {
    let mut out = LogRead { format: Some(Format::Journal), ..LogRead::default() };
    let deadline = options.deadline.unwrap_or_else(|| Instant::now() + PATIENCE);
    let printed = match printed(command, deadline) {
        Ok(printed) => printed,
        Err(error) => {
            out.skipped.push(Skipped {
                check: "read the journal".to_owned(),
                reason: format!("journalctl: {error}"),
                needs: "journalctl, and root or the group systemd-journal".to_owned(),
            });
            return out;
        }
    };
    let mut reader = Reader::new(options);
    let text = String::from_utf8_lossy(&printed.bytes);
    reader.block(&text, NAME, 1, Format::Journal);
    reader.coverage.out_of_time = printed.cut;
    reader.finish(&mut out, NAME);
    // No person can count its lines.
    for item in &mut out.evidence {
        item.place = Place::Object(NAME.to_owned());
    }
    out
}

struct Printed {
    bytes: Vec<u8>,
    /// There was more.
    cut: bool,
}

fn printed(command: &mut Command, deadline: Instant) -> io::Result<Printed> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let read = read_until(&mut child, deadline);
    if !matches!(read, Ok(Printed { cut: false, .. })) {
        // It may have ended by itself by now.
        let _ = child.kill();
    }
    child.wait()?;
    read
}

fn read_until(child: &mut Child, deadline: Instant) -> io::Result<Printed> {
    let Some(mut stdout) = child.stdout.take() else { return Ok(Printed { bytes: Vec::new(), cut: true }) };
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || bytes.len() > BYTES_MAX || !is_readable(stdout.as_raw_fd(), left)? {
            return Ok(Printed { bytes, cut: true });
        }
        match stdout.read(&mut buffer)? {
            0 => return Ok(Printed { bytes, cut: false }),
            count => bytes.extend_from_slice(buffer.get(..count).unwrap_or_default()),
        }
    }
}

/// Waits until there is something to read, or the other side has closed.
fn is_readable(descriptor: i32, patience: Duration) -> io::Result<bool> {
    let millis = patience.as_millis().clamp(1, 60_000) as i32;
    let mut wanted = libc::pollfd { fd: descriptor, events: libc::POLLIN, revents: 0 };
    // SAFETY: the pointer is to one pollfd, which outlives the call.
    match unsafe { libc::poll(&raw mut wanted, 1, millis) } {
        -1 => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            error => Err(error),
        },
        ready => Ok(ready > 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/journal/252/json.log");

    #[test]
    fn the_logs_of_servers_and_of_the_system_are_within_the_journal() {
        let read = read_from(Command::new("cat").arg(FIXTURE), &Options::default());
        assert_eq!(read.skipped, []);
        let kinds: Vec<&str> = read.evidence.iter().map(|item| item.kind.as_ref()).collect();
        for kind in ["gunicorn.worker-timeout", "kernel.oom-kill-cgroup", "systemd.exited", "failure"] {
            assert!(kinds.contains(&kind), "{kind} is not among {kinds:?}");
        }
        let whats: Vec<_> = read
            .evidence
            .iter()
            .filter(|item| item.kind == "read")
            .map(|item| (item.get("what").unwrap_or(""), item.get("product").unwrap_or("")))
            .collect();
        assert!(whats.contains(&("server-log", "gunicorn")), "{whats:?}");
        assert!(whats.contains(&("kernel-log", "kernel")), "{whats:?}");
    }

    #[test]
    fn a_journal_that_takes_too_long_is_left() {
        let options =
            Options { deadline: Some(Instant::now() + Duration::from_millis(50)), ..Options::default() };
        let read = read_from(Command::new("sleep").arg("600"), &options);
        assert_eq!(read.skipped.len(), 1);
        let read = read_from(&mut Command::new("/no/such/program"), &options);
        assert_eq!(read.skipped.len(), 1);
    }
}
