//! The command line of the bench.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};

use super::peer::Kind;
use super::scenario::{SCENARIOS, Scenario};

pub const USAGE: &str = "\
usage: cargo xtask bench [SCENARIO...] [--rounds N] [--quick] [--peers NAME,...] [--binary PATH] [--write]

  --rounds N      rounds of every scenario, 5 by default
  --quick         short runs and two rounds, to see that the bench works; publish nothing of it
  --peers NAMES   only these beside Clearway: nginx, haproxy, envoy, caddy
  --binary PATH   this Clearway instead of building one
  --write         put the tables into docs/benchmarks.md, and after a run of everything a summary into README.md
";

/// Medians of fewer say nothing.
const ROUNDS: usize = 5;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    /// Empty for all.
    names: Vec<String>,
    pub(super) rounds: usize,
    pub(super) quick: bool,
    pub(super) write: bool,
    pub(super) binary: Option<PathBuf>,
    /// `None` for all.
    peers: Option<Vec<String>>,
}

impl Options {
    pub(super) fn parse(arguments: &[&str]) -> anyhow::Result<Self> {
        let mut names = Vec::new();
        let (mut rounds, mut quick, mut write, mut binary, mut peers) = (None, false, false, None, None);
        let mut words = arguments.iter();
        while let Some(&word) = words.next() {
            let mut value = || words.next().with_context(|| format!("'{word}' needs a value\n\n{USAGE}"));
            match word {
                "--binary" => binary = Some(PathBuf::from(value()?)),
                "--peers" => peers = Some(value()?.split(',').map(str::to_lowercase).collect()),
                "--quick" => quick = true,
                "--rounds" => {
                    let text = value()?;
                    let number = text.parse().ok().filter(|&number| number > 0);
                    rounds = Some(number.with_context(|| format!("'{text}' is no number of rounds"))?);
                }
                "--write" => write = true,
                _ if SCENARIOS.iter().any(|scenario| scenario.name == word) => names.push(word.to_owned()),
                _ => {
                    let known: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
                    bail!("there is no scenario '{word}': they are {}\n\n{USAGE}", known.join(", "));
                }
            }
        }
        let rounds = rounds.unwrap_or(if quick { 2 } else { ROUNDS });
        if write && quick {
            bail!("figures of a quick run must not be written: leave out --quick or --write");
        }
        Ok(Self { names, rounds, quick, write, binary, peers })
    }

    /// How long one proxy is loaded in one round.
    pub(super) fn time(&self) -> Duration {
        Duration::from_secs(if self.quick { 1 } else { 5 })
    }

    pub(super) fn scenarios(&self) -> Vec<&'static Scenario> {
        let wanted = |scenario: &&Scenario| {
            self.names.is_empty() || self.names.iter().any(|name| name == scenario.name)
        };
        SCENARIOS.iter().filter(wanted).collect()
    }

    pub(super) fn wants(&self, kind: Kind) -> bool {
        let name = kind.name().to_lowercase();
        kind == Kind::Clearway || self.peers.as_ref().is_none_or(|peers| peers.contains(&name))
    }

    /// Whether everything is compared with everyone.
    pub(super) fn is_whole(&self) -> bool {
        self.names.is_empty() && self.peers.is_none()
    }
}

/// The command as it is published: where a binary lay is of no use to a reader.
pub(super) fn shown(arguments: &[&str]) -> String {
    let mut words = vec!["cargo xtask bench"];
    for (index, word) in arguments.iter().enumerate() {
        let is_path = index.checked_sub(1).and_then(|before| arguments.get(before)) == Some(&"--binary");
        words.push(if is_path { "PATH" } else { word });
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_bench_is_the_default() {
        let options = Options::parse(&[]).unwrap();
        assert!(options.is_whole() && options.wants(Kind::Caddy));
        assert_eq!((options.rounds, options.scenarios().len()), (5, SCENARIOS.len()));
    }

    #[test]
    fn a_part_of_it() {
        let options = Options::parse(&["tls", "http1", "--quick", "--peers", "nginx"]).unwrap();
        let names: Vec<&str> = options.scenarios().iter().map(|scenario| scenario.name).collect();
        assert_eq!(names, ["http1", "tls"]);
        assert_eq!(options.rounds, 2);
        assert!(options.wants(Kind::Clearway) && options.wants(Kind::Nginx) && !options.wants(Kind::Envoy));
        assert!(!options.is_whole());
    }

    #[test]
    fn a_path_is_not_published() {
        let shown = shown(&["tls", "--binary", "/somewhere/clearway", "--rounds", "7"]);
        assert_eq!(shown, "cargo xtask bench tls --binary PATH --rounds 7");
    }

    #[test]
    fn mistakes() {
        let check = |arguments: &[&str], expect: &str| {
            let error = Options::parse(arguments).unwrap_err().to_string();
            assert!(error.starts_with(expect), "{error}");
        };
        check(&["http3"], "there is no scenario 'http3': they are http1, ");
        check(&["--rounds"], "'--rounds' needs a value");
        check(&["--rounds", "0"], "'0' is no number of rounds");
        check(&["--quick", "--write"], "figures of a quick run must not be written");
    }
}
