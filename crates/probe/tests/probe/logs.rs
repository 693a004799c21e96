//! Logs that real programs wrote (`fixtures/`), and the evidence that is read from them.
//!
//! `UPDATE_EXPECT=1 cargo test -p probe` writes what is read now beside each log; the difference is then read by a person.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use model::evidence::Place;
use probe::parse::{self, Lines};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures");

/// Every log below the folder, in the order of their names.
fn logs(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    let mut found = Vec::new();
    for entry in entries {
        if entry.is_dir() {
            found.extend(logs(&entry));
        } else if entry.extension().is_some_and(|extension| extension == "log") {
            found.push(entry);
        }
    }
    found
}

fn read(path: &str, text: &str) -> String {
    let format = parse::sniff(path, text);
    let mut out = format!("format: {}\n", format.map_or("unknown", parse::Format::name));
    let now = "2026-11-26T12:00:00Z".parse().ok();
    let boot = "2026-11-26T09:00:00Z".parse().ok();
    let Some(format) = format else { return out };
    for evidence in parse::read(format, &Lines { now, boot, ..Lines::of(path, text) }) {
        let line = match evidence.place {
            Place::File { line, .. } => line,
            _ => 0,
        };
        writeln!(out, "{line}: {}", evidence.at(Place::Object(String::new())).from("").text("")).unwrap();
    }
    out
}

#[test]
fn logs_of_real_programs_are_read() {
    let root = Path::new(FIXTURES);
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let mut wrong = Vec::new();
    for path in logs(root) {
        let bytes = fs::read(&path).unwrap();
        let shown = path.strip_prefix(root).unwrap().display().to_string();
        let read = read(&shown, &String::from_utf8_lossy(&bytes));
        let expected = path.with_extension("evidence");
        if update {
            fs::write(&expected, &read).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != read {
            wrong.push(shown);
        }
    }
    assert!(wrong.is_empty(), "read otherwise than expected, see UPDATE_EXPECT: {wrong:?}");
}
