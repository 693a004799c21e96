//! How large things may grow: a crate 25,000 lines, a file 800, the body of a function 70.
//!
//! Lines of a function are counted as clippy counts them, without blank lines and comments; files and crates are
//! counted whole, because a reader scrolls past comments too.

use std::collections::BTreeMap;

use super::{File, Offence, mask};

const CRATE_LINES_MAX: usize = 25_000;
const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    /// Lines of its body that hold code.
    pub lines: usize,
}

pub(super) fn check(files: &[File], offences: &mut Vec<Offence>) {
    let mut crates: BTreeMap<String, usize> = BTreeMap::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        let lines = file.text.lines().count();
        *crates.entry(crate_folder(&file.path)).or_default() += lines;
        too_long(offences, "file-lines", &file.path, lines, FILE_LINES_MAX);
        for function in functions(&file.text) {
            let subject = format!("{}::{}", file.path, function.name);
            too_long(offences, "function-lines", &subject, function.lines, FUNCTION_LINES_MAX);
        }
    }
    for (folder, lines) in crates {
        too_long(offences, "crate-lines", &folder, lines, CRATE_LINES_MAX);
    }
}

fn too_long(offences: &mut Vec<Offence>, rule: &'static str, subject: &str, lines: usize, max: usize) {
    if lines > max {
        let message =
            format!("has {lines} lines, at most {max} are allowed: split it where the interface is small");
        offences.push(Offence { rule, subject: subject.to_owned(), measure: Some(lines), message });
    }
}

/// `crates/wire/src/head.rs` is in `crates/wire`, `xtask/src/main.rs` in `xtask`.
fn crate_folder(path: &str) -> String {
    let depth = if path.starts_with("crates/") { 2 } else { 1 };
    path.split('/').take(depth).collect::<Vec<_>>().join("/")
}

/// The functions of a source file that have a body, in the order in which they begin. Nested ones count twice: once
/// alone, once in the outer one.
pub fn functions(source: &str) -> Vec<Function> {
    let code = mask(source).code;
    let mut found = Vec::new();
    let mut rest = code.as_str();
    while let Some((before, after)) = split_at_fn(rest) {
        rest = after;
        let is_whole_word = !before.ends_with(|c: char| c == '_' || c.is_alphanumeric());
        let name: String =
            after.trim_start().chars().take_while(|&c| c == '_' || c.is_alphanumeric()).collect();
        // A function pointer type has no name, a macro's `fn $name` none that is known.
        if !is_whole_word || name.is_empty() {
            continue;
        }
        if let Some(body) = body(after) {
            found.push(Function { name, lines: body.lines().filter(|line| !line.trim().is_empty()).count() });
        }
    }
    found
}

fn split_at_fn(code: &str) -> Option<(&str, &str)> {
    let at = code.find("fn ")?;
    Some((code.get(..at)?, code.get(at + 3..)?))
}

/// What stands between the braces of the function whose signature begins `code`; `None` without a body.
fn body(code: &str) -> Option<&str> {
    let mut brackets = 0_i32;
    let open = code.char_indices().find_map(|(at, c)| {
        match c {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets -= 1,
            '{' | ';' if brackets == 0 => return Some((at, c)),
            _ => {}
        }
        None
    });
    let (open, '{') = open? else { return None };
    let inside = code.get(open + 1..)?;
    let mut depth = 1_i32;
    let close = inside.char_indices().find_map(|(at, c)| {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        (depth == 0).then_some(at)
    });
    inside.get(..close?)
}
