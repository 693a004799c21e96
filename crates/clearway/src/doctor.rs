//! `clearway doctor`: from a URL, files or a bundle to a report. Wiring: `probe` sees, `doctor` judges and words.

mod assemble;
pub(crate) mod collect;
mod files;
mod investigate;
pub(crate) mod live;
mod stages;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use doctor::report::text::Style;
use model::{Evidence, Report};
use probe::discover::{OwnTarget, Url};

use crate::args::{self, ReportFormat};
use crate::output;
use crate::own_records::{self, OwnRecords};
use assemble::Verdict;
pub(crate) use assemble::{ASSERTED_MIN, Seen, report};
pub(crate) use investigate::investigate;
use live::Live;
use stages::Stages;

/// The exit code for everything that keeps the doctor from judging.
pub(crate) const FAILED: u8 = 3;

pub(crate) fn run(args: &args::Doctor) -> anyhow::Result<ExitCode> {
    match judge(args).and_then(|report| deliver(args, &report).map(|()| report)) {
        Ok(report) => Ok(match Verdict::of(&report) {
            Verdict::Healthy => ExitCode::SUCCESS,
            Verdict::Findings => ExitCode::from(1),
            Verdict::Inconclusive => ExitCode::from(2),
        }),
        Err(error) if output::is_closed(&error) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            output::say(&format!("clearway doctor: {error:#}"));
            Ok(ExitCode::from(FAILED))
        }
    }
}

/// Reads what there is, and judges it.
fn judge(args: &args::Doctor) -> anyhow::Result<Report> {
    let started = Instant::now();
    if args.bundle.is_some() || !args.log.is_empty() || !args.config.is_empty() {
        let mut seen = files::read(args, started)?;
        let diagnosis = investigate(&mut seen, None, &[], false);
        seen.took = started.elapsed();
        return Ok(report(seen, diagnosis));
    }
    if args.kubernetes {
        return cluster(args, started);
    }
    if let Some(id) = args.target.as_deref().filter(|target| admin::call_id(target).is_ok()) {
        return own(args, id, started);
    }
    let url = args.target.as_deref().map(str::parse::<Url>).transpose()?;
    let mut stages = Stages { spoken: args.format == ReportFormat::Text };
    let Live { mut seen, mut eyes } = live::look(args, url, &mut stages)?;
    seen.passive = started.elapsed();
    let first = eyes.first();
    let diagnosis = investigate(&mut seen, Some(&mut eyes), &first, true);
    stages.asked(eyes.asked());
    seen.series.extend(eyes.queues());
    seen.took = started.elapsed();
    Ok(report(seen, diagnosis))
}

/// Judges a cluster by what its API tells.
fn cluster(args: &args::Doctor, started: Instant) -> anyhow::Result<Report> {
    let duration = |name: &str, text: &str| admin::duration(name, text).map_err(anyhow::Error::msg);
    let now = live::now();
    let looked = probe::kubernetes::look(&probe::kubernetes::Options {
        server: args.kubernetes_server.clone(),
        kubeconfig: args.kubeconfig.clone(),
        namespace: args.namespace.clone(),
        target: args.target.clone(),
        since: args.since.as_deref().map_or(Ok(live::SINCE), |since| duration("--since", since))?,
        now: Some(now),
        budget: duration("--budget", &args.budget)?,
    })?;
    let mut seen = Seen {
        target: looked.target,
        made: Some(now),
        chain: looked.chain,
        evidence: looked.evidence,
        skipped: looked.skipped,
        series: looked.series,
        ..Seen::default()
    };
    let diagnosis = investigate(&mut seen, None, &[], true);
    seen.took = started.elapsed();
    seen.passive = seen.took;
    Ok(report(seen, diagnosis))
}

/// Judges a request of Clearway's own by its records.
fn own(args: &args::Doctor, id: &str, started: Instant) -> anyhow::Result<Report> {
    let Some(OwnRecords { subject, evidence }) = own_records::around_request(&args.data, id)? else {
        anyhow::bail!(
            "no call with the id {id} is kept in {}; see records.retention-days",
            args.data.display()
        );
    };
    let made = evidence.iter().filter_map(|item| item.time).max();
    let now = live::now();
    let recent = made.is_some_and(|made| now.seconds_since(made) < live::SINCE.as_secs_f64());
    let targets = if recent { targets_of(&evidence) } else { Vec::new() };
    let mut seen = Seen { target: subject, made, evidence, ..Seen::default() };
    let diagnosis = if targets.is_empty() {
        // Long ago: what the machine is like now is no evidence for it.
        investigate(&mut seen, None, &[], false)
    } else {
        let budget = admin::duration("--budget", &args.budget).map_err(anyhow::Error::msg)?;
        let mut eyes = live::behind(&targets, budget, &mut seen);
        seen.made = Some(now);
        seen.passive = started.elapsed();
        let first = eyes.first();
        let diagnosis = investigate(&mut seen, Some(&mut eyes), &first, true);
        seen.series.extend(eyes.queues());
        diagnosis
    };
    seen.took = started.elapsed();
    Ok(report(seen, diagnosis))
}

/// Where the failed attempts went.
fn targets_of(evidence: &[Evidence]) -> Vec<OwnTarget> {
    let mut targets: Vec<OwnTarget> = Vec::new();
    for failure in evidence.iter().filter(|item| item.kind == "failure") {
        if let Some(address) = failure.get("upstream")
            && !targets.iter().any(|known| known.address == address)
        {
            let scheme = failure.get("scheme").unwrap_or("http").to_owned();
            targets.push(OwnTarget { address: address.to_owned(), scheme });
        }
    }
    targets
}

/// Writes the report where it is wanted, in the form that is wanted.
fn deliver(args: &args::Doctor, report: &Report) -> anyhow::Result<()> {
    let terminal = args.output.is_none() && std::io::stdout().is_terminal();
    let text = match args.format {
        ReportFormat::Json => doctor::report::json::render(report),
        ReportFormat::Markdown => doctor::report::markdown::render(report),
        ReportFormat::Html => doctor::report::html::render(report),
        ReportFormat::Text => {
            let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            doctor::report::text::render(report, Style { width: width(terminal), colour })
        }
    };
    match &args.output {
        Some(path) => {
            std::fs::write(path, text).with_context(|| format!("failed to write {}", path.display()))
        }
        None => Ok(output::print(text.as_bytes())?),
    }
}

/// The columns of the terminal, where there is one.
fn width(terminal: bool) -> usize {
    const DEFAULT: usize = 120;
    if !terminal {
        return DEFAULT;
    }
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ fills in a winsize, which outlives the call.
    let asked = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &mut size) };
    if asked == 0 && size.ws_col > 0 { usize::from(size.ws_col) } else { DEFAULT }
}
