//! Looks into an incident: gathers evidence, has it judged, and gives the cause and the report.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use model::gateway::{Endpoint, Scheme};
use model::report::Skipped;
use model::{Gateway, Incident, Moment, NamedCause};
use probe::discover::OwnTarget;
use store::RecordReader;

use crate::doctor::{self, ASSERTED_MIN, Seen};
use crate::own_records::{self, Span};

/// Records are read from so long before the first failure on: ids have the time at which a request began, which for one that ran
/// into a time limit is minutes before it failed.
const BEFORE: Duration = Duration::from_secs(180);
/// And no longer back than this, however long it lasts: the newest failures say what it is now.
const BACK_MAX: Duration = Duration::from_secs(900);

/// How long probes may take together, in one look.
const BUDGET: Duration = Duration::from_secs(3);

/// Where a service sends its requests, as the gateway is configured now.
pub(super) fn targets(gateway: &Gateway, service: &str) -> Vec<OwnTarget> {
    let routes =
        gateway.services.iter().filter(|known| *known.name == *service).flat_map(|service| &service.routes);
    let mut targets: Vec<OwnTarget> = Vec::new();
    let upstreams: BTreeSet<&Arc<str>> = routes.map(|route| &route.upstream).collect();
    for target in upstreams
        .into_iter()
        .filter_map(|name| gateway.upstreams.get(name))
        .flat_map(|upstream| &upstream.targets)
    {
        let address = match &target.endpoint {
            Endpoint::Host { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Endpoint::Host { host, port } => format!("{host}:{port}"),
            Endpoint::Unix(path) => format!("unix:{}", path.display()),
        };
        let scheme = match target.scheme {
            // HTTP/2 in the clear cannot be asked by the doctor's own requests; connections can be tried all the same.
            Scheme::Http | Scheme::H2c => "http",
            Scheme::Https => "https",
            Scheme::Uwsgi => "uwsgi",
        };
        targets.push(OwnTarget { address, scheme: scheme.to_owned() });
    }
    targets
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
    targets: Vec<OwnTarget>,
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
    let judged = tokio::task::spawn_blocking(move || {
        let began = std::time::Instant::now();
        let mut eyes = doctor::live::behind(&targets, BUDGET, &mut seen);
        let first = eyes.first();
        let diagnosis = doctor::investigate(&mut seen, Some(&mut eyes), &first, true);
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
