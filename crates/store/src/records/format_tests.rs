//! The block format as a whole: what goes in comes out, and whatever else is read does no harm.

use model::{Exchange, RequestIds};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;

use super::arbitrary::exchange;
use super::block::{BlockBuilder, pack};
use super::bytes::{Corrupt, put_u64};
use super::codec::{RAW_BYTES_MAX, ROWS_MAX, VERSION};
use super::decode::{Rows, unpack};
use super::parcel::{NotAParcel, open_parcel, pack_parcels};
use super::query::Query;
use super::strings::TEXT_BYTES_MAX;

fn raw(exchanges: &[Exchange]) -> Vec<u8> {
    let mut builder = BlockBuilder::default();
    exchanges.iter().for_each(|exchange| builder.push(exchange));
    builder.raw()
}

fn read(raw: &[u8]) -> Result<Vec<Exchange>, Corrupt> {
    Rows::read(raw)?.collect()
}

/// Reads as far as it goes, the way a search does.
fn read_all_of(raw: &[u8]) -> usize {
    Rows::read(raw).map_or(0, |rows| rows.filter(Result::is_ok).count())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn parcels_bring_every_exchange(exchanges in vec(exchange(), 0..40)) {
        let parcels = pack_parcels(&exchanges);
        let opened: Vec<Exchange> = parcels.iter().flat_map(|parcel| open_parcel(parcel).unwrap()).collect();
        prop_assert_eq!(opened, exchanges);
    }

    #[test]
    fn exchanges_come_back_exactly(exchanges in vec(exchange(), 0..40)) {
        let stored = pack(&raw(&exchanges));
        prop_assert_eq!(read(&unpack(&stored).unwrap()), Ok(exchanges));
    }

    #[test]
    fn a_builder_that_was_cleared_is_like_a_new_one(first in vec(exchange(), 0..5), second in vec(exchange(), 1..5)) {
        let mut builder = BlockBuilder::default();
        first.iter().for_each(|exchange| builder.push(exchange));
        builder.clear();
        prop_assert!(builder.is_empty());
        second.iter().for_each(|exchange| builder.push(exchange));
        prop_assert_eq!(builder.raw(), raw(&second));
        let ids = second.iter().map(|exchange| exchange.id);
        prop_assert_eq!(Some(builder.summary().max_id), ids.max());
    }

    #[test]
    fn random_bytes_are_refused_or_read_and_never_more(bytes in vec(any::<u8>(), 0..2000)) {
        read_all_of(&bytes);
        let mut stored = vec![VERSION];
        stored.extend(&bytes);
        prop_assert_eq!(unpack(&stored), Err(Corrupt));
    }

    #[test]
    fn a_damaged_raw_block_does_no_harm(
        exchanges in vec(exchange(), 1..5), at in any::<prop::sample::Index>(), byte: u8, cut in any::<prop::sample::Index>(),
    ) {
        let mut raw = raw(&exchanges);
        let at = at.index(raw.len());
        raw[at] = byte;
        read_all_of(&raw);
        raw.truncate(cut.index(raw.len()));
        prop_assert!(read_all_of(&raw) <= exchanges.len());
    }

    #[test]
    fn a_damaged_stored_block_is_noticed(exchanges in vec(exchange(), 1..5), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let raw = raw(&exchanges);
        let mut stored = pack(&raw);
        let at = at.index(stored.len());
        stored[at] ^= 1u8 << bit;
        // A copy may come from elsewhere and bring the same bytes: then nothing was lost.
        prop_assert!(matches!(unpack(&stored), Err(Corrupt)) || unpack(&stored).as_ref() == Ok(&raw));
    }

    #[test]
    fn an_id_is_found_without_reading_rows(exchanges in vec(exchange(), 1..20), at in any::<prop::sample::Index>()) {
        let raw = raw(&exchanges);
        let rows = Rows::read(&raw).unwrap();
        prop_assert_eq!(rows.has_id(at.get(&exchanges).id), Ok(true));
        prop_assert_eq!(rows.has_id(RequestIds::new(1).next(1)), Ok(false));
    }

    #[test]
    fn a_row_never_hides_what_a_query_wants(exchanges in vec(exchange(), 1..20), at in any::<prop::sample::Index>()) {
        let wanted = at.get(&exchanges);
        let name = |name: &Option<std::sync::Arc<str>>| name.as_deref().map(Box::from);
        let query = Query {
            statuses: vec![super::query::StatusMatch::Exact(wanted.status)],
            faults: wanted.ending.fault.into_iter().collect(),
            service: name(&wanted.service),
            route: name(&wanted.route),
            consumer: name(&wanted.consumer),
            path_prefix: Some(wanted.path.chars().take(3).collect::<String>().into()),
            method: Some(wanted.method.clone()),
            slower_than: wanted.timeline.done_micros.checked_sub(1).map(std::time::Duration::from_micros),
            failed_only: super::summary::is_failed(wanted),
            ..Query::default()
        };
        prop_assert!(query.matches(wanted));
        let mut builder = BlockBuilder::default();
        exchanges.iter().for_each(|exchange| builder.push(exchange));
        prop_assert!(query.may_be_in(&builder.summary()));
        prop_assert!(query.may_be_among(&Rows::read(&builder.raw()).unwrap()));
    }
}

#[test]
fn lengths_that_promise_too_much_are_refused_before_anything_is_allocated() {
    let mut stored = vec![VERSION];
    put_u64(&mut stored, RAW_BYTES_MAX as u64 + 1);
    assert_eq!(unpack(&stored), Err(Corrupt));
    let mut raw = Vec::new();
    put_u64(&mut raw, u64::MAX);
    assert_eq!(read(&raw), Err(Corrupt));
    // A million texts, none of them there.
    let mut raw = vec![1];
    put_u64(&mut raw, 1 << 20);
    raw.resize(2 << 20, 0);
    assert_eq!(read(&raw), Err(Corrupt));
}

#[test]
fn a_block_is_full_by_rows_and_by_size_and_stays_readable() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut one = exchange().new_tree(&mut runner).unwrap().current();
    let mut builder = BlockBuilder::default();
    while !builder.is_full() {
        builder.push(&one);
    }
    assert_eq!(builder.summary().exchanges, ROWS_MAX);
    // The longest texts that are kept, each different.
    one.attempts.clear();
    builder.clear();
    let mut number = 0;
    while !builder.is_full() {
        number += 1;
        one.path = format!("/{number}/{}", "x".repeat(TEXT_BYTES_MAX)).into();
        builder.push(&one);
    }
    assert!((200..300).contains(&number), "{number}");
    let read = read(&builder.raw()).unwrap();
    assert_eq!(read.len(), number);
    assert_eq!(read[0].path.len(), TEXT_BYTES_MAX);
}

#[test]
fn many_exchanges_are_several_parcels_and_other_bytes_are_none() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let one = exchange().new_tree(&mut runner).unwrap().current();
    let parcels = pack_parcels(&vec![one; ROWS_MAX as usize * 2 + 1]);
    let opened: Vec<usize> = parcels.iter().map(|parcel| open_parcel(parcel).unwrap().len()).collect();
    assert_eq!(opened.iter().sum::<usize>(), ROWS_MAX as usize * 2 + 1);
    assert!(opened.len() > 2, "{opened:?}");
    assert_eq!(open_parcel(b""), Err(NotAParcel));
    assert_eq!(open_parcel(&parcels[0][1..]), Err(NotAParcel));
}
