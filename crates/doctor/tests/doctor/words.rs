//! Rules speak of evidence that somebody yields: kinds and fields that are not declared are found here, not at night.

use std::collections::{BTreeMap, BTreeSet};

use doctor::{Catalogue, Clause, Page};

/// Fields that readers may add to any kind.
const COMMON: &[&str] = &["count"];

#[test]
fn rules_name_only_declared_kinds_and_fields() {
    let mut known: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for kind in probe::kinds() {
        known.entry(kind.name).or_default().extend(kind.fields.iter().map(|field| field.name));
    }
    let mut problems = Vec::new();
    for page in Catalogue::causes().pages().chain(Catalogue::lints().pages()) {
        for clause in clauses(page) {
            for kind in &clause.kinds {
                let Some(fields) = known.get(kind.as_str()) else {
                    problems.push(format!("{}: nobody yields '{kind}'", page.id));
                    continue;
                };
                for condition in &clause.conditions {
                    let field = condition.field.as_str();
                    if !fields.contains(field) && !COMMON.contains(&field) {
                        problems.push(format!("{}: '{kind}' has no field '{field}'", page.id));
                    }
                }
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn templates_name_only_variables_of_their_rule() {
    let mut problems = Vec::new();
    for page in Catalogue::causes().pages().chain(Catalogue::lints().pages()) {
        let bound: BTreeSet<&str> = clauses(page).flat_map(Clause::variables).collect();
        let remedy = &page.rule.remedy;
        let templates = std::iter::once(&page.rule.summary)
            .chain(&remedy.summary)
            .chain(&remedy.commands)
            .chain(&remedy.verify)
            .chain(remedy.edits.iter().map(|(_, line)| line))
            .chain(clauses(page).map(|clause| &clause.words));
        for template in templates {
            for part in template.split('{').skip(1) {
                let name = part.split('}').next().unwrap_or("");
                let is_name =
                    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
                if is_name && part.contains('}') && !bound.contains(name) {
                    problems.push(format!("{}: '{template}' names {{{name}}}, which nothing binds", page.id));
                }
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn causes_lead_to_causes_that_have_pages_and_to_none_in_a_circle() {
    let known = Catalogue::causes();
    let mut problems = Vec::new();
    for page in known.pages() {
        let missing = page.rule.leads_to.iter().filter(|next| known.get(next).is_none());
        problems.extend(missing.map(|next| format!("{}: leads to '{next}', which has no page", page.id)));
        if known
            .consequences(&page.id)
            .iter()
            .any(|next| known.consequences(next).contains(&page.id.as_str()))
        {
            problems.push(format!("{}: is a consequence of its own consequences", page.id));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

fn clauses(page: &Page) -> impl Iterator<Item = &Clause> {
    let rule = &page.rule;
    rule.statements
        .iter()
        .map(|statement| &statement.clause)
        .chain(&rule.wants)
        .chain(rule.remedy.edits.iter().map(|(clause, _)| clause))
}
