//! Programs that the chores start: where they are, which version they have, and how Clearway itself is built.
//!
//! Installs nothing: `tests/setup.sh` does.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

/// A program of Debian; daemons live in `/usr/sbin`, which is not on everybody's `PATH`.
pub(crate) fn find_program(name: &str) -> anyhow::Result<PathBuf> {
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&inherited).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .with_context(|| format!("{name} is not installed: run 'tests/setup.sh bench'"))
}

/// The first word that looks like a version: `nginx version: nginx/1.22.1` is `1.22.1`.
pub(crate) fn version_in(text: &str) -> String {
    let mut words = text.split(|c: char| c.is_whitespace() || c == '/');
    let is_version = |word: &str| word.contains('.') && word.starts_with(|c: char| c.is_ascii_digit());
    let version = words.find_map(|word| {
        let word = word.trim_start_matches('v');
        is_version(word).then(|| word.to_owned())
    });
    version.unwrap_or_else(|| "unknown".to_owned())
}

/// How Clearway is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// As for tests: it is there already where they have run.
    Debug,
    Release,
}

/// Builds Clearway, and says where it is.
pub(crate) fn build(root: &Path, profile: Profile) -> anyhow::Result<PathBuf> {
    let mut command = Command::new("cargo");
    command.args(["build", "--locked", "--package", "clearway"]).current_dir(root);
    let folder = match profile {
        Profile::Debug => "debug",
        Profile::Release => {
            command.arg("--release");
            "release"
        }
    };
    let status = command.status().context("failed to start cargo")?;
    if !status.success() {
        bail!("failed to build Clearway ({status})");
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(target.join(folder).join("clearway"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        let check = |text: &str, expect: &str| assert_eq!(version_in(text), expect, "{text}");
        check("nginx version: nginx/1.22.1", "1.22.1");
        check("HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/", "2.6.12-1+deb12u4");
        check("v2.11.7 h1:abc=", "2.11.7");
        check("envoy  version: 0123abcd/1.40.0/Clean/RELEASE/BoringSSL", "1.40.0");
        check("no version here", "unknown");
    }
}
