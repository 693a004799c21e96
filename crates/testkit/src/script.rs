//! What a scripted upstream does on one connection, step by step.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;

use crate::message::Reader;
use crate::net::End;
use crate::stream::Stream;
use crate::upstream::Record;
use crate::uwsgi::Packet;
use crate::wait::Gate;

/// One step. A step that reads ends the script when the peer ends the connection first; that is recorded.
#[derive(Clone, Debug)]
pub enum Step {
    /// Reads at least one byte.
    ReadSome,
    /// Reads a request head, through its empty line.
    ReadHead,
    /// Reads exactly so many bytes.
    Read(usize),
    /// Reads through the pattern.
    ReadUntil(&'static [u8]),
    /// Reads a uwsgi packet.
    ReadPacket,
    /// Reads the preface of HTTP/2.
    ReadPreface,
    /// Reads frames through one of this type that has at least these flags.
    ReadFrame {
        kind: u8,
        flags: u8,
    },
    Send(Bytes),
    /// Sends pieces of this size with this gap between them.
    SendSlowly {
        bytes: Bytes,
        piece: usize,
        gap: Duration,
    },
    /// Sends this piece again and again until the peer does not take it; the record counts what it took.
    SendForever(Bytes),
    /// Makes the kernel's buffers of this connection small.
    Shrink(usize),
    /// Opens a gate: the test may go on.
    Open(Gate),
    /// Goes on when the test has opened the gate.
    Await(Gate),
    /// Ends the sending side, under TLS with `close_notify`.
    Fin,
    /// Ends the sending side with a bare FIN, also under TLS.
    FinRaw,
    /// Closes with a reset.
    Rst,
    /// Reads and drops what comes until the peer ends the connection.
    AwaitEnd,
    /// Does nothing and reads nothing until the test ends.
    Stall,
    /// Closes: FIN, or RST by the kernel if something was not read.
    Close,
}

impl Step {
    pub fn send(bytes: impl Into<Vec<u8>>) -> Step {
        Step::Send(Bytes::from(bytes.into()))
    }
}

/// Runs the steps. What was not closed by them is closed at the end.
pub(crate) async fn run(mut stream: Stream, steps: &[Step], record: &Record) {
    let mut buffer = Vec::new();
    for step in steps {
        let mut reader = Reader { stream: &mut stream, buffer: &mut buffer };
        match step {
            Step::Rst => return stream.reset(),
            Step::Close => return,
            Step::Stall => std::future::pending::<()>().await,
            Step::AwaitEnd => {
                let end = loop {
                    reader.buffer.clear();
                    if let Err(end) = reader.more().await {
                        break end;
                    }
                    record.received(reader.buffer);
                };
                return record.ended(end);
            }
            Step::Send(_)
            | Step::SendSlowly { .. }
            | Step::SendForever(_)
            | Step::Shrink(_)
            | Step::Open(_)
            | Step::Await(_)
            | Step::Fin
            | Step::FinRaw => act(&mut stream, step, record).await,
            Step::ReadSome
            | Step::ReadHead
            | Step::Read(_)
            | Step::ReadUntil(_)
            | Step::ReadPacket
            | Step::ReadPreface
            | Step::ReadFrame { .. } => {
                if let Err(end) = read(&mut reader, step, record).await {
                    return record.ended(end);
                }
            }
        }
    }
}

async fn act(stream: &mut Stream, step: &Step, record: &Record) {
    match step {
        // A peer that is gone shows in the reads; a write may fail.
        Step::Send(bytes) => {
            let _ = stream.write_all(bytes).await;
            let _ = stream.flush().await;
        }
        Step::SendSlowly { bytes, piece, gap } => {
            for part in bytes.chunks(*piece) {
                let _ = stream.write_all(part).await;
                let _ = stream.flush().await;
                tokio::time::sleep(*gap).await;
            }
        }
        Step::SendForever(bytes) => {
            let mut rest = &bytes[..];
            while let Ok(n) = stream.write(rest).await {
                record.sent(n);
                rest = rest.get(n..).filter(|rest| !rest.is_empty()).unwrap_or(bytes);
            }
        }
        Step::Shrink(bytes) => stream.shrink(*bytes),
        Step::Open(gate) => gate.open(),
        Step::Await(gate) => gate.passed().await,
        Step::Fin => stream.finish().await,
        Step::FinRaw => stream.finish_raw(),
        other => unreachable!("{other:?} reads or ends"),
    }
}

async fn read(reader: &mut Reader<'_>, step: &Step, record: &Record) -> Result<(), End> {
    match step {
        Step::ReadSome => {
            if reader.buffer.is_empty() {
                reader.more().await?;
            }
            let bytes = std::mem::take(reader.buffer);
            record.received(&bytes);
        }
        Step::ReadHead => record.received(&reader.until(b"\r\n\r\n").await?),
        Step::Read(n) => record.received(&reader.exactly(*n).await?),
        Step::ReadUntil(pattern) => record.received(&reader.until(pattern).await?),
        Step::ReadPacket => record.packet(Packet::read(reader).await?),
        Step::ReadPreface => {
            let preface = reader.exactly(24).await?;
            assert_eq!(preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        }
        Step::ReadFrame { kind, flags } => loop {
            let head = reader.exactly(9).await?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let payload = reader.exactly(length as usize).await?;
            record.received(&head);
            record.received(&payload);
            if head[3] == *kind && head[4] & flags == *flags {
                break;
            }
        },
        other => unreachable!("{other:?} does not read"),
    }
    Ok(())
}
