//! The catalogue: every page of a kind, by name, and which cause leads to which.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::LazyLock;

use crate::page::Page;

include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// Pages by their names.
#[derive(Debug, Default)]
pub struct Catalogue {
    pages: BTreeMap<String, Page>,
}

/// Why a catalogue cannot be made.
#[derive(Debug)]
pub struct CatalogueError(pub Vec<String>);

static BUILT_IN: LazyLock<Catalogue> = LazyLock::new(|| {
    Catalogue::read(CAUSES).expect("built-in pages of causes must be right, a test reads them")
});
static LINTS_BUILT_IN: LazyLock<Catalogue> = LazyLock::new(|| {
    Catalogue::read(LINTS).expect("built-in pages of lints must be right, a test reads them")
});

impl Catalogue {
    /// The causes that Clearway knows.
    pub fn causes() -> &'static Catalogue {
        &BUILT_IN
    }

    /// What `clearway check` finds in configurations.
    pub fn lints() -> &'static Catalogue {
        &LINTS_BUILT_IN
    }

    /// Reads pages, given as path and text, and reports every problem.
    pub fn read(sources: &[(&str, &str)]) -> Result<Catalogue, CatalogueError> {
        let mut problems = Vec::new();
        let mut pages: BTreeMap<String, Page> = BTreeMap::new();
        for (path, text) in sources {
            match Page::parse(path, text) {
                Err(problem) => problems.push(problem),
                Ok(page) if pages.contains_key(&page.id) => {
                    problems.push(format!("{path}: there is another page '{}'", page.id));
                }
                Ok(page) => {
                    pages.insert(page.id.clone(), page);
                }
            }
        }
        if problems.is_empty() { Ok(Catalogue { pages }) } else { Err(CatalogueError(problems)) }
    }

    pub fn get(&self, id: &str) -> Option<&Page> {
        self.pages.get(id)
    }

    /// In the order of their names.
    pub fn pages(&self) -> impl Iterator<Item = &Page> {
        self.pages.values()
    }

    /// What follows from a cause, nearest first, without itself.
    pub fn consequences<'a>(&'a self, id: &'a str) -> Vec<&'a str> {
        let mut seen = BTreeSet::from([id]);
        let mut order = Vec::new();
        let mut due = VecDeque::from([id]);
        while let Some(next) = due.pop_front() {
            let Some(page) = self.pages.get(next) else { continue };
            for consequence in &page.rule.leads_to {
                if seen.insert(consequence) {
                    order.push(consequence.as_str());
                    due.push_back(consequence);
                }
            }
        }
        order
    }
}
