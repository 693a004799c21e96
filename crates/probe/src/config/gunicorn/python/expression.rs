//! The value of a Python expression, as far as it is made of literals, known names, and fallbacks of the environment.

use std::fmt;

/// Expressions in expressions.
const DEPTH_MAX: usize = 32;

/// A value that is known, or not.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::config) enum Value {
    Bool(bool),
    Float(f64),
    Int(i64),
    List(Vec<Value>),
    None,
    Text(String),
    Unknown,
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Bool(true) => f.write_str("True"),
            Value::Bool(false) => f.write_str("False"),
            Value::Float(value) => write!(f, "{value}"),
            Value::Int(value) => write!(f, "{value}"),
            Value::List(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
            Value::None => f.write_str("None"),
            Value::Text(text) => f.write_str(text),
            Value::Unknown => f.write_str("unknown"),
        }
    }
}

/// What names stand for, and whether that is uncertain.
type Names<'a> = &'a dyn Fn(&str) -> Option<(Value, bool)>;

/// The value, and whether it may be another one at run time.
pub(super) fn evaluate(text: &str, names: Names<'_>) -> (Value, bool) {
    let Some(tokens) = tokens(text) else { return (Value::Unknown, false) };
    let mut reader = Reader { tokens, at: 0, names, uncertain: false, depth: 0 };
    let value = reader.alternatives();
    match value {
        Some(value) if reader.at == reader.tokens.len() && value != Value::Unknown => {
            (value, reader.uncertain)
        }
        _ => (Value::Unknown, false),
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Name(String),
    Number(Value),
    Sign(&'static str),
    Text(String),
    /// A string with `{...}` in it.
    Template(String),
}

const SIGNS: &[&str] = &[
    "**", "//", "(", ")", "[", "]", "{", "}", ",", ".", "+", "-", "*", "/", "%", "=", ":", "<", ">", "!",
    "|", "&",
];

fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(c) = rest.chars().next() {
        if let Some((token, after)) = string(rest) {
            tokens.push(token);
            rest = after.trim_start();
            continue;
        }
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '.').unwrap_or(rest.len());
        if c.is_ascii_digit() {
            let (word, after) = rest.split_at(end);
            tokens.push(Token::Number(number(word)));
            rest = after.trim_start();
        } else if c.is_alphabetic() || c == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            tokens.push(Token::Name(word.to_owned()));
            rest = after.trim_start();
        } else {
            let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign))?;
            tokens.push(Token::Sign(sign));
            rest = rest.get(sign.len()..)?.trim_start();
        }
    }
    Some(tokens)
}

fn number(word: &str) -> Value {
    let plain = word.replace('_', "");
    let radix = |prefix: &str, radix| {
        plain.strip_prefix(prefix).and_then(|digits| i64::from_str_radix(digits, radix).ok())
    };
    let whole =
        plain.parse().ok().or_else(|| radix("0x", 16)).or_else(|| radix("0o", 8)).or_else(|| radix("0b", 2));
    match whole {
        Some(value) => Value::Int(value),
        None if plain.contains(['.', 'e']) => plain.parse().map_or(Value::Unknown, Value::Float),
        None => Value::Unknown,
    }
}

/// A string literal at the front, and what follows it.
fn string(text: &str) -> Option<(Token, &str)> {
    // A literal begins with a quote, or with one or two letters before it.
    let start = text.char_indices().take(3).find(|(_, c)| matches!(c, '"' | '\'')).map(|(start, _)| start)?;
    let (prefix, quoted) = text.split_at(start);
    let prefix = prefix.to_ascii_lowercase();
    if !prefix.chars().all(|c| matches!(c, 'r' | 'b' | 'f' | 'u')) {
        return None;
    }
    let quote =
        quoted.get(..3).filter(|three| *three == "\"\"\"" || *three == "'''").or_else(|| quoted.get(..1))?;
    let mut rest = quoted.get(quote.len()..)?;
    let mut out = String::new();
    loop {
        if let Some(after) = rest.strip_prefix(quote) {
            let token = if prefix.contains('f') { Token::Template(out) } else { Token::Text(out) };
            return Some((token, after));
        }
        let c = rest.chars().next()?;
        rest = rest.get(c.len_utf8()..)?;
        if c != '\\' {
            out.push(c);
            continue;
        }
        let escaped = rest.chars().next()?;
        rest = rest.get(escaped.len_utf8()..)?;
        match (prefix.contains('r'), escaped) {
            (false, '\n') => {}
            (false, 'n') => out.push('\n'),
            (false, 't') => out.push('\t'),
            (false, '\\' | '\'' | '"') => out.push(escaped),
            _ => {
                out.push('\\');
                out.push(escaped);
            }
        }
    }
}

struct Reader<'a> {
    tokens: Vec<Token>,
    at: usize,
    names: Names<'a>,
    uncertain: bool,
    depth: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn sign(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Sign(known)) if *known == sign);
        self.at += usize::from(found);
        found
    }

    fn word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Name(known)) if known == word);
        self.at += usize::from(found);
        found
    }

    /// `a or b`: what the environment may give, or a fallback.
    fn alternatives(&mut self) -> Option<Value> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return None;
        }
        let mut value = self.sum()?;
        while self.word("or") {
            let other = self.sum()?;
            match value {
                Value::Unknown => {
                    self.uncertain = true;
                    value = other;
                }
                Value::None | Value::Bool(false) | Value::Int(0) => value = other,
                _ => {}
            }
        }
        self.depth -= 1;
        // Conditions and comparisons are not followed.
        Some(if self.word("if") { Value::Unknown } else { value })
    }

    fn sum(&mut self) -> Option<Value> {
        let mut value = self.product()?;
        loop {
            if self.sign("+") {
                let other = self.product()?;
                value = match (value, other) {
                    (Value::Text(one), Value::Text(other)) => Value::Text(one + &other),
                    (one, other) => arithmetic('+', one, other),
                };
            } else if self.sign("-") {
                let other = self.product()?;
                value = arithmetic('-', value, other);
            } else {
                return Some(value);
            }
        }
    }

    fn product(&mut self) -> Option<Value> {
        let mut value = self.atom()?;
        loop {
            let sign = ["**", "//", "*", "/", "%"].into_iter().find(|sign| self.sign(sign));
            let Some(sign) = sign else { return Some(value) };
            let other = self.atom()?;
            value = match (sign, value, other) {
                ("%", Value::Text(text), other) => formatted(&text, &other),
                ("//", one, other) => arithmetic('/', one, other),
                ("*", one, other) => arithmetic('*', one, other),
                ("%", one, other) => arithmetic('%', one, other),
                _ => Value::Unknown,
            };
        }
    }

    fn atom(&mut self) -> Option<Value> {
        let mut negative = false;
        while self.sign("-") {
            negative = !negative;
        }
        if negative {
            let value = self.atom()?;
            return Some(arithmetic('-', Value::Int(0), value));
        }
        let token = self.peek()?.clone();
        self.at += 1;
        let value = match token {
            Token::Number(value) => value,
            Token::Text(_) | Token::Template(_) => {
                self.at -= 1;
                self.text()
            }
            Token::Sign("(") => self.items(")")?,
            Token::Sign("[") => match self.items("]")? {
                list @ Value::List(_) => list,
                one => Value::List(vec![one]),
            },
            Token::Sign("{") => {
                self.skip("}")?;
                Value::Unknown
            }
            Token::Sign(_) => return None,
            Token::Name(name) => self.name(&name)?,
        };
        self.trailer(value)
    }

    /// Strings that stand side by side are one.
    fn text(&mut self) -> Value {
        let mut out = Some(String::new());
        loop {
            let part = match self.peek() {
                Some(Token::Text(text)) => Some(text.clone()),
                Some(Token::Template(text)) => {
                    let text = text.clone();
                    self.filled(&text)
                }
                _ => return out.map_or(Value::Unknown, Value::Text),
            };
            self.at += 1;
            out = out.zip(part).map(|(out, part)| out + &part);
        }
    }

    /// A template in which every place is a known name.
    fn filled(&mut self, template: &str) -> Option<String> {
        let mut out = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            out.push_str(before);
            let (name, after) = after.split_once('}')?;
            let (value, uncertain) = (self.names)(name.trim())?;
            self.uncertain |= uncertain;
            match value {
                Value::Unknown => return None,
                value => out.push_str(&value.to_string()),
            }
            rest = after;
        }
        out.push_str(rest);
        Some(out)
    }

    /// Up to the closing sign: one value in brackets, or a list.
    fn items(&mut self, close: &str) -> Option<Value> {
        let mut items = Vec::new();
        let mut had_comma = false;
        while !self.sign(close) {
            items.push(self.alternatives()?);
            if self.sign(",") {
                had_comma = true;
            } else if !self.sign(close) {
                return None;
            } else {
                break;
            }
        }
        Some(match (items.len(), had_comma) {
            (1, false) => items.remove(0),
            _ if items.contains(&Value::Unknown) => Value::Unknown,
            _ => Value::List(items),
        })
    }

    fn name(&mut self, name: &str) -> Option<Value> {
        match name {
            "True" => return Some(Value::Bool(true)),
            "False" => return Some(Value::Bool(false)),
            "None" => return Some(Value::None),
            _ => {}
        }
        let mut path = name.to_owned();
        while self.sign(".") {
            let Some(Token::Name(part)) = self.peek().cloned() else { return None };
            self.at += 1;
            path = format!("{path}.{part}");
        }
        if self.sign("(") {
            let arguments = match self.arguments()? {
                Value::List(arguments) => arguments,
                _ => Vec::new(),
            };
            return Some(self.called(&path, &arguments));
        }
        match (self.names)(&path) {
            Some((value, uncertain)) => {
                self.uncertain |= uncertain;
                Some(value)
            }
            None => Some(Value::Unknown),
        }
    }

    fn arguments(&mut self) -> Option<Value> {
        let mut items = Vec::new();
        while !self.sign(")") {
            // A keyword says which argument it is, which only matters for the fallback that comes last anyway.
            if let (Some(Token::Name(_)), Some(Token::Sign("="))) =
                (self.peek(), self.tokens.get(self.at + 1))
            {
                self.at += 2;
            }
            items.push(self.alternatives()?);
            if !self.sign(",") && !matches!(self.peek(), Some(Token::Sign(")"))) {
                return None;
            }
        }
        Some(Value::List(items))
    }

    fn called(&mut self, path: &str, arguments: &[Value]) -> Value {
        let environment = ["os.environ.get", "os.getenv", "environ.get", "getenv", "config", "env"];
        match (path, arguments) {
            ("int", [Value::Text(text)]) => text.trim().parse().map_or(Value::Unknown, Value::Int),
            ("int" | "float", [value @ (Value::Int(_) | Value::Float(_))]) => value.clone(),
            ("float", [Value::Text(text)]) => text.trim().parse().map_or(Value::Unknown, Value::Float),
            ("str", [value]) if *value != Value::Unknown => Value::Text(value.to_string()),
            (path, [_, fallback]) if environment.contains(&path) => {
                self.uncertain = true;
                fallback.clone()
            }
            _ => Value::Unknown,
        }
    }

    /// What follows a value: an index, an attribute, a call.
    fn trailer(&mut self, value: Value) -> Option<Value> {
        let mut value = value;
        loop {
            if self.sign(".") {
                let Some(Token::Name(method)) = self.peek().cloned() else { return None };
                self.at += 1;
                let arguments = if self.sign("(") { self.arguments()? } else { Value::Unknown };
                value = match (method.as_str(), value, arguments) {
                    ("format", Value::Text(text), Value::List(arguments)) => placed(&text, &arguments),
                    ("strip" | "rstrip", value, _) => value,
                    ("lower", Value::Text(text), _) => Value::Text(text.to_lowercase()),
                    _ => Value::Unknown,
                };
            } else if self.sign("[") {
                self.skip("]")?;
                value = Value::Unknown;
            } else if self.sign("(") {
                self.arguments()?;
                value = Value::Unknown;
            } else {
                return Some(value);
            }
        }
    }

    fn skip(&mut self, close: &str) -> Option<()> {
        let mut depth = 1;
        loop {
            match self.peek()? {
                Token::Sign("(" | "[" | "{") => depth += 1,
                Token::Sign(")" | "]" | "}") => depth -= 1,
                _ => {}
            }
            if depth == 0 && self.sign(close) {
                return Some(());
            }
            if depth == 0 {
                return None;
            }
            self.at += 1;
        }
    }
}

fn arithmetic(sign: char, one: Value, other: Value) -> Value {
    let (one, other) = match (one, other) {
        (Value::Int(one), Value::Int(other)) => (one, other),
        (Value::Float(one), Value::Float(other)) => return real(sign, one, other),
        #[expect(clippy::cast_precision_loss, reason = "settings are small numbers")]
        (Value::Float(one), Value::Int(other)) => return real(sign, one, other as f64),
        #[expect(clippy::cast_precision_loss, reason = "settings are small numbers")]
        (Value::Int(one), Value::Float(other)) => return real(sign, one as f64, other),
        _ => return Value::Unknown,
    };
    let value = match sign {
        '+' => one.checked_add(other),
        '-' => one.checked_sub(other),
        '*' => one.checked_mul(other),
        '/' => one.checked_div_euclid(other),
        '%' => one.checked_rem_euclid(other),
        _ => None,
    };
    value.map_or(Value::Unknown, Value::Int)
}

fn real(sign: char, one: f64, other: f64) -> Value {
    match sign {
        '+' => Value::Float(one + other),
        '-' => Value::Float(one - other),
        '*' => Value::Float(one * other),
        _ => Value::Unknown,
    }
}

/// `"%s:%d" % (host, port)`.
fn formatted(text: &str, value: &Value) -> Value {
    let values = match value {
        Value::List(values) => values.clone(),
        value => vec![value.clone()],
    };
    let mut out = String::new();
    let mut values = values.iter();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '%' => match (rest.next(), values.next()) {
                (Some('s' | 'd' | 'i'), Some(value)) if *value != Value::Unknown => {
                    out.push_str(&value.to_string())
                }
                _ => return Value::Unknown,
            },
            c => out.push(c),
        }
    }
    Value::Text(out)
}

/// `"{}:{}".format(host, port)`.
fn placed(text: &str, values: &[Value]) -> Value {
    if values.contains(&Value::Unknown) || text.matches('{').count() != text.matches("{}").count() {
        return Value::Unknown;
    }
    let mut out = String::new();
    let mut parts = text.split("{}");
    out.push_str(parts.next().unwrap_or_default());
    let mut values = values.iter();
    for part in parts {
        let Some(value) = values.next() else { return Value::Unknown };
        out.push_str(&value.to_string());
        out.push_str(part);
    }
    Value::Text(out)
}
