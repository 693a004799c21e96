//! Sets of causes that begin with the same symptom: in the case of each member, it stands above all the others.

use doctor::{Catalogue, diagnose};

use crate::input;

/// Each set by what its members have in common.
const SETS: &[(&str, &[&str])] = &[("a refused connection", &["upstream-not-running"])];

#[test]
fn each_member_of_a_set_is_told_from_the_others() {
    let catalogue = Catalogue::causes();
    let mut problems = Vec::new();
    for (symptom, members) in SETS {
        for member in *members {
            let Some(page) = catalogue.get(member) else {
                problems.push(format!("{symptom}: '{member}' has no page"));
                continue;
            };
            let diagnosis = diagnose(catalogue, &input::evidence(page, &page.case), None);
            let first = diagnosis.findings.first();
            if first.is_none_or(|first| first.cause != *member) {
                problems.push(format!("{symptom}: '{member}' is not the first finding of its case"));
            }
            let confused = diagnosis
                .findings
                .iter()
                .skip(1)
                .filter(|finding| members.contains(&finding.cause.as_str()) && finding.confidence >= 0.5);
            problems.extend(confused.map(|finding| {
                format!(
                    "{symptom}: the case of '{member}' is also '{}' ({:.2})",
                    finding.cause, finding.confidence
                )
            }));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
