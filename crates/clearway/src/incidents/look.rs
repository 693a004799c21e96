//! Looks into an incident: gathers evidence, has it judged, and gives the cause and the report.

use std::time::{Duration, UNIX_EPOCH};

use model::report::Skipped;
use model::{Incident, Moment, NamedCause};
use store::RecordReader;

use crate::doctor::{self, ASSERTED_MIN, Eyes, Seen};
use crate::own_records::{self, Span};

/// Records are read from so long before the first failure on: ids have the time at which a request began, which for one that ran
/// into a time limit is minutes before it failed.
const BEFORE: Duration = Duration::from_secs(180);
/// And no longer back than this, however long it lasts: the newest failures say what it is now.
const BACK_MAX: Duration = Duration::from_secs(900);

/// Makes eyes for one look at a service: whoever can come by evidence that is not in the records. They work on a thread of
/// their own and may wait.
pub(crate) type MakeEyes = fn(service: &str) -> Option<Box<dyn Eyes>>;

/// Nobody looks further than the records.
pub(crate) fn no_eyes(_: &str) -> Option<Box<dyn Eyes>> {
    None
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) cause: Option<NamedCause>,
    /// As JSON.
    pub(super) report: Box<str>,
}

/// `None` if the look itself failed, which has been told where it failed.
pub(super) async fn look(
    reader: &RecordReader,
    incident: &Incident,
    now: Moment,
    eyes: MakeEyes,
) -> Option<Looked> {
    let mut seen =
        Seen { target: format!("service {}", incident.service), made: Some(now), ..Seen::default() };
    let at = |moment: Moment| UNIX_EPOCH + Duration::from_millis(moment.0.unsigned_abs());
    let since = (at(incident.began) - BEFORE).max(at(now) - BACK_MAX);
    let span = Span { since, until: at(now) + Duration::from_secs(1) };
    match own_records::of_service(reader, &incident.service, span).await {
        Ok(evidence) => seen.evidence = evidence,
        Err(error) => seen.skipped.push(Skipped {
            check: "Clearway's own records".to_owned(),
            reason: error.to_string(),
            needs: "a data directory that can be read".to_owned(),
        }),
    }
    let service = incident.service.clone();
    let judged = tokio::task::spawn_blocking(move || {
        let began = std::time::Instant::now();
        let mut eyes = eyes(&service);
        let eyes = eyes.as_mut().map(|eyes| &mut **eyes as &mut dyn Eyes);
        let diagnosis = doctor::investigate(&mut seen, eyes, &[], true);
        seen.took = began.elapsed();
        doctor::report(seen, diagnosis)
    });
    // A panic has been told by its hook; only a runtime that ends drops work.
    let report = judged.await.ok()?;
    let cause = report.findings.first().filter(|finding| finding.confidence >= ASSERTED_MIN);
    let cause = cause.map(|finding| NamedCause {
        cause: finding.cause.clone(),
        confidence: finding.confidence,
        summary: finding.summary.clone(),
    });
    let report = ::doctor::report::json::value(&report).to_string().into();
    Some(Looked { cause, report })
}
