//! `check` of configurations of other products: what it finds in them alone and together, in each of its forms.

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::process::{clearway, text};

const SITE: &str = "upstream shop {\n    server 127.0.0.1:8000;\n    keepalive 16;\n}\nserver {\n    location / {\n        \
    proxy_pass http://shop;\n        proxy_http_version 1.1;\n        proxy_set_header Connection \"\";\n    }\n}\n";
const SERVER: &str = "bind = \"127.0.0.1:8000\"\nworker_class = \"gthread\"\nkeepalive = 5\n";
/// A warning, and no error.
const WARNED: &str = "bind = \"127.0.0.1:8000\"\nworkers = 4\npreload_app = True\n";

fn write(folder: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output: Output = clearway(folder, &[&["check"], arguments].concat());
    (output.status.code(), format!("{}{}", text(&output.stdout), text(&output.stderr)))
}

#[test]
fn a_proxy_is_held_against_the_server_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[("etc/nginx/conf.d/shop.conf", SITE), ("srv/gunicorn.conf.py", SERVER)]);
    let said = "srv/gunicorn.conf.py:3: error: nginx sends requests over connections that were idle for up to 60 s, and \
        gunicorn closes them after 5 s\n    etc/nginx/conf.d/shop.conf:3: keepalive 16;\n    srv/gunicorn.conf.py:3: keepalive = 5\n    \
        fix: Keep idle connections in the server for longer than the 60 s of the proxy.\n    \
        srv/gunicorn.conf.py:3: keepalive = 5 \u{2192} keepalive = 75\n    rule: keep-alive-inversion\n\
        1 error and 0 warnings in 2 files\n";
    assert_eq!(run(folder.path(), &["."]), (Some(1), said.to_owned()));
    assert_eq!(run(folder.path(), &["etc", "srv"]).0, Some(1));
    // Each alone is in order.
    assert_eq!(run(folder.path(), &["etc"]), (Some(0), "nothing was found in 1 file\n".to_owned()));
    assert_eq!(run(folder.path(), &["srv/gunicorn.conf.py"]).0, Some(0));
}

#[test]
fn the_changed_line_is_a_line_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let unit = "[Service]\nRestart=always\nExecStart=/srv/venv/bin/gunicorn -k gthread \\\n    --keep-alive 5 -b 127.0.0.1:8000 \\\n    shop:app\n";
    write(folder.path(), &[("shop.conf", SITE), ("shop.service", unit)]);
    let (code, said) = run(folder.path(), &["."]);
    assert_eq!(code, Some(1));
    let line =
        "shop.service:4: --keep-alive 5 -b 127.0.0.1:8000 \\ \u{2192} --keep-alive 75 -b 127.0.0.1:8000 \\";
    assert!(said.contains(line), "{said}");
}

#[test]
fn the_exit_code_says_what_was_found() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        &[("good.conf", SITE), ("gunicorn.conf.py", WARNED), ("broken.conf", "server {\n  location / {\n")],
    );
    assert_eq!(run(folder.path(), &["good.conf"]).0, Some(0));
    assert_eq!(run(folder.path(), &["gunicorn.conf.py"]).0, Some(0));
    assert_eq!(run(folder.path(), &["gunicorn.conf.py", "--strict"]).0, Some(2));
    let (code, said) = run(folder.path(), &["broken.conf"]);
    assert_eq!(code, Some(1));
    assert!(said.starts_with("broken.conf:3: error: a '}' is missing before the end\n"), "{said}");
    for wrong in [&["absent.conf"][..], &["--version-of", "nginx", "good.conf"], &["--format", "xml"], &[]] {
        let (code, said) = run(folder.path(), wrong);
        assert_eq!(code, Some(3), "{wrong:?}: {said}");
    }
}

#[test]
fn what_is_included_is_found_beside_a_copy() {
    let folder = tempfile::tempdir().unwrap();
    let main = "events {}\nhttp {\n    include /etc/nginx/mime.types;\n    include /etc/nginx/sites-enabled/*;\n    include gone.conf;\n}\n";
    let site = "server {\n    location / {\n        proxy_pass http://app.internal:8000;\n    }\n}\n";
    write(folder.path(), &[("copy/nginx.conf", main), ("copy/sites-enabled/shop", site)]);
    let (code, said) = run(folder.path(), &["copy/nginx.conf"]);
    assert_eq!(code, Some(0));
    assert!(said.contains("copy/nginx.conf:5: note: 'gone.conf' is included and was not found\n"), "{said}");
    assert!(said.contains("copy/sites-enabled/shop:3: warning: nginx looks app.internal up once"), "{said}");
    // Named as a directory, the site is read where it is included, and once.
    let (_, said) = run(folder.path(), &["copy"]);
    assert_eq!(said.matches("looks app.internal up once").count(), 1, "{said}");
}

#[test]
fn versions_decide_what_holds() {
    let folder = tempfile::tempdir().unwrap();
    let site = "upstream shop {\n    server 127.0.0.1:8000;\n}\nserver {\n    location / {\n        proxy_pass http://shop;\n    }\n}\n";
    write(folder.path(), &[("shop.conf", site), ("gunicorn.conf.py", SERVER)]);
    assert_eq!(run(folder.path(), &["."]).0, Some(0));
    assert_eq!(run(folder.path(), &[".", "--version-of", "nginx=1.22.1"]).0, Some(0));
    let (code, said) = run(folder.path(), &[".", "--version-of", "nginx=1.31.5"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("rule: nginx-implicit-keep-alive"), "{said}");
}

#[test]
fn own_and_other_configurations_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        &[
            ("clearway.yaml", "services: [{ name: shop, to: \"http://127.0.0.1:8000\" }]\n"),
            ("compose.yaml", "services:\n  app:\n    image: shop\n"),
            ("values.yaml", "anything: here\n"),
            ("shop.conf", SITE),
            ("gunicorn.conf.py", SERVER),
            ("notes.txt", "nothing of interest"),
        ],
    );
    let (code, said) = run(folder.path(), &["."]);
    assert_eq!(code, Some(1));
    assert!(said.starts_with("the configuration is good: 1 listener, 1 service"), "{said}");
    assert!(said.contains("rule: keep-alive-inversion"), "{said}");
    let last = "1 error and 0 warnings in 4 files (2 files of the directories were passed over: no format that is known)\n";
    assert!(said.ends_with(last), "{said}");
    let (code, said) = run(folder.path(), &["clearway.yaml"]);
    assert_eq!((code, said.lines().count()), (Some(0), 1), "{said}");
    let (_, said) = run(folder.path(), &["--format", "json", "."]);
    let json: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(json["errors"], 1);
}

#[test]
fn problems_of_our_own_files_have_every_form() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[("clearway.yaml", "servces: []\n")]);
    let (code, said) = run(folder.path(), &["--format", "json"]);
    let json: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(code, Some(1));
    assert_eq!(json["findings"][0]["rule"], "clearway-configuration");
    assert_eq!(
        (&json["findings"][0]["file"], &json["findings"][0]["line"]),
        (&"clearway.yaml".into(), &1.into())
    );
}

#[test]
fn sarif_has_the_shape_of_its_schema() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[("shop.conf", SITE), ("gunicorn conf.py", SERVER), ("gunicorn.conf.py", SERVER)]);
    let (code, said) = run(folder.path(), &["--format", "sarif", "."]);
    assert_eq!(code, Some(1));
    let log: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    let results = run["results"].as_array().unwrap();
    assert!(!results.is_empty());
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
        assert!(["error", "warning", "note"].contains(&result["level"].as_str().unwrap()));
        assert!(result["message"]["text"].as_str().is_some_and(|text| !text.is_empty()));
        let place = &result["locations"][0]["physicalLocation"];
        let uri = place["artifactLocation"]["uri"].as_str().unwrap();
        assert!(!uri.contains(' ') && !uri.starts_with("./"), "{uri}");
        assert!(place["region"]["startLine"].as_u64().is_none_or(|line| line >= 1));
    }
    for rule in rules {
        assert!(
            rule["shortDescription"]["text"].is_string() && rule["defaultConfiguration"]["level"].is_string()
        );
    }
}

#[test]
fn junit_has_a_case_for_each_finding_and_each_good_file() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[("shop.conf", SITE), ("gunicorn.conf.py", SERVER)]);
    let (code, said) = run(folder.path(), &["--format", "junit", "."]);
    assert_eq!(code, Some(1));
    assert!(
        said.contains("<testsuites name=\"clearway check\" tests=\"2\" failures=\"1\" errors=\"0\">"),
        "{said}"
    );
    assert!(said.contains("<testcase classname=\"shop.conf\" name=\"configuration\"/>"), "{said}");
    assert!(
        said.contains("<testcase classname=\"gunicorn.conf.py\" name=\"keep-alive-inversion at line 3\">"),
        "{said}"
    );
    assert_eq!(said.matches("<testcase").count(), 2);
}
