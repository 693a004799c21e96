//! The command line of the battery.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};

use super::assumption;
use super::peer::Kind;
use super::scenario::{SCENARIOS, Scenario};
use super::server;
use crate::programs::Profile;

pub const USAGE: &str = "\
usage: cargo xtask battery [SCENARIO...] [--seconds N] [--peers NAME,...] [--smoke] [--binary PATH] [--write]

  --seconds N     length of each quiet part of a scenario, 2 by default
  --peers NAMES   only these beside Clearway: nginx, haproxy; 'none' for Clearway alone
  --smoke         a minute's worth of it, for CI: Clearway alone, as it is built for tests, a few scenarios, one kind of
                  server each
  --binary PATH   this Clearway instead of building one
  --write         put the tables into docs/battery.md
  --explain       print every failure with its record, not only the first ones
";

/// What CI can afford; together they use every kind of attempt: unsent, undelivered, idempotent, waiting.
const SMOKE: &[&str] =
    &["rolling-restart", "kill", "restart-gap", "idle-limit", "max-requests", "slow-uploads"];
/// Failures that are printed for each run.
const EXPLANATIONS: usize = 5;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    /// Empty for all.
    names: Vec<String>,
    seconds: u64,
    pub(super) smoke: bool,
    explain: bool,
    pub(super) write: bool,
    pub(super) binary: Option<PathBuf>,
    /// `None` for all.
    peers: Option<Vec<String>>,
}

/// What can be named on the command line.
fn names() -> impl Iterator<Item = &'static str> {
    SCENARIOS.iter().map(|scenario| scenario.name).chain([assumption::NAME])
}

impl Options {
    pub(super) fn parse(arguments: &[&str]) -> anyhow::Result<Self> {
        let mut options = Self {
            names: Vec::new(),
            seconds: 2,
            smoke: false,
            explain: false,
            write: false,
            binary: None,
            peers: None,
        };
        let mut words = arguments.iter();
        while let Some(&word) = words.next() {
            let mut value = || words.next().with_context(|| format!("'{word}' needs a value\n\n{USAGE}"));
            match word {
                "--binary" => options.binary = Some(PathBuf::from(value()?)),
                "--explain" => options.explain = true,
                "--peers" => options.peers = Some(value()?.split(',').map(str::to_lowercase).collect()),
                "--seconds" => {
                    let text = value()?;
                    let number = text.parse().ok().filter(|&number| number > 0);
                    options.seconds = number.with_context(|| format!("'{text}' is no number of seconds"))?;
                }
                "--smoke" => options.smoke = true,
                "--write" => options.write = true,
                _ if names().any(|name| name == word) => options.names.push(word.to_owned()),
                _ => {
                    let known: Vec<&str> = names().collect();
                    bail!("there is no scenario '{word}': they are {}\n\n{USAGE}", known.join(", "));
                }
            }
        }
        if options.smoke && options.write {
            bail!("a smoke run must not be written: leave out --smoke or --write");
        }
        Ok(options)
    }

    pub(super) fn profile(&self) -> Profile {
        if self.smoke { Profile::Debug } else { Profile::Release }
    }

    /// How long each quiet part of a scenario lasts.
    pub(super) fn part(&self) -> Duration {
        Duration::from_secs(if self.smoke { 1 } else { self.seconds })
    }

    pub(super) fn scenarios(&self) -> Vec<&'static Scenario> {
        let is_named = |name: &str| self.names.iter().any(|wanted| wanted == name);
        let wanted = |scenario: &&Scenario| match (self.names.is_empty(), self.smoke) {
            (true, true) => SMOKE.contains(&scenario.name),
            (true, false) => true,
            (false, _) => is_named(scenario.name),
        };
        SCENARIOS.iter().filter(wanted).collect()
    }

    /// Whether the assumption of the undelivered rule is tried.
    pub(super) fn wants_assumption(&self) -> bool {
        if self.names.is_empty() {
            !self.smoke
        } else {
            self.names.iter().any(|name| name == assumption::NAME)
        }
    }

    /// The kinds of servers that a scenario is run with.
    pub(super) fn servers<'a>(&self, scenario: &'a Scenario) -> &'a [server::Kind] {
        let most = if self.smoke { 1 } else { usize::MAX };
        scenario.servers.get(..most).unwrap_or(scenario.servers)
    }

    pub(super) fn wants(&self, kind: Kind) -> bool {
        let name = kind.name().to_lowercase();
        let is_named = self.peers.as_ref().map_or(!self.smoke, |peers| peers.contains(&name));
        kind == Kind::Clearway || is_named
    }

    /// How many failures of a run are printed.
    pub(super) fn explanations(&self) -> usize {
        if self.explain { usize::MAX } else { EXPLANATIONS }
    }

    /// The options as they are published, behind the name of a scenario: where a binary lay is of no use to a reader.
    pub(super) fn shown(&self, arguments: &[&str]) -> String {
        let mut words = Vec::new();
        for (index, word) in arguments.iter().enumerate() {
            let is_path = index.checked_sub(1).and_then(|before| arguments.get(before)) == Some(&"--binary");
            if !self.names.iter().any(|name| name == word) {
                words.push(if is_path { "PATH" } else { word });
            }
        }
        words.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_battery_is_the_default() {
        let options = Options::parse(&[]).unwrap();
        assert!(options.wants(Kind::Nginx) && options.wants(Kind::Clearway));
        assert_eq!(options.scenarios().len(), SCENARIOS.len());
    }

    #[test]
    fn a_part_of_it() {
        let options =
            Options::parse(&["kill", "--peers", "nginx", "--seconds", "1", "--binary", "/a/b"]).unwrap();
        assert!(options.wants(Kind::Nginx) && !options.wants(Kind::Haproxy));
        assert_eq!(options.scenarios().len(), 1);
        assert_eq!(options.shown(&["kill", "--binary", "/a/b", "--write"]), "--binary PATH --write");
        let smoke = Options::parse(&["--smoke"]).unwrap();
        assert!(!smoke.wants(Kind::Nginx));
        assert_eq!(smoke.scenarios().len(), SMOKE.len());
    }

    #[test]
    fn mistakes() {
        let check = |arguments: &[&str], expect: &str| {
            let error = Options::parse(arguments).unwrap_err().to_string();
            assert!(error.starts_with(expect), "{error}");
        };
        check(&["earthquake"], "there is no scenario 'earthquake': they are rolling-restart, ");
        check(&["--seconds", "0"], "'0' is no number of seconds");
        check(&["--smoke", "--write"], "a smoke run must not be written");
    }
}
