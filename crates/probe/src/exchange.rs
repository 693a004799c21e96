//! Clearway's own exchanges as evidence: each attempt that failed as a `failure`, in the words in which other proxies' logs
//! are told, so that rules of causes hold for Clearway too.
//!
//! Pure: where the exchanges come from is for the caller. What a fault means in those words is [`meaning`]. Query values
//! cannot appear: an exchange has none.

use model::evidence::Place;
use model::{Attempt, Evidence, Exchange, Fault, Limit, Moment, Party, PeerEnd};

use crate::parse::failure::{How, Phase, of_errno};

mod meaning;

/// Who says so.
pub const SOURCE: &str = "clearway record";

const PROXY: &str = "clearway";

/// What an exchange shows: a `failure` for each attempt that failed and for what failed without one, and a `request` where
/// the upstream itself answered 5xx. Nothing for an exchange that went well at once.
pub fn evidence(exchange: &Exchange) -> Vec<Evidence> {
    let mut found: Vec<Evidence> =
        exchange.attempts.iter().filter_map(|attempt| attempt_failure(exchange, attempt)).collect();
    if let Some(fault) = exchange.ending.fault
        && exchange.attempts.last().is_none_or(|last| last.ending.fault != Some(fault))
    {
        found.push(own_failure(exchange, fault));
    }
    if exchange.attempts.iter().any(|attempt| attempt.status.is_some_and(|status| status >= 500)) {
        found.push(request(exchange));
    }
    found
}

/// Whether the service failed its client with this exchange: the upstream or the gateway did not bring it to a good end. What
/// a client does wrong, and what ends because the process is told to stop, is no failure of the service.
pub fn is_failed(exchange: &Exchange) -> bool {
    match exchange.ending.fault {
        None => exchange.status >= 500,
        Some(Fault::NoTarget) => true,
        Some(fault) => matches!(fault.party(), Party::Gateway | Party::Upstream),
    }
}

/// The exchanges counted, as `traffic`, and that all of them were looked at, as `read`. Nothing of none.
pub fn traffic(exchanges: &[Exchange]) -> Vec<Evidence> {
    let time = |exchange: &Exchange| moment(exchange, 0);
    let (Some(from), Some(to)) = (exchanges.iter().map(time).min(), exchanges.iter().map(time).max()) else {
        return Vec::new();
    };
    let failed = exchanges.iter().filter(|exchange| is_failed(exchange)).count();
    let last =
        |wanted: bool| exchanges.iter().filter(|exchange| is_failed(exchange) == wanted).map(time).max();
    let mut elapsed: Vec<u64> = exchanges.iter().map(|exchange| exchange.timeline.done_micros).collect();
    elapsed.sort_unstable();
    let quantile = |share: f64| {
        let at = ((elapsed.len() - 1) as f64 * share) as usize;
        elapsed.get(at).map(|micros| seconds(*micros))
    };
    let requests = exchanges.len();
    let place = Place::Object("clearway calls".to_owned());
    let counted = Evidence::new("traffic")
        .with("proxy", PROXY)
        .with("requests", requests)
        .with("failed", failed)
        .with("from", from)
        .with("to", to)
        .with_some("median", quantile(0.5))
        .with_some("p95", quantile(0.95))
        .with_some("last-good", last(false))
        .with_some("last-failed", last(true))
        .text(format!("{requests} requests, {failed} of them failed"));
    let looked = Evidence::new("read")
        .with("what", "proxy-log")
        .with("product", PROXY)
        .with("from", from)
        .with("to", to)
        .with("lines", requests)
        .text(format!("{requests} records were read"));
    [counted, looked].map(|evidence| evidence.from(SOURCE).at(place.clone())).into()
}

fn attempt_failure(exchange: &Exchange, attempt: &Attempt) -> Option<Evidence> {
    let fault = attempt.ending.fault?;
    let (phase, how) = meaning::of(fault, attempt.ending.during, &meaning::Facts::of(attempt));
    let elapsed = attempt.total.as_micros() as u64;
    let number = exchange.attempts.iter().position(|one| std::ptr::eq(one, attempt)).unwrap_or_default() + 1;
    let upstream = address(attempt);
    let text = format!(
        "{}: {fault} during {} at {upstream} after {:.3} s, attempt {number} of {}",
        asked(exchange),
        attempt.ending.during.id(),
        seconds_number(elapsed),
        exchange.attempts.len(),
    );
    let evidence = failure(exchange, fault, phase, how)
        .with("upstream", upstream)
        .with("group", &attempt.upstream)
        .with_some("scheme", scheme(&attempt.target))
        .with_some("errno", attempt.errno)
        .with("elapsed", seconds(elapsed))
        .with("reused", yes(attempt.reuse.is_some()))
        .with_some("idle", attempt.reuse.map(|reuse| seconds(reuse.idle.as_micros() as u64)))
        .with_some("end", attempt.peer_end.map(end))
        .with("sent", attempt.bytes_sent)
        .with_some("acked", attempt.bytes_acked)
        .with("received", attempt.bytes_received)
        .with_some("limit", attempt.limit.as_ref().and_then(time_limit))
        .with_some("detail", detail(attempt.detail.as_deref(), attempt.limit.as_ref(), attempt.tls_alert))
        .text(text)
        .time(Some(moment(exchange, attempt.started_micros.saturating_add(elapsed))));
    Some(evidence)
}

/// What failed without an attempt, or after it.
fn own_failure(exchange: &Exchange, fault: Fault) -> Evidence {
    let last = exchange.attempts.last();
    let (phase, how) = meaning::of(fault, exchange.ending.during, &meaning::Facts::default());
    let during = exchange.ending.during.id();
    failure(exchange, fault, phase, how)
        .with_some("upstream", last.map(address))
        .with_some("group", last.map(|last| &*last.upstream))
        .with("elapsed", seconds(exchange.timeline.done_micros))
        .with_some("detail", exchange.detail.as_deref())
        .text(format!("{}: {fault} during {during}", asked(exchange)))
        .time(Some(moment(exchange, exchange.timeline.done_micros)))
}

fn failure(exchange: &Exchange, fault: Fault, phase: Phase, how: How) -> Evidence {
    let evidence = Evidence::new("failure")
        .with("proxy", PROXY)
        .with("phase", phase.name())
        .with("how", how.name())
        .with("fault", fault.id());
    common(evidence, exchange)
        .with_some("server", exchange.service.as_deref())
        .with("retries", exchange.attempts.len().saturating_sub(1))
        .with_some("client", exchange.client)
}

/// What the client got, where the upstream itself said 5xx.
fn request(exchange: &Exchange) -> Evidence {
    let status = |attempt: &Attempt| attempt.status.map_or("-".to_owned(), |status| status.to_string());
    let statuses: Vec<String> = exchange.attempts.iter().map(status).collect();
    let addresses: Vec<String> = exchange.attempts.iter().map(address).collect();
    let last = exchange.attempts.last();
    let own = exchange.ending.fault.is_none() && exchange.status >= 500;
    let evidence = common(Evidence::new("request").with("proxy", PROXY), exchange);
    evidence
        .with("upstream-status", statuses.join(", "))
        .with("upstream", addresses.join(", "))
        .with("elapsed", seconds(exchange.timeline.done_micros))
        .with_some("upstream-elapsed", last.map(|last| seconds(last.total.as_micros() as u64)))
        .with_some(
            "header-time",
            last.and_then(|last| last.await_head).map(|time| seconds(time.as_micros() as u64)),
        )
        .with("bytes", exchange.response_body_bytes)
        .with("own", yes(own))
        .text(format!("{}: the upstream answered {}", asked(exchange), statuses.join(", ")))
        .time(Some(moment(exchange, exchange.timeline.done_micros)))
}

fn common(evidence: Evidence, exchange: &Exchange) -> Evidence {
    evidence
        .with("status", exchange.status)
        .with("method", exchange.method.as_str())
        .with("uri", &exchange.path)
        .with_some("host", Some(&exchange.host).filter(|host| !host.is_empty()))
        .from(SOURCE)
        .at(Place::Exchange(exchange.id.to_string()))
}

fn asked(exchange: &Exchange) -> String {
    format!("{} {}{} {}", exchange.method, exchange.host, exchange.path, exchange.status)
}

/// Where it went: the address that was used, else the one that the configuration names.
fn address(attempt: &Attempt) -> String {
    if let Some(address) = attempt.address {
        return address.to_string();
    }
    let target = &*attempt.target;
    if let Some(path) = target.strip_prefix("unix:") {
        return format!("unix:{path}");
    }
    let (scheme, rest) = target.split_once("://").unwrap_or(("http", target));
    let authority = rest.split('/').next().unwrap_or(rest);
    if authority.is_empty() {
        // `uwsgi:///run/app.sock`
        return format!("unix:{rest}");
    }
    let has_port =
        authority.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let port = if scheme == "https" { 443 } else { 80 };
    if has_port { authority.to_owned() } else { format!("{authority}:{port}") }
}

fn scheme(target: &str) -> Option<&str> {
    match target.split(':').next()? {
        "h2c" | "unix" => Some("http"),
        scheme @ ("http" | "https" | "uwsgi") => Some(scheme),
        _ => None,
    }
}

fn end(end: PeerEnd) -> &'static str {
    match end {
        PeerEnd::Fin => "fin",
        PeerEnd::Rst => "rst",
    }
}

fn time_limit(limit: &Limit) -> Option<String> {
    match limit {
        Limit::Time { max, .. } => Some(seconds(max.as_micros() as u64)),
        Limit::Bytes { .. } | Limit::Count { .. } => None,
    }
}

fn detail(detail: Option<&str>, limit: Option<&Limit>, alert: Option<u8>) -> Option<String> {
    let limit = limit.map(|limit| match limit {
        Limit::Bytes { name, max } => format!("{name} {max} bytes"),
        Limit::Count { name, max } => format!("{name} {max}"),
        Limit::Time { name, .. } => format!("time limit {name}"),
    });
    let alert = alert.map(|alert| format!("TLS alert {alert}"));
    let parts: Vec<String> = [detail.map(str::to_owned), limit, alert].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn yes(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

fn moment(exchange: &Exchange, after_micros: u64) -> Moment {
    let micros = exchange.started_unix_micros.saturating_add(after_micros);
    Moment(i64::try_from(micros / 1000).unwrap_or(i64::MAX))
}

fn seconds_number(micros: u64) -> f64 {
    micros as f64 / 1e6
}

fn seconds(micros: u64) -> String {
    format!("{:.6}", seconds_number(micros)).trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests;
