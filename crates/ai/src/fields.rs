//! Reading the fields of a JSON object, one after the other, with an error that names the field.

use std::fmt::Display;

use serde_json::{Map, Value};

/// Why a request of a client cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// `messages[2].content`.
    pub param: String,
    pub message: String,
}

impl Reject {
    pub(crate) fn new(param: impl Display, message: impl Into<String>) -> Reject {
        Reject { param: param.to_string(), message: message.into() }
    }
}

/// The fields that nobody has taken yet.
#[derive(Debug)]
pub(crate) struct Fields {
    at: String,
    map: Map<String, Value>,
    /// Names may be written `snake_case` as well: the JSON form of protocol buffers allows both.
    snake: bool,
}

impl Fields {
    pub(crate) fn new(at: impl Into<String>, value: Value) -> Result<Fields, Reject> {
        let at = at.into();
        match value {
            Value::Object(map) => Ok(Fields { at, map, snake: false }),
            other => Err(Reject::new(&at, format!("must be an object, not {}", kind(&other)))),
        }
    }

    /// The whole body of a request.
    pub(crate) fn parse(body: &[u8]) -> Result<Fields, Reject> {
        let value = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
        match value {
            Value::Object(map) => Ok(Fields { at: String::new(), map, snake: false }),
            other => Err(Reject::new("", format!("the body must be a JSON object, not {}", kind(&other)))),
        }
    }

    /// The place of a field, for messages.
    pub(crate) fn place(&self, name: &str) -> String {
        if self.at.is_empty() { name.to_owned() } else { format!("{}.{name}", self.at) }
    }

    /// Allows `snake_case` here and in all objects below.
    pub(crate) fn or_snake(mut self) -> Fields {
        self.snake = true;
        self
    }

    /// `null` counts as absent.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        let value = match self.map.shift_remove(name) {
            None if self.snake => self.map.shift_remove(&snake(name)),
            value => value,
        };
        value.filter(|value| !value.is_null())
    }

    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>, Reject> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(name, "a string", &other)),
        }
    }

    pub(crate) fn need_text(&mut self, name: &str) -> Result<String, Reject> {
        self.text(name)?.ok_or_else(|| self.missing(name))
    }

    pub(crate) fn flag(&mut self, name: &str) -> Result<Option<bool>, Reject> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(other) => Err(self.wrong(name, "true or false", &other)),
        }
    }

    pub(crate) fn number(&mut self, name: &str) -> Result<Option<f64>, Reject> {
        match self.take(name) {
            None => Ok(None),
            Some(value) => match value.as_f64() {
                Some(number) => Ok(Some(number)),
                None => Err(self.wrong(name, "a number", &value)),
            },
        }
    }

    pub(crate) fn integer(&mut self, name: &str) -> Result<Option<i64>, Reject> {
        match self.take(name) {
            None => Ok(None),
            Some(value) => match value.as_i64().or_else(|| whole(value.as_f64()?)) {
                Some(number) => Ok(Some(number)),
                None => Err(self.wrong(name, "a whole number", &value)),
            },
        }
    }

    pub(crate) fn count(&mut self, name: &str) -> Result<Option<u64>, Reject> {
        match self.integer(name)? {
            None => Ok(None),
            Some(number) => match u64::try_from(number) {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(Reject::new(self.place(name), "must not be negative")),
            },
        }
    }

    /// Absent is empty.
    pub(crate) fn list(&mut self, name: &str) -> Result<Vec<Value>, Reject> {
        match self.take(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(list)) => Ok(list),
            Some(other) => Err(self.wrong(name, "a list", &other)),
        }
    }

    pub(crate) fn object(&mut self, name: &str) -> Result<Option<Fields>, Reject> {
        let place = self.place(name);
        let snake = self.snake;
        self.take(name).map(|value| Ok(Fields { snake, ..Fields::new(place, value)? })).transpose()
    }

    /// The objects of a list, each with its place.
    pub(crate) fn objects(&mut self, name: &str) -> Result<Vec<Fields>, Reject> {
        let place = self.place(name);
        let (list, snake) = (self.list(name)?, self.snake);
        list.into_iter()
            .enumerate()
            .map(|(index, value)| Ok(Fields { snake, ..Fields::new(format!("{place}[{index}]"), value)? }))
            .collect()
    }

    /// A string, or a list of strings.
    pub(crate) fn texts(&mut self, name: &str) -> Result<Vec<String>, Reject> {
        match self.take(name) {
            None => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(vec![text]),
            Some(Value::Array(list)) => list
                .into_iter()
                .map(|value| match value {
                    Value::String(text) => Ok(text),
                    other => Err(self.wrong(name, "a list of strings", &other)),
                })
                .collect(),
            Some(other) => Err(self.wrong(name, "a string or a list of strings", &other)),
        }
    }

    /// What nobody took, without what is null.
    pub(crate) fn rest(self) -> Map<String, Value> {
        self.map.into_iter().filter(|(_, value)| !value.is_null()).collect()
    }

    pub(crate) fn missing(&self, name: &str) -> Reject {
        Reject::new(self.place(name), "is missing")
    }

    pub(crate) fn wrong(&self, name: &str, wanted: &str, found: &Value) -> Reject {
        Reject::new(self.place(name), format!("must be {wanted}, not {}", kind(found)))
    }
}

/// `topK` is `top_k`.
fn snake(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    for char in name.chars() {
        if char.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(char.to_ascii_lowercase());
    }
    out
}

/// Some clients write 100 as 100.0.
fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64)
}

pub(crate) fn malformed(error: &serde_json::Error) -> Reject {
    Reject::new("", format!("the body is not valid JSON: {error}"))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Text at a path of a value; empty where it is not there.
pub(crate) fn text_at<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

pub(crate) fn count_at(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or_default()
}

pub(crate) fn list_at<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// Sets a field of what is an object.
pub(crate) fn put(object: &mut Value, name: &str, value: impl Into<Value>) {
    if let Some(map) = object.as_object_mut() {
        map.insert(name.to_owned(), value.into());
    }
}

/// An object that is filled field by field; what is `None` is left out.
#[derive(Debug, Default)]
pub(crate) struct Object(Map<String, Value>);

impl Object {
    pub(crate) fn set(&mut self, name: &str, value: impl Into<Value>) -> &mut Object {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    pub(crate) fn set_some(&mut self, name: &str, value: Option<impl Into<Value>>) -> &mut Object {
        if let Some(value) = value {
            self.set(name, value);
        }
        self
    }

    pub(crate) fn set_list(&mut self, name: &str, list: Vec<Value>) -> &mut Object {
        if !list.is_empty() {
            self.set(name, list);
        }
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn value(self) -> Value {
        Value::Object(self.0)
    }
}
