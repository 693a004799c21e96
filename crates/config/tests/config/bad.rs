//! Bad files and everything that is said about them: `tests/bad/NAME.yaml` with `NAME.txt` beside it. The texts are
//! written with `UPDATE_EXPECT=1 cargo test -p config`, and read by the one who does so.

use std::fs;
use std::path::PathBuf;

use super::{Outside, build};

#[test]
fn every_problem_is_said_as_expected() {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/bad");
    let mut names: Vec<PathBuf> = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    names.sort();
    assert!(!names.is_empty());
    let mut different = Vec::new();
    for path in names {
        let text = fs::read_to_string(&path).unwrap();
        let said = match build(&text, &Outside::usual()) {
            Err(problems) => format!("{problems}\n"),
            Ok(checked) => {
                let warnings: Vec<String> = checked.warnings.iter().map(ToString::to_string).collect();
                format!("{}\n", warnings.join("\n"))
            }
        };
        assert!(said.trim() != "", "{} has no problem at all", path.display());
        let expected = path.with_extension("txt");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(&expected, &said).unwrap();
        }
        if fs::read_to_string(&expected).unwrap_or_default() != said {
            different.push(format!("{}:\n{said}", expected.display()));
        }
    }
    assert!(different.is_empty(), "not as expected:\n{}", different.join("\n"));
}
