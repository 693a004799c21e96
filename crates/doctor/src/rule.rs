//! The rule of a page: statements, one per line, and how they are read.
//!
//! The grammar is that of ARCHITECTURE.md, "A diagnosis". A line that begins with blanks goes on with the one before.

use crate::clause::{Clause, Comparison, Condition, Operand, Test};

/// What a page says in its fence `rule`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rule {
    /// One sentence, with variables in braces.
    pub summary: String,
    /// Symptoms with the same values of these variables are one case.
    pub key: Vec<String>,
    /// No more confidence than this.
    pub cap: Option<f64>,
    /// In the order of the page, which is the order of binding.
    pub statements: Vec<Statement>,
    /// Evidence to ask for.
    pub wants: Vec<Clause>,
    /// Causes that follow from this one.
    pub leads_to: Vec<String>,
    pub remedy: Remedy,
}

/// One clause with its part in the judgement.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    pub role: Role,
    pub weight: f64,
    pub clause: Clause,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Speaks against it.
    Against,
    /// Tells it from what looks alike.
    Decisive,
    /// With this, it is not it.
    Exclude,
    /// Proves it alone.
    Proof,
    /// Without this it is not even considered.
    Require,
    Support,
    /// What makes one think of it; at least one.
    Symptom,
}

/// How to mend it, as templates.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Remedy {
    pub summary: Vec<String>,
    /// The evidence whose line is changed, and the new line.
    pub edits: Vec<(Clause, String)>,
    pub commands: Vec<String>,
    pub verify: Vec<String>,
}

/// Reads a rule; the error names the line of the fence, from 1.
pub(crate) fn parse(text: &str) -> Result<Rule, String> {
    let mut rule = Rule::default();
    for (number, line) in logical_lines(text) {
        statement(&mut rule, &line).map_err(|error| format!("line {number}: {error}"))?;
    }
    if !rule.statements.iter().any(|statement| matches!(statement.role, Role::Symptom | Role::Proof)) {
        return Err("a rule must have a symptom or a proof".to_owned());
    }
    if rule.summary.is_empty() {
        return Err("a rule must have a summary".to_owned());
    }
    if rule.remedy.summary.is_empty() {
        return Err("a rule must have a fix".to_owned());
    }
    Ok(rule)
}

/// Lines with those that go on with them, and the number of the first.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        match lines.last_mut() {
            Some((_, last)) if line.starts_with([' ', '\t']) => {
                last.push(' ');
                last.push_str(line.trim());
            }
            _ => lines.push((index + 1, line.trim().to_owned())),
        }
    }
    lines
}

fn statement(rule: &mut Rule, line: &str) -> Result<(), String> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let rest = rest.trim();
    if rest.is_empty() {
        return Err(format!("'{word}' must be followed by something"));
    }
    match word {
        "summary" => rule.summary = rest.to_owned(),
        "key" => rule.key = words(rest),
        "cap" => rule.cap = Some(share(rest)?),
        "leads-to" => rule.leads_to.extend(words(rest)),
        "want" => rule.wants.push(clause(rest)?),
        "fix" => rule.remedy.summary.push(rest.to_owned()),
        "run" => rule.remedy.commands.push(rest.to_owned()),
        "verify" => rule.remedy.verify.push(rest.to_owned()),
        "edit" => {
            let (of, line) =
                rest.split_once(" => ").ok_or("'edit' must be a clause, ' => ' and the new line")?;
            rule.remedy.edits.push((clause(of)?, line.trim().to_owned()));
        }
        "require" => {
            rule.statements.push(Statement { role: Role::Require, weight: 0.0, clause: clause(rest)? })
        }
        "exclude" => {
            let clause = clause(rest)?;
            if clause.words.is_empty() {
                return Err("'exclude' must say why in words, after ' # '".to_owned());
            }
            rule.statements.push(Statement { role: Role::Exclude, weight: 0.0, clause });
        }
        word => {
            let role = match word {
                "against" => Role::Against,
                "decisive" => Role::Decisive,
                "proof" => Role::Proof,
                "support" => Role::Support,
                "symptom" => Role::Symptom,
                _ => return Err(format!("'{word}' is not a statement")),
            };
            let (weight, rest) = rest.split_once(' ').ok_or("a clause must follow the weight")?;
            rule.statements.push(Statement { role, weight: share(weight)?, clause: clause(rest)? });
        }
    }
    Ok(())
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(weight) if (0.0..=0.99).contains(&weight) => Ok(weight),
        _ => Err(format!("'{text}' must be a number from 0 to 0.99")),
    }
}

/// Reads one clause: `[not] KIND[|KIND] CONDITION... [# WORDS]`.
pub(crate) fn clause(text: &str) -> Result<Clause, String> {
    let (text, words) = match text.split_once(" # ") {
        Some((text, words)) => (text, words.trim().to_owned()),
        None => (text, String::new()),
    };
    let mut tokens = tokens(text)?.into_iter().peekable();
    let negated = tokens.next_if(|token| token == "not").is_some();
    let kinds = tokens.next().ok_or("a clause must name a kind of evidence")?;
    let mut clause = Clause {
        kinds: kinds.split('|').map(str::to_owned).collect(),
        conditions: Vec::new(),
        absent_from: None,
        near: None,
        before: None,
        after: None,
        count_min: 1,
        distinct: None,
        words,
    };
    for token in tokens {
        modifier_or_condition(&mut clause, &token)?;
    }
    match (negated, &clause.absent_from) {
        (true, None) => Err("'not' needs 'read=', the source that must have been read".to_owned()),
        (false, Some(_)) => Err("'read=' belongs to 'not'".to_owned()),
        _ => Ok(clause),
    }
}

fn modifier_or_condition(clause: &mut Clause, token: &str) -> Result<(), String> {
    let seconds = |text: &str| text.parse::<f64>().map_err(|_| format!("'{text}' must be seconds"));
    if let Some(count) = token.strip_prefix("count>=") {
        clause.count_min = count.parse().map_err(|_| format!("'{count}' must be a number"))?;
        return Ok(());
    }
    match token.split_once('=') {
        Some(("read", source)) => clause.absent_from = Some(source.to_owned()),
        Some(("near", limit)) => clause.near = Some(seconds(limit)?),
        Some(("before", limit)) => clause.before = Some(seconds(limit)?),
        Some(("after", limit)) => clause.after = Some(seconds(limit)?),
        Some(("distinct", field)) => clause.distinct = Some(field.to_owned()),
        _ => clause.conditions.push(condition(token)?),
    }
    Ok(())
}

/// The longer ones first: `<=` is not `<` with an operand that begins with `=`.
const COMPARISONS: &[(&str, Comparison)] = &[
    ("!=", Comparison::NotEqual),
    ("<=", Comparison::LessOrEqual),
    (">=", Comparison::GreaterOrEqual),
    ("~=", Comparison::About),
    ("=", Comparison::Equal),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
    ("~", Comparison::Contains),
    ("^", Comparison::StartsWith),
];

fn condition(token: &str) -> Result<Condition, String> {
    let end = token.find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_').unwrap_or(token.len());
    let (field, rest) = token.split_at(end);
    if let Some(field) = token.strip_prefix('!') {
        return Ok(Condition { field: field.to_owned(), test: Test::Absent });
    }
    if field.is_empty() {
        return Err(format!("'{token}' must begin with the name of a field"));
    }
    if rest.is_empty() {
        return Ok(Condition { field: field.to_owned(), test: Test::Present });
    }
    let found =
        COMPARISONS.iter().find_map(|(sign, comparison)| Some((*comparison, rest.strip_prefix(sign)?)));
    let Some((comparison, operands)) = found else {
        return Err(format!("'{token}' must be a field, a comparison and a value"));
    };
    let operands = match operands.strip_prefix('"').and_then(|quoted| quoted.strip_suffix('"')) {
        Some(quoted) => vec![Operand::Literal(quoted.to_owned())],
        None => operands.split('|').map(operand).collect::<Result<_, _>>()?,
    };
    Ok(Condition { field: field.to_owned(), test: Test::Compare(comparison, operands) })
}

fn operand(text: &str) -> Result<Operand, String> {
    let Some(variable) = text.strip_prefix('$') else { return Ok(Operand::Literal(text.to_owned())) };
    let end =
        variable.find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_').unwrap_or(variable.len());
    // A sign before a digit is arithmetic, any other hyphen belongs to the name.
    let minus = variable.char_indices().find(|(index, c)| {
        *c == '-'
            && variable.get(index + 1..).is_some_and(|after| after.starts_with(|c: char| c.is_ascii_digit()))
    });
    let end = minus.map_or(end, |(index, _)| index.min(end));
    let (name, mut rest) = variable.split_at(end);
    let (mut times, mut plus) = (1.0, 0.0);
    let number = |text: &str| text.parse::<f64>().map_err(|_| format!("'{text}' must be a number"));
    if let Some(factor) = rest.strip_prefix('*') {
        let end = factor.find(['+', '-']).unwrap_or(factor.len());
        let (factor, after) = factor.split_at(end);
        times = number(factor)?;
        rest = after;
    }
    if !rest.is_empty() {
        plus = number(rest)?;
    }
    Ok(Operand::Variable { name: name.to_owned(), times, plus })
}

/// Words, where what is quoted stays together; the quotes stay.
fn tokens(text: &str) -> Result<Vec<String>, String> {
    let mut tokens = Vec::new();
    let mut token = String::new();
    let mut quoted = false;
    for c in text.chars() {
        if c == '"' {
            quoted = !quoted;
        }
        if c.is_whitespace() && !quoted {
            if !token.is_empty() {
                tokens.push(std::mem::take(&mut token));
            }
        } else {
            token.push(c);
        }
    }
    if quoted {
        return Err(format!("'{text}' has no closing quote"));
    }
    if !token.is_empty() {
        tokens.push(token);
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refuse(text: &str, expected: &str) {
        assert_eq!(parse(text).expect_err("it must be refused"), expected);
    }

    #[test]
    fn a_rule_is_read() {
        let rule = parse(
            "summary {upstream} is down\nkey upstream\nsymptom 0.4 failure how=refused\n    upstream=$upstream # refused\n\
             decisive 0.7 not kernel.oom-kill pid=$pid read=kernel-log near=3 # no kill\nfix start it\n\
             edit setting name=keep-alive => keepalive = 75\nleads-to a b\n",
        )
        .expect("it must be read");
        assert_eq!(rule.statements.len(), 2);
        assert_eq!(rule.statements[0].clause.words, "refused");
        assert_eq!(rule.statements[1].clause.absent_from.as_deref(), Some("kernel-log"));
        assert_eq!(rule.statements[1].clause.near, Some(3.0));
        assert_eq!(rule.remedy.edits[0].1, "keepalive = 75");
        assert_eq!(rule.leads_to, ["a", "b"]);
    }

    #[test]
    fn what_is_not_a_rule_is_refused_with_its_line() {
        refuse("summary x\nfix y", "a rule must have a symptom or a proof");
        refuse("symptom 0.4 a", "a rule must have a summary");
        refuse("symptom 1.4 a", "line 1: '1.4' must be a number from 0 to 0.99");
        refuse("symptoms 0.4 a", "line 1: 'symptoms' is not a statement");
        refuse("exclude a", "line 1: 'exclude' must say why in words, after ' # '");
        refuse("require not a", "line 1: 'not' needs 'read=', the source that must have been read");
        refuse("require a b%1", "line 1: 'b%1' must be a field, a comparison and a value");
        refuse("require a b=\"x", "line 1: 'a b=\"x' has no closing quote");
    }
}
