//! The reference page of `clearway check`: made from the pages of its rules, so that it cannot differ from them.

use std::fmt::Write;

use crate::catalogue::Catalogue;
use crate::page::Page;

/// `docs/check.md`.
pub fn reference() -> String {
    let mut text = String::from(include_str!("reference.md"));
    for (severity, heading) in [("error", "Errors"), ("warning", "Warnings")] {
        let _ = writeln!(text, "## {heading}\n");
        let pages = || Catalogue::lints().pages().filter(|page| page.family == severity);
        for page in pages() {
            let _ = writeln!(text, "- [`{0}`](#{0}): {1}", page.id, page.title);
        }
        text.push('\n');
        for page in pages() {
            one(page, &mut text);
        }
    }
    text.trim_end().to_owned() + "\n"
}

/// A page two levels down, without its properties.
fn one(page: &Page, text: &mut String) {
    let mut fenced = false;
    let mut empty = false;
    for line in page.manual.lines() {
        fenced ^= line.starts_with("```");
        let heading = !fenced && line.starts_with('#');
        if heading {
            text.push_str("##");
        } else if !fenced && (line.starts_with("- severity: ") || line.starts_with("- shown: ")) {
            continue;
        }
        // Properties leave an empty line on both of their sides.
        if empty && line.is_empty() {
            continue;
        }
        empty = line.is_empty() && !fenced;
        text.push_str(line);
        text.push('\n');
    }
    text.push('\n');
}
