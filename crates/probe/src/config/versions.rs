//! Versions of products that configurations tell: pinned packages, tags of images.

use std::sync::Arc;

use super::{Format, Origin, Software, Source};

/// Packages whose version decides what a setting means.
const PACKAGES: &[&str] =
    &["daphne", "gunicorn", "hypercorn", "redis", "uvicorn", "uvicorn-worker", "uwsgi", "pyuwsgi"];

/// Versions that a source tells.
pub(super) fn of_source(source: &Source) -> Vec<Software> {
    match source.format.or_else(|| Format::of(&source.path, &source.text)) {
        Some(Format::Requirements) => requirements(source),
        _ => Vec::new(),
    }
}

/// Lines like `gunicorn[gevent]==21.2.0 ; python_version > "3.8"`; a range names no version.
fn requirements(source: &Source) -> Vec<Software> {
    let path: Arc<str> = Arc::from(source.path.as_str());
    let line = |(index, line): (usize, &str)| {
        let (name, version) = line.split_once("==")?;
        let name = name.split('[').next()?.trim().to_ascii_lowercase();
        let version: String =
            version.trim().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '.').collect();
        let product = match name.as_str() {
            "pyuwsgi" => "uwsgi",
            "redis" => "redis-py",
            name => name,
        };
        (PACKAGES.contains(&name.as_str()) && !version.is_empty()).then(|| Software {
            product: product.to_owned(),
            version,
            origin: Origin::new(&path, index + 1, line),
        })
    };
    source.text.lines().enumerate().filter_map(line).collect()
}
