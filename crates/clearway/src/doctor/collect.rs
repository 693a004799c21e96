//! `clearway collect`: what the doctor sees on this machine, as a file that can be judged elsewhere.
//!
//! Logs and configurations are redacted before anything is written, and what goes into the file is listed first.

use std::fs::File;
use std::io::{BufRead, IsTerminal, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use model::Evidence;
use model::evidence::Place;
use probe::bundle::{self, Contents};
use probe::discover::Url;
use probe::redact;

use super::live::{self, Live};
use super::stages::Stages;
use crate::{args, output};

/// The end of a log: more than the doctor reads in its time, and small enough to be sent.
const LOG_BYTES_MAX: u64 = 8 << 20;
const CONFIGURATION_BYTES_MAX: u64 = 1 << 20;

pub(crate) fn run(args: &args::Collect) -> anyhow::Result<ExitCode> {
    let url = args.target.as_deref().map(str::parse::<Url>).transpose()?;
    let mut stages = Stages { spoken: true };
    let look = args::Doctor::on_this_machine(args.target.clone(), args.since.clone(), args.budget.clone());
    let Live { mut seen, mut eyes } = live::look(&look, url, &mut stages)?;
    let first = eyes.first();
    super::investigate(&mut seen, Some(&mut eyes), &first, true);
    stages.asked(eyes.asked());

    let mut files = Vec::new();
    for (path, bytes_max) in eyes.files(LOG_BYTES_MAX, CONFIGURATION_BYTES_MAX) {
        match end_of(&path, bytes_max) {
            Ok(text) => files.push((path.display().to_string(), redact::text(&text))),
            Err(error) => output::say(&format!("[-] skipped {}: {error}", path.display())),
        }
    }
    let contents = Contents {
        made: seen.made,
        zone_seconds: live::zone_seconds(),
        host: host_name(),
        target: redact::text(&seen.target).trim_end().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        evidence: of_no_file(&seen.evidence, &files),
        files,
    };
    let to = args.output.clone().unwrap_or_else(|| PathBuf::from(usual_name(&contents)));
    list(&contents, &to);
    if !args.yes && !agreed()? {
        output::say("Nothing was written.");
        return Ok(ExitCode::FAILURE);
    }
    if to.exists() && !args.force {
        bail!("{} exists: name another with --output, or overwrite it with --force", to.display());
    }
    bundle::write(&contents, &to)?;
    output::print(format!("{}\n", to.display()).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Evidence that reading the files again does not bring back, redacted as they are.
fn of_no_file(evidence: &[Evidence], files: &[(String, String)]) -> Vec<Evidence> {
    let from_file = |item: &&Evidence| match &item.place {
        Place::File { path, .. } => files.iter().any(|(name, _)| name == path),
        _ => false,
    };
    evidence.iter().filter(|item| !from_file(item)).map(redacted).collect()
}

fn redacted(item: &Evidence) -> Evidence {
    let mut item = item.clone();
    item.text = redact::line(&item.text).into_owned();
    if let Place::Probe(what) = &mut item.place {
        *what = redact::line(what).into_owned();
    }
    for (_, value) in &mut item.fields {
        *value = redact::line(value).into_owned();
    }
    item
}

/// The last so many bytes, from the beginning of a line.
fn end_of(path: &Path, bytes_max: u64) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let from = length.saturating_sub(bytes_max);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(bytes_max).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let whole = if from == 0 { None } else { text.split_once('\n').map(|(_, rest)| rest.to_owned()) };
    Ok(whole.unwrap_or(text))
}

fn list(contents: &Contents, to: &Path) {
    output::say(&format!("\n{} will contain, with secrets taken out:", to.display()));
    for (path, text) in &contents.files {
        output::say(&format!("  {:>9}  {path}", size(text.len())));
    }
    output::say(&format!(
        "  {:>9}  facts about processes, sockets, limits and probes",
        contents.evidence.len()
    ));
}

fn size(bytes: usize) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes / 1024),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

/// Asks a person. Without one, --yes has to say it.
fn agreed() -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("nobody can be asked whether to write this: say --yes");
    }
    output::say("\nWrite it? [y/N]");
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context("failed to read the answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn usual_name(contents: &Contents) -> String {
    let made = contents.made.map(|made| made.to_string()).unwrap_or_default();
    let made: String = made.chars().filter(char::is_ascii_digit).take(14).collect();
    let host: String =
        contents.host.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' }).collect();
    format!("clearway-{host}-{made}.tar.gz")
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_of_collected_files_is_left_to_them() {
        let files = vec![("/var/log/nginx/error.log".to_owned(), String::new())];
        let line = |text: &str| text.parse::<Evidence>().expect("evidence");
        let evidence = [
            line("failure how=refused at=/var/log/nginx/error.log:3 source=nginx"),
            line("target addr=127.0.0.1:8000 at=/proc/net/tcp source=sockets text=\"password=hunter2 seen\""),
        ];
        let kept = of_no_file(&evidence, &files);
        assert_eq!(kept.len(), 1);
        assert_eq!(kept[0].kind, "target");
        assert!(!kept[0].text.contains("hunter2"), "{}", kept[0].text);
    }

    #[test]
    fn the_end_of_a_log_begins_with_a_line() {
        let folder = std::env::temp_dir().join(format!("clearway-collect-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("x.log");
        std::fs::write(&path, "first line\nsecond line\n").expect("a file");
        assert_eq!(end_of(&path, 100).expect("text"), "first line\nsecond line\n");
        assert_eq!(end_of(&path, 15).expect("text"), "second line\n");
        std::fs::remove_dir_all(&folder).expect("it goes");
    }
}
