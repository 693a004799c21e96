//! Reads blocks. Whatever the bytes are, it ends with exchanges or with [`Corrupt`], in bounded memory.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::sync::Arc;
use std::time::Duration;

use model::{
    Attempt, Ending, Exchange, Fault, Limit, LimitName, Method, Party, Phase, RequestId, RetryRule, Reuse,
    Timeline,
};

use super::ai;
use super::bytes::{Corrupt, Cursor};
use super::codec::{self, ATTEMPTS_MAX, RAW_BYTES_MAX, VERSION, attempt_flag, exchange_flag};
use super::columns::Columns;
use super::strings::Strings;

/// The stored form back into the raw one.
pub(crate) fn unpack(stored: &[u8]) -> Result<Vec<u8>, Corrupt> {
    let mut cursor = Cursor::new(stored);
    if !(1..=VERSION).contains(&cursor.byte()?) {
        return Err(Corrupt);
    }
    let len = cursor.len(RAW_BYTES_MAX)?;
    let checksum = u64::from_le_bytes(cursor.array()?);
    let raw = lz4_flex::block::decompress(cursor.take(cursor.left())?, len).map_err(|_| Corrupt)?;
    if raw.len() == len && codec::checksum(&raw) == checksum { Ok(raw) } else { Err(Corrupt) }
}

/// The rows of a block in raw form, in the order in which they were recorded. Ends after the first damaged one.
pub(crate) struct Rows<'a> {
    left: usize,
    columns: Columns<Cursor<'a>>,
    strings: Strings<'a>,
    endings: Vec<Ending>,
    id_time_before: u64,
}

impl<'a> Rows<'a> {
    pub(crate) fn read(raw: &'a [u8]) -> Result<Rows<'a>, Corrupt> {
        let mut cursor = Cursor::new(raw);
        let rows = cursor.len(RAW_BYTES_MAX)?;
        let strings = Strings::read(&mut cursor)?;
        let count = cursor.len(cursor.left())?;
        let endings = (0..count).map(|_| ending(&mut cursor, &strings)).collect::<Result<_, _>>()?;
        let columns = Columns::read(&mut cursor)?;
        // Every row has eight bytes of id, so that no count can promise more rows than there are.
        if columns.id_random.left() != rows * 8 {
            return Err(Corrupt);
        }
        Ok(Rows { left: rows, columns, strings, endings, id_time_before: 0 })
    }

    /// Whether any text of the block is like this. What no text is like, no row has.
    pub(crate) fn any_text(&self, is_like: impl Fn(&str) -> bool) -> bool {
        self.strings.any(is_like)
    }

    /// Whether a row has this id, without reading the rest of any row.
    pub(crate) fn has_id(&self, id: RequestId) -> Result<bool, Corrupt> {
        let (mut times, mut randoms) = (self.columns.id_time, self.columns.id_random);
        let mut before = 0;
        for _ in 0..self.left {
            if read_id(&mut times, &mut randoms, &mut before)? == id {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn exchange(&mut self) -> Result<Exchange, Corrupt> {
        let c = &mut self.columns;
        let id = read_id(&mut c.id_time, &mut c.id_random, &mut self.id_time_before)?;
        let started_unix_micros = c.started.near(codec::started_by_id(self.id_time_before))?;
        let flags = c.flags.u64()?;
        let has = |bit: u64| flags & bit != 0;
        let strings = &mut self.strings;
        let head_micros = c.head.u64()?;
        let body_micros = if_has(has(exchange_flag::BODY), || c.head.near(head_micros))?;
        let response_micros = if_has(has(exchange_flag::RESPONSE), || c.response.near(head_micros))?;
        let timeline = Timeline {
            head_micros,
            body_micros,
            response_micros,
            done_micros: c.done.near(response_micros.unwrap_or(head_micros))?,
        };
        let client = if_has(has(exchange_flag::CLIENT), || {
            read_address(&mut c.client, has(exchange_flag::CLIENT_V6))
        })?;
        let mut exchange = Exchange {
            id,
            started_unix_micros,
            listener: strings.shared(c.listener.u32()?)?,
            client,
            protocol: codec::protocol(flags).ok_or(Corrupt)?,
            tls: has(exchange_flag::TLS),
            method: read_method(&mut c.method, strings)?,
            host: strings.text(c.host.u32()?)?.into(),
            path: strings.text(c.path.u32()?)?.into(),
            service: shared_if(has(exchange_flag::SERVICE), &mut c.service, strings)?,
            route: shared_if(has(exchange_flag::ROUTE), &mut c.route, strings)?,
            consumer: shared_if(has(exchange_flag::CONSUMER), &mut c.consumer, strings)?,
            external_id: if_has(has(exchange_flag::EXTERNAL_ID), || c.text.text())?.map(Box::from),
            status: c.status.u16()?,
            ending: *self.endings.get(c.ending.u32()? as usize).ok_or(Corrupt)?,
            detail: if_has(has(exchange_flag::DETAIL), || c.text.text())?.map(Box::from),
            request_body_bytes: c.request_bytes.u64()?,
            response_body_bytes: c.response_bytes.u64()?,
            timeline,
            attempts: Vec::new(),
            ai: if_has(has(exchange_flag::AI), || ai::read(&mut c.ai, strings))?.map(Box::new),
        };
        let attempts = c.attempts.len(ATTEMPTS_MAX)?;
        for _ in 0..attempts {
            exchange.attempts.push(self.attempt(head_micros)?);
        }
        Ok(exchange)
    }

    fn attempt(&mut self, head_micros: u64) -> Result<Attempt, Corrupt> {
        let (c, strings) = (&mut self.columns, &mut self.strings);
        let flags = c.attempt_flags.u64()?;
        let has = |bit: u64| flags & bit != 0;
        let bytes_sent = c.sent.u64()?;
        let trouble = &mut c.trouble;
        let errno = if_has(has(attempt_flag::ERRNO), || Ok(trouble.u32()? as i32))?;
        let tls_alert = if_has(has(attempt_flag::TLS_ALERT), || trouble.byte())?;
        let limit = if_has(has(attempt_flag::LIMIT), || read_limit(trouble, strings))?;
        let why = if_has(has(attempt_flag::WHY), || {
            by_id(RetryRule::ALL, RetryRule::id, strings.text(trouble.u32()?)?)
        })?;
        let waited = step(has(attempt_flag::WAITED), trouble)?;
        Ok(Attempt {
            why,
            waited,
            upstream: strings.shared(c.upstream.u32()?)?,
            target: strings.shared(c.target.u32()?)?,
            address: if_has(has(attempt_flag::ADDRESS), || {
                read_socket_address(&mut c.address, has(attempt_flag::ADDRESS_V6))
            })?,
            started_micros: c.attempt_started.near(head_micros)?,
            reuse: if_has(has(attempt_flag::REUSE), || {
                Ok(Reuse { requests: c.reuse_requests.u32()?, idle: c.reuse_idle.duration()? })
            })?,
            resolve: step(has(attempt_flag::RESOLVE), &mut c.resolve)?,
            connect: step(has(attempt_flag::CONNECT), &mut c.connect)?,
            tls: step(has(attempt_flag::TLS), &mut c.tls)?,
            send: step(has(attempt_flag::SEND), &mut c.send)?,
            await_head: step(has(attempt_flag::AWAIT_HEAD), &mut c.await_head)?,
            total: c.total.duration()?,
            bytes_sent,
            bytes_received: c.received.u64()?,
            bytes_acked: if_has(has(attempt_flag::ACKED), || c.acked.near(bytes_sent))?,
            status: if_has(has(attempt_flag::STATUS), || c.attempt_status.u16())?,
            ending: *self.endings.get(c.attempt_ending.u32()? as usize).ok_or(Corrupt)?,
            peer_end: codec::peer_end(flags),
            errno,
            tls_alert,
            limit,
            detail: if_has(has(attempt_flag::DETAIL), || c.text.text())?.map(Box::from),
        })
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<Exchange, Corrupt>;

    fn next(&mut self) -> Option<Result<Exchange, Corrupt>> {
        self.left = self.left.checked_sub(1)?;
        let exchange = self.exchange();
        if exchange.is_err() {
            self.left = 0;
        }
        Some(exchange)
    }
}

fn if_has<T>(has: bool, read: impl FnOnce() -> Result<T, Corrupt>) -> Result<Option<T>, Corrupt> {
    if has { read().map(Some) } else { Ok(None) }
}

fn step(has: bool, column: &mut Cursor<'_>) -> Result<Option<Duration>, Corrupt> {
    if_has(has, || column.duration())
}

fn shared_if(
    has: bool,
    column: &mut Cursor<'_>,
    strings: &mut Strings<'_>,
) -> Result<Option<Arc<str>>, Corrupt> {
    if_has(has, || strings.shared(column.u32()?))
}

fn read_id(times: &mut Cursor<'_>, randoms: &mut Cursor<'_>, before: &mut u64) -> Result<RequestId, Corrupt> {
    *before = times.near(*before)?;
    let random = u64::from_be_bytes(randoms.array()?);
    Ok(RequestId(u128::from(*before) << 64 | u128::from(random)))
}

fn read_address(from: &mut Cursor<'_>, is_v6: bool) -> Result<IpAddr, Corrupt> {
    Ok(if is_v6 {
        Ipv6Addr::from(from.array::<16>()?).into()
    } else {
        Ipv4Addr::from(from.array::<4>()?).into()
    })
}

fn read_socket_address(from: &mut Cursor<'_>, is_v6: bool) -> Result<SocketAddr, Corrupt> {
    let ip = read_address(from, is_v6)?;
    let port = from.u16()?;
    Ok(match ip {
        IpAddr::V4(ip) => SocketAddrV4::new(ip, port).into(),
        IpAddr::V6(ip) => SocketAddrV6::new(ip, port, from.u32()?, from.u32()?).into(),
    })
}

fn read_method(from: &mut Cursor<'_>, strings: &Strings<'_>) -> Result<Method, Corrupt> {
    match from.byte()? {
        codec::METHOD_EXTENSION => Ok(Method::Extension(strings.text(from.u32()?)?.into())),
        code => codec::method(code).ok_or(Corrupt),
    }
}

fn read_limit(from: &mut Cursor<'_>, strings: &Strings<'_>) -> Result<Limit, Corrupt> {
    let code = from.byte()?;
    let name = by_id(LimitName::ALL, LimitName::id, strings.text(from.u32()?)?)?;
    match code {
        codec::LIMIT_BYTES => Ok(Limit::Bytes { name, max: from.u64()? }),
        codec::LIMIT_COUNT => Ok(Limit::Count { name, max: from.u64()? }),
        codec::LIMIT_TIME => Ok(Limit::Time { name, max: from.duration()? }),
        _ => Err(Corrupt),
    }
}

fn ending(from: &mut Cursor<'_>, strings: &Strings<'_>) -> Result<Ending, Corrupt> {
    let by = by_id(Party::ALL, Party::id, strings.text(from.u32()?)?)?;
    let during = by_id(Phase::ALL, Phase::id, strings.text(from.u32()?)?)?;
    let fault = match from.u32()?.checked_sub(1) {
        None => None,
        Some(number) => Some(by_id(Fault::ALL, Fault::id, strings.text(number)?)?),
    };
    Ok(Ending { by, during, fault })
}

fn by_id<T: Copy>(all: &[T], id_of: fn(T) -> &'static str, id: &str) -> Result<T, Corrupt> {
    all.iter().copied().find(|one| id_of(*one) == id).ok_or(Corrupt)
}
