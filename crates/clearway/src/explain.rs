//! `clearway explain`: the page of a cause, a fault or a rule of `clearway check`.

use std::fmt::Write;
use std::process::ExitCode;

use doctor::{Catalogue, Page, fault};
use model::Fault;

use crate::args::Explain;
use crate::output;

pub(crate) fn run(args: &Explain) -> anyhow::Result<ExitCode> {
    let Some(id) = &args.id else {
        output::print(list().as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    };
    match page(id) {
        Some(text) => {
            output::print(text.as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        None => {
            let meant = nearest(id).map(|name| format!("did you mean '{name}'? ")).unwrap_or_default();
            anyhow::bail!(
                "'{id}' is neither a cause nor a fault nor a rule: {meant}'clearway explain --list' lists all names"
            );
        }
    }
}

fn page(id: &str) -> Option<String> {
    if let Some(page) = Catalogue::causes().get(id).or_else(|| Catalogue::lints().get(id)) {
        return Some(page.manual.clone());
    }
    Fault::ALL.iter().find(|fault| fault.id() == id).map(|fault| fault::explain(*fault))
}

fn list() -> String {
    let mut text = String::new();
    let mut section = |heading: &str, entries: Vec<(String, String)>| {
        if entries.is_empty() {
            return;
        }
        let width = entries.iter().map(|(id, _)| id.len()).max().unwrap_or(0);
        let _ = writeln!(text, "{}{heading}", if text.is_empty() { "" } else { "\n" });
        for (id, title) in entries {
            let _ = writeln!(text, "  {id:width$}  {title}");
        }
    };
    let entry = |page: &Page| (page.id.clone(), page.title.clone());
    let mut families: Vec<&str> = Catalogue::causes().pages().map(|page| page.family.as_str()).collect();
    families.sort_unstable();
    families.dedup();
    for family in families {
        let pages = Catalogue::causes().pages().filter(|page| page.family == family).map(entry).collect();
        section(&format!("Causes: {family}"), pages);
    }
    let first_sentence = |fault: &Fault| {
        let page = fault::page(*fault);
        let text = page.split("\n\n").nth(1).unwrap_or_default().replace('\n', " ");
        text.split_once(". ").map_or(text.clone(), |(first, _)| format!("{first}."))
    };
    section(
        "Faults",
        Fault::ALL.iter().map(|fault| (fault.id().to_owned(), first_sentence(fault))).collect(),
    );
    section("Rules of 'clearway check'", Catalogue::lints().pages().map(entry).collect());
    text
}

/// The name that was most likely meant.
fn nearest(id: &str) -> Option<&'static str> {
    let causes = Catalogue::causes().pages().chain(Catalogue::lints().pages()).map(|page| page.id.as_str());
    config::nearest(id, causes.chain(Fault::ALL.iter().map(|fault| fault.id())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_found_by_their_names() {
        assert!(page("early-close").is_some_and(|text| text.starts_with("# early-close\n")));
        assert!(page("upstream-not-running").is_some_and(|text| text.contains("## Fix")));
        assert_eq!(page("nothing-such"), None);
        assert!(list().contains("\n  early-close "));
    }

    #[test]
    fn who_mistypes_a_name_is_told_the_nearest() {
        assert_eq!(nearest("upstream-not-runing"), Some("upstream-not-running"));
        assert_eq!(nearest("zzzzzzzz"), None);
    }
}
