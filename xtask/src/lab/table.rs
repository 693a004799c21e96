//! What the lab comes to: sums against their bars, and the table in the documentation.

use std::fs;
use std::path::Path;

use anyhow::Context;

use super::{BAR, BAR_WITHOUT_ROOT, Verdict, Without};
use crate::process::{answer_of, system};

/// The whole document is generated, but for its introduction.
const DOCUMENT: &str = "docs/accuracy.md";
const MARK: &str = "<!-- lab -->\n";

/// All runs of one mode.
pub(super) struct Sum {
    without: Without,
    faults: usize,
    right: usize,
    controls: usize,
    quiet: usize,
    unproven: usize,
    seconds: Vec<f64>,
    passive: Vec<f64>,
}

impl Sum {
    pub(super) fn of(without: Without, verdicts: &[Verdict]) -> Sum {
        let count = |filter: &dyn Fn(&&Verdict) -> bool| verdicts.iter().filter(filter).count();
        let sorted = |of: fn(&Verdict) -> Option<f64>| {
            let mut all: Vec<f64> = verdicts.iter().filter_map(of).collect();
            all.sort_by(f64::total_cmp);
            all
        };
        Sum {
            without,
            faults: count(&|one| !is_control(one)),
            right: count(&|one| !is_control(one) && one.right),
            controls: count(&|one| is_control(one)),
            quiet: count(&|one| is_control(one) && one.right),
            unproven: count(&|one| !one.proven),
            seconds: sorted(|one| one.seconds),
            passive: sorted(|one| one.passive),
        }
    }

    fn share(&self) -> f64 {
        if self.faults == 0 { 1.0 } else { self.right as f64 / self.faults as f64 }
    }

    fn name(&self) -> String {
        self.without.word().map_or_else(|| "with everything".to_owned(), |word| format!("without {word}"))
    }

    pub(super) fn line(&self) -> String {
        format!(
            "{}: {} of {} faults named first ({:.1} %), {} of {} controls quiet, {} not proven, p95 {:.2} s, passive p95 {:.2} s",
            self.name(),
            self.right,
            self.faults,
            self.share() * 100.0,
            self.quiet,
            self.controls,
            self.unproven,
            p95(&self.seconds),
            p95(&self.passive),
        )
    }

    fn row(&self) -> String {
        format!(
            "| {} | {} of {} | {:.1} % | {} of {} | {:.2} s | {:.2} s |",
            self.name(),
            self.right,
            self.faults,
            self.share() * 100.0,
            self.quiet,
            self.controls,
            p95(&self.seconds),
            p95(&self.passive),
        )
    }

    /// What is below its bar, where there is one.
    pub(super) fn shortfall(&self) -> Option<String> {
        let bar = match self.without {
            Without::Nothing => BAR,
            Without::Root => BAR_WITHOUT_ROOT,
            Without::ProxyLogs | Without::ServerLogs => return None,
        };
        let share = self.share();
        (share < bar || self.quiet < self.controls).then(|| self.line())
    }
}

fn is_control(verdict: &Verdict) -> bool {
    verdict.name.starts_with("controls/")
}

fn p95(sorted: &[f64]) -> f64 {
    let at = (sorted.len() as f64 * 0.95).ceil() as usize;
    sorted.get(at.saturating_sub(1)).copied().unwrap_or_default()
}

/// Writes the tables below the introduction of the document.
pub(super) fn write(root: &Path, runs: &[(Without, Vec<Verdict>)], sums: &[Sum]) -> anyhow::Result<()> {
    let path = root.join(DOCUMENT);
    let text = fs::read_to_string(&path).with_context(|| format!("failed to read {DOCUMENT}"))?;
    let (introduction, _) =
        text.split_once(MARK).with_context(|| format!("{DOCUMENT} has no '{}'", MARK.trim()))?;
    let date = answer_of("date", &["-u", "+%Y-%m-%d"])?;
    let commit = answer_of("git", &["-C", &root.to_string_lossy(), "describe", "--always", "--dirty"]);
    let commit = commit.unwrap_or_else(|_| "an unknown commit".to_owned());
    let mut lines = vec![
        format!("{introduction}{MARK}"),
        format!("{date}, `cargo xtask lab judge --write` at {commit}. {}.\n", system()),
        "| | first cause right | | controls quiet | 95 % of diagnoses within | passive part |".to_owned(),
        "|---|---:|---:|---:|---:|---:|".to_owned(),
    ];
    lines.extend(sums.iter().map(Sum::row));
    lines.push(String::new());
    lines.push("| scenario | what is broken | cause named first | confidence | time | without root | without the proxy's logs | without the server's logs |".to_owned());
    lines.push("|---|---|---|---:|---:|---|---|---|".to_owned());
    let Some(((_, full), degraded)) = runs.split_first() else { return Ok(()) };
    for verdict in full {
        let others = degraded.iter().map(|(_, verdicts)| {
            verdicts.iter().find(|one| one.name == verdict.name).map_or_else(String::new, short)
        });
        lines.push(format!(
            "| {} | {} | {}{} | {} | {} | {} |",
            verdict.name,
            verdict.about,
            verdict.first.as_deref().filter(|_| asserts(verdict)).unwrap_or("nothing"),
            if verdict.right { String::new() } else { format!(" **wrong**: {}", verdict.why) },
            verdict.confidence.filter(|_| asserts(verdict)).map_or_else(String::new, |c| format!("{c:.2}")),
            verdict.seconds.map_or_else(String::new, |seconds| format!("{seconds:.2} s")),
            others.collect::<Vec<_>>().join(" | "),
        ));
    }
    fs::write(&path, lines.join("\n") + "\n").with_context(|| format!("failed to write {DOCUMENT}"))
}

fn asserts(verdict: &Verdict) -> bool {
    verdict.confidence.is_some_and(|confidence| confidence >= 0.5)
}

/// One cell: right, or what was said instead.
fn short(verdict: &Verdict) -> String {
    match (&verdict.first, verdict.right) {
        (_, true) => "right".to_owned(),
        (Some(first), false) if asserts(verdict) => {
            format!("{first} {:.2}", verdict.confidence.unwrap_or_default())
        }
        _ if !verdict.proven => "not built".to_owned(),
        _ => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(name: &str, right: bool) -> Verdict {
        Verdict { name: name.to_owned(), right, proven: true, seconds: Some(1.0), ..Verdict::default() }
    }

    #[test]
    fn sums_keep_controls_apart_and_are_held_to_their_bar() {
        let mut verdicts: Vec<Verdict> = (0..20).map(|n| verdict(&format!("slow/{n}"), n > 0)).collect();
        verdicts.push(verdict("controls/healthy", true));
        let sum = Sum::of(Without::Nothing, &verdicts);
        assert_eq!((sum.faults, sum.right, sum.controls, sum.quiet), (20, 19, 1, 1));
        assert_eq!(sum.shortfall(), None);
        verdicts.push(verdict("controls/noisy", false));
        assert!(Sum::of(Without::Nothing, &verdicts).shortfall().is_some());
        let half: Vec<Verdict> = (0..10).map(|n| verdict(&format!("slow/{n}"), n > 4)).collect();
        assert!(Sum::of(Without::Root, &half).shortfall().is_some());
        assert_eq!(Sum::of(Without::ServerLogs, &half).shortfall(), None);
    }

    #[test]
    fn the_time_of_95_percent() {
        let times: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!((p95(&times), p95(&[3.0]), p95(&[])), (95.0, 3.0, 0.0));
    }
}
