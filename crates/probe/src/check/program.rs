//! Programs of the machine that can tell more: psql, rabbitmqctl, py-spy. Each has a time, and what it says a bound.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Of what a program says.
const SAID_MAX: u64 = 4 << 20;
const PAUSE: Duration = Duration::from_millis(5);

/// What it said on standard output; or, where it failed, the first line of what it said on standard error.
pub(super) fn run(command: &mut Command, limit: Duration) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let child =
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| format!("{name}: {error}"))?;
    let (out, wrong) = (child.stdout.take(), child.stderr.take());
    // Read while it runs: a full pipe would stop it.
    let (status, said, wrong) = std::thread::scope(|scope| {
        let out = scope.spawn(|| out.map(text).unwrap_or_default());
        let wrong = scope.spawn(|| wrong.map(text).unwrap_or_default());
        let status = wait(&mut child, limit);
        (status, out.join().unwrap_or_default(), wrong.join().unwrap_or_default())
    });
    match status {
        None => Err(format!("{name} did not answer in time")),
        Some(true) => Ok(said),
        Some(false) => Err(wrong.lines().next().map_or_else(|| format!("{name} failed"), str::to_owned)),
    }
}

/// Whether it ended well; nothing where it had to be ended.
fn wait(child: &mut Child, limit: Duration) -> Option<bool> {
    let begun = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status.success()),
            Ok(None) if begun.elapsed() < limit => std::thread::sleep(PAUSE),
            _ => {
                // It has gone, or goes now.
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    }
}

fn text(stream: impl Read) -> String {
    let mut bytes = Vec::new();
    // What came until an error is what there is.
    let _ = stream.take(SAID_MAX).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_say_something_fail_or_take_too_long() {
        let limit = Duration::from_secs(20);
        let run = |words: &str, limit| run(Command::new("sh").args(["-c", words]), limit);
        assert_eq!(run("echo here", limit), Ok("here\n".to_owned()));
        assert_eq!(run("echo wrong >&2; exit 3", limit), Err("wrong".to_owned()));
        // More than a pipe holds.
        assert_eq!(run("head -c 200000 /dev/zero", limit).map(|said| said.len()), Ok(200_000));
        assert_eq!(run("exec sleep 60", Duration::ZERO), Err("sh did not answer in time".to_owned()));
        let missing = super::run(&mut Command::new("/no/such/program"), limit);
        assert!(missing.is_err_and(|error| error.starts_with("/no/such/program: ")));
    }
}
