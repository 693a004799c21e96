//! How an upstream chooses among its targets.

use model::gateway::{Balance, HashKey, Hedge, Stickiness};

use crate::ctx::Ctx;
use crate::scalar::BalanceBy;
use crate::shape;
use crate::tree::Place;

pub(crate) fn balance(shape: &shape::Balance) -> Balance {
    match shape.by.given().map_or(BalanceBy::PeakEwma, |by| by.value) {
        BalanceBy::Hash => Balance::Hash {
            // Without one there is an error.
            key: shape.key.given().map_or(HashKey::ClientAddress, |key| key.0.clone()),
            load_max_percent: shape.load_max.0,
        },
        BalanceBy::LeastRequests => Balance::LeastRequests,
        BalanceBy::PeakEwma => Balance::PeakEwma,
        BalanceBy::Random => Balance::Random,
        BalanceBy::RoundRobin => Balance::RoundRobin,
    }
}

pub(crate) fn stickiness(shape: &shape::Upstream) -> Option<Stickiness> {
    let shape = shape.stickiness.given()?;
    Some(Stickiness {
        cookie: shape.cookie.given()?.0.clone(),
        max_age: shape.max_age.given().map(|age| age.0),
    })
}

/// Where hedging is switched on.
fn hedged(shape: &shape::Upstream) -> Option<Place> {
    let hedge = &shape.retries.hedge;
    (hedge.given && hedge.0 != Hedge::Off).then_some(hedge.place)
}

/// What does not go together.
pub(crate) fn check(shape: &shape::Upstream, ctx: &mut Ctx) {
    if let (Some(_), Some(hedge)) = (shape.stickiness.given(), hedged(shape)) {
        let message = "hedge: clients that stay with their target are not hedged";
        ctx.warn(hedge, message, "keep one of `hedge` and `stickiness`");
    }
    let balance = &shape.balance.0;
    let Some(by) = balance.by.given() else { return };
    if by.value == BalanceBy::Hash {
        if balance.key.is_absent() {
            let hint = "for example `balance: { by: hash, key: client-address }`";
            ctx.error_with(by.place, "balance: `hash` must have a `key`", hint);
        }
        if let Some(stickiness) = shape.stickiness.given() {
            let message = "stickiness: the cookie goes before the key of `hash`, which then counts for first requests only";
            ctx.warn(stickiness.place, message, "keep one of the two");
        }
        return;
    }
    let key = balance.key.given().map(|key| ("key", key.place));
    let load_max = balance.load_max.given.then_some(("load-max", balance.load_max.place));
    for (name, place) in key.into_iter().chain(load_max) {
        let message = format!("{name}: belongs to `by: hash`");
        ctx.error_with(place, message, "remove it, or choose by hash");
    }
}
