//! Connections that never become requests: refused for want of room, or failed in their handshake. They are recorded.

use std::rc::Rc;
use std::time::Instant;

use model::{Ending, Fault, Limit, LimitName, Phase};
use tokio::io::AsyncWriteExt;
use upstream::io::Socket;

use crate::exchange::{Context, limit_text};
use crate::forward::Peer;
use crate::listen::{Counted, Listening};
use crate::worker::Worker;

/// Above the limit of open connections: a short answer, if the client speaks cleartext HTTP/1, and a close.
pub(crate) async fn refuse(
    _counted: Counted,
    worker: Rc<Worker>,
    listening: Rc<Listening>,
    mut socket: Socket,
    address: Option<std::net::SocketAddr>,
) {
    let started = Instant::now();
    let serving = worker.serving();
    let peer = Peer::new(address, socket.local_address(), &serving.gateway.trusted_proxies);
    let mut record = worker.begin_record(Context {
        worker: &worker,
        serving: &serving,
        listening: &listening,
        peer: &peer,
        started,
    });
    let max = listening.settings().limits.connections as u64;
    record.detail = Some(limit_text(Limit::Count { name: LimitName::Connections, max }));
    record.ending = Ending::failed(Phase::Accept, Fault::Overloaded);
    record.status = Fault::Overloaded.status();
    if listening.settings().tls.is_none() {
        let answer = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n\r\n";
        // A new connection's send buffer has room for it.
        let _ = socket.write_all(answer.as_bytes()).await;
        let _ = socket.shutdown().await;
    }
    worker.finish_record(record, started);
}

/// A handshake that failed is an exchange that ended before its request.
pub(crate) fn record_tls_failure(worker: &Worker, listening: &Listening, peer: &Peer, reason: String) {
    let started = Instant::now();
    let serving = worker.serving();
    let mut record = worker.begin_record(Context { worker, serving: &serving, listening, peer, started });
    record.tls = true;
    record.status = Fault::ClientTlsFailed.status();
    record.ending = Ending::failed(Phase::Accept, Fault::ClientTlsFailed);
    record.detail = Some(reason.into());
    worker.finish_record(record, started);
}
