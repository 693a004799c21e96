//! What came back: the head as far as it is one, whether the whole answer is there, and who wrote it.

use model::Moment;

use super::End;
use crate::parse::clock;

/// The head of an answer, as it came.
#[derive(Debug, Default)]
pub(in crate::check) struct Head {
    pub(in crate::check) status: Option<u16>,
    /// Names in small letters.
    fields: Vec<(String, String)>,
    /// Bytes up to and with the empty line; 0 while there is none.
    pub(in crate::check) bytes: usize,
    /// A line that is no field.
    broken: bool,
    has_body: bool,
}

impl Head {
    pub(in crate::check) fn read(bytes: &[u8], method: &str) -> Head {
        let end = find(bytes, b"\r\n\r\n").map(|at| at + 4).or_else(|| find(bytes, b"\n\n").map(|at| at + 2));
        let text = String::from_utf8_lossy(bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default());
        let mut lines = text.lines();
        let mut head = Head { bytes: end.unwrap_or(0), ..Head::default() };
        let first = lines.next().unwrap_or_default();
        head.status = first.strip_prefix("HTTP/").and_then(|rest| {
            let word = rest.split(' ').nth(1)?;
            (word.len() == 3).then(|| word.parse().ok()).flatten()
        });
        for line in lines.filter(|line| !line.is_empty()) {
            match line.split_once(':') {
                Some((name, value)) if !name.is_empty() && !name.contains([' ', '\t']) => {
                    head.fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
                }
                _ => head.broken = true,
            }
        }
        let bodiless = head.status.is_some_and(|status| status < 200 || status == 204 || status == 304);
        head.has_body = method != "HEAD" && !bodiless;
        head
    }

    pub(in crate::check) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(in crate::check) fn count(&self, name: &str) -> usize {
        self.fields.iter().filter(|(known, _)| known == name).count()
    }

    pub(in crate::check) fn keeps_alive(&self) -> bool {
        self.field("connection").is_none_or(|value| !value.eq_ignore_ascii_case("close"))
    }

    /// Whether nothing more is to come.
    pub(in crate::check) fn is_complete(&self, bytes: &[u8]) -> bool {
        if self.bytes == 0 || self.status.is_none() {
            return false;
        }
        let body = bytes.get(self.bytes..).unwrap_or_default();
        if !self.has_body {
            return true;
        }
        if self.field("transfer-encoding").is_some() {
            return body.ends_with(b"0\r\n\r\n");
        }
        self.length().is_some_and(|length| body.len() >= length)
    }

    fn length(&self) -> Option<usize> {
        self.field("content-length")?.parse().ok()
    }

    /// One word for what came.
    pub(in crate::check) fn result(&self, end: &End, bytes: &[u8]) -> &'static str {
        if bytes.is_empty() {
            return match end {
                End::Closed | End::Complete => "closed",
                End::Timeout => "timeout",
                End::Failed(error) | End::Unconnected(error) => match error.raw_os_error() {
                    Some(libc::ECONNRESET | libc::EPIPE) => "reset",
                    Some(libc::ECONNREFUSED) => "refused",
                    _ if matches!(
                        error.kind(),
                        std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock
                    ) =>
                    {
                        "timeout"
                    }
                    _ => "error",
                },
            };
        }
        if !bytes.starts_with(b"HTTP/") {
            return "not-http";
        }
        if self.status.is_none() {
            return "no-status";
        }
        if self.bytes == 0 {
            return if matches!(end, End::Timeout) { "timeout" } else { "closed" };
        }
        if self.broken {
            return "invalid-header";
        }
        match end {
            End::Complete => "ok",
            End::Closed if self.length().is_none() && self.field("transfer-encoding").is_none() => "ok",
            End::Closed | End::Failed(_) | End::Unconnected(_) => "truncated",
            End::Timeout => "timeout",
        }
    }

    /// Who wrote it: by what each product's own error pages look like, else by the field Server.
    pub(in crate::check) fn generator(&self, bytes: &[u8]) -> Option<String> {
        let status = self.status?;
        let body = String::from_utf8_lossy(bytes.get(self.bytes..).unwrap_or_default());
        let server = self.field("server").unwrap_or_default().to_ascii_lowercase();
        let error = status >= 400;
        let own = if error && body.contains("<hr><center>nginx") {
            "nginx"
        } else if error
            && (body.contains("The proxy server received an invalid")
                || body.contains("unable to service your request due to maintenance downtime"))
        {
            "apache"
        } else if error && body.contains("The server returned an invalid or incomplete response.")
            || body.contains("No server is available to handle this request.")
        {
            "haproxy"
        } else if error
            && (body.starts_with("upstream connect error") || body.starts_with("no healthy upstream"))
        {
            "envoy"
        } else if error && body.contains("<h1><p>Internal Server Error</p></h1>") {
            "gunicorn"
        } else if error && server == "caddy" && body.is_empty() {
            "caddy"
        } else if self.field("x-clearway-fault").is_some()
            || body.contains("\"fault\":") && server.contains("clearway")
        {
            "clearway"
        } else {
            return [
                "nginx",
                "apache",
                "envoy",
                "caddy",
                "gunicorn",
                "uvicorn",
                "hypercorn",
                "daphne",
                "uwsgi",
                "werkzeug",
                "awselb",
                "cloudflare",
            ]
            .into_iter()
            .find(|name| server.contains(name))
            .map(|name| if error { "app".to_owned() } else { name.to_owned() });
        };
        Some(own.to_owned())
    }

    /// Seconds that the field Date is ahead of this clock, beyond its own precision.
    pub(in crate::check) fn clock_offset(&self, now: Option<Moment>) -> Option<i64> {
        let date = self.field("date")?;
        let (_, rest) = date.split_once(", ")?;
        let mut words = rest.split(' ');
        let (day, month, year, time) = (words.next()?, words.next()?, words.next()?, words.next()?);
        let (told, _) = clock::common_log(&format!("{day}/{month}/{year}:{time} +0000"), 0)?;
        let offset = told.seconds_since(now?);
        Some(if offset.abs() < 2.0 { 0 } else { offset as i64 })
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], end: End, expected: &str) {
        let head = Head::read(bytes, "GET");
        let end = if head.is_complete(bytes) { End::Complete } else { end };
        let status = head.status.map(|status| status.to_string()).unwrap_or_default();
        let shown =
            format!("{} {status} {}", head.result(&end, bytes), head.generator(bytes).unwrap_or_default());
        assert_eq!(shown.trim_end(), expected);
    }

    #[test]
    fn answers_are_judged() {
        check(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nServer: gunicorn\r\n\r\nok",
            End::Closed,
            "ok 200 gunicorn",
        );
        check(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", End::Closed, "truncated 200");
        check(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
            End::Closed,
            "truncated 200",
        );
        check(b"HTTP/1.1 200 OK\r\n\r\nuntil the end", End::Closed, "ok 200");
        check(b"HTTP/1.1 502 Bad Gateway\r\nServer: nginx\r\nContent-Length: 29\r\n\r\n<hr><center>nginx</center>...", End::Closed, "ok 502 nginx");
        check(b"HTTP/1.1 None\r\nServer: gunicorn\r\n\r\n", End::Closed, "no-status");
        check(
            b"HTTP/1.1 200 OK\r\nBad Name: x\r\nContent-Length: 0\r\n\r\n",
            End::Closed,
            "invalid-header 200",
        );
        check(b"\x15\x03\x01", End::Closed, "not-http");
        check(b"", End::Closed, "closed");
        check(b"", End::Timeout, "timeout");
        check(b"HTTP/1.1 200 OK\r\nServer", End::Timeout, "timeout 200");
    }
}
