//! One keep-alive connection to a proxy, and how a request on it ended. It retries nothing, and knows of HTTP/1.1 what
//! the proxies here answer with.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// The largest answer of a proxy or an application here is an error page.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// What a request is, as far as it matters whether it may be sent twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    Get,
    Post,
    PostWithKey,
    Put,
}

/// In the order of the tables.
pub(super) const CLASSES: [Class; 4] = [Class::Get, Class::Put, Class::PostWithKey, Class::Post];

impl Class {
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::PostWithKey => "POST with key",
            Self::Put => "PUT",
        }
    }

    fn method(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post | Self::PostWithKey => "POST",
            Self::Put => "PUT",
        }
    }

    pub(super) fn may_repeat(self) -> bool {
        match self {
            Self::Get | Self::PostWithKey | Self::Put => true,
            Self::Post => false,
        }
    }
}

/// How a request ended, as its client saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    Answered(Answer),
    /// Without a byte of an answer.
    Closed,
    /// The proxy did not take the connection.
    Refused,
    Reset,
    Timeout,
    /// The answer was no HTTP, or ended before it was whole.
    Truncated,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) retry_after: bool,
    /// The backend that answered, by its own words.
    pub(super) by: Option<String>,
    pub(super) closes: bool,
}

impl End {
    pub(super) fn is_good(&self) -> bool {
        matches!(self, Self::Answered(answer) if (200..300).contains(&answer.status))
    }

    /// What a proxy says that could not get an answer.
    pub(super) fn is_honest(&self) -> bool {
        matches!(self, Self::Answered(answer) if matches!(answer.status, 502 | 504))
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered(answer) => write!(f, "{}", answer.status),
            Self::Closed => f.write_str("closed"),
            Self::Refused => f.write_str("refused"),
            Self::Reset => f.write_str("reset"),
            Self::Timeout => f.write_str("timeout"),
            Self::Truncated => f.write_str("truncated"),
        }
    }
}

#[derive(Debug)]
pub(super) struct Client {
    port: u16,
    patience: Duration,
    open: Option<TcpStream>,
}

impl Client {
    pub(super) fn new(port: u16, patience: Duration) -> Self {
        Self { port, patience, open: None }
    }

    /// The next request opens a connection of its own.
    pub(super) fn forget(&mut self) {
        self.open = None;
    }

    /// Sends one request with the path `/id`, and waits for its end.
    pub(super) fn ask(&mut self, class: Class, id: &str, body: &str) -> End {
        let request = encode(class, id, body);
        let end = match self.connection() {
            Ok(stream) => match stream.write_all(&request) {
                Ok(()) => read_answer(stream),
                Err(error) => end_of(&error),
            },
            Err(error) if error.kind() == ErrorKind::TimedOut => End::Timeout,
            Err(_) => End::Refused,
        };
        match &end {
            End::Answered(answer) if !answer.closes => {}
            _ => self.open = None,
        }
        end
    }

    /// The connection, opened where there is none.
    pub(super) fn connection(&mut self) -> io::Result<&mut TcpStream> {
        let stream = match self.open.take() {
            Some(stream) => stream,
            None => {
                let stream =
                    TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, self.port).into(), self.patience)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(self.patience))?;
                stream.set_write_timeout(Some(self.patience))?;
                stream
            }
        };
        Ok(self.open.insert(stream))
    }
}

fn encode(class: Class, id: &str, body: &str) -> Vec<u8> {
    let mut text = format!("{} /{id} HTTP/1.1\r\nHost: battery.test\r\n", class.method());
    if class == Class::PostWithKey {
        text += &format!("Idempotency-Key: {id}\r\n");
    }
    match class {
        Class::Get => text += "\r\n",
        Class::Post | Class::PostWithKey | Class::Put => {
            text += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
        }
    }
    text.into_bytes()
}

fn end_of(error: &io::Error) -> End {
    match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => End::Timeout,
        _ => End::Reset,
    }
}

/// Reads an answer to its end.
pub(super) fn read_answer(stream: &mut TcpStream) -> End {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match parse(&bytes) {
            Parsed::Whole(answer) => return End::Answered(answer),
            Parsed::UntilClose(_) | Parsed::Partial if bytes.len() <= ANSWER_BYTES_MAX => {}
            Parsed::UntilClose(_) | Parsed::Partial | Parsed::Wrong => return End::Truncated,
        }
        match stream.read(&mut piece) {
            Ok(0) => {
                return match parse(&bytes) {
                    Parsed::UntilClose(answer) => End::Answered(answer),
                    Parsed::Partial if bytes.is_empty() => End::Closed,
                    Parsed::Partial | Parsed::Whole(_) | Parsed::Wrong => End::Truncated,
                };
            }
            Ok(read) => bytes.extend_from_slice(piece.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return end_of(&error),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Parsed {
    Partial,
    /// The head is whole, and the body ends with the connection.
    UntilClose(Answer),
    Whole(Answer),
    Wrong,
}

fn parse(bytes: &[u8]) -> Parsed {
    let Some(at) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return Parsed::Partial };
    let (head, body) = bytes.split_at(at);
    let body = body.get(4..).unwrap_or_default();
    let head = String::from_utf8_lossy(head);
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok());
    let Some(status) = status else { return Parsed::Wrong };
    let mut answer = Answer { status, ..Answer::default() };
    let (mut length, mut chunked) = (None, false);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "connection" => answer.closes = value.eq_ignore_ascii_case("close"),
            "content-length" => length = value.parse::<usize>().ok(),
            "retry-after" => answer.retry_after = true,
            "transfer-encoding" => chunked = true,
            "x-battery-name" => answer.by = Some(value.to_owned()),
            _ => {}
        }
    }
    let is_whole = match length {
        Some(length) => body.len() >= length,
        None if chunked => body.ends_with(b"0\r\n\r\n"),
        None if status == 204 => true,
        None => {
            answer.closes = true;
            return Parsed::UntilClose(answer);
        }
    };
    if is_whole { Parsed::Whole(answer) } else { Parsed::Partial }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let check = |text: &str, expect: Parsed| assert_eq!(parse(text.as_bytes()), expect, "{text}");
        let ok = Answer { status: 200, ..Answer::default() };
        check("HTTP/1.1 200 OK\r\nContent-Le", Parsed::Partial);
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no", Parsed::Partial);
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Parsed::Whole(ok.clone()));
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", Parsed::Partial);
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", Parsed::Whole(ok));
        let busy = Answer { status: 503, retry_after: true, by: Some("a".to_owned()), closes: true };
        check(
            "HTTP/1.0 503 Busy\r\nretry-after: 1\r\nx-battery-name: a\r\nconnection: close\r\n\r\nbusy",
            Parsed::UntilClose(busy),
        );
        check("SSH-2.0\r\n\r\n", Parsed::Wrong);
    }

    #[test]
    fn only_a_bare_post_must_not_be_repeated() {
        let repeatable: Vec<&str> =
            CLASSES.iter().filter(|class| class.may_repeat()).map(|c| c.title()).collect();
        assert_eq!(repeatable, ["GET", "PUT", "POST with key"]);
        assert!(
            String::from_utf8(encode(Class::PostWithKey, "7", "x"))
                .unwrap()
                .contains("Idempotency-Key: 7\r\n")
        );
    }
}
