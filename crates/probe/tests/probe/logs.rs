//! Logs that real programs wrote (`fixtures/`), and the evidence that is read from them.
//!
//! `UPDATE_EXPECT=1 cargo test -p probe` writes what is read now beside each log; the difference is then read by a person.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use model::evidence::Place;
use probe::parse::{self, Format, Lines};
use proptest::prelude::*;

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
    let mut out = format!("format: {}\n", format.map_or("unknown", Format::name));
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

/// Every line of the fixtures, of which strange ones are made.
fn lines_of_fixtures() -> Vec<Vec<u8>> {
    let text = logs(Path::new(FIXTURES)).into_iter().flat_map(|path| fs::read(path).unwrap());
    text.collect::<Vec<u8>>().split(|b| *b == b'\n').map(<[u8]>::to_vec).collect()
}

/// Reads the text in every form; everything that is said of it must be declared and stand in it.
fn read_in_every_form(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let count = text.lines().count() as u64;
    parse::sniff("/strange.log", &text);
    for format in Format::ALL {
        for evidence in parse::read(*format, &Lines::of("/strange.log", &text)) {
            let kind = probe::kinds().filter(|kind| kind.name == evidence.kind).collect::<Vec<_>>();
            assert!(!kind.is_empty(), "{} is not declared", evidence.kind);
            for (name, _) in &evidence.fields {
                let declared = |kind: &&probe::Kind| kind.fields.iter().any(|field| field.name == name);
                assert!(kind.iter().any(declared), "{} of {} is not declared", name, evidence.kind);
            }
            assert!(matches!(evidence.place, Place::File { line, .. } if line <= count), "{evidence}");
        }
    }
}

#[test]
fn fixtures_have_only_declared_kinds_and_fields() {
    for path in logs(Path::new(FIXTURES)) {
        read_in_every_form(&fs::read(path).unwrap());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        read_in_every_form(&bytes);
    }

    #[test]
    fn lines_that_were_damaged_are_read(
        picked in proptest::collection::vec((any::<prop::sample::Index>(), any::<u16>(), any::<u8>(), any::<bool>()), 1..40),
    ) {
        let lines = lines_of_fixtures();
        let mut text = Vec::new();
        for (index, at, byte, cut) in picked {
            let mut line = index.get(&lines).clone();
            let at = usize::from(at) % (line.len() + 1);
            if cut {
                line.truncate(at);
            } else if let Some(place) = line.get_mut(at) {
                *place = byte;
            }
            text.extend(line);
            text.push(b'\n');
        }
        read_in_every_form(&text);
    }
}
