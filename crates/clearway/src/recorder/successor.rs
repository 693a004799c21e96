//! The process that has taken over the store: exchanges that end here are recorded there.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use model::Exchange;
use store::pack_parcels;
use tokio::time::timeout;

use crate::handover::{Connection, Frame, FromNew, FromOld, Reader, Writer};

/// How long the other process may take to record what it was sent: it may be waiting for its disk.
const RECORD_TIMEOUT: Duration = Duration::from_secs(10);

/// The way there.
#[derive(Debug)]
pub(crate) struct Successor {
    reader: Reader,
    writer: Writer,
    /// Sent, and not known to be recorded: the oldest first.
    unrecorded: VecDeque<Exchange>,
}

impl Successor {
    pub(crate) fn new(connection: Connection) -> Successor {
        let Connection { reader, writer } = connection;
        Successor { reader, writer, unrecorded: VecDeque::new() }
    }

    /// Sends exchanges. What is recorded meanwhile is heard of, so that neither side waits for the other to listen.
    pub(crate) async fn send(&mut self, batch: Vec<Exchange>) -> io::Result<()> {
        let Successor { reader, writer, unrecorded } = self;
        let parcels = pack_parcels(&batch);
        unrecorded.extend(batch);
        for parcel in parcels {
            let sending = timeout(RECORD_TIMEOUT, writer.parcel(&parcel));
            tokio::pin!(sending);
            loop {
                tokio::select! {
                    sent = &mut sending => break sent??,
                    heard = recorded(reader, unrecorded) => heard?,
                }
            }
        }
        Ok(())
    }

    /// Waits until it is heard that more is recorded.
    pub(crate) async fn recorded(&mut self) -> io::Result<()> {
        recorded(&mut self.reader, &mut self.unrecorded).await
    }

    /// Says that this was all, and waits until it is recorded.
    pub(crate) async fn finish(&mut self) -> io::Result<()> {
        self.writer.message(&FromOld::Done).await?;
        while !self.unrecorded.is_empty() {
            timeout(RECORD_TIMEOUT, self.recorded()).await??;
        }
        Ok(())
    }

    /// What was sent and may not be recorded.
    pub(crate) fn into_unrecorded(self) -> Vec<Exchange> {
        self.unrecorded.into()
    }
}

async fn recorded(reader: &mut Reader, unrecorded: &mut VecDeque<Exchange>) -> io::Result<()> {
    match reader.next().await? {
        Some(Frame::Message(FromNew::Recorded { exchanges })) => {
            unrecorded.drain(..exchanges.min(unrecorded.len()));
            Ok(())
        }
        Some(Frame::Message(FromNew::Ready | FromNew::Serving { .. }) | Frame::Parcel(_)) => {
            Err(io::Error::new(io::ErrorKind::InvalidData, "something else than records was spoken of"))
        }
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
