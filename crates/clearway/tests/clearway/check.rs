//! What `check` finds: all that a start would refuse, and nothing on which it would hang.

use std::ffi::CString;
use std::fs;
use std::path::Path;
use std::process::Output;

use testkit::{Authority, Certificate};

use crate::process::{clearway, text};

/// `check` of this text, which `up` must refuse with the same words.
fn check(folder: &Path, text_of_file: &str) -> String {
    fs::write(folder.join("clearway.yaml"), text_of_file).unwrap();
    let said = |output: Output| {
        assert_eq!(output.status.code(), Some(1), "{text_of_file}");
        format!("{}{}", text(&output.stdout), text(&output.stderr))
    };
    let checked = said(clearway(folder, &["check"]));
    // The default port may be taken by others.
    let listen: &[&str] = if text_of_file.contains("listeners") { &[] } else { &["--listen", "127.0.0.1:0"] };
    let started = said(clearway(folder, &[&["up", "--admin", "127.0.0.1:0"], listen].concat()));
    assert!(started.contains(checked.trim()), "{started}");
    checked
}

#[test]
fn certificates_keys_and_authorities_are_tried() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let (one, other) = (authority.issue(&["one.test"]), authority.issue(&["other.test"]));
    let mixed = |one: &Certificate, other: &Certificate| {
        format!("{{ certificate: \"{}\", key: \"{}\" }}", one.certificate.display(), other.key.display())
    };
    let listener = |pair: &str| {
        format!("listeners: [{{ address: \"127.0.0.1:0\", tls: {{ certificates: [{pair}] }} }}]\n")
    };
    let upstream = |tls: &str| {
        format!(
            "upstreams: [{{ name: shop, targets: [\"https://127.0.0.1:9\"],\n  tls: {{ {tls} }} }}]\n\
             services: [{{ name: shop, upstream: shop }}]\n"
        )
    };
    let said = check(folder.path(), &listener(&mixed(&one, &other)));
    assert!(said.contains("clearway.yaml:1:") && said.contains("does not fit the key"), "{said}");
    let said = check(folder.path(), &upstream(&format!("client-certificate: {}", mixed(&one, &other))));
    assert!(said.starts_with("clearway.yaml:2:") && said.contains("does not fit the key"), "{said}");
    let broken = folder.path().join("broken.pem");
    fs::write(&broken, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    let said = check(folder.path(), &upstream("ca: broken.pem"));
    assert!(said.starts_with("clearway.yaml:2:") && said.contains("broken.pem is no authority"), "{said}");

    let good = format!(
        "{}{}",
        listener(&mixed(&one, &one)),
        upstream(&format!("ca: \"{}\"", authority.file().display()))
    );
    fs::write(folder.path().join("clearway.yaml"), good).unwrap();
    let output = clearway(folder.path(), &["check"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
}

#[test]
fn a_place_for_bodies_that_cannot_be_made_is_found() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(
        check(folder.path(), "spool: { directory: absent/bodies }\n"),
        "clearway.yaml:1:21: error: spool.directory: there is no directory `absent` for `absent/bodies`\n    \
         hint: make it with `mkdir -p absent`; a relative path is relative to the file that names it\n"
    );
    fs::write(folder.path().join("clearway.yaml"), "spool: { directory: bodies }\n").unwrap();
    assert_eq!(clearway(folder.path(), &["check"]).status.code(), Some(0));
}

#[test]
fn a_log_that_cannot_be_written_is_found() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("logs")).unwrap();
    assert_eq!(
        check(folder.path(), "log: { file: absent/access.log }\n"),
        "clearway.yaml:1:14: error: log.file: there is no directory `absent` for `absent/access.log`\n    \
         hint: make it with `mkdir -p absent`; a relative path is relative to the file that names it\n"
    );
    assert_eq!(
        check(folder.path(), "log: { file: logs }\n"),
        "clearway.yaml:1:14: error: log.file: `logs` is a directory\n    \
         hint: name a file in it, for example `logs/access.log`\n"
    );
    for good in ["logs/access.log", "access.log", "/dev/null"] {
        fs::write(folder.path().join("clearway.yaml"), format!("log: {{ file: {good} }}\n")).unwrap();
        assert_eq!(clearway(folder.path(), &["check"]).status.code(), Some(0), "{good}");
    }
}

#[test]
fn what_is_no_text_of_bounded_size_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe.yaml");
    let name = CString::new(pipe.to_str().unwrap()).unwrap();
    // SAFETY: the name is a live string that ends with NUL.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    let huge = fs::File::create(folder.path().join("huge.yaml")).unwrap();
    // Takes no room on the disk, and far more than there is in memory.
    huge.set_len(1 << 42).unwrap();
    fs::write(folder.path().join("latin1.yaml"), b"# \xc3\xa4\nservices:\n  - name: \xc3\xa4\xe4\n").unwrap();
    fs::write(
        folder.path().join("names.yaml"),
        "consumers: [{ name: alice, api-keys: [\"${file:pipe.yaml}\", \"${file:huge.yaml}\"] }]\n",
    )
    .unwrap();
    for (file, code, parts) in [
        ("/dev/zero", 3, &["/dev/zero: it is a pipe, a socket or a device"][..]),
        ("pipe.yaml", 3, &["pipe.yaml: it is a pipe, a socket or a device"]),
        ("huge.yaml", 1, &["huge.yaml: error: the file must be at most 4 MiB", "split it"]),
        (
            "latin1.yaml",
            1,
            &["latin1.yaml:3:12: error: the byte 0xe4 is no UTF-8 text", "save the file as UTF-8"],
        ),
        ("names.yaml", 1, &["cannot read `pipe.yaml`: it is a pipe", "`huge.yaml` must be at most 1 MiB"]),
    ] {
        let output = clearway(folder.path(), &["check", file]);
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{file}");
        for part in parts {
            assert!(said.contains(part), "{file}: {said}");
        }
    }
}
