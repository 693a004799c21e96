//! `clearway upgrade`: asks the running process to hand over to a new one, and says what became of it.

use std::process::ExitCode;

use anyhow::{Context, bail};

use crate::args::Upgrade;
use crate::ask::{Asked, ask};
use crate::control::Request;
use crate::output;
use crate::running::Upgraded;

pub(crate) fn run(args: &Upgrade) -> anyhow::Result<ExitCode> {
    let timeout = admin::duration("--timeout", &args.timeout).map_err(anyhow::Error::msg)?;
    let timeout_ms = u64::try_from(timeout.as_millis()).context("--timeout is too long")?;
    let asked = ask(&args.data, &Request::Upgrade { timeout_ms }, |document| {
        let upgraded = serde_json::from_str(document.get()).context("failed to read the answer")?;
        Ok(output::print(text(&upgraded).as_bytes())?)
    })?;
    if asked == Asked::NotRunning {
        bail!(
            "no clearway process answers for {}, so that none can be upgraded; start one with `clearway up`, or name \
             its directory with --data",
            args.data.display()
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn text(upgraded: &Upgraded) -> String {
    let Upgraded { old_pid, new_pid, in_flight } = upgraded;
    let finishing = match in_flight {
        0 => "nothing was in flight in the old process".to_owned(),
        1 => "1 request is finishing in the old process".to_owned(),
        _ => format!("{in_flight} requests are finishing in the old process"),
    };
    format!("upgraded: pid {old_pid} -> {new_pid}, {finishing}\n")
}
