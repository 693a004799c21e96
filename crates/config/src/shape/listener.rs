//! Listeners.

use model::gateway::ProxyProtocol;

use super::shape;
use crate::decode::List;
use crate::scalar::{FilePath, Listen, Name, Size, Time, Whole};

shape! {
    /// An address Clearway accepts on.
    Listener {
        /// An IP address and port, or a Unix socket. `0.0.0.0` is every IPv4 address of the machine, `[::]` also every
        /// IPv6 address; a listener on one address of the same port takes its connections from them. The path of a
        /// socket may be relative to the file.
        address: Listen [required] "127.0.0.1:9000";
        /// Its name in records and metrics. Without this key it is the address.
        name: Name [optional] "public";
        /// Whether HTTP/2 is served: agreed by ALPN under TLS, with prior knowledge (h2c) without.
        http2: bool [= "true"] "false";
        /// Whether connections begin with a PROXY protocol header, version 1 or 2. `require` needs `trusted-proxies`.
        /// A header that names no client (`UNKNOWN`, or `LOCAL` as in health checks) leaves the proxy's own address as the
        /// client's, and what such a connection says in `X-Forwarded-*` and its kin is not believed.
        proxy_protocol: ProxyProtocol [= "off"] "require";
        /// Serve TLS. Without this key, connections are in the clear.
        tls: ListenerTls [optional] "{ certificates: [{ certificate: cert.pem, key: key.pem }] }";
        /// How long a client may take.
        timeouts: ListenerTimeouts [= "{}"] "{ keep-alive: 30s }";
        /// How much a client may ask for.
        limits: ListenerLimits [= "{}"] "{ head: 64KiB }";
    }
}

shape! {
    /// TLS 1.2 and 1.3 on a listener.
    ListenerTls {
        /// The certificate is chosen by the name the client asks for; the first one serves all other names.
        certificates: List<Certificate, 1> [required] "[{ certificate: cert.pem, key: key.pem }]";
    }
}

shape! {
    /// A certificate with its key. Both files are read again when they change, without a restart.
    Certificate {
        /// A PEM file with the chain, leaf first.
        certificate: FilePath [required] "cert.pem";
        /// A PEM file with the private key.
        key: FilePath [required] "key.pem";
    }
}

shape! {
    /// How long a client may take. Each limit is recorded under its own fault.
    ListenerTimeouts {
        /// From the first byte of a request to the end of its head, and for the TLS handshake. After it 408.
        client_head: Time<1> [= "15s"] "5s";
        /// Between two reads of the request body. After it 408.
        client_body_idle: Time<1> [= "30s"] "10s";
        /// Between two writes of the response that made progress. After it the connection is reset.
        client_send: Time<1> [= "60s"] "20s";
        /// Between two requests of one connection. Load balancers in front expect more than their own 60s.
        keep_alive: Time<1> [= "75s"] "10m";
    }
}

shape! {
    /// How much a client may ask for.
    ListenerLimits {
        /// The request head, request line included. Above it 431.
        head: Size<1024, { 1 << 20 }> [= "32KiB"] "64KiB";
        /// Fields of a request head, each cookie crumb of HTTP/2 counted. Above it 431.
        fields: Whole<8, 10_000> [= "100"] "200";
        /// The request target (path and query). Above it 414.
        target: Size<256, { 1 << 20 }> [= "8KiB"] "4KiB";
        /// Open connections. Above it new ones get 503 and are closed.
        connections: Whole<1, 1_000_000> [= "10000"] "500";
        /// Requests per connection, after which it is closed.
        requests_per_connection: Whole<1, 1_000_000_000> [= "10000"] "1000";
        /// Bytes per second that a request body must come at, from its tenth second on; `0` asks for nothing. Time in
        /// which the target does not take it is not counted, and gRPC is not asked. Below it 408.
        body_rate: Whole<0, 1_000_000_000> [= "240"] "1000";
        /// Concurrent streams of an HTTP/2 connection.
        http2_streams: Whole<1, 10_000> [= "100"] "250";
        /// Streams of an HTTP/2 connection that may be reset, by either side, before it is closed: this many at once,
        /// refilled at the same number per minute.
        http2_resets: Whole<1, 1_000_000> [= "200"] "400";
        /// Control frames of an HTTP/2 connection (SETTINGS, PING, empty DATA, WINDOW_UPDATE and so on): this many at
        /// once, refilled at the same number per second, and by requests and the data of responses.
        http2_frames: Whole<1, 1_000_000> [= "1000"] "2000";
        /// The memory one HTTP/2 connection may occupy with heads, bodies and unsent responses.
        http2_memory: Size<{ 64 << 10 }, { 1 << 30 }> [= "4MiB"] "8MiB";
    }
}
