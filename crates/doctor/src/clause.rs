//! A clause of a rule: which evidence it speaks of, and how it matches one.
//!
//! Matching binds variables: `$name` takes the value of the first field that it meets and must be equal from then on.

use std::collections::BTreeMap;

use model::Evidence;

/// Values of variables.
pub(crate) type Binding = BTreeMap<String, String>;

/// How much longer than a limit something takes that was ended by it: the sweep of a supervisor comes once a second.
const ABOUT_LATER_SECONDS: f64 = 1.5;
const ABOUT_LATER_SHARE: f64 = 0.05;
/// How much earlier it may seem: clocks of logs are cut to their last digit.
const ABOUT_EARLIER_SECONDS: f64 = 0.3;

/// What a statement asks of the evidence.
#[derive(Clone, Debug, PartialEq)]
pub struct Clause {
    /// Any of these kinds.
    pub kinds: Vec<String>,
    pub conditions: Vec<Condition>,
    /// Holds where no evidence matches although this was read; the value of `what` of the evidence `read`.
    pub absent_from: Option<String>,
    /// At most so many seconds from the symptom, in either direction.
    pub near: Option<f64>,
    /// At most so many seconds before the symptom.
    pub before: Option<f64>,
    /// At most so many seconds after the symptom.
    pub after: Option<f64>,
    /// So many pieces of evidence must match; with `distinct`, with so many values of that field.
    pub count_min: usize,
    pub distinct: Option<String>,
    /// The clause for a person.
    pub words: String,
}

/// A condition on one field.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    pub field: String,
    pub test: Test,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    Absent,
    Present,
    /// Any of the operands.
    Compare(Comparison, Vec<Operand>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `~=`: the time that something takes which a limit of that length ends.
    About,
    /// `~`
    Contains,
    Equal,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    NotEqual,
    /// `^`
    StartsWith,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    Literal(String),
    /// A variable, times and plus a number.
    Variable {
        name: String,
        times: f64,
        plus: f64,
    },
}

impl Clause {
    /// Whether the evidence matches, with the variables bound by it added.
    pub(crate) fn matches(&self, evidence: &Evidence, binding: &Binding) -> Option<Binding> {
        if !self.kinds.iter().any(|kind| *kind == evidence.kind) {
            return None;
        }
        let mut bound = None;
        for condition in &self.conditions {
            let known = bound.as_ref().unwrap_or(binding);
            match condition.holds(evidence, known) {
                Held::No => return None,
                Held::Yes => {}
                Held::Binds(name, value) => {
                    bound.get_or_insert_with(|| binding.clone()).insert(name, value);
                }
            }
        }
        Some(bound.unwrap_or_else(|| binding.clone()))
    }

    /// Whether evidence of that time is near enough to the symptom; a state, which has no time, always is.
    pub(crate) fn in_time(&self, evidence: &Evidence, symptom: &Evidence) -> bool {
        let (Some(time), Some(symptom)) = (evidence.time, symptom.time) else { return true };
        let later = time.seconds_since(symptom);
        let near = self.near.is_none_or(|limit| later.abs() <= limit);
        match (self.before, self.after) {
            (None, None) => near,
            (before, after) => near && later >= -before.unwrap_or(0.0) && later <= after.unwrap_or(0.0),
        }
    }

    /// The fields that the clause names with one value each; `None` where its variable is not bound.
    pub(crate) fn plain_values(&self, binding: &Binding) -> impl Iterator<Item = (String, Option<String>)> {
        self.conditions.iter().filter_map(|condition| match &condition.test {
            Test::Compare(Comparison::Equal, operands) => {
                let [operand] = operands.as_slice() else { return None };
                Some((condition.field.clone(), operand.value(binding)))
            }
            _ => None,
        })
    }

    /// Variables that the clause needs or binds.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.conditions
            .iter()
            .filter_map(|condition| match &condition.test {
                Test::Compare(_, operands) => Some(operands),
                Test::Absent | Test::Present => None,
            })
            .flatten()
            .filter_map(|operand| match operand {
                Operand::Variable { name, .. } => Some(name.as_str()),
                Operand::Literal(_) => None,
            })
    }
}

enum Held {
    No,
    Yes,
    Binds(String, String),
}

impl Condition {
    fn holds(&self, evidence: &Evidence, binding: &Binding) -> Held {
        let value = evidence.get(&self.field);
        let (comparison, operands) = match (&self.test, value) {
            (Test::Absent, value) => return if value.is_none() { Held::Yes } else { Held::No },
            (Test::Present, value) => return if value.is_some() { Held::Yes } else { Held::No },
            // What is not known is neither equal nor different.
            (Test::Compare(..), None) => return Held::No,
            (Test::Compare(comparison, operands), Some(_)) => (*comparison, operands),
        };
        let value = value.unwrap_or_default();
        if let [Operand::Variable { name, times, plus }] = operands.as_slice()
            && !binding.contains_key(name)
        {
            let plain = comparison == Comparison::Equal && *times == 1.0 && *plus == 0.0;
            return if plain { Held::Binds(name.clone(), value.to_owned()) } else { Held::No };
        }
        let any = |test: &dyn Fn(&str) -> bool| {
            operands.iter().any(|operand| operand.value(binding).is_some_and(|operand| test(&operand)))
        };
        let held = match comparison {
            // Different from all of them.
            Comparison::NotEqual => !any(&|operand| equal(value, operand)),
            comparison => any(&|operand| compare(comparison, value, operand)),
        };
        if held { Held::Yes } else { Held::No }
    }
}

impl Operand {
    fn value(&self, binding: &Binding) -> Option<String> {
        match self {
            Operand::Literal(text) => Some(text.clone()),
            Operand::Variable { name, times, plus } => {
                let value = binding.get(name)?;
                if *times == 1.0 && *plus == 0.0 {
                    return Some(value.clone());
                }
                Some((value.parse::<f64>().ok()? * times + plus).to_string())
            }
        }
    }
}

fn compare(comparison: Comparison, value: &str, operand: &str) -> bool {
    match comparison {
        Comparison::About => match (value.parse::<f64>(), operand.parse::<f64>()) {
            (Ok(value), Ok(limit)) => {
                value >= limit - ABOUT_EARLIER_SECONDS
                    && value <= limit * (1.0 + ABOUT_LATER_SHARE) + ABOUT_LATER_SECONDS
            }
            _ => false,
        },
        Comparison::Contains => value.contains(operand),
        Comparison::Equal => equal(value, operand),
        Comparison::NotEqual => !equal(value, operand),
        Comparison::StartsWith => value.starts_with(operand),
        Comparison::Greater => order(value, operand).is_some_and(std::cmp::Ordering::is_gt),
        Comparison::GreaterOrEqual => order(value, operand).is_some_and(std::cmp::Ordering::is_ge),
        Comparison::Less => order(value, operand).is_some_and(std::cmp::Ordering::is_lt),
        Comparison::LessOrEqual => order(value, operand).is_some_and(std::cmp::Ordering::is_le),
    }
}

fn equal(value: &str, operand: &str) -> bool {
    value == operand
        || matches!((value.parse::<f64>(), operand.parse::<f64>()), (Ok(value), Ok(operand)) if value == operand)
}

/// The order of two numbers, or of two versions; `None` where one of them is neither.
fn order(value: &str, operand: &str) -> Option<std::cmp::Ordering> {
    if value.matches('.').count() < 2
        && operand.matches('.').count() < 2
        && let (Ok(value), Ok(operand)) = (value.parse::<f64>(), operand.parse::<f64>())
    {
        return value.partial_cmp(&operand);
    }
    Some(version(value)?.cmp(&version(operand)?))
}

/// The numbers of a version; what follows them (`rc1`, `-dev`) does not count, nor do noughts at the end.
fn version(text: &str) -> Option<Vec<u64>> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let mut numbers = text
        .get(..end)?
        .trim_end_matches('.')
        .split('.')
        .map(|part| part.parse().ok())
        .collect::<Option<Vec<u64>>>()?;
    while numbers.last() == Some(&0) {
        numbers.pop();
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule;

    #[track_caller]
    fn check(clause: &str, evidence: &str, expected: &str) {
        let clause = rule::clause(clause).expect("the clause must parse");
        let evidence: Evidence = evidence.parse().expect("the evidence must parse");
        let bound = Binding::from([("known".to_owned(), "30".to_owned())]);
        let shown = clause.matches(&evidence, &bound).map(|binding| {
            let pairs: Vec<String> = binding.iter().map(|(name, value)| format!("{name}={value}")).collect();
            pairs.join(" ")
        });
        assert_eq!(shown.as_deref().unwrap_or("no"), expected);
    }

    #[test]
    fn conditions_bind_and_compare() {
        check("a b=1", "a b=1", "known=30");
        check("a b=1", "a b=1.0", "known=30");
        check("a b=1", "c b=1", "no");
        check("a|c b=1|2", "c b=2", "known=30");
        check("a b=$x", "a b=7", "known=30 x=7");
        check("a b=$x c=$x", "a b=7 c=8", "no");
        check("a b=$known", "a b=30", "known=30");
        check("a b>$known", "a b=31", "known=30");
        check("a b>$known*2", "a b=59", "no");
        check("a b>=$known*2-1", "a b=59", "known=30");
        check("a b>$unknown", "a b=1", "no");
        check("a b~=$known", "a b=31.2", "known=30");
        check("a b~=$known", "a b=29.1", "no");
        check("a b~oom", "a b=zoomed", "known=30");
        check("a b^unix:", "a b=unix:/x", "known=30");
        check("a b!=1|2", "a b=3", "known=30");
        check("a b!=1|2", "a b=2", "no");
        check("a b!=1", "a", "no");
        check("a !b", "a", "known=30");
        check("a b", "a", "no");
        check("a b=\"two words\"", "a b=\"two words\"", "known=30");
    }

    #[test]
    fn versions_are_compared_as_versions() {
        check("a v<22.0", "a v=21.2.0", "known=30");
        check("a v<22.0", "a v=22.0.0", "no");
        check("a v>=1.29.7", "a v=1.29.10", "known=30");
        check("a v>=1.29.7", "a v=1.22.1", "no");
        check("a v>=3", "a v=3.0.2-dev", "known=30");
        check("a v<3", "a v=unknown", "no");
    }
}
