//! The configuration as files: which there are, what is in them, and whether they changed.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use config::{Checked, Lookup, Obstacle, Overrides, Problems, Source};
use model::gateway::CertificateFiles;

use crate::read_file;

/// Read when nothing else is named.
pub(crate) const DEFAULT_FILE: &str = "clearway.yaml";

/// Where the configuration comes from.
#[derive(Clone, Debug)]
pub(crate) struct Sources {
    /// Files and directories.
    pub(crate) paths: Vec<PathBuf>,
    pub(crate) overrides: Overrides,
}

/// Why there is no configuration.
#[derive(Debug)]
pub(crate) enum LoadError {
    /// A file or directory could not be read.
    Unreadable(anyhow::Error),
    Problems(Problems),
}

impl std::fmt::Display for LoadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LoadError::Unreadable(error) => write!(f, "{error:#}"),
            LoadError::Problems(problems) => {
                let errors = problems.errors();
                let s = if errors == 1 { "" } else { "s" };
                write!(f, "the configuration has {errors} error{s}:\n{problems}")
            }
        }
    }
}

impl std::error::Error for LoadError {}

impl Sources {
    /// The paths that were named, or the default file if there is one and nothing else says what to serve.
    pub(crate) fn new(named: Vec<PathBuf>, overrides: Overrides) -> Sources {
        let default = Path::new(DEFAULT_FILE);
        let paths = match named.is_empty() && overrides.to.is_none() && default.exists() {
            true => vec![default.to_owned()],
            false => named,
        };
        Sources { paths, overrides }
    }

    /// Reads and checks everything.
    pub(crate) fn load(&self) -> Result<Checked, LoadError> {
        let sources = self.read()?;
        config::build(&sources, &self.overrides, &Outside).map_err(LoadError::Problems)
    }

    fn read(&self) -> Result<Vec<Source>, LoadError> {
        let mut problems = Vec::new();
        let mut sources = Vec::new();
        for path in self.files().map_err(LoadError::Unreadable)? {
            let name = path.display().to_string();
            let bytes = read_file::at_most(&path, config::SOURCE_BYTES_MAX)
                .with_context(|| format!("failed to read {name}"))
                .map_err(LoadError::Unreadable)?;
            match Source::from_bytes(name, bytes) {
                Ok(source) => sources.push(source),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(sources) } else { Err(LoadError::Problems(Problems(problems))) }
    }

    /// Every configuration file, those of directories in the order of their names.
    fn files(&self) -> anyhow::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for path in &self.paths {
            let kind = fs::metadata(path).with_context(|| format!("failed to read {}", path.display()))?;
            if !kind.is_dir() {
                files.push(path.clone());
                continue;
            }
            let found = in_directory(path).with_context(|| format!("failed to list {}", path.display()))?;
            if found.is_empty() {
                bail!("{} holds no .yaml file", path.display());
            }
            files.extend(found);
        }
        Ok(files)
    }
}

fn in_directory(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let is_yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if is_yaml && !is_hidden && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The environment and the file system, for what a configuration refers to.
struct Outside;

impl Lookup for Outside {
    fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn file(&self, path: &Path) -> io::Result<String> {
        let bytes = read_file::at_most(path, config::FILE_BYTES_MAX)?;
        if bytes.len() > config::FILE_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    fn certificate(&self, files: &CertificateFiles) -> Result<(), String> {
        upstream::tls::certified_key(files).map(drop)
    }

    fn authorities(&self, path: &Path) -> Result<(), String> {
        upstream::tls::authorities(path).map(drop)
    }

    fn obstacle(&self, path: &Path) -> Option<Obstacle> {
        if path.is_dir() {
            return Some(Obstacle::Directory);
        }
        // A name alone is in the working directory, which is there.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty())?;
        (!folder.is_dir()).then_some(Obstacle::NoDirectory)
    }
}

/// What tells one state of the files from another without reading them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fingerprint(Vec<(PathBuf, Option<FileState>)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileState {
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Fingerprint {
    /// How the files are now: those of the sources, and those that they name. Links are followed, because a mounted
    /// secret changes by a change of its link.
    pub(crate) fn take(sources: &Sources, named: &[PathBuf]) -> Fingerprint {
        let mut paths: BTreeSet<PathBuf> = named.iter().cloned().collect();
        for path in &sources.paths {
            paths.insert(path.clone());
            if path.is_dir() {
                paths.extend(in_directory(path).unwrap_or_default());
            }
        }
        Fingerprint(paths.into_iter().map(|path| (path.clone(), FileState::of(&path))).collect())
    }
}

impl FileState {
    fn of(path: &Path) -> Option<FileState> {
        let metadata = fs::metadata(path).ok()?;
        // Editors leave other files in a directory; those inside that matter stand for themselves.
        let is_dir = metadata.is_dir();
        Some(FileState {
            inode: metadata.ino(),
            size: if is_dir { 0 } else { metadata.size() },
            modified: if is_dir { (0, 0) } else { (metadata.mtime(), metadata.mtime_nsec()) },
        })
    }
}
