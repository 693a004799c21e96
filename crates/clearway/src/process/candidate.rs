//! A process that is to take the place of this one: how it is started, watched and, when it does not get there, ended.
//!
//! Its standard error comes here first, so that whoever asked for the upgrade is told why it failed; once it serves it has
//! that of this process.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::unix::pipe;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::handover::{self, Connection, Frame, FromOld};
use crate::program::Program;
use crate::{output, socket_activation};

/// Lines that are kept of what it says: the problems of a configuration are more than one.
const LINES_MAX: usize = 50;
/// A longer line is no sentence for people.
const LINE_BYTES_MAX: u64 = 16 << 10;
/// How long a process that has closed its end of the connection may take to end, and its last words to arrive.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// The process that is to take over.
pub(super) struct Candidate {
    child: Child,
    pub(super) connection: Connection,
    said: Arc<Mutex<VecDeque<String>>>,
    listening: JoinHandle<()>,
}

impl Candidate {
    /// Starts the program again: same arguments, environment and working directory.
    pub(super) fn start(program: &Program) -> Result<Candidate, String> {
        let failed = |error: io::Error| format!("failed to start {}: {error}", program.path.display());
        let (connection, theirs) = Connection::pair().map_err(failed)?;
        let mut child = spawn(program, theirs).map_err(failed)?;
        let said = Arc::new(Mutex::new(VecDeque::new()));
        let listening = tokio::spawn(listen(child.stderr.take(), said.clone()));
        Ok(Candidate { child, connection, said, listening })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) async fn tell(&mut self, message: &FromOld) -> Result<(), Trouble> {
        self.connection.writer.message(message).await.map_err(|_| Trouble::Ended)
    }

    /// The way to it, once it has taken over. It is not watched any more.
    pub(super) fn into_connection(self) -> Connection {
        self.connection
    }

    /// What it says next.
    pub(super) async fn hear<T: DeserializeOwned>(&mut self) -> Result<T, Trouble> {
        match self.connection.reader.next().await {
            Ok(Some(Frame::Message(message))) => Ok(message),
            Ok(Some(Frame::Parcel(_))) => Err(Trouble::NotUnderstood),
            Ok(None) => Err(Trouble::Ended),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(Trouble::NotUnderstood),
            Err(_) => Err(Trouble::Ended),
        }
    }

    /// Ends it, if it has not ended by itself, and says what there is to say of it.
    pub(super) async fn end(mut self, trouble: Trouble) -> String {
        let by_itself = match trouble {
            // It has closed its end, which is the last that a process does.
            Trouble::Ended => self.ended().await,
            Trouble::DiskTookTooLong(_)
            | Trouble::NotUnderstood
            | Trouble::Stopped
            | Trouble::TookTooLong(_) => None,
        };
        if by_itself.is_none() {
            // Not yet waited for, so that its id is still its own; it may have ended just now.
            let _ = self.child.kill();
            let _ = self.ended().await;
        }
        let _ = timeout(END_TIMEOUT, self.listening).await;
        let what = match (trouble, by_itself) {
            (Trouble::Ended, Some(status)) => format!("the new process ended with {status}"),
            (Trouble::Ended, None) => {
                "the new process left the connection to the old one and was ended".to_owned()
            }
            (Trouble::DiskTookTooLong(limit), _) => {
                format!("the disk did not take the last records of this process within {limit:?}")
            }
            (Trouble::NotUnderstood, _) => {
                "the new process said something that is not understood here".to_owned()
            }
            (Trouble::Stopped, _) => "this process was told to stop meanwhile".to_owned(),
            (Trouble::TookTooLong(limit), _) => {
                format!("the new process did not get ready within {limit:?} and was ended")
            }
        };
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        match said.is_empty() {
            true => what,
            false => format!("{what}; it said:\n{}", Vec::from_iter(said.iter().cloned()).join("\n")),
        }
    }

    /// Waits a little for its end.
    async fn ended(&mut self) -> Option<ExitStatus> {
        let waiting = async {
            loop {
                match self.child.try_wait() {
                    Ok(Some(status)) => return Some(status),
                    Ok(None) => tokio::time::sleep(Duration::from_millis(5)).await,
                    Err(_) => return None,
                }
            }
        };
        timeout(END_TIMEOUT, waiting).await.unwrap_or(None)
    }
}

/// Why nothing came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    DiskTookTooLong(Duration),
    Ended,
    NotUnderstood,
    /// This process was told to stop.
    Stopped,
    TookTooLong(Duration),
}

fn spawn(program: &Program, theirs: OwnedFd) -> io::Result<Child> {
    let mut command = Command::new(&program.path);
    command
        .args(&program.arguments)
        .env(handover::VARIABLE, theirs.as_raw_fd().to_string())
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    for variable in socket_activation::VARIABLES {
        command.env_remove(variable);
    }
    // SAFETY: between fork and exec only one system call is made, which takes numbers only.
    unsafe {
        command.pre_exec(move || match libc::fcntl(theirs.as_raw_fd(), libc::F_SETFD, 0) {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        });
    }
    // The command owns the other end, which is closed here with it: the end of the process is then the end of the connection.
    command.spawn()
}

/// Repeats what it says, and keeps the last of it.
async fn listen(stderr: Option<ChildStderr>, said: Arc<Mutex<VecDeque<String>>>) {
    let Some(stderr) = stderr else { return };
    let Ok(reader) = pipe::Receiver::from_owned_fd(stderr.into()) else { return };
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = Vec::new();
        match (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        output::say(&line);
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        said.push_back(line);
        if said.len() > LINES_MAX {
            said.pop_front();
        }
    }
}
