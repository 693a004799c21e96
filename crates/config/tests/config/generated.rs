//! The generated files are those that the declarations give, and are well formed.

use std::fs;
use std::path::PathBuf;

fn check_current(name: &str, expected: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, expected).expect("docs must be writable");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "docs/{name} is not current: run `cargo xtask generate`");
}

#[test]
fn the_schema_is_current() {
    check_current("clearway.schema.json", &config::schema());
}

#[test]
fn the_reference_page_is_current() {
    check_current("configuration.md", &config::reference());
}

#[test]
fn every_reference_of_the_schema_leads_somewhere() {
    let text = config::schema();
    let schema: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut count = 0;
    for reference in text.split("\"#/$defs/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(schema["$defs"][name]["properties"].is_object(), "{name}");
        count += 1;
    }
    assert!(count > 10);
}

#[test]
fn every_link_of_the_reference_page_leads_somewhere() {
    let page = config::reference();
    for link in page.split("](#").skip(1) {
        let anchor = link.split(')').next().unwrap();
        assert!(page.contains(&format!("<a id=\"{anchor}\"></a>")), "{anchor}");
    }
}
