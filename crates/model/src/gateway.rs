//! What is served: the checked, immutable result of configuration. Every name is resolved, every default filled in.
//!
//! `config` builds it, `proxy` runs it. Fields say their unit by their type; the defaults stand in `config`, beside
//! the documentation of the field that sets them.

mod ai;
mod balance;
mod health;
mod limit;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use self::ai::{
    AiService, LaneChoice, LaneSpec, Provider, ProviderAuth, ProviderEndpoint, ProviderKey, ProviderQuirks,
    VirtualModel,
};
pub use self::balance::{Balance, HashKey, Stickiness};
pub use self::health::{Check, CheckKind, FailureShare, Health};
pub use self::limit::{Limit, LimitBy, Rate, Window};
use crate::{ByteSize, Method, Secret};

/// Everything that is served.
#[derive(Clone, Debug, PartialEq)]
pub struct Gateway {
    pub listeners: Vec<Arc<Listener>>,
    pub upstreams: BTreeMap<Arc<str>, Arc<Upstream>>,
    pub services: Vec<Arc<Service>>,
    pub consumers: Vec<Arc<Consumer>>,
    pub limits: Vec<Arc<Limit>>,
    /// Peers whose `Forwarded`, `X-Forwarded-*`, `X-Request-Id` and `traceparent` are believed.
    pub trusted_proxies: Vec<Network>,
    pub log: Log,
    pub records: Records,
    pub incidents: Incidents,
    /// How long a stopping process waits for what is in flight. Default 30 s.
    pub grace: Duration,
    /// Worker threads; `None` is one per core.
    pub workers: Option<usize>,
    pub spool: Spool,
}

/// Where request bodies wait for their target that are too large for memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spool {
    /// Made when it is first needed. Default `spool` in the data directory.
    pub directory: PathBuf,
    /// All bodies together. Default 1 GiB; above it they stream.
    pub size_max: ByteSize,
}

/// An address range: an IP address and the number of leading bits that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    pub address: IpAddr,
    pub prefix_bits: u8,
}

impl Network {
    /// Whether the address lies in the range. IPv4-mapped IPv6 addresses count as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address.to_canonical(), address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                let shift = 32 - u32::from(self.prefix_bits.min(32));
                net.to_bits().checked_shr(shift) == ip.to_bits().checked_shr(shift)
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                let shift = 128 - u32::from(self.prefix_bits.min(128));
                net.to_bits().checked_shr(shift) == ip.to_bits().checked_shr(shift)
            }
            _ => false,
        }
    }
}

/// An address the gateway accepts on.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// Unique; by default the text of its address.
    pub name: Arc<str>,
    pub address: ListenAddress,
    pub tls: Option<ListenerTls>,
    /// Serve HTTP/2: by ALPN under TLS, by prior knowledge (h2c) without.
    pub http2: bool,
    pub proxy_protocol: ProxyProtocol,
    pub timeouts: ListenerTimeouts,
    pub limits: ListenerLimits,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl std::fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ListenAddress::Tcp(address) => write!(f, "{address}"),
            ListenAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Certificates of a TLS listener; the first is used when no name matches or the client sends none.
#[derive(Clone, Debug, PartialEq)]
pub struct ListenerTls {
    pub certificates: Vec<CertificateFiles>,
}

/// PEM files: the chain, leaf first, and its private key. Read at start and again when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Whether connections begin with a PROXY protocol header (v1 or v2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    Off,
    /// Every connection must begin with one; only from trusted proxies.
    Require,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerTimeouts {
    /// From the first byte of a request to the end of its head, and the TLS handshake. Default 15 s.
    pub client_head: Duration,
    /// Between two reads of the request body. Default 30 s.
    pub client_body_idle: Duration,
    /// Between two writes of the response that made progress. Default 60 s.
    pub client_send: Duration,
    /// Between requests of one connection. Default 75 s.
    pub keep_alive: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerLimits {
    /// Request head, request line included. Default 32 KiB; above it 431.
    pub head_bytes: ByteSize,
    /// Fields of a request head, cookie crumbs counted singly. Default 100; above it 431.
    pub fields: usize,
    /// The request target. Default 8 KiB; above it 414.
    pub target_bytes: ByteSize,
    /// Open connections. Default 10,000; above it new ones are answered 503 and closed.
    pub connections: usize,
    /// Requests per connection, after which it is closed. Default 10,000.
    pub requests_per_connection: u64,
    /// Bytes per second that a request body must come at, after a start of 10 s. Default 240; below it 408.
    pub body_rate: u64,
    /// Concurrent HTTP/2 streams per connection. Default 100.
    pub http2_streams: u32,
    /// Streams of one HTTP/2 connection that may be reset (by either side) before it is closed: this many at once,
    /// refilled at the same number per minute. Default 200.
    pub http2_resets: u32,
    /// HTTP/2 control frames (SETTINGS, PING, empty DATA, WINDOW_UPDATE ...) at once, refilled per second. Default 1,000.
    pub http2_frames: u32,
    /// Memory one HTTP/2 connection may make us hold: heads, bodies and unsent responses. Default 4 MiB.
    pub http2_memory: ByteSize,
}

/// A published API.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    pub name: Arc<str>,
    pub routes: Vec<Arc<Route>>,
    /// Replacements for built-in error answers by status; absent ones use the built-in answer.
    pub error_pages: BTreeMap<u16, ErrorPage>,
    /// Whether problem documents name the fault id. Default true.
    pub expose_fault: bool,
    /// What makes it an AI API. The upstream of its routes is then that of its first provider.
    pub ai: Option<Arc<AiService>>,
}

/// A replaced error answer, read from a file at load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorPage {
    pub content_type: Box<str>,
    /// `{request_id}`, `{status}` and `{fault}` are filled in.
    pub body: Box<str>,
}

/// Match rules to a destination, with policies.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Unique in its service; by default made from its first path.
    pub name: Arc<str>,
    /// Routes with a higher number are asked first; equal ones in the order of `Match` specificity. Default 0.
    pub priority: i32,
    pub matches: Match,
    pub upstream: Arc<str>,
    pub path: PathForm,
    pub path_change: PathChange,
    pub host: HostRewrite,
    pub policies: Vec<Policy>,
    /// `None` is unlimited.
    pub body_bytes_max: Option<ByteSize>,
    /// Overrides the upstream's timeouts field by field; here with the upstream's filled in.
    pub timeouts: Timeouts,
    /// What happens to an attempt when the client leaves.
    pub client_gone: ClientGone,
    /// Who goes first where requests wait for a target. Default normal.
    pub criticality: Criticality,
}

/// Every part that is not empty must match.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Match {
    pub hosts: Vec<HostMatch>,
    pub paths: Vec<PathMatch>,
    pub methods: Vec<Method>,
    pub headers: Vec<NamedMatch>,
    pub query: Vec<NamedMatch>,
    pub cookies: Vec<NamedMatch>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostMatch {
    /// Lower case, without port; an IPv6 address in its brackets.
    Exact(Box<str>),
    /// `*.example.com`, kept as `.example.com`: any number of labels before it, at least one.
    Suffix(Box<str>),
}

/// How a path is matched; always against the canonical form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathMatch {
    Exact(Box<str>),
    /// Whole segments: `/api` takes `/api`, `/api/` and `/api/x`, not `/apix`. Kept without trailing slash; `` is all.
    Prefix(Box<str>),
    /// Segments with `{name}` parameters, each one segment; `{name...}` at the end takes the rest.
    Template(Box<[Segment]>),
    /// A regular expression that must match the whole path. Checked to compile.
    Regex(Box<str>),
}

/// As configuration writes it.
impl std::fmt::Display for HostMatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            HostMatch::Exact(host) => f.write_str(host),
            HostMatch::Suffix(suffix) => write!(f, "*{suffix}"),
        }
    }
}

/// As configuration writes it.
impl std::fmt::Display for PathMatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PathMatch::Exact(path) => f.write_str(path),
            PathMatch::Prefix(prefix) => write!(f, "{prefix}/*"),
            PathMatch::Regex(source) => write!(f, "~ {source}"),
            PathMatch::Template(segments) => segments.iter().try_for_each(|segment| match segment {
                Segment::Literal(text) => write!(f, "/{text}"),
                Segment::Parameter(name) => write!(f, "/{{{name}}}"),
                Segment::Rest(name) => write!(f, "/{{{name}...}}"),
            }),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    Literal(Box<str>),
    Parameter(Box<str>),
    Rest(Box<str>),
}

/// A header, query parameter or cookie by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedMatch {
    /// Header names in lower case.
    pub name: Box<str>,
    /// `None`: it must be there, whatever its value.
    pub value: Option<Box<str>>,
}

/// Which form of the path is forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathForm {
    Canonical,
    AsSent,
}

/// How the path changes on its way to the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathChange {
    Keep,
    /// Whole segments; told to the target as `X-Forwarded-Prefix` (and `SCRIPT_NAME` on uwsgi).
    StripPrefix(Box<str>),
    /// The new path; `{name}` takes a parameter of the matched template.
    Rewrite(Box<str>),
}

/// The Host the target sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostRewrite {
    /// What the client asked for (default).
    Client,
    /// The target's own host and port.
    Target,
    Set(Box<str>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientGone {
    /// Close the upstream connection (default).
    Cancel,
    /// Read the response to its end and drop it.
    Finish,
}

/// Which requests go first where they wait for a target, and which are turned away first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Criticality {
    Critical,
    Normal,
    Sheddable,
}

/// A rule applied to requests of a route, in the order of the policy slot.
#[derive(Clone, Debug, PartialEq)]
pub enum Policy {
    /// Requests must carry a key of a consumer where the SDK of their protocol puts its key.
    AiKey,
    ApiKey(ApiKey),
}

/// Requests must carry the API key of a consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// The header that carries it, lower case. Default `x-api-key`. `authorization` expects `Bearer KEY`.
    pub header: Box<str>,
    /// Consumers that may pass; empty is all.
    pub consumers: Vec<Arc<str>>,
    /// Whether the header is forwarded. Default false: a credential goes only to the party it was meant for.
    pub forward: bool,
}

/// An application that calls services.
#[derive(Clone, Debug, PartialEq)]
pub struct Consumer {
    pub name: Arc<str>,
    pub api_keys: Vec<Secret>,
    /// With whom it shares limits.
    pub team: Option<Arc<str>>,
}

/// A named group of targets.
#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    pub name: Arc<str>,
    pub targets: Vec<Target>,
    pub timeouts: Timeouts,
    pub limits: UpstreamLimits,
    pub pool: Pool,
    pub retries: Retries,
    pub concurrency: Concurrency,
    pub queue: Queue,
    pub request_buffering: RequestBuffering,
    pub health: Health,
    pub balance: Balance,
    pub stickiness: Option<Stickiness>,
    /// Where this gateway runs: targets of the same zone are preferred.
    pub zone: Option<Box<str>>,
    pub tls: UpstreamTls,
    /// Begin each connection with a PROXY protocol header that names the client.
    pub proxy_protocol: Option<ProxyProtocolVersion>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocolVersion {
    V1,
    V2,
}

/// One address of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The URL as configured, its identity across reloads.
    pub url: Arc<str>,
    pub scheme: Scheme,
    pub endpoint: Endpoint,
    /// 1 to 1,000; default 1.
    pub weight: u32,
    /// Where it runs.
    pub zone: Option<Box<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// HTTP/1.1 in the clear (`http://`, `unix:`).
    Http,
    /// TLS; HTTP/2 where ALPN agrees and `http2` is on, else HTTP/1.1 (`https://`).
    Https,
    /// HTTP/2 with prior knowledge (`h2c://`).
    H2c,
    /// The uwsgi protocol (`uwsgi://`, `uwsgi+unix:`).
    Uwsgi,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A name or address, and a port. IPv6 addresses without brackets.
    Host {
        host: Arc<str>,
        port: u16,
    },
    Unix(PathBuf),
}

/// Each one is separately recorded when it ends an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Default 2 s, over all addresses of the name.
    pub connect: Duration,
    /// Default 10 s.
    pub tls: Duration,
    /// Between two writes of the request that made progress. Default 30 s.
    pub send: Duration,
    /// From the end of the request to the end of the response head. Default 60 s.
    pub await_head: Duration,
    /// Between two reads of the response body. Default 300 s.
    pub body_idle: Duration,
    /// From the start of an attempt to the end of its response head. None by default.
    pub attempt: Option<Duration>,
    /// The whole exchange; none by default, because of streams.
    pub total: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamLimits {
    /// Response head. Default 64 KiB.
    pub head_bytes: ByteSize,
    /// Fields of a response head. Default 256.
    pub fields: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Idle connections kept per worker and target. Default 64.
    pub idle_max: usize,
    /// How long one is kept idle. Default 1.5 s: below the 2 s of Gunicorn's gthread worker.
    pub idle: Duration,
    /// How old one may get. Default 10 min.
    pub age: Duration,
}

/// When a request is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// The first one included. Default 3.
    pub attempts: usize,
    /// Idempotent requests are asked of another target after 502, 503 and 504. Default true.
    pub bad_answers: bool,
    /// See `RetryRule::Undelivered`. Default true.
    pub undelivered: bool,
    /// The longest pause before the second attempt, doubled with each further one. Default 25 ms.
    pub back_off: Duration,
    /// Requests of every method are sent again, although they may then be executed twice. Default false.
    pub non_idempotent: bool,
    pub hedge: Hedge,
}

/// When a second attempt is made beside the first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hedge {
    /// Never. Default.
    Off,
    /// When the first one takes longer than 95 of 100 answers.
    P95,
    After(Duration),
}

/// How many requests a target is given at once; the others wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concurrency {
    /// As many as it answers without letting them queue. Default.
    Adaptive,
    /// From its connection to the end of its answer.
    Fixed(usize),
    Unlimited,
}

/// How requests wait for a target that has room, or accepts connections again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Requests that wait at once. Default 1,000.
    pub length: usize,
    /// Their bodies in memory. Default 64 MiB.
    pub bytes_max: ByteSize,
    /// How long one waits at most. Default 5 s.
    pub wait: Duration,
    /// The same in a queue that has not been empty for that long. Default 1 s.
    pub standing_wait: Duration,
}

/// Whether a request body is read before a target is taken, so that a slow client keeps no worker of the target waiting
/// and the request can be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestBuffering {
    /// Default true. Where false, only uwsgi targets get chunked bodies so, because they must be told the length.
    pub enabled: bool,
    /// Held in memory per request. Default 64 KiB.
    pub memory_max: ByteSize,
    /// Held in a file per request. Default 256 MiB; larger bodies stream.
    pub file_max: ByteSize,
}

/// How targets that speak TLS are verified.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamTls {
    /// Default true.
    pub verify: bool,
    /// A PEM file of authorities; `None` are the system's.
    pub ca: Option<PathBuf>,
    pub client_certificate: Option<CertificateFiles>,
    /// The name sent and verified; `None` is the target's host.
    pub server_name: Option<Box<str>>,
    /// Offer HTTP/2. Default true.
    pub http2: bool,
}

/// One log line per exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    pub format: LogFormat,
    /// `None` is standard output.
    pub file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Human,
    Json,
    Off,
}

/// How exchanges are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Records {
    /// Days of records that are kept; 0 keeps none. Default 7.
    pub retention_days: u32,
    /// All record files together; the oldest day goes first. Default 4 GiB.
    pub size_max: ByteSize,
}

/// How incidents are told of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Incidents {
    pub webhook: Option<Arc<Webhook>>,
}

/// Somebody who is told of incidents, by a POST.
#[derive(Clone, Debug, PartialEq)]
pub struct Webhook {
    /// Where; its only target is of `http://` or `https://`.
    pub upstream: Arc<Upstream>,
    /// Path and query; many services put their secret there.
    pub path: Secret,
    pub headers: Vec<(Box<str>, Secret)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_paths_are_shown_as_configuration_writes_them() {
        let template =
            [Segment::Literal("items".into()), Segment::Parameter("id".into()), Segment::Rest("more".into())];
        for (path, shown) in [
            (PathMatch::Exact("/a".into()), "/a"),
            (PathMatch::Prefix("".into()), "/*"),
            (PathMatch::Prefix("/a".into()), "/a/*"),
            (PathMatch::Regex("/v[0-9]+".into()), "~ /v[0-9]+"),
            (PathMatch::Template(template.into()), "/items/{id}/{more...}"),
        ] {
            assert_eq!(path.to_string(), shown);
        }
        assert_eq!(HostMatch::Suffix(".a.test".into()).to_string(), "*.a.test");
        assert_eq!(HostMatch::Exact("a.test".into()).to_string(), "a.test");
    }

    #[test]
    fn a_network_contains_its_addresses_and_mapped_ones() {
        let network = |text: &str, prefix_bits| Network { address: text.parse().unwrap(), prefix_bits };
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(network("10.1.2.3", 8).contains(ip("10.9.9.9")));
        assert!(network("10.0.0.0", 8).contains(ip("::ffff:10.0.0.1")));
        assert!(!network("10.0.0.0", 8).contains(ip("11.0.0.1")));
        assert!(network("0.0.0.0", 0).contains(ip("203.0.113.9")));
        assert!(!network("0.0.0.0", 0).contains(ip("2001:db8::1")));
        assert!(network("2001:db8::", 32).contains(ip("2001:db8:ffff::1")));
        assert!(network("192.0.2.7", 32).contains(ip("192.0.2.7")));
        assert!(!network("192.0.2.7", 32).contains(ip("192.0.2.8")));
    }
}
