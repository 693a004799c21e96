//! The exchanges that are kept.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::{problem, refused};
use crate::{CallFilter, Control, calls};

pub(crate) async fn search(
    State(control): State<Arc<dyn Control>>,
    filter: Result<Query<CallFilter>, QueryRejection>,
) -> Response {
    let Query(filter) = match filter {
        Ok(filter) => filter,
        Err(rejection) => return problem(StatusCode::BAD_REQUEST, &rejection.body_text()),
    };
    match control.search(&filter).await {
        Ok(page) => Json(page).into_response(),
        Err(error) => refused(&error),
    }
}

pub(crate) async fn find(State(control): State<Arc<dyn Control>>, Path(id): Path<String>) -> Response {
    let id = match calls::call_id(&id) {
        Ok(id) => id,
        Err(reason) => return problem(StatusCode::BAD_REQUEST, &reason),
    };
    match control.find(id).await {
        Ok(Some(call)) => Json(call).into_response(),
        Ok(None) => problem(StatusCode::NOT_FOUND, "no call with this id is kept"),
        Err(error) => refused(&error),
    }
}
