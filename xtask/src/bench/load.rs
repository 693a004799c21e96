//! The load generators of others: wrk for HTTP/1.1, h2load for HTTP/2 and for exact numbers of requests. How they are
//! called, and what they say.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};

use super::certificate::Certificate;
use crate::process::run_tool;

/// Beyond its run, what a generator may need to connect and to end.
const EXTRA: Duration = Duration::from_secs(60);

/// Prints what wrk knows in a form that a program reads.
const WRK_SCRIPT: &str = "\
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('requests=%d\\nbytes=%d\\nmicroseconds=%d\\nstatus=%d\\nsocket=%d\\n',
    summary.requests, summary.bytes, summary.duration, e.status, e.connect + e.read + e.write + e.timeout))
end
";

/// What a run did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Run {
    pub(super) requests: u64,
    /// Heads included.
    pub(super) bytes: u64,
    pub(super) per_second: f64,
    /// Answers that were not 2xx, and connections that failed.
    pub(super) failed: u64,
}

/// `connections` clients that ask for `url` as fast as they are answered.
pub(super) fn wrk(
    url: &str,
    connections: u32,
    time: Duration,
    certificate: &Certificate,
    folder: &Path,
) -> anyhow::Result<Run> {
    let script = folder.join("wrk.lua");
    std::fs::write(&script, WRK_SCRIPT)?;
    let mut command = Command::new("wrk");
    command.args(["--threads", "1", "--connections", &connections.to_string(), "--timeout", "10s"]);
    command.args(["--duration", &format!("{}s", time.as_secs().max(1))]).arg("--script").arg(script).arg(url);
    command.env("OPENSSL_CONF", &certificate.client_settings);
    let text = run_tool(&mut command, time + EXTRA, folder)?;
    parse_wrk(&text).with_context(|| format!("failed to understand wrk: {text}"))
}

fn parse_wrk(text: &str) -> Option<Run> {
    let number = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line?.trim().parse::<u64>().ok()
    };
    let requests = number("requests")?;
    let seconds = number("microseconds")? as f64 / 1e6;
    Some(Run {
        requests,
        bytes: number("bytes")?,
        per_second: requests as f64 / seconds,
        failed: number("status")? + number("socket")?,
    })
}

/// How long h2load goes on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Until {
    Requests(u64),
    Time(Duration),
}

/// What h2load is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct H2load<'a> {
    pub(super) url: &'a str,
    pub(super) http1: bool,
    pub(super) clients: u32,
    /// Requests at a time per client.
    pub(super) streams: u32,
    pub(super) until: Until,
}

pub(super) fn h2load(load: &H2load<'_>, folder: &Path) -> anyhow::Result<Run> {
    let mut command = Command::new("h2load");
    let clients = load.clients.to_string();
    let streams = load.streams.to_string();
    command.args(["--threads=1", "--clients", &clients, "--max-concurrent-streams", &streams]);
    command.args(["--tls13-ciphers=TLS_AES_128_GCM_SHA256", "--groups=X25519"]);
    if load.http1 {
        command.arg("--h1");
    }
    let time = match load.until {
        Until::Requests(requests) => {
            command.arg(format!("--requests={requests}"));
            // No proxy here is slower than a thousand requests a second.
            Duration::from_millis(requests)
        }
        Until::Time(time) => {
            command.arg(format!("--duration={}", time.as_secs().max(1)));
            time
        }
    };
    let text = run_tool(command.arg(load.url), time + EXTRA, folder)?;
    if load.url.starts_with("https:") && !text.contains("Cipher: TLS_AES_128_GCM_SHA256") {
        bail!("h2load did not agree on the expected cipher: {text}");
    }
    parse_h2load(&text).with_context(|| format!("failed to understand h2load: {text}"))
}

fn parse_h2load(text: &str) -> Option<Run> {
    let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let before = |line: &str, unit: &str| {
        let words: Vec<&str> = line.split([' ', ',', '(', ')']).filter(|word| !word.is_empty()).collect();
        words.windows(2).find_map(|pair| match pair {
            [number, word] if *word == unit => number.parse::<f64>().ok(),
            _ => None,
        })
    };
    let requests = line("requests: ")?;
    let good = before(line("status codes: ")?, "2xx")? as u64;
    let done = before(requests, "done")? as u64;
    let broken = before(requests, "failed")?.max(before(requests, "errored")?) as u64;
    // `traffic: 1.20MB (1262896) total, ...`
    let bytes = line("traffic: ")?.split(['(', ')']).nth(1)?.parse().ok()?;
    Some(Run {
        requests: done,
        bytes,
        per_second: before(line("finished in ")?, "req/s")?,
        failed: done.saturating_sub(good).max(broken),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrk_says() {
        let text = "Running 1s test\n  Requests/sec: 1\nrequests=300\nbytes=3000\nmicroseconds=1500000\nstatus=2\nsocket=1\n";
        let run = Run { requests: 300, bytes: 3000, per_second: 200.0, failed: 3 };
        assert_eq!(parse_wrk(text), Some(run));
        assert_eq!(parse_wrk("unable to connect"), None);
    }

    fn h2load_text(requests: &str, codes: &str) -> String {
        format!(
            "starting benchmark...\nTLS Protocol: TLSv1.3\nCipher: TLS_AES_128_GCM_SHA256\n\n\
             finished in 1.00s, 29734.00 req/s, 4.05MB/s\n\
             requests: {requests}\n\
             status codes: {codes}\n\
             traffic: 4.05MB (4246012) total, 871.18KB (892092) headers (space savings 77.61%), 2.61MB (2735528) data\n"
        )
    }

    #[test]
    fn h2load_says() {
        let check = |requests: &str, codes: &str, expect: (u64, u64)| {
            let run = parse_h2load(&h2load_text(requests, codes)).unwrap();
            assert_eq!((run.requests, run.failed), expect, "{requests}");
            assert_eq!((run.bytes, run.per_second), (4_246_012, 29734.0));
        };
        let good = "29734 total, 29862 started, 29734 done, 29734 succeeded, 0 failed, 0 errored, 0 timeout";
        check(good, "29734 2xx, 0 3xx, 0 4xx, 0 5xx", (29734, 0));
        check(good, "29700 2xx, 0 3xx, 0 4xx, 34 5xx", (29734, 34));
        let bad = "100 total, 100 started, 100 done, 93 succeeded, 7 failed, 7 errored, 0 timeout";
        check(bad, "93 2xx, 0 3xx, 0 4xx, 0 5xx", (100, 7));
    }
}
