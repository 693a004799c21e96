//! `cargo xtask lab`: real stacks that are broken on purpose, and whether the doctor finds what was done to them.
//!
//! A scenario is a file `lab/FAMILY/NAME.py`; `lab/run.py` builds its stack in namespaces of its own, breaks it, proves it,
//! runs the doctor and judges its report. Here they are chosen, run side by side, and counted.

mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::programs::{self, Profile};
use crate::{process, say};

pub const USAGE: &str = "\
usage: cargo xtask lab list
       cargo xtask lab run NAME... [--without PART] [--binary PATH | --debug]
       cargo xtask lab judge [--smoke] [--write] [--binary PATH | --debug]

  list     the scenarios
  run      those named (FAMILY, or FAMILY/NAME), and what the doctor said; logs and reports stay in target/lab
  judge    all of them; with --write also without root, without the proxy's logs and without the server's,
           and the table in docs/accuracy.md

  --without root|proxy-logs|server-logs   what the doctor has to do without
  --smoke                                 one of each family, for CI
  --binary PATH                           this clearway instead of a release build; --debug takes a debug build

Needs root, and what tests/setup.sh lab installs.
";

/// What is run for every change: one of each family.
const SMOKE: &[&str] = &[
    "application/oserror_escape",
    "boot/import_error",
    "compound/two_faults",
    "controls/healthy",
    "death/harakiri",
    "dependency/db_lock",
    "http/header_too_big_nginx",
    "network/firewall_reject",
    "process/nothing_listens",
    "protocol/http_to_https",
    "routing/dns_nxdomain",
    "slow/loop_blocked",
];

/// Scenarios side by side: they mostly wait.
const JOBS: usize = 2;
/// The share of scenarios whose first cause must be right with everything at hand, and without root.
const BAR: f64 = 0.95;
const BAR_WITHOUT_ROOT: f64 = 0.80;

/// What the doctor has to do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Without {
    Nothing,
    Root,
    ProxyLogs,
    ServerLogs,
}

impl Without {
    const ALL: [Without; 4] = [Without::Nothing, Without::Root, Without::ProxyLogs, Without::ServerLogs];

    fn word(self) -> Option<&'static str> {
        match self {
            Without::Nothing => None,
            Without::Root => Some("root"),
            Without::ProxyLogs => Some("proxy-logs"),
            Without::ServerLogs => Some("server-logs"),
        }
    }
}

/// What came of one run of a scenario.
#[derive(Clone, Debug, Default)]
struct Verdict {
    name: String,
    about: String,
    /// The fault was seen to happen.
    proven: bool,
    right: bool,
    why: String,
    first: Option<String>,
    confidence: Option<f64>,
    seconds: Option<f64>,
    passive: Option<f64>,
}

impl Verdict {
    fn read(name: &str, path: &Path) -> Verdict {
        let failed = |why: String| Verdict { name: name.to_owned(), why, ..Verdict::default() };
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => return failed(format!("it left no result: {error}")),
        };
        let Ok(value) = serde_json::from_str::<Value>(&text) else {
            return failed("its result is no JSON".to_owned());
        };
        let text = |field: &str| value.get(field).and_then(Value::as_str).map(str::to_owned);
        let number = |field: &str| value.get(field).and_then(Value::as_f64);
        let yes = |field: &str| value.get(field).and_then(Value::as_bool) == Some(true);
        Verdict {
            name: name.to_owned(),
            about: text("about").unwrap_or_default(),
            proven: yes("proven"),
            right: yes("right"),
            why: text("why").unwrap_or_default(),
            first: text("first"),
            confidence: number("confidence"),
            seconds: number("seconds"),
            passive: number("passive"),
        }
    }

    fn line(&self) -> String {
        let mark = if self.right { "ok  " } else { "FAIL" };
        let first = self.first.as_deref().unwrap_or("nothing");
        let confidence = self.confidence.map(|c| format!(" {c:.2}")).unwrap_or_default();
        let seconds = self.seconds.map(|s| format!(" in {s:.2} s")).unwrap_or_default();
        let why = if self.why.is_empty() { String::new() } else { format!(": {}", self.why) };
        format!("{mark} {:<36} {first}{confidence}{seconds}{why}", self.name)
    }
}

/// What was asked for on the command line.
#[derive(Debug, Default)]
struct Options {
    names: Vec<String>,
    without: Option<String>,
    smoke: bool,
    write: bool,
    debug: bool,
    binary: Option<PathBuf>,
}

impl Options {
    fn parse(arguments: &[&str]) -> anyhow::Result<Options> {
        let mut options = Options::default();
        let mut words = arguments.iter().copied();
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a value\n\n{USAGE}"));
            match word {
                "--smoke" => options.smoke = true,
                "--write" => options.write = true,
                "--debug" => options.debug = true,
                "--binary" => options.binary = Some(PathBuf::from(value()?)),
                "--without" => options.without = Some(value()?.to_owned()),
                word if word.starts_with('-') => bail!("failed to understand '{word}'\n\n{USAGE}"),
                name => options.names.push(name.to_owned()),
            }
        }
        Ok(options)
    }

    fn without(&self) -> anyhow::Result<Without> {
        let Some(word) = &self.without else { return Ok(Without::Nothing) };
        let known = Without::ALL.into_iter().find(|without| without.word() == Some(word));
        known.with_context(|| format!("'{word}' must be root, proxy-logs or server-logs"))
    }
}

pub fn run(root: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    match arguments {
        ["list"] => {
            for name in scenarios(root)? {
                say(&format!("{name:<36} {}", about(root, &name)?));
            }
            Ok(())
        }
        ["run", rest @ ..] => run_named(root, &Options::parse(rest)?),
        ["judge", rest @ ..] => judge(root, &Options::parse(rest)?),
        _ => bail!("failed to understand 'lab {}'\n\n{USAGE}", arguments.join(" ")),
    }
}

/// The names of all scenarios, in their order.
pub fn scenarios(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for family in folder(&root.join("lab"))?.into_iter().filter(|path| path.is_dir()) {
        for path in folder(&family)?.into_iter().filter(|path| path.extension().is_some_and(|e| e == "py")) {
            let part = |path: &Path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
            if let (Some(family), Some(name)) = (part(&family), part(&path)) {
                names.push(format!("{family}/{name}"));
            }
        }
    }
    names.sort();
    Ok(names)
}

fn folder(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(path).with_context(|| format!("failed to read {}", path.display()))?;
    Ok(entries.flatten().map(|entry| entry.path()).collect())
}

/// The first line of a scenario's text.
fn about(root: &Path, name: &str) -> anyhow::Result<String> {
    let path = root.join("lab").join(format!("{name}.py"));
    let text = fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
    Ok(text.lines().next().unwrap_or_default().trim_matches('"').to_owned())
}

fn run_named(root: &Path, options: &Options) -> anyhow::Result<()> {
    let all = scenarios(root)?;
    let mut wanted = Vec::new();
    for name in &options.names {
        let found: Vec<String> = all
            .iter()
            .filter(|known| *known == name || known.starts_with(&format!("{name}/")))
            .cloned()
            .collect();
        if found.is_empty() {
            bail!("there is no scenario '{name}': 'cargo xtask lab list' lists them");
        }
        wanted.extend(found);
    }
    if wanted.is_empty() {
        bail!("name a scenario\n\n{USAGE}");
    }
    let verdicts = Runner::new(root, options)?.run_all(&wanted, options.without()?)?;
    let wrong = verdicts.iter().filter(|verdict| !verdict.right).count();
    if wrong == 0 { Ok(()) } else { bail!("{wrong} of {} are not as they should be", verdicts.len()) }
}

fn judge(root: &Path, options: &Options) -> anyhow::Result<()> {
    let names: Vec<String> = match options.smoke {
        true => SMOKE.iter().map(|name| (*name).to_owned()).collect(),
        false => scenarios(root)?,
    };
    let runner = Runner::new(root, options)?;
    let modes: &[Without] = if options.write { &Without::ALL } else { &[Without::Nothing] };
    let mut runs = Vec::new();
    for without in modes {
        if let Some(word) = without.word() {
            say(&format!("==> lab: without {word}"));
        }
        runs.push((*without, runner.run_all(&names, *without)?));
    }
    let sums: Vec<table::Sum> =
        runs.iter().map(|(without, verdicts)| table::Sum::of(*without, verdicts)).collect();
    for sum in &sums {
        say(&sum.line());
    }
    if options.write {
        table::write(root, &runs, &sums)?;
    }
    let below: Vec<String> = sums.iter().filter_map(table::Sum::shortfall).collect();
    if below.is_empty() { Ok(()) } else { bail!("below the bar: {}", below.join("; ")) }
}

/// Runs scenarios with one clearway.
struct Runner {
    root: PathBuf,
    clearway: PathBuf,
    python: PathBuf,
}

impl Runner {
    fn new(root: &Path, options: &Options) -> anyhow::Result<Runner> {
        let python = root.join(".venv-lab/bin/python");
        if !python.is_file() {
            bail!("there is no .venv-lab: run 'tests/setup.sh lab' first");
        }
        // SAFETY: it only asks.
        if unsafe { libc::geteuid() } != 0 {
            bail!("the lab makes namespaces: run it as root");
        }
        process::catch_signals();
        let profile = if options.debug { Profile::Debug } else { Profile::Release };
        let clearway = match &options.binary {
            Some(path) => {
                path.canonicalize().with_context(|| format!("failed to find {}", path.display()))?
            }
            None => programs::build(root, profile)?,
        };
        Ok(Runner { root: root.to_owned(), clearway, python })
    }

    /// Runs the scenarios side by side, and tells each as it ends; in the order of their names.
    fn run_all(&self, names: &[String], without: Without) -> anyhow::Result<Vec<Verdict>> {
        let next = AtomicUsize::new(0);
        let verdicts: Mutex<Vec<Verdict>> = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..JOBS {
                scope.spawn(|| {
                    while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if process::was_interrupted() {
                            return;
                        }
                        let verdict = self.run_one(name, without);
                        say(&verdict.line());
                        verdicts.lock().expect("a verdict is pushed whole").push(verdict);
                    }
                });
            }
        });
        process::check_interrupt()?;
        let mut verdicts = verdicts.into_inner().expect("a verdict is pushed whole");
        verdicts.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(verdicts)
    }

    fn run_one(&self, name: &str, without: Without) -> Verdict {
        let family = without.word().map_or_else(String::new, |word| format!("-without-{word}"));
        let folder = self.root.join(format!("target/lab{family}")).join(name);
        // What an earlier run left would be taken for this one's.
        let _ = fs::remove_dir_all(&folder);
        let begun = fs::create_dir_all(&folder).and_then(|()| fs::File::create(folder.join("output")));
        let output = match begun.and_then(|output| Ok((output.try_clone()?, output))) {
            Ok(output) => output,
            Err(error) => {
                return Verdict { name: name.to_owned(), why: error.to_string(), ..Verdict::default() };
            }
        };
        let mut command = Command::new(&self.python);
        command.arg(self.root.join("lab/run.py")).arg(name);
        command.arg("--clearway").arg(&self.clearway).arg("--folder").arg(&folder);
        if let Some(word) = without.word() {
            command.args(["--without", word]);
        }
        command.stdin(Stdio::null()).stdout(output.0).stderr(output.1);
        match command.status() {
            Ok(_) => Verdict::read(name, &folder.join("result.json")),
            Err(error) => Verdict { name: name.to_owned(), why: error.to_string(), ..Verdict::default() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smoke_set_is_of_scenarios_that_exist_and_small() {
        let all = scenarios(&crate::root()).expect("the scenarios");
        assert!(SMOKE.len() <= 12);
        for name in SMOKE {
            assert!(all.iter().any(|known| known == name), "{name}");
        }
    }

    #[test]
    fn every_scenario_says_what_is_broken_and_which_cause_that_is() {
        let root = crate::root();
        let known = doctor::Catalogue::causes();
        for name in scenarios(&root).expect("the scenarios") {
            let text = fs::read_to_string(root.join("lab").join(format!("{name}.py"))).expect("a scenario");
            assert!(text.starts_with("\"\"\""), "{name}: does not say what is broken");
            let cause = text.lines().find_map(|line| line.strip_prefix("CAUSE = ")).unwrap_or_default();
            let cause = cause.trim_matches('"');
            assert!(cause == "None" || known.get(cause).is_some(), "{name}: there is no cause '{cause}'");
            assert!(text.contains("\ndef run(lab):\n"), "{name}: has no 'def run(lab)'");
        }
    }
}
