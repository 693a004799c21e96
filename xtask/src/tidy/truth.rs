//! What is written for people must be true: generated files are current, and the examples are valid configurations.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use config::{Lookup, Overrides, Source};

use super::{File, Offence};
use crate::generate::Generated;

pub(super) fn check(files: &[File], generated: &[Generated], offences: &mut Vec<Offence>) {
    let texts: BTreeMap<&str, &str> =
        files.iter().map(|file| (file.path.as_str(), file.text.as_str())).collect();
    for file in generated {
        if texts.get(file.path) != Some(&file.text.as_str()) {
            offences.push(offence(
                "generated",
                file.path,
                "is not current: run 'cargo xtask generate'".to_owned(),
            ));
        }
    }
    for (path, text) in &texts {
        if path.starts_with("examples/") && path.ends_with("/clearway.yaml") {
            let source = Source { name: (*path).to_owned(), text: (*text).to_owned() };
            if let Err(problems) = config::build(&[source], &Overrides::default(), &Checkout(&texts)) {
                offences.push(offence("example", path, format!("is not valid:\n{problems}")));
            }
        }
    }
}

fn offence(rule: &'static str, path: &str, message: String) -> Offence {
    Offence { rule, subject: path.to_owned(), measure: None, message }
}

/// What an example may refer to: the files of the checkout, and no environment variable, because a reader has none.
struct Checkout<'a>(&'a BTreeMap<&'a str, &'a str>);

impl Lookup for Checkout<'_> {
    fn env(&self, _name: &str) -> Option<String> {
        None
    }

    fn file(&self, path: &Path) -> Result<String, io::Error> {
        let text = path.to_str().and_then(|path| self.0.get(path));
        text.map(|text| (*text).to_owned()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}
