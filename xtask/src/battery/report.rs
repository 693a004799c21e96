//! What a run of the battery says: on what it ran, one table a scenario, and their places in the documentation.

use std::path::Path;

use super::client::CLASSES;
use super::peer::{self, Peer};
use super::scenario::{Measured, Scenario};
use super::server;
use crate::bench::replace_in;
use crate::process::{answer_of, system};

/// One proxy in front of one kind of server.
pub(super) struct Entry {
    pub(super) peer: peer::Kind,
    pub(super) kind: server::Kind,
    pub(super) measured: Measured,
}

/// On what it was taken.
pub(super) struct Surroundings {
    date: String,
    options: String,
    commit: String,
    rest: String,
}

impl Surroundings {
    pub(super) fn look(options: String, root: &Path, peers: &[Peer]) -> anyhow::Result<Self> {
        let date = answer_of("date", &["-u", "+%Y-%m-%d"])?;
        let commit = answer_of("git", &["-C", &root.to_string_lossy(), "describe", "--always", "--dirty"]);
        let commit = commit.unwrap_or_else(|_| "an unknown commit".to_owned());
        let mut versions: Vec<String> =
            peers.iter().map(|peer| format!("{} {}", peer.kind.name(), peer.version)).collect();
        let python = root.join(".venv/bin/python");
        let ask = "import importlib.metadata as m, sys; \
                   print(', '.join(f'{n} {m.version(p)}' for n, p in (('Gunicorn', 'gunicorn'), ('Uvicorn', 'uvicorn'), \
                   ('uWSGI', 'pyuwsgi'))) + ', Python ' + sys.version.split()[0])";
        versions.push(answer_of(python, &["-c", ask])?);
        let rest = format!("{}. {}", system(), versions.join(", "));
        Ok(Self { date, options, commit, rest })
    }
}

impl Surroundings {
    /// For the table of a scenario.
    pub(super) fn line(&self, name: &str) -> String {
        let Self { date, options, commit, rest } = self;
        format!("{date}, `cargo xtask battery {name} {options}` at {commit}. {rest}.")
    }
}

/// A scenario with its table.
pub(super) fn section(scenario: &Scenario, entries: &[Entry], surroundings: &Surroundings) -> String {
    let mut lines = vec![format!("{}\n", scenario.title)];
    let classes: Vec<&str> = CLASSES.into_iter().map(super::client::Class::title).collect();
    lines.push(format!(
        "| | servers | requests | failed: {} | POSTs executed twice | executed, but failed | |",
        classes.join(" | failed: ")
    ));
    lines.push(format!("|---|---|---:|{}---:|---:|---|", "---|".repeat(classes.len())));
    lines.extend(entries.iter().map(row));
    lines.push(format!("\n{}\n", surroundings.line(scenario.name)));
    lines.join("\n")
}

fn row(entry: &Entry) -> String {
    let Entry { peer, kind, measured } = entry;
    let accounts = &measured.accounts;
    let all = accounts.sum(|_| true);
    let mut cells = vec![peer.name().to_owned(), kind.name().to_owned(), all.requests.to_string()];
    cells.extend(CLASSES.into_iter().map(|class| {
        let counts = accounts.of_class(class);
        if counts.requests == 0 { "-".to_owned() } else { counts.failures() }
    }));
    cells.push(accounts.sum(|class| !class.may_repeat()).executed_twice.to_string());
    cells.push(all.executed_but_failed.to_string());
    let mut remarks = measured.figures.clone();
    remarks.extend(measured.violations.iter().map(|text| format!("**below the bar**: {text}")));
    cells.push(remarks.join("; "));
    format!("| {} |", cells.join(" | "))
}

pub(super) fn write(document: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    replace_in(document, &format!("battery:{name}"), text)
}

#[cfg(test)]
mod tests {
    use super::super::assumption;
    use super::super::scenario::SCENARIOS;

    #[test]
    fn every_scenario_has_its_place_in_the_documentation() {
        let document = std::fs::read_to_string(crate::root().join(super::super::DOCUMENT)).unwrap();
        for name in SCENARIOS.iter().map(|scenario| scenario.name).chain([assumption::NAME]) {
            let marker = format!("<!-- battery:{name}:start -->\n");
            assert!(document.contains(&marker), "docs/battery.md has no {marker}");
        }
    }
}
