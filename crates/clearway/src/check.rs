//! `clearway check`: every problem of a configuration, or what it would serve.

use std::process::ExitCode;

use config::Overrides;

use crate::args::Check;
use crate::output;
use crate::sources::{DEFAULT_FILE, LoadError, Sources};

pub(crate) fn run(args: &Check) -> anyhow::Result<ExitCode> {
    let sources = Sources::new(args.sources.clone(), Overrides::default());
    if sources.paths.is_empty() {
        anyhow::bail!("no file was named, and there is no {DEFAULT_FILE} in the working directory");
    }
    match sources.load() {
        Ok(checked) => {
            let mut text: String = checked.warnings.iter().map(|warning| format!("{warning}\n")).collect();
            let services = checked.gateway.services.len();
            let upstreams = checked.gateway.upstreams.len();
            let listeners = checked.gateway.listeners.len();
            let of = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
            text.push_str(&format!(
                "the configuration is good: {}, {}, {}\n",
                of(listeners, "listener"),
                of(services, "service"),
                of(upstreams, "upstream")
            ));
            output::print(text.as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        Err(LoadError::Unreadable(error)) => Err(error),
        Err(LoadError::Problems(problems)) => {
            output::print(format!("{problems}\n").as_bytes())?;
            Ok(ExitCode::FAILURE)
        }
    }
}
