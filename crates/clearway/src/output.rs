//! What the command prints: results on standard output, everything else on standard error.
//!
//! A process that serves must not wait for whoever reads its standard error. After [`speak_from_a_thread`] a thread of its
//! own writes there; what finds no room is dropped and counted.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Text that may wait for the reader of standard error.
const WAITING_BYTES_MAX: usize = 1 << 20;

static VOICE: OnceLock<&'static Voice> = OnceLock::new();

/// Prints a sentence on standard error. If that is closed, there is nobody to tell.
pub(crate) fn say(text: &str) {
    match VOICE.get() {
        Some(voice) => voice.say(text),
        None => write_line(&mut io::stderr().lock(), text),
    }
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

/// From now on nothing that is said waits for standard error.
pub(crate) fn speak_from_a_thread() -> io::Result<()> {
    let voice: &'static Voice = Box::leak(Box::default());
    std::thread::Builder::new()
        .name("stderr".to_owned())
        // Locked for each line only: a panic of the thread itself would be told here too.
        .spawn(move || voice.write_to(|text| write_line(&mut io::stderr().lock(), text)))?;
    // Whoever was first has a thread already.
    let _ = VOICE.set(voice);
    Ok(())
}

/// Waits until what was said is out, but no longer than this.
pub(crate) fn finish_speaking(within: Duration) {
    if let Some(voice) = VOICE.get() {
        voice.finish(within);
    }
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

fn write_line(out: &mut impl Write, text: &str) {
    // One write, so that lines of several threads do not mix.
    let _ = out.write_all(format!("{text}\n").as_bytes());
}

/// The queue in front of the thread.
#[derive(Default)]
struct Voice {
    state: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    texts: VecDeque<String>,
    bytes: usize,
    /// The thread has one in hand.
    writing: bool,
    dropped: u64,
}

impl Voice {
    /// Never waits. A text that is alone may be longer than the room.
    fn say(&self, text: &str) {
        let mut waiting = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.bytes > 0 && waiting.bytes + text.len() > WAITING_BYTES_MAX {
            waiting.dropped += 1;
            return;
        }
        waiting.bytes += text.len();
        waiting.texts.push_back(text.to_owned());
        drop(waiting);
        self.changed.notify_all();
    }

    /// The thread: forever.
    fn write_to(&self, mut write: impl FnMut(&str)) {
        loop {
            let text = self.next();
            write(&text);
        }
    }

    /// The next text; those that were dropped are told of when there is room again.
    fn next(&self) -> String {
        let mut waiting = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.writing = false;
        self.changed.notify_all();
        loop {
            if let Some(text) = waiting.texts.pop_front() {
                waiting.bytes -= text.len();
                waiting.writing = true;
                return text;
            }
            if waiting.dropped > 0 {
                waiting.writing = true;
                let dropped = std::mem::take(&mut waiting.dropped);
                return format!("{dropped} messages were dropped here: standard error was not read");
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn finish(&self, within: Duration) {
        let until = Instant::now() + within;
        let mut waiting = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while waiting.writing || !waiting.texts.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            waiting = self.changed.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn what_is_said_comes_out_in_order_and_what_is_dropped_is_counted() {
        let voice: &'static Voice = Box::leak(Box::default());
        let (gate, opened) = mpsc::channel::<()>();
        let (written, texts) = mpsc::channel();
        std::thread::spawn(move || {
            voice.write_to(|text| {
                // Nobody reads until the gate is gone.
                let _ = opened.recv();
                let _ = written.send(text.to_owned());
            });
        });
        let long = "x".repeat(WAITING_BYTES_MAX);
        voice.say("one");
        // Until the thread has the first in hand, it waits with the others.
        while !voice.state.lock().unwrap().writing {
            std::thread::yield_now();
        }
        voice.say(&long);
        voice.say("two");
        voice.say("three");
        voice.finish(Duration::ZERO);
        drop(gate);
        voice.finish(Duration::from_secs(60));
        let said: Vec<String> = texts.try_iter().collect();
        assert_eq!(said, ["one", &long, "2 messages were dropped here: standard error was not read"]);
    }
}
