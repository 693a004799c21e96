//! The rules of health.

use model::gateway::Health;

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
    if shape.ejected_max.0 == 0 && (shape.eject_after.given || first.given || longest.given) {
        let place = shape.ejected_max.place;
        ctx.warn(
            place,
            "ejected-max: with `0%` no target is ever ejected",
            "remove the settings of ejections",
        );
    }
}
