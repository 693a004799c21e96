//! Commands that end by themselves.

use std::fs;
use std::net::TcpStream;

use crate::process::{Running, ask, clearway, get, text};

#[test]
fn what_is_not_understood_is_2_and_what_fails_is_1() {
    let folder = tempfile::tempdir().unwrap();
    for (words, code, part) in [
        (&["serve"][..], 2, "unrecognized subcommand"),
        (&["up", "--too", "x"], 2, "--to"),
        (&["calls", "--format", "xml"], 2, "human"),
        (&["up", "--to", "ftp://x"], 1, "--to"),
        (&["up", "absent.yaml"], 1, "absent.yaml"),
        (&["check"], 3, "clearway.yaml"),
        (&["calls", "--status", "7xx"], 1, "from 1xx to 5xx"),
        (&["calls", "--since", "10"], 1, "like 500ms or 10m"),
        (&["calls"], 1, "clearway-data"),
        (&["calls", "show", "7"], 1, "not the id of a call"),
        (&["calls", "--follow"], 1, "nothing to follow"),
        (&["upstreams"], 1, "no clearway process answers"),
        (&["upgrade"], 1, "no clearway process answers"),
        (&["upgrade", "--timeout", "soon"], 1, "like 500ms or 10m"),
    ] {
        let output = clearway(folder.path(), words);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        assert!(said.contains(part), "{words:?}: {said}");
        assert!(output.stdout.is_empty(), "{words:?}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is made by a command that fails");
}

#[test]
fn a_good_configuration_is_summed_up() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("conf");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("b.yaml"), "services: [{ name: shop, to: \"http://127.0.0.1:9\" }]\n").unwrap();
    fs::write(directory.join("a.yml"), "workers: 1\n").unwrap();
    fs::write(directory.join(".hidden.yaml"), "nonsense: 1\n").unwrap();
    fs::write(directory.join("notes.txt"), "nonsense: 1\n").unwrap();
    let output = clearway(folder.path(), &["check", "conf"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "the configuration is good: 1 listener, 1 service, 1 upstream\n");
}

#[test]
fn a_call_is_listed_and_shown_with_and_without_its_process() {
    let folder = tempfile::tempdir().unwrap();
    // Port 9 (discard) refuses on every machine that is not from the eighties.
    let running = Running::start(folder.path(), &["--to", "http://127.0.0.1:9", "--listen", "127.0.0.1:0"]);
    let answer = get(&running.address("listening on http://"), "/orders?secret=1");
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    let id = answer
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("x-request-id: ").map(str::to_owned));
    let id = id.unwrap();
    // Whoever has an answer finds its record.
    let listed = clearway(folder.path(), &["calls", "--status", "502", "--format", "json"]);
    assert!(text(&listed.stdout).contains(&id), "{}", text(&listed.stderr));
    let show = || clearway(folder.path(), &["calls", "show", &id]);
    let shown = text(&show().stdout);
    for part in [
        "GET localhost/orders: 502 connect-refused\n",
        "attempt 1: http://127.0.0.1:9 of upstream default",
        "attempt 1 ended: connect-refused, by upstream during connect\n",
        "Connection refused (os error 111)\n",
        "response head sent to the client: 502\n",
    ] {
        assert!(shown.contains(part), "{part:?} in {shown}");
    }
    running.signal(libc::SIGTERM);
    assert_eq!(running.wait(), Some(0));
    let output = show();
    assert_eq!(text(&output.stdout), shown, "{}", text(&output.stderr));
    let listed = clearway(
        folder.path(),
        &["calls", "--status", "5xx", "--fault", "connect-refused", "--format", "json"],
    );
    let listed = text(&listed.stdout);
    assert_eq!(listed.lines().count(), 1, "{listed}");
    assert!(
        listed.starts_with("{\"time\":") && listed.contains(&id) && !listed.contains("secret"),
        "{listed}"
    );
    let none = clearway(folder.path(), &["calls", "--status", "2xx"]);
    assert_eq!((text(&none.stdout).as_str(), text(&none.stderr).as_str()), ("", "no call matches\n"));
}

#[test]
fn a_target_without_its_socket_file_is_told_from_one_that_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), &["--to", "unix:absent.sock", "--listen", "127.0.0.1:0"]);
    assert!(get(&running.address("listening on http://"), "/").starts_with("HTTP/1.1 502 "));
    let listed = clearway(folder.path(), &["calls", "--format", "json"]);
    let listed = text(&listed.stdout);
    assert!(
        listed.contains("connect-refused") && listed.contains("there is no socket of this path"),
        "{listed}"
    );
}

#[test]
fn a_new_admin_token_ends_the_old_one_with_and_without_a_process() {
    let folder = tempfile::tempdir().unwrap();
    let rotate = || clearway(folder.path(), &["admin-token", "rotate"]);
    let absent = rotate();
    assert_eq!(absent.status.code(), Some(1));
    assert!(text(&absent.stderr).contains("check --data"), "{}", text(&absent.stderr));
    fs::create_dir(folder.path().join("clearway-data")).unwrap();
    assert!(text(&rotate().stderr).contains("the first `clearway up` makes one"));

    let start = || Running::start(folder.path(), &["--listen", "127.0.0.1:0"]);
    let status = |running: &Running, token: &str| {
        let mut stream = TcpStream::connect(running.address("management on http://")).unwrap();
        let answer = ask(
            &mut stream,
            &format!(
                "GET /api/v1/routes HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
            ),
        );
        answer.get(9..12).unwrap().to_owned()
    };
    let mut running = start();
    let first = running.address("admin token, shown only this once: ");
    assert_eq!(status(&running, &first), "200");
    let output = rotate();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let second = text(&output.stdout).trim().to_owned();
    running.wait_for("a new admin token was made");
    assert_eq!((status(&running, &first), status(&running, &second)), ("401".into(), "200".into()));
    running.signal(libc::SIGTERM);
    assert_eq!(running.wait(), Some(0));

    let third = text(&rotate().stdout).trim().to_owned();
    let running = start();
    assert_eq!((status(&running, &second), status(&running, &third)), ("401".into(), "200".into()));
}

#[test]
fn the_man_page_in_docs_is_the_one_of_this_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let made = clearway(folder.path(), &["man"]).stdout;
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/clearway.1");
    let kept = fs::read(path).unwrap_or_default();
    assert!(made == kept, "make it again with: cargo run -p clearway -- man > docs/clearway.1");
}
