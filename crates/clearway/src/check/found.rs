//! What a check found, in one form for all of its outputs.

use std::collections::BTreeSet;

use ::doctor::{Catalogue, Page, place};
use model::evidence::Place;
use model::report::{Edit, Finding};
use probe::config;

/// The rule under which faults of the text itself are told.
pub(super) const SYNTAX: &str = "syntax";
/// The rule under which parts are told that were not seen.
pub(super) const UNSEEN: &str = "unseen";
/// The rule under which problems of Clearway's own configuration are told.
pub(super) const CLEARWAY: &str = "clearway-configuration";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    Error,
    Warning,
    /// Something could not be looked at; it fails nothing.
    Note,
}

impl Severity {
    pub(super) fn name(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        }
    }
}

/// One finding.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) rule: String,
    pub(super) severity: Severity,
    pub(super) file: String,
    /// From 1; 0 for the file as a whole.
    pub(super) line: u64,
    /// From 1, where it is known.
    pub(super) column: u64,
    pub(super) message: String,
    /// The lines that speak for it.
    pub(super) because: Vec<Line>,
    pub(super) fix: String,
    pub(super) edits: Vec<Edit>,
    /// The page of the rule.
    pub(super) page: Option<&'static Page>,
}

#[derive(Debug)]
pub(super) struct Line {
    pub(super) file: String,
    pub(super) line: u64,
    pub(super) text: String,
}

impl Found {
    pub(super) fn of_finding(finding: &Finding, catalogue: &'static Catalogue) -> Found {
        let page = catalogue.get(&finding.cause);
        let (file, line) = place(finding);
        let lines = finding.because.iter().filter_map(|evidence| match &evidence.place {
            Place::File { path, line } => {
                Some(Line { file: path.clone(), line: *line, text: evidence.text.clone() })
            }
            _ => None,
        });
        let mut seen = BTreeSet::new();
        let because = lines.filter(|line| seen.insert((line.file.clone(), line.line))).collect();
        let severity = match page.map(|page| page.family.as_str()) {
            Some("error") => Severity::Error,
            _ => Severity::Warning,
        };
        Found {
            rule: finding.cause.clone(),
            severity,
            file,
            line,
            column: 0,
            message: finding.summary.clone(),
            because,
            fix: finding.fix.summary.clone(),
            edits: finding.fix.edits.clone(),
            page,
        }
    }

    pub(super) fn of_problem(problem: &config::Problem) -> Found {
        let (rule, severity) =
            if problem.fatal { (SYNTAX, Severity::Error) } else { (UNSEEN, Severity::Note) };
        Found {
            rule: rule.to_owned(),
            severity,
            file: problem.path.clone(),
            line: u64::from(problem.line),
            column: 0,
            message: problem.message.clone(),
            because: Vec::new(),
            fix: String::new(),
            edits: Vec::new(),
            page: None,
        }
    }
}

/// The result of a check.
#[derive(Debug, Default)]
pub(super) struct Result {
    pub(super) found: Vec<Found>,
    /// Every file that was read.
    pub(super) files: BTreeSet<String>,
    /// Files of directories of which nothing is known to check.
    pub(super) skipped: usize,
    /// What is said of Clearway's own configuration in the form for people.
    pub(super) own: Option<String>,
}

impl Result {
    pub(super) fn count(&self, severity: Severity) -> usize {
        self.found.iter().filter(|found| found.severity == severity).count()
    }

    /// By place; what is about a file as a whole comes first.
    pub(super) fn sort(&mut self) {
        self.found.sort_by(|a, b| (&a.file, a.line, &a.rule).cmp(&(&b.file, b.line, &b.rule)));
    }
}
