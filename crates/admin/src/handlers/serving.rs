//! What is served now.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use crate::{Control, RouteRow, UpstreamRow};

pub(crate) async fn routes(State(control): State<Arc<dyn Control>>) -> Json<Vec<RouteRow>> {
    Json(control.routes())
}

pub(crate) async fn upstreams(State(control): State<Arc<dyn Control>>) -> Json<Vec<UpstreamRow>> {
    Json(control.upstreams())
}
