//! Configurations of other products in, settings at their places out: every folder below `fixtures/config` is a set of files with
//! what is read of it in `expected.txt`, so that a new set is only a folder. `UPDATE_EXPECT=1` writes what is read.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use probe::config::{Configuration, Given, Origin, Software, Source, read_sources};

#[test]
fn sets_of_configurations_are_read() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/config");
    let mut differing = Vec::new();
    for set in sets(&root) {
        let shown = shown(&read(&set));
        let expected = set.join("expected.txt");
        let known = fs::read_to_string(&expected).unwrap_or_default();
        if shown != known {
            if std::env::var_os("UPDATE_EXPECT").is_some() {
                fs::write(&expected, &shown).unwrap();
            } else {
                differing.push(format!("{}:\n{}", set.display(), difference(&known, &shown)));
            }
        }
    }
    assert!(differing.is_empty(), "{}\nUPDATE_EXPECT=1 writes what is read", differing.join("\n"));
}

/// Product, then case.
fn sets(root: &Path) -> Vec<PathBuf> {
    let folders = |path: &Path| -> Vec<PathBuf> {
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect()
    };
    let mut all: Vec<PathBuf> = folders(root).iter().flat_map(|product| folders(product)).collect();
    all.sort();
    all
}

/// Every file of the folder but what is expected; `software.txt` has a product and its version on each line.
fn read(set: &Path) -> Configuration {
    let mut files: Vec<(String, String)> = Vec::new();
    let mut software = Vec::new();
    let mut folders = vec![set.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(set).unwrap().to_str().unwrap().to_owned();
            let text = fs::read_to_string(&path).unwrap();
            match name.as_str() {
                "expected.txt" => {}
                "software.txt" => {
                    software.extend(text.lines().filter_map(|line| line.split_once(' ')).map(
                        |(product, version)| {
                            let origin = Origin::default();
                            Software { product: product.to_owned(), version: version.to_owned(), origin }
                        },
                    ));
                }
                _ => files.push((name, text)),
            }
        }
    }
    files.sort();
    let source =
        |(path, text): &(String, String)| Source { path: path.clone(), text: text.clone(), format: None };
    let sources: Vec<Source> = files.iter().map(source).collect();
    read_sources(&sources, &Given::new(files), &software)
}

fn shown(configuration: &Configuration) -> String {
    let mut out = String::new();
    for problem in &configuration.problems {
        let kind = if problem.fatal { "problem" } else { "unseen" };
        writeln!(out, "{kind} {}:{}: {}", problem.path, problem.line, problem.message).unwrap();
    }
    for path in &configuration.unknown {
        writeln!(out, "unknown {path}").unwrap();
    }
    for site in &configuration.sites {
        let listens: Vec<&str> = site.listens.iter().map(|listen| listen.address.as_str()).collect();
        writeln!(out, "site {} listens {listens:?} names {:?}", site.product, site.names).unwrap();
        for route in &site.routes {
            let targets: Vec<&str> = route.targets.iter().map(|target| target.written.as_str()).collect();
            let group = route.group.as_deref().unwrap_or("-");
            writeln!(out, "  {:?} {} -> {} {group} {targets:?}", route.matching, route.path, route.scheme)
                .unwrap();
        }
    }
    for server in &configuration.servers {
        let binds: Vec<&str> = server.binds.iter().map(|bind| bind.address.as_str()).collect();
        let app = server.app.as_deref().unwrap_or("-");
        writeln!(out, "server {} binds {binds:?} app {app} hosts {:?}", server.product, server.hosts)
            .unwrap();
    }
    for evidence in &configuration.evidence {
        let line = evidence.to_string();
        let line = line.replace(" source=configuration", "").replace("setting product=", "setting ");
        writeln!(out, "{line}").unwrap();
    }
    out
}

/// The lines that only one of the two has.
fn difference(known: &str, shown: &str) -> String {
    let only = |of: &str, other: &str, sign: &str| -> String {
        let others: Vec<&str> = other.lines().collect();
        of.lines().filter(|line| !others.contains(line)).map(|line| format!("{sign} {line}\n")).collect()
    };
    only(known, shown, "-") + &only(shown, known, "+")
}
