//! The handlers of the endpoints, one file per thing, and the form of their refusals.

pub(crate) mod calls;
pub(crate) mod health;
pub(crate) mod incidents;
pub(crate) mod serving;

use axum::Json;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::ControlError;

/// A problem document (RFC 9457).
pub(crate) fn problem(status: StatusCode, detail: &str) -> Response {
    let title = status.canonical_reason().unwrap_or_default();
    let body = Json(json!({ "title": title, "status": status.as_u16(), "detail": detail }));
    let mut response = (status, body).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}

pub(crate) fn refused(error: &ControlError) -> Response {
    let status = match error {
        ControlError::Question(_) => StatusCode::BAD_REQUEST,
        ControlError::Unreadable(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    problem(status, &error.to_string())
}
