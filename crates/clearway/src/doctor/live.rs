//! This machine: what is there, what its logs say of the last minutes, and whoever can tell more when asked.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use model::report::Series;
use model::{Moment, Want};
use probe::check::{self, Answer, Budget};
use probe::discover::{self, OwnTarget, Scene, Url};
use probe::logs;

use super::assemble::Seen;
use super::investigate::{Eyes, Look};
use super::stages::Stages;
use crate::args;

/// How far back logs are read unless told otherwise: whoever asks is woken by what happens now.
pub(super) const SINCE: Duration = Duration::from_secs(15 * 60);
/// How long reading logs may take; probing has a budget of its own.
const READING: Duration = Duration::from_millis(1_500);

/// Between two measures of the queues.
const MEASURE_EVERY: Duration = Duration::from_millis(50);

/// What was seen without asking, and the eyes to look further with.
pub(super) struct Live {
    pub(super) seen: Seen,
    pub(super) eyes: LiveEyes,
}

pub(super) fn look(args: &args::Doctor, url: Option<Url>, stages: &mut Stages) -> anyhow::Result<Live> {
    let since = match &args.since {
        Some(since) => admin::duration("--since", since).map_err(anyhow::Error::msg)?,
        None => SINCE,
    };
    let budget = admin::duration("--budget", &args.budget).map_err(anyhow::Error::msg)?;
    let mut scene = discover::discover(url);
    stages.chain(&scene.chain);
    let now = now();
    let options = options(now, since);
    let mut seen = Seen {
        target: scene.url.as_ref().map_or_else(|| "this machine".to_owned(), ToString::to_string),
        made: Some(now),
        chain: std::mem::take(&mut scene.chain),
        evidence: scene.evidence.clone(),
        skipped: std::mem::take(&mut scene.skipped),
        ..Seen::default()
    };
    read_logs(&scene, &mut seen, &options, stages);
    scene.evidence.clone_from(&seen.evidence);
    Ok(Live { seen, eyes: LiveEyes { scene, budget: Budget::new(budget), asked: 0, queues: Vec::new() } })
}

/// The machine behind this process: where a service of Clearway's own sends its requests. What is there is added to `seen`.
pub(crate) fn behind(targets: &[OwnTarget], budget: Duration, seen: &mut Seen) -> LiveEyes {
    let mut scene = discover::behind(targets);
    seen.chain.append(&mut scene.chain);
    seen.evidence.append(&mut scene.evidence);
    seen.skipped.append(&mut scene.skipped);
    read_logs(&scene, seen, &options(now(), SINCE), &mut Stages { spoken: false });
    scene.evidence.clone_from(&seen.evidence);
    LiveEyes { scene, budget: Budget::new(budget), asked: 0, queues: Vec::new() }
}

fn options(now: Moment, since: Duration) -> logs::Options {
    logs::Options {
        since: Some(now.plus_seconds(-since.as_secs_f64())),
        now: Some(now),
        boot: probe::host::process::boot_time(),
        zone_seconds: zone_seconds(),
        deadline: Some(Instant::now() + READING),
        rotated: true,
    }
}

/// The logs of the chain, and the kernel's.
fn read_logs(scene: &Scene, seen: &mut Seen, options: &logs::Options, stages: &mut Stages) {
    for log in &scene.logs {
        let shown = log.path.display().to_string();
        let read = logs::read(&log.path, &shown, log.format, options);
        // A file that a server appends to need not be a log.
        let unknown = read.format.is_none() && log.format.is_none();
        if !unknown {
            stages.log(&shown, read.evidence.len(), &read.skipped);
            seen.skipped.extend(read.skipped);
        }
        seen.evidence.extend(read.evidence);
        seen.series.extend(read.series);
    }
    system_logs(seen, options, stages);
    logs::name_servers(&mut seen.evidence);
    logs::align(&mut seen.evidence);
}

/// The journal, and the kernel's own messages where neither it nor a file has them.
fn system_logs(seen: &mut Seen, options: &logs::Options, stages: &mut Stages) {
    if let Some(read) = logs::read_journal(options) {
        stages.log("journal", read.evidence.len(), &read.skipped);
        seen.evidence.extend(read.evidence);
        seen.skipped.extend(read.skipped);
        seen.series.extend(read.series);
    }
    let read = seen.evidence.iter().any(|item| item.kind == "read" && item.get("what") == Some("kernel-log"));
    if read {
        return;
    }
    match probe::kernel_log::read(options) {
        Ok(evidence) => {
            stages.log("kernel log", evidence.len(), &[]);
            seen.evidence.extend(evidence);
        }
        Err(skipped) => seen.skipped.push(skipped),
    }
}

/// Looks at the machine when asked, within a budget.
pub(crate) struct LiveEyes {
    scene: Scene,
    budget: Budget,
    asked: usize,
    queues: Vec<Series>,
}

impl LiveEyes {
    /// The questions with which every diagnosis begins: does it fail now, and does the server behind answer?
    pub(crate) fn first(&self) -> Vec<Want> {
        let mut wants = Vec::new();
        if self.scene.url.is_some() {
            wants.push(Want::new("http-probe").with("via", "proxy"));
        }
        for upstream in self.scene.upstreams.iter().take(2) {
            wants.push(Want::new("http-probe").with("via", "direct").with("addr", &upstream.written));
        }
        wants
    }
}

/// One point of each queue.
fn measure(scene: &Scene, queues: &mut Vec<Series>) {
    for (address, waiting) in scene.queues() {
        let name = format!("queue of {address}");
        let at = match queues.iter().position(|series| series.name == name) {
            Some(at) => at,
            None => {
                queues.push(Series { name, unit: "connections".to_owned(), points: Vec::new() });
                queues.len() - 1
            }
        };
        if let Some(series) = queues.get_mut(at) {
            series.points.push((now(), waiting));
        }
    }
}

impl LiveEyes {
    /// The queues in front of the servers, as they were while it was looked.
    pub(super) fn queues(&mut self) -> Vec<Series> {
        std::mem::take(&mut self.queues)
    }

    /// The logs and configurations that were read, each with the bytes that may be taken of it.
    pub(super) fn files(&self, log_max: u64, configuration_max: u64) -> Vec<(PathBuf, u64)> {
        let logs = self.scene.logs.iter().map(|log| (log.path.clone(), log_max));
        let read = self.scene.configurations.iter().filter(|path| !path.starts_with("/proc/"));
        let mut files: Vec<(PathBuf, u64)> =
            logs.chain(read.map(|path| (PathBuf::from(path), configuration_max))).collect();
        files.sort();
        files.dedup_by(|a, b| a.0 == b.0);
        files
    }

    /// How often it was looked.
    pub(super) fn asked(&self) -> usize {
        self.asked
    }
}

impl Eyes for LiveEyes {
    fn look(&mut self, wants: &[Want]) -> Vec<Look> {
        self.asked += wants.len();
        let (scene, budget, queues) = (&self.scene, &self.budget, &mut self.queues);
        let done = AtomicBool::new(false);
        let answers: Vec<Answer> = thread::scope(|scope| {
            let looking: Vec<_> =
                wants.iter().map(|want| scope.spawn(move || check::answer(scene, want, budget))).collect();
            // Meanwhile the queues in front of the servers are measured, for the chart.
            let measuring = scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    measure(scene, queues);
                    thread::sleep(MEASURE_EVERY);
                }
            });
            let answers = looking.into_iter().map(|one| one.join().unwrap_or_default()).collect();
            done.store(true, Ordering::Relaxed);
            // Without it there is one chart less.
            let _ = measuring.join();
            answers
        });
        let look = |answer: Answer| Look {
            evidence: answer.evidence,
            skipped: answer.skipped,
            probes: answer.probed,
        };
        let looks: Vec<Look> = answers.into_iter().map(look).collect();
        self.scene.evidence.extend(looks.iter().flat_map(|look| look.evidence.iter().cloned()));
        looks
    }

    fn has_time_for(&self, want: &Want) -> bool {
        !check::waits(want) || !self.budget.left().is_zero()
    }
}

pub(super) fn now() -> Moment {
    Moment(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64)
}

/// Seconds that this machine's clock is ahead of UTC: logs are written in its zone.
pub(super) fn zone_seconds() -> i64 {
    let mut broken = std::mem::MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both pointers are to values of the right type that outlive the calls; localtime_r is safe among threads.
    let broken = unsafe {
        let now = libc::time(std::ptr::null_mut());
        if libc::localtime_r(&raw const now, broken.as_mut_ptr()).is_null() {
            return 0;
        }
        broken.assume_init()
    };
    broken.tm_gmtoff
}
