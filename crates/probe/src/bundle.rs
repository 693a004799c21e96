//! A bundle: what was collected on one machine, to be looked at on another.
//!
//! A folder or a `.tar.gz` of it:
//!
//! ```text
//! manifest.txt       name=value lines: version, made, zone (seconds ahead of UTC), host
//! evidence.txt       one line of evidence each: sockets, processes, settings ... as they were
//! files/etc/nginx/nginx.conf ...  logs and configurations below their own paths
//! ```
//!
//! A folder that `clearway collect` did not make is a bundle as well: every file in it is looked at.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use model::{Evidence, Moment};

/// Files in a bundle: a machine has some dozens of logs; more is a mistake, or an attack on whoever unpacks it.
const FILES_MAX: usize = 10_000;
/// Bytes of a bundle, unpacked: room for gigabytes of logs, none for a bomb.
const BYTES_MAX: u64 = 16 << 30;
/// The manifest and the evidence are read into memory.
const TEXT_BYTES_MAX: u64 = 64 << 20;
/// How deep folders may lie in each other.
const DEPTH_MAX: usize = 64;

const MANIFEST: &str = "manifest.txt";
const EVIDENCE: &str = "evidence.txt";
const FILES: &str = "files";

/// What is in a bundle.
#[derive(Debug, Default)]
pub struct Bundle {
    pub files: Vec<BundleFile>,
    pub evidence: Vec<Evidence>,
    /// When it was made, and so the present of what it tells.
    pub made: Option<Moment>,
    /// How far the machine's clock zone is ahead of UTC.
    pub zone_seconds: Option<i64>,
    /// The URL it was collected for.
    pub target: Option<String>,
    /// Lines of evidence that could not be read, with the reason.
    pub problems: Vec<String>,
}

/// One file of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleFile {
    /// What to call it: its path on the machine it came from.
    pub shown: String,
    /// Where it can be read.
    pub real: PathBuf,
}

/// Why a bundle cannot be read or written; a fragment that fits "failed to ...".
#[derive(Debug)]
pub enum BundleError {
    Io {
        what: String,
        error: io::Error,
    },
    /// It is not what a bundle may be.
    Refused(String),
}

impl std::fmt::Display for BundleError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BundleError::Io { what, error } => write!(f, "{what}: {error}"),
            BundleError::Refused(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for BundleError {}

fn io_error(what: impl std::fmt::Display) -> impl FnOnce(io::Error) -> BundleError {
    let what = what.to_string();
    |error| BundleError::Io { what, error }
}

/// Reads the bundle in a folder.
pub fn read(folder: &Path) -> Result<Bundle, BundleError> {
    let mut bundle = Bundle::default();
    let files = folder.join(FILES);
    let own = files.is_dir();
    let root = if own { &files } else { folder };
    let mut paths = Vec::new();
    walk(root, 0, &mut paths)?;
    paths.sort();
    for real in paths {
        let below = real.strip_prefix(root).unwrap_or(&real);
        let of_bundle = below.components().count() == 1
            && [MANIFEST, EVIDENCE].iter().any(|name| below == Path::new(name));
        if !of_bundle {
            let shown = if own { Path::new("/").join(below) } else { real.clone() };
            bundle.files.push(BundleFile { shown: shown.display().to_string(), real });
        }
    }
    if let Some(text) = read_text(&folder.join(MANIFEST))? {
        manifest(&mut bundle, &text);
    }
    if let Some(text) = read_text(&folder.join(EVIDENCE))? {
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            match line.parse() {
                Ok(evidence) => bundle.evidence.push(evidence),
                Err(error) => bundle.problems.push(format!("{EVIDENCE}:{}: {error}", index + 1)),
            }
        }
    }
    Ok(bundle)
}

/// Unpacks a `.tar.gz` into an empty folder. Takes plain files and folders only, and none that would leave the folder.
pub fn unpack(archive: &Path, folder: &Path) -> Result<(), BundleError> {
    let file = File::open(archive).map_err(io_error(format!("open {}", archive.display())))?;
    let mut archive_reader = tar::Archive::new(GzDecoder::new(file).take(BYTES_MAX));
    let reading = || format!("read {}", archive.display());
    let mut bytes = 0;
    for (count, entry) in archive_reader.entries().map_err(io_error(reading()))?.enumerate() {
        let mut entry = entry.map_err(io_error(reading()))?;
        if count >= FILES_MAX {
            return Err(BundleError::Refused(format!(
                "{} has more than {FILES_MAX} entries",
                archive.display()
            )));
        }
        let path = entry.path().map_err(io_error(reading()))?.into_owned();
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            continue;
        }
        let safe = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !safe || path.components().count() > DEPTH_MAX {
            return Err(BundleError::Refused(format!(
                "'{}' would leave the folder of the bundle",
                path.display()
            )));
        }
        if !kind.is_file() {
            return Err(BundleError::Refused(format!("'{}' is neither a file nor a folder", path.display())));
        }
        let to = folder.join(&path);
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).map_err(io_error(format!("make {}", parent.display())))?;
        }
        let mut out = File::create(&to).map_err(io_error(format!("write {}", to.display())))?;
        let left = BYTES_MAX - bytes;
        bytes += io::copy(&mut (&mut entry).take(left), &mut out).map_err(io_error(reading()))?;
        if bytes >= BYTES_MAX {
            return Err(BundleError::Refused(format!(
                "{} is larger than {BYTES_MAX} bytes",
                archive.display()
            )));
        }
    }
    Ok(())
}

/// What goes into a bundle.
#[derive(Debug, Default)]
pub struct Contents {
    pub made: Option<Moment>,
    pub zone_seconds: i64,
    pub host: String,
    pub target: String,
    pub version: String,
    pub evidence: Vec<Evidence>,
    /// Paths on this machine, and their redacted text.
    pub files: Vec<(String, String)>,
}

/// Writes a bundle as `.tar.gz`, readable by its owner only. Puts it in place whole, or not at all.
pub fn write(contents: &Contents, to: &Path) -> Result<(), BundleError> {
    let mut part = to.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let result = write_part(contents, &part)
        .and_then(|()| fs::rename(&part, to).map_err(io_error(format!("rename {}", part.display()))));
    if result.is_err() {
        // Left behind only if it cannot be removed either.
        let _ = fs::remove_file(&part);
    }
    result
}

fn write_part(contents: &Contents, part: &Path) -> Result<(), BundleError> {
    use std::os::unix::fs::OpenOptionsExt;
    let writing = || format!("write {}", part.display());
    let file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(part)
        .map_err(io_error(writing()))?;
    let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::default()));
    let mut add = |path: &Path, text: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(contents.made.map_or(0, |made| (made.0 / 1000).max(0) as u64));
        header.set_cksum();
        archive.append_data(&mut header, path, text.as_bytes()).map_err(io_error(writing()))
    };
    let mut manifest = format!(
        "version={}\nzone={}\nhost={}\ntarget={}\n",
        contents.version, contents.zone_seconds, contents.host, contents.target
    );
    if let Some(made) = contents.made {
        manifest.push_str(&format!("made={made}\n"));
    }
    add(Path::new(MANIFEST), &manifest)?;
    let evidence: String = contents.evidence.iter().map(|evidence| format!("{evidence}\n")).collect();
    add(Path::new(EVIDENCE), &evidence)?;
    for (path, text) in &contents.files {
        let below: PathBuf =
            Path::new(path).components().filter(|part| matches!(part, Component::Normal(_))).collect();
        add(&Path::new(FILES).join(below), text)?;
    }
    let mut file = archive.into_inner().and_then(GzEncoder::finish).map_err(io_error(writing()))?;
    file.flush().and_then(|()| file.sync_all()).map_err(io_error(writing()))
}

fn manifest(bundle: &mut Bundle, text: &str) {
    for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
        match name {
            "made" => bundle.made = value.parse().ok(),
            "zone" => bundle.zone_seconds = value.parse().ok(),
            "target" => bundle.target = Some(value.to_owned()).filter(|target| !target.is_empty()),
            // A later version may say more.
            _ => {}
        }
    }
}

fn walk(folder: &Path, depth: usize, paths: &mut Vec<PathBuf>) -> Result<(), BundleError> {
    if depth > DEPTH_MAX {
        return Err(BundleError::Refused(format!("{} lies too deep", folder.display())));
    }
    for entry in fs::read_dir(folder).map_err(io_error(format!("read {}", folder.display())))? {
        let entry = entry.map_err(io_error(format!("read {}", folder.display())))?;
        let kind = entry.file_type().map_err(io_error(format!("read {}", entry.path().display())))?;
        if kind.is_dir() {
            walk(&entry.path(), depth + 1, paths)?;
        } else if kind.is_file() {
            paths.push(entry.path());
        }
        if paths.len() > FILES_MAX {
            return Err(BundleError::Refused(format!(
                "{} has more than {FILES_MAX} files",
                folder.display()
            )));
        }
    }
    Ok(())
}

fn read_text(path: &Path) -> Result<Option<String>, BundleError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(io_error(format!("open {}", path.display())))?,
    };
    let mut bytes = Vec::new();
    file.take(TEXT_BYTES_MAX)
        .read_to_end(&mut bytes)
        .map_err(io_error(format!("read {}", path.display())))?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("b.tar.gz");
        let contents = Contents {
            made: Some(Moment(1_764_000_000_000)),
            zone_seconds: 3600,
            host: "web1".to_owned(),
            target: "http://x/".to_owned(),
            version: "1".to_owned(),
            evidence: vec![Evidence::new("target").with("addr", "127.0.0.1:8000").with("listening", "no")],
            files: vec![("/var/log/nginx/error.log".to_owned(), "line\n".to_owned())],
        };
        write(&contents, &file).expect("it must be written");
        let to = folder.path().join("unpacked");
        fs::create_dir(&to).expect("a folder");
        unpack(&file, &to).expect("it must be unpacked");
        let bundle = read(&to).expect("it must be read");
        assert_eq!(bundle.evidence, contents.evidence);
        assert_eq!((bundle.made, bundle.zone_seconds), (contents.made, Some(3600)));
        assert_eq!(bundle.target.as_deref(), Some("http://x/"));
        assert_eq!(bundle.files.len(), 1);
        assert_eq!(bundle.files[0].shown, "/var/log/nginx/error.log");
        assert_eq!(fs::read_to_string(&bundle.files[0].real).expect("the file"), "line\n");
    }

    #[test]
    fn an_archive_that_leaves_its_folder_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("b.tar.gz");
        for (name, kind, expected) in [
            ("../x", tar::EntryType::Regular, "'../x' would leave the folder of the bundle"),
            ("/etc/x", tar::EntryType::Regular, "'/etc/x' would leave the folder of the bundle"),
            ("link", tar::EntryType::Symlink, "'link' is neither a file nor a folder"),
        ] {
            let mut archive =
                tar::Builder::new(GzEncoder::new(File::create(&file).expect("a file"), Compression::fast()));
            let mut header = tar::Header::new_gnu();
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(kind);
            header.set_size(0);
            header.set_cksum();
            archive.append(&header, io::empty()).expect("it must be written");
            archive.into_inner().and_then(GzEncoder::finish).expect("it must be written");
            let error = unpack(&file, folder.path()).expect_err("it must be refused");
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn what_is_no_archive_and_a_folder_of_anybody_are_read_as_they_are() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("error.log");
        fs::write(&file, "not gzip").expect("a file");
        let error = unpack(&file, folder.path()).expect_err("it must be refused");
        assert!(error.to_string().starts_with("read "), "{error}");
        let bundle = read(folder.path()).expect("it must be read");
        assert_eq!(bundle.files, [BundleFile { shown: file.display().to_string(), real: file }]);
    }
}
