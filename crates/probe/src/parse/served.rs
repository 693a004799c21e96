//! Requests as Python servers log them among their other lines: Uvicorn, Hypercorn, Daphne, uWSGI, and Gunicorn where its
//! access log goes to the same place.

use std::borrow::Cow;

use model::{Evidence, Moment};

use super::failure::uri_of;
use super::{access, clock};

/// One request that a server answered.
pub(crate) struct Served<'a> {
    pub(crate) time: Option<Moment>,
    status: Cow<'a, str>,
    method: Option<Cow<'a, str>>,
    uri: Option<Cow<'a, str>>,
    pub(crate) elapsed: Option<f64>,
}

impl Served<'_> {
    pub(crate) fn failed(&self) -> bool {
        self.status.starts_with('5')
    }

    pub(crate) fn evidence(&self, server: &'static str) -> Evidence {
        Evidence::new("request")
            .with("proxy", server)
            .with("status", &self.status)
            .with_some("method", self.method.as_ref())
            .with_some("uri", self.uri.as_ref().map(|uri| uri_of(uri)))
            .with_some("elapsed", self.elapsed)
    }
}

pub(crate) fn one(line: &str, zone: clock::Zone) -> Option<Served<'_>> {
    if line.starts_with("[pid: ") {
        return uwsgi(line, zone);
    }
    // Nothing else is worth the closer look.
    if !line.contains("\" ") {
        return None;
    }
    access::served(line, zone).or_else(|| uvicorn(line))
}

/// `INFO:     127.0.0.1:39202 - "GET /ok HTTP/1.1" 200 OK`
fn uvicorn(line: &str) -> Option<Served<'_>> {
    let (client, rest) = line.split_once(" - \"")?;
    let (asked, rest) = rest.split_once("\" ")?;
    let (asked, protocol) = asked.rsplit_once(' ')?;
    let (method, uri) = asked.split_once(' ')?;
    let status = rest.split(' ').next()?;
    let number = status.len() == 3 && status.bytes().all(|b| b.is_ascii_digit());
    let client = client.rsplit(' ').next()?.contains(':');
    (number && client && protocol.starts_with("HTTP/")).then(|| Served {
        time: None,
        status: status.into(),
        method: Some(method.into()),
        uri: Some(uri.into()),
        elapsed: None,
    })
}

/// `[pid: 7|app: 0|req: 1/1] 127.0.0.1 () {24 vars in 248 bytes} [Thu Nov 26 11:40:42 2026] GET /ok => generated 2 bytes in 0
/// msecs (HTTP/1.1 200) 1 headers in 38 bytes`
fn uwsgi(line: &str, zone: clock::Zone) -> Option<Served<'_>> {
    let (_, rest) = line.split_once("} [")?;
    let (time, rest) = clock::asctime(rest, zone)?;
    let (asked, rest) = rest.strip_prefix("] ")?.split_once(" => generated ")?;
    let (method, uri) = asked.split_once(' ')?;
    let (_, rest) = rest.split_once(" bytes in ")?;
    let (millis, rest) = rest.split_once(" msecs (")?;
    let (_, status) = rest.split_once(')')?.0.rsplit_once(' ')?;
    Some(Served {
        time: Some(time),
        status: status.into(),
        method: Some(method.into()).filter(|method: &Cow<'_, str>| !method.is_empty()),
        uri: Some(uri.trim().into()).filter(|uri: &Cow<'_, str>| !uri.is_empty()),
        elapsed: millis.parse::<f64>().ok().map(|millis| millis / 1000.0),
    })
}

impl<'a> Served<'a> {
    pub(crate) fn new(
        time: Option<Moment>,
        status: Cow<'a, str>,
        method: Option<Cow<'a, str>>,
        uri: Option<Cow<'a, str>>,
        elapsed: Option<f64>,
    ) -> Served<'a> {
        Served { time, status, method, uri, elapsed }
    }
}
