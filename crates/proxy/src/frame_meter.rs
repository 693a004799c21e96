//! Counts what an HTTP/2 client sends, beneath the HTTP/2 library, where the library itself has no limit.
//!
//! Only the nine bytes of each frame's header are looked at (RFC 9113 section 4.1). Frames that cost the client next to
//! nothing and us some work each (SETTINGS, PING, PRIORITY, WINDOW_UPDATE, empty DATA, unknown types) draw from one
//! bucket, RST_STREAM from another. Requests and DATA that we send pay back, because an honest client answers them with
//! such frames. What we send in answer to such frames does not: a flood would pay for itself.

use std::time::Instant;

use model::gateway::ListenerLimits;
use model::{Limit, LimitName};

const FRAME_HEADER: usize = 9;
/// The client's preface, before its first frame (RFC 9113 section 3.4).
const PREFACE: usize = wire::H2_PREFACE.len();
/// Frames that a request may bring along: priorities, window updates.
const PER_REQUEST: f64 = 4.0;
/// Window updates with which a client may answer one DATA frame, of the stream and of the connection, and one more for each
/// of these bytes.
const PER_DATA_FRAME: f64 = 2.0;
const PER_DATA_BYTES: f64 = 4096.0;
/// For so many DATA frames per second, in multiples of the limit: a client that opens its window by a byte at a time makes
/// us send as many as it likes.
const DATA_FRAMES: u32 = 4;

/// The meter of one connection.
#[derive(Debug)]
pub(crate) struct FrameMeter {
    received: Scanner,
    sent: Scanner,
    frames: Bucket,
    resets: Bucket,
    data_frames: Bucket,
}

/// Finds the headers of frames in a stream, however it is cut.
#[derive(Debug)]
struct Scanner {
    header: [u8; FRAME_HEADER],
    header_len: usize,
    /// Bytes still to be passed over: the preface, then payloads.
    skip: usize,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    length: usize,
}

impl Scanner {
    fn new(skip: usize) -> Scanner {
        Scanner { header: [0; FRAME_HEADER], header_len: 0, skip }
    }

    /// The next frame whose header comes to its end in these bytes; takes them off.
    fn next(&mut self, bytes: &mut &[u8]) -> Option<Frame> {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let n = self.skip.min(bytes.len());
                self.skip -= n;
                *bytes = bytes.get(n..).unwrap_or_default();
                continue;
            }
            let n = (FRAME_HEADER - self.header_len).min(bytes.len());
            let (part, rest) = bytes.split_at_checked(n).unwrap_or((bytes, b""));
            if let Some(place) = self.header.get_mut(self.header_len..self.header_len + n) {
                place.copy_from_slice(part);
            }
            self.header_len += n;
            *bytes = rest;
            if self.header_len == FRAME_HEADER {
                self.header_len = 0;
                let [a, b, c, kind, flags, ..] = self.header;
                let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                self.skip = length;
                return Some(Frame { kind, flags, length });
            }
        }
        None
    }
}

/// Tokens that are used up and come back with time.
#[derive(Debug)]
struct Bucket {
    name: LimitName,
    max: f64,
    tokens: f64,
    per_second: f64,
    at: Instant,
}

impl Bucket {
    fn new(name: LimitName, max: u32, per_second: f64, now: Instant) -> Bucket {
        let max = f64::from(max);
        Bucket { name, max, tokens: max, per_second, at: now }
    }

    fn take(&mut self, now: Instant) -> Result<(), Limit> {
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.give(elapsed * self.per_second);
        if self.tokens < 1.0 {
            return Err(Limit::Count { name: self.name, max: self.max as u64 });
        }
        self.tokens -= 1.0;
        Ok(())
    }

    fn give(&mut self, tokens: f64) {
        self.tokens = (self.tokens + tokens).min(self.max);
    }
}

impl FrameMeter {
    pub(crate) fn new(limits: &ListenerLimits, now: Instant) -> FrameMeter {
        let bucket = |name, max: u32, per_second| Bucket::new(name, max, per_second, now);
        let frames = limits.http2_frames;
        let data_frames = frames.saturating_mul(DATA_FRAMES);
        FrameMeter {
            received: Scanner::new(PREFACE),
            sent: Scanner::new(0),
            frames: bucket(LimitName::Http2Frames, frames, f64::from(frames)),
            resets: bucket(
                LimitName::Http2Resets,
                limits.http2_resets,
                f64::from(limits.http2_resets) / 60.0,
            ),
            data_frames: bucket(LimitName::Http2Frames, data_frames, f64::from(data_frames)),
        }
    }

    /// Looks at what the client sent; the limit that it went over.
    pub(crate) fn received(&mut self, mut bytes: &[u8], now: Instant) -> Result<(), Limit> {
        while let Some(frame) = self.received.next(&mut bytes) {
            match frame.kind {
                // DATA: what an empty one that ends nothing is good for is not known.
                0x0 if frame.length == 0 && frame.flags & 1 == 0 => self.frames.take(now)?,
                0x0 => {}
                // HEADERS and CONTINUATION: the library counts fields, bytes and frames of a head.
                0x1 => self.frames.give(PER_REQUEST),
                0x9 => {}
                // RST_STREAM.
                0x3 => self.resets.take(now)?,
                _ => self.frames.take(now)?,
            }
        }
        Ok(())
    }

    /// Looks at what we sent.
    pub(crate) fn sent(&mut self, mut bytes: &[u8], now: Instant) {
        while let Some(frame) = self.sent.next(&mut bytes) {
            if frame.kind == 0x0 {
                self.frames.give(frame.length as f64 / PER_DATA_BYTES);
                if self.data_frames.take(now).is_ok() {
                    self.frames.give(PER_DATA_FRAME);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::ByteSize;

    use super::*;

    fn meter(frames: u32, resets: u32, now: Instant) -> FrameMeter {
        let limits = ListenerLimits {
            head_bytes: ByteSize::kib(32),
            fields: 100,
            target_bytes: ByteSize::kib(8),
            connections: 1,
            requests_per_connection: 1,
            body_rate: 0,
            http2_streams: 100,
            http2_resets: resets,
            http2_frames: frames,
            http2_memory: ByteSize::mib(4),
        };
        FrameMeter::new(&limits, now)
    }

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u32).to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        bytes.extend_from_slice(payload);
        bytes
    }

    /// Feeds the stream in pieces of this size; tells the frame at which a limit was reached.
    fn check(frames: &[Vec<u8>], piece: usize, limits: (u32, u32)) -> Option<(usize, Limit)> {
        let now = Instant::now();
        let mut meter = meter(limits.0, limits.1, now);
        meter.received(wire::H2_PREFACE, now).unwrap();
        for (number, frame) in frames.iter().enumerate() {
            for part in frame.chunks(piece) {
                if let Err(limit) = meter.received(part, now) {
                    return Some((number, limit));
                }
            }
        }
        None
    }

    #[test]
    fn cheap_frames_and_resets_are_counted_however_they_are_cut() {
        let frames_limit = Limit::Count { name: LimitName::Http2Frames, max: 3 };
        let resets_limit = Limit::Count { name: LimitName::Http2Resets, max: 2 };
        let pings: Vec<_> = (0..5).map(|_| frame(6, 0, b"12345678")).collect();
        let resets: Vec<_> = (0..5).map(|_| frame(3, 0, &[0; 4])).collect();
        let data: Vec<_> = (0..50).map(|_| frame(0, 0, b"x")).collect();
        let empty: Vec<_> = (0..5).map(|_| frame(0, 0, b"")).collect();
        for piece in [1, 2, 7, 9, 10, 100] {
            assert_eq!(check(&pings, piece, (3, 2)), Some((3, frames_limit)), "{piece}");
            assert_eq!(check(&resets, piece, (3, 2)), Some((2, resets_limit)), "{piece}");
            assert_eq!(check(&empty, piece, (3, 2)), Some((3, frames_limit)), "{piece}");
            assert_eq!(check(&data, piece, (3, 2)), None, "{piece}");
        }
    }

    #[test]
    fn tokens_come_back_with_time() {
        let start = Instant::now();
        let mut meter = meter(2, 1, start);
        meter.received(wire::H2_PREFACE, start).unwrap();
        let update = frame(8, 0, &[0; 4]);
        for _ in 0..2 {
            meter.received(&update, start).unwrap();
        }
        let later = start + Duration::from_secs(1);
        meter.received(&update, later).unwrap();
        meter.received(&update, later).unwrap();
        meter.received(&update, later).unwrap_err();
    }

    /// What comes and what is sent in answer, or the other way round, at a steady pace for ten seconds; whether a limit of
    /// 1000 frames is kept.
    fn keeps(per_second: u32, exchange: &[(Side, Vec<u8>)]) -> bool {
        let start = Instant::now();
        let mut meter = meter(1000, 1, start);
        meter.received(wire::H2_PREFACE, start).unwrap();
        (0..10 * per_second).all(|n| {
            let now = start + Duration::from_secs(1) * n / per_second;
            exchange.iter().all(|(side, frame)| match side {
                Side::Client => meter.received(frame, now).is_ok(),
                Side::Gateway => {
                    meter.sent(frame, now);
                    true
                }
            })
        })
    }

    enum Side {
        Client,
        Gateway,
    }

    #[test]
    fn a_steady_flood_is_ended_and_honest_answers_are_not() {
        use Side::{Client, Gateway};
        let pinged = [(Client, frame(6, 0, &[0; 8])), (Gateway, frame(6, 1, &[0; 8]))];
        assert!(keeps(1000, &pinged));
        assert!(!keeps(1200, &pinged));
        let settings = [(Client, frame(4, 0, &[0; 6])), (Gateway, frame(4, 1, &[]))];
        assert!(!keeps(1200, &settings));
        let updates = |data: &[u8]| {
            let update = frame(8, 0, &[0; 4]);
            [(Gateway, frame(0, 0, data)), (Client, update.clone()), (Client, update)]
        };
        assert!(keeps(3000, &updates(b"data: event\n\n")));
        assert!(keeps(100_000, &updates(&[0; 16 << 10])));
        assert!(!keeps(20_000, &updates(b"x")), "a window that opens byte by byte");
    }
}
