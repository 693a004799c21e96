//! What the proxies stand in front of: an nginx with two static answers, and the question whether they arrive unharmed.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};
use tempfile::TempDir;

use super::peer;
use crate::process::{Process, free_ports, run_tool};

pub(super) const SMALL_PATH: &str = "/small";
/// The small JSON.
pub(super) const SMALL: &str =
    r#"{"id":4711,"name":"espresso machine","price":{"amount":"249.90","currency":"EUR"},"stock":12}"#;
pub(super) const BODY_PATH: &str = "/body";
pub(super) const BODY_BYTES: usize = 1 << 20;

/// The versions of HTTP that curl is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

pub(super) struct Backend {
    pub(super) port: u16,
    body: Vec<u8>,
    _process: Process,
    folder: TempDir,
}

impl Backend {
    pub(super) fn start(parent: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("backend").tempdir_in(parent)?;
        // Not all alike, so that pieces in the wrong order are noticed.
        let body: Vec<u8> = (0..BODY_BYTES).map(|index| (index / 251 + index) as u8).collect();
        fs::write(folder.path().join("body"), &body)?;
        let [port] = free_ports()?;
        let mut command = peer::backend(folder.path(), port)?;
        let mut process = Process::start("backend", &mut command, folder.path().join("output"))?;
        process.wait_for_port(port)?;
        Ok(Self { port, body, _process: process, folder })
    }

    /// An error if curl does not get from `url` exactly what the backend says.
    pub(super) fn check(&self, url: &str, version: Version) -> anyhow::Result<()> {
        let file = self.folder.path().join("curl.out");
        let (option, number) = match version {
            Version::Http1 => ("--http1.1", "1.1"),
            Version::Http2 => ("--http2", "2"),
        };
        let mut command = Command::new("curl");
        command.args([
            "--silent",
            "--show-error",
            "--insecure",
            "--noproxy",
            "*",
            option,
            "--max-time",
            "10",
        ]);
        command.args(["--write-out", "%{http_code} %{http_version}", "--output"]).arg(&file).arg(url);
        let said = run_tool(&mut command, Duration::from_secs(15), self.folder.path())?;
        let body = fs::read(&file).with_context(|| format!("failed to read {}", file.display()))?;
        let expected = if url.ends_with(BODY_PATH) { self.body.as_slice() } else { SMALL.as_bytes() };
        if said.trim() != format!("200 {number}") {
            bail!("expected '200 {number}' (status, version of HTTP) from {url}, got '{}'", said.trim());
        }
        if body != expected {
            bail!("the body of {url} is not that of the backend");
        }
        Ok(())
    }
}
