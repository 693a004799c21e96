//! An open block: takes exchanges, one after the other, and packs them.
//!
//! Raw form: number of rows, string table, table of endings, columns. Stored form: version byte, length and checksum of
//! the raw form, then the raw form as an LZ4 block.
//!
//! LZ4, because the columns leave little to gain: on made-up API traffic 73 bytes per exchange become 41 in 50 ns, and
//! zstd needs 133 ns, a C library and half a MiB of memory to make them 37.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use model::{Attempt, Ending, Exchange, Limit, Method, RequestId};

use super::ai;
use super::bytes::{put_bytes, put_duration, put_near, put_u64};
use super::codec::{
    self, ATTEMPTS_MAX, RAW_BYTES_FULL, ROWS_MAX, VERSION, attempt_flag, exchange_flag, flag,
};
use super::columns::Columns;
use super::strings::{StringsBuilder, cut};
use super::summary::{Summary, SummaryBuilder};

#[derive(Debug, Default)]
pub(crate) struct BlockBuilder {
    columns: Columns<Vec<u8>>,
    strings: StringsBuilder,
    /// The distinct endings of the block, and their encoded table.
    endings: Vec<Ending>,
    endings_table: Vec<u8>,
    summary: SummaryBuilder,
    id_time_before: u64,
}

impl BlockBuilder {
    pub(crate) fn is_empty(&self) -> bool {
        self.summary.exchanges == 0
    }

    pub(crate) fn is_full(&self) -> bool {
        self.summary.exchanges >= ROWS_MAX
            || self.strings.is_full()
            || self.columns.size_bytes() + self.strings.size_bytes() >= RAW_BYTES_FULL
    }

    pub(crate) fn push(&mut self, exchange: &Exchange) {
        self.put_identity(exchange.id, exchange.started_unix_micros);
        self.put_flags(exchange);
        let service = self.put_names(exchange);
        let columns = &mut self.columns;
        match exchange.client {
            None => {}
            Some(IpAddr::V4(address)) => columns.client.extend_from_slice(&address.octets()),
            Some(IpAddr::V6(address)) => columns.client.extend_from_slice(&address.octets()),
        }
        put_u64(&mut columns.status, exchange.status.into());
        put_u64(&mut columns.request_bytes, exchange.request_body_bytes);
        put_u64(&mut columns.response_bytes, exchange.response_body_bytes);
        let timeline = &exchange.timeline;
        put_u64(&mut columns.head, timeline.head_micros);
        if let Some(body) = timeline.body_micros {
            put_near(&mut columns.head, body, timeline.head_micros);
        }
        if let Some(response) = timeline.response_micros {
            put_near(&mut columns.response, response, timeline.head_micros);
        }
        let nearest = timeline.response_micros.unwrap_or(timeline.head_micros);
        put_near(&mut columns.done, timeline.done_micros, nearest);
        for text in [&exchange.external_id, &exchange.detail].into_iter().flatten() {
            put_bytes(&mut columns.text, cut(text).as_bytes());
        }
        let ending = self.ending(exchange.ending);
        put_u64(&mut self.columns.ending, ending);
        let attempts = exchange.attempts.get(..ATTEMPTS_MAX).unwrap_or(&exchange.attempts);
        put_u64(&mut self.columns.attempts, attempts.len() as u64);
        for attempt in attempts {
            self.put_attempt(attempt, timeline.head_micros);
        }
        if let Some(call) = &exchange.ai {
            ai::put(&mut self.columns.ai, &mut self.strings, call);
        }
        self.summary.add(exchange, service);
    }

    fn put_identity(&mut self, id: RequestId, started: u64) {
        let id_time = (id.0 >> 64) as u64;
        put_near(&mut self.columns.id_time, id_time, self.id_time_before);
        self.columns.id_random.extend_from_slice(&(id.0 as u64).to_be_bytes());
        put_near(&mut self.columns.started, started, codec::started_by_id(id_time));
        self.id_time_before = id_time;
    }

    fn put_flags(&mut self, exchange: &Exchange) {
        let flags = codec::protocol_code(exchange.protocol)
            | flag(exchange_flag::TLS, exchange.tls)
            | flag(exchange_flag::CLIENT, exchange.client.is_some())
            | flag(exchange_flag::CLIENT_V6, exchange.client.is_some_and(|address| address.is_ipv6()))
            | flag(exchange_flag::SERVICE, exchange.service.is_some())
            | flag(exchange_flag::ROUTE, exchange.route.is_some())
            | flag(exchange_flag::CONSUMER, exchange.consumer.is_some())
            | flag(exchange_flag::BODY, exchange.timeline.body_micros.is_some())
            | flag(exchange_flag::RESPONSE, exchange.timeline.response_micros.is_some())
            | flag(exchange_flag::EXTERNAL_ID, exchange.external_id.is_some())
            | flag(exchange_flag::DETAIL, exchange.detail.is_some())
            | flag(exchange_flag::AI, exchange.ai.is_some());
        put_u64(&mut self.columns.flags, flags);
    }

    /// Returns the number of the service's name.
    fn put_names(&mut self, exchange: &Exchange) -> Option<u32> {
        let (columns, strings) = (&mut self.columns, &mut self.strings);
        put_u64(&mut columns.listener, strings.put(&exchange.listener).into());
        put_u64(&mut columns.host, strings.put(&exchange.host).into());
        put_u64(&mut columns.path, strings.put(&exchange.path).into());
        columns.method.push(codec::method_code(&exchange.method));
        if let Method::Extension(token) = &exchange.method {
            put_u64(&mut columns.method, strings.put(token).into());
        }
        let service = exchange.service.as_deref().map(|name| strings.put(name));
        if let Some(service) = service {
            put_u64(&mut columns.service, service.into());
        }
        if let Some(route) = &exchange.route {
            put_u64(&mut columns.route, strings.put(route).into());
        }
        if let Some(consumer) = &exchange.consumer {
            put_u64(&mut columns.consumer, strings.put(consumer).into());
        }
        service
    }

    /// The number of an ending; there are few in a block, and the first ones are the most frequent.
    fn ending(&mut self, ending: Ending) -> u64 {
        if let Some(known) = self.endings.iter().position(|known| *known == ending) {
            return known as u64;
        }
        put_u64(&mut self.endings_table, self.strings.put(ending.by.id()).into());
        put_u64(&mut self.endings_table, self.strings.put(ending.during.id()).into());
        let fault = ending.fault.map_or(0, |fault| u64::from(self.strings.put(fault.id())) + 1);
        put_u64(&mut self.endings_table, fault);
        self.endings.push(ending);
        self.endings.len() as u64 - 1
    }

    fn put_attempt(&mut self, attempt: &Attempt, head_micros: u64) {
        let ending = self.ending(attempt.ending);
        let (columns, strings) = (&mut self.columns, &mut self.strings);
        put_u64(&mut columns.attempt_flags, attempt_flags(attempt));
        put_u64(&mut columns.attempt_ending, ending);
        put_u64(&mut columns.upstream, strings.put(&attempt.upstream).into());
        put_u64(&mut columns.target, strings.put(&attempt.target).into());
        match attempt.address {
            None => {}
            Some(SocketAddr::V4(address)) => {
                columns.address.extend_from_slice(&address.ip().octets());
                put_u64(&mut columns.address, address.port().into());
            }
            Some(SocketAddr::V6(address)) => {
                columns.address.extend_from_slice(&address.ip().octets());
                put_u64(&mut columns.address, address.port().into());
                put_u64(&mut columns.address, address.flowinfo().into());
                put_u64(&mut columns.address, address.scope_id().into());
            }
        }
        put_near(&mut columns.attempt_started, attempt.started_micros, head_micros);
        if let Some(reuse) = attempt.reuse {
            put_u64(&mut columns.reuse_requests, reuse.requests.into());
            put_duration(&mut columns.reuse_idle, reuse.idle);
        }
        put_step(&mut columns.resolve, attempt.resolve);
        put_step(&mut columns.connect, attempt.connect);
        put_step(&mut columns.tls, attempt.tls);
        put_step(&mut columns.send, attempt.send);
        put_step(&mut columns.await_head, attempt.await_head);
        put_duration(&mut columns.total, attempt.total);
        put_u64(&mut columns.sent, attempt.bytes_sent);
        put_u64(&mut columns.received, attempt.bytes_received);
        if let Some(acked) = attempt.bytes_acked {
            put_near(&mut columns.acked, acked, attempt.bytes_sent);
        }
        if let Some(status) = attempt.status {
            put_u64(&mut columns.attempt_status, status.into());
        }
        self.put_trouble(attempt);
    }

    fn put_trouble(&mut self, attempt: &Attempt) {
        let trouble = &mut self.columns.trouble;
        if let Some(errno) = attempt.errno {
            put_u64(trouble, u64::from(errno as u32));
        }
        if let Some(alert) = attempt.tls_alert {
            trouble.push(alert);
        }
        if let Some(limit) = attempt.limit {
            let (code, name) = codec::limit_code(limit);
            trouble.push(code);
            put_u64(trouble, self.strings.put(name.id()).into());
            match limit {
                Limit::Bytes { max, .. } | Limit::Count { max, .. } => put_u64(trouble, max),
                Limit::Time { max, .. } => put_duration(trouble, max),
            }
        }
        if let Some(why) = attempt.why {
            put_u64(trouble, self.strings.put(why.id()).into());
        }
        if let Some(waited) = attempt.waited {
            put_duration(trouble, waited);
        }
        if let Some(detail) = &attempt.detail {
            put_bytes(&mut self.columns.text, cut(detail).as_bytes());
        }
    }

    pub(crate) fn summary(&self) -> Summary {
        self.summary.finish(|number| self.strings.get(number))
    }

    /// The rows so far in raw form.
    pub(crate) fn raw(&self) -> Vec<u8> {
        let mut raw = Vec::with_capacity(self.columns.size_bytes() + self.strings.size_bytes() + 256);
        put_u64(&mut raw, self.summary.exchanges.into());
        self.strings.write(&mut raw);
        put_u64(&mut raw, self.endings.len() as u64);
        raw.extend_from_slice(&self.endings_table);
        self.columns.write(&mut raw);
        raw
    }

    /// Empties the block and keeps its memory.
    pub(crate) fn clear(&mut self) {
        self.columns.clear();
        self.strings.clear();
        self.endings.clear();
        self.endings_table.clear();
        self.summary = SummaryBuilder::default();
        self.id_time_before = 0;
    }
}

fn put_step(column: &mut Vec<u8>, step: Option<Duration>) {
    if let Some(took) = step {
        put_duration(column, took);
    }
}

fn attempt_flags(attempt: &Attempt) -> u64 {
    flag(attempt_flag::ADDRESS, attempt.address.is_some())
        | flag(attempt_flag::ADDRESS_V6, attempt.address.is_some_and(|address| address.is_ipv6()))
        | flag(attempt_flag::REUSE, attempt.reuse.is_some())
        | flag(attempt_flag::RESOLVE, attempt.resolve.is_some())
        | flag(attempt_flag::CONNECT, attempt.connect.is_some())
        | flag(attempt_flag::TLS, attempt.tls.is_some())
        | flag(attempt_flag::SEND, attempt.send.is_some())
        | flag(attempt_flag::AWAIT_HEAD, attempt.await_head.is_some())
        | flag(attempt_flag::STATUS, attempt.status.is_some())
        | flag(attempt_flag::ACKED, attempt.bytes_acked.is_some())
        | codec::peer_end_flag(attempt.peer_end)
        | flag(attempt_flag::ERRNO, attempt.errno.is_some())
        | flag(attempt_flag::TLS_ALERT, attempt.tls_alert.is_some())
        | flag(attempt_flag::LIMIT, attempt.limit.is_some())
        | flag(attempt_flag::DETAIL, attempt.detail.is_some())
        | flag(attempt_flag::WHY, attempt.why.is_some())
        | flag(attempt_flag::WAITED, attempt.waited.is_some())
}

/// Turns the raw form into the stored one.
pub(crate) fn pack(raw: &[u8]) -> Vec<u8> {
    let mut stored = Vec::with_capacity(raw.len() / 2 + 64);
    stored.push(VERSION);
    put_u64(&mut stored, raw.len() as u64);
    stored.extend_from_slice(&codec::checksum(raw).to_le_bytes());
    stored.extend_from_slice(&lz4_flex::block::compress(raw));
    stored
}
