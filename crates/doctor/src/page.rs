//! A page: the manual of one cause, its rule and its test in one Markdown file.
//!
//! Reads the file's shape; what stands in its input fences is parsed by whoever gives them to the doctor.

use crate::rule::{self, Rule};

/// The heading below which the cause must stay silent.
const NEAR_MISS: &str = "Not this";
/// Fences that are not input.
const RULE: &str = "rule";
const REPORT: &str = "report";
/// Fences of commands and of files to write, for the reader only.
const READING: &[&str] = &["", "console", "text", "diff"];

/// One page of the catalogue.
#[derive(Clone, Debug)]
pub struct Page {
    /// The permanent name of the cause.
    pub id: String,
    /// The folder it stands in; for a lint, its severity.
    pub family: String,
    /// The cause in one sentence.
    pub title: String,
    /// How it was confirmed: `lab`, `constructed` or `unverified`, with words after it.
    pub shown: String,
    pub rule: Rule,
    /// The text for people: without the fences that only the doctor reads.
    pub manual: String,
    /// The case that the page is about.
    pub case: Vec<Fence>,
    /// A case that looks like it and is not it.
    pub near_miss: Vec<Fence>,
    /// What the doctor must say of the case; empty where the page has none yet.
    pub report: String,
}

/// A fence of input: the name of a format and where the text stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    pub format: String,
    pub path: String,
    pub text: String,
}

impl Page {
    /// The scenarios of the lab that show the cause.
    pub fn scenarios(&self) -> impl Iterator<Item = &str> {
        let named = self.shown.strip_prefix("lab (").and_then(|rest| rest.strip_suffix(')'));
        named.into_iter().flat_map(|named| named.split(", "))
    }

    /// Reads `text`; `path` is that below the folder of the catalogue, as `process/upstream-not-running.md`.
    pub fn parse(path: &str, text: &str) -> Result<Page, String> {
        let fail = |error: String| format!("{path}: {error}");
        let (family, name) = path.rsplit_once('/').unwrap_or(("", path));
        let id = name.strip_suffix(".md").unwrap_or(name);
        let mut parts = Parts::default();
        parts.read(text).map_err(fail)?;
        if parts.heading != id {
            return Err(fail(format!("the heading must be '# {id}'")));
        }
        if parts.title.is_empty() {
            return Err(fail("a sentence must follow the heading".to_owned()));
        }
        let rule = rule::parse(&parts.rule).map_err(|error| fail(format!("rule: {error}")))?;
        let property = |name: &str| {
            parts.properties.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        };
        let family = match property("severity") {
            Some(severity) if matches!(severity.as_str(), "error" | "warning") => severity,
            Some(severity) => return Err(fail(format!("severity '{severity}' must be error or warning"))),
            None => family.to_owned(),
        };
        let shown = property("shown").unwrap_or_default();
        if !["lab", "constructed", "unverified"].iter().any(|known| shown.starts_with(known)) {
            return Err(fail("'- shown:' must begin with lab, constructed or unverified".to_owned()));
        }
        Ok(Page {
            id: id.to_owned(),
            family,
            title: parts.title,
            shown,
            rule,
            manual: parts.manual,
            case: parts.case,
            near_miss: parts.near_miss,
            report: parts.report,
        })
    }
}

/// A page while it is read.
#[derive(Default)]
struct Parts {
    heading: String,
    title: String,
    properties: Vec<(String, String)>,
    manual: String,
    rule: String,
    report: String,
    case: Vec<Fence>,
    near_miss: Vec<Fence>,
}

impl Parts {
    fn read(&mut self, text: &str) -> Result<(), String> {
        let mut section = String::new();
        let mut lines = text.lines().enumerate();
        while let Some((index, line)) = lines.next() {
            let Some(info) = line.strip_prefix("```") else {
                self.line(line, &mut section);
                continue;
            };
            let mut body = String::new();
            loop {
                match lines.next() {
                    None => return Err(format!("line {}: the fence has no end", index + 1)),
                    Some((_, "```")) => break,
                    Some((_, line)) => {
                        body.push_str(line);
                        body.push('\n');
                    }
                }
            }
            self.fence(info.trim(), body, section == NEAR_MISS);
        }
        self.manual = tidy(&self.manual);
        Ok(())
    }

    fn line(&mut self, line: &str, section: &mut String) {
        if let Some(heading) = line.strip_prefix("## ") {
            heading.trim().clone_into(section);
        } else if let Some(heading) = line.strip_prefix("# ") {
            heading.trim().clone_into(&mut self.heading);
        } else if self.title.is_empty() && !line.trim().is_empty() {
            line.trim().clone_into(&mut self.title);
        } else if section.is_empty()
            && let Some((name, value)) = line.strip_prefix("- ").and_then(|line| line.split_once(": "))
        {
            self.properties.push((name.to_owned(), value.trim().to_owned()));
        } else if section.is_empty()
            && let (Some(more), Some((_, value))) = (line.strip_prefix("  "), self.properties.last_mut())
        {
            // A list goes on in the next line.
            value.push(' ');
            value.push_str(more.trim());
        }
        self.manual.push_str(line);
        self.manual.push('\n');
    }

    fn fence(&mut self, info: &str, body: String, near_miss: bool) {
        let (format, path) = info.split_once(' ').unwrap_or((info, ""));
        match format {
            RULE => self.rule = body,
            REPORT => self.report = body,
            format => {
                if format != "evidence" {
                    self.manual.push_str(&format!("```{info}\n{body}```\n"));
                }
                if READING.contains(&format) {
                    return;
                }
                let path = if path.is_empty() { format } else { path.trim() };
                let fence = Fence { format: format.to_owned(), path: path.to_owned(), text: body };
                if near_miss { self.near_miss.push(fence) } else { self.case.push(fence) }
            }
        }
    }
}

/// Without the runs of empty lines that fences leave behind.
fn tidy(text: &str) -> String {
    let mut kept = String::new();
    let mut empty = true;
    for line in text.lines() {
        let is_empty = line.trim().is_empty();
        if !(is_empty && empty) {
            kept.push_str(line);
            kept.push('\n');
        }
        empty = is_empty;
    }
    kept.trim_end().to_owned() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# x\n\nX happens.\n\n- shown: lab (one)\n\n## What you see\n\n```nginx-error /e.log\nline\n```\n\n\
        ```rule\nsummary x\nsymptom 0.4 a\nfix y\n```\n\n## Not this\n\n```evidence\na\n```\n\n```report\n1. x\n```\n";

    #[test]
    fn a_page_is_manual_rule_and_test() {
        let page = Page::parse("process/x.md", PAGE).expect("it must be read");
        assert_eq!(
            (page.id.as_str(), page.family.as_str(), page.title.as_str()),
            ("x", "process", "X happens.")
        );
        assert_eq!(page.case.len(), 1);
        assert_eq!(page.case[0].path, "/e.log");
        assert_eq!(page.near_miss[0].text, "a\n");
        assert_eq!(page.report, "1. x\n");
        assert!(page.manual.contains("nginx-error") && !page.manual.contains("summary"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = |from: &str, to: &str| Page::parse("process/x.md", &PAGE.replace(from, to)).map(|_| ());
        assert_eq!(error("# x\n", "# y\n"), Err("process/x.md: the heading must be '# x'".to_owned()));
        assert_eq!(
            error("shown: lab", "shown: well"),
            Err("process/x.md: '- shown:' must begin with lab, constructed or unverified".to_owned())
        );
        assert_eq!(
            error("symptom 0.4 a", "symptom a"),
            Err("process/x.md: rule: line 2: a clause must follow the weight".to_owned())
        );
        assert_eq!(
            error("report\n1. x\n```", "report"),
            Err("process/x.md: line 25: the fence has no end".to_owned())
        );
    }
}
