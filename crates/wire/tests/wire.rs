//! The rules of `wire` as messages and what becomes of them. One module per part.

#[path = "wire/request.rs"]
mod request;
