//! Who may ask for what is not open: the Host must be ours, and there must be an admin token.
//!
//! The Host is checked because a page that a browser shows may point its own name at our address (DNS rebinding) and
//! then read what we answer; that name is what such a request carries.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::Control;
use crate::handlers::problem;

/// Refuses requests whose Host is not ours.
pub(crate) async fn own_host(State(bound): State<SocketAddr>, request: Request, next: Next) -> Response {
    if is_own_host(request.headers(), request.uri(), bound) {
        return next.run(request).await;
    }
    problem(
        StatusCode::MISDIRECTED_REQUEST,
        "the Host of the request is not a name of the management interface; ask by its address, or as localhost",
    )
}

fn is_own_host(headers: &HeaderMap, uri: &Uri, bound: SocketAddr) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let Ok(host) = host.to_str() else { return false };
    // A target in absolute form names the host that counts (RFC 9112 section 3.2.2).
    let host = uri.authority().map_or(host, |authority| authority.as_str());
    let name = without_port(host);
    if name.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let Ok(address) = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() else {
        return false;
    };
    // An interface on all addresses is ours by any of them: only names can be rebound.
    bound.ip().is_unspecified()
        || address == bound.ip()
        || (bound.ip().is_loopback() && address.is_loopback())
}

/// The port is not compared: it differs behind a port mapping.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

/// Lets requests with an admin token pass.
pub(crate) async fn operator(
    State(control): State<Arc<dyn Control>>,
    request: Request,
    next: Next,
) -> Response {
    let token = bearer_token(request.headers()).map(str::to_owned);
    let known = match token {
        Some(token) => control.is_admin_token(&token).await,
        None => Ok(false),
    };
    match known {
        Ok(true) => next.run(request).await,
        Ok(false) => {
            let text = "send the admin token as 'Authorization: Bearer TOKEN'; the first start printed it, and \
                        'clearway admin-token rotate' makes a new one";
            let mut response = problem(StatusCode::UNAUTHORIZED, text);
            response
                .headers_mut()
                .insert(WWW_AUTHENTICATE, "Bearer".parse().expect("a token must be a value"));
            response
        }
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()).into_response(),
    }
}

fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bound: &str, hosts: &[&str], expect: bool) {
        for host in hosts {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            let own = is_own_host(&headers, &Uri::from_static("/"), bound.parse().unwrap());
            assert_eq!(own, expect, "{host} at {bound}");
        }
    }

    #[test]
    fn a_host_is_ours_by_address_or_as_localhost() {
        check(
            "127.0.0.1:8081",
            &["127.0.0.1:8081", "127.0.0.1", "localhost:8081", "LOCALHOST", "[::1]:8081", "127.0.0.1:9000"],
            true,
        );
        check(
            "127.0.0.1:8081",
            &[
                "attacker.test",
                "attacker.test:8081",
                "localhost.attacker.test",
                "192.0.2.1",
                "",
                "127.0.0.1.nip.test",
            ],
            false,
        );
        check("0.0.0.0:8081", &["192.0.2.1:8081", "[2001:db8::1]:8081", "localhost"], true);
        check("0.0.0.0:8081", &["attacker.test"], false);
        check("192.0.2.7:8081", &["192.0.2.7"], true);
        check("192.0.2.7:8081", &["192.0.2.8"], false);
    }

    #[test]
    fn no_host_or_two_are_nobody_s() {
        let bound = "127.0.0.1:8081".parse().unwrap();
        let mut headers = HeaderMap::new();
        assert!(!is_own_host(&headers, &Uri::from_static("/"), bound));
        headers.append(HOST, "localhost".parse().unwrap());
        headers.append(HOST, "attacker.test".parse().unwrap());
        assert!(!is_own_host(&headers, &Uri::from_static("/"), bound));
        headers.remove(HOST);
        headers.append(HOST, "localhost".parse().unwrap());
        assert!(!is_own_host(&headers, &Uri::from_static("http://attacker.test/"), bound));
    }
}
