//! Who may know whom: the edges between our crates and the crates only some of ours may name.
//!
//! Reads manifests line by line, as our manifests are written; it is no TOML parser. Edges of tests are free.

use super::{File, Offence};

/// Imports run downwards: a crate may depend on crates of lower rows only.
const LAYERS: &[&[&str]] = &[
    &["model"],
    &["wire", "store", "probe", "doctor", "incident"],
    &["ai"],
    // It knows the catalogue of providers.
    &["config"],
    &["upstream", "policy"],
    &["proxy", "admin"],
    &["clearway"],
];

/// Edges that run downwards and are wrong all the same, with the reason.
const FORBIDDEN: &[(&str, &str, &str)] = &[
    ("admin", "wire", "the management API is served by axum"),
    ("policy", "store", "a policy never reads a database while a request waits"),
    ("proxy", "config", "the data plane is handed checked parts and parses nothing"),
    ("doctor", "probe", "what is seen and what it means are apart; tests of pages bring them together"),
    ("probe", "doctor", "an observation knows no cause"),
    ("proxy", "doctor", "the data plane records what happened; it does not explain it"),
    ("proxy", "store", "a record never delays a request"),
    ("upstream", "config", "the HTTP client is handed checked parts and parses nothing"),
    ("upstream", "store", "the HTTP client keeps nothing"),
];

/// Crates of others that only some of ours may name.
const RESERVED: &[(&str, &[&str], &str)] = &[
    ("anyhow", &["clearway", "xtask"], "a library has one error enum per boundary"),
    ("clap", &["clearway"], "only the binary has a command line"),
    ("rusqlite", &["store"], "only the store names the database"),
    (
        "rustls",
        &["probe", "proxy", "testkit", "upstream"],
        "TLS is named in the listener, the dialler and the TLS probe only",
    ),
    ("saphyr-parser", &["config", "probe"], "config reads our YAML, probe that of others"),
    ("sqlx", &["store"], "only the store names the database"),
    ("tokio-rustls", &["proxy", "testkit", "upstream"], "TLS is named in the listener and the dialler only"),
];

/// Crates that do no I/O and read no clock.
const PURE: &[&str] = &["ai", "config", "doctor", "incident", "model", "wire"];
const IMPURE: &[&str] = &["axum", "hickory-resolver", "mio", "reqwest", "socket2", "sqlx", "tokio"];

pub(super) fn check(files: &[File], offences: &mut Vec<Offence>) {
    for file in files {
        let Some(name) = package(&file.path) else { continue };
        for dependency in dependencies(&file.text) {
            let mut offend = |message: String| {
                let subject = format!("{}::{}", file.path, dependency.name);
                offences.push(Offence { rule: "dependency", subject, measure: None, message });
            };
            if !dependency.from_workspace {
                offend("write 'workspace = true': all versions stand in the root manifest".to_owned());
            }
            if let (false, Some(reason)) = (dependency.for_tests, wrong_edge(name, &dependency.name)) {
                offend(reason);
            }
        }
    }
}

/// The crate whose manifest stands at `path`.
fn package(path: &str) -> Option<&str> {
    let folder = path.strip_suffix("/Cargo.toml")?;
    let name = folder.strip_prefix("crates/").unwrap_or(folder);
    (name == "xtask" || name != folder).then_some(name)
}

/// Why `from` must not depend on `to`, if it must not.
fn wrong_edge(from: &str, to: &str) -> Option<String> {
    if let Some((_, allowed, reason)) = RESERVED.iter().find(|(name, ..)| *name == to)
        && !allowed.contains(&from)
    {
        return Some(format!("only {} may depend on it: {reason}", allowed.join(", ")));
    }
    if PURE.contains(&from) && IMPURE.contains(&to) {
        return Some(format!("'{from}' does no I/O and reads no clock"));
    }
    if to == "xtask" || (to == "testkit" && from != "xtask") {
        return Some("only tests may depend on it".to_owned());
    }
    if let Some((.., reason)) = FORBIDDEN.iter().find(|(a, b, _)| (*a, *b) == (from, to)) {
        return Some((*reason).to_owned());
    }
    match (layer(from), layer(to)) {
        (_, None) => None,
        // The test kit must not share the bugs of what it tests.
        (None, Some(_)) if from == "testkit" && to != "model" => {
            Some("the test kit must not know the crates under test".to_owned())
        }
        (None, Some(_)) => None,
        (Some(from), Some(to)) if to < from => None,
        (Some(_), Some(_)) => Some("imports run downwards; the layers stand in ARCHITECTURE.md".to_owned()),
    }
}

fn layer(name: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&name))
}

struct Dependency {
    name: String,
    for_tests: bool,
    from_workspace: bool,
}

fn dependencies(manifest: &str) -> Vec<Dependency> {
    let mut found: Vec<Dependency> = Vec::new();
    let mut for_tests = None;
    for line in manifest.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            for_tests = section(header.trim_end_matches(']'));
            continue;
        }
        let (Some(for_tests), Some((key, value))) = (for_tests, line.split_once('=')) else { continue };
        let key = key.trim();
        if key.starts_with('#') {
            continue;
        }
        let (name, field) = key.split_once('.').unwrap_or((key, ""));
        let from_workspace =
            (field == "workspace" && value.trim() == "true") || value.contains("workspace = true");
        found.push(Dependency { name: name.trim_matches('"').to_owned(), for_tests, from_workspace });
    }
    found
}

/// Whether the section lists dependencies, and if so whether only tests have them.
fn section(header: &str) -> Option<bool> {
    let last = header.rsplit('.').next().unwrap_or(header);
    match last {
        "dependencies" | "build-dependencies" => Some(false),
        "dev-dependencies" => Some(true),
        _ => None,
    }
}
