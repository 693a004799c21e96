//! The names of settings: one word for the same thing in all products.

/// The name of a setting.
#[derive(Clone, Copy, Debug)]
pub struct Name {
    pub name: &'static str,
    /// What it means, and the unit of its value.
    pub doc: &'static str,
}

macro_rules! names {
    ($($name:literal $doc:literal)*) => { &[$(Name { name: $name, doc: $doc }),*] };
}

/// In groups: times, pools, sizes, peers, addresses and protocols, workers, logs, units, workloads. Times are seconds, `0` for no
/// limit unless said otherwise; sizes are bytes; yes and no are `yes` and `no`; a value that depends on the world at run time is
/// `unknown`.
pub const NAMES: &[Name] = names! {
    "connect-timeout" "how long the proxy waits for a connection"
    "send-timeout" "how long the proxy waits to write the next part of a request"
    "read-timeout" "how long the proxy waits for the answer, or for its next part"
    "head-timeout" "how long the proxy waits for the head of the answer, where that is a limit of its own"
    "request-timeout" "the limit of the whole exchange: a route of Envoy, a request of uWSGI (harakiri) or mod_wsgi"
    "client-timeout" "how long the proxy waits for the client"
    "queue-timeout" "how long a request waits for a free connection or worker"
    "worker-timeout" "how long a worker may be silent before its master kills it"
    "graceful-timeout" "how long a worker may finish its requests when it is to end"
    "startup-timeout" "how long the application may take to start"
    "tunnel-timeout" "how long an upgraded connection may be silent"

    "idle-timeout" "how long the proxy keeps an idle connection to the upstream; 0: it keeps none; none: without limit"
    "pool-size" "idle connections that the proxy keeps"
    "keep-alive" "how long the server, or the proxy towards its clients, keeps an idle connection; 0: it closes after each answer"
    "keep-alive-requests" "requests of one connection; 0: without limit"
    "http-version" "of requests to the upstream: 1.0, 1.1, 2"
    "connection-header" "the field Connection of requests to the upstream: none, close, upgrade, or as it is written"

    "response-header-buffer" "the largest head of an answer that the proxy takes"
    "response-busy-buffers" "what may be on its way to the client while the rest is read (proxy_busy_buffers_size)"
    "response-free-buffers" "all buffers of an answer but one, which nginx wants to be more than that"
    "request-header-limit" "the largest field of a request; for uWSGI the whole head (buffer-size)"
    "request-head-limit" "the largest head of a request"
    "request-fields-limit" "how many fields a request may have"
    "request-line-limit" "the largest request line"
    "request-body-max" "the largest body; 0: without limit"
    "temp-file-max" "the largest answer that the proxy writes to a file; 0: none"
    "temp-path" "where the proxy writes answers that do not fit into memory"
    "body-temp-path" "where the proxy writes bodies of requests"
    "request-buffering" "whether the proxy takes the whole body of a request before it sends it"
    "buffering" "whether the proxy takes the answer faster than the client reads it"

    "peers" "addresses of the group that serve, without backups"
    "backups" "addresses of the group that serve when no other does"
    "max-fails" "failures that take an address out; 0: never"
    "fail-timeout" "how long an address stays out"
    "retries" "attempts after the first; 0: none, none: as many as there are addresses"
    "retry-on" "when the proxy tries again"
    "balance" "how the proxy chooses among the addresses"
    "server-name" "what the proxy's log calls an address, within its group"
    "check" "whether the proxy asks its upstreams how they are"
    "check-interval" "between two checks"
    "check-fall" "failed checks that take an address out"
    "check-rise" "good checks that bring it back"
    "health-path" "the path that is asked for health"
    "health-expect" "the answer that is healthy, as it is written"
    "health-host" "the Host that is sent with it, or none"
    "max-connections" "connections or concurrent requests of a process, or to an address where `target` is set; 0: without limit"
    "resolver" "the name servers of the proxy"
    "target-name" "an upstream that is written as a name"
    "target-name-resolved" "when the proxy looks such a name up: start (once) or run (again and again)"
    "target-uri" "the path that replaces the matched one, as it is written"
    "served-elsewhere" "the address of the only server of the set that no proxy sends to, for a local target that no server has"
    "target-variable" "an upstream that is only known at run time"

    "bind" "an address the server takes connections on"
    "listen" "an address the proxy takes connections on"
    "backlog" "connections that may wait to be accepted"
    "protocol" "http, https, h2c, uwsgi, fastcgi, scgi, grpc, grpcs, ajp, tcp"
    "upstream-tls" "whether the proxy speaks TLS to the upstream"
    "sni" "whether the proxy sends the name of the upstream in the handshake"
    "tls-name" "the name that is sent and verified"
    "verify" "whether the certificate of the upstream is verified"
    "tls" "whether the server or listener speaks TLS"
    "proxy-protocol" "whether the listener expects the PROXY protocol"
    "send-proxy" "whether the proxy begins with the PROXY protocol"
    "host-header" "the Host that the upstream gets: upstream, client, or as it is written"
    "websocket-upgrade" "whether upgrades are passed on"

    "app" "the module and its callable"
    "workers" "processes of the server"
    "threads" "threads of each process"
    "worker-class" "sync, gthread, gevent, eventlet, tornado, asgi, uvicorn, or as it is written"
    "max-requests" "requests after which a worker is replaced; 0: never"
    "max-requests-jitter" "the random part of it"
    "post-fork" "whether something is done in each worker after it is forked"
    "preload" "whether the application is loaded before the workers are forked"
    "lifespan" "auto, on, off"
    "limit-concurrency" "requests or connections above which the server answers 503"
    "websocket" "the WebSocket implementation of the server"
    "need-app" "whether the server ends when the application cannot be loaded"
    "lazy-apps" "whether each worker loads the application itself"
    "reload" "whether the server restarts when files change"
    "reload-on-memory" "bytes above which a worker is replaced"
    "daemon" "whether it goes to the background"
    "forwarded-allow" "whose forwarding fields are believed"
    "socket-mode" "of a Unix socket, in octal"
    "umask" ""
    "user" ""
    "os-group" ""
    "chdir" "the folder it works in"
    "environment" "the name of a variable that is set; values are never kept"
    "environment-file" ""
    "file-limit" "descriptors of a process"
    "pid-file" ""

    "error-log" "its path; stderr, stdout, syslog and journal as words"
    "access-log" "its path, as for error-log; off where there is none. `format` has the format as it is written"
    "log-format" "the format of access logs that name it; `format-name` has its name"
    "log-level" ""

    "exec-start" "the command of a unit"
    "unit-type" "simple, notify, forking ..."
    "restart" "always, on-failure, no; for containers as they are written"
    "restart-delay" ""
    "start-timeout" "how long the unit may take to start"
    "stop-timeout" "how long it may take to end before it is killed"
    "kill-mode" ""
    "private-tmp" "whether it has a /tmp of its own"
    "runtime-directory" ""
    "memory-max" ""
    "cpu-max" "in cores"
    "tasks-max" ""
    "after" "a unit that is started before"
    "listen-stream" "an address of a socket unit"
    "somaxconn" "the kernel's bound of every backlog"

    "replicas" ""
    "image" ""
    "readiness-probe" "http, tcp, exec, grpc or none"
    "liveness-probe" "as readiness-probe"
    "startup-probe" "as readiness-probe"
    "probe-port" "the port that a probe asks; `probe` says which"
    "probe-timeout" ""
    "probe-period" ""
    "probe-failures" ""
    "pre-stop" "what runs before the container is told to end: sleep and its seconds, exec, http, or none"
    "pre-stop-delay" ""
    "grace-period" "between the signal to end and the kill"
    "max-unavailable" "of a rollout"
    "max-surge" "of a rollout"
    "container-port" ""
    "target-port" "the port of the container that a Service sends to"
    "port" "the port of a Service, or a published port"
    "selector" "the labels a Service selects, as `a=b,c=d`"
    "selected" "whether a workload of the set has the labels that the Service selects"
    "healthcheck" "http, tcp, exec or none"
    "depends-on" "a service that is started before; `condition` says when it counts as started"
    "stop-signal" ""
    "shell-entrypoint" "whether process 1 is a shell, which passes no signals on"
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_stands_once() {
        let mut names: Vec<&str> = NAMES.iter().map(|name| name.name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
