//! Lints: each held against configurations on its own. Unlike causes they do not compete: each is true or not.

mod reference;

use std::collections::BTreeSet;

use model::report::Finding;
use model::{Evidence, evidence::Place};

use crate::catalogue::Catalogue;
use crate::diagnose;
use crate::hypothesis::{self, Book};

pub use reference::reference;

/// Below this a lint is not worth a line.
const REPORTED_MIN: f64 = 0.5;

/// What the lints find in the evidence, in the order of the places; of findings of one lint at one place, the first.
pub fn lint(catalogue: &Catalogue, evidence: &[Evidence]) -> Vec<Finding> {
    let book = Book::new(evidence, None);
    let likely = catalogue.pages().flat_map(|page| hypothesis::of(page, &book));
    let mut findings: Vec<Finding> = likely
        .filter(|hypothesis| hypothesis.excluded.is_none() && hypothesis.confidence >= REPORTED_MIN)
        .filter_map(|hypothesis| diagnose::finding(&hypothesis, Vec::new(), &book))
        .collect();
    findings.sort_by(|a, b| place(a).cmp(&place(b)).then_with(|| a.cause.cmp(&b.cause)));
    let mut seen = BTreeSet::new();
    findings.retain(|finding| seen.insert((finding.cause.clone(), place(finding))));
    findings
}

/// Where a finding is: the line that is to be changed, else the first that speaks for it.
pub fn place(finding: &Finding) -> (String, u64) {
    if let Some(edit) = finding.fix.edits.first() {
        return (edit.file.clone(), edit.line);
    }
    let first = finding.because.iter().next().map(|evidence| &evidence.place);
    match first {
        Some(Place::File { path, line }) => (path.clone(), *line),
        Some(place) => (place.to_string(), 0),
        None => (String::new(), 0),
    }
}
