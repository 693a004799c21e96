//! Files of another machine: a bundle, or logs and configurations by their names.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use model::Moment;
use model::report::Skipped;
use probe::bundle::{self, Bundle, BundleFile};
use probe::config::{self, Given, Source};
use probe::logs;

use super::assemble::Seen;
use crate::args;

/// Nobody gives a configuration that is larger; a log without a known form may be.
const CONFIGURATION_BYTES_MAX: u64 = 4 << 20;

pub(super) fn read(args: &args::Doctor, started: Instant) -> anyhow::Result<Seen> {
    let folder;
    let mut bundle = match &args.bundle {
        Some(path) if path.is_dir() => bundle::read(path)?,
        Some(path) => {
            folder = Unpacked::new()?;
            bundle::unpack(path, &folder.0)?;
            bundle::read(&folder.0)?
        }
        None => Bundle::default(),
    };
    let given = |paths: &[PathBuf]| -> Vec<BundleFile> {
        paths
            .iter()
            .map(|path| BundleFile { shown: path.display().to_string(), real: path.clone() })
            .collect()
    };
    let logs = given(&args.log);
    let configurations = given(&args.config);
    let mut seen = Seen {
        target: target(args, &bundle),
        evidence: std::mem::take(&mut bundle.evidence),
        skipped: problems(&bundle),
        ..Seen::default()
    };
    let (mut sources, mut unknown) = configurations_of(&bundle.files, false)?;
    let (named, _) = configurations_of(&configurations, true)?;
    sources.extend(named);
    unknown.extend(logs);
    let options = options(args, &bundle, started)?;
    for file in &unknown {
        let read = logs::read(&file.real, &file.shown, None, &options);
        seen.evidence.extend(read.evidence);
        seen.series.extend(read.series);
        seen.skipped.extend(read.skipped);
    }
    logs::name_servers(&mut seen.evidence);
    logs::align(&mut seen.evidence);
    // What they include is looked for among themselves.
    let given = Given::new(sources.iter().map(|source| (source.path.clone(), source.text.clone())));
    let configuration = config::read_sources(&sources, &given, &[]);
    seen.evidence.extend(configuration.evidence);
    seen.made = bundle.made.or_else(|| seen.evidence.iter().filter_map(|evidence| evidence.time).max());
    Ok(seen)
}

fn target(args: &args::Doctor, bundle: &Bundle) -> String {
    let named =
        || args.bundle.iter().chain(&args.log).chain(&args.config).map(|path| path.display().to_string());
    bundle.target.clone().unwrap_or_else(|| named().collect::<Vec<_>>().join(" "))
}

fn problems(bundle: &Bundle) -> Vec<Skipped> {
    let skipped = |problem: &String| Skipped {
        check: problem.clone(),
        reason: "the line is no evidence".to_owned(),
        needs: "a bundle of this version".to_owned(),
    };
    bundle.problems.iter().map(skipped).collect()
}

/// Files that are configurations, and the rest. Those that were named as such must be readable.
fn configurations_of(files: &[BundleFile], named: bool) -> anyhow::Result<(Vec<Source>, Vec<BundleFile>)> {
    let (mut sources, mut rest) = (Vec::new(), Vec::new());
    for file in files {
        let small =
            std::fs::metadata(&file.real).is_ok_and(|metadata| metadata.len() <= CONFIGURATION_BYTES_MAX);
        let text = if small || named { read_lossy(&file.real) } else { Ok(String::new()) };
        let text = match text {
            Ok(text) => text,
            Err(error) if named => {
                return Err(error).with_context(|| format!("failed to read {}", file.shown));
            }
            Err(_) => String::new(),
        };
        let log = !named && probe::parse::sniff(&file.shown, &text).is_some();
        if named || (small && !log && config::Format::of(&file.shown, &text).is_some()) {
            sources.push(Source { path: file.shown.clone(), text, format: None });
        } else {
            rest.push(file.clone());
        }
    }
    Ok((sources, rest))
}

fn read_lossy(path: &Path) -> std::io::Result<String> {
    Ok(String::from_utf8_lossy(&std::fs::read(path)?).into_owned())
}

/// Everything in the files, unless told otherwise; reading ends with the budget.
fn options(args: &args::Doctor, bundle: &Bundle, started: Instant) -> anyhow::Result<logs::Options> {
    let budget = admin::duration("--budget", &args.budget).map_err(anyhow::Error::msg)?;
    let since = match &args.since {
        Some(since) => Some(admin::duration("--since", since).map_err(anyhow::Error::msg)?),
        None => None,
    };
    let present = bundle.made.unwrap_or_else(now);
    Ok(logs::Options {
        since: since.map(|since: Duration| present.plus_seconds(-since.as_secs_f64())),
        now: Some(present),
        boot: None,
        zone_seconds: bundle.zone_seconds.unwrap_or(0),
        deadline: Some(started + budget),
        rotated: args.bundle.is_none(),
    })
}

fn now() -> Moment {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Moment(since.as_millis() as i64)
}

/// A folder of its own for an archive, removed at the end.
struct Unpacked(PathBuf);

impl Unpacked {
    fn new() -> anyhow::Result<Unpacked> {
        use std::os::unix::fs::DirBuilderExt;
        let name = format!("clearway-bundle-{}-{}", std::process::id(), now().0);
        let folder = std::env::temp_dir().join(name);
        let made = std::fs::DirBuilder::new().mode(0o700).create(&folder);
        made.with_context(|| format!("failed to make {}", folder.display()))?;
        Ok(Unpacked(folder))
    }
}

impl Drop for Unpacked {
    fn drop(&mut self) {
        // Nothing more can be done about a folder that does not go.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
