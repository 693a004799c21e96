//! Evidence: one observed fact with its provenance, and the line it is written as.
//!
//! A fact has a kind and fields. Which kinds there are, with which fields, is declared by who observes them (`probe`); rules
//! of causes (`doctor`) name them. Values are text here: a rule decides whether it compares numbers, versions or words.

mod notation;

use std::borrow::Cow;
use std::fmt;

use crate::moment::Moment;

pub use notation::ParseEvidenceError;

/// One observed fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// What kind of fact it is, for example `failure` or `gunicorn.worker-timeout`.
    pub kind: Cow<'static, str>,
    /// What is known of it, each name once.
    pub fields: Vec<(Cow<'static, str>, String)>,
    /// The fact for a person, in one line: the log line itself where it came from a log.
    pub text: String,
    /// Who says so: `nginx error log`, `socket table`, `http probe`. Facts of one source do not confirm each other.
    pub source: Cow<'static, str>,
    /// Where a person can see it.
    pub place: Place,
    /// When it happened; for a state, `None`.
    pub time: Option<Moment>,
}

/// Where a fact can be seen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// An exchange of Clearway's own records, by its id.
    Exchange(String),
    /// A line of a file, counted from 1; 0 stands for the file as a whole.
    File {
        path: String,
        line: u64,
    },
    /// Something of the system that is no file with lines: a table, a counter, an answer of an API.
    Object(String),
    /// What the doctor did to see it, for example `GET http://127.0.0.1:8000/ directly`.
    Probe(String),
    Process(u32),
    Socket(String),
}

impl Evidence {
    pub fn new(kind: impl Into<Cow<'static, str>>) -> Evidence {
        Evidence {
            kind: kind.into(),
            fields: Vec::new(),
            text: String::new(),
            source: Cow::Borrowed(""),
            place: Place::Object(String::new()),
            time: None,
        }
    }

    /// Sets a field.
    #[must_use]
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: impl ToString) -> Evidence {
        let name = name.into();
        let value = value.to_string();
        match self.fields.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.fields.push((name, value)),
        }
        self
    }

    /// Sets a field if there is a value.
    #[must_use]
    pub fn with_some(self, name: impl Into<Cow<'static, str>>, value: Option<impl ToString>) -> Evidence {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    #[must_use]
    pub fn text(mut self, text: impl Into<String>) -> Evidence {
        self.text = text.into();
        self
    }

    #[must_use]
    pub fn from(mut self, source: impl Into<Cow<'static, str>>) -> Evidence {
        self.source = source.into();
        self
    }

    #[must_use]
    pub fn at(mut self, place: Place) -> Evidence {
        self.place = place;
        self
    }

    #[must_use]
    pub fn time(mut self, time: Option<Moment>) -> Evidence {
        self.time = time;
        self
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn number(&self, name: &str) -> Option<f64> {
        self.get(name)?.parse().ok()
    }
}

impl Place {
    pub fn file(path: impl Into<String>, line: u64) -> Place {
        Place::File { path: path.into(), line }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Exchange(id) => write!(f, "exchange {id}"),
            Place::File { path, line: 0 } => f.write_str(path),
            Place::File { path, line } => write!(f, "{path}:{line}"),
            Place::Object(name) => f.write_str(name),
            Place::Probe(what) => write!(f, "probe {what}"),
            Place::Process(pid) => write!(f, "pid {pid}"),
            Place::Socket(name) => write!(f, "socket {name}"),
        }
    }
}

impl From<&str> for Place {
    /// Reads what `Display` writes. A file is what begins with `/`, `./` or `../`, or ends with a colon and a number.
    fn from(text: &str) -> Place {
        if let Some(id) = text.strip_prefix("exchange ") {
            return Place::Exchange(id.to_owned());
        }
        if let Some(what) = text.strip_prefix("probe ") {
            return Place::Probe(what.to_owned());
        }
        if let Some(name) = text.strip_prefix("socket ") {
            return Place::Socket(name.to_owned());
        }
        if let Some(pid) = text.strip_prefix("pid ").and_then(|pid| pid.parse().ok()) {
            return Place::Process(pid);
        }
        if let Some((path, line)) = text.rsplit_once(':')
            && let Ok(line) = line.parse()
            && !path.is_empty()
        {
            return Place::file(path, line);
        }
        if ["/", "./", "../"].iter().any(|start| text.starts_with(start)) {
            return Place::file(text, 0);
        }
        Place::Object(text.to_owned())
    }
}
