//! Which program this process is, so that it can be started again: its path, its arguments, and where the path leads now.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// As this process was started.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) arguments: Vec<OsString>,
}

impl Program {
    /// To be asked at the start, while the name that the process was called by still means this program.
    pub(crate) fn this() -> std::io::Result<Program> {
        let running = without_mark(env::current_exe()?);
        let mut words = env::args_os();
        let called = words.next().map(PathBuf::from).unwrap_or_default();
        Ok(Program { path: by_name(&called, &running).unwrap_or(running), arguments: words.collect() })
    }
}

/// The name that it was called by is better than the file that it led to: where versions lie side by side, a link points to
/// the one to use.
fn by_name(called: &Path, running: &Path) -> Option<PathBuf> {
    let is_running = |path: &PathBuf| identity(path).is_some_and(|found| identity(running) == Some(found));
    if called.as_os_str().as_bytes().contains(&b'/') {
        return std::path::absolute(called).ok().filter(is_running);
    }
    let places = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&places).map(|place| place.join(called)).find(is_running)
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// proc_pid_exe(5): the path of a program whose file was replaced ends so. The new file has the path without it.
fn without_mark(path: PathBuf) -> PathBuf {
    match path.as_os_str().as_bytes().strip_suffix(b" (deleted)") {
        Some(before) if !path.exists() => PathBuf::from(OsString::from_vec(before.to_vec())),
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_is_found_by_its_path_and_a_link_by_its_name() {
        assert_eq!(without_mark("/usr/bin/clearway (deleted)".into()), Path::new("/usr/bin/clearway"));
        let folder = tempfile::tempdir().unwrap();
        let (version, link) = (folder.path().join("clearway-1 (deleted)"), folder.path().join("current"));
        fs::write(&version, "").unwrap();
        std::os::unix::fs::symlink(&version, &link).unwrap();
        assert_eq!(without_mark(version.clone()), version);
        assert_eq!(by_name(&link, &version), Some(link.clone()));
        // A made-up name says nothing.
        assert_eq!(by_name(Path::new("/bin/sh"), &version), None);
        assert_eq!(by_name(Path::new("clearway: worker"), &version), None);
    }
}
