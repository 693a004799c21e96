//! Apache's text to a tree of directives and sections, each with its place; includes stand where they are included, and variables
//! of `Define` and of Debian's `envvars` are filled in.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::files::{self, Files};
use crate::config::{Origin, Part, Problem};

const DEPTH_MAX: usize = 40;
const INCLUDE_DEPTH_MAX: usize = 16;
/// Hosts with ten thousand sites exist.
const FILES_MAX: usize = 20_000;
const DIRECTIVES_MAX: usize = 1_000_000;
/// Where packages put the configuration: paths below it are looked for below the main file's own folder as well.
const HOMES: &[&str] = &["/etc/apache2/", "/etc/httpd/", "/usr/local/apache2/", "/opt/bitnami/apache/"];

/// A directive, or a section with what stands in it.
#[derive(Clone, Debug)]
pub(super) struct Directive {
    /// In lower case: Apache does not care.
    pub(super) name: String,
    pub(super) arguments: Vec<String>,
    pub(super) section: Option<Vec<Directive>>,
    pub(super) origin: Origin,
}

impl Directive {
    pub(super) fn argument(&self, index: usize) -> &str {
        self.arguments.get(index).map_or("", String::as_str)
    }

    pub(super) fn children(&self) -> &[Directive] {
        self.section.as_deref().unwrap_or_default()
    }
}

pub(super) fn parse(path: &str, text: &str, files: &dyn Files, part: &mut Part) -> Vec<Directive> {
    let mut reader = Reader {
        files,
        part,
        home: files::folder(path).to_owned(),
        variables: BTreeMap::new(),
        stack: Vec::new(),
        files_read: 0,
        directives: 0,
    };
    reader.environment();
    reader.file(path, text)
}

struct Reader<'a> {
    files: &'a dyn Files,
    part: &'a mut Part,
    /// `ServerRoot`, or the folder of the main file.
    home: String,
    variables: BTreeMap<String, String>,
    stack: Vec<String>,
    files_read: usize,
    directives: usize,
}

impl Reader<'_> {
    /// Debian starts Apache with the variables of this file.
    fn environment(&mut self) {
        let path = files::joined(&self.home, "envvars");
        let Ok(text) = self.files.text(&path) else { return };
        for line in text.lines() {
            let Some((name, value)) =
                line.trim().strip_prefix("export ").and_then(|rest| rest.split_once('='))
            else {
                continue;
            };
            // `$SUFFIX` is empty for the only instance of a host.
            let value = value.trim_matches('"').replace("$SUFFIX", "");
            self.variables.insert(name.to_owned(), value);
        }
    }

    fn file(&mut self, path: &str, text: &str) -> Vec<Directive> {
        let shared: Arc<str> = Arc::from(path);
        self.stack.push(path.to_owned());
        let lines = logical_lines(text);
        let mut lines = lines.iter().peekable();
        let directives = self.section(&mut lines, &shared, None, 0);
        self.stack.pop();
        directives
    }

    /// The directives up to the end of the section, or of the file.
    fn section<'l>(
        &mut self,
        lines: &mut std::iter::Peekable<std::slice::Iter<'l, (usize, String)>>,
        path: &Arc<str>,
        open: Option<(&str, usize)>,
        depth: usize,
    ) -> Vec<Directive> {
        let mut directives = Vec::new();
        while let Some((line, text)) = lines.next() {
            self.directives += 1;
            if self.directives > DIRECTIVES_MAX {
                return directives;
            }
            if let Some(name) = text.strip_prefix("</") {
                let name = name.trim_end_matches('>').trim();
                match open {
                    Some((opened, _)) if opened.eq_ignore_ascii_case(name) => return directives,
                    _ => {
                        let message = format!("'</{name}>' closes nothing");
                        self.part.problems.push(Problem::error(path, *line, message));
                    }
                }
                continue;
            }
            let inner = text.strip_prefix('<').map(|rest| rest.trim_end().trim_end_matches('>'));
            let mut words = self.words(inner.unwrap_or(text)).into_iter();
            let Some(name) = words.next() else { continue };
            let written = name.clone();
            let mut directive = Directive {
                name: name.to_ascii_lowercase(),
                arguments: words.collect(),
                section: None,
                origin: Origin::new(path, *line, text),
            };
            if inner.is_some() {
                if depth >= DEPTH_MAX {
                    let message = format!("sections must be nested at most {DEPTH_MAX} deep");
                    self.part.problems.push(Problem::error(path, *line, message));
                    return directives;
                }
                directive.section = Some(self.section(lines, path, Some((&written, *line)), depth + 1));
            }
            self.add(directive, &mut directives);
        }
        if let Some((name, line)) = open {
            let message = format!("'<{name}>' is not closed");
            self.part.problems.push(Problem::error(path, line, message));
        }
        directives
    }

    fn add(&mut self, directive: Directive, directives: &mut Vec<Directive>) {
        match directive.name.as_str() {
            "define" => {
                self.variables.insert(directive.argument(0).to_owned(), directive.argument(1).to_owned());
            }
            "undefine" => {
                self.variables.remove(directive.argument(0));
            }
            "serverroot" => self.home = directive.argument(0).to_owned(),
            "include" | "includeoptional" => self.include(&directive, directives),
            // What is in them is in force or not, depending on modules and options of the start: it is taken as in force,
            // but for what is said to be absent.
            "ifmodule" | "ifdefine" | "ifversion" | "requireall" => {
                let negated = directive.argument(0).starts_with('!');
                if !negated {
                    directives.extend(directive.section.unwrap_or_default());
                }
            }
            _ => directives.push(directive),
        }
    }

    fn include(&mut self, directive: &Directive, directives: &mut Vec<Directive>) {
        let (from, line) = (Arc::clone(&directive.origin.path), directive.origin.line as usize);
        let pattern = directive.argument(0);
        let found = self.find(pattern);
        if found.is_empty() && directive.name == "include" && !files::is_pattern(pattern) {
            let message = format!("'{pattern}' is included and was not found");
            self.part.problems.push(Problem::unseen(&from, line, message));
        }
        for path in found {
            if self.stack.contains(&path) {
                self.part.problems.push(Problem::error(&from, line, format!("'{path}' includes itself")));
                continue;
            }
            if self.stack.len() >= INCLUDE_DEPTH_MAX || self.files_read >= FILES_MAX {
                let message = format!("'{path}' was left out: includes are too deep or too many");
                self.part.problems.push(Problem::unseen(&from, line, message));
                return;
            }
            self.files_read += 1;
            match self.files.text(&path) {
                Ok(text) => {
                    self.part.included.insert(path.clone());
                    directives.extend(self.file(&path, &text));
                }
                // A folder of files is included by its name as well.
                Err(_) if !files::is_pattern(pattern) && path == files::joined(&self.home, pattern) => {
                    let all = Directive {
                        arguments: vec![format!("{}/*", pattern.trim_end_matches('/'))],
                        name: "includeoptional".to_owned(),
                        ..directive.clone()
                    };
                    self.include(&all, directives);
                }
                Err(error) => {
                    self.part.problems.push(Problem::unseen(
                        &from,
                        line,
                        format!("cannot read '{path}': {error}"),
                    ));
                }
            }
        }
    }

    fn find(&self, pattern: &str) -> Vec<String> {
        let found = self.files.matching(&files::joined(&self.home, pattern));
        if !found.is_empty() {
            return found;
        }
        let main = self.stack.first().map(|path| files::folder(path)).unwrap_or_default();
        let below = HOMES.iter().find_map(|home| pattern.strip_prefix(home)).unwrap_or(pattern);
        if below.starts_with('/') { Vec::new() } else { self.files.matching(&files::joined(main, below)) }
    }

    /// Words with quotes around some, variables filled in.
    fn words(&self, text: &str) -> Vec<String> {
        let mut words = Vec::new();
        let mut rest = text.trim();
        while let Some(first) = rest.chars().next() {
            let mut word = String::new();
            let mut characters = rest.char_indices();
            let quote = matches!(first, '"' | '\'').then_some(first);
            if quote.is_some() {
                characters.next();
            }
            let mut end = rest.len();
            while let Some((index, c)) = characters.next() {
                if quote == Some(c) {
                    end = index + 1;
                    break;
                }
                if quote.is_none() && c.is_whitespace() {
                    end = index;
                    break;
                }
                match (c, quote) {
                    ('\\', Some(quote))
                        if rest.get(index + 1..).is_some_and(|rest| rest.starts_with([quote, '\\'])) =>
                    {
                        word.extend(characters.next().map(|(_, c)| c));
                    }
                    _ => word.push(c),
                }
            }
            words.push(self.filled(&word));
            rest = rest.get(end..).unwrap_or_default().trim_start();
        }
        words
    }

    fn filled(&self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            out.push_str(before);
            match after.split_once('}') {
                Some((name, after)) => {
                    match self.variables.get(name) {
                        Some(value) => out.push_str(value),
                        None => {
                            out.push_str("${");
                            out.push_str(name);
                            out.push('}');
                        }
                    }
                    rest = after;
                }
                None => {
                    out.push_str("${");
                    rest = after;
                }
            }
        }
        out.push_str(rest);
        out
    }
}

/// Lines without comments; a backslash at the end goes on with the next.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut out: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (index, line) in text.lines().enumerate() {
        let (content, goes_on) = match line.strip_suffix('\\') {
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
