//! Lists the pages below `src/causes` and `src/lints`, so that a new page is a new file and nothing else.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or(io::ErrorKind::NotFound)?);
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?);
    let mut text = String::new();
    for (name, folder) in [("CAUSES", "src/causes"), ("LINTS", "src/lints")] {
        let folder = root.join(folder);
        println!("cargo::rerun-if-changed={}", folder.display());
        let mut pages = Vec::new();
        collect(&folder, &mut pages)?;
        pages.sort();
        let _ = writeln!(
            text,
            "/// Path below its folder, and text.\npub(crate) const {name}: &[(&str, &str)] = &["
        );
        for page in &pages {
            println!("cargo::rerun-if-changed={}", page.display());
            let short = page.strip_prefix(&folder).unwrap_or(page).display().to_string();
            let _ = writeln!(text, "    ({short:?}, include_str!({:?})),", page.display().to_string());
        }
        text.push_str("];\n");
    }
    fs::write(out.join("pages.rs"), text)
}

fn collect(folder: &Path, pages: &mut Vec<PathBuf>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            println!("cargo::rerun-if-changed={}", path.display());
            collect(&path, pages)?;
        } else if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
    Ok(())
}
