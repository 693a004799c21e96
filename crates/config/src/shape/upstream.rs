//! Upstreams and their targets.

use model::gateway::ProxyProtocolVersion;

use super::{Balance, Certificate, Health, Stickiness, shape};
use crate::decode::{HasShort, List, Short};
use crate::scalar::{
    ConcurrencyText, FilePath, HedgeText, Limited, Name, ServerName, Size, TargetUrl, Time, Weight, Whole,
};

shape! {
    /// A named group of targets.
    Upstream {
        /// What routes call it.
        name: Name [required] "shop";
        /// Where requests go; each one is a URL, or keys with values. `balance` says which one gets a request; one that cannot
        /// be reached, or fails too often, gets none for a while (`health`).
        targets: List<Short<Target>, 1> [required] "[\"http://127.0.0.1:8000\", { url: \"http://127.0.0.1:8001\", weight: 2 }]";
        /// How long the steps of an attempt may take.
        timeouts: Timeouts [= "{}"] "{ await-head: 10s }";
        /// How long the servers themselves let a request take: `timeout` of Gunicorn, `harakiri` of uWSGI. An answer is awaited
        /// for a second longer then, unless `timeouts.await-head` says otherwise, and shorter limits are warned about.
        worker_timeout: Time<1> [optional] "30s";
        /// How large a response head may be.
        limits: UpstreamLimits [= "{}"] "{ head: 128KiB }";
        /// Connections that are kept for the next request.
        pool: Pool [= "{}"] "{ idle: 4s }";
        /// When a request is sent again.
        retries: Retries [= "{}"] "{ attempts: 2 }";
        /// Requests that a target is given at once; the others wait. `adaptive`: as many as it answers without letting them
        /// queue, which is no limit for a target that keeps up. A number counts from connection to end of answer, as
        /// suits a server with so many workers.
        concurrency: ConcurrencyText [= "adaptive"] "8";
        /// How requests wait, where targets have as many as they are given or have just stopped accepting connections.
        queue: Queue [= "{}"] "{ length: 200 }";
        /// Whether a request body is read before a target is taken; `false` is short for switching that off.
        request_buffering: Short<RequestBuffering> [= "{}"] "false";
        /// When a target gets no requests for a while.
        health: Health [= "{}"] "{ ejection: 10s }";
        /// Which target gets a request.
        balance: Short<Balance> [= "peak-ewma"] "round-robin";
        /// Clients stay with their target by a cookie.
        stickiness: Stickiness [optional] "{ cookie: app-target }";
        /// TLS towards `https://` targets.
        tls: UpstreamTls [= "{}"] "{ ca: ca.pem }";
        /// Begin each connection with a PROXY protocol header that names the client.
        proxy_protocol: ProxyProtocolVersion [optional] "v2";
    }
}

shape! {
    /// One address of an upstream.
    Target {
        /// `http://`, `https://` (HTTP/2 where both sides can, else HTTP/1.1), `h2c://` (HTTP/2 with prior knowledge),
        /// `unix:/path` (HTTP/1.1), `uwsgi://host:port` or `uwsgi+unix:/path`. Names are resolved again when their TTL ends.
        url: TargetUrl [required] "http://127.0.0.1:8001";
        /// Its share of the requests, relative to the other targets. To give one none, leave it out of the list.
        weight: Weight [= "1"] "2";
        /// Where it runs. Targets of the zone of this gateway (`zone` at the top level) are preferred: they get all requests
        /// while 70% of their weight is up, and below that as many as they can bear.
        zone: Name [optional] "eu-central-1a";
    }
}

impl HasShort for Target {
    const KEY: &'static str = "url";
    type Value = TargetUrl;
}

shape! {
    /// How long the steps of an attempt may take. Each limit is recorded under its own fault. A route can override
    /// each one.
    Timeouts {
        /// To connect, over all addresses of the name. After that another target is tried; the answer is 504 if none is left.
        connect: Time<1> [= "2s"] "500ms";
        /// For the TLS handshake.
        tls: Time<1> [= "10s"] "3s";
        /// Between two writes of the request that made progress.
        send: Time<1> [= "30s"] "20s";
        /// From the end of the request to the end of the response head: how long the API may think.
        await_head: Time<1> [= "60s"] "10s";
        /// Between two reads of the response body. Event streams send a comment more often than this.
        body_idle: Time<1> [= "300s"] "1m";
        /// From the start of an attempt to the end of its response head; after it another target may be tried. Unlimited by
        /// default: the limits of its steps are enough.
        attempt: Limited<Time<1>> [= "unlimited"] "3s";
        /// For the whole exchange, all attempts together. Unlimited by default, because streams are long.
        total: Limited<Time<1>> [= "unlimited"] "10m";
    }
}

shape! {
    /// How large a response head may be. A larger one is answered 502.
    UpstreamLimits {
        /// The response head, status line included.
        head: Size<1024, { 16 << 20 }> [= "64KiB"] "128KiB";
        /// Fields of a response head.
        fields: Whole<8, 10_000> [= "256"] "500";
    }
}

shape! {
    /// Connections that are kept for the next request.
    Pool {
        /// Idle connections kept per worker thread and target.
        idle_max: Whole<0, 100_000> [= "64"] "16";
        /// How long one is kept idle, unless the target says or shows that it closes earlier. A request on a connection that the
        /// server is just closing may be lost; the default lies below the 2s after which Gunicorn closes.
        idle: Time<1> [= "1500ms"] "4s";
        /// How old a connection may get.
        age: Time<1> [= "10m"] "1h";
    }
}

shape! {
    /// When a request is sent again. Always so if nothing of it had been written, or if its method is idempotent and no
    /// byte of a response has left; never if it may have been executed and must not be executed twice.
    Retries {
        /// Attempts per request, the first one included; 1 switches repeats off. Attempts that nobody can have worked on, because
        /// the connection was refused or had been idle for too long, do not count. Those that may multiply load are bounded by
        /// a budget as well: a fifth of the requests, and three a second.
        attempts: Whole<1, 10> [= "3"] "2";
        /// Whether an idempotent request that was answered 502, 503 or 504 is asked of another target.
        bad_answers: bool [= "true"] "false";
        /// Whether a request of any method is sent again if the target had closed the connection before it arrived: it
        /// acknowledged nothing of it. This assumes that it executes nothing that it reads after it has closed its side.
        undelivered: bool [= "true"] "false";
        /// The longest pause before another target gets a request that was answered 502, 503 or 504. It doubles with each
        /// attempt up to tenfold; how much of it is waited is left to chance.
        back_off: Time<0> [= "25ms"] "100ms";
        /// Whether a request of any method is sent again after a failure. It may then be executed twice: for APIs to which
        /// that does no harm.
        non_idempotent: bool [= "false"] "true";
        /// Hedging: an idempotent request whose first attempt has no answer after this time, or after that which 95 of 100
        /// answers take (`p95`), is sent to another target as well, and the first good answer counts. Paid from the budget.
        hedge: HedgeText [= "off"] "p95";
    }
}

shape! {
    /// How requests wait for a target. Those of critical routes go first; otherwise it is first in, first out. Who cannot
    /// wait any longer is answered 503 with `Retry-After`.
    Queue {
        /// Requests that wait at once. In a full queue, the more critical take the place of the less critical. 0 turns all
        /// away that would have to wait.
        length: Whole<0, 1_000_000> [= "1000"] "200";
        /// Bodies of waiting requests in memory.
        bytes: Size<0, { 1 << 40 }> [= "64MiB"] "16MiB";
        /// How long a request waits at most for its turn; and, counted from its beginning, for the end of an outage of all
        /// targets. Its turn is then waited for from the end of the outage on, so that both together take twice as long at
        /// most, however often the targets go and come back.
        wait: Time<1> [= "5s"] "2s";
        /// The same in a queue that has not been empty for as long as `wait`: as many come as leave, so that waiting longer
        /// helps nobody.
        standing_wait: Time<1> [= "1s"] "500ms";
    }
}

shape! {
    /// Whether a request body is read before a target is taken, so that a slow client keeps no worker of the API waiting
    /// and the request can be sent again. It holds for `http://`, `unix:` and `uwsgi://` targets, and never for upgrades
    /// and gRPC. A body of known length is read whole: in memory, or into a file. A chunked one is read for up to a second
    /// and as far as `memory` goes; one that did not end by then streams, beginning with what was read. What does not fit
    /// streams as well. An API that would answer before it has read the body is asked only when the body is there.
    RequestBuffering {
        /// Whether it is done. Chunked bodies for uwsgi targets are read before in any case: these must be told the length.
        enabled: bool [= "true"] "false";
        /// The most that is held in memory per request.
        memory: Size<1024, { 1 << 20 }> [= "64KiB"] "16KiB";
        /// The largest body that is held in a file; `0B` holds none. All files together are bounded by `spool`.
        file: Size<0, { 1 << 40 }> [= "256MiB"] "20MiB";
    }
}

impl HasShort for RequestBuffering {
    const KEY: &'static str = "enabled";
    type Value = bool;
}

shape! {
    /// TLS towards `https://` targets.
    UpstreamTls {
        /// Whether the certificate must be valid and for this name.
        verify: bool [= "true"] "false";
        /// A PEM file with the authorities that are believed. Without this key they are those of the system.
        ca: FilePath [optional] "ca.pem";
        /// What Clearway proves itself with, where the target asks for it.
        client_certificate: Certificate [optional] "{ certificate: client.pem, key: client-key.pem }";
        /// The name that is asked for and verified. Without this key it is the host of the target.
        server_name: ServerName [optional] "shop.internal";
        /// Whether HTTP/2 is offered.
        http2: bool [= "true"] "false";
    }
}
