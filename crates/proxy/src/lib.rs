//! The data plane: accept, route, policies, pick a target, attempt, answer, record.
//!
//! It is handed a checked [`model::Gateway`] and serves it; it never reads configuration, and knows neither the database
//! nor the doctor. What happened leaves as one [`model::Exchange`] per request through [`Records`].

mod admit;
mod affinity;
mod ahead;
mod ai;
mod answer;
mod attempt;
mod attempt_log;
mod await_head;
mod bind;
mod client;
mod collect;
mod connect;
mod deadline;
mod download;
mod exchange;
mod forward;
mod frame_meter;
mod hedge;
mod http1;
mod http2;
mod inherit;
mod intake;
mod listen;
mod overload;
mod pace;
mod record;
mod retry;
mod route;
mod server;
mod serving;
pub mod spool;
mod stored;
mod tls;
mod tunnel;
mod upload;
mod wait;
mod watch;
mod whole;
mod worker;

pub mod telemetry;

pub use crate::ai::{Offer, Rests};
pub use inherit::{Inherited, Owner};
pub use listen::ListenerState;
pub use record::Records;
pub use route::{Destination, Found, NotFound, Parameters, RouteTable};
pub use server::{Offered, Server, StartError, Starting};
pub use serving::Serving;
pub use worker::Shared;
