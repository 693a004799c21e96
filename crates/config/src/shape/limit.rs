//! How much callers may use.

use model::gateway::LimitBy;

use super::shape;
use crate::decode::List;
use crate::scalar::{ModelName, MoneyText, Name, RateText, Whole};

shape! {
    /// A limit on requests that have something in common. What is above it is answered 429 with `Retry-After`. The stretches of
    /// time are those of the calendar, in UTC.
    Limit {
        /// Its name: clients above it are told.
        name: Name [required] "per-caller";
        /// What has a count of its own each. Without this key, all that the limit is for share one.
        by: List<LimitBy, 1> [optional] "[consumer]";
        /// The services that it is for. Without this key, all.
        services: List<Name, 1> [optional] "[ai]";
        /// The consumers that it is for. Without this key, all, and those whom nobody knows.
        consumers: List<Name, 1> [optional] "[alice]";
        /// The AI models that it is for, as clients name them. Without this key, all, and requests that name none.
        models: List<ModelName, 1> [optional] "[openai/gpt-5]";
        /// Requests.
        requests: RateText [optional] "60/minute";
        /// Tokens of AI models, in and out. What a request may use is reserved when it begins, and settled when it ends.
        tokens: RateText [optional] "100000/hour";
        /// What AI models cost, in US dollars. A model whose price is not known costs nothing here.
        cost: MoneyText [optional] "5.00/day";
        /// Requests at once.
        concurrency: Whole<1, 1000000> [optional] "10";
    }
}
