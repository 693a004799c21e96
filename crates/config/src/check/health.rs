//! The rules of health, active checks among them.

use model::gateway::{Check, CheckKind, FailureShare, Health, Scheme, Target};

use crate::ctx::Ctx;
use crate::decode::At;
use crate::shape;

pub(crate) fn rules(shape: &shape::Health) -> Health {
    Health {
        unreachable_after: shape.unreachable_after.number(),
        eject_after: shape.eject_after.number(),
        ejection: shape.ejection.0,
        ejection_max: shape.ejection_max.0,
        ejected_max_percent: shape.ejected_max.0,
        slow_start: shape.slow_start.0,
        failure_share: shape.failure_share_margin.0.map(|margin_percent| FailureShare {
            margin_percent,
            window: shape.failure_share_window.0,
            requests_min: shape.failure_share_requests.number(),
        }),
        check: shape.check.given().and_then(|shape| active_check(shape)),
    }
}

/// `None` where it does not say what is asked, which is an error.
fn active_check(shape: &shape::Check) -> Option<Check> {
    let kind = match (shape.http.given(), shape.grpc.given(), shape.tcp.given()) {
        (Some(path), _, _) => CheckKind::Http {
            path: path.0.clone(),
            host: shape.host.given().map(|host| host.0.clone()),
            statuses: shape.status.iter().map(|range| range.0.clone()).collect(),
        },
        (None, Some(service), _) => CheckKind::Grpc { service: service.0.clone() },
        (None, None, Some(_)) => CheckKind::Tcp,
        (None, None, None) => return None,
    };
    Some(Check {
        kind,
        interval: shape.interval.0,
        timeout: shape.timeout.0,
        rise: shape.rise.number(),
        fall: shape.fall.number(),
    })
}

/// What contradicts itself in a check, and what its targets cannot do.
fn check_active(shape: &At<shape::Check>, targets: &[&Target], offers_http2: bool, ctx: &mut Ctx) {
    let kinds = [
        ("http", shape.http.given().map(|at| at.place), shape.http.is_absent()),
        ("grpc", shape.grpc.given().map(|at| at.place), shape.grpc.is_absent()),
        ("tcp", shape.tcp.given().map(|at| at.place), shape.tcp.is_absent()),
    ];
    let mut given = kinds.iter().filter(|(_, place, _)| place.is_some());
    match (given.next(), given.next()) {
        (Some((one, _, _)), Some((other, Some(place), _))) => {
            ctx.error_with(
                *place,
                format!("{other}: must not stand beside `{one}`"),
                "one check asks one thing",
            );
        }
        (None, _) if kinds.iter().all(|(_, _, is_absent)| *is_absent) => {
            let hint = "for example `http: /healthz`, or `tcp: true`";
            ctx.error_with(shape.place, "check: must have `http`, `grpc` or `tcp`", hint);
        }
        _ => {}
    }
    if let Some(tcp) = shape.tcp.given().filter(|tcp| !tcp.value) {
        ctx.error_with(tcp.place, "tcp: must be true", "a check is switched off by leaving `check` away");
    }
    if shape.http.is_absent() {
        let host = shape.host.given().map(|host| ("host", host.place));
        let status = shape.status.given.then_some(("status", shape.status.place));
        for (key, place) in host.into_iter().chain(status) {
            ctx.error_with(
                place,
                format!("{key}: belongs to `http`, which is not there"),
                "remove it, or add `http`",
            );
        }
    }
    if let Some(grpc) = shape.grpc.given() {
        let is_http2 = |target: &&&Target| match target.scheme {
            Scheme::H2c => true,
            Scheme::Https => offers_http2,
            Scheme::Http | Scheme::Uwsgi => false,
        };
        for target in targets.iter().filter(|target| !is_http2(target)) {
            let message = format!("grpc: `{}` does not speak HTTP/2, which gRPC needs", target.url);
            ctx.error_with(
                grpc.place,
                message,
                "write h2c:// or https:// in the target's URL, or check with `tcp`",
            );
        }
    }
    if shape.timeout.0 > shape.interval.0 && shape.timeout.given {
        let message = format!(
            "timeout: {:?} is longer than `interval`, which is {:?}: a target that hangs is asked less often",
            shape.timeout.0, shape.interval.0
        );
        ctx.warn(shape.timeout.place, message, "set both, `timeout` to the smaller one");
    }
}

/// What contradicts itself.
pub(crate) fn check(shape: &At<shape::Health>, targets: &[&Target], offers_http2: bool, ctx: &mut Ctx) {
    if let Some(check) = shape.check.given() {
        check_active(check, targets, offers_http2, ctx);
    }
    let (first, longest) = (&shape.ejection, &shape.ejection_max);
    if first.0 > longest.0 {
        let place = if first.given { first.place } else { longest.place };
        let message = format!(
            "ejection: {:?} must not be longer than `ejection-max`, which is {:?}",
            first.0, longest.0
        );
        ctx.error_with(place, message, "set both, the first ejection and the longest one");
    }
    let (window, requests) = (&shape.failure_share_window, &shape.failure_share_requests);
    for (given, place) in [(window.given, window.place), (requests.given, requests.place)] {
        if given && shape.failure_share_margin.0.is_none() {
            let message =
                "failure-share-margin: it is off, so that the settings of failure shares have no effect";
            ctx.warn(place, message, "remove this one, or the word `off`");
        }
    }
    if shape.ejected_max.0 == 0 && (shape.eject_after.given || first.given || longest.given) {
        let place = shape.ejected_max.place;
        ctx.warn(
            place,
            "ejected-max: with `0%` no target is ever ejected",
            "remove the settings of ejections",
        );
    }
}
