//! AI protocols: what clients and providers say, brought into one form and out of it again; and the catalogue of providers.
//!
//! Pure: no sockets, no clocks, no files. Protocols are code (`protocol/`, one folder each), providers are data
//! (`catalogue/providers.json`). A request whose client and provider speak the same protocol is never brought into the form: its
//! bytes go on as they are ([`scan`]), and its answer is only listened to ([`tap`]).

pub mod catalogue;
pub mod endpoint;
mod fields;
pub mod form;
pub mod frame;
pub mod problem;
pub mod protocol;
pub mod quirks;
pub mod scan;
pub mod sigv4;
pub mod tap;

pub use self::endpoint::{Endpoint, Operation};
pub use self::fields::Reject;
pub use self::problem::{Class, Problem};
pub use self::protocol::{Protocol, Speak};
