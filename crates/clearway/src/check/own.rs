//! Clearway's own configuration.

use std::path::PathBuf;

use ::config::{Overrides, Problem, Severity as OfConfig};

use crate::sources::{LoadError, Sources};

use super::found::{CLEARWAY, Found, Result, Severity};

/// Checks the files as a start would; an error where one cannot be read.
pub(super) fn check(paths: &[PathBuf], result: &mut Result) -> anyhow::Result<()> {
    let sources = Sources::new(paths.to_vec(), Overrides::default());
    result.files.extend(sources.paths.iter().map(|path| path.display().to_string()));
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
            result.own = Some(text);
            result.found.extend(checked.warnings.iter().map(found));
            Ok(())
        }
        Err(LoadError::Unreadable(error)) => Err(error),
        Err(LoadError::Problems(problems)) => {
            result.own = Some(format!("{problems}\n"));
            result.found.extend(problems.0.iter().map(found));
            Ok(())
        }
    }
}

fn found(problem: &Problem) -> Found {
    Found {
        rule: CLEARWAY.to_owned(),
        severity: match problem.severity {
            OfConfig::Error => Severity::Error,
            OfConfig::Warning => Severity::Warning,
        },
        file: problem.file.clone(),
        line: u64::from(problem.line),
        column: u64::from(problem.column),
        message: problem.message.clone(),
        because: Vec::new(),
        fix: problem.hint.clone().unwrap_or_default(),
        edits: Vec::new(),
        page: None,
    }
}
