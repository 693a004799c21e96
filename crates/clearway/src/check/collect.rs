//! Which files are to be checked, and whose they are: told from their names and texts.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use probe::config::{FILE_BYTES_MAX, Format, Source};

use crate::read_file;

/// Folders in folders that are looked into.
const DEPTH_MAX: usize = 12;
/// Files of all directories: a checkout of a large project has some ten thousand.
const FILES_MAX: usize = 50_000;
/// Files that are told apart by their text; larger ones in directories are no configurations.
const SNIFFED_BYTES_MAX: u64 = FILE_BYTES_MAX as u64;
/// Folders that hold nothing that is in force.
const PASSED_OVER: &[&str] =
    &[".git", ".venv", "__pycache__", "node_modules", "site-packages", "target", "venv"];

/// Files by whose they are.
#[derive(Debug, Default)]
pub(super) struct Collected {
    /// Clearway's own: files and directories as they were named; `None` where only others were named.
    pub(super) own: Option<Vec<PathBuf>>,
    pub(super) foreign: Vec<Source>,
    /// Files of directories that are neither.
    pub(super) skipped: usize,
}

pub(super) fn collect(named: &[PathBuf]) -> anyhow::Result<Collected> {
    let mut collected = Collected::default();
    if named.is_empty() {
        collected.own = Some(Vec::new());
    }
    for path in named {
        let kind = fs::metadata(path).with_context(|| format!("failed to read {}", path.display()))?;
        if kind.is_dir() {
            directory(path, &mut collected)?;
        } else {
            file(path, &mut collected)?;
        }
    }
    Ok(collected)
}

/// A file that was named: what is nobody else's is Clearway's.
fn file(path: &Path, collected: &mut Collected) -> anyhow::Result<()> {
    let mut own = || collected.own.get_or_insert_default().push(path.to_owned());
    // What is no regular file of a bounded size is refused where Clearway's own files are read.
    let regular = fs::metadata(path).is_ok_and(|kind| kind.is_file() && kind.len() <= SNIFFED_BYTES_MAX);
    if !regular {
        own();
        return Ok(());
    }
    let bytes = read_file::at_most(path, FILE_BYTES_MAX)
        .with_context(|| format!("failed to read {}", path.display()))?;
    let text = String::from_utf8_lossy(&bytes);
    match source(path, &text) {
        Some(source) => collected.foreign.push(source),
        None => own(),
    }
    Ok(())
}

fn source(path: &Path, text: &str) -> Option<Source> {
    let path = path.display().to_string();
    let path = path.strip_prefix("./").unwrap_or(&path).to_owned();
    let format = Format::of(&path, text)?;
    Some(Source { path, text: text.to_owned(), format: Some(format) })
}

/// A directory that was named. Without any file of another product in it, it is one of Clearway's own.
fn directory(path: &Path, collected: &mut Collected) -> anyhow::Result<()> {
    let mut files = Vec::new();
    walk(path, 0, &mut files).with_context(|| format!("failed to list {}", path.display()))?;
    if files.len() >= FILES_MAX {
        bail!("{} holds more than {FILES_MAX} files: name those that are meant", path.display());
    }
    files.sort();
    let mut foreign = Vec::new();
    let mut own = Vec::new();
    let mut skipped = 0;
    for file in &files {
        let fits = fs::metadata(file).is_ok_and(|kind| kind.len() <= SNIFFED_BYTES_MAX);
        let bytes =
            if fits { read_file::at_most(file, FILE_BYTES_MAX).unwrap_or_default() } else { Vec::new() };
        let Ok(text) = String::from_utf8(bytes) else {
            skipped += 1;
            continue;
        };
        match source(file, &text) {
            Some(source) => foreign.push(source),
            None if file.parent() == Some(path) && is_own(file, &text) => own.push(file.clone()),
            None => skipped += 1,
        }
    }
    if foreign.is_empty() {
        collected.own.get_or_insert_default().push(path.to_owned());
        return Ok(());
    }
    if !own.is_empty() {
        collected.own.get_or_insert_default().extend(own);
    }
    collected.foreign.extend(foreign);
    collected.skipped += skipped;
    Ok(())
}

fn walk(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if files.len() >= FILES_MAX {
            return Ok(());
        }
        if path.is_dir() {
            // Links to folders are not followed: they may lead back.
            if depth < DEPTH_MAX && !PASSED_OVER.contains(&name) && !path.is_symlink() {
                walk(&path, depth + 1, files)?;
            }
        } else if path.is_file() && !name.starts_with('.') {
            files.push(path);
        }
    }
    Ok(())
}

/// YAML whose keys at the top are all Clearway's.
fn is_own(path: &Path, text: &str) -> bool {
    let is_yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    let mut keys = text
        .lines()
        .filter(|line| !line.starts_with([' ', '\t', '#', '-', '}', ']']) && !line.trim().is_empty())
        .filter_map(|line| line.split_once(':').map(|(key, _)| key.trim()))
        .peekable();
    is_yaml && keys.peek().is_some() && keys.all(::config::is_root_key)
}
