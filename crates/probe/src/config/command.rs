//! Command lines that start servers: which server it is, behind which wrappers, and with what it is started.

mod asgi;

use std::sync::Arc;

use super::argument::{self, Word};
use super::files::{self, Files};
use super::{Origin, Part, Server, Source, gunicorn, uwsgi};

/// Words before the server's name: wrappers and their options.
const WRAPPER_WORDS_MAX: usize = 12;
/// Lines that one command is written in.
const COMMAND_LINES_MAX: usize = 40;
/// Shells in shells.
const DEPTH_MAX: usize = 4;
/// Programs that name a server without starting it.
const NOT_STARTING: &[&str] = &[
    "install",
    "kill",
    "killall",
    "pgrep",
    "pip",
    "pip3",
    "pkill",
    "systemctl",
    "which",
    "service",
    "echo",
    "test",
];
const SERVERS: &[&str] = &["gunicorn", "uvicorn", "hypercorn", "daphne", "uwsgi"];

/// A server that is about to be started.
#[derive(Clone, Debug, Default)]
pub(super) struct Launch {
    /// The words after the server's name.
    pub(super) words: Vec<Word>,
    /// Variables that are set for it.
    pub(super) variables: Vec<(String, String)>,
    pub(super) directory: Option<String>,
    pub(super) origin: Origin,
    /// The lines that it is written in, the first that of `origin`.
    pub(super) lines: Arc<[String]>,
}

impl Launch {
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        self.variables.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }

    /// Where an option stands: the first of the lines that holds it.
    pub(super) fn place(&self, word: &Word) -> Origin {
        let found = self.lines.iter().position(|line| !word.option.is_empty() && line.contains(&word.option));
        let origin = match found.and_then(|index| Some((index, self.lines.get(index)?))) {
            Some((index, line)) => {
                Origin::new(&self.origin.path, self.origin.line as usize + index, line).part(&word.option)
            }
            None => self.origin.clone(),
        };
        Origin { is_option: true, ..origin }
    }

    /// Where what it does by itself would have to be changed.
    pub(super) fn whole(&self) -> Origin {
        Origin { is_option: true, ..self.origin.clone() }
    }

    /// Where a file that the command line names may be: where it is named, beside the file that holds the command line, and below
    /// that one's folder where the server's own folder is that of a container.
    pub(super) fn candidates(&self, path: &str, wanted: &str) -> Vec<String> {
        let beside = files::folder(&self.origin.path);
        let mut all = vec![wanted.to_owned()];
        let name = path.rsplit('/').next().unwrap_or(path);
        for candidate in [files::joined(beside, path.trim_start_matches('/')), files::joined(beside, name)] {
            if !all.contains(&candidate) {
                all.push(candidate);
            }
        }
        all
    }
}

/// The lines of a text that a command may be written in, from the given one on.
pub(super) fn lines_from(text: &str, line: usize) -> Arc<[String]> {
    text.lines().skip(line.saturating_sub(1)).take(COMMAND_LINES_MAX).map(str::to_owned).collect()
}

/// The server that a line names, whether or not it would be started.
pub(super) fn product(line: &str) -> Option<&'static str> {
    let commands = argument::commands(line, &|_| None);
    commands.iter().find_map(|words| match script(words) {
        Some(script) => {
            let inner = argument::commands(&script, &|_| None);
            inner.iter().find_map(|words| find(words)).map(|(product, _)| product)
        }
        None => find(words).map(|(product, _)| product),
    })
}

/// A text in which every line is a command line; a backslash at the end of a line continues it.
pub(super) fn read(source: &Source, files: &dyn Files, part: &mut Part) {
    let path: Arc<str> = Arc::from(source.path.as_str());
    for (line, text) in logical_lines(&source.text) {
        let first = source.text.lines().nth(line - 1).unwrap_or_default();
        let lines = lines_from(&source.text, line);
        let launch = Launch { origin: Origin::new(&path, line, first), lines, ..Launch::default() };
        let servers = start(&text, &launch, files, part);
        part.servers.extend(servers);
    }
}

/// `name: command` on every line.
pub(super) fn read_procfile(source: &Source, files: &dyn Files, part: &mut Part) {
    let path: Arc<str> = Arc::from(source.path.as_str());
    for (index, line) in source.text.lines().enumerate() {
        let Some((name, command)) = line.split_once(':') else { continue };
        let lines = Arc::from([line.to_owned()]);
        let launch = Launch { origin: Origin::new(&path, index + 1, line), lines, ..Launch::default() };
        for mut server in start(command.trim(), &launch, files, part) {
            server.unit = Some(name.trim().to_owned());
            part.servers.push(server);
        }
    }
}

/// Lines that end with a backslash are joined with the next.
pub(super) fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut out: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (index, line) in text.lines().enumerate() {
        let (content, goes_on) = match line.trim_end().strip_suffix('\\') {
            Some(content) => (content, true),
            None => (line, false),
        };
        match out.last_mut() {
            Some((_, text)) if open => {
                text.push(' ');
                text.push_str(content.trim());
            }
            _ => out.push((index + 1, content.trim().to_owned())),
        }
        open = goes_on;
    }
    out.retain(|(_, text)| !text.is_empty() && !text.starts_with('#'));
    out
}

/// The servers that a command line starts. `around` says where it stands and what is set for it.
pub(super) fn start(text: &str, around: &Launch, files: &dyn Files, part: &mut Part) -> Vec<Server> {
    let commands = argument::commands(text, &|name| around.variable(name));
    let mut around = around.clone();
    let mut servers = Vec::new();
    for words in commands {
        servers.extend(one(&words, &mut around, files, part, 0));
    }
    servers
}

/// The server that a list of words starts, as in the exec form of an entry point.
pub(super) fn start_words(
    words: &[Word],
    around: &Launch,
    files: &dyn Files,
    part: &mut Part,
) -> Vec<Server> {
    one(words, &mut around.clone(), files, part, 0)
}

fn one(words: &[Word], around: &mut Launch, files: &dyn Files, part: &mut Part, depth: usize) -> Vec<Server> {
    if let [first, directory] = words
        && first.as_str() == "cd"
    {
        let from = around.directory.clone().unwrap_or_default();
        around.directory = Some(files::joined(&from, directory.as_str()));
        return Vec::new();
    }
    if let Some(script) = script(words)
        && depth < DEPTH_MAX
    {
        let commands = argument::commands(&script, &|name| around.variable(name));
        return commands.iter().flat_map(|words| one(words, around, files, part, depth + 1)).collect();
    }
    let Some((product, at)) = find(words) else { return Vec::new() };
    let mut launch = around.clone();
    for word in words.get(..at).unwrap_or_default() {
        if let Some((name, value)) = word.as_str().split_once('=')
            && !name.is_empty()
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        {
            launch.variables.push((name.to_owned(), value.to_owned()));
        }
    }
    launch.words = words.get(at + 1..).unwrap_or_default().to_vec();
    vec![match product {
        "gunicorn" => gunicorn::launched(&launch, files, part),
        "uwsgi" => uwsgi::launched(&launch, files, part),
        product => asgi::launched(product, &launch),
    }]
}

/// The script of `sh -c SCRIPT`.
fn script(words: &[Word]) -> Option<String> {
    let is_shell = |word: &Word| {
        let name = word.as_str().rsplit('/').next().unwrap_or_default();
        matches!(name, "sh" | "bash" | "dash" | "ash" | "zsh")
    };
    let at = words.iter().take(WRAPPER_WORDS_MAX).position(is_shell)?;
    let mut rest = words.get(at + 1..)?.iter();
    let flags = rest.next()?.as_str();
    if !flags.starts_with('-') || !flags.contains('c') {
        return None;
    }
    let script = rest.next()?;
    Some(script.text.clone().unwrap_or_else(|| script.written.clone()))
}

/// Which server the words start, and at which of them its name stands.
fn find(words: &[Word]) -> Option<(&'static str, usize)> {
    let mut module = false;
    for (index, word) in words.iter().enumerate().take(WRAPPER_WORDS_MAX) {
        let text = word.as_str();
        let name = text.rsplit('/').next().unwrap_or(text);
        if NOT_STARTING.contains(&name) && !module {
            return None;
        }
        let name = name.strip_suffix("3").unwrap_or(name);
        if let Some(product) = SERVERS.iter().find(|product| **product == name) {
            return Some((product, index));
        }
        module = text == "-m";
    }
    None
}
