//! The rules of health.

use model::gateway::{FailureShare, Health};

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
    }
}

/// What contradicts itself.
pub(crate) fn check(shape: &At<shape::Health>, ctx: &mut Ctx) {
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
