//! The process whose place this one takes: what it offers, when it is this one's turn, and its last records.

use std::env;
use std::net::SocketAddr;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use anyhow::{Context, bail};
use model::gateway::ListenAddress;
use proxy::{Inherited, Owner};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::handover::learned::Learned;
use crate::handover::{self, Address, Connection, Frame, FromNew, FromOld, Offer, PROTOCOL};
use crate::recorder::Command;
use crate::{output, system};

/// The way to it.
#[derive(Debug)]
pub(crate) struct Predecessor {
    connection: Connection,
    pid: u32,
    stderr: OwnedFd,
}

/// What it hands over.
#[derive(Debug)]
pub(crate) struct Handed {
    /// Of the data directory.
    pub(crate) lock: OwnedFd,
    pub(crate) control: OwnedFd,
    /// The management address in its configuration, and the socket.
    pub(crate) management: (SocketAddr, OwnedFd),
    pub(crate) listeners: Vec<Inherited>,
}

/// The end of the connection that a process inherits which is to take another's place. To be called once, and early.
pub(crate) fn inherited_connection() -> anyhow::Result<Option<UnixStream>> {
    let Some(number) = env::var_os(handover::VARIABLE) else { return Ok(None) };
    let number: Option<i32> = number.to_str().and_then(|number| number.parse().ok());
    let passed = number.filter(|number| *number > 2 && system::close_in_children(*number).is_ok());
    let Some(number) = passed else {
        bail!("{} is set, and names no descriptor; it is for `clearway upgrade` alone", handover::VARIABLE);
    };
    // SAFETY: it is open, as was just seen, and was left open for this process alone, which asks only once.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(number) }.into()))
}

impl Predecessor {
    /// Takes the offer. A process that ends before it is complete leaves nothing to take over.
    pub(crate) async fn meet(stream: UnixStream) -> anyhow::Result<(Predecessor, Handed)> {
        let failed = "failed to take over from the old process";
        let mut connection = Connection::over(stream).context(failed)?;
        let reader = &mut connection.reader;
        let offer: Offer = match reader.next().await.context(failed)? {
            Some(Frame::Message(FromOld::Offer(offer))) if offer.protocol == PROTOCOL => offer,
            Some(Frame::Message(FromOld::Offer(offer))) => bail!(
                "{failed}: it hands over as version {}, and this one takes over as version {PROTOCOL}; stop the old \
                 process and start anew",
                offer.protocol
            ),
            Some(_) => bail!("{failed}: it did not say what there is"),
            None => bail!("{failed}: it has ended"),
        };
        let mut descriptors = Vec::new();
        let sockets: usize = offer.listeners.iter().map(|listener| listener.sockets).sum();
        for _ in 0..4 + sockets {
            descriptors.push(reader.descriptor().await.context(failed)?);
        }
        let mut descriptors = descriptors.into_iter();
        let mut next = || descriptors.next().context("a descriptor must have come for each that was counted");
        let (lock, stderr, control, management) = (next()?, next()?, next()?, next()?);
        let mut listeners = Vec::new();
        for listener in offer.listeners {
            let sockets = (0..listener.sockets).map(|_| next()).collect::<anyhow::Result<_>>()?;
            listeners.push(Inherited {
                configured: listener.configured.into(),
                bound: listener.bound.into(),
                name: None,
                owner: if listener.managed { Owner::Manager } else { Owner::Process },
                sockets,
            });
        }
        let management = (offer.management, management);
        let handed = Handed { lock, control, management, listeners };
        Ok((Predecessor { connection, pid: offer.pid, stderr }, handed))
    }

    /// Says that this process is ready, and waits for its turn. `None`: the old one is gone, and it is this one's turn
    /// because nobody else has the sockets.
    pub(crate) async fn turn(&mut self) -> anyhow::Result<Option<Learned>> {
        // If it cannot be told, it is gone, which is seen next.
        let _ = self.connection.writer.message(&FromNew::Ready).await;
        match self.connection.reader.next().await {
            Ok(Some(Frame::Message(FromOld::Yours(learned)))) => Ok(Some(learned)),
            Ok(Some(_)) => {
                bail!("failed to take over from process {}: it says what is not understood here", self.pid)
            }
            Ok(None) | Err(_) => {
                self.take_standard_error();
                output::warn(&format!(
                    "process {} ended before it had handed over; serving at once",
                    self.pid
                ));
                Ok(None)
            }
        }
    }

    /// Says that this process accepts, and on which sockets of the old one. Once the service manager knows it, too, it
    /// speaks for itself, and records what the old one finishes; the task ends with that.
    pub(crate) async fn follow(
        mut self,
        inherited: &[ListenAddress],
        recorder: mpsc::Sender<Command>,
    ) -> JoinHandle<()> {
        let inherited = inherited.iter().map(Address::from).collect();
        let told = async {
            self.connection.writer.message(&FromNew::Serving { inherited }).await?;
            self.connection.reader.next::<FromOld>().await
        };
        // One that is gone has told nobody; what follows is the same.
        let _ = told.await;
        self.take_standard_error();
        tokio::spawn(self.record(recorder))
    }

    /// What this process says goes where the old one's words went.
    fn take_standard_error(&self) {
        if let Err(error) = system::replace_standard_error(self.stderr.as_fd()) {
            output::warn(&format!("failed to write to the standard error of the old process: {error}"));
        }
    }

    /// Records what the old process finishes, until it is done.
    async fn record(self, recorder: mpsc::Sender<Command>) {
        let Predecessor { mut connection, pid, .. } = self;
        loop {
            match connection.reader.next().await {
                Ok(Some(Frame::Parcel(parcel))) => {
                    let exchanges = match store::open_parcel(&parcel) {
                        Ok(exchanges) => exchanges,
                        Err(error) => {
                            // It notices that they are not recorded, and says so.
                            output::error(&format!("failed to record what process {pid} finished: {error}"));
                            return;
                        }
                    };
                    let count = exchanges.len();
                    let (answer, recorded) = oneshot::channel();
                    let _ = recorder.send(Command::Adopt(exchanges, answer)).await;
                    if recorded.await.is_err() {
                        // This process stops.
                        return;
                    }
                    let _ = connection.writer.message(&FromNew::Recorded { exchanges: count }).await;
                }
                Ok(Some(Frame::Message(FromOld::Done))) => {
                    output::info(&format!("process {pid} has finished"));
                    return;
                }
                Ok(Some(Frame::Message(_)) | None) | Err(_) => {
                    output::warn(&format!(
                        "process {pid} ended before it had finished; records of it may be missing"
                    ));
                    return;
                }
            }
        }
    }
}
