//! Python's physical lines to logical ones: brackets, strings over several lines, continuations, comments.

/// A logical line.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    /// The physical line it begins on, from 1.
    pub(super) line: usize,
    /// Columns before it.
    pub(super) indent: usize,
    /// Its text without comments; ends of lines within brackets are blanks.
    pub(super) text: String,
    /// Its first physical line as it is written.
    pub(super) first: String,
}

/// The logical lines of a text, and what is wrong with it.
pub(super) fn statements(text: &str) -> (Vec<Statement>, Vec<(usize, String)>) {
    let mut reader = Reader { rest: text.chars().peekable(), line: 1, depth: 0, problems: Vec::new() };
    let physical: Vec<&str> = text.lines().collect();
    let mut statements = Vec::new();
    while reader.rest.peek().is_some() {
        let line = reader.line;
        let found = reader.statement();
        if !found.trim().is_empty() {
            let indent = found.chars().take_while(|c| matches!(c, ' ' | '\t')).count();
            let first = physical.get(line - 1).copied().unwrap_or_default().trim().to_owned();
            // Several statements may share a line.
            for part in parts(found.trim()) {
                statements.push(Statement {
                    line,
                    indent,
                    text: part.trim().to_owned(),
                    first: first.clone(),
                });
            }
        }
    }
    (statements, reader.problems)
}

/// Statements with semicolons between them, outside of strings.
fn parts(text: &str) -> Vec<&str> {
    if text.contains(['"', '\'']) {
        vec![text]
    } else {
        text.split(';').filter(|part| !part.trim().is_empty()).collect()
    }
}

struct Reader<'t> {
    rest: std::iter::Peekable<std::str::Chars<'t>>,
    line: usize,
    depth: usize,
    problems: Vec<(usize, String)>,
}

impl Reader<'_> {
    fn take(&mut self) -> Option<char> {
        let c = self.rest.next()?;
        if c == '\n' {
            self.line += 1;
        }
        Some(c)
    }

    fn statement(&mut self) -> String {
        let start = self.line;
        let mut out = String::new();
        self.depth = 0;
        while let Some(c) = self.take() {
            match c {
                '#' => while self.rest.next_if(|c| *c != '\n').is_some() {},
                '\\' if self.rest.peek() == Some(&'\n') => {
                    self.take();
                    out.push(' ');
                }
                '\n' if self.depth == 0 => return out,
                '\n' => out.push(' '),
                '(' | '[' | '{' => {
                    self.depth += 1;
                    out.push(c);
                }
                ')' | ']' | '}' => {
                    self.depth = self.depth.saturating_sub(1);
                    out.push(c);
                }
                '"' | '\'' => {
                    out.push(c);
                    if !self.string(c, &mut out) {
                        self.problems.push((start, "a string is not closed".to_owned()));
                        return String::new();
                    }
                }
                c => out.push(c),
            }
        }
        if self.depth > 0 {
            self.problems.push((start, "a bracket is not closed".to_owned()));
        }
        out
    }

    /// Copies a string up to its end; `false` where it has none.
    fn string(&mut self, quote: char, out: &mut String) -> bool {
        let mut run = 1;
        while run < 3 && self.rest.next_if_eq(&quote).is_some() {
            out.push(quote);
            run += 1;
        }
        if run == 2 {
            return true;
        }
        let long = run == 3;
        let mut closing = 0;
        while let Some(c) = self.take() {
            if c == '\n' && !long {
                return false;
            }
            out.push(c);
            if c == '\\' {
                out.extend(self.take());
                closing = 0;
            } else if c == quote {
                closing += 1;
                if !long || closing == 3 {
                    return true;
                }
            } else {
                closing = 0;
            }
        }
        false
    }
}
