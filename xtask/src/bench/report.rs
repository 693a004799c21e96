//! What a run of the bench says: on what it ran, the tables, and their places in the documentation.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};

use super::peer::{Missing, Peer};
use super::table::{Compared, Table};
use crate::process::{self, answer_of};

/// On what the figures were taken.
#[derive(Default)]
pub(super) struct Surroundings {
    date: String,
    system: String,
    command: String,
    versions: String,
    rounds: usize,
    seconds: u64,
    load_average: f64,
}

impl Surroundings {
    pub(super) fn look(
        command: String,
        rounds: usize,
        seconds: u64,
        peers: &[Peer],
        missing: &[Missing],
    ) -> anyhow::Result<Self> {
        let system = process::system();
        let mut versions: Vec<String> =
            peers.iter().map(|peer| format!("{} {}", peer.kind.name(), peer.version)).collect();
        versions.extend(missing.iter().map(|missing| format!("{} not installed", missing.kind.name())));
        let h2load = answer_of("h2load", &["--version"]).context("run 'tests/setup.sh bench' first")?;
        versions.push(h2load.replace('/', " "));
        versions.push(wrk_version());
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load_average = load.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(f64::NAN);
        let date = answer_of("date", &["-u", "+%Y-%m-%d"])?;
        Ok(Self { date, system, command, versions: versions.join(", "), rounds, seconds, load_average })
    }

    /// Whether something else was running, so that figures are of little worth.
    pub(super) fn is_busy(&self) -> bool {
        self.load_average > 0.5
    }

    pub(super) fn markdown(&self) -> String {
        let Self { date, system, command, versions, rounds, seconds, load_average } = self;
        format!(
            "{date}, `{command}`, {rounds} rounds of {seconds} s, median (min..max). {system}, load average \
             {load_average:.2} before. {versions}.\n"
        )
    }
}

/// wrk ends with status 1 when it is asked for its version.
fn wrk_version() -> String {
    let text = answer_of("wrk", &["-v"]).unwrap_or_else(|error| error.to_string());
    let words: Vec<&str> = text.split_whitespace().collect();
    let at = words.iter().position(|word| word.starts_with("debian/") || word.starts_with("4."));
    let version =
        at.and_then(|at| words.get(at)).map_or("unknown", |word| word.trim_start_matches("debian/"));
    format!("wrk {version}")
}

/// What one scenario gave.
pub(super) struct Section {
    pub(super) scenario: &'static str,
    pub(super) title: &'static str,
    /// What was done, in a sentence or two.
    pub(super) description: String,
    pub(super) tables: Vec<Table>,
}

impl Section {
    pub(super) fn markdown(&self, surroundings: &Surroundings) -> String {
        let tables: Vec<String> = self.tables.iter().map(Table::markdown).collect();
        format!("{}\n\n{}\n{}", self.description, tables.join("\n"), surroundings.markdown())
    }
}

/// Every figure that is compared with Clearway's, one line a figure, one column a proxy.
pub(super) fn summary(sections: &[Section], surroundings: &Surroundings, names: &[&str]) -> String {
    let mut text = format!("| | {} |\n|---|{}\n", names.join(" | "), "---:|".repeat(names.len()));
    for section in sections {
        for table in &section.tables {
            for (number, metric) in table.metrics.iter().enumerate() {
                if metric.compared == Compared::RatioOfFirst {
                    let cells: Vec<String> = names.iter().map(|name| table.median(name, number)).collect();
                    text += &format!("| {}: {} | {} |\n", section.title, metric.title, cells.join(" | "));
                }
            }
        }
    }
    format!("{text}\n{}", surroundings.markdown())
}

/// Puts `content` between the markers of `name` in the file at `path`.
pub(crate) fn replace_in(path: &Path, name: &str, content: &str) -> anyhow::Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))?;
    let text = replace(&text, name, content)
        .with_context(|| format!("failed to find the markers of '{name}' in {}", path.display()))?;
    fs::write(path, text).with_context(|| format!("failed to write {}", path.display()))
}

/// `None` when the markers are not there, or not in order.
pub(super) fn replace(text: &str, name: &str, content: &str) -> Option<String> {
    let begin = format!("<!-- {name}:start -->\n");
    let end = format!("<!-- {name}:end -->");
    let (before, rest) = text.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}{content}{end}{after}"))
}

/// An error that names the scenarios whose figures must not be published.
pub(super) fn require_valid(sections: &[Section]) -> anyhow::Result<()> {
    let wrong: Vec<&str> = sections
        .iter()
        .filter(|section| !section.tables.iter().all(Table::is_valid))
        .map(|section| section.scenario)
        .collect();
    if wrong.is_empty() {
        Ok(())
    } else {
        bail!("figures are invalid, see the remarks: {}", wrong.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::table::{Metric, Row, Sample};

    #[test]
    fn a_summary_has_what_is_compared() {
        let metric = |title, compared| Metric { title, digits: 1, compared };
        let row = |name: &str, value| Row {
            name: name.to_owned(),
            samples: vec![Sample { values: vec![value, 0.0], faults: Vec::new() }],
            absent: None,
        };
        let table = Table {
            metrics: vec![metric("µs", Compared::RatioOfFirst), metric("extra", Compared::Not)],
            rows: vec![row("us", 1.0), row("them", 2.0), Row::absent("others", "not installed")],
        };
        let section = Section { scenario: "x", title: "X", description: String::new(), tables: vec![table] };
        let text = summary(&[section], &Surroundings::default(), &["us", "them", "others"]);
        let expect = "| | us | them | others |\n|---|---:|---:|---:|\n| X: µs | 1.0 | 2.0 | - |\n\n";
        assert!(text.starts_with(expect), "{text}");
    }

    #[test]
    fn sections_are_replaced_between_their_markers() {
        let text = "a\n<!-- bench:x:start -->\nold\n<!-- bench:x:end -->\nb\n";
        let check = |name: &str, expect: Option<&str>| {
            assert_eq!(replace(text, name, "new\n").as_deref(), expect, "{name}");
        };
        check("bench:x", Some("a\n<!-- bench:x:start -->\nnew\n<!-- bench:x:end -->\nb\n"));
        check("bench:y", None);
        assert_eq!(replace("<!-- x:end -->\n<!-- x:start -->\n", "x", "new"), None);
    }
}
