//! How incidents are told of.

use super::shape;
use crate::decode::Map;
use crate::scalar::{HeaderName, HeaderSecret, WebhookUrl};

shape! {
    /// Times in which a service fails beyond its own past. They are noticed, looked into and kept in any case: see
    /// `clearway incidents`, and docs/incidents.md.
    Incidents {
        /// Somebody who is told when an incident opens, when its cause is found and when it closes.
        webhook: Webhook [optional] "{ url: \"https://hooks.example.com/clearway\" }";
    }
}

shape! {
    /// A URL that gets a POST with JSON.
    Webhook {
        /// The URL; it may hold a secret, so that messages do not show it: `${env:HOOK_URL}`.
        url: WebhookUrl [required] "https://hooks.example.com/clearway";
        /// Headers that go with it, for example to prove who tells.
        headers: Map<HeaderName, HeaderSecret> [= "{}"] "{ authorization: \"${env:HOOK_TOKEN}\" }";
    }
}
