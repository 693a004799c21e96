//! Enough of Rust's lexical grammar to tell code from comments and literals. It knows no syntax beyond that.

/// What a byte of a source file belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Code,
    Comment,
    Literal,
}

/// A source file seen three ways, all with the same lines.
#[derive(Debug)]
pub struct Masked {
    /// Comments are blank; the inside of string and character literals is `~`.
    pub code: String,
    /// Everything but comments is blank.
    pub comments: String,
}

/// Separates code from comments.
pub fn mask(source: &str) -> Masked {
    let chars: Vec<char> = source.chars().collect();
    let mut masked = Masked { code: String::new(), comments: String::new() };
    let mut at = 0;
    while at < chars.len() {
        let (kind, end) = next(&chars, at);
        let end = end.clamp(at + 1, chars.len());
        for &c in chars.get(at..end).unwrap_or_default() {
            let (code, comment) = match kind {
                _ if c == '\n' => ('\n', '\n'),
                Kind::Code => (c, ' '),
                Kind::Comment => (' ', c),
                Kind::Literal => ('~', ' '),
            };
            masked.code.push(code);
            masked.comments.push(comment);
        }
        at = end;
    }
    masked
}

/// The kind of the token at `at` and where it ends.
fn next(chars: &[char], at: usize) -> (Kind, usize) {
    let peek = |offset: usize| chars.get(at + offset).copied().unwrap_or('\0');
    match (peek(0), peek(1)) {
        ('/', '/') => (Kind::Comment, find(chars, at, |c| c == '\n')),
        ('/', '*') => (Kind::Comment, block_comment_end(chars, at)),
        ('"', _) => (Kind::Literal, quoted_end(chars, at, '"')),
        // A lifetime has no closing quote behind its first character.
        ('\'', '\\') => (Kind::Literal, quoted_end(chars, at, '\'')),
        ('\'', _) if peek(2) == '\'' => (Kind::Literal, at + 3),
        (c, _) if c == '_' || c.is_alphanumeric() => {
            let end = find(chars, at, |c| c != '_' && !c.is_alphanumeric());
            let word: String = chars.get(at..end).unwrap_or_default().iter().collect();
            match (word.as_str(), raw_string_end(chars, end)) {
                ("r" | "br" | "cr", Some(end)) => (Kind::Literal, end),
                _ => (Kind::Code, end),
            }
        }
        _ => (Kind::Code, at + 1),
    }
}

fn find(chars: &[char], from: usize, stop: impl Fn(char) -> bool) -> usize {
    chars.iter().skip(from).position(|&c| stop(c)).map_or(chars.len(), |offset| from + offset)
}

/// Block comments nest.
fn block_comment_end(chars: &[char], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = start;
    while at < chars.len() {
        match (chars.get(at), chars.get(at + 1)) {
            (Some('/'), Some('*')) => depth += 1,
            (Some('*'), Some('/')) => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted_end(chars: &[char], start: usize, quote: char) -> usize {
    let mut at = start + 1;
    while let Some(&c) = chars.get(at) {
        match c {
            '\\' => at += 2,
            c if c == quote => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// Where the raw string whose hashes begin at `start` ends; `None` if none begins there (a raw identifier, say).
fn raw_string_end(chars: &[char], start: usize) -> Option<usize> {
    let open = find(chars, start, |c| c != '#');
    if chars.get(open) != Some(&'"') {
        return None;
    }
    let hashes = open - start;
    let mut at = open + 1;
    loop {
        at = find(chars, at, |c| c == '"') + 1;
        let closing = chars.iter().skip(at).take(hashes).take_while(|&&c| c == '#').count();
        if closing == hashes || at >= chars.len() {
            return Some(at + closing);
        }
    }
}
