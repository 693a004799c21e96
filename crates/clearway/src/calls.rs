//! `clearway calls`: what was served, from the running process or, when none runs, from the data directory.

use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use admin::CallFilter;
use anyhow::{Context, bail};
use proxy::telemetry::{duration_text, printable};
use serde_json::value::RawValue;
use store::{DataDir, RecordReader};

use crate::args::{Calls, Format, Show};
use crate::ask::{Asked, ask};
use crate::call::Call;
use crate::control::Request;
use crate::{output, running, timeline};

pub(crate) fn list(args: &Calls) -> anyhow::Result<ExitCode> {
    let filter = filter(args);
    // Nonsense is told before anything is asked, and the same way with and without a process.
    let query = filter.query(SystemTime::now()).map_err(anyhow::Error::msg)?;
    let data = &args.listing.data;
    let format = args.listing.format;
    let mut listed = 0;
    let mut print = |document: &RawValue| {
        listed += 1;
        print_row(document, format)
    };
    let request = if args.follow { Request::Follow(filter) } else { Request::Calls(filter) };
    if ask(data, &request, &mut print)? == Asked::NotRunning {
        if args.follow {
            bail!("no clearway process answers for {}; there is nothing to follow", data.display());
        }
        let reader = reader(data)?;
        let page = block_on(running::search(&reader, &query))??;
        page.calls.iter().try_for_each(|call| print(call))?;
        if let Some(warning) = page.warning {
            output::say(&warning);
        }
    }
    if listed == 0 && format == Format::Human {
        output::say("no call matches");
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn show(args: &Show) -> anyhow::Result<ExitCode> {
    let id = admin::call_id(&args.id).map_err(anyhow::Error::msg)?;
    let data = &args.listing.data;
    let mut found = None;
    let request = Request::Call { id: args.id.clone() };
    let asked = ask(data, &request, |document| {
        found = Some(document.to_owned());
        Ok(())
    })?;
    if asked == Asked::NotRunning {
        found = block_on(running::find(&reader(data)?, id))??;
    }
    let Some(document) = found else {
        bail!("no call with the id {id} is kept in {}; see records.retention-days", data.display());
    };
    match args.listing.format {
        Format::Json => output::print(format!("{document}\n").as_bytes())?,
        Format::Human => {
            let call: Call = serde_json::from_str(document.get()).context("failed to read the call")?;
            output::print(timeline::text(&call).as_bytes())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn filter(args: &Calls) -> CallFilter {
    CallFilter {
        status: args.status.clone(),
        fault: args.fault.clone(),
        service: args.service.clone(),
        route: args.route.clone(),
        consumer: args.consumer.clone(),
        method: args.method.clone(),
        path: args.path.clone(),
        slower_than: args.slower_than.clone(),
        since: args.since.clone(),
        limit: args.limit,
        before: None,
    }
}

pub(crate) fn reader(data: &Path) -> anyhow::Result<RecordReader> {
    let directory = DataDir::open_read_only(data).map_err(|error| anyhow::anyhow!("failed to {error}"))?;
    Ok(RecordReader::open(&directory))
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.context("failed to start a runtime")?.block_on(future))
}

fn print_row(document: &RawValue, format: Format) -> anyhow::Result<()> {
    let line = match format {
        Format::Json => format!("{document}\n"),
        Format::Human => {
            let call: Call = serde_json::from_str(document.get()).context("failed to read a call")?;
            row(&call)
        }
    };
    Ok(output::print(line.as_bytes())?)
}

/// A line of the listing: columns first, then what has no width.
fn row(call: &Call) -> String {
    let Call { time, id, status, duration_us, method, host, path, ending, .. } = call;
    let second = time.get(..19).unwrap_or(time).replace('T', " ");
    let host = if host.is_empty() { "-" } else { host };
    let what = printable(&format!("{method} {host}{path}"));
    let duration = duration_text(*duration_us);
    let mut line = format!("{second}Z  {status}  {duration:>7}  {id}  {what}");
    if let Some(fault) = &ending.fault {
        line.push_str(&format!("  {fault} during {}", ending.during));
    }
    line.push('\n');
    line
}
