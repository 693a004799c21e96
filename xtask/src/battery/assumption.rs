//! The assumption of the undelivered rule, for the servers of the tests and for older versions of them: they execute nothing
//! that they read after they have closed their side. tests/e2e/undelivered.py races with them; this file only runs it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::process::{answer_of, run_tool};

/// What it is called among the scenarios.
pub(super) const NAME: &str = "undelivered";
/// For each server and version.
const CONNECTIONS: &str = "1000";
const TIME_MAX: Duration = Duration::from_secs(600);
/// Versions that are three years older, and which of the servers they are.
const OLDER: &[&str] =
    &["gunicorn==20.1.0", "hypercorn==0.14.4", "setuptools", "uvicorn[standard]==0.23.2", "waitress==2.1.2"];
const OLDER_SERVERS: &[&str] =
    &["gunicorn-gthread", "gunicorn-sync", "hypercorn", "uvicorn-h11", "uvicorn-httptools", "waitress"];

/// The table, and whether the assumption held.
pub(super) fn run(root: &Path, folder: &Path) -> anyhow::Result<(String, bool)> {
    let older = install(&root.join("target/battery-venv"))?;
    let mut rows = vec![
        "Each of 1,000 connections is closed by its server while it is idle, and a POST arrives then. \"Undelivered\" is what \
         the rule takes for that, whatever the method; \"executed\" must be zero there.\n"
            .to_owned(),
        "| server | version | how the requests ended |\n|---|---|---|".to_owned(),
    ];
    let mut holds = true;
    for (programs, servers) in [(root.join(".venv/bin"), [].as_slice()), (older, OLDER_SERVERS)] {
        let mut command = Command::new(root.join(".venv/bin/python"));
        command.arg(root.join("tests/e2e/undelivered.py")).args(["--connections", CONNECTIONS, "--programs"]);
        command.arg(&programs).args(servers);
        match run_tool(&mut command, TIME_MAX, folder) {
            Ok(text) => rows.push(text.trim().to_owned()),
            Err(error) => {
                holds = false;
                rows.push(format!("\n{error:#}"));
            }
        }
    }
    Ok((rows.join("\n") + "\n", holds))
}

/// The programs of an environment with older versions, which is made where there is none.
fn install(environment: &Path) -> anyhow::Result<PathBuf> {
    let programs = environment.join("bin");
    if !programs.join("waitress-serve").is_file() {
        crate::say(&format!("battery: pip install {}", OLDER.join(" ")));
        let path = environment.to_str().context("the checkout has a path that is no UTF-8")?;
        answer_of("python3", &["-m", "venv", path])?;
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"];
        answer_of(programs.join("python"), &[&pip, OLDER].concat())?;
    }
    if !programs.join("waitress-serve").is_file() {
        bail!("there is no {}", programs.join("waitress-serve").display());
    }
    Ok(programs)
}
