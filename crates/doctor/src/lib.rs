//! From evidence to ranked causes, and to the evidence that would tell more. Pure: no files, no network, no clock.
//!
//! ```
//! use doctor::{Catalogue, diagnose};
//!
//! let page = "# refused\n\nNothing listens.\n\n- shown: constructed\n\n```rule\nsummary nothing listens on {upstream}\n\
//!     symptom 0.4 failure how=refused upstream=$upstream\n\
//!     decisive 0.8 target addr=$upstream listening=no\nfix start it\n```\n";
//! let catalogue = Catalogue::read(&[("process/refused.md", page)]).unwrap();
//! let evidence = [
//!     "failure how=refused upstream=127.0.0.1:8000 source=nginx".parse().unwrap(),
//!     "target addr=127.0.0.1:8000 listening=no source=sockets".parse().unwrap(),
//! ];
//! let diagnosis = diagnose(&catalogue, &evidence, None);
//! assert_eq!(diagnosis.findings[0].summary, "nothing listens on 127.0.0.1:8000");
//! ```

mod catalogue;
mod clause;
mod diagnose;
pub mod fault;
mod hypothesis;
mod lint;
mod page;
pub mod report;
mod rule;

pub use catalogue::{Catalogue, CatalogueError};
pub use clause::{Clause, Comparison, Condition, Operand, Test};
pub use diagnose::{Diagnosis, diagnose};
pub use lint::{lint, place, reference};
pub use page::{Fence, Page};
pub use rule::{Remedy, Role, Rule, Statement};
