//! nginx: its configuration file with includes, and what `nginx -T` prints.
//!
//! A fragment (a file of `conf.d` or `sites-enabled`, a few lines of a location) is read as if it stood where it belongs.

mod defaults;
mod route;
mod scope;
mod site;
mod tree;
mod upstream;

use std::sync::Arc;

use super::files::{Files, Given, Layered};
use super::{Part, Source};

pub(super) const PRODUCT: &str = "nginx";

pub(super) fn read(source: &Source, files: &dyn Files, part: &mut Part) {
    let dumped = dump(&source.text);
    let directives = match dumped.first() {
        Some((path, text)) => {
            let (path, text) = (path.clone(), text.clone());
            // The files of a dump are those that nginx read; the disk may have others by now.
            let given = Given::new(dumped);
            tree::parse(&path, &text, &Layered { first: &given, then: &Given::default() }, part)
        }
        None => tree::parse(&source.path, &source.text, files, part),
    };
    let path: Arc<str> = Arc::from(source.path.as_str());
    site::read(&directives, &path, part);
}

/// The files of a dump: `nginx -T` writes `# configuration file PATH:` before each, the main one first.
fn dump(text: &str) -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = Vec::new();
    for line in text.split_inclusive('\n') {
        let header =
            line.trim_end().strip_prefix("# configuration file ").and_then(|rest| rest.strip_suffix(':'));
        match (header, files.last_mut()) {
            (Some(path), _) => files.push((path.to_owned(), String::new())),
            (None, Some((_, text))) => text.push_str(line),
            (None, None) => {}
        }
    }
    files
}
