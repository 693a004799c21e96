//! The rules of one host that may take a path, found without asking each of them.
//!
//! An index only leaves out rules that cannot match; which of the others does, and which of those is first, the rules
//! say themselves.

use std::collections::HashMap;

use model::gateway::Segment;
use smallvec::SmallVec;

use super::PathRule;

/// Numbers of rules, in the order in which they are asked.
type Numbers = Vec<u32>;
type ByPath = HashMap<Box<str>, Numbers, ahash::RandomState>;

/// Up to so many rules are asked one by one: that costs less than looking up their paths.
const FEW: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Candidates {
    /// All of them as long as they are few, and one more to tell that they are not.
    few: Numbers,
    exact: ByPath,
    /// Prefixes, and templates by what stands before their first parameter.
    below: ByPath,
    /// How many beginnings of a path can be a key of `below`: a path of a thousand segments is not looked up a thousand
    /// times.
    depth: usize,
    /// Those that any path may match.
    others: Numbers,
}

impl Candidates {
    /// Adds the rule that is asked after all that were added before.
    pub(super) fn push(&mut self, number: u32, path: &PathRule) {
        if self.few.len() <= FEW {
            self.few.push(number);
        }
        let begin = match path {
            PathRule::Exact(path) => return self.exact.entry(path.clone()).or_default().push(number),
            PathRule::Prefix(prefix) => prefix.clone(),
            PathRule::Template(segments) => literal_begin(segments),
            PathRule::Any | PathRule::Regex(_) => "".into(),
        };
        if begin.is_empty() {
            return self.others.push(number);
        }
        self.depth = self.depth.max(beginnings(&begin).count());
        self.below.entry(begin).or_default().push(number);
    }

    /// The rules that may take this path, in order.
    pub(super) fn of<'a>(&'a self, path: &'a str) -> impl Iterator<Item = u32> + 'a {
        let mut lists: SmallVec<[&[u32]; 8]> = SmallVec::new();
        if self.few.len() <= FEW {
            lists.push(&self.few);
        } else {
            let exact = self.exact.get(path);
            let below = beginnings(path).take(self.depth).filter_map(|begin| self.below.get(begin));
            lists.extend(exact.into_iter().chain(below).chain([&self.others]).map(Vec::as_slice));
        }
        std::iter::from_fn(move || {
            let next = lists.iter_mut().filter(|list| !list.is_empty()).min_by_key(|list| list.first())?;
            let (first, rest) = next.split_first()?;
            *next = rest;
            Some(*first)
        })
    }
}

/// `/items` of `/items/{id}`.
fn literal_begin(segments: &[Segment]) -> Box<str> {
    let mut begin = String::new();
    for segment in segments {
        let Segment::Literal(literal) = segment else { break };
        begin.push('/');
        begin.push_str(literal);
    }
    begin.into()
}

/// A path's beginnings that end where a segment does, shortest first: `/a`, `/a/b` and `/a/b/c` of `/a/b/c`.
fn beginnings(path: &str) -> impl Iterator<Item = &str> {
    let inner = path.bytes().enumerate().skip(1).filter(|(_, byte)| *byte == b'/');
    inner.map(|(at, _)| at).chain([path.len()]).filter_map(|end| path.get(..end))
}
