//! A report as JSON, in the form of `docs/report.schema.json`.

use model::report::{Because, Consequence, Edit, Excluded, Finding, Hop, Probed, Report, Series, Skipped};
use model::{Evidence, Moment};
use serde_json::{Value, json};

/// The version of the form. Additions keep it, changes of what is there raise it.
const VERSION: u32 = 1;

/// The whole report, with an end of line.
pub fn render(report: &Report) -> String {
    let value = value(report);
    let mut text = serde_json::to_string_pretty(&value).expect("a report must have a JSON form");
    text.push('\n');
    text
}

/// The report as a document.
pub fn value(report: &Report) -> Value {
    json!({
        "version": VERSION,
        "target": report.target,
        "made": report.made.map(moment),
        "healthy": report.healthy,
        "took": report.took.as_secs_f64(),
        "passive": report.passive.as_secs_f64(),
        "chain": each(&report.chain, hop),
        "findings": each(&report.findings, finding),
        "excluded": each(&report.excluded, excluded),
        "skipped": each(&report.skipped, skipped),
        "probes": each(&report.probes, probed),
        "timeline": each(&report.timeline, evidence),
        "series": each(&report.series, series),
        "next": report.next,
    })
}

fn each<T>(items: &[T], one: fn(&T) -> Value) -> Value {
    Value::Array(items.iter().map(one).collect())
}

fn finding(finding: &Finding) -> Value {
    json!({
        "cause": finding.cause,
        "confidence": rounded(finding.confidence),
        "layer": finding.layer,
        "summary": finding.summary,
        "for": because(&finding.because),
        "against": each(&finding.against, evidence),
        "missing": finding.missing,
        "consequences": each(&finding.consequences, consequence),
        "fix": {
            "summary": finding.fix.summary,
            "edits": each(&finding.fix.edits, edit),
            "commands": finding.fix.commands,
            "verify": finding.fix.verify,
        },
    })
}

fn consequence(consequence: &Consequence) -> Value {
    json!({
        "cause": consequence.cause,
        "confidence": rounded(consequence.confidence),
        "summary": consequence.summary,
        "for": because(&consequence.because),
    })
}

fn because(because: &Because) -> Value {
    Value::Array(because.iter().map(evidence).collect())
}

fn evidence(evidence: &Evidence) -> Value {
    json!({
        "kind": evidence.kind,
        "text": evidence.text,
        "source": evidence.source,
        "place": evidence.place.to_string(),
        "time": evidence.time.map(moment),
    })
}

fn hop(hop: &Hop) -> Value {
    json!({
        "product": hop.product,
        "version": hop.version,
        "address": hop.address,
        "detail": hop.detail,
        "state": super::state(hop.state),
        "note": hop.note,
    })
}

fn edit(edit: &Edit) -> Value {
    json!({"file": edit.file, "line": edit.line, "old": edit.old, "new": edit.new})
}

fn excluded(excluded: &Excluded) -> Value {
    json!({"cause": excluded.cause, "because": excluded.because})
}

fn skipped(skipped: &Skipped) -> Value {
    json!({"check": skipped.check, "reason": skipped.reason, "needs": skipped.needs})
}

fn probed(probed: &Probed) -> Value {
    json!({"what": probed.what, "result": probed.result, "took": probed.took.as_secs_f64()})
}

fn series(series: &Series) -> Value {
    let points: Vec<Value> = series.points.iter().map(|(at, value)| json!([moment(*at), value])).collect();
    json!({"name": series.name, "unit": series.unit, "points": points})
}

fn moment(moment: Moment) -> Value {
    Value::String(moment.to_string())
}

/// Two digits: the third would claim a precision that weights do not have.
fn rounded(confidence: f64) -> f64 {
    (confidence * 100.0).round() / 100.0
}
