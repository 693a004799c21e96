//! The management interface from outside: bytes over a socket, as a probe, a browser or a stranger would send them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "an unexpected byte is a failed test")]

#[path = "admin/answers.rs"]
mod answers;
#[path = "admin/gateway.rs"]
mod gateway;
#[path = "admin/permissions.rs"]
mod permissions;
