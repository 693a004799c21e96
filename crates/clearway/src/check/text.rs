//! The result of a check for people.

use std::fmt::Write;

use super::found::{CLEARWAY, Found, Result, Severity};

pub(super) fn write(result: &Result) -> String {
    let mut text = result.own.clone().unwrap_or_default();
    let foreign: Vec<&Found> = result.found.iter().filter(|found| found.rule != CLEARWAY).collect();
    for found in &foreign {
        one(found, &mut text);
    }
    let only_own = result.own.is_some() && foreign.is_empty();
    let of = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
    if !only_own || result.skipped > 0 {
        let files = of(result.files.len(), "file");
        let (errors, warnings) = (result.count(Severity::Error), result.count(Severity::Warning));
        let said = match (errors, warnings) {
            (0, 0) => format!("nothing was found in {files}"),
            _ => format!("{} and {} in {files}", of(errors, "error"), of(warnings, "warning")),
        };
        let skipped = match result.skipped {
            0 => String::new(),
            count => format!(
                " ({} of the directories were passed over: no format that is known)",
                of(count, "file")
            ),
        };
        let _ = writeln!(text, "{said}{skipped}");
    }
    text
}

fn one(found: &Found, text: &mut String) {
    text.push_str(&found.file);
    if found.line > 0 {
        let _ = write!(text, ":{}", found.line);
    }
    let _ = writeln!(text, ": {}: {}", found.severity.name(), found.message);
    for line in &found.because {
        if line.text.is_empty() || (line.line == 0 && line.file == found.file) {
            continue;
        }
        let _ = writeln!(text, "    {}: {}", at(&line.file, line.line), line.text);
    }
    if !found.fix.is_empty() {
        let _ = writeln!(text, "    fix: {}", found.fix);
    }
    for edit in &found.edits {
        let place = at(&edit.file, edit.line);
        let _ = match edit.old.as_str() {
            "" => writeln!(text, "    {place}: add {}", edit.new),
            old => writeln!(text, "    {place}: {old} \u{2192} {}", edit.new),
        };
    }
    if found.page.is_some() {
        let _ = writeln!(text, "    rule: {}", found.rule);
    }
}

fn at(file: &str, line: u64) -> String {
    if line == 0 { file.to_owned() } else { format!("{file}:{line}") }
}
