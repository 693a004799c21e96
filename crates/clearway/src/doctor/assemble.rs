//! From what was seen and what it comes to, to the report: health, the picture of the chain, the timeline, what to do next.

use std::time::Duration;

use doctor::Diagnosis;
use model::evidence::Place;
use model::report::{Hop, HopState, Probed, Report, Series, Skipped};
use model::{Evidence, Moment};

/// From here on a finding is told as the cause; below it is a guess.
pub(crate) const ASSERTED_MIN: f64 = 0.5;
/// Events of the timeline: a few screens. The latest are kept.
const TIMELINE_MAX: usize = 400;
/// Commands and looks that are proposed where nothing is certain.
const NEXT_MAX: usize = 6;

/// Everything that was seen in one diagnosis.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) target: String,
    pub(crate) made: Option<Moment>,
    pub(crate) chain: Vec<Hop>,
    pub(crate) evidence: Vec<Evidence>,
    pub(crate) skipped: Vec<Skipped>,
    pub(crate) probes: Vec<Probed>,
    pub(crate) series: Vec<Series>,
    pub(crate) took: Duration,
    pub(crate) passive: Duration,
}

/// What the command comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Findings,
    Healthy,
    Inconclusive,
}

impl Verdict {
    pub(crate) fn of(report: &Report) -> Verdict {
        if report.findings.iter().any(|finding| finding.confidence >= ASSERTED_MIN) {
            Verdict::Findings
        } else if report.healthy {
            Verdict::Healthy
        } else {
            Verdict::Inconclusive
        }
    }
}

pub(crate) fn report(seen: Seen, diagnosis: Diagnosis) -> Report {
    let asserted = diagnosis.findings.iter().any(|finding| finding.confidence >= ASSERTED_MIN);
    let healthy = !asserted && works(&seen.evidence);
    let mut chain = seen.chain;
    mark(&mut chain, &diagnosis);
    let next = if asserted || healthy { Vec::new() } else { next(&seen.target, &seen.skipped, &diagnosis) };
    Report {
        target: seen.target,
        made: seen.made,
        healthy,
        chain,
        timeline: timeline(&seen.evidence),
        findings: diagnosis.findings,
        excluded: diagnosis.excluded,
        skipped: seen.skipped,
        probes: seen.probes,
        series: seen.series,
        next,
        took: seen.took,
        passive: seen.passive,
    }
}

/// Whether it was seen to work: a request through the proxy was answered; or, in files, traffic and no failure in it.
fn works(evidence: &[Evidence]) -> bool {
    let through_proxy = |item: &&Evidence| {
        item.kind == "http-probe" && (item.get("via") == Some("proxy") || item.get("via") == Some("direct"))
    };
    let answered = |item: &Evidence| {
        item.get("result") == Some("ok") && item.number("status").is_some_and(|status| status < 500.0)
    };
    let mut probes = evidence.iter().filter(through_proxy).peekable();
    if probes.peek().is_some() {
        return probes.all(answered);
    }
    // A cluster works where every service has somebody to send to.
    let mut services = evidence.iter().filter(|item| item.kind == "k8s.service").peekable();
    if services.peek().is_some() {
        return services.all(|service| service.get("endpoints").is_some());
    }
    let traffic = evidence
        .iter()
        .any(|item| item.kind == "traffic" && item.number("requests").is_some_and(|n| n > 0.0));
    let failed = evidence.iter().any(|item| {
        item.kind == "failure"
            || (item.kind == "request" && item.number("status").is_some_and(|status| status >= 500.0))
            || (item.kind == "traffic" && item.number("failed").is_some_and(|failed| failed > 0.0))
    });
    traffic && !failed
}

/// Marks the hops that the findings are about; what stands behind a good answer stays unknown.
fn mark(chain: &mut [Hop], diagnosis: &Diagnosis) {
    for finding in diagnosis.findings.iter().filter(|finding| finding.confidence >= ASSERTED_MIN) {
        let addresses: Vec<&str> = finding
            .because
            .iter()
            .flat_map(|evidence| ["addr", "upstream", "bind", "target"].map(|name| evidence.get(name)))
            .flatten()
            .collect();
        let about = |hop: &Hop| addresses.iter().any(|address| *address == hop.address);
        let product = |hop: &Hop| {
            finding
                .because
                .iter()
                .any(|evidence| evidence.kind.split('.').next() == Some(hop.product.as_str()))
        };
        let found = chain.iter().position(about).or_else(|| chain.iter().position(product));
        if let Some(hop) = found.and_then(|index| chain.get_mut(index))
            && hop.state != HopState::Broken
        {
            hop.state = HopState::Broken;
            hop.note = Some(format!("{}: {}", finding.cause, finding.summary));
        }
    }
}

/// What happened at a time, in its order.
fn timeline(evidence: &[Evidence]) -> Vec<Evidence> {
    let mut events: Vec<Evidence> = evidence
        .iter()
        .filter(|item| {
            item.time.is_some()
                && matches!(item.place, Place::File { .. } | Place::Exchange(_) | Place::Probe(_))
        })
        .filter(|item| item.kind != "read" && item.kind != "traffic")
        .cloned()
        .collect();
    events.sort_by_key(|item| item.time);
    let surplus = events.len().saturating_sub(TIMELINE_MAX);
    events.drain(..surplus);
    events
}

/// What a person can do where nothing is certain: first what was skipped, then what the likeliest causes lack.
fn next(target: &str, skipped: &[Skipped], diagnosis: &Diagnosis) -> Vec<String> {
    let mut next = Vec::new();
    if skipped.iter().any(|skipped| skipped.needs.contains("root")) {
        next.push(format!("sudo clearway doctor {target}").trim_end().to_owned());
    }
    for skipped in
        skipped.iter().filter(|skipped| !skipped.needs.contains("root") && !skipped.needs.is_empty())
    {
        next.push(format!("give the doctor {}, for {}", skipped.needs, skipped.check));
    }
    for finding in &diagnosis.findings {
        next.extend(
            finding.missing.iter().map(|missing| format!("for {}: find out {missing}", finding.cause)),
        );
        next.extend(finding.fix.verify.iter().cloned());
    }
    if next.is_empty() {
        next.push("clearway doctor --since 2h URL, while requests fail".to_owned());
    }
    let mut seen = std::collections::BTreeSet::new();
    next.retain(|line| seen.insert(line.clone()));
    next.truncate(NEXT_MAX);
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(lines: &[&str], expected: Verdict) {
        let evidence: Vec<Evidence> = lines.iter().map(|line| line.parse().expect("evidence")).collect();
        let report = report(Seen { evidence, ..Seen::default() }, Diagnosis::default());
        assert_eq!(Verdict::of(&report), expected);
        assert_eq!(report.next.is_empty(), expected != Verdict::Inconclusive);
    }

    #[test]
    fn without_a_finding_it_is_healthy_only_if_it_was_seen_to_work() {
        check(&[], Verdict::Inconclusive);
        check(&["http-probe via=proxy result=ok status=200"], Verdict::Healthy);
        check(&["http-probe via=proxy result=ok status=502"], Verdict::Inconclusive);
        check(
            &["http-probe via=proxy result=ok status=200", "http-probe via=direct result=timeout"],
            Verdict::Inconclusive,
        );
        check(&["traffic requests=9 failed=0"], Verdict::Healthy);
        check(&["traffic requests=9 failed=1"], Verdict::Inconclusive);
        check(&["traffic requests=9 failed=0", "failure phase=connect"], Verdict::Inconclusive);
    }
}
