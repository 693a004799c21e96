//! The part of a row that only AI calls have: one column, since version 2 of the format.

use std::sync::Arc;

use model::{AiCall, AiProtocol, Usage};

use super::bytes::{Corrupt, Cursor, put_bytes, put_u64};
use super::codec::flag;
use super::strings::{Strings, StringsBuilder};

/// Losses kept of one call; a request has far fewer parameters.
const LOSSES_MAX: usize = 64;

const STREAM: u64 = 1;
const ESTIMATED: u64 = 1 << 1;
const PROVIDER: u64 = 1 << 2;
const MODEL: u64 = 1 << 3;
const KEY: u64 = 1 << 4;
const COST: u64 = 1 << 5;
const FIRST_CONTENT: u64 = 1 << 6;

pub(super) fn put(column: &mut Vec<u8>, strings: &mut StringsBuilder, call: &AiCall) {
    let AiCall {
        protocol,
        operation,
        asked,
        provider,
        model,
        key,
        stream,
        usage,
        usage_is_estimated,
        cost_nanos,
        first_content_micros,
        losses,
    } = call;
    let flags = flag(STREAM, *stream)
        | flag(ESTIMATED, *usage_is_estimated)
        | flag(PROVIDER, provider.is_some())
        | flag(MODEL, model.is_some())
        | flag(KEY, key.is_some())
        | flag(COST, cost_nanos.is_some())
        | flag(FIRST_CONTENT, first_content_micros.is_some());
    put_u64(column, flags);
    for text in [protocol.id(), operation, asked] {
        put_u64(column, strings.put(text).into());
    }
    for text in [provider, model, key].into_iter().flatten() {
        put_u64(column, strings.put(text).into());
    }
    for count in buckets(usage) {
        put_u64(column, count);
    }
    for number in [cost_nanos, first_content_micros].into_iter().flatten() {
        put_u64(column, *number);
    }
    let losses = losses.get(..LOSSES_MAX).unwrap_or(losses);
    put_u64(column, losses.len() as u64);
    for loss in losses {
        put_bytes(column, loss.as_bytes());
    }
}

/// In the order in which they are stored.
fn buckets(usage: &Usage) -> [u64; 8] {
    let Usage {
        input,
        cache_read,
        cache_write,
        cache_write_long,
        audio_input,
        output,
        reasoning,
        audio_output,
    } = *usage;
    [input, cache_read, cache_write, cache_write_long, audio_input, output, reasoning, audio_output]
}

pub(super) fn read(column: &mut Cursor<'_>, strings: &mut Strings<'_>) -> Result<AiCall, Corrupt> {
    let flags = column.u64()?;
    let has = |bit: u64| flags & bit != 0;
    let protocol = AiProtocol::by_id(strings.text(column.u32()?)?).ok_or(Corrupt)?;
    let operation = strings.text(column.u32()?)?.into();
    let asked = strings.text(column.u32()?)?.into();
    let mut shared = |bit: u64, column: &mut Cursor<'_>| -> Result<Option<Arc<str>>, Corrupt> {
        if has(bit) { strings.shared(column.u32()?).map(Some) } else { Ok(None) }
    };
    let provider = shared(PROVIDER, column)?;
    let model = shared(MODEL, column)?;
    let key = shared(KEY, column)?;
    let usage = Usage {
        input: column.u64()?,
        cache_read: column.u64()?,
        cache_write: column.u64()?,
        cache_write_long: column.u64()?,
        audio_input: column.u64()?,
        output: column.u64()?,
        reasoning: column.u64()?,
        audio_output: column.u64()?,
    };
    let cost_nanos = if has(COST) { Some(column.u64()?) } else { None };
    let first_content_micros = if has(FIRST_CONTENT) { Some(column.u64()?) } else { None };
    let count = column.len(LOSSES_MAX)?;
    let losses = (0..count).map(|_| column.text().map(Box::from)).collect::<Result<_, _>>()?;
    Ok(AiCall {
        protocol,
        operation,
        asked,
        provider,
        model,
        key,
        stream: has(STREAM),
        usage,
        usage_is_estimated: has(ESTIMATED),
        cost_nanos,
        first_content_micros,
        losses,
    })
}
