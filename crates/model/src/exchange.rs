//! The one record of a request. Log line, metrics, trace and the stored record are all derived from it.
//!
//! Secrets do not enter: no query values, no credentials, no cookies, no bodies.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::{AiCall, Ending, Method, RequestId};

/// What happened to one request, from its first byte to the last byte of its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    pub id: RequestId,
    /// Unix time in microseconds at which the first byte of the request was read.
    pub started_unix_micros: u64,
    /// The name of the listener.
    pub listener: Arc<str>,
    /// The peer's address, or the address that a trusted proxy named for it. `None` on a Unix socket.
    pub client: Option<IpAddr>,
    pub protocol: Protocol,
    /// Whether the client's connection was TLS.
    pub tls: bool,
    /// `GET` when no request line could be read.
    pub method: Method,
    /// The host asked for, lower case, without port; empty if none could be read. At most 255 bytes.
    pub host: Box<str>,
    /// The canonical path without query, cut at 1,024 bytes. Empty if none could be read.
    pub path: Box<str>,
    /// The service and route that took the request.
    pub service: Option<Arc<str>>,
    pub route: Option<Arc<str>>,
    pub consumer: Option<Arc<str>>,
    /// The request id that a trusted proxy had given, cut at 64 bytes.
    pub external_id: Option<Box<str>>,
    /// The status sent to the client; 499 if it left before it got one. 101 for an upgraded connection.
    pub status: u16,
    pub ending: Ending,
    /// What the fault alone does not say, for operators only: the rule that was broken, the reason a library gave.
    pub detail: Option<Box<str>>,
    /// Body bytes read from and sent to the client, after removing the transfer coding.
    pub request_body_bytes: u64,
    pub response_body_bytes: u64,
    pub timeline: Timeline,
    pub attempts: Vec<Attempt>,
    /// What it was as a call of an AI model; boxed, because most exchanges are none.
    pub ai: Option<Box<AiCall>>,
}

/// When the steps of an exchange ended, as microseconds since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    /// The request head was read and parsed.
    pub head_micros: u64,
    /// The request body had been read, or as much of it as was read before a target was taken; `None` if none was.
    pub body_micros: Option<u64>,
    /// The response head went to the client; `None` if none did.
    pub response_micros: Option<u64>,
    /// The exchange was over.
    pub done_micros: u64,
}

/// The protocol the client spoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    Http10,
    Http11,
    Http2,
}

impl Protocol {
    pub const ALL: &'static [Protocol] = &[Protocol::Http10, Protocol::Http11, Protocol::Http2];

    pub fn id(self) -> &'static str {
        match self {
            Protocol::Http10 => "HTTP/1.0",
            Protocol::Http11 => "HTTP/1.1",
            Protocol::Http2 => "HTTP/2",
        }
    }
}

/// One try at one target: what nginx cannot tell.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    pub upstream: Arc<str>,
    /// The target's URL as configured, without credentials.
    pub target: Arc<str>,
    /// The address that was used; `None` before one was known, and for Unix sockets.
    pub address: Option<SocketAddr>,
    /// Microseconds since the start of the exchange.
    pub started_micros: u64,
    /// Why it could follow the attempt before it; `None` for the first one.
    pub why: Option<RetryRule>,
    /// How long the exchange had waited before it for a target that accepts connections.
    pub waited: Option<Duration>,
    /// `None` for a fresh connection.
    pub reuse: Option<Reuse>,
    /// How long each step took; `None` if it did not happen or did not end.
    pub resolve: Option<Duration>,
    pub connect: Option<Duration>,
    pub tls: Option<Duration>,
    /// From the first byte written to the last byte of the request.
    pub send: Option<Duration>,
    /// From the first byte written to the last byte of the response head.
    pub await_head: Option<Duration>,
    /// From the start of the attempt to its end.
    pub total: Duration,
    /// Bytes on the wire in this attempt, heads included.
    pub bytes_sent: u64,
    pub bytes_received: u64,
    /// How many of the sent bytes the peer's kernel had acknowledged when the attempt failed (`TCP_INFO`).
    pub bytes_acked: Option<u64>,
    /// The status of the response head, if one arrived.
    pub status: Option<u16>,
    pub ending: Ending,
    /// How the peer ended the connection, if it did.
    pub peer_end: Option<PeerEnd>,
    pub errno: Option<i32>,
    /// The TLS alert sent or received (RFC 8446 section 6).
    pub tls_alert: Option<u8>,
    /// The limit that ended it.
    pub limit: Option<Limit>,
    /// What the fault alone does not say; first bytes of garbage are escaped, at most 64 of them.
    pub detail: Option<Box<str>>,
}

/// A closed list whose members have permanent public names, so that a stored record can name them again.
macro_rules! named {
    ($(#[$about:meta])* $list:ident { $($(#[$doc:meta])* $name:ident $id:literal;)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $list { $($(#[$doc])* $name,)* }

        impl $list {
            pub const ALL: &'static [$list] = &[$($list::$name,)*];

            /// The permanent public name.
            pub fn id(self) -> &'static str {
                match self { $($list::$name => $id,)* }
            }
        }
    };
}

named! {
    /// By which rule an attempt may follow one that came to nothing.
    RetryRule {
        /// No byte of the request had been written, or the target refused it unprocessed.
        Unsent "unsent";
        /// The method is idempotent (RFC 9110 section 9.2.2).
        Idempotent "idempotent";
        /// The operator allows it for every method (`retries.non-idempotent`).
        Configured "configured";
        /// The client gave an `Idempotency-Key`.
        IdempotencyKey "idempotency-key";
        /// The target had closed its side before the request could reach it: it never acknowledged a byte of it.
        Undelivered "undelivered";
        /// The attempt before it took longer than nearly all, goes on beside it, and the method is idempotent.
        Hedged "hedged";
        /// The target answered 502, 503 or 504, and the method is idempotent.
        BadAnswer "bad-answer";
        /// Another lane of an AI model may answer what the one before could not: another key, provider or model.
        OtherLane "other-lane";
        /// The only lane of an AI model is asked again: no content had reached the client.
        SameLane "same-lane";
    }
}

/// What a pooled connection had behind it when it was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reuse {
    /// Requests it had served before this one.
    pub requests: u32,
    pub idle: Duration,
}

/// How a peer ended its side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerEnd {
    Fin,
    Rst,
}

/// The named limit that was reached, and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    Bytes { name: LimitName, max: u64 },
    Count { name: LimitName, max: u64 },
    Time { name: LimitName, max: Duration },
}

named! {
    /// Every limit that can end an exchange or attempt. The id reads like the field that sets it; a new limit is one line.
    LimitName {
        Attempt "attempt";
        AwaitHead "await-head";
        BodyIdle "body-idle";
        BodyRate "body-rate";
        ClientBodyIdle "client-body-idle";
        ClientHead "client-head";
        ClientSend "client-send";
        Connect "connect";
        Connections "connections";
        Http2Frames "http2-frames";
        Http2Memory "http2-memory";
        Http2Resets "http2-resets";
        Http2Streams "http2-streams";
        KeepAlive "keep-alive";
        QueueBytes "queue-bytes";
        QueueLength "queue-length";
        QueueStandingWait "queue-standing-wait";
        QueueWait "queue-wait";
        RequestBody "request-body";
        RequestBuffering "request-buffering";
        RequestFields "request-fields";
        RequestHead "request-head";
        RequestTarget "request-target";
        RequestsPerConnection "requests-per-connection";
        Resolve "resolve";
        ResponseFields "response-fields";
        ResponseHead "response-head";
        Send "send";
        Spool "spool";
        Tls "tls";
        Total "total";
        UwsgiPacket "uwsgi-packet";
    }
}

impl std::fmt::Display for LimitName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.id())
    }
}
