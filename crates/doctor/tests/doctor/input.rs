//! Fences of a page to evidence, as `probe` reads the same text on a machine.

use doctor::{Fence, Page};
use model::Evidence;
use probe::config::{self, Given, Origin, Software, Source};
use probe::parse::{self, Lines};

/// The present of logs that tell no year.
const NOW: &str = "2026-11-23T12:00:00Z";

pub(crate) fn evidence(page: &Page, fences: &[Fence]) -> Vec<Evidence> {
    let mut sources = Vec::new();
    let mut evidence = Vec::new();
    for fence in fences {
        if let Ok(format) = fence.format.parse::<parse::Format>() {
            let now = NOW.parse().ok();
            evidence.extend(parse::read(
                format,
                &Lines { now, boot: now, ..Lines::of(&fence.path, &fence.text) },
            ));
        } else if let Some(format) = config::Format::from_name(&fence.format) {
            sources.push(Source { path: fence.path.clone(), text: fence.text.clone(), format: Some(format) });
        } else {
            assert_eq!(fence.format, "evidence", "{}: the fence has no reader", page.id);
            evidence.extend(lines(page, fence));
        }
    }
    // All of them at once: a proxy and the server behind it are joined by their addresses.
    if !sources.is_empty() {
        let given = Given::new(sources.iter().map(|source| (source.path.clone(), source.text.clone())));
        let software: Vec<Software> = evidence.iter().filter_map(software).collect();
        evidence.extend(config::read_sources(&sources, &given, &software).evidence);
    }
    evidence
}

/// A version that a page tells decides what the defaults are.
fn software(evidence: &Evidence) -> Option<Software> {
    let of = |name: &str| evidence.get(name).map(str::to_owned);
    let origin = Origin::default();
    (evidence.kind == "software").then_some(())?;
    Some(Software { product: of("product")?, version: of("version")?, origin })
}

fn lines<'a>(page: &'a Page, fence: &'a Fence) -> impl Iterator<Item = Evidence> + 'a {
    let written = fence.text.lines().filter(|line| !line.trim().is_empty());
    written.map(|line| line.parse().unwrap_or_else(|error| panic!("{}: {error}: {line}", page.id)))
}
