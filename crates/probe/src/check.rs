//! Checks: each comes by one kind of evidence that a diagnosis wants, within its time, or says why it cannot.
//!
//! A check is a file and a line in [`CHECKS`]. None changes anything: requests are GET and HEAD, statements of databases are
//! read only. Every connection and request that is made is told.

mod dns;
mod firewall;
mod http;
mod idle;
mod kernel;
mod postgres;
mod program;
mod python;
mod rabbitmq;
mod redis;
mod state;
mod tcp;
mod tls;

pub(crate) use tcp::resolve;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use model::report::{Probed, Skipped};
use model::{Evidence, Want};

use crate::discover::Scene;

/// Requests over HTTP that one diagnosis may make.
const REQUESTS_MAX: usize = 5;

/// What a check comes to.
#[derive(Debug, Default)]
pub struct Answer {
    pub evidence: Vec<Evidence>,
    pub skipped: Vec<Skipped>,
    pub probed: Vec<Probed>,
}

/// What a diagnosis may still spend.
#[derive(Debug)]
pub struct Budget {
    until: Instant,
    requests: AtomicUsize,
}

impl Budget {
    pub fn new(time: Duration) -> Budget {
        Budget { until: Instant::now() + time, requests: AtomicUsize::new(REQUESTS_MAX) }
    }

    pub fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Whether one more request may be made; counts it.
    pub(crate) fn take_request(&self) -> bool {
        let one_less = |left: usize| left.checked_sub(1);
        self.requests.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
    }

    /// The time for a step that wants so long, within what is left.
    pub(crate) fn at_most(&self, wanted: Duration) -> Duration {
        wanted.min(self.left())
    }
}

/// One way to come by evidence.
struct Check {
    kind: &'static str,
    /// What it takes, where that is more than anybody has.
    needs: &'static str,
    run: fn(&Scene, &Want, &Budget) -> Answer,
}

const CHECKS: &[Check] = &[
    Check { kind: "cgroup", needs: "", run: state::cgroup },
    Check { kind: "clock", needs: "", run: http::clock },
    Check { kind: "conntrack", needs: "", run: kernel::conntrack },
    Check { kind: "counter", needs: "", run: kernel::counter },
    Check { kind: "disk", needs: "", run: kernel::disk },
    Check { kind: "dns-probe", needs: "", run: dns::probe },
    Check { kind: "firewall", needs: "root", run: firewall::probe },
    Check { kind: "http-probe", needs: "", run: http::probe },
    Check { kind: "idle-probe", needs: "", run: idle::probe },
    Check { kind: "neighbour", needs: "", run: kernel::neighbour },
    Check { kind: "peer", needs: "the server's user, or root", run: state::peers },
    Check { kind: "ports", needs: "", run: kernel::ports },
    Check {
        kind: "postgres.blocked",
        needs: "a connection string in the worker's environment",
        run: postgres::probe,
    },
    Check {
        kind: "postgres.sessions",
        needs: "a connection string in the worker's environment",
        run: postgres::probe,
    },
    Check { kind: "pressure", needs: "", run: kernel::pressure },
    Check { kind: "process", needs: "", run: state::processes },
    Check { kind: "rabbitmq.status", needs: "rabbitmqctl", run: rabbitmq::probe },
    Check { kind: "redis.info", needs: "", run: redis::probe },
    Check { kind: "socket-file", needs: "", run: state::socket_file },
    Check { kind: "stack", needs: "the server's user, or root", run: state::stacks },
    Check { kind: "stray-listener", needs: "", run: state::nothing_more },
    Check { kind: "target", needs: "", run: state::target },
    Check { kind: "tcp-probe", needs: "", run: tcp::probe },
    Check { kind: "tls-probe", needs: "", run: tls::probe },
];

/// Comes by what is wanted, if anybody can.
pub fn answer(scene: &Scene, want: &Want, budget: &Budget) -> Answer {
    match CHECKS.iter().find(|check| check.kind == want.kind) {
        Some(check) => {
            let mut answer = (check.run)(scene, want, budget);
            if answer.evidence.is_empty() && answer.skipped.is_empty() && !check.needs.is_empty() {
                answer.skipped.push(skipped(want, "nothing was seen", check.needs));
            }
            answer
        }
        // Lines of logs that were read already, and settings: nothing more can be done for them here.
        None => Answer::default(),
    }
}

/// Whether the answer to a wish is waited for, at somebody's other end; what is read on this machine is there at once.
pub fn waits(want: &Want) -> bool {
    matches!(
        want.kind.as_ref(),
        "clock"
            | "counter"
            | "dns-probe"
            | "firewall"
            | "http-probe"
            | "idle-probe"
            | "postgres.blocked"
            | "postgres.sessions"
            | "rabbitmq.status"
            | "redis.info"
            | "tcp-probe"
            | "tls-probe"
    )
}

/// A connection to a Unix socket that never waits for a full queue.
pub(crate) fn unix_stream(path: &std::path::Path) -> std::io::Result<std::os::unix::net::UnixStream> {
    tcp::unix_stream(path)
}

/// The primitives of TLS.
pub(crate) fn crypto() -> std::sync::Arc<rustls::crypto::CryptoProvider> {
    tls::provider()
}

/// Takes every certificate: for a cluster whose configuration says so.
pub(crate) fn any_certificate() -> std::sync::Arc<dyn rustls::client::danger::ServerCertVerifier> {
    tls::any_certificate()
}

/// A check that could not run.
pub(crate) fn skipped(want: &Want, reason: impl Into<String>, needs: impl Into<String>) -> Skipped {
    Skipped { check: want.to_string(), reason: reason.into(), needs: needs.into() }
}

/// Something that was done.
pub(crate) fn probed(what: impl Into<String>, result: impl Into<String>, begun: Instant) -> Probed {
    Probed { what: what.into(), result: result.into(), took: begun.elapsed() }
}
