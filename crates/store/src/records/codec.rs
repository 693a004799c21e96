//! What the encoder and the decoder must agree on beside the columns: flags, and small numbers for closed lists.
//!
//! Numbers are written out here and permanent, so that a list in `model` may be reordered. Longer lists (faults,
//! phases, limits) are stored by their public ids.

use model::{Limit, LimitName, Method, PeerEnd, Protocol};

/// The version of the format, the first byte of a block. Readers take this one and those before, and refuse others.
pub(super) const VERSION: u8 = 2;
/// Exchanges in one block; a full block is written at once.
pub(super) const ROWS_MAX: u32 = 1_000;
/// A block that reaches this size is full, too.
pub(super) const RAW_BYTES_FULL: usize = 1 << 20;
/// No block is larger: one that was almost full, and one more exchange with every text at its longest.
pub(super) const RAW_BYTES_MAX: usize = 8 << 20;
/// Attempts kept of one exchange; retry limits are far below.
pub(super) const ATTEMPTS_MAX: usize = 255;

/// Bits of an exchange's flags; the first seven are the frequent ones, and fit one byte.
pub(super) mod exchange_flag {
    /// Two bits: the protocol.
    pub(in crate::records) const PROTOCOL: u64 = 0b11;
    pub(in crate::records) const TLS: u64 = 1 << 2;
    pub(in crate::records) const CLIENT: u64 = 1 << 3;
    pub(in crate::records) const SERVICE: u64 = 1 << 4;
    pub(in crate::records) const ROUTE: u64 = 1 << 5;
    pub(in crate::records) const RESPONSE: u64 = 1 << 6;
    pub(in crate::records) const CONSUMER: u64 = 1 << 7;
    pub(in crate::records) const CLIENT_V6: u64 = 1 << 8;
    pub(in crate::records) const EXTERNAL_ID: u64 = 1 << 9;
    pub(in crate::records) const DETAIL: u64 = 1 << 10;
    pub(in crate::records) const BODY: u64 = 1 << 11;
    pub(in crate::records) const AI: u64 = 1 << 12;
}

/// Bits of an attempt's flags.
pub(super) mod attempt_flag {
    pub(in crate::records) const ADDRESS: u64 = 1;
    pub(in crate::records) const REUSE: u64 = 1 << 1;
    pub(in crate::records) const SEND: u64 = 1 << 2;
    pub(in crate::records) const AWAIT_HEAD: u64 = 1 << 3;
    pub(in crate::records) const STATUS: u64 = 1 << 4;
    pub(in crate::records) const CONNECT: u64 = 1 << 5;
    pub(in crate::records) const RESOLVE: u64 = 1 << 6;
    pub(in crate::records) const TLS: u64 = 1 << 7;
    pub(in crate::records) const ADDRESS_V6: u64 = 1 << 8;
    pub(in crate::records) const ACKED: u64 = 1 << 9;
    pub(in crate::records) const FIN: u64 = 1 << 10;
    pub(in crate::records) const RST: u64 = 1 << 11;
    pub(in crate::records) const ERRNO: u64 = 1 << 12;
    pub(in crate::records) const TLS_ALERT: u64 = 1 << 13;
    pub(in crate::records) const LIMIT: u64 = 1 << 14;
    pub(in crate::records) const DETAIL: u64 = 1 << 15;
    pub(in crate::records) const WHY: u64 = 1 << 16;
    pub(in crate::records) const WAITED: u64 = 1 << 17;
}

/// The bit where the condition holds.
pub(super) fn flag(bit: u64, holds: bool) -> u64 {
    if holds { bit } else { 0 }
}

pub(super) fn protocol_code(protocol: Protocol) -> u64 {
    match protocol {
        Protocol::Http11 => 0,
        Protocol::Http2 => 1,
        Protocol::Http10 => 2,
    }
}

pub(super) fn protocol(flags: u64) -> Option<Protocol> {
    match flags & exchange_flag::PROTOCOL {
        0 => Some(Protocol::Http11),
        1 => Some(Protocol::Http2),
        2 => Some(Protocol::Http10),
        _ => None,
    }
}

/// The code of a method that is not a registered one: its name follows.
pub(super) const METHOD_EXTENSION: u8 = 9;

pub(super) fn method_code(method: &Method) -> u8 {
    match method {
        Method::Get => 0,
        Method::Post => 1,
        Method::Head => 2,
        Method::Put => 3,
        Method::Delete => 4,
        Method::Options => 5,
        Method::Patch => 6,
        Method::Connect => 7,
        Method::Trace => 8,
        Method::Extension(_) => METHOD_EXTENSION,
    }
}

pub(super) fn method(code: u8) -> Option<Method> {
    Some(match code {
        0 => Method::Get,
        1 => Method::Post,
        2 => Method::Head,
        3 => Method::Put,
        4 => Method::Delete,
        5 => Method::Options,
        6 => Method::Patch,
        7 => Method::Connect,
        8 => Method::Trace,
        _ => return None,
    })
}

pub(super) fn peer_end_flag(end: Option<PeerEnd>) -> u64 {
    match end {
        None => 0,
        Some(PeerEnd::Fin) => attempt_flag::FIN,
        Some(PeerEnd::Rst) => attempt_flag::RST,
    }
}

pub(super) fn peer_end(flags: u64) -> Option<PeerEnd> {
    if flags & attempt_flag::RST != 0 {
        Some(PeerEnd::Rst)
    } else {
        (flags & attempt_flag::FIN != 0).then_some(PeerEnd::Fin)
    }
}

pub(super) const LIMIT_BYTES: u8 = 0;
pub(super) const LIMIT_COUNT: u8 = 1;
pub(super) const LIMIT_TIME: u8 = 2;

pub(super) fn limit_code(limit: Limit) -> (u8, LimitName) {
    match limit {
        Limit::Bytes { name, .. } => (LIMIT_BYTES, name),
        Limit::Count { name, .. } => (LIMIT_COUNT, name),
        Limit::Time { name, .. } => (LIMIT_TIME, name),
    }
}

/// The start of an exchange as its id tells it: milliseconds, and 12 bits that stand for 4,096ths of one.
pub(super) fn started_by_id(id_time: u64) -> u64 {
    let (millis, fraction) = (id_time >> 16, id_time & 0xfff);
    millis * 1000 + (fraction * 1000).div_ceil(4096)
}

/// Notices damage, not intent. Each step is a bijection of the state, so that a change within one word never goes
/// unnoticed; others do once in 2^64.
pub(super) fn checksum(bytes: &[u8]) -> u64 {
    let mut state = bytes.len() as u64;
    let mut step = |word: [u8; 8]| {
        state = (state ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        state ^= state >> 32;
    };
    let (words, rest) = bytes.as_chunks::<8>();
    words.iter().for_each(|word| step(*word));
    let mut last = [0; 8];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    step(last);
    state
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::RequestIds;

    #[test]
    fn the_id_tells_the_microsecond_of_the_start() {
        let mut ids = RequestIds::new(3);
        for micros in (1_764_000_000_000_000..1_764_000_000_001_000).step_by(7) {
            assert_eq!(started_by_id((ids.next(micros).0 >> 64) as u64), micros);
        }
    }

    #[test]
    fn every_code_means_what_it_was_made_from() {
        for listed in Protocol::ALL {
            assert_eq!(protocol(protocol_code(*listed)), Some(*listed));
        }
        for code in 0..METHOD_EXTENSION {
            assert_eq!(method_code(&method(code).unwrap()), code);
        }
        for end in [None, Some(PeerEnd::Fin), Some(PeerEnd::Rst)] {
            assert_eq!(peer_end(peer_end_flag(end)), end);
        }
    }
}
