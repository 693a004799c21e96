//! What Clearway says of each request in its log: the explanation of a failure, and what cannot be seen from outside.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::Value;

use crate::process::pause;

/// Lines are written by a thread of their own; a busy machine may be late.
const WRITE_TIME_MAX: Duration = Duration::from_secs(5);

/// Records by the id of the request, which is its path.
#[derive(Debug, Default)]
pub(super) struct Records(BTreeMap<String, Value>);

impl Records {
    /// Waits until there are as many as requests.
    pub(super) fn read(log: &Path, requests: usize) -> anyhow::Result<Self> {
        let end = Instant::now() + WRITE_TIME_MAX;
        loop {
            let text =
                std::fs::read_to_string(log).with_context(|| format!("failed to read {}", log.display()))?;
            let records = Self::parse(&text);
            if records.0.len() >= requests || Instant::now() > end {
                return Ok(records);
            }
            pause(Duration::from_millis(50))?;
        }
    }

    fn parse(text: &str) -> Self {
        let documents = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let by_id = documents.filter_map(|document| {
            let id = text_at(&document, "/path")?.trim_start_matches('/').to_owned();
            Some((id, document))
        });
        Self(by_id.collect())
    }

    /// All attempts at targets, of all requests.
    pub(super) fn attempts(&self) -> impl Iterator<Item = &Value> {
        self.attempts_by_request().flatten()
    }

    pub(super) fn attempts_by_request(&self) -> impl Iterator<Item = &[Value]> {
        self.0.values().map(attempts_of)
    }

    /// Whether a request failed of which no byte had been written to a target.
    pub(super) fn is_unsent(&self, id: &str) -> bool {
        let attempts = self.0.get(id).map_or(&[][..], attempts_of);
        attempts.iter().all(|attempt| attempt.get("bytes_sent").and_then(Value::as_u64) == Some(0))
    }

    /// The fault of a request in a few words, with what was seen of its attempts; if it has none, the target has answered
    /// so itself. `None` if there is no record that says either.
    pub(super) fn explain(&self, id: &str) -> Option<String> {
        let document = self.0.get(id)?;
        let answered = || {
            let last = attempts_of(document).last()?;
            let status = last.get("status").and_then(Value::as_u64)?;
            (status >= 500).then(|| format!("the target answered {status}"))
        };
        let mut text = text_at(document, "/ending/fault").map(str::to_owned).or_else(answered)?;
        for attempt in attempts_of(document) {
            text += &format!("; {}", describe(attempt));
        }
        Some(text)
    }
}

/// One attempt in a line.
fn describe(attempt: &Value) -> String {
    let mut text = text_at(attempt, "/target").unwrap_or("?").to_owned();
    for (name, pointer) in [
        ("why", "/why"),
        ("waited us", "/waited_us"),
        ("reused", "/reused"),
        ("idle us", "/reuse_idle_us"),
        ("sent", "/bytes_sent"),
        ("acked", "/bytes_acked"),
        ("status", "/status"),
        ("fault", "/ending/fault"),
        ("during", "/ending/during"),
        ("peer end", "/peer_end"),
        ("total us", "/total_us"),
    ] {
        match attempt.pointer(pointer) {
            None | Some(Value::Null) => {}
            Some(Value::String(value)) => text += &format!(", {name} {value}"),
            Some(value) => text += &format!(", {name} {value}"),
        }
    }
    text
}

fn attempts_of(document: &Value) -> &[Value] {
    document.get("attempts").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub(super) fn text_at<'a>(document: &'a Value, pointer: &str) -> Option<&'a str> {
    document.pointer(pointer).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_explained_by_its_record() {
        let text = concat!(
            r#"{"path":"/post-1","ending":{"by":"upstream","during":"await-head","fault":"reset"},"attempts":["#,
            r#"{"target":"http://a","reused":true,"bytes_sent":7,"ending":{"during":"await-head","fault":"reset"}}]}"#,
            "\n",
            r#"{"path":"/get-2","ending":{"by":"client","during":"done","fault":null},"attempts":[]}"#,
            "\n",
            r#"{"path":"/post-4","ending":{"by":"upstream","during":"done","fault":null},"attempts":["#,
            r#"{"target":"http://a","reused":false,"status":502,"ending":{"during":"done","fault":null}}]}"#,
            "\nhalf a li"
        );
        let records = Records::parse(text);
        let expect = "reset; http://a, reused true, sent 7, fault reset, during await-head";
        assert_eq!(records.explain("post-1").as_deref(), Some(expect));
        assert_eq!(records.explain("get-2"), None);
        assert!(!records.is_unsent("post-1") && records.is_unsent("get-2"));
        assert_eq!(records.explain("get-3"), None);
        let expect = "the target answered 502; http://a, reused false, status 502, during done";
        assert_eq!(records.explain("post-4").as_deref(), Some(expect));
        assert_eq!(records.attempts().count(), 2);
    }
}
