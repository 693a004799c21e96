//! `clearway incidents`: from the running process or, when none runs, from the data directory.

use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use admin::{IncidentFilter, IncidentRow};
use anyhow::{Context, bail};
use model::Moment;
use proxy::telemetry::{duration_text, printable};
use serde_json::Value;
use store::{DataDir, Database};

use crate::args::{Format, IncidentsList, ShowIncident};
use crate::ask::{Asked, ask};
use crate::calls::block_on;
use crate::control::Request;
use crate::{incidents, output};

pub(crate) fn list(args: &IncidentsList) -> anyhow::Result<ExitCode> {
    let filter = IncidentFilter {
        service: args.service.clone(),
        open: args.open.then_some(true),
        since: args.since.clone(),
        limit: args.limit,
        before: None,
    };
    // Nonsense is told before anything is asked, and the same way with and without a process.
    filter.query(SystemTime::now()).map_err(anyhow::Error::msg)?;
    let data = &args.listing.data;
    let mut rows: Vec<IncidentRow> = Vec::new();
    let asked = ask(data, &Request::Incidents(filter.clone()), |document| {
        rows.push(serde_json::from_str(document.get()).context("failed to read an incident")?);
        Ok(())
    })?;
    if asked == Asked::NotRunning {
        rows =
            block_on(async { incidents::list(&database(data).await?, &filter).await.map_err(Into::into) })?
                .map(|page: admin::IncidentPage| page.incidents)
                .map_err(|error: anyhow::Error| error)?;
    }
    let now = now();
    for incident in &rows {
        let text = match args.listing.format {
            Format::Json => format!("{}\n", serde_json::to_string(incident)?),
            Format::Human => row(incident, now),
        };
        output::print(text.as_bytes())?;
    }
    if rows.is_empty() && args.listing.format == Format::Human {
        output::say("no incident matches");
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn show(args: &ShowIncident) -> anyhow::Result<ExitCode> {
    let id = admin::incident_id(&args.id).map_err(anyhow::Error::msg)?;
    let data = &args.listing.data;
    let mut found: Option<IncidentRow> = None;
    let asked = ask(data, &Request::Incident { id: args.id.clone() }, |document| {
        found = Some(serde_json::from_str(document.get()).context("failed to read the incident")?);
        Ok(())
    })?;
    if asked == Asked::NotRunning {
        found = block_on(async {
            incidents::find(&database(data).await?, id).await.map_err(anyhow::Error::from)
        })??;
    }
    let Some(incident) = found else {
        bail!("no incident with the id {id} is kept in {}; see records.retention-days", data.display());
    };
    let text = match args.listing.format {
        Format::Json => format!("{}\n", serde_json::to_string(&incident)?),
        Format::Human => text(&incident, now()),
    };
    output::print(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

async fn database(data: &Path) -> anyhow::Result<Database> {
    let failed = |error: store::StoreError| anyhow::anyhow!("failed to {error}");
    DataDir::open_read_only(data).map_err(failed)?.database().await.map_err(failed)
}

fn now() -> Moment {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Moment(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// A line of the listing.
fn row(incident: &IncidentRow, now: Moment) -> String {
    let second = incident.opened.get(..19).unwrap_or(&incident.opened).replace('T', " ");
    let cause = match (&incident.cause, incident.confidence) {
        (Some(cause), Some(confidence)) => format!("{cause} ({confidence:.2})"),
        _ => "cause not known".to_owned(),
    };
    let IncidentRow { id, service, state, requests, failed, .. } = incident;
    let lasted = duration_text(lasted(incident, now));
    format!(
        "{second}Z  {state:<9}  {lasted:>7}  {id}  {}\n",
        printable(&format!("{service}  {failed} of {requests} failed  {cause}"))
    )
}

/// Microseconds from the first failure to the end, or to now.
fn lasted(incident: &IncidentRow, now: Moment) -> u64 {
    let moment = |text: &str| text.parse::<Moment>().unwrap_or(now);
    let end = incident.closed.as_deref().map_or(now, moment);
    ((end.seconds_since(moment(&incident.began)) * 1e6).max(0.0)) as u64
}

/// One incident. It holds texts that came over the network, so that each line is made printable.
fn text(incident: &IncidentRow, now: Moment) -> String {
    let mut text = String::new();
    let mut line = |line: &str| {
        text.push_str(&printable(line));
        text.push('\n');
    };
    let IncidentRow { id, service, state, began, opened, requests, failed, .. } = incident;
    line(&format!("{service}: {state}, {failed} of {requests} requests failed"));
    let again = match incident.reopened {
        0 => String::new(),
        times => format!(", began anew {times} times"),
    };
    let ended = match &incident.closed {
        Some(closed) => format!("{closed} ({state})"),
        None => "it lasts".to_owned(),
    };
    let share = format!(
        "{:.1}% in ten seconds at most; usually at most {:.1}%",
        incident.peak_share * 100.0,
        incident.usual_share * 100.0
    );
    for (name, fact) in [
        ("id", id.clone()),
        ("began", format!("{began}, noticed {opened}")),
        ("ended", format!("{ended}, after {}{again}", duration_text(lasted(incident, now)))),
        ("failed", share),
        ("looked", incident.diagnosed.clone().unwrap_or_else(|| "not yet".to_owned())),
    ] {
        line(&format!("  {name:<8}{fact}"));
    }
    line("");
    let report = incident.report.as_ref().and_then(|report| serde_json::from_str::<Value>(report.get()).ok());
    let findings = report.as_ref().and_then(|report| report.get("findings")).and_then(Value::as_array);
    match findings {
        Some(findings) if !findings.is_empty() => {
            for (number, finding) in (1..).zip(findings) {
                finding_lines(number, finding, &mut line);
            }
        }
        _ => line("no cause was found"),
    }
    text
}

fn finding_lines(number: usize, finding: &Value, line: &mut impl FnMut(&str)) {
    let word =
        |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let list =
        |value: &Value, name: &str| value.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let confidence = finding.get("confidence").and_then(Value::as_f64).unwrap_or_default();
    line(&format!("{number}. {} ({confidence:.2}): {}", word(finding, "cause"), word(finding, "summary")));
    for evidence in list(finding, "for") {
        line(&format!("   because {} [{}]", word(&evidence, "text"), word(&evidence, "place")));
    }
    for evidence in list(finding, "against") {
        line(&format!("   against {} [{}]", word(&evidence, "text"), word(&evidence, "place")));
    }
    for consequence in list(finding, "consequences") {
        line(&format!("   leads to {}: {}", word(&consequence, "cause"), word(&consequence, "summary")));
    }
    let fix = finding.get("fix").cloned().unwrap_or_default();
    if !word(&fix, "summary").is_empty() {
        line(&format!("   fix: {}", word(&fix, "summary")));
    }
    for (name, what) in [("commands", "run"), ("verify", "verify")] {
        for command in list(&fix, name) {
            line(&format!("   {what}: {}", command.as_str().unwrap_or_default()));
        }
    }
}
