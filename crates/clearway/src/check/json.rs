//! The result of a check as JSON.

use serde_json::{Value, json};

use super::found::{Found, Result, Severity};

pub(super) fn write(result: &Result) -> String {
    let document = json!({
        "version": 1,
        "errors": result.count(Severity::Error),
        "warnings": result.count(Severity::Warning),
        "files": result.files,
        "findings": result.found.iter().map(one).collect::<Vec<Value>>(),
    });
    format!("{document:#}\n")
}

fn one(found: &Found) -> Value {
    let because =
        found.because.iter().map(|line| json!({"file": line.file, "line": line.line, "text": line.text}));
    let edits = found
        .edits
        .iter()
        .map(|edit| json!({"file": edit.file, "line": edit.line, "old": edit.old, "new": edit.new}));
    json!({
        "rule": found.rule,
        "severity": found.severity.name(),
        "file": found.file,
        "line": found.line,
        "message": found.message,
        "because": because.collect::<Vec<Value>>(),
        "fix": {"summary": found.fix, "edits": edits.collect::<Vec<Value>>()},
    })
}
