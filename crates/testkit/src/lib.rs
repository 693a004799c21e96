//! Scripted upstreams and clients for tests: every byte, every fault and every end of a connection is chosen by the
//! test, and everything that arrived is recorded.
//!
//! It knows sockets, TLS and HTTP on its own, and nothing of the crates under test, so that it cannot share their bugs.
//! Nothing sleeps to wait for something and no port is fixed. A test that waits in vain fails by name after
//! [`PATIENCE`].

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "the kit runs in tests only, where an unexpected byte is a failed test"
)]

mod certificate;
mod client;
pub mod frames;
mod header_map;
mod http2_client;
mod message;
mod net;
mod peculiar;
mod provider;
mod script;
mod stream;
mod upstream;
mod uwsgi;
mod wait;

pub use certificate::{Authority, Certificate};
pub use client::Client;
pub use http2_client::{Http2Client, Http2Request, Http2Response};
pub use message::{BodyEnd, Reader, Request, Response};
pub use net::End;
pub use peculiar::{full, full_unix, refused};
pub use provider::Provider;
pub use script::Step;
pub use stream::Stream;
pub use upstream::{Http2Answer, Http2End, Seen, Upstream, UpstreamBuilder};
pub use uwsgi::Packet;
pub use wait::{Gate, PATIENCE, within};
