//! The kinds of evidence that are not lines of one product's log, with their fields: the words that rules are written in.
//!
//! What proxies and servers say in their own words is brought into these where it means the same: a refused connection is
//! `failure phase=connect how=refused`, whoever says it. Kinds of single log lines stand beside their patterns, in
//! `parse/<product>.rs`.

/// A kind of evidence.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub name: &'static str,
    pub doc: &'static str,
    pub fields: &'static [Field],
}

/// A field of a kind. Durations are seconds, sizes bytes, both as decimal numbers; yes and no are `yes` and `no`; addresses
/// are `127.0.0.1:8000`, `[::1]:8000`, `unix:/run/app.sock`, or a name with a port.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    pub name: &'static str,
    pub doc: &'static str,
}

macro_rules! kinds {
    ($($name:literal $doc:literal { $($field:literal $field_doc:literal)* })*) => {
        &[$(Kind { name: $name, doc: $doc, fields: &[$(Field { name: $field, doc: $field_doc }),*] }),*]
    };
}

/// In the order in which a diagnosis meets them.
const SHARED: &[Kind] = kinds! {
    "failure" "one request or connection that a proxy could not bring to its end, from its log or Clearway's records" {
        "proxy" "nginx, apache, haproxy, envoy, caddy, traefik, mod_wsgi, clearway"
        "phase" "resolve, select, connect, tls, send, head, body, client"
        "how" "refused, timeout, reset, closed (an end without a byte), truncated (an end within the answer), broken-pipe, \
               unreachable-host, unreachable-network, no-file, permission, queue-full, no-ports, no-descriptors, no-connections, \
               no-space, header-too-big, invalid-header, duplicate-length, length-and-chunked, invalid-length, invalid-chunk, \
               not-http, wrong-version (TLS to plain text), handshake, verify, expired, name-mismatch, unknown-name, \
               not-found, server-failed, no-resolver, no-live, overflow, frame-too-large, goaway, early-response, aborted, \
               body-too-large, header-too-big-request, invalid-request, disabled, other"
        "fault" "Clearway's own word for it, see `clearway explain`"
        "errno" "the number of the system's error, where one was told"
        "upstream" "the address that was tried, or the name of the group where none was"
        "group" "the name of the group of upstreams"
        "scheme" "http, https, uwsgi, fastcgi, grpc, ws"
        "method" "of the request"
        "uri" "of the request, without its query"
        "host" "that the client asked for"
        "server" "the name of the site"
        "status" "what the client got"
        "elapsed" "seconds from the start of the request, or of the attempt where that is told"
        "connection" "the number the proxy gave the client's connection"
        "pid" "of the proxy's worker"
        "reused" "yes where the connection to the upstream had served a request before"
        "idle" "how long a reused connection had been idle"
        "end" "fin or rst: how the upstream ended the connection"
        "sent" "bytes of the request that were written"
        "acked" "bytes of it that the upstream's kernel had acknowledged"
        "received" "bytes of the answer that were read"
        "limit" "the time limit that was reached"
        "flags" "HAProxy's or Envoy's own letters"
        "name" "the name that could not be resolved" "client" "the client's address" "retries" "attempts after the first"
        "detail" "the proxy's own words for what went wrong, or the number of a verify error"
    }
    "request" "one request of an access log that failed, was cut or took long; those that went well are counted in `traffic`" {
        "proxy" "as in `failure`, or the server: gunicorn, uvicorn, uwsgi"
        "status" "what the client got; 009 is nginx's for an answer without a status line"
        "upstream-status" "what each attempt got, as `502, 200`"
        "method" "" "uri" "without its query" "host" "" "upstream" "each attempt's address, as `a, b`"
        "elapsed" "of the request" "upstream-elapsed" "of the last attempt" "header-time" "until the upstream's head, - if there was none"
        "bytes" "sent to the client" "flags" "as in `failure`" "pid" "of the worker"
        "own" "yes where the upstream itself sent this status" "group" "as in `failure`" "client" "" "received" "as in `failure`" "retries" ""
        "detail" "the proxy's own words"
    }
    "traffic" "the requests of an access log, counted" {
        "proxy" "" "uri" "where it is about one path" "requests" "how many" "failed" "with 5xx" "from" "the first" "to" "the last"
        "median" "elapsed" "p95" "elapsed" "last-good" "the time of the last one that went well" "last-failed" "the time of the last one with 5xx"
    }
    "read" "something was read whole for a time, so that what is not in it did not happen" {
        "what" "proxy-log, access-log, server-log, kernel-log, dependency-log, sockets, processes, configuration, containers"
        "product" "whose log or configuration" "path" "" "from" "the first moment" "to" "the last moment" "lines" "how many"
    }
    "software" "a product of a version" {
        "product" "nginx, gunicorn, python, redis-py, openssl ..." "version" "as 1.22.1" "role" "proxy, server, dependency, library, system" "pid" ""
    }
    "setting" "a setting of a proxy, server or unit that is in force, at its place" {
        "product" "" "role" "proxy, server, unit, workload, system"
        "name" "one name for all products, see `config/vocabulary.rs`" "value" "unknown where it is only known at run time" "default" "yes where nobody set it"
        "uncertain" "yes where it may be otherwise at run time"
        "target" "the upstream address that it is about" "bind" "the address that the server serves, or the listener of a proxy; for a server that a proxy of the same set sends to, the address it is sent to"
        "proxied" "yes where a proxy of the same set sends to `bind`" "group" "the upstream group" "uri" "the location" "site" "the first name of the site" "via" "the address under which another proxy of the same set sends to this one" "served" "of target-port: whether a selected container has that port" "unit" "the unit, process type or workload that starts it"
        "of" "the product that the unit runs" "pid" ""
        "probe" "the probe of a workload that it is about" "condition" "of depends-on" "host" "the name a default Host has" "tls" "of a listener" "tls-name" "the name sent with sni"
        "written" "the part of the line that says it, where the line says more" "form" "option where it stands on a command line" "directive" "the product's own name of it, where several mean the same"
        "level" "of a log" "format" "of a log, as it is written" "format-name" "of a log"
    }
    "config-age" "whether a configuration is newer than what its proxy runs with" { "product" "" "path" "" "newer" "yes or no" "by" "seconds" }
    "target" "an address that the proxy sends to, looked up in the socket table" {
        "addr" "" "port" "" "listening" "yes or no" "bind" "what the listener is bound to" "pid" "" "by" "the name of the process" "product" ""
        "queue" "connections that wait to be accepted" "backlog" "how many may" "age" "of the process" "netns" "own or other" "busy" "workers with a request" "workers" ""
    }
    "stray-listener" "a Python server listens where no proxy sends" { "bind" "" "port" "" "pid" "" "product" "" "by" "" "age" "" "netns" "" }
    "socket-file" "the path of a Unix socket" {
        "addr" "unix:PATH" "exists" "" "is-socket" "" "listening" "" "mode" "in octal" "owner" "" "reachable" "whether the proxy's user may connect"
        "blocked-by" "the folder or socket that forbids it" "seen-by-proxy" "no where the proxy has another view of the file system"
    }
    "process" "a process of the chain" {
        "pid" "" "ppid" "" "product" "" "role" "master, worker, proxy, single" "state" "R, S, D, T, Z" "age" "" "rss" "" "threads" "" "cpu" "share of a core"
        "fds" "" "fds-max" "" "same-file" "descriptors of the file that is open most often" "closing" "sockets in CLOSE_WAIT" "wchan" "" "blocked-in" "recv, accept, poll, lock, sleep, disk, running" "cgroup" "" "bind" "" "name" ""
    }
    "no-process" "no process of the product runs" { "product" "" "unit" "" }
    "stack" "what a thread of a worker does" {
        "pid" "" "thread" "" "main" "" "function" "" "file" "" "line" "" "blocked-in" "as in `process`" "library" "the module that waits: psycopg2, requests, redis, threading" "gil" "" "same" "how many threads stand there"
    }
    "peer" "an open connection of a worker to a dependency" {
        "pid" "" "addr" "" "product" "" "state" "" "age" "" "idle" "" "retransmits" "" "unacked" "" "shared-by" "how many workers hold the same socket"
    }
    "cgroup" "the limits of the group a server runs in" {
        "path" "" "memory" "" "memory-max" "" "oom-kills" "" "pids" "" "pids-max" "" "throttled" "share of periods" "frozen" "" "pid" ""
    }
    "counter" "a counter of the kernel" { "name" "as TcpExtListenOverflows" "value" "since boot" "delta" "while the doctor looked" }
    "pressure" "the share of time in which tasks waited (PSI)" { "resource" "cpu, memory, io" "some" "of the last 10 s" "full" "of the last 10 s" }
    "ports" "connections to one address against the ports there are" { "addr" "" "used" "" "max" "" "waiting" "in TIME_WAIT" }
    "disk" "a file system that the chain writes to" { "path" "" "what" "proxy-temp, client-body, app, log" "free" "" "free-inodes" "" "reason" "" }
    "neighbour" "an entry of the neighbour table" { "addr" "" "state" "" }
    "firewall" "a rule that matched while the doctor connected" { "addr" "" "verdict" "drop, reject, accept" "rule" "" "delta" "packets" }
    "conntrack" "the table of tracked connections" { "entries" "" "max" "" }
    "zone" "a log whose times are of another zone than was thought; its evidence has been shifted" { "of" "the log" "offset" "seconds that it was ahead" }
    "clock" "a source's clock against the others" { "of" "" "offset" "" }
    "unit" "a systemd unit" { "name" "" "state" "active, failed, activating" "result" "" "restarts" "" "status" "of its exit" "pid" "" }
    "container" "a container" { "name" "" "state" "" "exit-code" "" "oom-killed" "" "health" "" "restarts" "" "network" "" "addr" "" }
    "dns-probe" "a name asked for" {
        "name" "" "via" "proxy (its resolver) or libc" "resolver" "" "result" "ok, nxdomain, servfail, refused, timeout, unreachable" "addresses" "" "elapsed" "" "ttl" ""
        "first" "the family of the first address: 4 or 6" "stale" "addresses of failures that are no longer among the answers"
    }
    "tcp-probe" "a connection tried" {
        "addr" "" "from" "here, or the proxy's network namespace" "result" "open, refused, timeout, unreachable-host, unreachable-network, permission, no-file, queue-full" "errno" "" "elapsed" ""
    }
    "tls-probe" "a TLS handshake tried" {
        "addr" "" "sni" "the name sent, or none" "result" "ok, plain, alert, closed, verify, expired, name-mismatch, not-yet" "alert" "" "not-after" "" "names" "" "issuer" "" "version" "" "same" "whether it is the certificate of the other probe"
    }
    "http-probe" "a request made" {
        "via" "direct or proxy" "addr" "" "method" "" "uri" "" "scheme" "" "status" ""
        "result" "ok, closed, reset, timeout, not-http, truncated, invalid-header, no-status, refused, error"
        "server" "the field Server" "generator" "who wrote the answer: nginx, apache, haproxy, envoy, caddy, gunicorn, uvicorn, hypercorn, uwsgi, app ..."
        "head-bytes" "" "lengths" "how many Content-Length" "chunked" "" "keep-alive" "" "elapsed" "" "asked-as" "client where the Host is the client's, and not what the proxy sends" "trivial" "yes where it is not the path that failed"
    }
    "idle-probe" "a connection left idle" { "addr" "" "closed-after" "" "end" "fin or rst" "open-after" "" }
    "postgres.blocked" "a session that waits for another" { "pid" "" "by" "" "wait" "" "age" "" "query" "without literals" "blocker-state" "" "blocker-age" "" }
    "postgres.sessions" "sessions of the server" { "active" "" "idle-in-transaction" "" "total" "" "max" "" "oldest-query" "" "oldest-transaction" "" "recovery" "" "started" "" "addr" "" }
    "network-policy" "a rule outside of both machines that covers an address" { "addr" "" "name" "" "kind" "NetworkPolicy, security group" "allows" "yes or no" }
    "k8s.pod" "a pod" {
        "name" "" "namespace" "" "addr" "its address, with the port of the service where one is known" "ready" "" "phase" "" "restarts" "" "age" "" "reason" "of its last end, as OOMKilled" "exit-code" "of its last end"
        "state" "running, waiting, terminated, terminating" "waiting" "as CrashLoopBackOff" "readiness" "yes where it has a readiness probe" "startup" "" "liveness" "" "pre-stop" "" "grace" "terminationGracePeriodSeconds"
        "shell" "yes where its process 1 is a shell that does not pass signals on" "image" "" "node" "" "owner" "" "service" "" "listens" "ports of its containers" "bind-loopback" "" "ready-after" "from start to ready" }
    "k8s.event" "an event of the cluster" { "reason" "as Killing, Unhealthy" "object" "kind and name" "count" "" "message" "" "node" "" }
    "k8s.service" "a service" { "name" "" "namespace" "" "port" "" "target-port" "" "selector" "" "endpoints" "addresses that are ready" "not-ready" "addresses that are not" "matches" "pods that the selector finds" "port-open" "no where no container of the pods declares the target port" }
    "k8s.workload" "a deployment or stateful set" { "name" "" "namespace" "" "replicas" "" "available" "" "max-unavailable" "" "max-surge" "" "age" "of the newest revision" "rolling" "yes while it is being replaced" "strategy" "" }
    "k8s.ingress" "an ingress" { "name" "" "namespace" "" "host" "" "uri" "" "service" "" "port" "" "class" "" }
    "edge.request" "a request in the log of a content network or load balancer in front" {
        "edge" "cloudflare, alb, gcp" "status" "what the client got" "origin-status" "what the upstream gave, where it gave something" "details" "the edge's own word for what happened" "uri" "" "method" "" "elapsed" "" "target-time" "" "upstream" "" "host" "" }
    "redis.info" "what Redis says of itself" { "addr" "" "used" "" "max" "" "policy" "" "clients" "" "max-clients" "" "role" "" "loading" "" "blocked" "" "last-save" "" }
    "rabbitmq.status" "what RabbitMQ says of itself" { "memory-alarm" "" "disk-alarm" "" "blocked-connections" "" }
};

/// Every kind of evidence that is yielded.
pub fn kinds() -> impl Iterator<Item = &'static Kind> {
    SHARED.iter().chain(crate::parse::kinds())
}
