//! The result of a check as JUnit's XML, which every CI system shows: a case for each finding, and one for each file without any.

use std::fmt::Write;

use super::found::{Found, Result, Severity};

pub(super) fn write(result: &Result) -> String {
    let failing: Vec<&Found> = result.found.iter().filter(|found| found.severity != Severity::Note).collect();
    let good: Vec<&String> =
        result.files.iter().filter(|file| !failing.iter().any(|found| found.file == **file)).collect();
    let (tests, failures) = (failing.len() + good.len(), failing.len());
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let counts = format!("tests=\"{tests}\" failures=\"{failures}\" errors=\"0\"");
    let _ = writeln!(xml, "<testsuites name=\"clearway check\" {counts}>");
    let _ = writeln!(xml, "  <testsuite name=\"clearway check\" {counts} skipped=\"0\">");
    for file in good {
        let _ = writeln!(xml, "    <testcase classname=\"{}\" name=\"configuration\"/>", escaped(file));
    }
    for found in failing {
        one(found, &mut xml);
    }
    xml.push_str("  </testsuite>\n</testsuites>\n");
    xml
}

fn one(found: &Found, xml: &mut String) {
    let name = match found.line {
        0 => found.rule.clone(),
        line => format!("{} at line {line}", found.rule),
    };
    let _ =
        writeln!(xml, "    <testcase classname=\"{}\" name=\"{}\">", escaped(&found.file), escaped(&name));
    let _ = write!(
        xml,
        "      <failure message=\"{}\" type=\"{}\">",
        escaped(&found.message),
        found.severity.name()
    );
    for line in &found.because {
        let _ = writeln!(xml, "{}", escaped(&format!("{}:{}: {}", line.file, line.line, line.text)));
    }
    if !found.fix.is_empty() {
        let _ = writeln!(xml, "{}", escaped(&found.fix));
    }
    for edit in &found.edits {
        let old = if edit.old.is_empty() { "add" } else { edit.old.as_str() };
        let line = format!("{}:{}: {old} \u{2192} {}", edit.file, edit.line, edit.new);
        let _ = writeln!(xml, "{}", escaped(&line));
    }
    xml.push_str("</failure>\n    </testcase>\n");
}

/// Text within XML 1.0, which has no way to write most control characters at all.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
