//! The house's only HTTP client: resolve, dial, TLS, pool, and one attempt on a connection.
//!
//! It knows upstreams and targets, not routes and policies. An attempt is driven by polling: the caller owns both
//! sides of an exchange and decides what a failure means; this crate says exactly how it came about.

mod backlog;
mod balance;
pub mod body;
mod budget;
pub mod buffers;
mod check;
mod connection;
mod dial;
mod failure;
mod failure_share;
pub mod health;
mod http1;
mod http2;
pub mod http2_stream;
mod idle_limit;
pub mod io;
mod latency;
pub mod limiter;
mod pool;
mod post;
mod probe;
mod pulse;
mod queue;
mod resolve;
mod slot;
mod standing;
mod sticky;
mod tail;
mod target;
pub mod tls;
mod waiting;
mod zone;

pub use balance::{Affinity, key};
pub use connection::{Connection, Request, UploadFailure};
pub use dial::{Addresses, DialTimes, Purpose};
pub use failure::Failure;
pub use http1::Delivery;
pub use pool::{Lease, Pool, SWEEP_EVERY, head_limits};
pub use post::{Post, post};
pub use queue::Full;
pub use resolve::Resolver;
pub use slot::{Choice, Slot, Wanted};
pub use standing::Standing;
pub use target::{LearnedTarget, LearnedUpstream, Registry, Target, TargetState, Upstream};
pub use waiting::{Patience, Patient, Waiting};
