//! Sets of causes that begin with the same symptom: in the case of each member, it stands above all the others.

use doctor::{Catalogue, diagnose};

use crate::input;

/// Each set by what its members have in common.
const SETS: &[(&str, &[&str])] = &[
    (
        "a refused connection",
        &[
            "crash-loop",
            "dns-stale-resolution",
            "firewall-reject",
            "parent-alive-no-listener",
            "restart-gap",
            "rollout-no-prestop",
            "stale-unix-socket",
            "startup-slow-not-ready",
            "upstream-not-running",
            "wrong-port-or-bind",
        ],
    ),
    (
        "a connection that is not made in time",
        &["conntrack-full", "firewall-drop", "host-down", "packet-loss", "tcp-backlog-overflow"],
    ),
    (
        "a connection that is closed before the answer, at once",
        &[
            "app-os-exit",
            "gunicorn-gthread-maxrequests-reset",
            "http-to-https-upstream",
            "invalid-response-header",
            "keepalive-race",
            "native-segfault",
            "oom-kill-cgroup",
            "uwsgi-protocol-vs-http",
            "uwsgi-unhandled-exception",
            "wsgi-connreset-silent",
            "wsgi-oserror-escape",
        ],
    ),
    (
        "a worker that ended by SIGKILL",
        &["gunicorn-heartbeat-kill", "manual-or-external-kill", "oom-kill-cgroup", "oom-kill-host"],
    ),
    (
        "a failure after always the same time",
        &[
            "gunicorn-timeout-500",
            "gunicorn-timeout-kill-sync-old",
            "modwsgi-request-timeout",
            "proxy-timeout-too-low",
            "uwsgi-harakiri",
        ],
    ),
    (
        "an answer that does not come",
        &[
            "app-deadlock",
            "app-slow-endpoint",
            "asgi-event-loop-blocked",
            "dep-db-lock-wait",
            "dep-http-hang",
            "gil-held-c-extension",
            "http-socket-vs-uwsgi-pass",
            "mtu-blackhole",
            "process-frozen",
            "sync-worker-slow-client",
            "threadpool-exhausted",
            "workers-saturated",
        ],
    ),
    (
        "an answer that the proxy refuses",
        &[
            "app-never-started-response",
            "duplicate-content-length",
            "h2-or-grpc-to-http1",
            "header-too-big-response",
            "invalid-response-header",
            "te-and-cl-together",
        ],
    ),
    (
        "a good status and half a body",
        &["content-length-too-long", "disk-full-temp", "stream-exception", "worker-died-midstream"],
    ),
    (
        "503 for everybody",
        &[
            "healthcheck-misconfigured",
            "maxconn-queue-timeout",
            "no-endpoints-k8s",
            "no-live-upstreams",
            "uvicorn-limit-concurrency",
        ],
    ),
    (
        "well directly, and broken through the proxy",
        &[
            "dns-stale-resolution",
            "header-too-big-response",
            "host-header-or-allowed-hosts",
            "sticky-down-after-recovery",
            "tls-sni-missing",
        ],
    ),
];

#[test]
fn each_member_of_a_set_is_told_from_the_others() {
    let catalogue = Catalogue::causes();
    let mut problems = Vec::new();
    for (symptom, members) in SETS {
        for member in *members {
            let Some(page) = catalogue.get(member) else {
                problems.push(format!("{symptom}: '{member}' has no page"));
                continue;
            };
            let diagnosis = diagnose(catalogue, &input::evidence(page, &page.case), None);
            let first = diagnosis.findings.first();
            if first.is_none_or(|first| first.cause != *member) {
                problems.push(format!("{symptom}: '{member}' is not the first finding of its case"));
            }
            let confused = diagnosis
                .findings
                .iter()
                .skip(1)
                .filter(|finding| members.contains(&finding.cause.as_str()) && finding.confidence >= 0.5);
            problems.extend(confused.map(|finding| {
                format!(
                    "{symptom}: the case of '{member}' is also '{}' ({:.2})",
                    finding.cause, finding.confidence
                )
            }));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
