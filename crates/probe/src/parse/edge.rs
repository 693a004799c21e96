//! Access logs of what stands in front of the first proxy: AWS Application Load Balancers, Cloudflare, Google Cloud.
//!
//! Formats as their vendors document them: the fields of ALB access logs (Elastic Load Balancing user guide, "Access log
//! entries"), the dataset `http_requests` of Cloudflare's Logpush, and `httpRequest` with `statusDetails` of Google's load
//! balancer logs. None was captured from a running service.

use std::borrow::Cow;

use model::evidence::Place;
use model::{Evidence, Moment};
use serde_json::Value;

/// A request that the edge answered with 5xx, or with a status of its own; others are nobody's trouble.
fn failed(status: &str) -> bool {
    status.len() == 3 && status.starts_with('5')
}

/// One line of an ALB access log.
pub fn alb(path: &str, number: u64, line: &str) -> Option<Evidence> {
    let fields = split_quoted(line);
    let field = |index: usize| fields.get(index).map(|field| field.as_ref()).filter(|field| *field != "-");
    let kind = field(0)?;
    if !matches!(kind, "http" | "https" | "h2" | "grpcs" | "ws" | "wss") {
        return None;
    }
    let time: Moment = field(1)?.parse().ok()?;
    let status = field(8)?;
    if !failed(status) {
        return None;
    }
    let mut request = field(12)?.split(' ');
    let method = request.next()?;
    let uri = path_of(request.next()?);
    let times: Vec<f64> = (5..8).filter_map(|index| fields.get(index)?.parse().ok()).collect();
    let elapsed: f64 = times.iter().filter(|time| **time >= 0.0).sum();
    Some(
        Evidence::new("edge.request")
            .with("edge", "alb")
            .with("status", status)
            .with_some("origin-status", field(9))
            .with("method", method)
            .with("uri", uri)
            .with_some("upstream", field(4))
            .with("elapsed", elapsed)
            .with_some("target-time", fields.get(6))
            .with_some("details", field(24))
            .text(line)
            .from("load balancer log")
            .at(Place::file(path, number))
            .time(Some(time)),
    )
}

/// Whether the line looks like one of that log.
pub(crate) fn alb_line(line: &str) -> bool {
    let fields = split_quoted(line);
    fields.len() >= 25 && fields.get(1).is_some_and(|time| time.parse::<Moment>().is_ok())
}

/// One line of Cloudflare's Logpush (JSON).
pub fn cloudflare(path: &str, number: u64, line: &str) -> Option<Evidence> {
    let value: Value = serde_json::from_str(line).ok()?;
    let status = value.get("EdgeResponseStatus")?.to_string();
    if !failed(&status) {
        return None;
    }
    let origin = value.get("OriginResponseStatus").map(Value::to_string).filter(|status| status != "0");
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let time = match value.get("EdgeStartTimestamp")? {
        Value::String(text) => text.parse().ok(),
        // Nanoseconds, or seconds where Logpush was told so.
        number => number
            .as_i64()
            .map(|at| Moment(if at > 1_000_000_000_000_000 { at / 1_000_000 } else { at * 1000 })),
    };
    Some(
        Evidence::new("edge.request")
            .with("edge", "cloudflare")
            .with("status", status)
            .with_some("origin-status", origin)
            .with_some("method", text("ClientRequestMethod"))
            .with_some("uri", text("ClientRequestURI").map(path_of))
            .with_some("host", text("ClientRequestHost"))
            .with_some("upstream", text("OriginIP"))
            .text(line)
            .from("content network log")
            .at(Place::file(path, number))
            .time(time),
    )
}

/// One line of Google Cloud's load balancer log (JSON).
pub fn gcp(path: &str, number: u64, line: &str) -> Option<Evidence> {
    let value: Value = serde_json::from_str(line).ok()?;
    let request = value.get("httpRequest")?;
    let details = value.get("jsonPayload")?.get("statusDetails")?.as_str()?;
    let status = match request.get("status")? {
        Value::String(text) => text.clone(),
        number => number.to_string(),
    };
    if !failed(&status) {
        return None;
    }
    let text = |name: &str| request.get(name).and_then(Value::as_str);
    let own = details == "response_sent_by_backend";
    Some(
        Evidence::new("edge.request")
            .with("edge", "gcp")
            .with("status", &status)
            .with_some("origin-status", own.then_some(&status))
            .with("details", details)
            .with_some("method", text("requestMethod"))
            .with_some("uri", text("requestUrl").map(path_of))
            .with_some("elapsed", text("latency").map(|latency| latency.trim_end_matches('s')))
            .text(line)
            .from("load balancer log")
            .at(Place::file(path, number))
            .time(value.get("timestamp").and_then(Value::as_str).and_then(|time| time.parse().ok())),
    )
}

/// The path of a URL or path, without its query.
fn path_of(url: &str) -> &str {
    let after = url
        .split_once("://")
        .map_or(url, |(_, rest)| rest.find('/').and_then(|slash| rest.get(slash..)).unwrap_or("/"));
    after.split(['?', '#']).next().unwrap_or(after)
}

/// Fields separated by blanks; what is quoted is one field.
pub(crate) fn split_quoted(line: &str) -> Vec<Cow<'_, str>> {
    let mut fields = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted.find('"').unwrap_or(quoted.len());
            fields.push(Cow::Borrowed(quoted.get(..end).unwrap_or("")));
            rest = quoted.get(end + 1..).unwrap_or("").trim_start();
        } else {
            let end = rest.find(' ').unwrap_or(rest.len());
            fields.push(Cow::Borrowed(rest.get(..end).unwrap_or("")));
            rest = rest.get(end..).unwrap_or("").trim_start();
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(parse: fn(&str, u64, &str) -> Option<Evidence>, line: &str, expected: &str) {
        let shown = parse("/edge.log", 1, line).map(|evidence| evidence.text("").to_string());
        assert_eq!(shown.as_deref().unwrap_or("nothing"), expected);
    }

    #[test]
    fn a_load_balancer_of_aws() {
        let line = r#"https 2026-11-23T07:08:00.120000Z app/shop/50dc6c495c0c9188 192.0.2.9:4711 10.0.0.7:8000 0.001 0.004 -1 502 - 34 366 "GET https://shop.example:443/cart?id=7 HTTP/1.1" "curl/8.5.0" ECDHE TLSv1.3 arn:aws:tg "Root=1-6" "shop.example" "arn:aws:cert" 0 2026-11-23T07:08:00.110000Z "forward" "-" "-" "10.0.0.7:8000" "-" "-" "-""#;
        check(
            alb,
            line,
            "2026-11-23T07:08:00.120Z edge.request edge=alb status=502 method=GET uri=/cart upstream=10.0.0.7:8000 elapsed=0.005 target-time=0.004 source=\"load balancer log\" at=/edge.log:1",
        );
        check(alb, &line.replace(" 502 - ", " 200 200 "), "nothing");
        check(alb, "https 2026", "nothing");
    }

    #[test]
    fn cloudflare_by_logpush() {
        check(
            cloudflare,
            r#"{"EdgeStartTimestamp":"2026-11-23T07:08:00Z","EdgeResponseStatus":522,"OriginResponseStatus":0,"ClientRequestMethod":"GET","ClientRequestURI":"/cart?id=7","ClientRequestHost":"shop.example","OriginIP":"192.0.2.7"}"#,
            "2026-11-23T07:08:00.000Z edge.request edge=cloudflare status=522 method=GET uri=/cart host=shop.example upstream=192.0.2.7 source=\"content network log\" at=/edge.log:1",
        );
    }

    #[test]
    fn a_load_balancer_of_google() {
        check(
            gcp,
            r#"{"timestamp":"2026-11-23T07:08:00.5Z","httpRequest":{"requestMethod":"GET","requestUrl":"https://shop.example/cart?id=7","status":502,"latency":"30.001s"},"jsonPayload":{"statusDetails":"backend_connection_closed_before_data_sent_to_client"}}"#,
            "2026-11-23T07:08:00.500Z edge.request edge=gcp status=502 details=backend_connection_closed_before_data_sent_to_client method=GET uri=/cart elapsed=30.001 source=\"load balancer log\" at=/edge.log:1",
        );
    }
}
