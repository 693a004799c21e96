//! Each rule of tidy: what it accepts and what it reports.

use xtask::generate::Generated;
use xtask::tidy::{self, File, Offence};

#[test]
fn this_checkout_is_tidy() {
    if let Err(error) = tidy::run(&xtask::root()) {
        panic!("{error}");
    }
}

fn offences(path: &str, text: &str) -> Vec<String> {
    let files = [File { path: path.to_owned(), text: text.to_owned() }];
    tidy::check(&files, &[])
        .iter()
        .map(|offence: &Offence| format!("{} {}", offence.rule, offence.subject))
        .collect()
}

#[track_caller]
fn check(path: &str, text: &str, expect: &[&str]) {
    assert_eq!(offences(path, text), expect, "{path}");
}

#[test]
fn files_begin_with_their_purpose_and_have_telling_names() {
    check("crates/wire/src/head.rs", "//! Heads.\n", &[]);
    check("crates/wire/src/head.rs", "\n//! Heads.\n", &["module-doc crates/wire/src/head.rs"]);
    check("crates/wire/src/head/mod.rs", "//! Heads.\n", &["no-mod-rs crates/wire/src/head/mod.rs"]);
    check("crates/wire/src/utils.rs", "//! Things.\n", &["empty-name crates/wire/src/utils.rs"]);
    check("tests/e2e/common/x.py", "", &["empty-name tests/e2e/common/x.py"]);
    check("crates/wire/src/commonly.rs", "//! A real word.\n", &[]);
}

#[test]
fn a_crate_has_one_test_binary() {
    check("crates/wire/tests/wire.rs", "//! Tests.\n", &[]);
    check("crates/wire/tests/wire/head.rs", "//! Tests.\n", &[]);
    check("crates/wire/tests/head.rs", "//! Tests.\n", &["one-test-binary crates/wire/tests/head.rs"]);
}

#[test]
fn sizes_are_limited() {
    let file = |lines: usize| format!("//! Long.\n{}", "x;\n".repeat(lines - 1));
    check("crates/wire/src/a.rs", &file(800), &[]);
    check("crates/wire/src/a.rs", &file(801), &["file-lines crates/wire/src/a.rs"]);
    let function = |lines: usize| format!("//! Long.\nfn f() {{\n{}}}\n", "    x;\n".repeat(lines));
    check("crates/wire/src/a.rs", &function(70), &[]);
    check("crates/wire/src/a.rs", &function(71), &["function-lines crates/wire/src/a.rs::f"]);
    let big: Vec<File> = (0..32)
        .map(|n| File {
            path: format!("crates/wire/src/a{n}.rs"),
            text: file(if n == 31 { 201 } else { 800 }),
        })
        .collect();
    let found: Vec<String> = tidy::check(&big, &[]).into_iter().map(|offence| offence.subject).collect();
    assert_eq!(found, ["crates/wire"]);
}

#[test]
fn imports_run_downwards() {
    let manifest = |dependency: &str| format!("[package]\nname = \"x\"\n\n[dependencies]\n{dependency}\n");
    let edge = |from: &str, to: &str, allowed: bool| {
        let path = format!("crates/{from}/Cargo.toml");
        let expect = if allowed { vec![] } else { vec![format!("dependency {path}::{to}")] };
        assert_eq!(offences(&path, &manifest(&format!("{to}.workspace = true"))), expect, "{from} -> {to}");
        let with_features = manifest(&format!("{to} = {{ workspace = true, features = [\"a\"] }}"));
        assert_eq!(offences(&path, &with_features), expect, "{from} -> {to} with features");
    };
    edge("wire", "model", true);
    edge("proxy", "upstream", true);
    edge("clearway", "store", true);
    edge("model", "wire", false);
    edge("wire", "config", false);
    edge("admin", "proxy", false);
    edge("proxy", "store", false);
    edge("proxy", "config", false);
    edge("wire", "tokio", false);
    edge("upstream", "tokio", true);
    edge("proxy", "sqlx", false);
    edge("config", "anyhow", false);
    edge("testkit", "proxy", false);
    edge("proxy", "testkit", false);
    edge("xtask", "config", true);
}

#[test]
fn tests_may_import_what_they_need_and_versions_stand_in_the_root() {
    let path = "crates/proxy/Cargo.toml";
    check(path, "[dev-dependencies]\ntestkit.workspace = true\n", &[]);
    check(path, "[dependencies]\nbytes = \"1\"\n", &["dependency crates/proxy/Cargo.toml::bytes"]);
    check(path, "[lints]\nworkspace = true\n", &[]);
}

#[test]
fn notes_name_an_issue_and_paths_exist_elsewhere_too() {
    let note = concat!("TO", "DO");
    check("a.py", &format!("# {note}(#12): later\n"), &[]);
    check("a.py", &format!("# {note}: later\n"), &["note a.py:1"]);
    check("a.rs", &format!("//! A.\n// {note} later\n"), &["note a.rs:2"]);
    check("a.rs", &format!("//! A.\nconst A: &str = \"{note}\";\n"), &[]);
    check("a.sh", concat!("# FIX", "ME\n"), &["note a.sh:1"]);
    check("a.md", concat!("see /", "work/x\n"), &["machine-path a.md:1"]);
}

#[test]
fn what_is_written_for_people_is_true() {
    let yaml = |text: &str| File { path: "examples/a/clearway.yaml".to_owned(), text: text.to_owned() };
    let good = "services:\n  - name: shop\n    to: http://127.0.0.1:8000\n";
    let check = |file: File, expect: &[&str]| {
        let generated = [Generated { path: "docs/a.md", text: "new".to_owned() }];
        let docs = File { path: "docs/a.md".to_owned(), text: "new".to_owned() };
        let found = tidy::check(&[file, docs], &generated);
        let found: Vec<&str> = found.iter().map(|offence| offence.rule).collect();
        assert_eq!(found, expect);
    };
    check(yaml(good), &[]);
    check(yaml("servces: []\n"), &["example"]);
    check(yaml(&good.replace("8000", "${env:PORT}")), &["example"]);
    let old = [File { path: "docs/a.md".to_owned(), text: "old".to_owned() }];
    let generated = [Generated { path: "docs/a.md", text: "new".to_owned() }];
    let found = tidy::check(&old, &generated);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].to_string(), "generated: docs/a.md: is not current: run 'cargo xtask generate'");
}

#[test]
fn the_list_of_offenders_may_only_shrink() {
    let folder = std::env::temp_dir().join(format!("clearway-tidy-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("xtask")).unwrap();
    let outcome = |list: &str, code: &str| {
        std::fs::write(folder.join("xtask/offenders.txt"), list).unwrap();
        std::fs::write(folder.join("a.rs"), code).unwrap();
        tidy::judge(&tidy::read(&folder).unwrap(), &[]).map_err(|error| error.to_string())
    };
    let long = format!("//! Long.\n{}", "x;\n".repeat(900));
    let unlisted = outcome("", &long);
    let listed = outcome("file-lines a.rs 901 # split it\n", &long);
    let grown = outcome("file-lines a.rs 850\n", &long);
    let shrunk = outcome("file-lines a.rs 950\n", &long);
    let gone = outcome("file-lines a.rs 901\n", "//! Short.\n");
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(unlisted.unwrap_err().contains("file-lines: a.rs: has 901 lines, at most 800"));
    listed.unwrap();
    assert!(grown.unwrap_err().contains("file-lines: a.rs: has 901 lines"));
    assert!(shrunk.unwrap_err().contains("is down to 901: lower the number"));
    assert!(gone.unwrap_err().contains("no longer offends: remove this line"));
}
