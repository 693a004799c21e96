//! The command line's side of the control socket.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::value::RawValue;

use crate::control::{Reply, Request, with_short_path};
use crate::output;

/// What became of a question.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Every item was handed over.
    Answered,
    /// No process answers for this data directory.
    NotRunning,
}

/// Where the process of a data directory answers.
pub(crate) fn socket_path(data: &Path) -> PathBuf {
    data.join("control.sock")
}

/// Asks the process that owns the data directory, and hands each item of its answer over.
pub(crate) fn ask(
    data: &Path,
    request: &Request,
    mut item: impl FnMut(&RawValue) -> anyhow::Result<()>,
) -> anyhow::Result<Asked> {
    let path = socket_path(data);
    let mut stream = match with_short_path(&path, |path| UnixStream::connect(path)) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            return Ok(Asked::NotRunning);
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            bail!("failed to ask the process of {}: run as its user, or as root", data.display());
        }
        Err(error) => return Err(error).with_context(|| format!("failed to connect to {}", path.display())),
    };
    let mut text = serde_json::to_string(request)?;
    text.push('\n');
    match stream.write_all(text.as_bytes()) {
        // It has refused to listen, and has said why.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        sent => sent.context("failed to send the question")?,
    }
    for line in BufReader::new(stream).lines() {
        let line = line.context("failed to read the answer")?;
        match serde_json::from_str(&line)
            .context("failed to understand the answer; is it another version?")?
        {
            Reply::Item(document) => item(&document)?,
            Reply::Note(note) => output::say(&note),
            Reply::End => return Ok(Asked::Answered),
            Reply::Error(reason) => bail!(reason),
        }
    }
    bail!("the process of {} ended in the middle of its answer", data.display())
}
