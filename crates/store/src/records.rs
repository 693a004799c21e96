//! Records: exchanges packed into compressed blocks, one database file per UTC day.
//!
//! A row per exchange costs tens of microseconds and hundreds of bytes; a packed one about a microsecond and a few
//! dozen bytes. The price is that a search reads blocks, so each block's row says enough to skip it.

mod ai;
mod block;
mod bytes;
mod codec;
mod columns;
mod day;
mod decode;
mod file;
mod parcel;
mod query;
mod reader;
mod retention;
mod shared;
mod status;
mod strings;
mod summary;
mod writer;

pub use parcel::{NotAParcel, PARCEL_BYTES_MAX, open_parcel, pack_parcels};
pub use query::{BlockCounts, Failure, Failures, Page, ParseStatusMatchError, Query, StatusMatch};
pub use reader::RecordReader;
pub use shared::Follower;
pub use status::{RecordCounts, RecordState, RecordStatus, StopReason};
pub use writer::{RecordSettings, RecordWriter};

#[cfg(test)]
mod arbitrary;
#[cfg(test)]
mod format_tests;
