//! Words that must not stay: notes to oneself without an issue, and paths of the machine it was written on.

use super::{File, Offence, mask};

/// Text files in which a note to oneself is looked for; prose may talk about such notes.
const WITH_NOTES: &[&str] = &[".rs", ".py", ".sh", ".toml", ".ts", ".tsx", ".yaml", ".yml", "Makefile"];

/// Beginnings of paths that exist on one machine only, in pieces so that this file does not offend.
const MACHINE_PATHS: &[&str] =
    &[concat!("/", "work/"), concat!("..", "/shared/"), concat!("/", "root/"), concat!("/tmp/", "target")];

pub(super) fn check(files: &[File], offences: &mut Vec<Offence>) {
    for file in files {
        let notes = if file.is_rust() { Some(mask(&file.text).comments) } else { None };
        let has_notes = WITH_NOTES.iter().any(|end| file.path.ends_with(end));
        for (index, line) in file.text.lines().enumerate() {
            let mut offend = |rule, message: String| {
                let subject = format!("{}:{}", file.path, index + 1);
                offences.push(Offence { rule, subject, measure: None, message });
            };
            if let Some(path) = MACHINE_PATHS.iter().find(|path| line.contains(**path)) {
                offend("machine-path", format!("names '{path}', which exists on one machine only"));
            }
            let note = match &notes {
                Some(comments) => comments.lines().nth(index).unwrap_or_default(),
                None if has_notes => line,
                None => "",
            };
            if let Some(message) = unwanted_note(note) {
                offend("note", message);
            }
        }
    }
}

fn unwanted_note(line: &str) -> Option<String> {
    const FIX: &str = concat!("FIX", "ME");
    const DO: &str = concat!("TO", "DO");
    if line.contains(FIX) {
        return Some(format!("{FIX}: fix it, or open an issue and write {DO}(#number)"));
    }
    let (_, after) = line.split_once(DO)?;
    let number = after.strip_prefix("(#").and_then(|rest| rest.split_once(')')).map(|(number, _)| number);
    let has_issue =
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()));
    (!has_issue).then(|| format!("{DO} without an issue: write {DO}(#number)"))
}
