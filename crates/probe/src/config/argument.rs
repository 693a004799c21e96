//! Command lines to words and options: a shell's quoting and variables, without its execution.

/// Words of one command line, and commands of one line: nobody writes more.
const WORDS_MAX: usize = 2000;

/// A word of a command line.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Word {
    /// `None` where it holds a variable of which nothing is known.
    pub(super) text: Option<String>,
    /// It holds a variable of which only a fallback is known.
    pub(super) uncertain: bool,
    /// As it is written, for messages.
    pub(super) written: String,
    /// For the value of an option: the option with it, as they are written.
    pub(super) option: String,
    /// It had quotes, so that it is a word even if it is empty.
    quoted: bool,
}

impl Word {
    pub(super) fn known(text: &str) -> Word {
        Word { text: Some(text.to_owned()), written: text.to_owned(), ..Word::default() }
    }

    pub(super) fn as_str(&self) -> &str {
        self.text.as_deref().unwrap_or(&self.written)
    }
}

/// The commands of a line, each as its words; `&&`, `||`, `;`, `|` and `&` stand between them. `variable` gives what is known of
/// a variable.
pub(super) fn commands(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Vec<Vec<Word>> {
    let mut reader = Reader { rest: text.chars().peekable(), variable, words: 0 };
    let mut commands = Vec::new();
    loop {
        let (command, more) = reader.command();
        if !command.is_empty() {
            commands.push(command);
        }
        if !more || reader.words > WORDS_MAX {
            return commands;
        }
    }
}

struct Reader<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    variable: &'a dyn Fn(&str) -> Option<String>,
    words: usize,
}

impl Reader<'_> {
    /// The next command, and whether another follows.
    fn command(&mut self) -> (Vec<Word>, bool) {
        let mut words = Vec::new();
        loop {
            while self.rest.next_if(|c| c.is_whitespace()).is_some() {}
            match self.rest.peek() {
                None => return (words, false),
                Some('#') => while self.rest.next_if(|c| *c != '\n').is_some() {},
                Some(';' | '|' | '&') => {
                    while self.rest.next_if(|c| matches!(c, ';' | '|' | '&')).is_some() {}
                    return (words, true);
                }
                Some(_) => {
                    self.words += 1;
                    if self.words > WORDS_MAX {
                        return (words, false);
                    }
                    let word = self.word();
                    // A backslash at the end of a line makes no word.
                    if !word.written.is_empty() || word.quoted {
                        words.push(word);
                    }
                }
            }
        }
    }

    fn word(&mut self) -> Word {
        let mut word = Word { text: Some(String::new()), ..Word::default() };
        let mut quote: Option<char> = None;
        while let Some(&c) = self.rest.peek() {
            match (quote, c) {
                (None, c) if c.is_whitespace() || matches!(c, ';' | '|' | '&') => break,
                (None, '"' | '\'') => {
                    quote = Some(c);
                    word.quoted = true;
                    self.rest.next();
                }
                (Some(open), c) if open == c => {
                    quote = None;
                    self.rest.next();
                }
                (Some('\''), c) => {
                    self.rest.next();
                    push(&mut word, c);
                }
                (_, '\\') => {
                    self.rest.next();
                    match self.rest.next() {
                        // A line goes on.
                        Some('\n') if quote.is_none() => {}
                        Some(c) => push(&mut word, c),
                        None => push(&mut word, '\\'),
                    }
                }
                (_, '$') => {
                    self.rest.next();
                    self.variable(&mut word);
                }
                (_, '`') => {
                    self.rest.next();
                    word.text = None;
                }
                (_, c) => {
                    self.rest.next();
                    push(&mut word, c);
                }
            }
        }
        word
    }

    /// What follows `$`.
    fn variable(&mut self, word: &mut Word) {
        let braced = self.rest.next_if_eq(&'{').is_some();
        if !braced && self.rest.peek() == Some(&'(') {
            // The output of a command: everything up to the bracket that closes it.
            let mut depth = 0;
            for c in self.rest.by_ref() {
                word.written.push(c);
                match c {
                    '(' => depth += 1,
                    ')' => depth -= 1,
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
            }
            word.text = None;
            return;
        }
        let mut name = String::new();
        while let Some(c) = self.rest.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
            name.push(c);
        }
        let mut fallback = None;
        if braced {
            let mut rest = String::new();
            for c in self.rest.by_ref() {
                if c == '}' {
                    break;
                }
                rest.push(c);
            }
            fallback = rest.strip_prefix(":-").or_else(|| rest.strip_prefix('-')).map(str::to_owned);
        }
        if name.is_empty() && !braced {
            push(word, '$');
            return;
        }
        word.written.push('$');
        word.written.push_str(&name);
        match ((self.variable)(&name), fallback) {
            (Some(value), _) => {
                if let Some(text) = &mut word.text {
                    text.push_str(&value);
                }
            }
            (None, Some(fallback)) => {
                word.uncertain = true;
                if let Some(text) = &mut word.text {
                    text.push_str(&fallback);
                }
            }
            (None, None) => word.text = None,
        }
    }
}

fn push(word: &mut Word, c: char) {
    word.written.push(c);
    if let Some(text) = &mut word.text {
        text.push(c);
    }
}

/// An option of a program: its names, whether a value follows, and the key under which its values are kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Switch {
    pub(super) names: &'static [&'static str],
    pub(super) takes: Takes,
    /// Empty for options that say nothing about serving.
    pub(super) key: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    Nothing,
    /// A value may stand after an equals sign only.
    Optional,
    Value,
}

/// Options and other words of a command, in their order. What is not in the table counts as a switch without a value.
pub(super) fn options(words: &[Word], table: &[Switch]) -> (Vec<(&'static str, Word)>, Vec<Word>) {
    let (mut options, mut others) = (Vec::new(), Vec::new());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let text = word.as_str();
        if text == "--" {
            others.extend(words.by_ref().cloned());
        } else if let Some(long) = text.strip_prefix("--").filter(|long| !long.is_empty()) {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (long, None),
            };
            let Some(switch) = by_name(&format!("--{name}"), table) else { continue };
            let value = match (switch.takes, value) {
                (_, Some(value)) => {
                    Some(Word { text: word.text.is_some().then(|| value.to_owned()), ..word.clone() })
                }
                (Takes::Value, None) => words.next().cloned(),
                (Takes::Nothing | Takes::Optional, None) => Some(Word::known("yes")),
            };
            options.extend(value.map(|value| (switch.key, of_option(word, value))));
        } else if text.len() > 1 && text.starts_with('-') {
            short(word, text, table, &mut words, &mut options);
        } else {
            others.push(word.clone());
        }
    }
    (options, others)
}

/// The value with the text of its option: one word, or two.
fn of_option(word: &Word, value: Word) -> Word {
    let alone = word.written.ends_with(&value.written) || value.written == "yes";
    let option = if alone { word.written.clone() } else { format!("{} {}", word.written, value.written) };
    Word { option, ..value }
}

/// `-w 4`, `-w4`, `-Dw4`.
fn short(
    word: &Word,
    text: &str,
    table: &[Switch],
    words: &mut std::slice::Iter<'_, Word>,
    options: &mut Vec<(&'static str, Word)>,
) {
    for (index, c) in text.char_indices().skip(1) {
        let name = format!("-{c}");
        let Some(switch) = table.iter().find(|switch| switch.names.contains(&name.as_str())) else { return };
        if switch.takes != Takes::Value {
            options.push((switch.key, of_option(word, Word::known("yes"))));
            continue;
        }
        let rest = text.get(index + c.len_utf8()..).unwrap_or_default();
        let value = if rest.is_empty() {
            words.next().cloned()
        } else {
            let rest = rest.strip_prefix('=').unwrap_or(rest);
            Some(Word { text: word.text.is_some().then(|| rest.to_owned()), ..word.clone() })
        };
        options.extend(value.map(|value| (switch.key, of_option(word, value))));
        return;
    }
}

/// By the full name, or by the only one that begins so, as argparse does.
fn by_name<'t>(name: &str, table: &'t [Switch]) -> Option<&'t Switch> {
    if let Some(switch) = table.iter().find(|switch| switch.names.contains(&name)) {
        return Some(switch);
    }
    let mut beginning =
        table.iter().filter(|switch| switch.names.iter().any(|known| known.starts_with(name)));
    match (beginning.next(), beginning.next()) {
        (Some(switch), None) => Some(switch),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&[&str]]) {
        let shown = |word: &Word| match (&word.text, word.uncertain) {
            (Some(text), false) => text.clone(),
            (Some(text), true) => format!("{text}?"),
            (None, _) => format!("unknown {}", word.written),
        };
        let home = |name: &str| (name == "HOME").then(|| "/srv".to_owned());
        let found: Vec<Vec<String>> =
            commands(text, &home).iter().map(|words| words.iter().map(shown).collect()).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn lines_are_split_as_a_shell_does() {
        check("gunicorn -w 4  app:app", &[&["gunicorn", "-w", "4", "app:app"]]);
        check("a 'b c' \"d \\\" e\" f\\ g", &[&["a", "b c", "d \" e", "f g"]]);
        check("cd x && exec b; c | d &", &[&["cd", "x"], &["exec", "b"], &["c"], &["d"]]);
        check("-b 0.0.0.0:$PORT", &[&["-b", "unknown 0.0.0.0:$PORT"]]);
        check("-b :${PORT:-8000} $HOME/x '$HOME'", &[&["-b", ":8000?", "/srv/x", "$HOME"]]);
        check("-w $(nproc --all) x", &[&["-w", "unknown (nproc --all)", "x"]]);
        check("a \\\n b # c", &[&["a", "b"]]);
        check("", &[]);
    }
}
