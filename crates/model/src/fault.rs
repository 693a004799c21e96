//! How an exchange or attempt ended: party, phase and fault.
//!
//! `Fault` is closed and has no catch-all: a new way to fail gets a name here, and everything that matches on faults
//! stops compiling until it says what the new one means. Names are public and permanent.

use std::fmt;

/// How an exchange or attempt ended. Every one ends with exactly one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ending {
    /// Who ended it.
    pub by: Party,
    /// In which phase it ended.
    pub during: Phase,
    /// What went wrong; `None` when it ran to its end.
    pub fault: Option<Fault>,
}

impl Ending {
    /// The ending of an exchange that was answered whole by the upstream.
    pub const ANSWERED: Ending = Ending { by: Party::Upstream, during: Phase::Done, fault: None };

    /// The ending of an attempt beside which another one was answered first.
    pub const SUPERSEDED: Ending = Ending { by: Party::Gateway, during: Phase::AwaitHead, fault: None };

    pub fn failed(during: Phase, fault: Fault) -> Ending {
        Ending { by: fault.party(), during, fault: Some(fault) }
    }
}

/// Who ended an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Party {
    Client,
    /// Clearway itself, by its rules or by its own bug.
    Gateway,
    /// A person, through configuration or a command.
    Operator,
    Upstream,
}

/// The steps of an exchange in the order in which they happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    Accept,
    ReadRequest,
    Policy,
    Queue,
    Resolve,
    Connect,
    Tls,
    Send,
    AwaitHead,
    Body,
    Done,
}

/// When another attempt may follow one that ended with this fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retry {
    /// No byte of the request left this machine: any method may be tried again.
    Unsent,
    /// The request may have been executed: it may be tried again only if executing it twice does no harm (its method is
    /// idempotent, or its client gave an `Idempotency-Key`) or it is taken as undelivered, and only while no byte of the
    /// response went to the client. See `RetryRule`.
    IfIdempotent,
    Never,
}

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident $id:literal $status:literal $party:ident $retry:ident;)*) => {
        /// A closed classification of what went wrong on the wire. The id is public: it stands in problem documents,
        /// records, logs and metrics.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Fault { $($(#[$doc])* $name,)* }

        impl Fault {
            /// Every fault, in the order of the declaration.
            pub const ALL: &'static [Fault] = &[$(Fault::$name,)*];

            /// The permanent public name.
            pub fn id(self) -> &'static str {
                match self { $(Fault::$name => $id,)* }
            }

            /// The status an exchange gets when this fault ends it before a response head went out.
            pub fn status(self) -> u16 {
                match self { $(Fault::$name => $status,)* }
            }

            /// Whose doing it is.
            pub fn party(self) -> Party {
                match self { $(Fault::$name => Party::$party,)* }
            }

            /// When another attempt may follow.
            pub fn retry(self) -> Retry {
                match self { $(Fault::$name => Retry::$retry,)* }
            }
        }
    };
}

faults! {
    // The client's own faults.
    /// The request breaks the grammar of its protocol (RFC 9112, RFC 9113); the record's detail names the rule.
    RequestMalformed "request-malformed" 400 Client Never;
    /// The request head is larger, or has more fields, than the listener allows.
    RequestHeadTooLarge "request-head-too-large" 431 Client Never;
    /// The request target is longer than the listener allows.
    RequestTargetTooLong "request-target-too-long" 414 Client Never;
    /// The request body is larger than the route allows.
    RequestBodyTooLarge "request-body-too-large" 413 Client Never;
    /// A transfer coding other than a single final `chunked`, or a method Clearway does not proxy (`CONNECT`).
    RequestNotImplemented "request-not-implemented" 501 Client Never;
    /// A body of unknown length for a target whose protocol needs to know it (uwsgi), larger than can be held.
    RequestLengthRequired "request-length-required" 411 Client Never;
    /// An HTTP version that is not served.
    RequestVersionUnsupported "request-version-unsupported" 505 Client Never;
    /// An `Expect` field other than `100-continue`.
    ExpectationUnknown "expectation-unknown" 417 Client Never;
    /// The host asked for is not the one this TLS connection was made for.
    Misdirected "misdirected" 421 Client Never;
    /// The request head did not arrive whole in time.
    ClientHeadTimeout "client-head-timeout" 408 Client Never;
    /// The client stopped sending its body for too long.
    ClientBodyTimeout "client-body-timeout" 408 Client Never;
    /// The client's TLS handshake failed or took too long.
    ClientTlsFailed "client-tls-failed" 400 Client Never;
    /// An HTTP/2 client sent more control frames or resets than the listener allows; its connection was closed.
    ClientFlood "client-flood" 400 Client Never;
    /// The client closed or reset its connection before it had the whole response. Nobody saw this status.
    ClientGone "client-gone" 499 Client Never;
    /// The client stopped reading the response for too long.
    ClientSendTimeout "client-send-timeout" 499 Client Never;

    // Decided by the gateway's rules.
    /// Nothing is configured at all.
    NotConfigured "not-configured" 404 Operator Never;
    /// No route matches host and path.
    NoRoute "no-route" 404 Client Never;
    /// A route matches host and path, but none this method.
    MethodNotAllowed "method-not-allowed" 405 Client Never;
    /// No credential, or one that is not known.
    Unauthenticated "unauthenticated" 401 Client Never;
    /// A known consumer without the right to this route.
    Forbidden "forbidden" 403 Client Never;
    /// A limit on connections, streams or memory is reached, or this machine has no descriptor or local port left for a connection
    /// to the target; then its errno is in the record.
    Overloaded "overloaded" 503 Gateway Never;
    /// The process is draining and takes no new requests on this connection.
    Draining "draining" 503 Operator Never;
    /// All targets have as many requests as they are given, and so many wait already that this one could not.
    QueueFull "queue-full" 503 Gateway Never;
    /// The request has waited as long as it may for a target that has room or accepts connections.
    QueueTimeout "queue-timeout" 503 Gateway Never;
    /// The upstream has no target.
    NoTarget "no-target" 503 Operator Never;
    /// Our own bug: a panic, or an invariant that did not hold.
    Internal "internal" 500 Gateway Never;

    /// A limit of `limits` is used up, for now.
    LimitExceeded "limit-exceeded" 429 Client Never;

    // AI calls: what their clients did, and what their providers did.
    /// The body of an AI request cannot be read: broken JSON, or not what its protocol demands. The detail names the place.
    AiRequestMalformed "ai-request-malformed" 400 Client Never;
    /// No lane is known under the name of the model.
    ModelUnknown "model-unknown" 404 Client Never;
    /// The provider does not take our key, or its account has no money left. The caller's own key is fine.
    UpstreamCredentials "upstream-credentials" 502 Upstream Never;
    /// The provider failed, and said so.
    ProviderFailed "provider-failed" 502 Upstream Never;
    /// The provider is at its limit as a whole.
    ProviderOverloaded "provider-overloaded" 503 Upstream Never;
    /// The provider lets our account or key ask no more for a while.
    ProviderRateLimited "provider-rate-limited" 429 Upstream Never;
    /// What the provider gave is no answer: a page, nothing, broken JSON, a redirect.
    ProviderUnreadable "provider-unreadable" 502 Upstream Never;
    /// The provider's stream ended before its answer did.
    StreamUnfinished "stream-unfinished" 502 Upstream Never;
    /// Every lane of the model rests, and is being tried already.
    LanesResting "lanes-resting" 503 Gateway Never;

    // The upstream's faults, in the order of the phases.
    /// The target's name did not resolve and no earlier answer was known.
    DnsFailed "dns-failed" 502 Upstream Unsent;
    /// Nothing listens there, or a firewall rejects (`ECONNREFUSED`), or the socket file is missing.
    ConnectRefused "connect-refused" 502 Upstream Unsent;
    /// No answer to the connection attempt in time.
    ConnectTimeout "connect-timeout" 504 Upstream Unsent;
    /// Any other failure to connect; the errno is in the record.
    ConnectFailed "connect-failed" 502 Upstream Unsent;
    /// The TLS handshake failed; the alert or reason is in the record.
    TlsFailed "tls-failed" 502 Upstream Unsent;
    /// The TLS handshake did not finish in time.
    TlsTimeout "tls-timeout" 504 Upstream Unsent;
    /// The upstream did not take the request's bytes in time.
    SendTimeout "send-timeout" 504 Upstream IfIdempotent;
    /// The upstream closed or reset while the request was being sent, without an answer.
    SendFailed "send-failed" 502 Upstream IfIdempotent;
    /// No response head in time.
    AwaitHeadTimeout "await-head-timeout" 504 Upstream IfIdempotent;
    /// The upstream closed (FIN) before a whole response head.
    EarlyClose "early-close" 502 Upstream IfIdempotent;
    /// The upstream reset (RST, or HTTP/2 RST_STREAM) before a whole response head.
    Reset "reset" 502 Upstream IfIdempotent;
    /// The upstream refused the HTTP/2 stream unprocessed (REFUSED_STREAM, or GOAWAY with a lower last stream id).
    StreamRefused "stream-refused" 502 Upstream Unsent;
    /// The response head is not HTTP, or breaks its rules; the record has the first bytes.
    ResponseMalformed "response-malformed" 502 Upstream Never;
    /// The response head is larger, or has more fields, than the upstream's limits allow.
    ResponseHeadTooLarge "response-head-too-large" 502 Upstream Never;
    /// The upstream closed before the end of the body that it had announced.
    BodyTruncated "body-truncated" 502 Upstream Never;
    /// The upstream reset in the middle of the body.
    BodyReset "body-reset" 502 Upstream Never;
    /// The chunked coding of the body is broken.
    BodyMalformed "body-malformed" 502 Upstream Never;
    /// No byte of the body for too long.
    BodyIdleTimeout "body-idle-timeout" 504 Upstream Never;
    /// The whole exchange took longer than allowed.
    TotalTimeout "total-timeout" 504 Upstream Never;
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

impl Party {
    pub const ALL: &'static [Party] = &[Party::Client, Party::Gateway, Party::Operator, Party::Upstream];

    pub fn id(self) -> &'static str {
        match self {
            Party::Client => "client",
            Party::Gateway => "gateway",
            Party::Operator => "operator",
            Party::Upstream => "upstream",
        }
    }
}

impl Phase {
    pub const ALL: &'static [Phase] = &[
        Phase::Accept,
        Phase::ReadRequest,
        Phase::Policy,
        Phase::Queue,
        Phase::Resolve,
        Phase::Connect,
        Phase::Tls,
        Phase::Send,
        Phase::AwaitHead,
        Phase::Body,
        Phase::Done,
    ];

    pub fn id(self) -> &'static str {
        match self {
            Phase::Accept => "accept",
            Phase::ReadRequest => "read-request",
            Phase::Policy => "policy",
            Phase::Queue => "queue",
            Phase::Resolve => "resolve",
            Phase::Connect => "connect",
            Phase::Tls => "tls",
            Phase::Send => "send",
            Phase::AwaitHead => "await-head",
            Phase::Body => "body",
            Phase::Done => "done",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_are_unique_kebab_case_and_statuses_fit_the_party() {
        let mut seen = HashSet::new();
        for fault in Fault::ALL {
            let id = fault.id();
            assert!(seen.insert(id), "{id} stands twice");
            assert!(id.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{id}");
            let status = fault.status();
            match fault.party() {
                // A provider's own limit stays what it is: SDKs wait and ask again.
                Party::Upstream if id.starts_with("provider-") => {
                    assert!(matches!(status, 429 | 502 | 503), "{id} {status}");
                }
                Party::Upstream => assert!(matches!(status, 502 | 504), "{id} {status}"),
                Party::Client => assert!((400..500).contains(&status) || matches!(status, 501 | 505), "{id}"),
                Party::Gateway => assert!(matches!(status, 500 | 503), "{id} {status}"),
                Party::Operator => assert!(matches!(status, 404 | 503), "{id} {status}"),
            }
            assert!(fault.party() == Party::Upstream || fault.retry() == Retry::Never, "{id}");
        }
    }

    #[test]
    fn a_timeout_of_the_upstream_is_504_and_everything_else_of_it_502() {
        let of_upstream = Fault::ALL.iter().filter(|fault| fault.party() == Party::Upstream);
        for fault in of_upstream.filter(|fault| !fault.id().starts_with("provider-")) {
            let expected = if fault.id().ends_with("-timeout") { 504 } else { 502 };
            assert_eq!(fault.status(), expected, "{fault}");
        }
    }
}
