//! The diagnosis: every cause of the catalogue held against the evidence, ranked, the deepest first.

use std::collections::BTreeSet;

use model::report::{Because, Consequence, Edit, Excluded, Finding, Fix};
use model::{Evidence, Moment, Want};

use crate::catalogue::Catalogue;
use crate::hypothesis::{self, Book, Hypothesis, fill};

/// Below this a cause is not worth a line of a report.
const REPORTED_MIN: f64 = 0.3;
/// Guesses that a report names, beside what is asserted.
const GUESSES_MAX: usize = 5;
/// A cause of this confidence stands for what follows from it.
const CONFIRMED_MIN: f64 = 0.6;
/// What follows from a confirmed cause is a consequence from here on, and a look-alike below it no finding of its own.
const CONSEQUENCE_MIN: f64 = 0.3;
/// A cause as certain as this explains its symptoms; others that have no symptom of their own do not stand beside it ...
const EXPLAINING_MIN: f64 = 0.8;
/// ... unless they are nearly as certain.
const EXPLAINED_GAP: f64 = 0.1;
/// Evidence is asked for causes that are at least so likely.
const WANTED_MIN: f64 = 0.15;
/// The diagnosis is made when the first finding is as certain as this and nothing competes with it.
const DECIDED_MIN: f64 = 0.9;
/// What competes.
const COMPETING_MIN: f64 = 0.5;
/// After so long without another symptom, and with requests that went well since, a case is over.
const RESOLVED_AFTER_SECONDS: f64 = 120.0;
/// A case that is over is no certain finding.
const RESOLVED_MAX: f64 = 0.5;
/// Look-alikes that a report names.
const EXCLUDED_MAX: usize = 12;
/// Evidence that a finding cites.
const CITED_MAX: usize = 12;

/// What the evidence comes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Diagnosis {
    /// Root causes, the most certain first.
    pub findings: Vec<Finding>,
    pub excluded: Vec<Excluded>,
    /// What would tell more, the most useful first; empty when the case is clear.
    pub wanted: Vec<Want>,
}

/// Judges the evidence. `now` is given where it is about the present: a case that is over then is no certain finding.
pub fn diagnose(catalogue: &Catalogue, evidence: &[Evidence], now: Option<Moment>) -> Diagnosis {
    let book = Book::new(evidence, now);
    let mut excluded = Vec::new();
    let mut likely: Vec<Hypothesis<'_>> = Vec::new();
    for hypothesis in catalogue.pages().flat_map(|page| hypothesis::of(page, &book)) {
        match &hypothesis.excluded {
            Some(because) => excluded.push((
                hypothesis.confidence,
                Excluded { cause: hypothesis.page.id.clone(), because: because.clone() },
            )),
            None => likely.push(cap_if_over(hypothesis, &book)),
        }
    }
    likely.sort_by(|a, b| b.confidence.total_cmp(&a.confidence).then_with(|| a.page.id.cmp(&b.page.id)));
    let explained = explain_away(catalogue, &mut likely);
    excluded.extend(explained);
    let wanted = wanted(catalogue, &likely);
    let findings = rank(catalogue, &book, &likely);
    excluded.retain(|(_, excluded)| !is_finding(&findings, &excluded.cause));
    excluded.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let mut seen = BTreeSet::new();
    excluded.retain(|(_, excluded)| seen.insert(excluded.cause.clone()));
    excluded.truncate(EXCLUDED_MAX);
    Diagnosis { findings, excluded: excluded.into_iter().map(|(_, excluded)| excluded).collect(), wanted }
}

fn is_finding(findings: &[Finding], cause: &str) -> bool {
    findings.iter().any(|finding| {
        finding.cause == cause || finding.consequences.iter().any(|consequence| consequence.cause == cause)
    })
}

/// A case without a symptom for a while, since which requests went well, is over.
fn cap_if_over<'a>(mut hypothesis: Hypothesis<'a>, book: &Book<'a>) -> Hypothesis<'a> {
    let (Some(now), Some(last)) = (book.now, hypothesis.last_seen()) else { return hypothesis };
    if now.seconds_since(last) < RESOLVED_AFTER_SECONDS {
        return hypothesis;
    }
    let kinds = ["traffic".to_owned(), "http-probe".to_owned()];
    let good = book.of(&kinds).find(|evidence| match evidence.kind.as_ref() {
        "http-probe" => {
            evidence.get("via") == Some("proxy")
                && evidence.get("result") == Some("ok")
                && evidence.number("status").is_some_and(|status| status < 500.0)
        }
        _ => evidence
            .get("last-good")
            .and_then(|time| time.parse::<Moment>().ok())
            .is_some_and(|good| good > last),
    });
    if let Some(good) = good {
        hypothesis.confidence = hypothesis.confidence.min(RESOLVED_MAX);
        hypothesis.decided = false;
        hypothesis.against.push(good);
    }
    hypothesis
}

/// Takes out what has no symptom of its own beside a cause that is much more certain.
fn explain_away(catalogue: &Catalogue, likely: &mut Vec<Hypothesis<'_>>) -> Vec<(f64, Excluded)> {
    let mut explained = Vec::new();
    let certain: Vec<Hypothesis<'_>> =
        likely.iter().filter(|h| h.decided && h.confidence > EXPLAINING_MIN).cloned().collect();
    likely.retain(|weak| {
        let by = certain.iter().find(|strong| {
            strong.page.id != weak.page.id
                && weak.confidence < strong.confidence - EXPLAINED_GAP
                && !related(catalogue, &strong.page.id, &weak.page.id)
                && weak.symptoms.iter().all(|symptom| explains(strong, symptom))
        });
        match by {
            None => true,
            Some(strong) => {
                let because = format!(
                    "what speaks for it is explained by {} ({:.2})",
                    strong.page.id, strong.confidence
                );
                explained.push((weak.confidence, Excluded { cause: weak.page.id.clone(), because }));
                false
            }
        }
    });
    explained
}

/// Whether the symptom is one of the case, or evidence for it.
fn explains(strong: &Hypothesis<'_>, symptom: &Evidence) -> bool {
    strong.symptoms.iter().chain(&strong.because).any(|known| std::ptr::eq(*known, symptom))
}

fn related(catalogue: &Catalogue, a: &str, b: &str) -> bool {
    catalogue.consequences(a).contains(&b) || catalogue.consequences(b).contains(&a)
}

/// Findings with their consequences below them.
fn rank(catalogue: &Catalogue, book: &Book<'_>, likely: &[Hypothesis<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for hypothesis in likely.iter().filter(|hypothesis| hypothesis.confidence >= REPORTED_MIN) {
        if likely.iter().any(|deeper| leads_to(catalogue, deeper, hypothesis)) {
            continue;
        }
        let consequences = consequences(catalogue, hypothesis, likely);
        findings.extend(finding(hypothesis, consequences, book));
    }
    let asserted = findings.iter().filter(|finding: &&Finding| finding.confidence >= COMPETING_MIN).count();
    findings.truncate(asserted + GUESSES_MAX);
    findings
}

/// Whether the one is a confirmed cause from which the other follows, in the same case.
fn leads_to(catalogue: &Catalogue, deeper: &Hypothesis<'_>, other: &Hypothesis<'_>) -> bool {
    deeper.confidence >= CONFIRMED_MIN
        && deeper.told_apart
        && deeper.page.id != other.page.id
        && catalogue.consequences(&deeper.page.id).contains(&other.page.id.as_str())
        && !catalogue.consequences(&other.page.id).contains(&deeper.page.id.as_str())
        && same_case(deeper, other)
}

/// Two causes with different values of the same variable speak of different things.
fn same_case(a: &Hypothesis<'_>, b: &Hypothesis<'_>) -> bool {
    ["upstream", "service"].iter().all(|name| match (a.binding.get(*name), b.binding.get(*name)) {
        (Some(a), Some(b)) => a == b || is_group(a) || is_group(b),
        _ => true,
    })
}

/// The name of a group of upstreams, under which a proxy reports that none of its members is left.
fn is_group(upstream: &str) -> bool {
    !upstream.contains(':') && !upstream.contains('/')
}

fn consequences(catalogue: &Catalogue, root: &Hypothesis<'_>, likely: &[Hypothesis<'_>]) -> Vec<Consequence> {
    let order = catalogue.consequences(&root.page.id);
    let mut below: Vec<(usize, &Hypothesis<'_>)> = likely
        .iter()
        .filter(|other| other.confidence >= CONSEQUENCE_MIN && leads_to(catalogue, root, other))
        .filter_map(|other| Some((order.iter().position(|id| *id == other.page.id)?, other)))
        .collect();
    below.sort_by_key(|(distance, _)| *distance);
    below
        .into_iter()
        .filter_map(|(_, other)| {
            Some(Consequence {
                cause: other.page.id.clone(),
                confidence: other.confidence,
                summary: summary(other),
                because: cited(other)?,
            })
        })
        .collect()
}

fn cited(hypothesis: &Hypothesis<'_>) -> Option<Because> {
    Because::new(hypothesis.because.iter().take(CITED_MAX).map(|evidence| (*evidence).clone()).collect())
}

pub(crate) fn finding(
    hypothesis: &Hypothesis<'_>,
    consequences: Vec<Consequence>,
    book: &Book<'_>,
) -> Option<Finding> {
    Some(Finding {
        cause: hypothesis.page.id.clone(),
        confidence: hypothesis.confidence,
        layer: hypothesis.page.family.clone(),
        summary: summary(hypothesis),
        because: cited(hypothesis)?,
        against: hypothesis.against.iter().map(|evidence| (*evidence).clone()).collect(),
        missing: hypothesis.missing.clone(),
        consequences,
        fix: fix(hypothesis, book),
    })
}

/// The summary of the case; the sentence of the page where not all of it is known.
fn summary(hypothesis: &Hypothesis<'_>) -> String {
    let filled = fill(&hypothesis.page.rule.summary, &hypothesis.binding);
    if filled.contains('{') { hypothesis.page.title.clone() } else { filled }
}

fn fix(hypothesis: &Hypothesis<'_>, book: &Book<'_>) -> Fix {
    let remedy = &hypothesis.page.rule.remedy;
    let fill_all = |templates: &[String]| -> Vec<String> {
        templates.iter().map(|template| fill(template, &hypothesis.binding)).collect()
    };
    let edits = remedy.edits.iter().filter_map(|(clause, new)| {
        let (evidence, binding) = book
            .candidates(clause, &hypothesis.binding)
            .into_iter()
            .find_map(|evidence| Some((evidence, clause.matches(evidence, &hypothesis.binding)?)))?;
        let model::evidence::Place::File { path, line } = &evidence.place else { return None };
        let default = evidence.get("default") == Some("yes");
        let old = if default { String::new() } else { evidence.text.trim().to_owned() };
        let new = fill(new, &binding);
        // Of a line that says more only a part changes.
        let new = match evidence.get("written") {
            Some(part) if old.contains(part) => old.replacen(part, &new, 1),
            _ => new,
        };
        Some(Edit { file: path.clone(), line: *line, old, new })
    });
    Fix {
        summary: fill_all(&remedy.summary).join(" "),
        edits: edits.collect(),
        commands: fill_all(&remedy.commands),
        verify: fill_all(&remedy.verify),
    }
}

/// What to look at next: for the likeliest causes first; nothing once the case is clear.
fn wanted(catalogue: &Catalogue, likely: &[Hypothesis<'_>]) -> Vec<Want> {
    if let Some(first) = likely.first()
        && first.confidence >= DECIDED_MIN
        && first.decided
    {
        let competes = |other: &&Hypothesis<'_>| {
            other.confidence >= COMPETING_MIN
                && other.page.id != first.page.id
                && !related(catalogue, &first.page.id, &other.page.id)
        };
        let deeper = |other: &&Hypothesis<'_>| {
            other.confidence >= WANTED_MIN
                && catalogue.consequences(&other.page.id).contains(&first.page.id.as_str())
        };
        // A symptom that is none of its case is another fault's.
        let apart = |other: &&Hypothesis<'_>| {
            other.confidence >= WANTED_MIN
                && other.page.id != first.page.id
                && other.symptoms.iter().any(|symptom| symptom.kind == "failure" && !explains(first, symptom))
        };
        if !likely.iter().any(|other| competes(&other) || deeper(&other) || apart(&other)) {
            return Vec::new();
        }
    }
    let mut seen = BTreeSet::new();
    likely
        .iter()
        .filter(|hypothesis| hypothesis.confidence >= WANTED_MIN)
        .flat_map(Hypothesis::wants)
        .filter(|want| seen.insert(want.clone()))
        .collect()
}
