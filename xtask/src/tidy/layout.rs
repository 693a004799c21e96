//! Where things stand and what they are called.

use super::{File, Offence};

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["common", "helper", "helpers", "misc", "util", "utils"];

pub(super) fn check(files: &[File], offences: &mut Vec<Offence>) {
    for file in files {
        let mut offend = |rule, message: &str| {
            offences.push(Offence {
                rule,
                subject: file.path.clone(),
                measure: None,
                message: message.to_owned(),
            });
        };
        if file.is_rust() || file.path.ends_with(".py") {
            let words = file.path.split(['/', '.']);
            if words.into_iter().any(|word| EMPTY_NAMES.contains(&word)) {
                offend("empty-name", "name it after what is inside");
            }
        }
        if file.is_rust() {
            if file.path.ends_with("/mod.rs") {
                offend("no-mod-rs", "write foo.rs beside foo/");
            }
            if !file.text.starts_with("//!") {
                offend("module-doc", "begin with //! and say what this file is for and what it does not do");
            }
            if let Some(expected) = wrong_test_binary(&file.path) {
                offend(
                    "one-test-binary",
                    &format!("make it a module of {expected}: each binary is linked anew"),
                );
            }
        }
    }
}

/// Integration tests of a crate are one binary, `tests/<crate>.rs` with its modules in `tests/<crate>/`.
fn wrong_test_binary(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.split('/').collect();
    let (folder, name, file) = match parts.as_slice() {
        ["crates", name, "tests", file] => (format!("crates/{name}"), *name, *file),
        [name @ "xtask", "tests", file] => ((*name).to_owned(), *name, *file),
        _ => return None,
    };
    (file.strip_suffix(".rs") != Some(name)).then(|| format!("{folder}/tests/{name}.rs"))
}
