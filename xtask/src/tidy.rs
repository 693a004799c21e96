//! `cargo xtask tidy`: the habits of this repository that no compiler checks.
//!
//! Each rule reads the checkout and reports offenders. Offenders known today may be listed in `xtask/offenders.txt`;
//! that list may only shrink: an entry that no longer offends, or offends less, is itself an error. Rules look at
//! text and names; what clippy or rustfmt can say is left to them.

mod dependencies;
mod layout;
mod lexer;
mod offenders;
mod size;
mod truth;
mod words;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::generate::{self, Generated};

pub use lexer::mask;
pub use size::{Function, functions};

/// Folders that hold nothing of ours.
const FOREIGN: &[&str] =
    &[".git", ".tools", ".venv", ".venv-lab", "__pycache__", "clearway-data", "node_modules", "target"];

/// One breach of a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offence {
    pub rule: &'static str,
    /// What offends, as it would stand in the list of offenders: a path, or a path and a name.
    pub subject: String,
    /// How much it offends, for rules that have a measure.
    pub measure: Option<usize>,
    /// What to do about it.
    pub message: String,
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.rule, self.subject, self.message)
    }
}

/// A text file of the checkout.
#[derive(Debug)]
pub struct File {
    /// Relative to the root, with `/`.
    pub path: String,
    pub text: String,
}

impl File {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

/// Checks the checkout at `root`; an error lists every offence.
pub fn run(root: &Path) -> anyhow::Result<()> {
    judge(&read(root)?, &generate::all())
}

/// An error that lists every offence in `files` which the list of offenders among them does not excuse.
pub fn judge(files: &[File], generated: &[Generated]) -> anyhow::Result<()> {
    let listed = files.iter().find(|file| file.path == offenders::PATH).map_or("", |file| file.text.as_str());
    let offences = offenders::apply(listed, check(files, generated));
    if offences.is_empty() {
        crate::say(&format!("tidy: {} files are in order", files.len()));
        return Ok(());
    }
    let lines: Vec<String> = offences.iter().map(Offence::to_string).collect();
    bail!("{} untidy:\n{}", lines.len(), lines.join("\n"))
}

/// Every offence in `files`, whether listed or not; `generated` is what should be among them.
pub fn check(files: &[File], generated: &[Generated]) -> Vec<Offence> {
    let mut offences = Vec::new();
    size::check(files, &mut offences);
    layout::check(files, &mut offences);
    dependencies::check(files, &mut offences);
    words::check(files, &mut offences);
    truth::check(files, generated, &mut offences);
    offences.sort();
    offences
}

/// Reads every text file under `root` that is ours, in the order of their paths.
pub fn read(root: &Path) -> anyhow::Result<Vec<File>> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries =
            fs::read_dir(&folder).with_context(|| format!("failed to list {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if FOREIGN.contains(&name) || path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if let Some(file) = read_text(root, &path)? {
                files.push(file);
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// `None` for files that are not UTF-8: recordings, corpora, pictures. One that vanished meanwhile is none either.
fn read_text(root: &Path, path: &PathBuf) -> anyhow::Result<Option<File>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("failed to read {}", path.display())),
    };
    let relative = path.strip_prefix(root).expect("a file must lie under the root that was walked");
    let path = relative.to_string_lossy().into_owned();
    Ok(String::from_utf8(bytes).ok().map(|text| File { path, text }))
}
