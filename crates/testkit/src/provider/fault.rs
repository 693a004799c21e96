//! What real providers do instead of answering. The name of the model chooses; where it goes on after a colon or a dot it does not
//! matter, so that a test can have names of its own.

use std::io;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{Asked, Said, Shared, begin, chunk, whole};

/// An error that a provider tells in its own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    BadKey,
    Limited,
    NoMoney,
    Overloaded,
    Server,
    TooLong,
}

/// What happens in place of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Reads, and closes.
    Close,
    CutJson,
    /// Ends a stream after its first words, as if that were all.
    CutStream,
    /// An error in a stream before its first word.
    EarlyError,
    Empty,
    ErrorIn200,
    Html502,
    /// An error in a stream after its first words.
    LateError,
    /// All but the terminal event.
    NoDone,
    /// The last event lacks its empty line.
    NoEmptyLine,
    Page,
    Redirect,
    Reset,
    ResetStream,
    ShortBody,
    SilentAnswer,
    SilentClose,
    /// Closes in the middle of a stream's framing.
    TornStream,
    Told(Trouble),
}

/// Lets the words get to the client before what comes then: real providers take as long for a few tokens.
const PAUSE: Duration = Duration::from_millis(200);
/// What reaches a client before a stream fails.
const WORDS_BEFORE: usize = 2;

impl Fault {
    /// `before`: how often the model was asked before.
    pub(super) fn named(model: &str, before: usize) -> Option<Fault> {
        Some(match model.split(['.', ':']).next().unwrap_or(model) {
            "bad-key" => Fault::Told(Trouble::BadKey),
            "close" => Fault::Close,
            "cut-json" => Fault::CutJson,
            "cut-stream" => Fault::CutStream,
            "early-error" => Fault::EarlyError,
            "empty" => Fault::Empty,
            "error-in-200" => Fault::ErrorIn200,
            "flaky" if before == 0 => Fault::Told(Trouble::Server),
            "html-502" => Fault::Html502,
            "late-error" => Fault::LateError,
            "limited" => Fault::Told(Trouble::Limited),
            "no-done" => Fault::NoDone,
            "no-empty-line" => Fault::NoEmptyLine,
            "no-money" => Fault::Told(Trouble::NoMoney),
            "overloaded" => Fault::Told(Trouble::Overloaded),
            "page" => Fault::Page,
            "redirect" => Fault::Redirect,
            "reset" => Fault::Reset,
            "reset-stream" => Fault::ResetStream,
            "server-error" => Fault::Told(Trouble::Server),
            "short-body" => Fault::ShortBody,
            "silent-answer" => Fault::SilentAnswer,
            "silent-close" => Fault::SilentClose,
            "too-long" => Fault::Told(Trouble::TooLong),
            "torn-stream" => Fault::TornStream,
            _ => return None,
        })
    }

    /// Whether the connection can be used again.
    pub(super) async fn run(
        self,
        stream: &mut TcpStream,
        shared: &Shared,
        asked: &Asked,
        said: &Said,
    ) -> io::Result<bool> {
        let json = || asked.dialect.whole(asked, said).to_string().into_bytes();
        match self {
            Fault::Close => Ok(false),
            Fault::Reset => reset(stream),
            Fault::Html502 => {
                whole(stream, 502, "text/html", &[], b"<html><h1>502 Bad Gateway</h1><hr>nginx</html>").await
            }
            Fault::Redirect => {
                whole(stream, 302, "text/plain", &[("location", "http://127.0.0.1:9/")], b"").await
            }
            Fault::Empty => whole(stream, 200, "application/json", &[], b"").await,
            Fault::Page => whole(stream, 200, "text/html", &[], b"<html>login</html>").await,
            Fault::CutJson => {
                let body = json();
                whole(stream, 200, "application/json", &[], &body[..body.len() / 2]).await
            }
            Fault::ShortBody => {
                let body = json();
                let head = format!("content-type: application/json\r\ncontent-length: {}", body.len() + 10);
                stream.write_all(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n").as_bytes()).await?;
                stream.write_all(&body).await?;
                Ok(false)
            }
            Fault::ErrorIn200 => {
                let (_, _, body) = asked.dialect.error(Trouble::Server);
                whole(stream, 200, "application/json", &[], body.to_string().as_bytes()).await
            }
            Fault::Told(trouble) => {
                let (status, fields, body) = asked.dialect.error(trouble);
                let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, *value)).collect();
                whole(stream, status, "application/json", &fields, body.to_string().as_bytes()).await
            }
            Fault::SilentClose => {
                shared.gate().passed_someday().await;
                Ok(false)
            }
            Fault::SilentAnswer => {
                shared.gate().passed_someday().await;
                self.stream(stream, asked, said).await
            }
            _ => self.stream(stream, asked, said).await,
        }
    }

    /// Faults in the middle of a stream; asked for a whole answer, the model gives it.
    async fn stream(self, stream: &mut TcpStream, asked: &Asked, said: &Said) -> io::Result<bool> {
        if !asked.stream {
            let body = asked.dialect.whole(asked, said).to_string();
            return whole(stream, 200, "application/json", &[], body.as_bytes()).await;
        }
        let mut events = asked.dialect.events(asked, said);
        begin(stream, asked.dialect).await?;
        match self {
            Fault::CutStream | Fault::ResetStream | Fault::TornStream | Fault::LateError => {
                events.end.clear();
                events.content.truncate(WORDS_BEFORE);
            }
            Fault::EarlyError => {
                events.end.clear();
                events.content.clear();
            }
            Fault::NoDone => {
                events.end.pop();
            }
            Fault::NoEmptyLine => {
                let last = events.end.last_mut().or(events.content.last_mut());
                if let Some(last) = last {
                    last.truncate(last.trim_ascii_end().len());
                }
            }
            _ => {}
        }
        for event in events.all() {
            chunk(stream, event).await?;
        }
        if matches!(self, Fault::ResetStream | Fault::TornStream | Fault::LateError | Fault::CutStream) {
            tokio::time::sleep(PAUSE).await;
        }
        match self {
            Fault::ResetStream => return reset(stream),
            Fault::TornStream => return Ok(false),
            Fault::LateError => chunk(stream, &asked.dialect.error_event(Trouble::Server)).await?,
            Fault::EarlyError => chunk(stream, &asked.dialect.error_event(Trouble::Overloaded)).await?,
            _ => {}
        }
        stream.write_all(b"0\r\n\r\n").await?;
        Ok(true)
    }
}

fn reset(stream: &TcpStream) -> io::Result<bool> {
    socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO))?;
    Ok(false)
}
