//! What the command prints: results on standard output, everything else on standard error.

use std::io::{self, Write};

/// Prints a sentence on standard error. If that is closed, there is nobody to tell.
pub(crate) fn say(text: &str) {
    // One write, so that lines of several threads do not mix.
    let _ = io::stderr().lock().write_all(format!("{text}\n").as_bytes());
}

/// Says something that an operator finds in a log later: with time and level.
pub(crate) fn log(level: &str, text: &str) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    say(&format!("{} {level}: {text}", proxy::telemetry::time_text(now.as_micros() as u64)));
}

/// Someone must act now.
pub(crate) fn error(text: &str) {
    log("error", text);
}

/// Look here first when something is wrong.
pub(crate) fn warn(text: &str) {
    log("warn", text);
}

/// The state of the process changed.
pub(crate) fn info(text: &str) {
    log("info", text);
}

/// Prints a result.
pub(crate) fn print(text: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text)?;
    out.flush()
}

/// Whether the reader of our output left, as `head` does: no failure of ours.
pub(crate) fn is_closed(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}
