//! Where the files of a configuration come from: a set that is at hand, or the disk.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::{fs, io};

use super::FILE_BYTES_MAX;

/// Files that one pattern may name, and entries of one folder that are looked at for it.
const MATCHES_MAX: usize = 10_000;

/// Gives the texts of files that are included.
pub trait Files {
    /// The text, or why there is none: a fragment that fits "cannot read X: ...".
    ///
    /// # Errors
    ///
    /// Where there is no such file, or it cannot be read.
    fn text(&self, path: &str) -> Result<String, String>;

    /// The paths that a pattern with `*`, `?` and `[...]` names, sorted.
    fn matching(&self, pattern: &str) -> Vec<String>;
}

/// A set of files that is at hand. An absolute path also finds the one file whose path ends with it, so that a set that was
/// copied elsewhere is read as on its host.
#[derive(Debug, Default)]
pub struct Given {
    files: BTreeMap<String, String>,
}

impl Given {
    pub fn new(files: impl IntoIterator<Item = (String, String)>) -> Given {
        Given { files: files.into_iter().collect() }
    }
}

impl Files for Given {
    fn text(&self, path: &str) -> Result<String, String> {
        if let Some(text) = self.files.get(path) {
            return Ok(text.clone());
        }
        let mut ending =
            self.files.iter().filter(|(known, _)| path.starts_with('/') && known.ends_with(path));
        match (ending.next(), ending.next()) {
            (Some((_, text)), None) => Ok(text.clone()),
            (Some(_), Some(_)) => Err("several of the files given end so".to_owned()),
            (None, _) => Err("it is not among the files given".to_owned()),
        }
    }

    fn matching(&self, pattern: &str) -> Vec<String> {
        let found: Vec<String> = self.files.keys().filter(|path| matches(pattern, path)).cloned().collect();
        if !found.is_empty() || !pattern.starts_with('/') {
            return found;
        }
        let parts = pattern.matches('/').count();
        let ends = |path: &str| {
            let start = path.rmatch_indices('/').nth(parts.saturating_sub(1)).map(|(start, _)| start);
            start.is_some_and(|start| path.get(start..).is_some_and(|end| matches(pattern, end)))
        };
        self.files.keys().filter(|path| ends(path)).cloned().collect()
    }
}

/// The disk, with at most [`FILE_BYTES_MAX`] of a file, and regular files only.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Files for Disk {
    fn text(&self, path: &str) -> Result<String, String> {
        let told = |error: io::Error| error.to_string();
        let about = fs::metadata(path).map_err(told)?;
        if !about.is_file() {
            return Err("it is no regular file".to_owned());
        }
        let mut bytes = Vec::new();
        let limit = FILE_BYTES_MAX as u64 + 1;
        fs::File::open(path).map_err(told)?.take(limit).read_to_end(&mut bytes).map_err(told)?;
        if bytes.len() > FILE_BYTES_MAX {
            return Err(format!("it has more than {FILE_BYTES_MAX} bytes"));
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn matching(&self, pattern: &str) -> Vec<String> {
        if !is_pattern(pattern) {
            return if Path::new(pattern).exists() { vec![pattern.to_owned()] } else { Vec::new() };
        }
        let (mut found, rest) = match pattern.strip_prefix('/') {
            Some(rest) => (vec!["/".to_owned()], rest),
            None => (vec![String::new()], pattern),
        };
        for part in rest.split('/').filter(|part| !part.is_empty()) {
            let mut next = Vec::new();
            for folder in &found {
                if !is_pattern(part) {
                    let path = joined(folder, part);
                    next.extend(Path::new(&path).exists().then_some(path));
                    continue;
                }
                let listed = fs::read_dir(if folder.is_empty() { "." } else { folder });
                let names = listed.into_iter().flatten().take(MATCHES_MAX).flatten();
                let names = names.filter_map(|entry| entry.file_name().into_string().ok());
                // A shell pattern does not name hidden files, unless it begins so.
                let shown = names.filter(|name| !name.starts_with('.') || part.starts_with('.'));
                next.extend(shown.filter(|name| matches(part, name)).map(|name| joined(folder, &name)));
            }
            next.truncate(MATCHES_MAX);
            found = next;
        }
        found.sort();
        found
    }
}

/// Files at hand before those of another source.
pub struct Layered<'a> {
    pub first: &'a dyn Files,
    pub then: &'a dyn Files,
}

impl Files for Layered<'_> {
    fn text(&self, path: &str) -> Result<String, String> {
        self.first.text(path).or_else(|_| self.then.text(path))
    }

    fn matching(&self, pattern: &str) -> Vec<String> {
        let found = self.first.matching(pattern);
        if found.is_empty() { self.then.matching(pattern) } else { found }
    }
}

pub(crate) fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// A path below a folder; an absolute one stays.
pub(crate) fn joined(folder: &str, path: &str) -> String {
    let path = path.strip_prefix("./").unwrap_or(path);
    if path.starts_with('/') || folder.is_empty() {
        return path.to_owned();
    }
    if folder.ends_with('/') { format!("{folder}{path}") } else { format!("{folder}/{path}") }
}

/// The folder that a path stands in; empty for the working directory.
pub(crate) fn folder(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) => "/",
        Some((folder, _)) => folder,
        None => "",
    }
}

/// Whether a path is named by a pattern; `*` and `?` do not pass a slash.
pub(crate) fn matches(pattern: &str, path: &str) -> bool {
    let (pattern, path): (Vec<char>, Vec<char>) = (pattern.chars().collect(), path.chars().collect());
    let (mut at, mut seen) = (0, 0);
    // Where the last star stood and what it had taken: the only place to go back to.
    let mut star: Option<(usize, usize)> = None;
    while seen < path.len() {
        let stepped = match pattern.get(at) {
            Some('*') => {
                star = Some((at, seen));
                at += 1;
                continue;
            }
            Some('?') => path.get(seen).filter(|c| **c != '/').map(|_| 1),
            Some('[') => path.get(seen).and_then(|c| in_class(pattern.get(at..)?, *c)),
            Some(c) => path.get(seen).filter(|seen| *seen == c).map(|_| 1),
            None => None,
        };
        match (stepped, star) {
            (Some(width), _) => {
                at += width;
                seen += 1;
            }
            (None, Some((stood, taken))) if path.get(taken).is_some_and(|c| *c != '/') => {
                star = Some((stood, taken + 1));
                at = stood + 1;
                seen = taken + 1;
            }
            (None, _) => return false,
        }
    }
    pattern.get(at..).is_none_or(|rest| rest.iter().all(|c| *c == '*'))
}

/// The width of a class like `[!a-z]` if the character is in it.
fn in_class(pattern: &[char], c: char) -> Option<usize> {
    let end = pattern.iter().skip(2).position(|c| *c == ']')? + 2;
    let inner = pattern.get(1..end)?;
    let (inner, negated) = match inner {
        ['!' | '^', rest @ ..] => (rest, true),
        rest => (rest, false),
    };
    let mut found = false;
    let mut at = 0;
    while let Some(first) = inner.get(at) {
        match (inner.get(at + 1), inner.get(at + 2)) {
            (Some('-'), Some(last)) => {
                found |= *first <= c && c <= *last;
                at += 3;
            }
            _ => {
                found |= *first == c;
                at += 1;
            }
        }
    }
    (found != negated && c != '/').then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_paths_as_a_shell_does() {
        for (pattern, path, expected) in [
            ("conf.d/*.conf", "conf.d/a.conf", true),
            ("conf.d/*.conf", "conf.d/a.conf.bak", false),
            ("conf.d/*.conf", "conf.d/x/a.conf", false),
            ("*/a?.conf", "conf.d/ab.conf", true),
            ("[0-9]*-x", "10-x", true),
            ("[!0-9]*-x", "10-x", false),
            ("a[", "a[", false),
            ("**", "a", true),
            ("", "", true),
            ("a*b*c", "aXbYbZc", true),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn a_set_that_was_copied_elsewhere_is_found_by_the_end_of_its_paths() {
        let file = |path: &str| (path.to_owned(), format!("# {path}"));
        let given =
            Given::new([file("copy/etc/nginx/conf.d/a.conf"), file("copy/etc/nginx/b.conf"), file("c.conf")]);
        assert_eq!(given.matching("/etc/nginx/conf.d/*.conf"), ["copy/etc/nginx/conf.d/a.conf"]);
        assert_eq!(given.matching("*.conf"), ["c.conf"]);
        assert_eq!(given.matching("/nowhere/*.conf"), Vec::<String>::new());
        assert_eq!(given.text("/etc/nginx/b.conf").as_deref(), Ok("# copy/etc/nginx/b.conf"));
        assert_eq!(given.text("b.conf"), Err("it is not among the files given".to_owned()));
    }
}
