//! Exchanges on their way to the process that records them: in the stored form of a block, which the versions after this
//! one can read.

use std::fmt;

use model::Exchange;

use super::block::{BlockBuilder, pack};
use super::bytes::Corrupt;
use super::decode::{Rows, unpack};

/// No parcel is larger: packed data that cannot be compressed is a little larger than it was.
pub const PARCEL_BYTES_MAX: usize = super::codec::RAW_BYTES_MAX + (1 << 16);

/// The bytes are no parcel: damaged, or made by a newer version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAParcel;

impl fmt::Display for NotAParcel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the records are damaged, or a newer version of Clearway packed them")
    }
}

impl std::error::Error for NotAParcel {}

/// Packs exchanges; each parcel can be opened alone.
pub fn pack_parcels(exchanges: &[Exchange]) -> Vec<Vec<u8>> {
    let mut parcels = Vec::new();
    let mut builder = BlockBuilder::default();
    for exchange in exchanges {
        builder.push(exchange);
        if builder.is_full() {
            parcels.push(pack(&builder.raw()));
            builder.clear();
        }
    }
    if !builder.is_empty() {
        parcels.push(pack(&builder.raw()));
    }
    parcels
}

/// Gives the exchanges back, in their order.
pub fn open_parcel(parcel: &[u8]) -> Result<Vec<Exchange>, NotAParcel> {
    let read = |parcel| -> Result<Vec<Exchange>, Corrupt> { Rows::read(&unpack(parcel)?)?.collect() };
    read(parcel).map_err(|Corrupt| NotAParcel)
}
