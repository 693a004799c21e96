//! `cargo xtask generate`: files whose source of truth is the code, written into the checkout and committed.
//!
//! They are committed so that a reader finds them, and compared by `tidy` so that they stay true.

use std::fs;
use std::path::Path;

use anyhow::Context;

/// A generated file: its path below the root, and its text.
#[derive(Debug)]
pub struct Generated {
    pub path: &'static str,
    pub text: String,
}

/// All of them.
pub fn all() -> Vec<Generated> {
    vec![
        Generated { path: "docs/check.md", text: doctor::reference() },
        Generated { path: "docs/clearway.schema.json", text: config::schema() },
        Generated { path: "docs/configuration.md", text: config::reference() },
    ]
}

/// Writes those that differ.
pub fn run(root: &Path) -> anyhow::Result<()> {
    for generated in all() {
        let path = root.join(generated.path);
        if fs::read_to_string(&path).is_ok_and(|text| text == generated.text) {
            continue;
        }
        let folder = path.parent().expect("a generated file must lie in a folder");
        fs::create_dir_all(folder).with_context(|| format!("failed to make {}", folder.display()))?;
        fs::write(&path, &generated.text).with_context(|| format!("failed to write {}", path.display()))?;
        crate::say(&format!("generate: wrote {}", generated.path));
    }
    Ok(())
}
