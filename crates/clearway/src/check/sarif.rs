//! The result of a check as SARIF 2.1.0 (OASIS), which code hosts show beside the lines of a change.

use serde_json::{Value, json};

use super::found::{Found, Result, Severity};

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

pub(super) fn write(result: &Result) -> String {
    let mut rules: Vec<&str> = result.found.iter().map(|found| found.rule.as_str()).collect();
    rules.sort_unstable();
    rules.dedup();
    let described: Vec<Value> = rules.iter().map(|rule| descriptor(rule, &result.found)).collect();
    let results: Vec<Value> = result.found.iter().map(|found| one(found, &rules)).collect();
    let document = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "clearway check",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": described,
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    format!("{document:#}\n")
}

fn descriptor(rule: &str, found: &[Found]) -> Value {
    let first = found.iter().find(|found| found.rule == rule);
    let page = first.and_then(|found| found.page);
    let title = page.map_or(rule, |page| page.title.as_str());
    let mut value = json!({
        "id": rule,
        "shortDescription": {"text": title},
        "defaultConfiguration": {"level": first.map_or("none", level)},
    });
    if let (Some(page), Some(object)) = (page, value.as_object_mut()) {
        object.insert("help".to_owned(), json!({"text": page.title, "markdown": page.manual}));
    }
    value
}

fn level(found: &Found) -> &'static str {
    match found.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    }
}

fn one(found: &Found, rules: &[&str]) -> Value {
    let mut message = found.message.clone();
    if !found.fix.is_empty() {
        message.push_str(&format!(". {}", found.fix));
    }
    for edit in &found.edits {
        let place = format!("{}:{}", edit.file, edit.line);
        message.push_str(&match edit.old.as_str() {
            "" => format!("\n{place}: add {}", edit.new),
            old => format!("\n{place}: {old} \u{2192} {}", edit.new),
        });
    }
    let related = found.because.iter().map(|line| {
        let mut place = location(&line.file, line.line, 0);
        if let Some(object) = place.as_object_mut() {
            object.insert("message".to_owned(), json!({"text": line.text}));
        }
        place
    });
    json!({
        "ruleId": found.rule,
        "ruleIndex": rules.iter().position(|rule| *rule == found.rule),
        "level": level(found),
        "message": {"text": message},
        "locations": [location(&found.file, found.line, found.column)],
        "relatedLocations": related.collect::<Vec<Value>>(),
    })
}

fn location(file: &str, line: u64, column: u64) -> Value {
    let mut physical = json!({"artifactLocation": {"uri": uri(file)}});
    if line > 0
        && let Some(object) = physical.as_object_mut()
    {
        let mut region = json!({"startLine": line});
        if column > 0
            && let Some(region) = region.as_object_mut()
        {
            region.insert("startColumn".to_owned(), json!(column));
        }
        object.insert("region".to_owned(), region);
    }
    json!({"physicalLocation": physical})
}

/// A reference of RFC 3986: absolute paths as `file:`, relative ones as they are, other characters escaped.
fn uri(path: &str) -> String {
    let mut escaped = String::new();
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(byte))
            }
            byte => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    if path.starts_with('/') { format!("file://{escaped}") } else { escaped }
}
