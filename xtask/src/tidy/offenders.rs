//! The list of known offenders. It may only shrink.
//!
//! A line is `rule subject` or `rule subject measure`; `#` begins a comment.

use super::Offence;

pub(super) const PATH: &str = "xtask/offenders.txt";

struct Entry<'a> {
    line: usize,
    rule: &'a str,
    subject: &'a str,
    measure: Option<usize>,
}

/// Takes the listed ones out of `offences` and adds an offence for each entry that is no longer needed as it stands.
pub(super) fn apply(list: &str, offences: Vec<Offence>) -> Vec<Offence> {
    let entries: Vec<Entry<'_>> = list.lines().enumerate().filter_map(parse).collect();
    let mut left = Vec::new();
    let mut stale: Vec<Offence> = entries
        .iter()
        .filter_map(|entry| {
            let now = offences.iter().find(|offence| entry.is_for(offence));
            let message = match (now, entry.measure) {
                (None, _) => "no longer offends: remove this line".to_owned(),
                (Some(Offence { measure: Some(now), .. }), Some(then)) if *now < then => {
                    format!("is down to {now}: lower the number on this line")
                }
                _ => return None,
            };
            let subject = format!("{PATH}:{} ({} {})", entry.line, entry.rule, entry.subject);
            Some(Offence { rule: "offenders", subject, measure: None, message })
        })
        .collect();
    for offence in offences {
        let excused = entries.iter().any(|entry| {
            entry.is_for(&offence) && offence.measure.unwrap_or_default() <= entry.measure.unwrap_or_default()
        });
        if !excused {
            left.push(offence);
        }
    }
    left.append(&mut stale);
    left
}

impl Entry<'_> {
    fn is_for(&self, offence: &Offence) -> bool {
        self.rule == offence.rule && self.subject == offence.subject
    }
}

fn parse((index, line): (usize, &str)) -> Option<Entry<'_>> {
    let text = line.split('#').next().unwrap_or_default();
    let mut words = text.split_whitespace();
    let (rule, subject) = (words.next()?, words.next().unwrap_or_default());
    let measure = words.next().and_then(|word| word.parse().ok());
    Some(Entry { line: index + 1, rule, subject, measure })
}
