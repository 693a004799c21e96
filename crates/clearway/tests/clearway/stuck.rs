//! Nobody reads what the process says: it goes on, reloads, and stops.

use std::fs;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::process::{BINARY, Running, ask, get, text};

/// A pipe that takes no byte more. Its reader stays open and reads nothing.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    let blocking = |on: bool| {
        let flags = if on { 0 } else { libc::O_NONBLOCK };
        // SAFETY: the call takes numbers only, and the descriptor is open.
        assert_eq!(unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETFL, flags) }, 0);
    };
    blocking(false);
    while (&writer).write_all(b"x").is_ok() {}
    blocking(true);
    (reader, writer)
}

fn signal(child: &Child, signal: i32) {
    // SAFETY: the call takes numbers only; the child was not waited for, so that its id is still its own.
    assert_eq!(unsafe { libc::kill(i32::try_from(child.id()).unwrap(), signal) }, 0);
}

/// The answer of a gateway that listens on this Unix socket, as soon as it does.
fn get_at(socket: &Path, path: &str) -> String {
    loop {
        let Ok(mut stream) = UnixStream::connect(socket) else { continue };
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        return ask(&mut stream, &request);
    }
}

#[test]
fn a_log_that_nobody_reads_stops_neither_records_nor_a_reload_nor_the_end() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("clearway.yaml"), "workers: 1\n").unwrap();
    let (_unread, stdout) = full_pipe();
    let mut running = Running::start_with(folder.path(), &["--listen", "127.0.0.1:0"], stdout.into());
    let address = running.address("listening on http://");
    let management = running.address("management on http://");
    let metric = |name: &str| {
        let metrics = get(&management, "/metrics");
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0");
        line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    let mut served = 0;
    while metric("clearway_log_lines_dropped_total") == 0 {
        assert!(get(&address, "/unread").starts_with("HTTP/1.1 404 "));
        served += 1;
    }
    running.wait_for("log lines were dropped");
    running.signal(libc::SIGHUP);
    running.wait_for("the configuration was read again");
    assert!(get(&address, "/after").starts_with("HTTP/1.1 404 "));
    served += 1;
    while metric("clearway_requests_total") < served {}
    running.signal(libc::SIGTERM);
    assert_eq!(running.wait(), Some(0));
}

#[test]
fn a_standard_error_that_nobody_reads_stops_neither_a_start_nor_a_reload_nor_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("clearway.yaml");
    let listen = |socket: &str| format!("listeners: [{{ address: \"unix:{socket}\" }}]\n");
    fs::write(&file, listen("one.sock")).unwrap();
    let (unread, stderr) = full_pipe();
    let mut child = Command::new(BINARY)
        .args(["up", "--admin", "127.0.0.1:0"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn()
        .unwrap();
    assert!(get_at(&folder.path().join("one.sock"), "/").starts_with("HTTP/1.1 404 "));
    fs::write(&file, listen("two.sock")).unwrap();
    signal(&child, libc::SIGHUP);
    assert!(get_at(&folder.path().join("two.sock"), "/").starts_with("HTTP/1.1 404 "));
    signal(&child, libc::SIGTERM);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    drop(unread);
}

#[test]
fn a_second_signal_ends_it_at_once_even_if_nobody_reads() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = format!("http://{}", upstream.local_addr().unwrap());
    let (_unread, stderr) = full_pipe();
    let mut child = Command::new(BINARY)
        .args(["up", "--admin", "127.0.0.1:0", "--listen", "unix:in.sock", "--to", &target])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn()
        .unwrap();
    let socket = folder.path().join("in.sock");
    let mut client = loop {
        if let Ok(client) = UnixStream::connect(&socket) {
            break client;
        }
    };
    client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    // Held by an application that never answers, for longer than any test runs.
    let _held = upstream.accept().unwrap();
    signal(&child, libc::SIGTERM);
    while UnixStream::connect(&socket).is_ok() {}
    signal(&child, libc::SIGTERM);
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn what_was_said_before_the_end_is_read_even_late() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("clearway.yaml"), "nonsense: 1\n".repeat(200)).unwrap();
    let (mut reader, stderr) = std::io::pipe().unwrap();
    let mut child = Command::new(BINARY).arg("up").current_dir(folder.path()).stderr(stderr).spawn().unwrap();
    let mut said = Vec::new();
    reader.read_to_end(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(text(&said).contains("clearway.yaml:200:1: error: "), "{}", text(&said));
}
