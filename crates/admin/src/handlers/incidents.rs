//! The incidents that are kept.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::{problem, refused};
use crate::{Control, IncidentFilter, incidents};

pub(crate) async fn list(
    State(control): State<Arc<dyn Control>>,
    filter: Result<Query<IncidentFilter>, QueryRejection>,
) -> Response {
    let Query(filter) = match filter {
        Ok(filter) => filter,
        Err(rejection) => return problem(StatusCode::BAD_REQUEST, &rejection.body_text()),
    };
    match control.incidents(&filter).await {
        Ok(page) => Json(page).into_response(),
        Err(error) => refused(&error),
    }
}

pub(crate) async fn find(State(control): State<Arc<dyn Control>>, Path(id): Path<String>) -> Response {
    let id = match incidents::incident_id(&id) {
        Ok(id) => id,
        Err(reason) => return problem(StatusCode::BAD_REQUEST, &reason),
    };
    match control.incident(id).await {
        Ok(Some(incident)) => Json(incident).into_response(),
        Ok(None) => problem(StatusCode::NOT_FOUND, "no incident with this id is kept"),
        Err(error) => refused(&error),
    }
}
