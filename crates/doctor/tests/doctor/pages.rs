//! What the doctor says to the case of each page, and that it is silent at its near miss.
//!
//! The `report` fence of a page is written with `UPDATE_EXPECT=1 cargo test -p doctor`, and read by the one who does so.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use doctor::{Catalogue, Diagnosis, Page, diagnose};

use crate::input;

/// From here on a cause is asserted.
const ASSERTED: f64 = 0.5;

#[test]
fn every_cause_is_found_in_its_case_and_silent_in_its_near_miss() {
    every_page(Catalogue::causes(), "src/causes");
}

#[test]
fn every_lint_is_found_in_its_case_and_silent_in_its_near_miss() {
    every_page(Catalogue::lints(), "src/lints");
}

fn every_page(catalogue: &Catalogue, folder: &str) {
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let mut problems = Vec::new();
    for page in catalogue.pages() {
        problems.extend(near_miss(catalogue, page));
        let diagnosis = diagnose(catalogue, &input::evidence(page, &page.case), None);
        problems.extend(found(page, &diagnosis));
        let report = show(&diagnosis);
        if update {
            write_report(&file_of(folder, &page.id), &report);
        } else if report != page.report {
            problems.push(format!("{}: expected\n{}but the doctor says\n{report}", page.id, page.report));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// The page's own cause comes first, and as certain as it may be.
fn found(page: &Page, diagnosis: &Diagnosis) -> Option<String> {
    let least = page.rule.cap.unwrap_or(ASSERTED).min(ASSERTED);
    match diagnosis.findings.first() {
        Some(first) if first.cause == page.id && first.confidence >= least => None,
        Some(first) => Some(format!("{}: found {} ({:.2}) first", page.id, first.cause, first.confidence)),
        None => Some(format!("{}: found nothing in its own case", page.id)),
    }
}

fn near_miss(catalogue: &Catalogue, page: &Page) -> Option<String> {
    if page.near_miss.is_empty() {
        return Some(format!("{}: has no near miss below 'Not this'", page.id));
    }
    let diagnosis = diagnose(catalogue, &input::evidence(page, &page.near_miss), None);
    let asserted = diagnosis.findings.iter().find(|finding| {
        finding.cause == page.id && finding.confidence >= ASSERTED.min(page.rule.cap.unwrap_or(1.0))
    })?;
    Some(format!("{}: asserted with {:.2} in its near miss", page.id, asserted.confidence))
}

/// A diagnosis in few lines.
pub(crate) fn show(diagnosis: &Diagnosis) -> String {
    let mut text = String::new();
    for (index, finding) in diagnosis.findings.iter().enumerate() {
        let _ =
            writeln!(text, "{}. {} {:.2}: {}", index + 1, finding.cause, finding.confidence, finding.summary);
        for evidence in finding.because.iter() {
            let _ = writeln!(text, "   because {} at {}", evidence.kind, evidence.place);
        }
        for evidence in &finding.against {
            let _ = writeln!(text, "   against {} at {}", evidence.kind, evidence.place);
        }
        for missing in &finding.missing {
            let _ = writeln!(text, "   missing {missing}");
        }
        for consequence in &finding.consequences {
            let _ = writeln!(text, "   then {} {:.2}", consequence.cause, consequence.confidence);
        }
        for edit in &finding.fix.edits {
            let _ = writeln!(text, "   edit {}:{} {} -> {}", edit.file, edit.line, edit.old, edit.new);
        }
    }
    for excluded in &diagnosis.excluded {
        let _ = writeln!(text, "not {}: {}", excluded.cause, excluded.because);
    }
    text
}

fn file_of(folder: &str, id: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let name = format!("{id}.md");
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the folder of pages must be there") {
            let path = entry.expect("the folder of pages must be readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|file| file == name.as_str()) {
                return path;
            }
        }
    }
    panic!("there is no file {name}");
}

/// Replaces the `report` fence, or adds one before "Not this".
fn write_report(path: &Path, report: &str) {
    let text = std::fs::read_to_string(path).expect("the page must be readable");
    let fence = format!("```report\n{report}```\n");
    let new = match text.split_once("```report\n") {
        Some((before, after)) => {
            let (_, after) = after.split_once("```\n").expect("the fence must end");
            format!("{before}{fence}{after}")
        }
        None => {
            let (before, after) =
                text.split_once("## Not this\n").expect("a page must have a section 'Not this'");
            format!("{before}{fence}\n## Not this\n{after}")
        }
    };
    std::fs::write(path, new).expect("the page must be writable");
}

/// A page that says it was shown by the lab names scenarios that make its cause, and all of them.
#[test]
fn pages_name_the_scenarios_that_show_them() {
    let lab = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../lab");
    let mut made: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, text) in scenarios(&lab) {
        let causes = text.lines().filter(|line| {
            ["CAUSE = ", "ROOTS = ", "CONSEQUENCES = "].iter().any(|field| line.starts_with(field))
        });
        for cause in causes.flat_map(|line| line.split('"').skip(1).step_by(2)) {
            made.entry(cause.to_owned()).or_default().insert(name.clone());
        }
    }
    let mut problems = Vec::new();
    for page in Catalogue::causes().pages() {
        let named: BTreeSet<String> = page.scenarios().map(str::to_owned).collect();
        let expected = made.get(&page.id).cloned().unwrap_or_default();
        if named != expected {
            problems.push(format!("{}: says 'lab' of {named:?}, and is made by {expected:?}", page.id));
        }
    }
    assert!(!made.is_empty());
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// The names of scenarios with their texts.
fn scenarios(lab: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for family in std::fs::read_dir(lab).expect("the lab").flatten().filter(|entry| entry.path().is_dir()) {
        for entry in std::fs::read_dir(family.path()).expect("a family").flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "py") {
                let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                let text = std::fs::read_to_string(&path).expect("a scenario");
                found.push((format!("{}/{stem}", family.file_name().to_string_lossy()), text));
            }
        }
    }
    found
}
