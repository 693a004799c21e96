//! The chores behind `cargo xtask`, as a library so that `tests/` can hold them to their word.
//!
//! Nothing here is part of the product, and nothing in the product may depend on it.

pub mod battery;
pub mod bench;
pub mod ci;
pub mod generate;
pub mod lab;
pub mod models;
pub mod tidy;

mod process;
mod programs;
mod usage;

use std::io::Write;
use std::path::{Path, PathBuf};

/// The root of the repository: the parent of this package.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a package must have a parent directory").to_owned()
}

/// Prints a line for the person at the terminal. A closed terminal is no reason to fail.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
