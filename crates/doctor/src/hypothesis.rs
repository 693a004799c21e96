//! One cause held against the evidence: what speaks for it, what against, what is missing, and how certain that makes it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use model::{Evidence, Moment, Want};

use crate::clause::{Binding, Clause};
use crate::page::Page;
use crate::rule::{Role, Statement};

/// Symptoms of one case that are looked at one by one: the latest. They repeat each other, and each costs a pass of the rule.
const INSTANCES_MAX: usize = 12;
/// What no sum of weights exceeds.
const CONFIDENCE_MAX: f64 = 0.99;
/// Without a decisive clause and two independent sources, or a proof.
const UNDECIDED_MAX: f64 = 0.79;
/// With nothing that tells it from its look-alikes: a guess, which is not asserted.
const GUESSED_MAX: f64 = 0.49;
/// With something that speaks against it.
const CONTRADICTED_MAX: f64 = 0.5;
/// Evidence of one clause that is cited.
const CITED_MAX: usize = 3;
/// The variable that tells cases apart where a rule names no other.
const KEY_DEFAULT: &str = "upstream";

/// All evidence, by kind.
pub(crate) struct Book<'a> {
    by_kind: HashMap<&'a str, Vec<&'a Evidence>>,
    /// By kind, field and value, for the fields of [`INDEXED`].
    by_value: HashMap<(&'a str, &'a str, &'a str), Vec<&'a Evidence>>,
    pub(crate) now: Option<Moment>,
}

/// Fields by which clauses are joined: in a large set of configurations each value of them has a small part of the evidence.
const INDEXED: &[&str] = &["bind", "group", "name", "target", "unit", "via"];

impl<'a> Book<'a> {
    pub(crate) fn new(evidence: &'a [Evidence], now: Option<Moment>) -> Book<'a> {
        let mut by_kind: HashMap<&str, Vec<&Evidence>> = HashMap::new();
        let mut by_value: HashMap<(&str, &str, &str), Vec<&Evidence>> = HashMap::new();
        for item in evidence {
            by_kind.entry(item.kind.as_ref()).or_default().push(item);
            for (field, value) in item.fields.iter().filter(|(field, _)| INDEXED.contains(&field.as_ref())) {
                by_value.entry((item.kind.as_ref(), field.as_ref(), value)).or_default().push(item);
            }
        }
        Book { by_kind, by_value, now }
    }

    /// Evidence that may match a clause, in its order: all of its kinds, or the part that has a value the clause asks for.
    pub(crate) fn candidates(&self, clause: &Clause, binding: &Binding) -> Vec<&'a Evidence> {
        let values: Vec<(String, String)> = clause
            .plain_values(binding)
            .filter(|(field, _)| INDEXED.contains(&field.as_str()))
            // Numbers are equal under several spellings, which an index does not know.
            .filter_map(|(field, value)| Some((field, value.filter(|value| value.parse::<f64>().is_err())?)))
            .collect();
        let mut found = Vec::new();
        for kind in &clause.kinds {
            let mut best: &[&'a Evidence] = self.by_kind.get(kind.as_str()).map_or(&[], Vec::as_slice);
            for (field, value) in &values {
                let part = self.by_value.get(&(kind.as_str(), field.as_str(), value.as_str()));
                let part = part.map_or(&[][..], Vec::as_slice);
                if part.len() < best.len() {
                    best = part;
                }
            }
            found.extend_from_slice(best);
        }
        found
    }

    /// Evidence of these kinds.
    pub(crate) fn of<'b>(&'b self, kinds: &'b [String]) -> impl Iterator<Item = &'a Evidence> + 'b {
        kinds.iter().filter_map(|kind| self.by_kind.get(kind.as_str())).flatten().copied()
    }

    /// The evidence that something was read whole.
    fn reading(&self, what: &str) -> Option<&'a Evidence> {
        self.by_kind.get("read")?.iter().find(|read| read.get("what") == Some(what)).copied()
    }
}

/// A cause held against one case.
#[derive(Clone, Debug)]
pub(crate) struct Hypothesis<'a> {
    pub(crate) page: &'a Page,
    pub(crate) binding: Binding,
    pub(crate) confidence: f64,
    pub(crate) decided: bool,
    /// Something tells it from what looks alike; symptoms alone do not.
    pub(crate) told_apart: bool,
    /// The evidence for it, each once.
    pub(crate) because: Vec<&'a Evidence>,
    pub(crate) against: Vec<&'a Evidence>,
    pub(crate) missing: Vec<String>,
    /// Every symptom of the case.
    pub(crate) symptoms: Vec<&'a Evidence>,
    /// Why it is not it after all.
    pub(crate) excluded: Option<String>,
}

impl Hypothesis<'_> {
    /// The time of the last symptom.
    pub(crate) fn last_seen(&self) -> Option<Moment> {
        self.symptoms.iter().filter_map(|symptom| symptom.time).max()
    }

    /// What would tell more of it.
    pub(crate) fn wants(&self) -> Vec<Want> {
        self.page.rule.wants.iter().filter_map(|want| bound_want(want, &self.binding)).collect()
    }
}

/// Every case of a cause in the evidence.
pub(crate) fn of<'a>(page: &'a Page, book: &Book<'a>) -> Vec<Hypothesis<'a>> {
    let mut cases: BTreeMap<Vec<Option<String>>, Vec<Instance<'a>>> = BTreeMap::new();
    for instance in instances(page, book) {
        let key = keys(page).map(|name| instance.binding.get(name).cloned()).collect();
        cases.entry(key).or_default().push(instance);
    }
    // Symptoms that do not say whose they are belong to the one case there is.
    let unnamed = vec![None; keys(page).count()];
    if cases.len() == 2
        && let Some(rest) = cases.remove(&unnamed)
        && let Some(named) = cases.values_mut().next()
    {
        named.extend(rest);
    }
    cases.into_values().filter_map(|instances| judge(page, book, instances)).collect()
}

fn keys(page: &Page) -> impl Iterator<Item = &str> {
    let names: Vec<&str> = match page.rule.key.as_slice() {
        [] => vec![KEY_DEFAULT],
        names => names.iter().map(String::as_str).collect(),
    };
    names.into_iter()
}

/// One symptom in the evidence.
struct Instance<'a> {
    statement: usize,
    evidence: &'a Evidence,
    binding: Binding,
}

fn instances<'a>(page: &Page, book: &Book<'a>) -> Vec<Instance<'a>> {
    let mut instances = Vec::new();
    for (index, statement) in page.rule.statements.iter().enumerate() {
        // A proof is a symptom as well: it needs no other.
        if !matches!(statement.role, Role::Symptom | Role::Proof) || statement.clause.absent_from.is_some() {
            continue;
        }
        let empty = Binding::new();
        for evidence in book.candidates(&statement.clause, &empty) {
            if let Some(binding) = statement.clause.matches(evidence, &empty) {
                instances.push(Instance { statement: index, evidence, binding });
            }
        }
    }
    instances
}

/// The best reading of a case: that of the symptom of which the rule can say most.
fn judge<'a>(page: &'a Page, book: &Book<'a>, mut instances: Vec<Instance<'a>>) -> Option<Hypothesis<'a>> {
    instances.sort_by_key(|instance| std::cmp::Reverse(instance.evidence.time));
    let symptoms: Vec<&Evidence> = unique(instances.iter().map(|instance| instance.evidence));
    let mut best: Option<Hypothesis<'a>> = None;
    for (index, statement) in page.rule.statements.iter().enumerate() {
        let of_statement = instances.iter().filter(|instance| instance.statement == index);
        if statement.clause.count_min > 1
            && !enough(&statement.clause, of_statement.clone().map(|i| i.evidence))
        {
            continue;
        }
        for instance in of_statement.take(INSTANCES_MAX) {
            let Some(mut hypothesis) = Reading::of(page, book, instance, &instances).finish(page) else {
                continue;
            };
            hypothesis.symptoms.clone_from(&symptoms);
            let better = best.as_ref().is_none_or(|best| {
                (hypothesis.excluded.is_none(), hypothesis.confidence)
                    > (best.excluded.is_none(), best.confidence)
            });
            if better {
                best = Some(hypothesis);
            }
        }
    }
    best
}

/// The rule as it reads from one symptom on.
struct Reading<'a> {
    binding: Binding,
    possible: bool,
    /// The product of the doubts that are left.
    doubt: f64,
    decisive: bool,
    proof: bool,
    /// What is left of the confidence after what speaks against it.
    trust: f64,
    contradicted: bool,
    because: Vec<&'a Evidence>,
    against: Vec<&'a Evidence>,
    missing: Vec<String>,
    excluded: Option<String>,
}

impl<'a> Reading<'a> {
    fn of(page: &'a Page, book: &Book<'a>, instance: &Instance<'a>, all: &[Instance<'a>]) -> Reading<'a> {
        let mut reading = Reading {
            binding: instance.binding.clone(),
            possible: true,
            doubt: 1.0,
            decisive: false,
            proof: false,
            trust: 1.0,
            contradicted: false,
            because: Vec::new(),
            against: Vec::new(),
            missing: Vec::new(),
            excluded: None,
        };
        for (index, statement) in page.rule.statements.iter().enumerate() {
            if index == instance.statement {
                reading.holds(statement, vec![instance.evidence]);
                continue;
            }
            let found = match (&statement.clause.absent_from, statement.role) {
                (Some(source), _) => reading.absence(book, &statement.clause, source, instance.evidence),
                // The symptoms of the case only.
                (None, Role::Symptom) => {
                    let evidence =
                        all.iter().filter(|other| other.statement == index).map(|other| other.evidence);
                    reading.find(&statement.clause, evidence, instance.evidence)
                }
                (None, _) => {
                    let evidence = book.candidates(&statement.clause, &reading.binding);
                    reading.find(&statement.clause, evidence.into_iter(), instance.evidence)
                }
            };
            match found {
                Some(found) => reading.holds(statement, found),
                None => reading.fails(statement),
            }
        }
        reading
    }

    /// Evidence that matches, nearest to the symptom first; its variables are bound.
    fn find(
        &mut self,
        clause: &Clause,
        evidence: impl Iterator<Item = &'a Evidence>,
        symptom: &Evidence,
    ) -> Option<Vec<&'a Evidence>> {
        let mut found: Vec<(&Evidence, Binding)> = evidence
            .filter(|evidence| clause.in_time(evidence, symptom))
            .filter_map(|evidence| Some((evidence, clause.matches(evidence, &self.binding)?)))
            .collect();
        if found.is_empty() || !enough(clause, found.iter().map(|(evidence, _)| *evidence)) {
            return None;
        }
        let distance = |evidence: &Evidence| match (evidence.time, symptom.time) {
            (Some(time), Some(symptom)) => (time.0 - symptom.0).abs(),
            _ => i64::MAX,
        };
        found.sort_by_key(|(evidence, _)| distance(evidence));
        let cited = if clause.count_min > 1 { CITED_MAX } else { 1 };
        let (_, binding) = found.first()?;
        self.binding.clone_from(binding);
        Some(unique(found.iter().map(|(evidence, _)| *evidence)).into_iter().take(cited).collect())
    }

    /// The evidence that something was read in which nothing matches.
    fn absence(
        &self,
        book: &Book<'a>,
        clause: &Clause,
        source: &str,
        symptom: &Evidence,
    ) -> Option<Vec<&'a Evidence>> {
        let reading = book.reading(source)?;
        let there = book.candidates(clause, &self.binding).into_iter().any(|evidence| {
            clause.in_time(evidence, symptom) && clause.matches(evidence, &self.binding).is_some()
        });
        (!there).then(|| vec![reading])
    }

    fn holds(&mut self, statement: &Statement, found: Vec<&'a Evidence>) {
        match statement.role {
            Role::Exclude => {
                let words = fill(&statement.clause.words, &self.binding);
                let place = found.first().map(|evidence| evidence.place.to_string()).unwrap_or_default();
                let because = if place.is_empty() { words } else { format!("{words} ({place})") };
                self.excluded.get_or_insert(because);
            }
            Role::Against => {
                self.contradicted = true;
                self.trust *= 1.0 - statement.weight;
                self.against.extend(found);
            }
            Role::Require => self.because.extend(found),
            // The same fact in other words is no further support.
            Role::Support | Role::Symptom if found.iter().all(|item| self.cites(item)) => {}
            role => {
                self.decisive |= role == Role::Decisive;
                self.proof |= role == Role::Proof;
                self.doubt *= 1.0 - statement.weight;
                self.because.extend(found);
            }
        }
    }

    fn cites(&self, evidence: &Evidence) -> bool {
        self.because.iter().any(|known| std::ptr::eq(*known, evidence))
    }

    fn fails(&mut self, statement: &Statement) {
        match statement.role {
            Role::Require => self.possible = false,
            Role::Decisive | Role::Proof | Role::Support if !statement.clause.words.is_empty() => {
                self.missing.push(fill(&statement.clause.words, &self.binding));
            }
            _ => {}
        }
    }

    fn finish(self, page: &'a Page) -> Option<Hypothesis<'a>> {
        if !self.possible {
            return None;
        }
        let because = unique(self.because.into_iter());
        let sources: BTreeSet<&str> = because.iter().map(|evidence| evidence.source.as_ref()).collect();
        let decided = self.proof || (self.decisive && sources.len() >= 2);
        let mut confidence = ((1.0 - self.doubt) * self.trust).min(CONFIDENCE_MAX);
        if !decided {
            confidence = confidence.min(UNDECIDED_MAX);
        }
        let told_apart = self.proof || self.decisive;
        if !told_apart {
            confidence = confidence.min(GUESSED_MAX);
        }
        if self.contradicted {
            confidence = confidence.min(CONTRADICTED_MAX);
        }
        if let Some(cap) = page.rule.cap {
            confidence = confidence.min(cap);
        }
        Some(Hypothesis {
            page,
            binding: self.binding,
            confidence,
            decided: decided && !self.contradicted,
            told_apart,
            because,
            against: self.against,
            missing: self.missing,
            symptoms: Vec::new(),
            excluded: self.excluded,
        })
    }
}

/// Whether so many match as the clause asks for.
fn enough<'a>(clause: &Clause, found: impl Iterator<Item = &'a Evidence>) -> bool {
    match &clause.distinct {
        None => found.map(occurrences).sum::<usize>() >= clause.count_min,
        Some(field) => {
            found.filter_map(|evidence| evidence.get(field)).collect::<BTreeSet<_>>().len()
                >= clause.count_min
        }
    }
}

/// A reader that met the same thing often may tell it once, with how often.
fn occurrences(evidence: &Evidence) -> usize {
    evidence.get("count").and_then(|count| count.parse().ok()).unwrap_or(1)
}

fn unique<'a>(evidence: impl Iterator<Item = &'a Evidence>) -> Vec<&'a Evidence> {
    let mut seen: Vec<&'a Evidence> = Vec::new();
    for item in evidence {
        if !seen.iter().any(|known| std::ptr::eq(*known, item)) {
            seen.push(item);
        }
    }
    seen
}

fn bound_want(clause: &Clause, binding: &Binding) -> Option<Want> {
    let kind = clause.kinds.first()?;
    let mut want = Want::new(kind.clone());
    for (field, value) in clause.plain_values(binding) {
        want = want.with(field, value?);
    }
    Some(want)
}

/// The value of `name`, or of `name*2` and `name+15`: the new value of a setting often follows from another.
fn value_of(name: &str, binding: &Binding) -> Option<String> {
    if let Some(value) = binding.get(name) {
        return Some(value.clone());
    }
    let at = name.find(['*', '+'])?;
    let (name, rest) = name.split_at(at);
    let value: f64 = binding.get(name)?.parse().ok()?;
    let operand: f64 = rest.get(1..)?.parse().ok()?;
    let value = if rest.starts_with('*') { value * operand } else { value + operand };
    // Whole numbers are what most settings take.
    Some(if value >= 1.0 { value.floor().to_string() } else { value.to_string() })
}

/// A template with its variables, in braces, filled in; one that is not known stays as it is.
pub(crate) fn fill(template: &str, binding: &Binding) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        match after.split_once('}') {
            Some((name, after)) if value_of(name, binding).is_some() => {
                text.push_str(&value_of(name, binding).unwrap_or_default());
                rest = after;
            }
            _ => {
                text.push('{');
                rest = after;
            }
        }
    }
    text.push_str(rest);
    text
}
