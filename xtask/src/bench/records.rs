//! How many records Clearway has stored, by its own metrics: one that drops records would be measured too cheap.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::process::pause;

const STORED: &str = "clearway_records_stored_total";
/// What stands before the token in the lines that Clearway prints when it starts for the first time.
const BEFORE_TOKEN: &str = "admin token, shown only this once: ";
/// Records are packed and stored once a second; a busy machine may be late.
const STORE_TIME_MAX: Duration = Duration::from_secs(5);

pub(super) struct Records {
    pub(super) admin: u16,
    /// What Clearway printed at its start.
    pub(super) output: PathBuf,
}

impl Records {
    /// How many have been stored since the start.
    pub(super) fn stored(&self) -> anyhow::Result<u64> {
        let printed = std::fs::read_to_string(&self.output)?;
        let token = printed.lines().find_map(|line| line.strip_prefix(BEFORE_TOKEN));
        let token = token.context("Clearway printed no admin token")?;
        let address = (Ipv4Addr::LOCALHOST, self.admin);
        let mut socket = TcpStream::connect(address).context("failed to connect to the management port")?;
        socket.set_read_timeout(Some(STORE_TIME_MAX))?;
        let request = format!(
            "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nAuthorization: Bearer {token}\r\n\
             Connection: close\r\n\r\n",
            self.admin
        );
        socket.write_all(request.as_bytes())?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).context("failed to read the metrics")?;
        sample(&answer, STORED).with_context(|| format!("failed to find {STORED} in the metrics"))
    }

    /// Waits until `expected` are stored beyond `before`, and says how many are.
    pub(super) fn wait(&self, before: u64, expected: u64) -> anyhow::Result<u64> {
        let end = Instant::now() + STORE_TIME_MAX;
        loop {
            let Some(stored) = self.stored()?.checked_sub(before) else { bail!("{STORED} went back") };
            if stored >= expected || Instant::now() > end {
                return Ok(stored);
            }
            pause(Duration::from_millis(100))?;
        }
    }
}

/// The value of a metric without labels.
fn sample(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    value.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_found_by_its_whole_name() {
        let text = "# TYPE a_total counter\na_total_b 1\na_total 42\n";
        assert_eq!(sample(text, "a_total"), Some(42));
        assert_eq!(sample(text, "a"), None);
    }
}
