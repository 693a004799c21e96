//! The management API: health, readiness, metrics, and what the gateway has served.
//!
//! It reaches the running gateway through [`Control`], an interface of plain data, and does not know how a request is
//! proxied. Everything but the endpoints marked open needs an admin token and a Host that is ours.

mod api;
mod calls;
mod control;
mod guard;
mod handlers;
mod incidents;
mod serve;

pub use api::{Permission, endpoints, router};
pub use calls::{CallFilter, DEFAULT_LIMIT, call_id, duration};
pub use control::{Answer, CallPage, Control, ControlError, Readiness, RouteRow, TargetRow, UpstreamRow};
pub use incidents::{IncidentFilter, IncidentPage, IncidentRow, incident_id};
pub use serve::serve;
