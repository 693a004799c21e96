//! What a process and the one that takes its place say to each other, and the connection on which they do.
//!
//! The old process makes a pair of Unix sockets and lets the new one inherit an end. So each knows who is at the other end
//! without asking, the end of either is seen at once by the other, and it works whatever became of the control socket's
//! file. The order:
//!
//! ```text
//! old ── Offer, and the descriptors ──▶ new     what there is; nothing changes hands yet
//! old ◀── Ready ─────────────────────── new     the configuration is good, what was missing is bound
//! old ── Yours, with what was learned ▶ new     the store is closed here, records wait in their queue
//! old ◀── Serving ───────────────────── new     it accepts; from here on there is no way back
//! old ── Told ───────────────────────▶ new      the service manager knows the new process
//! old ── parcels of records ─────────▶ new      what was in flight, as it ends; each is answered with Recorded
//! old ── Done ───────────────────────▶ new      and the old process ends
//! ```
//!
//! Until Serving the old process serves on as if nothing had happened when the new one ends or takes too long. The limits
//! of time are the old one's: the new one waits for as long as the old one lives, and goes on alone where that ends.

mod descriptors;
pub(crate) mod learned;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use model::gateway::ListenAddress;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use crate::handover::learned::Learned;

/// Tells the new process on which descriptor it finds the old one.
pub(crate) const VARIABLE: &str = "CLEARWAY_HANDOVER_FD";
/// The version of what is said here. A process that does not know it does not take over.
pub(crate) const PROTOCOL: u32 = 1;

/// Addresses of all listeners, or what was learned of all targets: far less than this.
const MESSAGE_BYTES_MAX: usize = 32 << 20;
/// A length and a kind.
const HEAD_BYTES: usize = 5;

/// What the old process says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FromOld {
    Offer(Offer),
    Yours(Learned),
    Told,
    Done,
}

/// What the new process says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FromNew {
    Ready,
    /// With the listeners whose sockets it accepts on now.
    Serving {
        inherited: Vec<Address>,
    },
    /// So many more exchanges are recorded.
    Recorded {
        exchanges: usize,
    },
}

/// What there is to take over. The descriptors follow: the lock of the data directory, standard error, the control
/// socket, the management listener, and the sockets of the listeners in their order.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Offer {
    pub(crate) protocol: u32,
    pub(crate) pid: u32,
    /// The management address in the configuration.
    pub(crate) management: SocketAddr,
    pub(crate) listeners: Vec<OfferedListener>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct OfferedListener {
    pub(crate) configured: Address,
    pub(crate) bound: Address,
    /// Whether the service manager keeps the sockets.
    pub(crate) managed: bool,
    pub(crate) sockets: usize,
}

/// The address of a listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl From<&ListenAddress> for Address {
    fn from(address: &ListenAddress) -> Address {
        match address {
            ListenAddress::Tcp(address) => Address::Tcp(*address),
            ListenAddress::Unix(path) => Address::Unix(path.clone()),
        }
    }
}

impl From<Address> for ListenAddress {
    fn from(address: Address) -> ListenAddress {
        match address {
            Address::Tcp(address) => ListenAddress::Tcp(address),
            Address::Unix(path) => ListenAddress::Unix(path),
        }
    }
}

/// What comes in.
#[derive(Debug)]
pub(crate) enum Frame<T> {
    Message(T),
    /// Packed exchanges.
    Parcel(Vec<u8>),
}

const MESSAGE: u8 = 0;
const PARCEL: u8 = 1;

/// One end of the connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
}

/// Reads no byte more than a frame has: those behind it may carry descriptors.
#[derive(Debug)]
pub(crate) struct Reader {
    stream: OwnedReadHalf,
    /// The frame as far as it has come.
    begun: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Writer(OwnedWriteHalf);

impl Connection {
    /// This process's end, and the one for the other process.
    pub(crate) fn pair() -> io::Result<(Connection, OwnedFd)> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        Ok((Connection::over(ours)?, theirs.into()))
    }

    pub(crate) fn over(stream: std::os::unix::net::UnixStream) -> io::Result<Connection> {
        stream.set_nonblocking(true)?;
        let (reader, writer) = UnixStream::from_std(stream)?.into_split();
        Ok(Connection { reader: Reader { stream: reader, begun: Vec::new() }, writer: Writer(writer) })
    }
}

impl Reader {
    /// The next frame; `None` when the other process is gone. Nothing is lost when this is given up.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<Frame<T>>> {
        loop {
            let wanted = match self.begun.first_chunk::<HEAD_BYTES>() {
                Some([_, length @ ..]) => HEAD_BYTES + body_bytes(*length)?,
                None => HEAD_BYTES,
            };
            let missing = wanted - self.begun.len();
            if missing == 0 {
                break;
            }
            if (&mut self.stream).take(missing as u64).read_buf(&mut self.begun).await? == 0 {
                return if self.begun.is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        }
        let mut frame = std::mem::take(&mut self.begun);
        let body = frame.split_off(HEAD_BYTES);
        match frame.first() {
            Some(&MESSAGE) => Ok(Some(Frame::Message(serde_json::from_slice(&body)?))),
            Some(&PARCEL) => Ok(Some(Frame::Parcel(body))),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "a frame of an unknown kind came")),
        }
    }

    pub(crate) async fn descriptor(&mut self) -> io::Result<OwnedFd> {
        let stream: &UnixStream = self.stream.as_ref();
        stream.async_io(Interest::READABLE, || descriptors::receive(stream.as_fd())).await
    }
}

impl Writer {
    pub(crate) async fn message<T: Serialize>(&mut self, message: &T) -> io::Result<()> {
        self.frame(MESSAGE, &serde_json::to_vec(message)?).await
    }

    pub(crate) async fn parcel(&mut self, parcel: &[u8]) -> io::Result<()> {
        self.frame(PARCEL, parcel).await
    }

    async fn frame(&mut self, kind: u8, body: &[u8]) -> io::Result<()> {
        let length = u32::try_from(body.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut head = vec![kind];
        head.extend_from_slice(&length.to_be_bytes());
        self.0.write_all(&head).await?;
        self.0.write_all(body).await
    }

    pub(crate) async fn descriptor(&mut self, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        let stream: &UnixStream = self.0.as_ref();
        stream.async_io(Interest::WRITABLE, || descriptors::send(stream.as_fd(), descriptor)).await
    }
}

fn body_bytes(length: [u8; 4]) -> io::Result<usize> {
    let length = u32::from_be_bytes(length) as usize;
    if length <= MESSAGE_BYTES_MAX.max(store::PARCEL_BYTES_MAX) {
        Ok(length)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "a frame of an impossible length came"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_and_descriptors_arrive_in_their_order() {
        let (mut old, new) = Connection::pair().unwrap();
        let mut new = Connection::over(new.into()).unwrap();
        let (reader, _writer) = io::pipe().unwrap();
        let sending = async {
            old.writer.message(&FromNew::Recorded { exchanges: 7 }).await.unwrap();
            // More than a socket holds at once.
            for _ in 0..500 {
                old.writer.descriptor(reader.as_fd()).await.unwrap();
            }
            old.writer.parcel(&[9; 3 << 20]).await.unwrap();
            drop(old);
        };
        let receiving = async {
            let first = new.reader.next().await.unwrap();
            assert!(matches!(first, Some(Frame::Message(FromNew::Recorded { exchanges: 7 }))), "{first:?}");
            for _ in 0..500 {
                new.reader.descriptor().await.unwrap();
            }
            let second = new.reader.next::<FromNew>().await.unwrap();
            assert!(matches!(&second, Some(Frame::Parcel(bytes)) if *bytes == [9; 3 << 20]));
            assert!(new.reader.next::<FromNew>().await.unwrap().is_none());
        };
        tokio::join!(sending, receiving);
    }
}
