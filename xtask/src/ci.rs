//! `cargo xtask ci`: what a change must pass, in the order that fails fastest.
//!
//! Installs nothing: `tests/setup.sh` does. Every step runs or fails, none is skipped for a missing tool. The last
//! step is pytest, so that its closing line is the last line of a run.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// One program to run; the first word is the program.
struct Step {
    name: &'static str,
    words: &'static [&'static str],
}

/// In the order that fails fastest; each entry says why it stands where it stands.
const STEPS: &[Step] = &[
    // Needs nothing built.
    Step { name: "fmt", words: &["cargo", "fmt", "--all", "--check"] },
    // Needs only this package, which is built already.
    Step { name: "tidy", words: &["cargo", "xtask", "tidy"] },
    // Reads the lock file. Advisories need a network, see deny.toml.
    Step {
        name: "deny",
        words: &["cargo-deny", "--log-level", "error", "check", "bans", "licenses", "sources"],
    },
    // Checks everything without generating code.
    Step {
        name: "clippy",
        words: &["cargo", "clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"],
    },
    // The bulk of the tests; from here on code is generated, all in one profile.
    Step {
        name: "test",
        words: &["cargo-nextest", "nextest", "run", "--locked", "--workspace", "--no-fail-fast"],
    },
    // nextest does not run these.
    Step { name: "doc", words: &["cargo", "test", "--locked", "--workspace", "--doc", "--quiet"] },
    // The binary itself, which the next step starts.
    Step {
        name: "build",
        words: &["cargo", "build", "--locked", "--package", "clearway", "--package", "testkit"],
    },
    // One minute of failing servers: what the tests of single mechanisms cannot see.
    Step { name: "battery", words: &["cargo", "xtask", "battery", "--smoke"] },
    // Real stacks that are broken: whether the doctor names what was done, one scenario of each family.
    Step { name: "lab", words: &["cargo", "xtask", "lab", "judge", "--smoke", "--debug"] },
    // Real servers and clients: slowest, and pointless while one of the above is red.
    Step { name: "e2e", words: &["python3", "-m", "pytest", "tests/e2e"] },
];

/// Runs the steps, from the one named `from` on, and stops at the first that fails.
pub fn run(root: &Path, from: Option<&str>) -> anyhow::Result<()> {
    let first = match from {
        None => 0,
        Some(name) => STEPS.iter().position(|step| step.name == name).with_context(|| {
            let names: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
            format!("failed to find step '{name}': the steps are {}", names.join(", "))
        })?,
    };
    let path = search_path(root)?;
    let mut times: Vec<(&str, Duration)> = Vec::new();
    for step in STEPS.iter().skip(first) {
        crate::say(&format!("==> {}: {}", step.name, step.words.join(" ")));
        let started = Instant::now();
        run_step(root, step, &path, &summary(&times))?;
        times.push((step.name, started.elapsed()));
    }
    Ok(())
}

/// `PATH` with the virtual environment first: it holds cargo-nextest, cargo-deny and pytest in their pinned versions.
fn search_path(root: &Path) -> anyhow::Result<std::ffi::OsString> {
    let tools = root.join(".venv/bin");
    if !tools.join("pytest").exists() {
        bail!("failed to find {}: run tests/setup.sh first", tools.join("pytest").display());
    }
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(tools).chain(std::env::split_paths(&inherited));
    std::env::join_paths(folders).context("failed to build PATH")
}

fn run_step(root: &Path, step: &Step, path: &std::ffi::OsStr, times: &str) -> anyhow::Result<()> {
    let (program, arguments) = step.words.split_first().expect("a step must name its program");
    let status = Command::new(program)
        .args(arguments)
        .current_dir(root)
        .env("PATH", path)
        // tests/e2e/conftest.py prints it above pytest's closing line.
        .env("CLEARWAY_CI_TIMES", times)
        .status()
        .with_context(|| format!("failed to start '{program}' for step '{}': run tests/setup.sh first", step.name))?;
    if !status.success() {
        bail!("step '{}' failed ({status}); times so far: {times}", step.name);
    }
    Ok(())
}

fn summary(times: &[(&str, Duration)]) -> String {
    let parts: Vec<String> =
        times.iter().map(|(name, time)| format!("{name} {:.1} s", time.as_secs_f64())).collect();
    parts.join(", ")
}
