//! What must be known of a request whose bytes go on as they are: one pass that checks the JSON and finds the few fields that
//! matter, and where the model's name stands.

use std::fmt;
use std::ops::Range;

use serde::Deserializer as _;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::fields::{Reject, malformed};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scan {
    pub model: Option<Box<str>>,
    /// Where the model's JSON string stands in the body.
    model_at: Option<Range<usize>>,
    pub stream: bool,
    /// The most that the client lets the model say.
    pub output_tokens_max: Option<u64>,
    pub temperature: Option<f64>,
}

/// Reads a body that must be a JSON object.
pub fn scan(body: &[u8]) -> Result<Scan, Reject> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let found = deserializer.deserialize_map(Finder { body }).map_err(|error| malformed(&error))?;
    deserializer.end().map_err(|error| malformed(&error))?;
    found
}

impl Scan {
    /// Of a body that is no JSON, and names this model in another way.
    pub fn of_model(model: Option<Box<str>>) -> Scan {
        Scan { model, ..Scan::default() }
    }

    /// The body with another model's name in it; `None` if it names none.
    pub fn with_model(&self, body: &[u8], model: &str) -> Option<Vec<u8>> {
        let at = self.model_at.clone()?;
        let name = serde_json::Value::from(model).to_string();
        let (before, after) = (body.get(..at.start)?, body.get(at.end..)?);
        Some([before, name.as_bytes(), after].concat())
    }
}

struct Finder<'a> {
    body: &'a [u8],
}

impl<'de> Visitor<'de> for Finder<'de> {
    type Value = Result<Scan, Reject>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Result<Scan, Reject>, A::Error> {
        let mut scan = Scan::default();
        let mut reject = None;
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            match &*key {
                "model" => {
                    let raw: &'de RawValue = map.next_value()?;
                    let text = raw.get();
                    if scan.model_at.is_some() {
                        // Which of the two a provider would take is anybody's guess, and so is what it may cost.
                        reject = Some(Reject::new("model", "stands twice"));
                    }
                    match serde_json::from_str::<String>(text) {
                        Ok(model) => scan.model = Some(model.into()),
                        Err(_) => reject = Some(Reject::new("model", "must be a string")),
                    }
                    let start = text.as_ptr() as usize - self.body.as_ptr() as usize;
                    scan.model_at = Some(start..start + text.len());
                }
                "stream" => scan.stream = flag(map.next_value()?),
                "max_tokens" | "max_completion_tokens" | "max_output_tokens" => {
                    let raw: &'de RawValue = map.next_value()?;
                    scan.output_tokens_max = raw.get().parse().ok().or(scan.output_tokens_max);
                }
                "temperature" => {
                    let raw: &'de RawValue = map.next_value()?;
                    scan.temperature = raw.get().parse().ok();
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(match reject {
            Some(reject) => Err(reject),
            None => Ok(scan),
        })
    }
}

fn flag(raw: &RawValue) -> bool {
    raw.get() == "true"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_found_and_replaced_and_nothing_else_changes() {
        let body =
            br#" {"messages":[{"model":"no"}], "model" : "a\/b" ,"stream":true,"max_tokens":7,"x":1.50} "#;
        let found = scan(body).unwrap();
        assert_eq!(
            (found.model.as_deref(), found.stream, found.output_tokens_max),
            (Some("a/b"), true, Some(7))
        );
        let changed = found.with_model(body, "c\"d").unwrap();
        assert_eq!(
            String::from_utf8(changed).unwrap(),
            r#" {"messages":[{"model":"no"}], "model" : "c\"d" ,"stream":true,"max_tokens":7,"x":1.50} "#
        );
    }

    #[test]
    fn what_is_no_request_is_refused_with_its_place() {
        let refused = |body: &str| {
            let Reject { param, message } = scan(body.as_bytes()).unwrap_err();
            format!("{param}: {message}")
        };
        assert_eq!(refused("{\"a\":1,}"), ": the body is not valid JSON: trailing comma at line 1 column 8");
        assert_eq!(
            refused("[]"),
            ": the body is not valid JSON: invalid type: sequence, expected a JSON object at line 1 column 0"
        );
        assert_eq!(refused("{} x"), ": the body is not valid JSON: trailing characters at line 1 column 4");
        assert_eq!(refused("{\"model\":1}"), "model: must be a string");
        assert_eq!(refused("{\"model\":\"a\",\"mod\\u0065l\":\"b\"}"), "model: stands twice");
    }
}
