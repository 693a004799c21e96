//! nginx's text to a tree of directives, each with its place; includes stand where they are included.

use std::sync::Arc;

use crate::config::files::{self, Files};
use crate::config::{Origin, Part, Problem};

/// Blocks in blocks: nginx itself nests five or six.
const DEPTH_MAX: usize = 40;
/// Files in files.
const INCLUDE_DEPTH_MAX: usize = 16;
/// Files that one configuration may include: hosts with ten thousand sites exist.
const FILES_MAX: usize = 20_000;
/// Directives of one configuration.
const DIRECTIVES_MAX: usize = 1_000_000;
/// Where packages put the configuration: paths below it are looked for below the main file's own folder as well, so that a copy
/// is read like the original.
const HOMES: &[&str] =
    &["/etc/nginx/", "/usr/local/nginx/conf/", "/usr/local/etc/nginx/", "/opt/nginx/conf/"];
/// Files that say nothing about proxying.
const HARMLESS: &[&str] =
    &["mime.types", "fastcgi", "scgi_params", "uwsgi_params", "modules-enabled", "modules/", "perl"];

/// A directive.
#[derive(Clone, Debug)]
pub(super) struct Directive {
    pub(super) name: String,
    pub(super) arguments: Vec<String>,
    pub(super) block: Option<Vec<Directive>>,
    pub(super) origin: Origin,
}

impl Directive {
    pub(super) fn first(&self) -> &str {
        self.arguments.first().map_or("", String::as_str)
    }

    pub(super) fn children(&self) -> &[Directive] {
        self.block.as_deref().unwrap_or_default()
    }
}

/// Reads a main file with its includes.
pub(super) fn parse(path: &str, text: &str, files: &dyn Files, part: &mut Part) -> Vec<Directive> {
    let mut reader = Reader {
        files,
        part,
        home: files::folder(path).to_owned(),
        stack: Vec::new(),
        files_read: 0,
        directives: 0,
    };
    reader.file(path, text)
}

struct Reader<'a> {
    files: &'a dyn Files,
    part: &'a mut Part,
    /// Relative includes are relative to the main file's folder, wherever they stand.
    home: String,
    /// The files that are being read, to see a file that includes itself.
    stack: Vec<String>,
    files_read: usize,
    directives: usize,
}

impl Reader<'_> {
    fn file(&mut self, path: &str, text: &str) -> Vec<Directive> {
        let shared: Arc<str> = Arc::from(path);
        self.stack.push(path.to_owned());
        let mut tokens = Tokens::new(text, shared);
        let directives = self.block(&mut tokens, 0);
        self.stack.pop();
        directives
    }

    /// The directives up to the end of the block, or of the file.
    fn block(&mut self, tokens: &mut Tokens<'_>, depth: usize) -> Vec<Directive> {
        let mut directives = Vec::new();
        let mut words: Vec<String> = Vec::new();
        let mut start = 0;
        loop {
            let token = match tokens.next() {
                Ok(token) => token,
                Err((line, message)) => {
                    self.part.problems.push(Problem::error(&tokens.path, line, message));
                    tokens.end();
                    return directives;
                }
            };
            match token {
                Token::Word(word, line) => {
                    if words.is_empty() {
                        start = line;
                    }
                    words.push(word);
                }
                Token::Semicolon => {
                    if let Some(directive) = self.directive(&mut words, None, tokens, start) {
                        self.add(directive, &mut directives, tokens);
                    }
                }
                Token::Open(line) => {
                    if words.first().is_some_and(|name| name.ends_with("_by_lua_block")) {
                        tokens.skip_lua();
                        words.clear();
                        continue;
                    }
                    if depth >= DEPTH_MAX {
                        let message = format!("blocks must be nested at most {DEPTH_MAX} deep");
                        self.part.problems.push(Problem::error(&tokens.path, line, message));
                        tokens.end();
                        return directives;
                    }
                    let mut words = std::mem::take(&mut words);
                    let inner = self.block(tokens, depth + 1);
                    if let Some(directive) = self.directive(&mut words, Some(inner), tokens, start) {
                        self.add(directive, &mut directives, tokens);
                    }
                }
                Token::Close(line) => {
                    if let Some(word) = words.first() {
                        let message = format!("'{word}' must end with ';'");
                        self.part.problems.push(Problem::error(&tokens.path, line, message));
                    }
                    if depth > 0 {
                        return directives;
                    }
                    self.part.problems.push(Problem::error(&tokens.path, line, "this '}' closes nothing"));
                    words.clear();
                }
                Token::End(line) => {
                    self.end(depth, &words, tokens, line);
                    return directives;
                }
            }
        }
    }

    fn end(&mut self, depth: usize, words: &[String], tokens: &mut Tokens<'_>, line: usize) {
        if tokens.ended {
            return;
        }
        if depth > 0 {
            self.part.problems.push(Problem::error(&tokens.path, line, "a '}' is missing before the end"));
            // The blocks around it miss theirs for the same reason.
            tokens.end();
        } else if let Some(word) = words.first() {
            self.part.problems.push(Problem::error(
                &tokens.path,
                line,
                format!("'{word}' must end with ';'"),
            ));
        }
    }

    fn directive(
        &mut self,
        words: &mut Vec<String>,
        block: Option<Vec<Directive>>,
        tokens: &Tokens<'_>,
        line: usize,
    ) -> Option<Directive> {
        if words.is_empty() {
            return None;
        }
        let mut words = std::mem::take(words);
        let name = words.remove(0);
        let mut origin = tokens.origin(line);
        if block.is_none() {
            // Quotes and several blanks are lost in the words: then the line is all that can be told.
            let written = format!("{name} {};", words.join(" "));
            origin = origin.part(&written);
        }
        Some(Directive { name, arguments: words, block, origin })
    }

    fn add(&mut self, directive: Directive, directives: &mut Vec<Directive>, tokens: &mut Tokens<'_>) {
        self.directives += 1;
        if self.directives > DIRECTIVES_MAX {
            if self.directives == DIRECTIVES_MAX + 1 {
                let message = format!("what follows the first {DIRECTIVES_MAX} directives was left out");
                self.part.problems.push(Problem::unseen(
                    &tokens.path,
                    directive.origin.line as usize,
                    message,
                ));
            }
            tokens.end();
            return;
        }
        if directive.name == "include" && directive.block.is_none() {
            self.include(&directive, directives);
        } else {
            directives.push(directive);
        }
    }

    fn include(&mut self, directive: &Directive, directives: &mut Vec<Directive>) {
        let pattern = directive.first().to_owned();
        let (from, line) = (Arc::clone(&directive.origin.path), directive.origin.line as usize);
        let found = self.find(&pattern);
        if found.is_empty() {
            if !files::is_pattern(&pattern) && !HARMLESS.iter().any(|harmless| pattern.contains(harmless)) {
                let message = format!("'{pattern}' is included and was not found");
                self.part.problems.push(Problem::unseen(&from, line, message));
            }
            return;
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

    /// What a pattern names. Where the main file is a copy that lies elsewhere, paths below the package's own folder are meant below
    /// the copy, and not on this machine.
    fn find(&self, pattern: &str) -> Vec<String> {
        let main = self.stack.first().map_or("", String::as_str);
        let home = HOMES.iter().find(|home| pattern.starts_with(**home) && !main.starts_with(**home));
        let below = home.and_then(|home| pattern.strip_prefix(home));
        let found =
            below.map(|below| self.files.matching(&files::joined(&self.home, below))).unwrap_or_default();
        if found.is_empty() { self.files.matching(&files::joined(&self.home, pattern)) } else { found }
    }
}

enum Token {
    Word(String, usize),
    Semicolon,
    Open(usize),
    Close(usize),
    End(usize),
}

/// Words and signs as nginx reads them (`ngx_conf_read_token`): quotes count only where a word begins.
struct Tokens<'t> {
    rest: std::iter::Peekable<std::str::CharIndices<'t>>,
    lines: Vec<&'t str>,
    line: usize,
    path: Arc<str>,
    /// What is left was given up.
    ended: bool,
}

impl<'t> Tokens<'t> {
    fn new(text: &'t str, path: Arc<str>) -> Tokens<'t> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Tokens {
            rest: text.char_indices().peekable(),
            lines: text.lines().collect(),
            line: 1,
            path,
            ended: false,
        }
    }

    fn origin(&self, line: usize) -> Origin {
        let text = self.lines.get(line.saturating_sub(1)).copied().unwrap_or_default();
        Origin::new(&self.path, line, text)
    }

    fn end(&mut self) {
        while self.rest.next().is_some() {}
        self.ended = true;
    }

    fn take(&mut self) -> Option<char> {
        let (_, c) = self.rest.next()?;
        if c == '\n' {
            self.line += 1;
        }
        Some(c)
    }

    fn peek(&mut self) -> Option<char> {
        self.rest.peek().map(|(_, c)| *c)
    }

    fn next(&mut self) -> Result<Token, (usize, String)> {
        loop {
            match self.peek() {
                None => return Ok(Token::End(self.line)),
                Some('#') => while self.take().is_some_and(|c| c != '\n') {},
                Some(c) if c.is_whitespace() => {
                    self.take();
                }
                Some(_) => break,
            }
        }
        let line = self.line;
        match self.peek() {
            Some(';') => {
                self.take();
                Ok(Token::Semicolon)
            }
            Some('{') => {
                self.take();
                Ok(Token::Open(line))
            }
            Some('}') => {
                self.take();
                Ok(Token::Close(line))
            }
            Some(quote @ ('"' | '\'')) => self.quoted(quote, line),
            _ => Ok(Token::Word(self.word(), line)),
        }
    }

    fn quoted(&mut self, quote: char, line: usize) -> Result<Token, (usize, String)> {
        self.take();
        let mut word = String::new();
        loop {
            match self.take() {
                None => return Err((line, format!("a {quote} is missing before the end"))),
                Some('\\') => self.escaped(&mut word),
                Some(c) if c == quote => return Ok(Token::Word(word, line)),
                Some(c) => word.push(c),
            }
        }
    }

    fn word(&mut self) -> String {
        let mut word = String::new();
        while let Some(c) = self.peek() {
            match c {
                ';' => break,
                // `${name}` is a part of a word, every other brace begins a block.
                '{' if !word.ends_with('$') => break,
                '{' => {
                    while let Some(c) = self.take() {
                        word.push(c);
                        if c == '}' {
                            break;
                        }
                    }
                    continue;
                }
                c if c.is_whitespace() => break,
                '\\' => {
                    self.take();
                    self.escaped(&mut word);
                    continue;
                }
                c => word.push(c),
            }
            self.take();
        }
        word
    }

    /// What follows a backslash: only these are unescaped, in others the backslash stays.
    fn escaped(&mut self, word: &mut String) {
        match self.take() {
            Some(c @ ('"' | '\'' | '\\')) => word.push(c),
            Some('t') => word.push('\t'),
            Some('r') => word.push('\r'),
            Some('n') => word.push('\n'),
            Some(c) => {
                word.push('\\');
                word.push(c);
            }
            None => word.push('\\'),
        }
    }

    /// Over a block of Lua code, whose braces may stand in strings and comments.
    fn skip_lua(&mut self) {
        let mut depth = 1;
        while let Some(c) = self.take() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                '"' | '\'' => self.skip_string(c),
                '-' if self.peek() == Some('-') => while self.take().is_some_and(|c| c != '\n') {},
                _ => {}
            }
            if depth == 0 {
                return;
            }
        }
    }

    fn skip_string(&mut self, quote: char) {
        while let Some(c) = self.take() {
            match c {
                '\\' => {
                    self.take();
                }
                '\n' => return,
                c if c == quote => return,
                _ => {}
            }
        }
    }
}
