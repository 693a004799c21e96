//! HTTP/1 messages as the two ends of a test see them: read strictly, so that a sloppy byte is a failed test.

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::net::End;
use crate::stream::Stream;

/// A request as an upstream received it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The number of its connection, from 0.
    pub connection: usize,
    pub method: String,
    pub target: String,
    pub version: String,
    /// As written, in their order. HTTP/2 has `:authority` and `:scheme` among them.
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
}

/// A response as a client received it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The 1xx responses before it: status and fields.
    pub informational: Vec<(u16, Vec<(String, String)>)>,
    pub version: String,
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
    pub end: BodyEnd,
}

/// Whether a client may take a body for whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyEnd {
    /// By its own framing.
    Complete,
    /// No framing: the connection ended cleanly, and nobody can tell whether that was all.
    Close,
    /// The connection ended before the framing did.
    Cut(End),
}

fn first<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

fn all<'a>(fields: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    let matching = fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
    matching.map(|(_, value)| value.as_str()).collect()
}

impl Request {
    pub fn field(&self, name: &str) -> Option<&str> {
        first(&self.fields, name)
    }

    pub fn all(&self, name: &str) -> Vec<&str> {
        all(&self.fields, name)
    }

    pub fn body_text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Response {
    pub fn field(&self, name: &str) -> Option<&str> {
        first(&self.fields, name)
    }

    pub fn all(&self, name: &str) -> Vec<&str> {
        all(&self.fields, name)
    }

    pub fn body_text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Reads messages off a stream and keeps what was read beyond them.
#[derive(Debug)]
pub struct Reader<'a, R = Stream> {
    pub stream: &'a mut R,
    pub buffer: &'a mut Vec<u8>,
}

impl<R: AsyncRead + Unpin> Reader<'_, R> {
    /// Reads once; an end is an error of its own kind.
    pub async fn more(&mut self) -> Result<(), End> {
        match self.stream.read_buf(self.buffer).await {
            Ok(0) => Err(End::Fin),
            Ok(_) => Ok(()),
            Err(error) => Err(End::of(&error)),
        }
    }

    /// Exactly so many bytes.
    pub async fn exactly(&mut self, n: usize) -> Result<Vec<u8>, End> {
        while self.buffer.len() < n {
            self.more().await?;
        }
        Ok(self.buffer.drain(..n).collect())
    }

    /// Everything up to and including the pattern.
    pub async fn until(&mut self, pattern: &[u8]) -> Result<Vec<u8>, End> {
        loop {
            if let Some(at) = self.buffer.windows(pattern.len()).position(|window| window == pattern) {
                return Ok(self.buffer.drain(..at + pattern.len()).collect());
            }
            self.more().await?;
        }
    }

    async fn line(&mut self) -> Result<String, End> {
        let line = self.until(b"\n").await?;
        let text = String::from_utf8(line).expect("a line of a head must be text");
        let text = text.strip_suffix("\r\n").unwrap_or_else(|| panic!("a bare LF ends {text:?}"));
        assert!(!text.contains('\r'), "a bare CR in {text:?}");
        Ok(text.to_owned())
    }

    async fn fields(&mut self) -> Result<Vec<(String, String)>, End> {
        let mut fields = Vec::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Ok(fields);
            }
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no colon in {line:?}"));
            let is_token =
                name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
            assert!(!name.is_empty() && is_token, "{name:?} is no field name");
            fields.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
        }
    }

    /// A whole request; `None` when the client ended the connection between two.
    pub async fn request(&mut self, connection: usize) -> Option<Request> {
        let line = self.line().await.ok()?;
        let mut parts = line.split(' ');
        let (Some(method), Some(target), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            panic!("{line:?} is no request line");
        };
        let fields = self.fields().await.ok()?;
        let coding = first(&fields, "transfer-encoding");
        let length = first(&fields, "content-length");
        assert!(coding.is_none() || length.is_none(), "both framings: {fields:?}");
        assert!(all(&fields, "content-length").len() < 2, "two lengths: {fields:?}");
        let (body, trailers) = match (coding, length) {
            (Some(coding), _) => {
                assert_eq!(coding, "chunked");
                let mut body = Vec::new();
                let trailers = self.chunks(&mut body).await.ok()?;
                (body, trailers)
            }
            (None, Some(length)) => {
                let length = length.parse().expect("a length must be a number");
                (self.exactly(length).await.ok()?, Vec::new())
            }
            (None, None) => (Vec::new(), Vec::new()),
        };
        let (method, target) = (method.to_owned(), target.to_owned());
        Some(Request { connection, method, target, version: version.to_owned(), fields, body, trailers })
    }

    async fn chunks(&mut self, body: &mut Vec<u8>) -> Result<Vec<(String, String)>, End> {
        loop {
            let line = self.line().await?;
            assert!(line.bytes().all(|byte| byte.is_ascii_hexdigit()), "{line:?} is no plain chunk size");
            let size = usize::from_str_radix(&line, 16).expect("a chunk size must be hexadecimal");
            if size == 0 {
                return self.fields().await;
            }
            // Piece by piece, so that a body that is cut shows what there was of it.
            while self.buffer.is_empty() {
                self.more().await?;
            }
            let mut rest = size;
            while rest > 0 {
                if self.buffer.is_empty() {
                    self.more().await?;
                }
                let n = rest.min(self.buffer.len());
                body.extend(self.buffer.drain(..n));
                rest -= n;
            }
            assert_eq!(self.exactly(2).await?, b"\r\n", "a chunk must end with CRLF");
        }
    }

    /// A whole response to a request with this method, the 1xx before it included. An end before its head is an error.
    pub async fn response(&mut self, method: &str) -> Result<Response, End> {
        let mut informational = Vec::new();
        loop {
            let line = self.line().await?;
            let mut parts = line.splitn(3, ' ');
            let (Some(version), Some(status), Some(_reason)) = (parts.next(), parts.next(), parts.next())
            else {
                panic!("{line:?} is no status line");
            };
            assert_eq!(version, "HTTP/1.1", "{line:?}");
            assert_eq!(status.len(), 3, "{line:?}");
            let (version, status) = (version.to_owned(), status.parse().expect("a status must be a number"));
            let fields = self.fields().await?;
            if (100..200).contains(&status) && status != 101 {
                informational.push((status, fields));
                continue;
            }
            let mut response = Response {
                informational,
                version,
                status,
                fields,
                body: Vec::new(),
                trailers: Vec::new(),
                end: BodyEnd::Complete,
            };
            if method != "HEAD" && !matches!(status, 101 | 204 | 304) {
                response.end = self.body(&mut response).await.unwrap_or_else(BodyEnd::Cut);
            }
            return Ok(response);
        }
    }

    async fn body(&mut self, response: &mut Response) -> Result<BodyEnd, End> {
        let coding = response.field("transfer-encoding").map(str::to_owned);
        let length = response.field("content-length").map(|text| text.parse::<usize>());
        assert!(coding.is_none() || length.is_none(), "both framings: {:?}", response.fields);
        assert!(response.all("content-length").len() < 2, "two lengths: {:?}", response.fields);
        match (coding, length) {
            (Some(coding), _) => {
                assert_eq!(coding, "chunked");
                response.trailers = self.chunks(&mut response.body).await?;
            }
            (None, Some(length)) => {
                let length = length.expect("a length must be a number");
                while response.body.len() < length {
                    if self.buffer.is_empty() {
                        self.more().await?;
                    }
                    let n = (length - response.body.len()).min(self.buffer.len());
                    response.body.extend(self.buffer.drain(..n));
                }
            }
            (None, None) => loop {
                response.body.append(self.buffer);
                match self.more().await {
                    Ok(()) => {}
                    Err(End::Fin) => return Ok(BodyEnd::Close),
                    Err(End::Rst) => return Err(End::Rst),
                }
            },
        }
        Ok(BodyEnd::Complete)
    }
}
