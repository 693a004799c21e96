//! `clearway check`: every problem of configurations, Clearway's own and those of others, before it makes requests fail.

mod collect;
mod found;
mod json;
mod junit;
mod own;
mod sarif;
mod text;

use std::process::ExitCode;

use ::doctor::{Catalogue, lint};
use probe::config::{self, Disk, Given, Origin, Software};

use crate::args::{Check, CheckFormat};
use crate::output;
use crate::sources::DEFAULT_FILE;

use collect::Collected;
use found::{Found, Result, Severity};

/// Errors were found.
const ERRORS: u8 = 1;
/// Only warnings were found, and they count.
const WARNINGS: u8 = 2;
/// Something kept it from checking.
pub(crate) const FAILED: u8 = 3;

pub(crate) fn run(args: &Check) -> anyhow::Result<ExitCode> {
    if args.settings {
        return settings(args);
    }
    let result = match check(args) {
        Ok(result) => result,
        Err(error) => {
            output::say(&format!("clearway: {error:#}"));
            return Ok(ExitCode::from(FAILED));
        }
    };
    let text = match args.format {
        CheckFormat::Text => text::write(&result),
        CheckFormat::Json => json::write(&result),
        CheckFormat::Sarif => sarif::write(&result),
        CheckFormat::Junit => junit::write(&result),
    };
    output::print(text.as_bytes())?;
    Ok(match (result.count(Severity::Error), result.count(Severity::Warning)) {
        (0, 0) => ExitCode::SUCCESS,
        (0, _) if args.strict => ExitCode::from(WARNINGS),
        (0, _) => ExitCode::SUCCESS,
        _ => ExitCode::from(ERRORS),
    })
}

fn check(args: &Check) -> anyhow::Result<Result> {
    let software = args.version_of.iter().map(|text| software(text)).collect::<anyhow::Result<Vec<_>>>()?;
    let collected = collect::collect(&args.sources)?;
    let mut result = Result::default();
    if let Some(own) = &collected.own {
        if args.sources.is_empty() && own.is_empty() && !std::path::Path::new(DEFAULT_FILE).exists() {
            anyhow::bail!("no file was named, and there is no {DEFAULT_FILE} in the working directory");
        }
        own::check(own, &mut result)?;
    }
    if !collected.foreign.is_empty() {
        foreign(&collected, &software, &mut result);
    }
    result.skipped = collected.skipped;
    Ok(result)
}

/// Prints what was read.
fn settings(args: &Check) -> anyhow::Result<ExitCode> {
    let read = args
        .version_of
        .iter()
        .map(|text| software(text))
        .collect::<anyhow::Result<Vec<_>>>()
        .and_then(|software| Ok(read(&collect::collect(&args.sources)?, &software)));
    match read {
        Ok(configuration) => {
            let lines: String =
                configuration.evidence.iter().map(|evidence| format!("{evidence}\n")).collect();
            output::print(lines.as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            output::say(&format!("clearway: {error:#}"));
            Ok(ExitCode::from(FAILED))
        }
    }
}

/// Configurations of others; what they include is looked for among the files that were named, then on the disk.
fn read(collected: &Collected, software: &[Software]) -> config::Configuration {
    let given = collected.foreign.iter().map(|source| (source.path.clone(), source.text.clone()));
    let given = Given::new(given);
    let files = config::Layered { first: &given, then: &Disk };
    config::read_sources(&collected.foreign, &files, software)
}

/// What is wrong with configurations of others, each alone and all together.
fn foreign(collected: &Collected, software: &[Software], result: &mut Result) {
    let configuration = read(collected, software);
    result.files.extend(configuration.read.iter().cloned());
    for problem in &configuration.problems {
        result.found.push(Found::of_problem(problem));
    }
    let catalogue = Catalogue::lints();
    let findings = lint(catalogue, &configuration.evidence);
    result.found.extend(findings.iter().map(|finding| Found::of_finding(finding, catalogue)));
    result.sort();
}

fn software(text: &str) -> anyhow::Result<Software> {
    match text.split_once('=') {
        Some((product, version))
            if !product.is_empty() && version.starts_with(|c: char| c.is_ascii_digit()) =>
        {
            Ok(Software {
                product: product.to_owned(),
                version: version.to_owned(),
                origin: Origin::default(),
            })
        }
        _ => anyhow::bail!("--version-of '{text}' must be a product and its version, as nginx=1.31.5"),
    }
}
