//! How an upstream chooses among its targets.

use super::shape;
use crate::decode::HasShort;
use crate::scalar::{BalanceBy, BalanceKey, CookieName, Percent, Time};

shape! {
    /// Which of the targets that are admitted gets a request. The name alone is short for `by`.
    Balance {
        /// How.
        by: BalanceBy [required] "least-requests";
        /// For `hash`: what must be the same, `client-address`, `header NAME`, `cookie NAME` or `query NAME`. A request
        /// without it goes where `peak-ewma` says. A target that goes moves only its own keys.
        key: BalanceKey [optional] "header x-tenant";
        /// For `hash`: what a target may have of the requests in flight, compared with its share. What a hot key brings
        /// beyond it goes to the next target.
        load_max: Percent<100, 1000> [= "125%"] "200%";
    }
}

impl HasShort for Balance {
    const KEY: &'static str = "by";
    type Value = BalanceBy;
}

shape! {
    /// A client stays with the target that answered it first, for as long as that one is not out; while it has no room, a
    /// request goes elsewhere. The cookie holds no address; it is sent with `Path=/`, `HttpOnly`, `SameSite=Lax`, and with
    /// `Secure` to clients that came by TLS. Such requests are not hedged.
    Stickiness {
        /// The name of the cookie that is set for this. One of the application can be the `key` of a hash instead.
        cookie: CookieName [required] "app-target";
        /// How long the browser keeps it. Without this key until it is closed.
        max_age: Time<1000> [optional] "1d";
    }
}
