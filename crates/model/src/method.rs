//! The request method (RFC 9110 section 9): the registered ones as variants, any other token kept as sent.

use std::fmt;

/// A request method. Methods are case-sensitive tokens: `get` is not `GET`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub enum Method {
    Connect,
    Delete,
    #[default]
    Get,
    Head,
    Options,
    Patch,
    Post,
    Put,
    Trace,
    /// Any other token, for example `PROPFIND`.
    Extension(Box<str>),
}

/// The bytes are not a token of RFC 9110 section 5.6.2, or are longer than 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseMethodError;

impl Method {
    /// Reads a method token of at most 32 bytes.
    pub fn parse(token: &[u8]) -> Result<Method, ParseMethodError> {
        Ok(match token {
            b"GET" => Method::Get,
            b"POST" => Method::Post,
            b"HEAD" => Method::Head,
            b"PUT" => Method::Put,
            b"DELETE" => Method::Delete,
            b"OPTIONS" => Method::Options,
            b"PATCH" => Method::Patch,
            b"CONNECT" => Method::Connect,
            b"TRACE" => Method::Trace,
            other if other.is_empty() || other.len() > 32 || !other.iter().all(|b| is_token(*b)) => {
                return Err(ParseMethodError);
            }
            other => Method::Extension(String::from_utf8_lossy(other).into()),
        })
    }

    pub fn as_str(&self) -> &str {
        match self {
            Method::Connect => "CONNECT",
            Method::Delete => "DELETE",
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Options => "OPTIONS",
            Method::Patch => "PATCH",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Trace => "TRACE",
            Method::Extension(token) => token,
        }
    }

    /// Whether repeating the request has the effect of sending it once (RFC 9110 section 9.2.2).
    pub fn is_idempotent(&self) -> bool {
        matches!(
            self,
            Method::Get | Method::Head | Method::Options | Method::Trace | Method::Put | Method::Delete
        )
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_kept_and_case_counts() {
        assert_eq!(Method::parse(b"GET"), Ok(Method::Get));
        assert_eq!(Method::parse(b"get"), Ok(Method::Extension("get".into())));
        assert_eq!(Method::parse(b"G ET"), Err(ParseMethodError));
        assert_eq!(Method::parse(b""), Err(ParseMethodError));
        assert_eq!(Method::parse(&[b'A'; 33]), Err(ParseMethodError));
    }
}
