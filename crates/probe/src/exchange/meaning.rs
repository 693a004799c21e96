//! What each fault of Clearway is called in the words of the kind `failure`. The match is exhaustive: a new fault does not
//! compile until it says what it means.

use model::{Attempt, Fault, PeerEnd};

use super::{How, Phase, of_errno};

/// What of an attempt tells more than its fault.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts<'a> {
    errno: Option<i32>,
    peer_end: Option<PeerEnd>,
    received: u64,
    alert: Option<u8>,
    detail: &'a str,
}

impl<'a> Facts<'a> {
    pub(super) fn of(attempt: &'a Attempt) -> Facts<'a> {
        Facts {
            errno: attempt.errno,
            peer_end: attempt.peer_end,
            received: attempt.bytes_received,
            alert: attempt.tls_alert,
            detail: attempt.detail.as_deref().unwrap_or_default(),
        }
    }

    fn says(&self, words: &str) -> bool {
        self.detail.contains(words)
    }

    /// How a connection that was lost was lost.
    fn lost(&self, otherwise: How) -> How {
        match (self.errno.and_then(errno), self.peer_end) {
            (Some(how), _) => how,
            (None, Some(PeerEnd::Rst)) => How::Reset,
            (None, Some(PeerEnd::Fin)) => How::Closed,
            (None, None) => otherwise,
        }
    }
}

/// `unrecognized_name` (RFC 8446 section 6.2).
const ALERT_UNRECOGNIZED_NAME: u8 = 112;

pub(super) fn of(fault: Fault, during: model::Phase, facts: &Facts<'_>) -> (Phase, How) {
    let phase = phase(during);
    match fault {
        Fault::RequestMalformed
        | Fault::RequestNotImplemented
        | Fault::RequestVersionUnsupported
        | Fault::ExpectationUnknown
        | Fault::Misdirected
        | Fault::ClientFlood => (Phase::Client, How::InvalidRequest),
        Fault::RequestHeadTooLarge | Fault::RequestTargetTooLong => (Phase::Client, How::HeaderTooBigRequest),
        // Of unknown length, and more than can be held to find it out.
        Fault::RequestBodyTooLarge | Fault::RequestLengthRequired => (Phase::Client, How::BodyTooLarge),
        Fault::ClientHeadTimeout | Fault::ClientBodyTimeout | Fault::ClientSendTimeout => {
            (Phase::Client, How::Timeout)
        }
        Fault::ClientTlsFailed => (Phase::Client, How::Handshake),
        Fault::ClientGone => (Phase::Client, How::Aborted),
        Fault::NotConfigured
        | Fault::NoRoute
        | Fault::MethodNotAllowed
        | Fault::Unauthenticated
        | Fault::Forbidden => (Phase::Select, How::Other),
        Fault::Overloaded => (phase, overloaded(facts)),
        Fault::Draining => (Phase::Select, How::Disabled),
        Fault::QueueFull => (Phase::Select, How::Overflow),
        Fault::QueueTimeout => (Phase::Select, How::Timeout),
        Fault::NoTarget => (Phase::Select, How::NoLive),
        Fault::Internal => (phase, How::Other),
        Fault::LimitExceeded => (Phase::Select, How::Overflow),
        Fault::AiRequestMalformed => (Phase::Client, How::InvalidRequest),
        Fault::ModelUnknown => (Phase::Select, How::Other),
        Fault::LanesResting => (Phase::Select, How::NoLive),
        Fault::UpstreamCredentials
        | Fault::ProviderFailed
        | Fault::ProviderOverloaded
        | Fault::ProviderRateLimited
        | Fault::ProviderUnreadable => (Phase::Head, How::Other),
        Fault::StreamUnfinished => (Phase::Body, How::Truncated),
        Fault::DnsFailed => (Phase::Resolve, resolve(facts)),
        Fault::ConnectRefused => (Phase::Connect, facts.errno.and_then(errno).unwrap_or(How::Refused)),
        Fault::ConnectTimeout => (Phase::Connect, How::Timeout),
        Fault::ConnectFailed => (Phase::Connect, facts.lost(How::Other)),
        Fault::TlsFailed => (Phase::Tls, handshake(facts)),
        Fault::TlsTimeout => (Phase::Tls, How::Timeout),
        Fault::SendTimeout => (Phase::Send, How::Timeout),
        Fault::SendFailed => (Phase::Send, facts.lost(How::Other)),
        Fault::AwaitHeadTimeout => (Phase::Head, How::Timeout),
        Fault::EarlyClose if facts.received > 0 => (Phase::Head, How::Truncated),
        Fault::EarlyClose => (Phase::Head, How::Closed),
        Fault::Reset => (Phase::Head, How::Reset),
        // REFUSED_STREAM, or GOAWAY with a lower last stream id: the server takes no more on this connection.
        Fault::StreamRefused => (phase, How::Goaway),
        Fault::ResponseMalformed => (Phase::Head, malformed(facts)),
        Fault::ResponseHeadTooLarge => (Phase::Head, How::HeaderTooBig),
        Fault::BodyTruncated => (Phase::Body, How::Truncated),
        Fault::BodyReset => (Phase::Body, How::Reset),
        Fault::BodyMalformed => (Phase::Body, How::InvalidChunk),
        Fault::BodyIdleTimeout => (Phase::Body, How::Timeout),
        Fault::TotalTimeout => (phase, How::Timeout),
    }
}

/// Where Clearway was, in the words for all proxies.
fn phase(during: model::Phase) -> Phase {
    match during {
        model::Phase::Accept | model::Phase::ReadRequest => Phase::Client,
        model::Phase::Policy | model::Phase::Queue => Phase::Select,
        model::Phase::Resolve => Phase::Resolve,
        model::Phase::Connect => Phase::Connect,
        model::Phase::Tls => Phase::Tls,
        model::Phase::Send => Phase::Send,
        model::Phase::AwaitHead => Phase::Head,
        model::Phase::Body | model::Phase::Done => Phase::Body,
    }
}

fn errno(errno: i32) -> Option<How> {
    match errno {
        // ENFILE: the machine has no descriptor left, where EMFILE says it of the process.
        23 => Some(How::NoDescriptors),
        _ => of_errno(&errno.to_string()),
    }
}

fn overloaded(facts: &Facts<'_>) -> How {
    match facts.errno.and_then(errno) {
        // From connect(2) it is the table of routes (`upstream/src/dial.rs`), not the queue of a socket.
        Some(How::QueueFull) | None => How::Overflow,
        Some(how) => how,
    }
}

/// The words are those of hickory and of `upstream/src/resolve.rs`. Names hold no blank, so that none can be taken for them.
fn resolve(facts: &Facts<'_>) -> How {
    let detail = facts.detail.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| detail.contains(word));
    if detail.is_empty() || says(&["no answer from the name servers", "request timed out"]) {
        How::Timeout
    } else if says(&["server failure", "query refused"]) {
        How::ServerFailed
    } else if says(&["no records found", "non-existent domain", "no addresses"]) {
        How::NotFound
    } else {
        How::Other
    }
}

/// The words are those of rustls.
fn handshake(facts: &Facts<'_>) -> How {
    if facts.alert == Some(ALERT_UNRECOGNIZED_NAME) {
        How::UnknownName
    } else if facts.says("InvalidContentType") {
        How::WrongVersion
    } else if facts.says("certificate expired") || facts.says("certificate not valid yet") {
        How::Expired
    } else if facts.says("not valid for name") || facts.says("NotValidForName") {
        How::NameMismatch
    } else if facts.says("invalid peer certificate") {
        How::Verify
    } else if facts.alert.is_some() || facts.says("received fatal alert") {
        How::Handshake
    } else {
        facts.lost(How::Handshake)
    }
}

/// The words are the rules of `wire`.
fn malformed(facts: &Facts<'_>) -> How {
    if facts.says("must begin with HTTP/") {
        How::NotHttp
    } else if facts.says("repeated Content-Length") {
        How::DuplicateLength
    } else if facts.says("Content-Length and Transfer-Encoding exclude") {
        How::LengthAndChunked
    } else if facts.says("Content-Length must be") {
        How::InvalidLength
    } else {
        How::InvalidHeader
    }
}
