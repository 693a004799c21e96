//! `cargo xtask`: the chores of this repository. What each does stands in its module; this file only picks one.

use std::process::ExitCode;

use anyhow::bail;

const USAGE: &str = "\
usage: cargo xtask <command>

  tidy                check the habits that no compiler checks
  generate            write the files that are made from the code
  ci [--from STEP]    everything a change must pass, cheapest first
  bench [SCENARIO...] what Clearway costs beside other proxies; 'bench --help' says more
  battery [SCENARIO...]
                      what happens when servers fail, beside other proxies; 'battery --help' says more
  models FILE SOURCE  the table of AI models, from LiteLLM's; SOURCE names version and date
  lab list|run|judge  whether the doctor finds what was broken in real stacks; 'lab --help' says more
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            xtask::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> anyhow::Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["tidy"] => xtask::tidy::run(&xtask::root()),
        ["generate"] => xtask::generate::run(&xtask::root()),
        ["ci"] => xtask::ci::run(&xtask::root(), None),
        ["ci", "--from", step] => xtask::ci::run(&xtask::root(), Some(step)),
        ["bench", "--help" | "-h"] => {
            xtask::say(xtask::bench::USAGE);
            Ok(())
        }
        ["bench", arguments @ ..] => xtask::bench::run(&xtask::root(), arguments),
        ["battery", "--help" | "-h"] => {
            xtask::say(xtask::battery::USAGE);
            Ok(())
        }
        ["battery", arguments @ ..] => xtask::battery::run(&xtask::root(), arguments),
        ["models", file, source] => xtask::models::run(&xtask::root(), file.as_ref(), source),
        ["lab", "--help" | "-h"] => {
            xtask::say(xtask::lab::USAGE);
            Ok(())
        }
        ["lab", arguments @ ..] => xtask::lab::run(&xtask::root(), arguments),
        [] | ["help" | "--help" | "-h"] => {
            xtask::say(USAGE);
            Ok(())
        }
        _ => bail!("failed to understand '{}'\n\n{USAGE}", words.join(" ")),
    }
}
