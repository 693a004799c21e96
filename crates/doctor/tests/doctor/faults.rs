//! Pages of faults: each says what to do, and names causes that have pages.

use doctor::{Catalogue, fault};
use model::Fault;

#[test]
fn every_fault_has_its_page() {
    for fault in Fault::ALL {
        let page = fault::page(*fault);
        assert!(page.starts_with(&format!("# {fault}\n\n")), "{fault}");
        assert_eq!(page.matches("\n## What to do\n").count(), 1, "{fault}");
        assert!(fault::explain(*fault).contains(&format!("- status: {}\n", fault.status())), "{fault}");
    }
}

#[test]
fn a_fault_of_the_upstream_names_causes() {
    let known = Catalogue::causes();
    let mut problems = Vec::new();
    for fault in Fault::ALL {
        if fault.party() == model::Party::Upstream && fault::causes(*fault).next().is_none() {
            problems.push(format!("{fault}: names no cause"));
        }
        problems.extend(
            fault::causes(*fault)
                .filter(|cause| known.get(cause).is_none())
                .map(|cause| format!("{fault}: '{cause}' has no page")),
        );
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
