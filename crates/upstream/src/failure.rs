//! Why an attempt failed, with everything the record can use.

use std::io;
use std::time::Duration;

use model::{Ending, Fault, Limit, LimitName, PeerEnd, Phase};

/// How an attempt ended before its time.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    pub fault: Fault,
    pub phase: Phase,
    pub errno: Option<i32>,
    pub peer_end: Option<PeerEnd>,
    pub tls_alert: Option<u8>,
    pub limit: Option<Limit>,
    pub detail: Option<Box<str>>,
}

impl Failure {
    pub fn new(phase: Phase, fault: Fault) -> Failure {
        Failure { fault, phase, errno: None, peer_end: None, tls_alert: None, limit: None, detail: None }
    }

    pub fn with_detail(mut self, detail: impl Into<Box<str>>) -> Failure {
        self.detail = Some(detail.into());
        self
    }

    /// What a read or write on the connection said: its errno, how the peer ended it, the alert it sent under TLS.
    pub fn with_io(mut self, error: &io::Error) -> Failure {
        self.errno = error.raw_os_error();
        self.peer_end = match error.kind() {
            // TLS: the stream ended without close_notify.
            io::ErrorKind::UnexpectedEof => Some(PeerEnd::Fin),
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Some(PeerEnd::Rst),
            _ => None,
        };
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let Some(rustls::Error::AlertReceived(alert)) = tls {
            self.tls_alert = Some(u8::from(*alert));
        }
        if self.errno.is_none() {
            self.detail = Some(error.to_string().into());
        }
        self
    }

    pub fn with_limit(mut self, limit: Limit) -> Failure {
        self.limit = Some(limit);
        self
    }

    /// A time limit that was reached.
    pub fn timeout(phase: Phase, fault: Fault, name: LimitName, max: Duration) -> Failure {
        Failure::new(phase, fault).with_limit(Limit::Time { name, max })
    }

    /// The peer closed its side cleanly.
    pub fn with_fin(mut self) -> Failure {
        self.peer_end = Some(PeerEnd::Fin);
        self
    }

    pub fn ending(&self) -> Ending {
        Ending { by: self.fault.party(), during: self.phase, fault: Some(self.fault) }
    }
}

/// The first bytes of something that is not HTTP, printable: at most 64 of them, others escaped.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    let shown = bytes.get(..64).unwrap_or(bytes);
    format!("first bytes: \"{}\"", shown.escape_ascii())
}
