//! The literals of a Python file: assignments at its top level, as far as they can be known without running it.
//!
//! What is called, imported or computed from the machine is unknown. A fallback for a variable of the environment and an assignment
//! within a branch are known but uncertain.

mod expression;
mod lines;

use std::collections::BTreeMap;

pub(in crate::config) use expression::Value;

/// What a name stands for at the end of the file.
#[derive(Clone, Debug)]
pub(in crate::config) struct Assigned {
    pub(in crate::config) value: Value,
    pub(in crate::config) uncertain: bool,
    /// From 1.
    pub(in crate::config) line: usize,
    pub(in crate::config) text: String,
}

/// What a file assigns, by name; and lines that could not be read.
pub(in crate::config) fn assignments(text: &str) -> (BTreeMap<String, Assigned>, Vec<(usize, String)>) {
    let (statements, problems) = lines::statements(text);
    let mut names: BTreeMap<String, Assigned> = BTreeMap::new();
    // The column from which on everything belongs to a function or class.
    let mut hidden: Option<usize> = None;
    for statement in statements {
        if hidden.is_some_and(|column| statement.indent > column) {
            continue;
        }
        hidden = None;
        let word =
            statement.text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
        if matches!(word, "def" | "class" | "async") {
            hidden = Some(statement.indent);
            continue;
        }
        let Some((name, operator, expression)) = split(&statement.text) else { continue };
        let known = |name: &str| names.get(name).map(|assigned| (assigned.value.clone(), assigned.uncertain));
        let (mut value, mut uncertain) = expression::evaluate(expression, &known);
        if operator != '=' {
            value = Value::Unknown;
        }
        // Whether a branch is taken is not known.
        uncertain |= statement.indent > 0;
        let assigned = Assigned { value, uncertain, line: statement.line, text: statement.first.clone() };
        names.insert(name.to_owned(), assigned);
    }
    (names, problems)
}

/// `name = expression`, `name: type = expression`, `name += expression`: the name, `=` or another sign, the expression.
fn split(text: &str) -> Option<(&str, char, &str)> {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let mut rest = rest.trim_start();
    if let Some(annotated) = rest.strip_prefix(':') {
        let (_, after) = annotated.split_once('=')?;
        return Some((name, '=', after.trim()));
    }
    let mut operator = '=';
    if !rest.starts_with('=') {
        let sign = rest.chars().next()?;
        rest = rest.get(sign.len_utf8()..)?;
        if !matches!(sign, '+' | '-' | '*' | '/' | '|' | '&') || !rest.starts_with('=') {
            return None;
        }
        operator = sign;
    }
    let rest = rest.strip_prefix('=')?;
    (!rest.starts_with('=')).then(|| (name, operator, rest.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let (names, problems) = assignments(text);
        let mut shown: Vec<String> = names
            .iter()
            .map(|(name, assigned)| {
                let doubt = if assigned.uncertain { " ?" } else { "" };
                format!("{}: {name} = {}{doubt}", assigned.line, assigned.value)
            })
            .collect();
        shown.extend(problems.iter().map(|(line, message)| format!("{line}: {message}")));
        assert_eq!(shown, expected);
    }

    #[test]
    fn literals_are_known() {
        check("bind = '0.0.0.0:8000'\nworkers = 4\n", &["1: bind = 0.0.0.0:8000", "2: workers = 4"]);
        check(
            "a = 2 * 8 + 1\nb = -1\nc = 0x10\nd = 1_000\ne = 7 // 2\n",
            &["1: a = 17", "2: b = -1", "3: c = 16", "4: d = 1000", "5: e = 3"],
        );
        check("t = True\nn = None\nf = 2.5\n", &["3: f = 2.5", "2: n = None", "1: t = True"]);
        check("b = ['a:1',\n  \"b:2\",  # second\n]\n", &["1: b = [a:1, b:2]"]);
        check("raw_env = ('A=1', 'B=2')", &["1: raw_env = [A=1, B=2]"]);
        check("s = 'a' \"b\" r'c\\d'\nx = '''one\ntwo'''\n", &["1: s = abc\\d", "2: x = one\ntwo"]);
        check("port = 8000\nbind = f'0.0.0.0:{port}'\n", &["2: bind = 0.0.0.0:8000", "1: port = 8000"]);
        check(
            "port = 8000\nbind = '0.0.0.0:%s' % port\nc = 'a:{}'.format(port)\n",
            &["2: bind = 0.0.0.0:8000", "3: c = a:8000", "1: port = 8000"],
        );
        check("timeout: int = 30  # seconds\n", &["1: timeout = 30"]);
        check("workers = 2 if True else 3\n", &["1: workers = unknown"]);
    }

    #[test]
    fn what_depends_on_the_machine_is_not_known() {
        check(
            "import multiprocessing\nworkers = multiprocessing.cpu_count() * 2 + 1\n",
            &["2: workers = unknown"],
        );
        check("import os\na = int(os.environ.get('X', '5'))\n", &["2: a = 5 ?"]);
        check(
            "a = int(os.getenv(\"X\", 5))\nb = os.environ['Y']\nc = os.getenv('Z')\n",
            &["1: a = 5 ?", "2: b = unknown", "3: c = unknown"],
        );
        check("a = os.environ.get('X') or 'fallback'\n", &["1: a = fallback ?"]);
        check(
            "p = os.environ.get('PORT', '80')\nb = '0.0.0.0:' + p\n",
            &["2: b = 0.0.0.0:80 ?", "1: p = 80 ?"],
        );
        check("a = 1\nif DEBUG:\n    a = 2\n", &["3: a = 2 ?"]);
        check("a = 1\na += 2\n", &["2: a = unknown"]);
        check("def when_ready(server):\n    workers = 9\nworkers = 2\n", &["3: workers = 2"]);
        check("class A:\n  timeout = 1\n\n  def b(self):\n    timeout = 2\n", &[]);
        check("a == 1\nb.c = 1\nprint(a)\n", &[]);
    }

    #[test]
    fn what_is_no_python_is_survived() {
        check("a = (1, 2\nb = 3\n", &["1: a = unknown", "1: a bracket is not closed"]);
        check("a = 'b\nc = 1\n", &["2: c = 1", "1: a string is not closed"]);
        check("a = '''b\nc = 1\n", &["1: a string is not closed"]);
        check("a = ", &["1: a = unknown"]);
        check("a = 1 +\n", &["1: a = unknown"]);
        check("a = 99999999999999999999999999\n", &["1: a = unknown"]);
        check(
            "a = 9223372036854775807 + 1\nb = 1 // 0\nc = 2 ** 9999\n",
            &["1: a = unknown", "2: b = unknown", "3: c = unknown"],
        );
    }
}
