//! A report as Markdown (CommonMark with tables), for an issue or a chat.
//!
//! Texts of logs are written by strangers: they stand in code spans and fences that they cannot end.

use std::fmt::Write;

use model::Evidence;
use model::report::{Finding, HopState, Report};

/// Events of the timeline, after repeats are folded.
const TIMELINE_MAX: usize = 40;
/// Findings that are told in full.
const FULL_MIN: f64 = 0.5;

/// The whole report.
pub fn render(report: &Report) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "# clearway doctor: {}\n", code(&report.target));
    let _ = writeln!(out, "{}\n", verdict(report));
    chain(&mut out, report);
    let (told, guesses): (Vec<_>, Vec<_>) =
        report.findings.iter().partition(|finding| finding.confidence >= FULL_MIN);
    for (index, one) in told.iter().enumerate() {
        finding(&mut out, index + 1, one);
    }
    if !guesses.is_empty() {
        let _ = writeln!(out, "## {}\n", if told.is_empty() { "What it may be" } else { "Less likely" });
        for guess in guesses {
            let _ =
                writeln!(out, "- **{}** ({:.2}): {}", guess.cause, guess.confidence, escaped(&guess.summary));
        }
        out.push('\n');
    }
    list(&mut out, "Looked alike, and is not it", report.excluded.iter(), |excluded| {
        format!("**{}**: {}", excluded.cause, escaped(&excluded.because))
    });
    timeline(&mut out, &report.timeline);
    list(&mut out, "What the doctor did", report.probes.iter(), |probe| {
        format!("{}: {} ({} ms)", code(&probe.what), escaped(&probe.result), probe.took.as_millis())
    });
    list(&mut out, "Not looked at", report.skipped.iter(), |skipped| {
        let needs =
            if skipped.needs.is_empty() { String::new() } else { format!("; it needs {}", skipped.needs) };
        format!("{}: {}", code(&skipped.check), escaped(&format!("{}{needs}", skipped.reason)))
    });
    list(&mut out, "What to do next", report.next.iter(), |next| escaped(next));
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn verdict(report: &Report) -> String {
    let asserted = report.findings.iter().filter(|finding| finding.confidence >= FULL_MIN).count();
    match (asserted, report.healthy) {
        (0, true) => "Healthy: it was seen to work, and nothing speaks against it.".to_owned(),
        (0, false) => "Inconclusive: nothing is certain enough to be called the cause.".to_owned(),
        (1, _) => "One cause was found.".to_owned(),
        (count, _) => format!("{count} causes were found."),
    }
}

fn chain(out: &mut String, report: &Report) {
    if report.chain.is_empty() {
        return;
    }
    let _ = writeln!(out, "| | hop | address | |\n|---|---|---|---|");
    for hop in &report.chain {
        let mark = match hop.state {
            HopState::Broken => "✗",
            HopState::Good => "✓",
            HopState::Unknown => "?",
        };
        let version = hop.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
        let note = hop.note.as_deref().unwrap_or(&hop.detail);
        let _ = writeln!(
            out,
            "| {mark} | {} | {} | {} |",
            cell(&format!("{}{version}", hop.product)),
            code_cell(&hop.address),
            cell(note)
        );
    }
    out.push('\n');
}

fn finding(out: &mut String, number: usize, finding: &Finding) {
    let _ = writeln!(out, "## {number}. {} ({:.2})\n", finding.cause, finding.confidence);
    let _ = writeln!(out, "{}\n", escaped(&finding.summary));
    for (word, items) in [
        ("because", finding.because.iter().collect::<Vec<_>>()),
        ("against", finding.against.iter().collect()),
    ] {
        for evidence in items {
            let _ = writeln!(out, "- {word} {}", cited(evidence));
        }
    }
    for missing in &finding.missing {
        let _ = writeln!(out, "- unknown: {}", escaped(missing));
    }
    for consequence in &finding.consequences {
        let _ = writeln!(
            out,
            "- leads to **{}** ({:.2}): {}",
            consequence.cause,
            consequence.confidence,
            escaped(&consequence.summary)
        );
    }
    let fix = &finding.fix;
    let _ = writeln!(out, "\n**Fix**: {}\n", escaped(&fix.summary));
    for edit in &fix.edits {
        let place = if edit.line == 0 { edit.file.clone() } else { format!("{}:{}", edit.file, edit.line) };
        let old = if edit.old.is_empty() { String::new() } else { format!("- {}\n", edit.old) };
        fenced(out, "diff", &format!("# {place}\n{old}+ {}", edit.new));
    }
    let commands: Vec<String> = fix
        .commands
        .iter()
        .cloned()
        .chain(fix.verify.iter().map(|command| format!("{command}  # shows whether it worked")))
        .collect();
    if !commands.is_empty() {
        fenced(out, "sh", &commands.join("\n"));
    }
}

fn cited(evidence: &Evidence) -> String {
    let time = evidence.time.map(|time| format!("{} ", time.clock_time())).unwrap_or_default();
    let text = if evidence.text.is_empty() { evidence.kind.as_ref() } else { evidence.text.as_str() };
    format!("{time}{}: {}", code(&evidence.place.to_string()), code(text))
}

fn timeline(out: &mut String, events: &[Evidence]) {
    let folded = super::fold(events);
    if folded.is_empty() {
        return;
    }
    let _ = writeln!(out, "## Timeline (UTC)\n");
    let left_out = folded.len().saturating_sub(TIMELINE_MAX);
    let mut lines = Vec::new();
    if left_out > 0 {
        lines.push(format!("... {left_out} earlier"));
    }
    for (event, count) in folded.into_iter().skip(left_out) {
        let time = event.time.map(|time| time.clock_time()).unwrap_or_default();
        let times = if count > 1 { format!(" ×{count}") } else { String::new() };
        lines.push(format!("{time} {:<18} {}{times}", event.source, event.text));
    }
    fenced(out, "text", &lines.join("\n"));
}

fn list<T>(out: &mut String, title: &str, items: impl Iterator<Item = T>, one: impl Fn(T) -> String) {
    let mut items = items.peekable();
    if items.peek().is_none() {
        return;
    }
    let _ = writeln!(out, "## {title}\n");
    for item in items {
        let _ = writeln!(out, "- {}", one(item));
    }
    out.push('\n');
}

/// A fence that is longer than any within.
fn fenced(out: &mut String, language: &str, text: &str) {
    let text = super::plain(text, true);
    let fence = "`".repeat(longest_run(&text).max(2) + 1);
    let _ = writeln!(out, "{fence}{language}\n{text}\n{fence}\n");
}

/// A code span: its backticks outnumber those within.
fn code(text: &str) -> String {
    let text = super::plain(text, false);
    if text.is_empty() {
        return String::new();
    }
    let ticks = "`".repeat(longest_run(&text) + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{ticks}{pad}{text}{pad}{ticks}")
}

fn code_cell(text: &str) -> String {
    code(text).replace('|', "\\|")
}

fn cell(text: &str) -> String {
    escaped(text).replace('|', "\\|")
}

/// Words of strangers among ours: nothing of them is markup.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in super::plain(text, false).chars() {
        if matches!(c, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '#' | '&' | '!' | '~') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_log_line_is_markup() {
        assert_eq!(code("a``b"), "```a``b```");
        assert_eq!(code("`x"), "`` `x ``");
        assert_eq!(escaped("<img> [x](y) *b*"), "\\<img\\> \\[x\\](y) \\*b\\*");
        assert_eq!(code_cell("a|b"), "`a\\|b`");
        let mut out = String::new();
        fenced(&mut out, "text", "```\nend");
        assert_eq!(out, "````text\n```\nend\n````\n\n");
    }
}
