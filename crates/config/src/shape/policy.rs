//! Policies: the settings of each one, by its name.

use super::shape;
use crate::decode::List;
use crate::scalar::{HeaderName, Name};

shape! {
    /// A rule for the requests of a route: one key, the name of the policy, with its settings.
    Policy {
        /// Requests must carry the API key of a consumer: without one 401, with that of a consumer who may not pass 403.
        api_key: ApiKey [optional] "{ header: authorization }";
    }
}

shape! {
    /// Requests must carry the API key of a consumer.
    ApiKey {
        /// The header that carries it. `authorization` expects `Bearer KEY`.
        header: HeaderName [= "x-api-key"] "authorization";
        /// Consumers that may pass. Without this key, all of them.
        consumers: List<Name, 1> [optional] "[alice]";
        /// Whether the target gets the header too. A credential should go only to the party it was made for.
        forward: bool [= "false"] "true";
    }
}
