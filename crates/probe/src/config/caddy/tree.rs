//! A Caddyfile to a tree of directives: words of a line, and a block where the line ends with a brace.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::files::{self, Files};
use crate::config::{Origin, Part, Problem};

const DEPTH_MAX: usize = 40;
const INCLUDE_DEPTH_MAX: usize = 16;
const FILES_MAX: usize = 2000;
const DIRECTIVES_MAX: usize = 200_000;

#[derive(Clone, Debug)]
pub(super) struct Directive {
    pub(super) words: Vec<String>,
    pub(super) block: Option<Vec<Directive>>,
    pub(super) origin: Origin,
}

impl Directive {
    pub(super) fn word(&self, index: usize) -> &str {
        self.words.get(index).map_or("", String::as_str)
    }

    pub(super) fn children(&self) -> &[Directive] {
        self.block.as_deref().unwrap_or_default()
    }

    /// `(name) { ... }` is put where it is imported.
    pub(super) fn is_snippet(&self) -> bool {
        self.word(0).starts_with('(') && self.word(0).ends_with(')')
    }
}

pub(super) fn parse(path: &str, text: &str, files: &dyn Files, part: &mut Part) -> Vec<Directive> {
    let mut reader =
        Reader { files, part, snippets: BTreeMap::new(), stack: Vec::new(), files_read: 0, directives: 0 };
    reader.file(path, text)
}

struct Reader<'a> {
    files: &'a dyn Files,
    part: &'a mut Part,
    snippets: BTreeMap<String, Vec<Directive>>,
    stack: Vec<String>,
    files_read: usize,
    directives: usize,
}

/// Words of the lines that have some, with the line's number and text.
type Lines<'t> = std::iter::Peekable<std::vec::IntoIter<(usize, &'t str, Vec<String>)>>;

impl Reader<'_> {
    fn file(&mut self, path: &str, text: &str) -> Vec<Directive> {
        let shared: Arc<str> = Arc::from(path);
        self.stack.push(path.to_owned());
        let mut lines: Lines<'_> = lines(text).into_iter().peekable();
        let mut directives = Vec::new();
        while lines.peek().is_some() {
            directives.extend(self.block(&mut lines, &shared, 0));
            if let Some((line, _, _)) = lines.peek() {
                self.part.problems.push(Problem::error(path, *line, "this '}' closes nothing"));
                lines.next();
            }
        }
        self.stack.pop();
        directives
    }

    /// The directives up to the brace that closes the block, which is left.
    fn block(&mut self, lines: &mut Lines<'_>, path: &Arc<str>, depth: usize) -> Vec<Directive> {
        let mut directives = Vec::new();
        while let Some((line, text, mut words)) =
            lines.next_if(|(_, _, words)| words.first().is_none_or(|word| word != "}"))
        {
            self.directives += 1;
            if self.directives > DIRECTIVES_MAX {
                let message = format!("what follows the first {DIRECTIVES_MAX} directives was left out");
                self.part.problems.push(Problem::unseen(path, line, message));
                lines.by_ref().for_each(drop);
                return directives;
            }
            let origin = Origin::new(path, line, text);
            // An address may go on in the next line.
            while words.last().is_some_and(|word| word.ends_with(',')) && lines.peek().is_some() {
                words.extend(lines.next().map(|(_, _, more)| more).unwrap_or_default());
            }
            let mut block = None;
            if words.last().is_some_and(|word| word == "{") {
                words.pop();
                if depth >= DEPTH_MAX {
                    let message = format!("blocks must be nested at most {DEPTH_MAX} deep");
                    self.part.problems.push(Problem::error(path, line, message));
                    lines.by_ref().for_each(drop);
                    return directives;
                }
                block = Some(self.block(lines, path, depth + 1));
                if lines.next().is_none() && self.directives <= DIRECTIVES_MAX {
                    self.part.problems.push(Problem::error(path, line, "this block is not closed"));
                }
            }
            self.add(Directive { words, block, origin }, &mut directives);
        }
        directives
    }

    fn add(&mut self, directive: Directive, directives: &mut Vec<Directive>) {
        if directive.is_snippet() {
            let name = directive.word(0).trim_matches(['(', ')']).to_owned();
            self.snippets.insert(name, directive.block.clone().unwrap_or_default());
        }
        if directive.word(0) == "import" {
            self.import(&directive, directives);
        } else {
            directives.push(directive);
        }
    }

    fn import(&mut self, directive: &Directive, directives: &mut Vec<Directive>) {
        let name = directive.word(1);
        if let Some(snippet) = self.snippets.get(name) {
            self.directives += snippet.len();
            let filled =
                snippet.iter().map(|inner| filled(inner, directive.words.get(2..).unwrap_or_default()));
            directives.extend(filled);
            return;
        }
        let (from, line) = (Arc::clone(&directive.origin.path), directive.origin.line as usize);
        let found = self.files.matching(&files::joined(files::folder(&from), name));
        if found.is_empty() && !files::is_pattern(name) {
            let message = format!("'{name}' is imported and was not found");
            self.part.problems.push(Problem::unseen(&from, line, message));
        }
        for path in found {
            if self.stack.contains(&path) {
                self.part.problems.push(Problem::error(&from, line, format!("'{path}' imports itself")));
                continue;
            }
            if self.stack.len() >= INCLUDE_DEPTH_MAX || self.files_read >= FILES_MAX {
                let message = format!("'{path}' was left out: imports are too deep or too many");
                self.part.problems.push(Problem::unseen(&from, line, message));
                return;
            }
            self.files_read += 1;
            match self.files.text(&path) {
                Ok(text) => {
                    self.part.included.insert(path.clone());
                    directives.extend(self.file(&path, &text));
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
}

/// A directive of a snippet with the arguments of its import.
fn filled(directive: &Directive, arguments: &[String]) -> Directive {
    let fill = |word: &String| {
        let mut word = word.clone();
        for (index, argument) in arguments.iter().enumerate() {
            word = word
                .replace(&format!("{{args[{index}]}}"), argument)
                .replace(&format!("{{args.{index}}}"), argument);
        }
        word
    };
    Directive {
        words: directive.words.iter().map(fill).collect(),
        block: directive
            .block
            .as_ref()
            .map(|block| block.iter().map(|inner| filled(inner, arguments)).collect()),
        origin: directive.origin.clone(),
    }
}

fn lines(text: &str) -> Vec<(usize, &str, Vec<String>)> {
    let physical: Vec<&str> = text.lines().collect();
    let mut out: Vec<(usize, &str, Vec<String>)> = Vec::new();
    let mut rest = text.chars().peekable();
    let mut line = 1;
    let mut words: Vec<String> = Vec::new();
    let mut start = 1;
    while let Some(c) = rest.next() {
        match c {
            '\n' => {
                if !words.is_empty() {
                    let text = physical.get(start - 1).copied().unwrap_or_default();
                    out.push((start, text, std::mem::take(&mut words)));
                }
                line += 1;
            }
            '#' => while rest.next_if(|c| *c != '\n').is_some() {},
            '\\' if rest.peek() == Some(&'\n') => {
                rest.next();
                line += 1;
            }
            c if c.is_whitespace() => {}
            c => {
                if words.is_empty() {
                    start = line;
                }
                words.push(word(c, &mut rest, &mut line));
            }
        }
    }
    if !words.is_empty() {
        out.push((start, physical.get(start - 1).copied().unwrap_or_default(), words));
    }
    out
}

fn word(first: char, rest: &mut std::iter::Peekable<std::str::Chars<'_>>, line: &mut usize) -> String {
    let mut word = String::new();
    if matches!(first, '"' | '`') {
        while let Some(c) = rest.next() {
            *line += usize::from(c == '\n');
            match c {
                '\\' if first == '"' && rest.peek() == Some(&'"') => word.extend(rest.next()),
                c if c == first => break,
                c => word.push(c),
            }
        }
        return word;
    }
    word.push(first);
    while let Some(c) = rest.next_if(|c| !c.is_whitespace()) {
        word.push(c);
    }
    word
}
