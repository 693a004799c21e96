//! The binary under test, run to its end or kept running.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Output, Stdio};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_clearway");

/// Runs it to its end.
pub(crate) fn clearway(folder: &Path, words: &[&str]) -> Output {
    Command::new(BINARY).args(words).current_dir(folder).stdin(Stdio::null()).output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A running gateway in its own folder. Killed when the test ends, however it ends.
pub(crate) struct Running {
    child: Child,
    stderr: BufReader<ChildStderr>,
    /// What it said until it was ready.
    pub(crate) said: String,
}

impl Running {
    /// Waits until it says that it serves.
    pub(crate) fn start(folder: &Path, words: &[&str]) -> Running {
        Running::start_with(folder, words, Stdio::null())
    }

    /// The same, with log lines that go somewhere.
    pub(crate) fn start_with(folder: &Path, words: &[&str], stdout: Stdio) -> Running {
        let mut child = Command::new(BINARY)
            .arg("up")
            .args(words)
            .args(["--admin", "127.0.0.1:0"])
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let mut running = Running { child, stderr, said: String::new() };
        running.said = running.wait_for("see what was served with");
        running
    }

    /// Everything it says until a line has this text.
    pub(crate) fn wait_for(&mut self, wanted: &str) -> String {
        let mut said = String::new();
        while !said.lines().any(|line| line.contains(wanted)) {
            let read = self.stderr.read_line(&mut said).unwrap();
            assert!(read > 0, "it ended without saying {wanted:?}: {said}");
        }
        said
    }

    /// The address it says behind these words.
    pub(crate) fn address(&self, words: &str) -> String {
        let line = self.said.lines().find_map(|line| line.strip_prefix(words));
        line.unwrap_or_else(|| panic!("no {words:?} in {}", self.said)).to_owned()
    }

    pub(crate) fn signal(&self, signal: i32) {
        // SAFETY: the call takes numbers only; the child was not waited for, so that its id is still its own.
        assert_eq!(unsafe { libc::kill(i32::try_from(self.child.id()).unwrap(), signal) }, 0);
    }

    pub(crate) fn wait(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The whole answer to a GET.
pub(crate) fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    ask(&mut stream, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
}

/// The whole answer to a request that says `Connection: close`.
pub(crate) fn ask(stream: &mut (impl Read + Write), request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
