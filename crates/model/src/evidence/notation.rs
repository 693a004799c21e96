//! Evidence as one line of text, the same in pages of causes, in bundles and in tests:
//!
//! ```text
//! 2026-11-23T07:06:57.120Z failure proxy=nginx phase=connect how=refused upstream=127.0.0.1:8000 source="nginx error log" at=/var/log/nginx/error.log:7 text="..."
//! ```
//!
//! The time may be left out. Values with blanks, quotes or backslashes are quoted; in quotes, a backslash keeps the next
//! character, and `\n` is the end of a line.

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::str::FromStr;

use super::{Evidence, Place};

/// Why a line is not evidence; a fragment that fits "failed to read evidence: ...".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseEvidenceError(pub String);

impl fmt::Display for ParseEvidenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ParseEvidenceError {}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(time) = self.time {
            write!(f, "{time} ")?;
        }
        f.write_str(&self.kind)?;
        for (name, value) in &self.fields {
            write_pair(f, name, value)?;
        }
        if !self.source.is_empty() {
            write_pair(f, "source", &self.source)?;
        }
        let place = self.place.to_string();
        if !place.is_empty() {
            write_pair(f, "at", &place)?;
        }
        if !self.text.is_empty() {
            write_pair(f, "text", &self.text)?;
        }
        Ok(())
    }
}

fn write_pair(f: &mut fmt::Formatter<'_>, name: &str, value: &str) -> fmt::Result {
    write!(f, " {name}=")?;
    let plain = !value.is_empty() && !value.contains(|c: char| c.is_whitespace() || c == '"' || c == '\\');
    if plain {
        return f.write_str(value);
    }
    f.write_char('"')?;
    for c in value.chars() {
        match c {
            '\n' => f.write_str("\\n")?,
            '"' | '\\' => write!(f, "\\{c}")?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

impl FromStr for Evidence {
    type Err = ParseEvidenceError;

    fn from_str(line: &str) -> Result<Evidence, ParseEvidenceError> {
        let line = line.trim();
        let (first, after) = line.split_once(' ').unwrap_or((line, ""));
        let (time, rest) = match first.parse() {
            Ok(time) => (Some(time), after.trim_start()),
            Err(_) => (None, line),
        };
        let (kind, mut rest) = rest.split_once(' ').unwrap_or((rest, ""));
        if kind.is_empty() || kind.contains(['=', '"']) {
            return Err(ParseEvidenceError(format!("'{kind}' must be a kind, as 'failure' or 'listener'")));
        }
        let mut evidence = Evidence::new(kind.to_owned()).time(time);
        while let Some(pair) = next_pair(&mut rest)? {
            let (name, value) = pair;
            evidence = match name {
                "source" => evidence.from(value),
                "at" => evidence.at(Place::from(value.as_str())),
                "text" => evidence.text(value),
                name => evidence.with(Cow::Owned(name.to_owned()), value),
            };
        }
        Ok(evidence)
    }
}

/// Takes `name=value` off the front of the text.
fn next_pair<'a>(rest: &mut &'a str) -> Result<Option<(&'a str, String)>, ParseEvidenceError> {
    let text = rest.trim_start();
    if text.is_empty() {
        return Ok(None);
    }
    let Some((name, value)) = text.split_once('=') else {
        return Err(ParseEvidenceError(format!("'{text}' must be name=value")));
    };
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '"') {
        return Err(ParseEvidenceError(format!("'{name}' must be the name of a field, followed by '='")));
    }
    let Some(quoted) = value.strip_prefix('"') else {
        let end = value.find(char::is_whitespace).unwrap_or(value.len());
        let (value, after) = value.split_at(end);
        *rest = after;
        return Ok(Some((name, value.to_owned())));
    };
    let mut taken = String::new();
    let mut characters = quoted.char_indices();
    while let Some((index, c)) = characters.next() {
        match c {
            '"' => {
                *rest = quoted.get(index + 1..).unwrap_or("");
                return Ok(Some((name, taken)));
            }
            '\\' => match characters.next() {
                Some((_, 'n')) => taken.push('\n'),
                Some((_, kept)) => taken.push(kept),
                None => break,
            },
            c => taken.push(c),
        }
    }
    Err(ParseEvidenceError(format!("the value of '{name}' has no closing quote")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &str) {
        let shown = match line.parse::<Evidence>() {
            Ok(evidence) => {
                let shown = evidence.to_string();
                assert_eq!(shown.parse().as_ref(), Ok(&evidence), "what is written must be read as the same");
                shown
            }
            Err(error) => format!("error: {error}"),
        };
        assert_eq!(shown, expected);
    }

    #[test]
    fn lines_are_read_and_written() {
        check("listener addr=127.0.0.1:8000 pid=7", "listener addr=127.0.0.1:8000 pid=7");
        check("2026-11-23T08:06:57+01:00 a  b=1", "2026-11-23T07:06:57.000Z a b=1");
        check(r#"a b="x \"y\" \\ z" text="one\ntwo""#, r#"a b="x \"y\" \\ z" text="one\ntwo""#);
        check(r#"a b="" c="plain""#, r#"a b="" c=plain"#);
        check("a at=/var/log/x.log:12 b=1 source=kernel", "a b=1 source=kernel at=/var/log/x.log:12");
        check("a b=1 b=2", "a b=2");
        check(r#"a at="probe GET http://x:1/""#, r#"a at="probe GET http://x:1/""#);
        check("a at=unit:web", "a at=unit:web");
        check("a b", "error: 'b' must be name=value");
        check(r#"a b="c"#, "error: the value of 'b' has no closing quote");
        check("a=1", "error: 'a=1' must be a kind, as 'failure' or 'listener'");
        check("", "error: '' must be a kind, as 'failure' or 'listener'");
    }
}
