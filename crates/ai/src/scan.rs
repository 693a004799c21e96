//! What must be known of a request whose bytes go on as they are: one pass that checks the JSON and finds the few fields that
//! matter, and where the model's name stands.

use std::fmt;
use std::ops::Range;

use memchr::memmem;
use serde::Deserializer as _;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::fields::{Reject, malformed};

/// The longest name of a model; ARNs of AWS are the longest that there are.
const MODEL_BYTES_MAX: usize = 256;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scan {
    pub model: Option<Box<str>>,
    place: Place,
    pub stream: bool,
    /// The most tokens that the answer may have, where OpenAI's and Anthropic's protocols say so.
    pub output_max: Option<u64>,
}

/// Where the model's name stands in the body.
#[derive(Clone, Debug, Default, PartialEq)]
enum Place {
    /// Nowhere that is known.
    #[default]
    None,
    /// Not in this JSON object: the path has it, or nobody.
    Absent,
    /// As it is, in a form.
    Form(Range<usize>),
    /// As a JSON string.
    Json(Range<usize>),
}

/// Reads a body that must be a JSON object.
pub fn scan(body: &[u8]) -> Result<Scan, Reject> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let found = deserializer.deserialize_map(Finder { body }).map_err(|error| malformed(&error))?;
    deserializer.end().map_err(|error| malformed(&error))?;
    found
}

/// Finds the value of the part `model` of a form (RFC 7578).
pub fn scan_form(content_type: &[u8], body: &[u8]) -> Scan {
    let place = form_model(content_type, body);
    let name = place.clone().and_then(|place| std::str::from_utf8(body.get(place)?).ok());
    match (name, place) {
        (Some(name), Some(place)) => {
            Scan { model: Some(name.into()), place: Place::Form(place), ..Scan::default() }
        }
        _ => Scan::default(),
    }
}

fn form_model(content_type: &[u8], body: &[u8]) -> Option<Range<usize>> {
    let content_type = std::str::from_utf8(content_type).ok()?;
    let (_, boundary) = content_type.split_once("boundary=")?;
    let boundary = format!("--{}", boundary.split(';').next()?.trim().trim_matches('"'));
    let mut at = 0;
    loop {
        at += memmem::find(body.get(at..)?, boundary.as_bytes())? + boundary.len();
        let head = body.get(at..)?;
        let head = head.get(..memmem::find(head, b"\r\n\r\n")?)?;
        let value = at + head.len() + 4;
        if memmem::find(head, b"name=\"model\"").is_some() {
            return Some(value..value + memmem::find(body.get(value..)?, b"\r\n")?);
        }
        at = value;
    }
}

/// Names go into paths, header fields and logs, so that they are what all of these can carry.
pub fn check_model(name: &str) -> Result<(), Reject> {
    if name.len() > MODEL_BYTES_MAX {
        return Err(Reject::new("model", "must be at most 256 characters long"));
    }
    if !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Reject::new("model", "must be visible ASCII characters without blanks"));
    }
    Ok(())
}

impl Scan {
    /// The body with another model's name in it; a JSON object that names none gets it.
    pub fn with_model(&self, body: &[u8], model: &str) -> Option<Vec<u8>> {
        let name = serde_json::Value::from(model).to_string();
        let (at, name) = match &self.place {
            Place::Form(at) => (at.clone(), model.to_owned()),
            Place::Json(at) => (at.clone(), name),
            Place::None => return None,
            Place::Absent => {
                let start = body.iter().position(|byte| *byte == b'{')? + 1;
                let is_empty = body.get(start..)?.trim_ascii_start().starts_with(b"}");
                (start..start, format!("\"model\":{name}{}", if is_empty { "" } else { "," }))
            }
        };
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
        let mut scan = Scan { place: Place::Absent, ..Scan::default() };
        let mut reject = None;
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            match &*key {
                "model" => {
                    let raw: &'de RawValue = map.next_value()?;
                    let text = raw.get();
                    if scan.place != Place::Absent {
                        // Which of the two a provider would take is anybody's guess, and so is what it may cost.
                        reject = Some(Reject::new("model", "stands twice"));
                    }
                    match serde_json::from_str::<String>(text) {
                        Ok(model) => scan.model = Some(model.into()),
                        Err(_) => reject = Some(Reject::new("model", "must be a string")),
                    }
                    let start = text.as_ptr() as usize - self.body.as_ptr() as usize;
                    scan.place = Place::Json(start..start + text.len());
                }
                "stream" => scan.stream = flag(map.next_value()?),
                "max_tokens" | "max_completion_tokens" | "max_output_tokens" => {
                    let raw: &RawValue = map.next_value()?;
                    scan.output_max = raw.get().parse().ok().or(scan.output_max);
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
        assert_eq!((found.model.as_deref(), found.stream), (Some("a/b"), true));
        let changed = found.with_model(body, "c\"d").unwrap();
        assert_eq!(
            String::from_utf8(changed).unwrap(),
            r#" {"messages":[{"model":"no"}], "model" : "c\"d" ,"stream":true,"max_tokens":7,"x":1.50} "#
        );
    }

    #[test]
    fn a_body_without_a_model_gets_it_and_one_in_a_form_is_replaced() {
        let with =
            |body: &[u8]| String::from_utf8(scan(body).unwrap().with_model(body, "m").unwrap()).unwrap();
        assert_eq!(with(b" { \"a\":1}"), " {\"model\":\"m\", \"a\":1}");
        assert_eq!(with(b"{ }"), "{\"model\":\"m\" }");
        let form = b"--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nmodel\r\n\
                     --x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\na/whisper\r\n--x--\r\n";
        let found = scan_form(b"multipart/form-data; boundary=\"x\"", form);
        assert_eq!(found.model.as_deref(), Some("a/whisper"));
        let changed = String::from_utf8(found.with_model(form, "whisper").unwrap()).unwrap();
        assert_eq!(changed, String::from_utf8_lossy(form).replace("a/whisper", "whisper"));
        assert_eq!(scan_form(b"multipart/form-data; boundary=y", form).model, None);
        assert_eq!(scan_form(b"text/plain", b"{}").with_model(b"{}", "m"), None);
    }

    #[test]
    fn a_name_that_could_break_a_header_is_refused() {
        assert_eq!(check_model("meta-llama/Llama-3:free@1"), Ok(()));
        for name in ["a\r\nb", "a b", "caf\u{e9}", &"a".repeat(257)] {
            assert!(check_model(name).is_err(), "{name}");
        }
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
