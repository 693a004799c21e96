//! Gunicorn: its configuration file, read and never executed, its command line, and what it does by itself.
//!
//! The file is the weakest, then `GUNICORN_CMD_ARGS`, then the command line, as Gunicorn itself applies them.

mod options;
mod python;
mod server;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::argument::{self, Word};
use super::command::Launch;
use super::files::{self, Files};
use super::{Origin, Part, Problem, Server, Source};
use python::Value;

pub(super) const PRODUCT: &str = "gunicorn";

/// A value of Gunicorn's own setting.
#[derive(Clone, Debug)]
struct Given {
    /// `None` where it is not known.
    values: Option<Vec<String>>,
    uncertain: bool,
    origin: Origin,
}

/// By Gunicorn's own names.
type Layer = BTreeMap<String, Given>;

/// A configuration file on its own: how the server is started is not known, so what the command line may set is uncertain.
pub(super) fn read(source: &Source, part: &mut Part) {
    let layer = file(&source.path, &source.text, part);
    let path: Arc<str> = Arc::from(source.path.as_str());
    let whole = Origin::new(&path, 0, "");
    let mut server = server::build(&layer, &whole);
    for bind in &mut server.binds {
        bind.uncertain |= bind.default;
    }
    part.servers.push(server);
}

/// A command line with the file it names.
pub(super) fn launched(launch: &Launch, files: &dyn Files, part: &mut Part) -> Server {
    let (options, others) = argument::options(&launch.words, options::OPTIONS);
    let variables = launch.variable("GUNICORN_CMD_ARGS").unwrap_or_default();
    let words: Vec<Word> =
        argument::commands(&variables, &|name| launch.variable(name)).into_iter().flatten().collect();
    let (from_variable, _) = argument::options(&words, options::OPTIONS);
    let mut layer = Layer::new();
    if let Some(workers) = launch.variable("WEB_CONCURRENCY") {
        add(&mut layer, "workers", &Word::known(&workers), &launch.origin);
    }
    let last = |key: &str| {
        let mut all = from_variable.iter().chain(&options).rev();
        all.find(|(known, _)| *known == key).map(|(_, word)| word.clone())
    };
    let directory = match last("chdir") {
        Some(word) => Some(files::joined(launch.directory.as_deref().unwrap_or_default(), word.as_str())),
        None => launch.directory.clone(),
    };
    layer.extend(configuration(last("config").as_ref(), launch, files, part));
    for set in [&from_variable, &options] {
        let mut fresh = Layer::new();
        for (key, word) in set {
            add(&mut fresh, key, word, &launch.place(word));
        }
        layer.extend(fresh);
    }
    if let Some(app) = others.first() {
        add(&mut layer, "wsgi_app", app, &launch.origin);
    }
    let mut server = server::build(&layer, &launch.whole());
    server.directory = directory;
    server
}

/// The layer of the file that `-c` names, or of `gunicorn.conf.py` in the folder where Gunicorn is started.
fn configuration(named: Option<&Word>, launch: &Launch, files: &dyn Files, part: &mut Part) -> Layer {
    let path = match named {
        Some(word) => {
            let text = word.as_str();
            if text.starts_with("python:") {
                let message = format!("the settings of '{text}' were not read: it is a module, not a file");
                part.problems.push(Problem::unseen(
                    &launch.origin.path,
                    launch.origin.line as usize,
                    message,
                ));
                return Layer::new();
            }
            text.strip_prefix("file:").unwrap_or(text).to_owned()
        }
        None => "gunicorn.conf.py".to_owned(),
    };
    let wanted = files::joined(launch.directory.as_deref().unwrap_or_default(), &path);
    for candidate in launch.candidates(&path, &wanted) {
        if let Ok(text) = files.text(&candidate) {
            part.included.insert(candidate.clone());
            return file(&candidate, &text, part);
        }
    }
    if named.is_some() {
        let message = format!("'{wanted}' is named and was not found");
        part.problems.push(Problem::unseen(&launch.origin.path, launch.origin.line as usize, message));
    }
    Layer::new()
}

fn add(layer: &mut Layer, key: &str, word: &Word, origin: &Origin) {
    if key.is_empty() {
        return;
    }
    let given = layer.entry(key.to_owned()).or_insert_with(|| Given {
        values: Some(Vec::new()),
        uncertain: false,
        origin: origin.clone(),
    });
    if !options::MANY.contains(&key) {
        given.values = Some(Vec::new());
    }
    given.uncertain |= word.uncertain;
    given.values = given.values.take().zip(word.text.clone()).map(|(mut values, text)| {
        values.push(text);
        values
    });
}

/// The settings that a file assigns.
fn file(path: &str, text: &str, part: &mut Part) -> Layer {
    let shared: Arc<str> = Arc::from(path);
    let (names, problems) = python::assignments(text);
    for (line, message) in problems {
        part.problems.push(Problem::error(path, line, message));
    }
    let mut layer = Layer::new();
    for (index, line) in text.lines().enumerate() {
        if ["def post_fork(", "def post_worker_init("].iter().any(|start| line.starts_with(start)) {
            let origin = Origin::new(&shared, index + 1, line);
            layer.insert(
                "post_fork".to_owned(),
                Given { values: Some(vec!["yes".to_owned()]), uncertain: false, origin },
            );
        }
    }
    for (name, assigned) in names {
        let values = match &assigned.value {
            Value::Unknown => None,
            Value::None => continue,
            Value::List(items) => Some(items.iter().map(Value::to_string).collect()),
            Value::Bool(value) => Some(vec![if *value { "yes" } else { "no" }.to_owned()]),
            value => Some(vec![value.to_string()]),
        };
        let origin = Origin::new(&shared, assigned.line, &assigned.text);
        layer.insert(name, Given { values, uncertain: assigned.uncertain, origin });
    }
    layer
}
