//! For probes and scrapers.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use crate::{Control, Readiness};

/// 200 for as long as the process lives: a draining process must not be killed for it.
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// 503 while starting and draining: requests should go elsewhere.
pub(crate) async fn readyz(State(control): State<Arc<dyn Control>>) -> Response {
    match control.readiness() {
        Readiness::Ready => "ready\n".into_response(),
        Readiness::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting\n").into_response(),
        Readiness::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response(),
    }
}

pub(crate) async fn metrics(State(control): State<Arc<dyn Control>>) -> Response {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], control.metrics()).into_response()
}
