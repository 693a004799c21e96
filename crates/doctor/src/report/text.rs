//! A report for a terminal.
//!
//! Texts of logs are written by strangers: control characters of theirs never reach the terminal.

use std::fmt::Write;

use super::{fold, plain as without_controls};
use model::Evidence;
use model::report::{Finding, Hop, HopState, Report};

/// The narrowest width that is respected; below it lines would be all ellipsis.
const WIDTH_MIN: usize = 60;
/// Events of the timeline, after repeats are folded.
const TIMELINE_MAX: usize = 30;
/// Findings that are told in full; the rest are guesses, told in one line.
const FULL_MIN: f64 = 0.5;

/// How to write it.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    pub width: usize,
    pub colour: bool,
}

/// The whole report.
pub fn render(report: &Report, style: Style) -> String {
    let mut page = Page { text: String::new(), width: style.width.max(WIDTH_MIN), colour: style.colour };
    page.chain(&report.chain);
    page.verdict(report);
    let (told, guesses): (Vec<_>, Vec<_>) =
        report.findings.iter().partition(|finding| finding.confidence >= FULL_MIN);
    for (index, finding) in told.iter().enumerate() {
        page.finding(index + 1, finding);
    }
    if !guesses.is_empty() {
        page.heading(if told.is_empty() { "What it may be" } else { "Less likely" });
        for (index, finding) in guesses.iter().enumerate() {
            page.guess(told.len() + index + 1, finding);
        }
    }
    if !report.excluded.is_empty() {
        page.heading("Looked alike, and is not it");
        for excluded in &report.excluded {
            page.item("  - ", &format!("{}: {}", excluded.cause, excluded.because));
        }
    }
    page.timeline(&report.timeline);
    if !report.probes.is_empty() {
        page.heading("What the doctor did");
        for probe in &report.probes {
            page.item("  - ", &format!("{}: {} ({} ms)", probe.what, probe.result, probe.took.as_millis()));
        }
    }
    if !report.skipped.is_empty() {
        page.heading("Not looked at");
        for skipped in &report.skipped {
            let needs = if skipped.needs.is_empty() {
                String::new()
            } else {
                format!("; it needs {}", skipped.needs)
            };
            page.item("  - ", &format!("{}: {}{needs}", skipped.check, skipped.reason));
        }
    }
    if !report.next.is_empty() {
        page.heading("What to do next");
        for next in &report.next {
            page.item("  - ", next);
        }
    }
    page.text
}

/// The text while it is written.
struct Page {
    text: String,
    width: usize,
    colour: bool,
}

impl Page {
    fn heading(&mut self, text: &str) {
        let text = self.bold(text);
        let _ = writeln!(self.text, "\n{text}");
    }

    /// A line that begins so and is shortened in its middle.
    fn item(&mut self, start: &str, text: &str) {
        let room = self.width.saturating_sub(start.chars().count());
        let _ = writeln!(self.text, "{start}{}", shortened(&plain(text), room));
    }

    /// The same, over as many lines as it takes: for what must be read whole.
    fn paragraph(&mut self, start: &str, text: &str) {
        let blank: String = start.chars().map(|_| ' ').collect();
        let room = self.width.saturating_sub(blank.len());
        for (index, line) in wrapped(&plain(text), room).into_iter().enumerate() {
            let _ = writeln!(self.text, "{}{line}", if index == 0 { start } else { &blank });
        }
    }

    fn chain(&mut self, chain: &[Hop]) {
        for (index, hop) in chain.iter().enumerate() {
            if index > 0 {
                let broken = hop.state == HopState::Broken;
                let link = if broken { self.red("  ✗") } else { "  │".to_owned() };
                let _ = writeln!(self.text, "{link}");
            }
            let mark = match hop.state {
                HopState::Broken => self.red("[✗]"),
                HopState::Good => self.green("[✓]"),
                HopState::Unknown => "[?]".to_owned(),
            };
            let version = hop.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
            let detail = if hop.detail.is_empty() { String::new() } else { format!("  ({})", hop.detail) };
            let line = plain(&format!("{}{version}  {}{detail}", hop.product, hop.address));
            let _ = writeln!(self.text, "{mark} {}", shortened(&line, self.width.saturating_sub(4)));
            if let Some(note) = &hop.note {
                self.paragraph("      ", note);
            }
        }
    }

    fn verdict(&mut self, report: &Report) {
        let asserted = report.findings.iter().filter(|finding| finding.confidence >= FULL_MIN).count();
        let words = match (asserted, report.healthy) {
            (0, true) => self.green("Healthy: it was seen to work, and nothing speaks against it."),
            (0, false) => self.bold("Inconclusive: nothing is certain enough to be called the cause."),
            (1, _) => self.bold("One cause was found."),
            (count, _) => self.bold(&format!("{count} causes were found.")),
        };
        let blank = if self.text.is_empty() { "" } else { "\n" };
        let _ = writeln!(self.text, "{blank}{words}");
    }

    fn finding(&mut self, number: usize, finding: &Finding) {
        let title = self.bold(&format!("{number}. {} ({:.2})", finding.cause, finding.confidence));
        let _ = writeln!(self.text, "\n{title}");
        self.paragraph("   ", &finding.summary);
        for evidence in finding.because.iter() {
            self.evidence("   because ", evidence);
        }
        for evidence in &finding.against {
            self.evidence("   against ", evidence);
        }
        for missing in &finding.missing {
            self.item("   unknown ", missing);
        }
        for (depth, consequence) in finding.consequences.iter().enumerate() {
            let start = format!("   {}└─ ", "   ".repeat(depth));
            self.item(
                &start,
                &format!("{} ({:.2}): {}", consequence.cause, consequence.confidence, consequence.summary),
            );
        }
        self.fix(finding);
    }

    fn fix(&mut self, finding: &Finding) {
        let fix = &finding.fix;
        self.paragraph("   fix     ", &fix.summary);
        for edit in &fix.edits {
            let place =
                if edit.line == 0 { edit.file.clone() } else { format!("{}:{}", edit.file, edit.line) };
            if edit.old.is_empty() {
                self.paragraph("           ", &format!("{place}  add: {}", edit.new));
            } else {
                self.paragraph("           ", &format!("{place}  {} → {}", edit.old, edit.new));
            }
        }
        for command in &fix.commands {
            self.paragraph("   run     ", command);
        }
        for command in &fix.verify {
            self.paragraph("   verify  ", command);
        }
        self.item("   more    ", &format!("clearway explain {}", finding.cause));
    }

    fn guess(&mut self, number: usize, finding: &Finding) {
        self.item(
            &format!("{number:3}. "),
            &format!("{} ({:.2}): {}", finding.cause, finding.confidence, finding.summary),
        );
        for missing in &finding.missing {
            self.item("       unknown: ", missing);
        }
    }

    fn evidence(&mut self, start: &str, evidence: &Evidence) {
        let place = plain(&evidence.place.to_string());
        let time = evidence.time.map(|time| format!("{} ", time.clock_time())).unwrap_or_default();
        let text = if evidence.text.is_empty() { evidence.kind.as_ref() } else { evidence.text.as_str() };
        self.item(start, &format!("{time}{place}  {text}"));
    }

    fn timeline(&mut self, events: &[Evidence]) {
        let folded = fold(events);
        if folded.is_empty() {
            return;
        }
        self.heading("Timeline (UTC)");
        let left_out = folded.len().saturating_sub(TIMELINE_MAX);
        if left_out > 0 {
            self.item("  ", &format!("... {left_out} earlier"));
        }
        for (event, count) in folded.into_iter().skip(left_out) {
            let time = event.time.map(|time| time.clock_time()).unwrap_or_default();
            let times = if count > 1 { format!(" ×{count}") } else { String::new() };
            self.item(&format!("  {time} "), &format!("{:<18} {}{times}", event.source, event.text));
        }
    }

    fn bold(&self, text: &str) -> String {
        self.painted("1", text)
    }

    fn red(&self, text: &str) -> String {
        self.painted("31", text)
    }

    fn green(&self, text: &str) -> String {
        self.painted("32", text)
    }

    fn painted(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// One line without what a terminal would obey.
fn plain(text: &str) -> String {
    without_controls(text, false)
}

/// At most so many characters: the beginning and the end, which say most in a log line.
fn shortened(text: &str, room: usize) -> String {
    let length = text.chars().count();
    if length <= room {
        return text.to_owned();
    }
    let end = room / 3;
    let start = room.saturating_sub(end + 1);
    let mut shortened: String = text.chars().take(start).collect();
    shortened.push('…');
    shortened.extend(text.chars().skip(length - end));
    shortened
}

fn wrapped(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.last().map_or(0, |line| line.chars().count());
        if last > 0 && last + 1 + word.chars().count() > room {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_keep_their_beginning_and_their_end() {
        assert_eq!(shortened("abcdefghij", 10), "abcdefghij");
        assert_eq!(shortened("abcdefghijk", 10), "abcdef…ijk");
        assert_eq!(wrapped("one two three", 8), ["one two", "three"]);
    }
}
