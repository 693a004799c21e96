//! What every step of reading needs: the names of the sources, the outside world, and the list of problems so far.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::suggest::nearest;
use crate::tree::Place;
use crate::{Lookup, Problem, Severity, Source};

/// Names that are searched for something similar; a search among many names is the dearest thing here, and nobody
/// reads more suggestions.
const SUGGESTIONS_MAX: usize = 200;

/// The largest file that the configuration may name: an error page or a secret is far smaller.
pub const FILE_BYTES_MAX: usize = 1 << 20;

pub(crate) struct Ctx<'c> {
    names: Vec<String>,
    pub(crate) lookup: &'c dyn Lookup,
    problems: Vec<(Place, Problem)>,
    files: BTreeSet<PathBuf>,
    suggestions: usize,
}

impl<'c> Ctx<'c> {
    pub(crate) fn new(sources: &[Source], lookup: &'c dyn Lookup) -> Ctx<'c> {
        let names = sources.iter().map(|source| source.name.clone()).collect();
        Ctx { names, lookup, problems: Vec::new(), files: BTreeSet::new(), suggestions: 0 }
    }

    /// A place that is no file, such as a command-line option.
    pub(crate) fn option(&mut self, name: &str) -> Place {
        self.names.push(name.into());
        Place::whole(self.names.len() - 1)
    }

    pub(crate) fn error(&mut self, place: Place, message: impl Into<String>) {
        self.push(Severity::Error, place, message.into(), None);
    }

    pub(crate) fn error_with(&mut self, place: Place, message: impl Into<String>, hint: impl Into<String>) {
        self.push(Severity::Error, place, message.into(), Some(hint.into()));
    }

    pub(crate) fn warn(&mut self, place: Place, message: impl Into<String>, hint: impl Into<String>) {
        self.push(Severity::Warning, place, message.into(), Some(hint.into()));
    }

    pub(crate) fn push(&mut self, severity: Severity, place: Place, message: String, hint: Option<String>) {
        let file = self.name(place).to_owned();
        let problem = Problem { severity, file, line: place.line, column: place.column, message, hint };
        // A copied alias would complain once per copy.
        let entry = (place, problem);
        if !self.problems.iter().rev().take(200).any(|known| *known == entry) {
            self.problems.push(entry);
        }
    }

    /// The candidate that a wrong name was probably meant to be.
    pub(crate) fn nearest<'n>(
        &mut self,
        text: &str,
        candidates: impl IntoIterator<Item = &'n str>,
    ) -> Option<&'n str> {
        self.suggestions += 1;
        if self.suggestions > SUGGESTIONS_MAX { None } else { nearest(text, candidates) }
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.problems.iter().any(|(_, problem)| problem.severity == Severity::Error)
    }

    /// Another place for a message: only the line if it is the same source.
    pub(crate) fn place_seen_from(&self, other: Place, from: Place) -> String {
        match (other.file == from.file, other.line) {
            (_, 0) => self.name(other).to_owned(),
            (true, line) => format!("line {line}"),
            (false, line) => format!("{}:{line}", self.name(other)),
        }
    }

    fn name(&self, place: Place) -> &str {
        self.names.get(place.file).map_or("", String::as_str)
    }

    /// A path as the process can open it: relative ones are relative to the file that names them.
    pub(crate) fn resolve(&self, place: Place, path: &Path) -> PathBuf {
        let base = match place.line {
            0 => Path::new(""),
            _ => Path::new(self.name(place)).parent().unwrap_or(Path::new("")),
        };
        let path = path.strip_prefix("./").unwrap_or(path);
        base.join(path)
    }

    pub(crate) fn env(&self, name: &str) -> Option<String> {
        self.lookup.env(name)
    }

    /// The text of a file that the configuration names, resolved already. The error says what to tell the user.
    pub(crate) fn read(&mut self, path: &Path) -> Result<String, String> {
        self.files.insert(path.to_owned());
        let text = self.lookup.file(path).map_err(|error| {
            let reason = match error.kind() {
                std::io::ErrorKind::FileTooLarge => return too_large(path),
                std::io::ErrorKind::NotFound => "there is no such file".into(),
                std::io::ErrorKind::PermissionDenied => "this user may not read it".into(),
                std::io::ErrorKind::InvalidData => "it is not UTF-8 text".into(),
                std::io::ErrorKind::IsADirectory => "it is a directory".into(),
                _ => error.to_string(),
            };
            format!("cannot read `{}`: {reason}", path.display())
        })?;
        if text.len() > FILE_BYTES_MAX {
            return Err(too_large(path));
        }
        Ok(text)
    }

    /// The problems in the order of the sources and lines, and every file that was named.
    pub(crate) fn finish(mut self) -> (Vec<Problem>, Vec<PathBuf>) {
        self.problems.sort_by_key(|(place, _)| *place);
        let problems = self.problems.into_iter().map(|(_, problem)| problem).collect();
        (problems, self.files.into_iter().collect())
    }
}

fn too_large(path: &Path) -> String {
    format!("`{}` must be at most {} MiB", path.display(), FILE_BYTES_MAX >> 20)
}
