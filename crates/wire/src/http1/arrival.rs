//! When to parse a head that arrives in pieces: as often as a parse can tell something new, and not for each piece.

use memchr::memchr;

use super::HeadLimits;

/// What is known of a head that is still arriving. A new one for each head.
#[derive(Clone, Copy, Debug, Default)]
pub struct Arrival {
    /// Bytes that were looked at.
    seen: usize,
    /// The first line is there.
    has_line: bool,
}

impl Arrival {
    /// Whether it is worth to parse all bytes received so far. It is with the first of them (whoever speaks another protocol
    /// is found out at once), at the end of the first line, when a line is empty or ends unlike lines of HTTP, and when there
    /// are as many bytes as there may be. In between, what is wrong already is found later, and with the same error.
    pub fn is_due(&mut self, bytes: &[u8], limits: &HeadLimits) -> bool {
        if bytes.is_empty() {
            return false;
        }
        let is_first = self.seen == 0;
        let found = self.has_telling_line(bytes);
        is_first || found || bytes.len() >= limits.head_bytes
    }

    fn has_telling_line(&mut self, bytes: &[u8]) -> bool {
        while let Some(found) = bytes.get(self.seen..).and_then(|new| memchr(b'\n', new)) {
            let line = bytes.get(..self.seen + found).unwrap_or_default();
            self.seen = line.len() + 1;
            let is_first = !std::mem::replace(&mut self.has_line, true);
            let ends_a_field = line.ends_with(b"\r") && !line.ends_with(b"\n\r");
            if is_first || !ends_a_field {
                self.seen = bytes.len();
                return true;
            }
        }
        self.seen = bytes.len();
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::{RequestError, parse_request};
    use crate::{LineError, RequestHead};

    const LIMITS: HeadLimits = HeadLimits { head_bytes: 4096, fields: 100, target_bytes: 2048 };

    /// Parses a head that comes byte by byte, only when it is due: after how many bytes there is a result, which, and how
    /// many times it was parsed.
    fn drip(bytes: &[u8]) -> (usize, Result<(), RequestError>, usize) {
        let mut arrival = Arrival::default();
        let mut head = RequestHead::default();
        let mut parsed = 0;
        for end in 1..=bytes.len() {
            if !arrival.is_due(&bytes[..end], &LIMITS) {
                continue;
            }
            parsed += 1;
            match parse_request(&bytes[..end], &LIMITS, &mut head) {
                Ok(None) => {}
                Ok(Some(_)) => return (end, Ok(()), parsed),
                Err(error) => return (end, Err(error), parsed),
            }
        }
        panic!("no result after {} bytes", bytes.len());
    }

    #[test]
    fn a_head_that_comes_byte_by_byte_is_parsed_a_few_times() {
        let fields: String = (0..90).map(|n| format!("X-{n}: {}\r\n", "a".repeat(20))).collect();
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        assert_eq!(drip(request.as_bytes()), (request.len(), Ok(()), 3));
        let after_empty_lines = format!("\r\n\r\n{request}");
        let (end, result, parsed) = drip(after_empty_lines.as_bytes());
        assert_eq!((end, result), (after_empty_lines.len(), Ok(())));
        assert!(parsed <= 5, "{parsed}");
    }

    #[test]
    fn what_never_comes_to_an_end_is_refused_when_it_shows_or_at_the_limit() {
        for (bytes, end, error) in [
            ("\x16\x03\x01", 1, RequestError::TlsHandshake),
            ("GET /\r\n", 7, RequestError::RequestLineInvalid),
            ("GET / HTTP/1.1\n", 15, RequestError::Line(LineError::BareLf)),
            ("GET / HTTP/1.1\r\nHost: a\n", 24, RequestError::Line(LineError::BareLf)),
            ("GET / HTTP/1.1\r\nHost a\r\n\r\n", 26, RequestError::Line(LineError::WhitespaceInName)),
        ] {
            let (at, result, _) = drip(bytes.as_bytes());
            assert_eq!((at, result), (end, Err(error)), "{bytes:?}");
        }
        let endless = format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(5000));
        assert_eq!(drip(endless.as_bytes()), (4096, Err(RequestError::HeadTooLarge), 3));
    }

    #[test]
    fn pieces_of_any_size_come_to_the_same_result() {
        let text = "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n";
        for size in 1..=text.len() {
            let mut arrival = Arrival::default();
            let ends = (0..text.len()).step_by(size).map(|start| (start + size).min(text.len()));
            let due: Vec<usize> =
                ends.filter(|end| arrival.is_due(&text.as_bytes()[..*end], &LIMITS)).collect();
            assert_eq!(due.last(), Some(&text.len()), "in pieces of {size}");
        }
    }
}
