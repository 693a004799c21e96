//! A report as one page of HTML that needs nothing else: no script, no font, no request.
//!
//! Texts of logs are written by strangers: every one of them is escaped, and a policy in the page forbids what could be
//! smuggled in all the same.

use std::fmt::Write;

use model::report::{Finding, Hop, HopState, Report, Series};
use model::{Evidence, Moment};

/// Events of the timeline, after repeats are folded.
const TIMELINE_MAX: usize = 200;
/// Findings that are told in full.
const FULL_MIN: f64 = 0.5;
/// The drawing of a chart, in its own units.
const CHART_WIDTH: f64 = 640.0;
const CHART_HEIGHT: f64 = 120.0;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1d2430;--dim:#5d6675;--line:#d5dae2;--paper:#fff;--soft:#f4f6f9;--bad:#b3261e;--good:#1b7f4b;--blue:#1f5fbf}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ee;--dim:#9aa4b2;--line:#333b47;--paper:#14181f;--soft:#1c222b;--bad:#ff8a80;--good:#69d19b;--blue:#8ab4ff}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:62rem;margin:0 auto;padding:1.5rem}h1{font-size:1.3rem;overflow-wrap:anywhere}h2{font-size:1.05rem;margin-top:2rem}
.dim{color:var(--dim)}.bad{color:var(--bad)}.good{color:var(--good)}
ol.chain{list-style:none;margin:1rem 0;padding:0;display:flex;flex-wrap:wrap;gap:.4rem;align-items:stretch}
ol.chain li{border:1px solid var(--line);border-radius:.5rem;padding:.5rem .75rem;background:var(--soft);max-width:20rem;overflow-wrap:anywhere}
ol.chain li.broken{border-color:var(--bad);border-width:2px}ol.chain li.good{border-color:var(--good)}
ol.chain li+li::before{content:'→';position:relative;left:-1.35rem;float:left;width:0;color:var(--dim)}ol.chain li+li{margin-left:1rem}
section.finding{border:1px solid var(--line);border-radius:.5rem;padding:.25rem 1rem 1rem;margin:1rem 0}
table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.2rem .5rem;border-top:1px solid var(--line);overflow-wrap:anywhere}
code,pre{font:13px/1.45 ui-monospace,monospace;overflow-wrap:anywhere}pre{background:var(--soft);padding:.6rem;border-radius:.4rem;white-space:pre-wrap;margin:.4rem 0}
.old{color:var(--bad)}.new{color:var(--good)}svg{width:100%;height:auto;background:var(--soft);border-radius:.4rem}
svg polyline{fill:none;stroke:var(--blue);stroke-width:1.5;vector-effect:non-scaling-stroke}svg text{fill:var(--dim);font-size:11px}
figure{margin:1rem 0}figcaption{color:var(--dim)}";

/// The whole page.
pub fn render(report: &Report) -> String {
    let mut out = String::new();
    let title = escaped(&report.target);
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>clearway doctor: {title}</title>\n<style>\n{STYLE}\n</style>\n</head>\n<body>\n<main>\n\
         <h1>clearway doctor: {title}</h1>\n"
    );
    let made = report.made.map(|made| format!("{made}, ")).unwrap_or_default();
    let _ = writeln!(out, "<p class=\"dim\">{made}took {:.2} s</p>", report.took.as_secs_f64());
    verdict(&mut out, report);
    chain(&mut out, &report.chain);
    let (told, guesses): (Vec<_>, Vec<_>) =
        report.findings.iter().partition(|finding| finding.confidence >= FULL_MIN);
    for (index, one) in told.iter().enumerate() {
        finding(&mut out, index + 1, one);
    }
    rows(&mut out, if told.is_empty() { "What it may be" } else { "Less likely" }, guesses.iter(), |guess| {
        vec![format!("{} ({:.2})", guess.cause, guess.confidence), guess.summary.clone()]
    });
    rows(&mut out, "Looked alike, and is not it", report.excluded.iter(), |excluded| {
        vec![excluded.cause.clone(), excluded.because.clone()]
    });
    for series in report.series.iter().filter(|series| series.points.len() > 1) {
        chart(&mut out, series);
    }
    timeline(&mut out, &report.timeline);
    rows(&mut out, "What the doctor did", report.probes.iter(), |probe| {
        vec![probe.what.clone(), probe.result.clone(), format!("{} ms", probe.took.as_millis())]
    });
    rows(&mut out, "Not looked at", report.skipped.iter(), |skipped| {
        vec![skipped.check.clone(), skipped.reason.clone(), skipped.needs.clone()]
    });
    rows(&mut out, "What to do next", report.next.iter(), |next| vec![next.clone()]);
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

fn verdict(out: &mut String, report: &Report) {
    let asserted = report.findings.iter().filter(|finding| finding.confidence >= FULL_MIN).count();
    let (class, words) = match (asserted, report.healthy) {
        (0, true) => ("good", "Healthy: it was seen to work, and nothing speaks against it.".to_owned()),
        (0, false) => ("dim", "Inconclusive: nothing is certain enough to be called the cause.".to_owned()),
        (1, _) => ("bad", "One cause was found.".to_owned()),
        (count, _) => ("bad", format!("{count} causes were found.")),
    };
    let _ = writeln!(out, "<p class=\"{class}\"><strong>{words}</strong></p>");
}

fn chain(out: &mut String, chain: &[Hop]) {
    if chain.is_empty() {
        return;
    }
    out.push_str("<ol class=\"chain\">\n");
    for hop in chain {
        let (class, mark) = match hop.state {
            HopState::Broken => ("broken", "<span class=\"bad\">✗</span> "),
            HopState::Good => ("good", "<span class=\"good\">✓</span> "),
            HopState::Unknown => ("", ""),
        };
        let version = hop.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
        let _ = write!(
            out,
            "<li class=\"{class}\">{mark}<strong>{}</strong><br><code>{}</code>",
            escaped(&format!("{}{version}", hop.product)),
            escaped(&hop.address)
        );
        for text in
            [Some(&hop.detail), hop.note.as_ref()].into_iter().flatten().filter(|text| !text.is_empty())
        {
            let _ = write!(out, "<br><span class=\"dim\">{}</span>", escaped(text));
        }
        out.push_str("</li>\n");
    }
    out.push_str("</ol>\n");
}

fn finding(out: &mut String, number: usize, finding: &Finding) {
    let _ = writeln!(
        out,
        "<section class=\"finding\">\n<h2>{number}. {} ({:.2})</h2>\n<p>{}</p>\n<table>",
        escaped(&finding.cause),
        finding.confidence,
        escaped(&finding.summary)
    );
    for evidence in finding.because.iter() {
        cited(out, "because", evidence);
    }
    for evidence in &finding.against {
        cited(out, "against", evidence);
    }
    for missing in &finding.missing {
        let _ = writeln!(out, "<tr><th>unknown</th><td colspan=\"2\">{}</td></tr>", escaped(missing));
    }
    for consequence in &finding.consequences {
        let _ = writeln!(
            out,
            "<tr><th>leads to</th><td>{} ({:.2})</td><td>{}</td></tr>",
            escaped(&consequence.cause),
            consequence.confidence,
            escaped(&consequence.summary)
        );
    }
    let _ = writeln!(out, "</table>\n<p><strong>Fix</strong>: {}</p>", escaped(&finding.fix.summary));
    for edit in &finding.fix.edits {
        let place = if edit.line == 0 { edit.file.clone() } else { format!("{}:{}", edit.file, edit.line) };
        let old = if edit.old.is_empty() {
            String::new()
        } else {
            format!("<span class=\"old\">- {}</span>\n", escaped(&edit.old))
        };
        let _ = writeln!(
            out,
            "<pre>{}\n{old}<span class=\"new\">+ {}</span></pre>",
            escaped(&place),
            escaped(&edit.new)
        );
    }
    for (word, commands) in [("run", &finding.fix.commands), ("verify", &finding.fix.verify)] {
        for command in commands {
            let _ = writeln!(out, "<p>{word} <code>{}</code></p>", escaped(command));
        }
    }
    out.push_str("</section>\n");
}

fn cited(out: &mut String, word: &str, evidence: &Evidence) {
    let time = evidence.time.map(|time| time.clock_time()).unwrap_or_default();
    let text = if evidence.text.is_empty() { evidence.kind.as_ref() } else { evidence.text.as_str() };
    let _ = writeln!(
        out,
        "<tr><th>{word}</th><td><code>{}</code><br><span class=\"dim\">{time}</span></td><td><code>{}</code></td></tr>",
        escaped(&evidence.place.to_string()),
        escaped(text)
    );
}

fn rows<T>(out: &mut String, title: &str, items: impl Iterator<Item = T>, one: impl Fn(T) -> Vec<String>) {
    let mut items = items.peekable();
    if items.peek().is_none() {
        return;
    }
    let _ = writeln!(out, "<h2>{title}</h2>\n<table>");
    for item in items {
        let cells: String = one(item).iter().map(|text| format!("<td>{}</td>", escaped(text))).collect();
        let _ = writeln!(out, "<tr>{cells}</tr>");
    }
    out.push_str("</table>\n");
}

fn timeline(out: &mut String, events: &[Evidence]) {
    let folded = super::fold(events);
    let left_out = folded.len().saturating_sub(TIMELINE_MAX);
    rows(out, "Timeline (UTC)", folded.into_iter().skip(left_out), |(event, count)| {
        let times = if count > 1 { format!(" ×{count}") } else { String::new() };
        vec![
            event.time.map(|time| time.clock_time()).unwrap_or_default(),
            event.source.to_string(),
            format!("{}{times}", event.text),
        ]
    });
}

/// A line over time, with its bounds written beside it.
fn chart(out: &mut String, series: &Series) {
    let times = || series.points.iter().map(|(at, _)| at.0);
    let (Some(first), Some(last)) = (times().min(), times().max()) else { return };
    let top = series.points.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    let x = |at: Moment| (at.0 - first) as f64 / ((last - first) as f64).max(1.0) * CHART_WIDTH;
    let y = |value: f64| CHART_HEIGHT - value / top.max(f64::MIN_POSITIVE) * (CHART_HEIGHT - 20.0);
    let mut points: Vec<(Moment, f64)> = series.points.clone();
    points.sort_by_key(|(at, _)| *at);
    let line: Vec<String> =
        points.iter().map(|(at, value)| format!("{:.1},{:.1}", x(*at), y(*value))).collect();
    let _ = writeln!(
        out,
        "<figure><figcaption>{} ({}), at most {}</figcaption>\n\
         <svg viewBox=\"0 0 {CHART_WIDTH} {}\" role=\"img\"><polyline points=\"{}\"/>\
         <text x=\"0\" y=\"{}\">{}</text><text x=\"{CHART_WIDTH}\" y=\"{}\" text-anchor=\"end\">{}</text></svg></figure>",
        escaped(&series.name),
        escaped(&series.unit),
        rounded(top),
        CHART_HEIGHT + 16.0,
        line.join(" "),
        CHART_HEIGHT + 14.0,
        Moment(first).clock_time(),
        CHART_HEIGHT + 14.0,
        Moment(last).clock_time(),
    );
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// Text as text, whatever it is.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in super::plain(text, true).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_strangers_are_text() {
        let report = Report {
            target: "http://x/<script>alert(1)</script>".to_owned(),
            series: vec![Series {
                name: "errors".to_owned(),
                unit: "per second".to_owned(),
                points: vec![(Moment(1000), 0.0), (Moment(3000), 4.0), (Moment(2000), 2.0)],
            }],
            ..Report::default()
        };
        let page = render(&report);
        assert!(!page.contains("<script>"), "{page}");
        assert!(page.contains("http://x/&lt;script&gt;alert(1)&lt;/script&gt;"));
        assert!(page.contains("default-src 'none'"));
        assert!(page.contains("points=\"0.0,120.0 320.0,70.0 640.0,20.0\""), "{page}");
    }
}
