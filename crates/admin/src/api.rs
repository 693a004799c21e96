//! The endpoints: path, permission and handler of each on one line, and the router that is made of them.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::Response;
use axum::routing::{MethodRouter, get};

use crate::handlers::{self, problem};
use crate::{Control, guard};

/// Who may call an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Anyone who reaches the port, by any name: probes and scrapers carry no token, and have names of their own for us.
    Open,
    /// Holders of an admin token.
    Operator,
}

type State = Arc<dyn Control>;

/// An endpoint. All are for GET.
struct Endpoint {
    path: &'static str,
    permission: Permission,
    handler: MethodRouter<State>,
}

/// The path and permission of every endpoint there is.
pub fn endpoints() -> Vec<(&'static str, Permission)> {
    all().into_iter().map(|endpoint| (endpoint.path, endpoint.permission)).collect()
}

fn all() -> Vec<Endpoint> {
    use Permission::{Open, Operator};
    let endpoint = |path, permission, handler| Endpoint { path, permission, handler };
    vec![
        endpoint("/healthz", Open, get(handlers::health::healthz)),
        endpoint("/readyz", Open, get(handlers::health::readyz)),
        endpoint("/metrics", Open, get(handlers::health::metrics)),
        endpoint("/api/v1/calls", Operator, get(handlers::calls::search)),
        endpoint("/api/v1/calls/{id}", Operator, get(handlers::calls::find)),
        endpoint("/api/v1/incidents", Operator, get(handlers::incidents::list)),
        endpoint("/api/v1/incidents/{id}", Operator, get(handlers::incidents::find)),
        endpoint("/api/v1/routes", Operator, get(handlers::serving::routes)),
        endpoint("/api/v1/upstreams", Operator, get(handlers::serving::upstreams)),
    ]
}

/// The whole interface, as it answers on the address it is bound to. What is no endpoint needs a token too, so that a
/// stranger does not learn what there is.
pub fn router(control: Arc<dyn Control>, bound: SocketAddr) -> Router {
    // The Host is looked at first: with a token or without, a page of a strange name learns nothing. What carries no
    // secret answers under every name that a scraper or a probe has for it.
    let operator = |handler: MethodRouter<State>| {
        handler
            .layer(from_fn_with_state(control.clone(), guard::operator))
            .layer(from_fn_with_state(bound, guard::own_host))
    };
    let mut router = Router::new();
    for Endpoint { path, permission, handler } in all() {
        let handler = handler
            .fallback(async || problem(StatusCode::METHOD_NOT_ALLOWED, "this endpoint answers GET only"));
        let guarded = match permission {
            Permission::Open => handler,
            Permission::Operator => operator(handler),
        };
        router = router.route(path, guarded);
    }
    let unknown = operator(get(not_found).fallback(not_found));
    router
        .fallback_service(unknown.with_state(control.clone()))
        .layer(map_response(private))
        .with_state(control)
}

async fn not_found() -> Response {
    problem(StatusCode::NOT_FOUND, "there is no such endpoint")
}

/// No cache and no page of another origin has a use for what is answered here.
async fn private(mut response: Response) -> Response {
    use axum::http::HeaderValue;
    use axum::http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
