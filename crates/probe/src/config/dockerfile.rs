//! Dockerfiles: what the container starts, and with which variables. Only the last stage is what runs.

use std::sync::Arc;

use super::argument::Word;
use super::command::{self, Launch};
use super::files::Files;
use super::yaml;
use super::{Origin, Part, Server, Source};

pub(super) fn read(source: &Source, files: &dyn Files, part: &mut Part) {
    let path: Arc<str> = Arc::from(source.path.as_str());
    let lines = command::logical_lines(&source.text);
    let word = |text: &str| text.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    let last_stage = lines.iter().rposition(|(_, text)| word(text) == "FROM").unwrap_or(0);
    let mut launch = Launch::default();
    let mut entry: Option<(usize, String)> = None;
    let mut command: Option<(usize, String)> = None;
    for (line, text) in lines.get(last_stage..).unwrap_or_default() {
        let rest = text.split_once(char::is_whitespace).map_or("", |(_, rest)| rest.trim());
        match word(text).as_str() {
            "ENV" => launch.variables.extend(variables(rest)),
            "WORKDIR" => launch.directory = Some(rest.to_owned()),
            "ENTRYPOINT" => entry = Some((*line, rest.to_owned())),
            "CMD" => command = Some((*line, rest.to_owned())),
            _ => {}
        }
    }
    let Some((line, _)) = command.clone().or_else(|| entry.clone()) else { return };
    let written = source.text.lines().nth(line - 1).unwrap_or_default();
    launch.origin = Origin::new(&path, line, written);
    launch.lines = command::lines_from(&source.text, line);
    let servers = started(entry.map(|(_, text)| text), command.map(|(_, text)| text), &launch, files, part);
    for mut server in servers {
        // Never empty: a container has a loopback address of its own.
        server.hosts.push("container".to_owned());
        part.servers.push(server);
    }
}

/// In the exec form the words of `CMD` follow those of `ENTRYPOINT`; in the shell form it is a line.
fn started(
    entry: Option<String>,
    command: Option<String>,
    launch: &Launch,
    files: &dyn Files,
    part: &mut Part,
) -> Vec<Server> {
    let mut words: Vec<Word> = Vec::new();
    for text in [entry, command].into_iter().flatten() {
        if text.starts_with('[') {
            // JSON is YAML.
            let mut unread = Part::default();
            let list = yaml::documents("", &text, &mut unread);
            words.extend(
                list.iter().flat_map(yaml::Node::items).filter_map(yaml::Node::text).map(Word::known),
            );
        } else {
            return command::start(&text, launch, files, part);
        }
    }
    command::start_words(&words, launch, files, part)
}

/// `NAME=value NAME="other value"`, or the old `NAME value`.
fn variables(text: &str) -> Vec<(String, String)> {
    let words: Vec<Word> = super::argument::commands(text, &|_| None).into_iter().flatten().collect();
    let pairs: Vec<(String, String)> = words
        .iter()
        .filter_map(|word| word.text.as_deref()?.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    match (pairs.is_empty(), text.split_once(char::is_whitespace)) {
        (true, Some((name, value))) => vec![(name.to_owned(), value.trim().to_owned())],
        _ => pairs,
    }
}
