//! Fences of a page to evidence, as `probe` reads the same text on a machine.

use doctor::{Fence, Page};
use model::Evidence;

pub(crate) fn evidence(page: &Page, fences: &[Fence]) -> Vec<Evidence> {
    fences.iter().flat_map(|fence| read(page, fence)).collect()
}

fn read(page: &Page, fence: &Fence) -> Vec<Evidence> {
    match fence.format.as_str() {
        "evidence" => fence
            .text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(|line| line.parse().unwrap_or_else(|error| panic!("{}: {error}: {line}", page.id)))
            .collect(),
        format => panic!("{}: the fence '{format}' has no reader", page.id),
    }
}
