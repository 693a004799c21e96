//! The rules of `wire` as messages and what becomes of them. One module per part.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is how a test fails"
)]

#[path = "wire/allocations.rs"]
mod allocations;
#[path = "wire/body.rs"]
mod body;
#[path = "wire/corpus.rs"]
mod corpus;
#[path = "wire/desync.rs"]
mod desync;
#[path = "wire/fields.rs"]
mod fields;
#[path = "wire/hop.rs"]
mod hop;
#[path = "wire/invariants.rs"]
mod invariants;
#[path = "wire/properties.rs"]
mod properties;
#[path = "wire/proxy_protocol.rs"]
mod proxy_protocol;
#[path = "wire/request.rs"]
mod request;
#[path = "wire/response.rs"]
mod response;
#[path = "wire/sse.rs"]
mod sse;
#[path = "wire/uwsgi.rs"]
mod uwsgi;
