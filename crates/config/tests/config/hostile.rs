//! Whatever the text, the answer is a gateway or a list of problems.

use proptest::prelude::*;

use super::{Outside, build};

/// What configurations are made of, so that more than the first character is looked at.
const WORDS: &[&str] = &[
    "services",
    "routes",
    "upstreams",
    "name",
    "to",
    "paths",
    "listeners",
    "address",
    "timeouts",
    "headers",
    ":",
    ": ",
    "- ",
    "\n",
    "\n  ",
    "\n    ",
    "[",
    "]",
    "{",
    "}",
    ",",
    "\"",
    "'",
    "&a ",
    "*a",
    "|",
    ">",
    "#",
    "---\n",
    "!x ",
    "<<",
    "~ ",
    "/x/*",
    "/{id}",
    "http://a:1",
    "unix:",
    "0.0.0.0:0",
    "${env:X}",
    "${",
    "$${",
    "${file:a}",
    "30s",
    "1MiB",
    "x",
    "null",
    "\t",
    "\u{feff}",
    "\u{0}",
    "é",
    "policies",
    "api-key",
    "consumers",
    "api-keys",
    "error-pages",
    "502",
    "? ",
];

fn answers(text: &str) {
    match build(text, &Outside::usual()) {
        Ok(checked) => assert!(!checked.gateway.listeners.is_empty()),
        Err(problems) => {
            assert!(problems.errors() > 0);
            assert!(!problems.to_string().contains("0123456789abcdef"));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        answers(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_words(words in proptest::collection::vec(proptest::sample::select(WORDS), 0..64)) {
        answers(&words.concat());
    }

    #[test]
    fn any_value_of_any_scalar(value in "\\PC{0,24}") {
        let quoted = format!("{value:?}");
        answers(&format!(
            "listeners: [{{ address: {quoted}, timeouts: {{ keep-alive: {quoted} }}, limits: {{ head: {quoted} }} }}]\n\
             trusted-proxies: [{quoted}]\ngrace: {quoted}\nworkers: {quoted}\nadmin: {quoted}\n\
             services: [{{ name: {quoted}, to: {quoted}, routes: [{{ hosts: [{quoted}], paths: [{quoted}], methods: [{quoted}], \
             strip-prefix: {quoted}, host: {quoted}, headers: {{ {quoted}: {quoted} }} }}, {{ paths: [{quoted}], rewrite: {quoted} }}] }}]\n"
        ));
    }
}

#[test]
fn deep_and_long_texts_are_answered_at_once() {
    answers(&"[".repeat(100_000));
    answers(&"{a: ".repeat(100_000));
    answers(&"- ".repeat(100_000));
    answers(&"a:\n ".repeat(100_000));
    answers(&format!("services: [{}]", "x,".repeat(100_000)));
    answers(&"${env:X}".repeat(50_000));
}
