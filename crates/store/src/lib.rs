//! The data directory: who owns it, the configuration and identity database, and the records of what happened.
//!
//! The only crate that names the database. It serves nothing and knows no traffic: it takes [`model::Exchange`]s after
//! they are over and gives them back. Everything runs on the caller's runtime; SQLite itself works on one thread per
//! open connection, so no call here blocks the caller for the disk.

mod database;
mod directory;
mod error;
mod incidents;
mod records;
mod schema;
mod sqlite;

pub use database::{ADMIN_TOKEN_PREFIX, Database};
pub use directory::DataDir;
pub use error::StoreError;
pub use incidents::IncidentQuery;
pub use records::{
    BlockCounts, Failure, Failures, Follower, NotAParcel, PARCEL_BYTES_MAX, Page, ParseStatusMatchError,
    Query, RecordCounts, RecordReader, RecordSettings, RecordState, RecordStatus, RecordWriter, StatusMatch,
    StopReason, open_parcel, pack_parcels,
};
