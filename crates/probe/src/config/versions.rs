//! Versions of products that configurations tell: pinned packages, tags of images.

use std::sync::Arc;

use super::{Format, Origin, Software, Source};

/// Packages whose version decides what a setting means.
const PACKAGES: &[&str] =
    &["daphne", "gunicorn", "hypercorn", "redis", "uvicorn", "uvicorn-worker", "uwsgi", "pyuwsgi"];

/// Images that are named after the product in them.
const IMAGES: &[(&str, &str)] = &[
    ("caddy", "caddy"),
    ("envoy", "envoy"),
    ("haproxy", "haproxy"),
    ("httpd", "apache"),
    ("nginx", "nginx"),
    ("traefik", "traefik"),
];

/// Versions that a source tells.
pub(super) fn of_source(source: &Source) -> Vec<Software> {
    match source.format.or_else(|| Format::of(&source.path, &source.text)) {
        Some(Format::Requirements) => requirements(source),
        Some(Format::Compose | Format::Dockerfile | Format::Kubernetes) => images(source),
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

/// Images of proxies, whose tag is the version of the product: `image: nginx:1.27.2-alpine`, `FROM haproxy:3.0.5`. A tag that moves
/// (`1.27`, `latest`) is no version.
fn images(source: &Source) -> Vec<Software> {
    let path: Arc<str> = Arc::from(source.path.as_str());
    let line = |(index, line): (usize, &str)| {
        let mut words = line.split_whitespace().skip_while(|word| *word == "-");
        if !matches!(words.next(), Some("image:" | "FROM")) {
            return None;
        }
        let image = words.next()?.trim_matches(['"', '\'']);
        let (name, tag) = image.rsplit('/').next()?.split_once(':')?;
        let product = IMAGES.iter().find(|(known, _)| *known == name).map(|(_, product)| *product)?;
        let version: String =
            tag.trim_start_matches('v').chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
        (version.matches('.').count() >= 2).then(|| Software {
            product: product.to_owned(),
            version,
            origin: Origin::new(&path, index + 1, line),
        })
    };
    source.text.lines().enumerate().filter_map(line).collect()
}
