//! Serves the router on a bound socket, with limits: the port may be open to a network.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Connections at once; scrapers, probes and a few people need no more.
const CONNECTIONS_MAX: usize = 256;
/// A head comes within this time, or the connection is closed; idle ones are closed after it too.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// No request of ours has a large head.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// Serves for as long as it is polled.
pub async fn serve(listener: TcpListener, router: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(_) => {
                // Out of descriptors, mostly; accepting again at once would spin.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .max_buf_size(HEAD_BYTES_MAX)
                .serve_connection(TokioIo::new(stream), service);
            // The peer's own failures concern nobody here.
            let _ = connection.await;
            drop(place);
        });
    }
}
