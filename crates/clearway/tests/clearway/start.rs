//! Start and stop: what is said, and what is left behind.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::process::{Running, clearway, get, text};

const LISTEN: [&str; 2] = ["--listen", "127.0.0.1:0"];

#[test]
fn with_nothing_configured_it_says_what_to_do_and_answers_404() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), &LISTEN);
    assert!(running.said.contains("clearway up --to http://127.0.0.1:8000"), "{}", running.said);
    assert!(running.said.contains("admin token, shown only this once: cw_admin_"), "{}", running.said);
    assert!(get(&running.address("listening on http://"), "/").starts_with("HTTP/1.1 404 "));
    assert!(get(&running.address("management on http://"), "/readyz").starts_with("HTTP/1.1 200 "));
    running.signal(libc::SIGTERM);
    assert_eq!(running.wait(), Some(0));
    assert!(!folder.path().join("clearway-data/control.sock").exists());
    // The database is complete in its one file: a copy of it is a backup.
    let log = fs::metadata(folder.path().join("clearway-data/clearway.db-wal"));
    assert!(log.is_err() || log.is_ok_and(|log| log.len() == 0));

    let again = Running::start(folder.path(), &LISTEN);
    assert!(!again.said.contains("admin token"), "the token is shown only once: {}", again.said);
}

#[test]
fn the_file_of_the_working_directory_is_read_when_nothing_else_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("clearway.yaml"),
        "services: [{ name: shop, to: \"http://127.0.0.1:9\" }]\n",
    )
    .unwrap();
    let running = Running::start(folder.path(), &LISTEN);
    assert!(running.said.contains("with clearway.yaml\n"), "{}", running.said);
    assert!(running.said.contains("serving shop from http://127.0.0.1:9\n"), "{}", running.said);
    drop(running);
    let running = Running::start(folder.path(), &["--to", "http://127.0.0.1:10", "--listen", "127.0.0.1:0"]);
    assert!(running.said.contains("serving default from http://127.0.0.1:10\n"), "{}", running.said);
}

#[test]
fn a_start_that_fails_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let output = clearway(folder.path(), &["up", "--listen", "unix:in.sock", "--admin", &taken]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains(&taken) && said.contains("--admin"), "{said}");
    for left in ["in.sock", "clearway-data/control.sock"] {
        assert!(!folder.path().join(left).exists(), "{left} is left");
    }
    // Nor was the admin token made, which nobody has seen.
    let running = Running::start(folder.path(), &LISTEN);
    assert!(running.said.contains("admin token, shown only this once"), "{}", running.said);
}

#[test]
fn a_bad_certificate_is_one_clear_message() {
    let folder = tempfile::tempdir().unwrap();
    let pem = |kind: &str| format!("-----BEGIN {kind}-----\nAAAA\n-----END {kind}-----\n");
    fs::write(folder.path().join("cert.pem"), pem("CERTIFICATE")).unwrap();
    fs::write(folder.path().join("key.pem"), pem("PRIVATE KEY")).unwrap();
    let listener =
        "{ address: \"127.0.0.1:0\", tls: { certificates: [{ certificate: cert.pem, key: key.pem }] } }";
    fs::write(folder.path().join("clearway.yaml"), format!("listeners: [{listener}]\n")).unwrap();
    let output = clearway(folder.path(), &["up", "--admin", "127.0.0.1:0"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cert.pem") && !said.contains("panicked"), "{said}");
}

#[test]
fn the_control_socket_is_private_and_works_behind_a_long_path() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("d".repeat(120));
    let data = data.to_str().unwrap();
    let running = Running::start(
        folder.path(),
        &["--to", "http://127.0.0.1:9", "--listen", "127.0.0.1:0", "--data", data],
    );
    let socket = Path::new(data).join("control.sock");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let output = clearway(folder.path(), &["routes", "--data", data]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("http://127.0.0.1:9"), "{}", text(&output.stdout));
    drop(running);
    // Killed: the socket is there and nobody answers.
    assert!(socket.exists());
    let output = clearway(folder.path(), &["routes", "--data", data]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("no clearway process answers"), "{}", text(&output.stderr));
    assert_eq!(clearway(folder.path(), &["calls", "--data", data]).status.code(), Some(0));
}

#[test]
fn what_a_reload_cannot_change_is_told_and_a_new_log_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("clearway.yaml");
    fs::write(&file, "workers: 1\n").unwrap();
    let mut running = Running::start(folder.path(), &LISTEN);
    fs::write(&file, "workers: 2\nlog: { format: json, file: access.log }\n").unwrap();
    running.signal(libc::SIGHUP);
    let said = running.wait_for("the configuration was read again");
    assert!(said.contains("warn: a change of workers takes effect at the next start"), "{said}");
    assert!(get(&running.address("listening on http://"), "/seen").starts_with("HTTP/1.1 404 "));
    running.signal(libc::SIGTERM);
    assert_eq!(running.wait(), Some(0));
    let log = fs::read_to_string(folder.path().join("access.log")).unwrap();
    assert!(log.starts_with("{\"time\":") && log.contains("\"path\":\"/seen\""), "{log}");
}
