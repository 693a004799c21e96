//! The control socket: how the command line asks the running process.
//!
//! One JSON document a line: a [`Request`] from the client, then [`Reply`]s until the last one, which is
//! [`Reply::End`] or [`Reply::Error`]. In an upgrade the socket changes hands, its file stays. The socket has mode 0600, and who connects must be the same user, or root.

use std::collections::HashSet;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use admin::{CallFilter, Control, ControlError, IncidentFilter};
use anyhow::Context;
use model::RequestId;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::running::{Running, document};
use crate::{output, system};

/// Clients at once.
const CLIENTS_MAX: usize = 32;
/// A request is a few hundred bytes.
const REQUEST_BYTES_MAX: u64 = 64 << 10;
/// A client that connects has its request at hand.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// The path of a socket has at most 107 bytes (unix(7)).
const PATH_BYTES_MAX: usize = 107;

/// A question.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Request {
    /// Calls, newest first.
    Calls(CallFilter),
    /// The newest calls, oldest first, and from then on calls as they end.
    Follow(CallFilter),
    Call {
        id: String,
    },
    /// The records around a call, as evidence: its subject first.
    Evidence {
        id: String,
    },
    Incident {
        id: String,
    },
    /// Incidents, newest first.
    Incidents(IncidentFilter),
    Routes,
    Upstreams,
    RotateAdminToken,
    /// Hand over to a new process, which has so long to get ready.
    Upgrade {
        timeout_ms: u64,
    },
}

/// A line of the answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    /// A document: what a listing prints.
    Item(Box<RawValue>),
    /// A sentence for standard error.
    Note(String),
    /// That was all.
    End,
    /// There is no answer, and why.
    Error(String),
}

/// Runs `then` with a path to the socket that is short enough: through the directory's descriptor where it is not.
pub(crate) fn with_short_path<T>(path: &Path, then: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return then(path) };
    if path.as_os_str().len() <= PATH_BYTES_MAX {
        return then(path);
    }
    let directory = File::open(directory)?;
    then(&Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name))
}

/// The bound socket.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    listener: UnixListener,
    /// The same, to be handed over one day.
    kept: OwnedFd,
    path: PathBuf,
    /// `None` while the process before looks after it.
    file: Option<ControlFile>,
}

/// The control socket at work.
#[derive(Debug)]
pub(crate) struct Controlled {
    pub(crate) kept: OwnedFd,
    pub(crate) file: ControlFile,
    accepting: AbortHandle,
}

impl Controlled {
    /// Another process accepts from now on; who is being answered goes on to be.
    pub(crate) fn leave(self) {
        self.accepting.abort();
        self.file.leave();
    }
}

/// The socket's file, removed with this: to be dropped by the owner of the data directory, and not with the task that
/// answers. That one ends with the runtime, when the directory and the file may have another owner.
#[derive(Debug)]
pub(crate) struct ControlFile(PathBuf);

impl ControlFile {
    fn leave(mut self) {
        // There is no file without a path.
        self.0 = PathBuf::new();
    }
}

impl Drop for ControlFile {
    fn drop(&mut self) {
        // Left behind, it would only be replaced at the next start.
        let _ = fs::remove_file(&self.0);
    }
}

impl ControlSocket {
    /// Only the owner of the data directory may call this: what is there was left behind by a process that was killed.
    pub(crate) fn bind(path: PathBuf) -> anyhow::Result<ControlSocket> {
        let bind = || {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let listener = with_short_path(&path, |path| std::os::unix::net::UnixListener::bind(path))?;
            let file = ControlFile(path.clone());
            fs::set_permissions(&path, Permissions::from_mode(0o600))?;
            ControlSocket::over(listener, path.clone(), Some(file))
        };
        bind().with_context(|| format!("failed to make the control socket {}", path.display()))
    }

    /// The socket that the process before hands over. Its file is that one's until this one serves.
    pub(crate) fn take_over(handed: OwnedFd, path: PathBuf) -> anyhow::Result<ControlSocket> {
        ControlSocket::over(handed.into(), path, None)
            .context("failed to use the control socket that was handed over")
    }

    fn over(
        listener: std::os::unix::net::UnixListener,
        path: PathBuf,
        file: Option<ControlFile>,
    ) -> io::Result<ControlSocket> {
        listener.set_nonblocking(true)?;
        let kept = listener.try_clone()?.into();
        Ok(ControlSocket { listener: UnixListener::from_std(listener)?, kept, path, file })
    }

    /// Answers from now on, for as long as the runtime lives.
    pub(crate) fn serve(self, running: Arc<Running>) -> Controlled {
        let accepting = tokio::spawn(answer_all(self.listener, running)).abort_handle();
        let file = self.file.unwrap_or_else(|| ControlFile(self.path));
        Controlled { kept: self.kept, file, accepting }
    }
}

async fn answer_all(listener: UnixListener, running: Arc<Running>) {
    let places = Arc::new(Semaphore::new(CLIENTS_MAX));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, mostly; accepting again at once would spin.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let running = running.clone();
        tokio::spawn(async move {
            // A client that leaves needs no answer.
            let _ = answer(stream, &running).await;
            drop(place);
        });
    }
}

async fn answer(stream: UnixStream, running: &Running) -> io::Result<()> {
    let peer = stream.peer_cred()?.uid();
    let (reader, writer) = stream.into_split();
    let mut replies = Replies { writer, text: Vec::new() };
    if peer != 0 && peer != system::user_id() {
        return replies.error("only the user that runs clearway, and root, may ask").await;
    }
    let mut line = String::new();
    let mut reader = BufReader::new(reader.take(REQUEST_BYTES_MAX));
    timeout(REQUEST_TIMEOUT, reader.read_line(&mut line)).await??;
    let request = match serde_json::from_str(&line) {
        Ok(request) => request,
        Err(error) => return replies.error(&format!("failed to read the request: {error}")).await,
    };
    let mut reader = reader.into_inner().into_inner();
    tokio::select! {
        done = reply(request, running, &mut replies) => done,
        // A client that follows says nothing more; its end is the end of the answer.
        _ = reader.read_u8() => Ok(()),
    }
}

async fn reply(request: Request, running: &Running, replies: &mut Replies) -> io::Result<()> {
    let outcome = match request {
        Request::Calls(filter) => replies.calls(running, &filter).await?,
        Request::Follow(filter) => replies.follow(running, &filter).await?,
        Request::Call { id } => replies.call(running, &id).await?,
        Request::Evidence { id } => replies.evidence(running, &id).await?,
        Request::Incident { id } => replies.incident(running, &id).await?,
        Request::Incidents(filter) => replies.incidents(running, &filter).await?,
        Request::Routes => replies.rows(&running.routes()).await?,
        Request::Upstreams => replies.rows(&running.upstreams()).await?,
        Request::RotateAdminToken => replies.new_admin_token(running).await?,
        Request::Upgrade { timeout_ms } => {
            replies.upgraded(running, Duration::from_millis(timeout_ms)).await?
        }
    };
    match outcome {
        Ok(()) => replies.send(&Reply::End).await,
        Err(error) => replies.error(&error.to_string()).await,
    }
}

/// The way back to a client.
struct Replies {
    writer: tokio::net::unix::OwnedWriteHalf,
    text: Vec<u8>,
}

/// A failure to answer, inside; a failure to send, outside.
type Outcome = io::Result<Result<(), ControlError>>;

impl Replies {
    async fn send(&mut self, reply: &Reply) -> io::Result<()> {
        self.text.clear();
        serde_json::to_writer(&mut self.text, reply)?;
        self.text.push(b'\n');
        self.writer.write_all(&self.text).await
    }

    async fn error(&mut self, reason: &str) -> io::Result<()> {
        self.send(&Reply::Error(reason.to_owned())).await
    }

    async fn calls(&mut self, running: &Running, filter: &CallFilter) -> Outcome {
        let page = match running.search(filter).await {
            Ok(page) => page,
            Err(error) => return Ok(Err(error)),
        };
        for call in page.calls {
            self.send(&Reply::Item(call)).await?;
        }
        if let Some(warning) = page.warning {
            self.send(&Reply::Note(warning)).await?;
        }
        Ok(Ok(()))
    }

    async fn follow(&mut self, running: &Running, filter: &CallFilter) -> Outcome {
        let query = match filter.query(SystemTime::now()) {
            Ok(query) => query,
            Err(reason) => return Ok(Err(ControlError::Question(reason))),
        };
        // Before the search, so that nothing falls between the two; what is in both is sent once.
        let Some(mut follower) = running.follow(query.clone()).await else { return Ok(Ok(())) };
        let page = match running.reader.search(&query).await {
            Ok(page) => page,
            Err(error) => return Ok(Err(ControlError::Unreadable(format!("failed to {error}")))),
        };
        let mut sent: HashSet<RequestId> = HashSet::new();
        for exchange in page.exchanges.iter().rev() {
            sent.insert(exchange.id);
            self.send(&Reply::Item(document(exchange))).await?;
        }
        while let Some((exchanges, missed)) = follower.next().await {
            if missed > 0 {
                let note =
                    format!("{missed} batches of calls were missed: they came faster than they were read");
                self.send(&Reply::Note(note)).await?;
            }
            for exchange in exchanges.iter().filter(|exchange| !sent.remove(&exchange.id)) {
                self.send(&Reply::Item(document(exchange))).await?;
            }
        }
        Ok(Ok(()))
    }

    async fn call(&mut self, running: &Running, id: &str) -> Outcome {
        let id = match admin::call_id(id) {
            Ok(id) => id,
            Err(reason) => return Ok(Err(ControlError::Question(reason))),
        };
        match running.find(id).await {
            Ok(Some(call)) => self.send(&Reply::Item(call)).await.map(Ok),
            Ok(None) => Ok(Ok(())),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn evidence(&mut self, running: &Running, id: &str) -> Outcome {
        let id = match admin::call_id(id) {
            Ok(id) => id,
            Err(reason) => return Ok(Err(ControlError::Question(reason))),
        };
        match running.evidence(id).await {
            Ok(Some(records)) => self.rows(&records.into_lines()).await,
            Ok(None) => Ok(Ok(())),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn incident(&mut self, running: &Running, id: &str) -> Outcome {
        let id = match admin::incident_id(id) {
            Ok(id) => id,
            Err(reason) => return Ok(Err(ControlError::Question(reason))),
        };
        match running.incident(id).await {
            Ok(found) => self.rows(found.as_slice()).await,
            Err(error) => Ok(Err(error)),
        }
    }

    async fn incidents(&mut self, running: &Running, filter: &IncidentFilter) -> Outcome {
        match running.incidents(filter).await {
            Ok(page) => self.rows(&page.incidents).await,
            Err(error) => Ok(Err(error)),
        }
    }

    async fn new_admin_token(&mut self, running: &Running) -> Outcome {
        match running.database.admin_token_replace().await {
            Ok(token) => {
                output::info("a new admin token was made; every earlier one ended");
                self.rows(&[token]).await
            }
            Err(error) => Ok(Err(ControlError::Unreadable(format!("failed to {error}")))),
        }
    }

    async fn upgraded(&mut self, running: &Running, timeout: Duration) -> Outcome {
        match running.upgrade(timeout).await {
            Ok(upgraded) => self.rows(&[upgraded]).await,
            Err(reason) => Ok(Err(ControlError::Unreadable(reason))),
        }
    }

    async fn rows<T: Serialize>(&mut self, rows: &[T]) -> Outcome {
        for row in rows {
            self.send(&Reply::Item(serde_json::value::to_raw_value(row)?)).await?;
        }
        Ok(Ok(()))
    }
}
