//! The old process in an upgrade: it starts the new one, stays the owner of everything until that one serves, and ends.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

use admin::Readiness;
use model::gateway::ListenAddress;
use proxy::Owner;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::candidate::{Candidate, Trouble};
use super::{Process, finish, in_flight_text};
use crate::handover::learned::Learned;
use crate::handover::{FromNew, FromOld, Offer, OfferedListener, PROTOCOL};
use crate::recorder::Command;
use crate::reload::Reason;
use crate::running::{UpgradeRequest, Upgraded};
use crate::up::Signals;
use crate::{output, system};

/// How long a new process may take to get ready when nobody says otherwise: it reads its configuration, certificates
/// included, and binds. A service manager would give up later.
pub(crate) const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long it may take from then on to open the store, a migration included, and to accept. Records wait meanwhile.
const TURN_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the disk may take to get the last records of this process before that: two writes that each wait five seconds for
/// the lock of somebody's backup must fit.
const HOLD_TIMEOUT: Duration = Duration::from_secs(12);

const UNDER_WAY: &str = "an upgrade is under way already; wait for what becomes of it";

/// What follows an upgrade.
pub(super) enum After {
    /// It failed: everything is as before.
    GoOn,
    /// Another process serves; this one finishes what it has.
    HandedOver(HandedOver),
    /// It was cut short by a signal to stop.
    Stop,
}

/// The process that serves now.
pub(super) struct HandedOver {
    candidate: Candidate,
    /// Listeners on whose sockets it accepts.
    inherited: Vec<ListenAddress>,
    answer: oneshot::Sender<Result<Upgraded, String>>,
    /// SIGHUP came while nobody could follow it.
    hangup: bool,
}

/// How the attempt ended, if it failed.
struct Failure {
    reason: String,
    is_stopped: bool,
}

impl Process {
    /// Starts a new process and waits until it serves. If that fails, everything is as before.
    pub(super) async fn upgrade(&mut self, signals: &mut Signals, request: UpgradeRequest) -> After {
        let mut hangup = false;
        let Failure { reason, is_stopped } =
            match self.try_upgrade(signals, request.timeout, &mut hangup).await {
                Ok((candidate, inherited)) => {
                    let answer = request.answer;
                    return After::HandedOver(HandedOver { candidate, inherited, answer, hangup });
                }
                Err(failure) => failure,
            };
        self.running.upgrades_failed.fetch_add(1, Ordering::Relaxed);
        output::error(&format!("the upgrade failed, this process stays: {reason}"));
        // Who asked may have left.
        let _ = request.answer.send(Err(format!("the upgrade failed, the old process stays: {reason}")));
        if is_stopped {
            return After::Stop;
        }
        if hangup {
            self.reload(Reason::Hangup).await;
        }
        After::GoOn
    }

    async fn try_upgrade(
        &mut self,
        signals: &mut Signals,
        limit: Duration,
        hangup: &mut bool,
    ) -> Result<(Candidate, Vec<ListenAddress>), Failure> {
        let failed = |reason: String| Failure { reason, is_stopped: false };
        if std::process::id() == 1 {
            let reason =
                "this is process 1 of a container, which ends with it; start a new container instead";
            return Err(failed(reason.to_owned()));
        }
        output::info(&format!("an upgrade begins: {} is started", self.program.path.display()));
        let offer = self.offer().map_err(|error| failed(format!("failed to copy descriptors: {error}")))?;
        let mut candidate = Candidate::start(&self.program).map_err(failed)?;
        let ready = self.until_ready(&mut candidate, offer, signals, limit, hangup).await;
        if let Err(trouble) = ready {
            return Err(Failure {
                reason: candidate.end(trouble).await,
                is_stopped: trouble == Trouble::Stopped,
            });
        }
        match self.its_turn(&mut candidate).await {
            Ok(inherited) => Ok((candidate, inherited)),
            Err(trouble) => {
                let reason = candidate.end(trouble).await;
                if let Err(error) = self.data.name_owner() {
                    output::warn(&format!("failed to {error}"));
                }
                let _ = self.recorder_commands.send(Command::Resume).await;
                Err(failed(reason))
            }
        }
    }

    /// What there is to take over.
    fn offer(&self) -> io::Result<(Offer, Vec<OwnedFd>)> {
        let lock = self.data.lock().ok_or(io::ErrorKind::NotFound)?;
        let mut descriptors = vec![
            lock.as_fd().try_clone_to_owned()?,
            io::stderr().as_fd().try_clone_to_owned()?,
            self.control.kept.try_clone()?,
            self.management.kept.try_clone()?,
        ];
        let mut listeners = Vec::new();
        for offered in self.server.offered() {
            listeners.push(OfferedListener {
                configured: offered.configured.into(),
                bound: offered.bound.into(),
                managed: offered.owner == Owner::Manager,
                sockets: offered.sockets.len(),
            });
            for socket in offered.sockets {
                descriptors.push(socket.try_clone()?);
            }
        }
        let offer = Offer {
            protocol: PROTOCOL,
            pid: std::process::id(),
            management: self.management.configured,
            listeners,
        };
        Ok((offer, descriptors))
    }

    /// Offers everything, and waits for the answer. Meanwhile nothing else changes here: a reload waits, another upgrade is
    /// refused, a signal to stop ends the attempt.
    async fn until_ready(
        &mut self,
        candidate: &mut Candidate,
        (offer, descriptors): (Offer, Vec<OwnedFd>),
        signals: &mut Signals,
        limit: Duration,
        hangup: &mut bool,
    ) -> Result<(), Trouble> {
        let getting_ready = timeout(limit, async {
            candidate.tell(&FromOld::Offer(offer)).await?;
            for descriptor in descriptors {
                let sent = candidate.connection.writer.descriptor(descriptor.as_fd()).await;
                sent.map_err(|_| Trouble::Ended)?;
            }
            match candidate.hear().await? {
                FromNew::Ready => Ok(()),
                FromNew::Serving { .. } | FromNew::Recorded { .. } => Err(Trouble::NotUnderstood),
            }
        });
        tokio::pin!(getting_ready);
        loop {
            tokio::select! {
                ready = &mut getting_ready => return ready.unwrap_or(Err(Trouble::TookTooLong(limit))),
                () = signals.stop.recv() => return Err(Trouble::Stopped),
                _ = signals.upgrade.recv() => output::warn(UNDER_WAY),
                Some(other) = self.upgrades.recv() => {
                    output::warn(UNDER_WAY);
                    let _ = other.answer.send(Err(UNDER_WAY.to_owned()));
                }
                _ = signals.hangup.recv() => *hangup = true,
            }
        }
    }

    /// Lets go of the store, and waits until the new process has it and serves. Not interrupted: who knows which of the two
    /// answers by then.
    async fn its_turn(&mut self, candidate: &mut Candidate) -> Result<Vec<ListenAddress>, Trouble> {
        let (answer, held) = oneshot::channel();
        // A recorder that is gone holds nothing.
        let _ = self.recorder_commands.send(Command::Hold(answer)).await;
        timeout(HOLD_TIMEOUT, held).await.map_err(|_| Trouble::DiskTookTooLong(HOLD_TIMEOUT)).map(drop)?;
        candidate.tell(&FromOld::Yours(Learned::of(&self.running.shared))).await?;
        match timeout(TURN_TIMEOUT, candidate.hear())
            .await
            .unwrap_or(Err(Trouble::TookTooLong(TURN_TIMEOUT)))?
        {
            FromNew::Serving { inherited } => Ok(inherited.into_iter().map(ListenAddress::from).collect()),
            FromNew::Ready | FromNew::Recorded { .. } => Err(Trouble::NotUnderstood),
        }
    }

    /// Finishes what is in flight, while the other process serves and records.
    pub(super) async fn leave_to(mut self, new: HandedOver, mut signals: Signals) -> ExitCode {
        let HandedOver { mut candidate, inherited, answer, hangup } = new;
        let pid = candidate.pid();
        self.server.leave_open(&inherited);
        self.management.accepting.abort();
        self.control.leave();
        self.running.set_readiness(Readiness::Draining);
        self.manager.main_process(pid);
        // If it is gone, the recorder finds out.
        let _ = candidate.tell(&FromOld::Told).await;
        let _ = self.recorder_commands.send(Command::HandOver(candidate.into_connection())).await;
        let in_flight = self.running.shared.in_flight.load(Ordering::Relaxed);
        output::info(&format!("process {pid} has taken over; {}", in_flight_text(in_flight, self.grace)));
        let _ = answer.send(Ok(Upgraded { old_pid: std::process::id(), new_pid: pid, in_flight }));
        if hangup {
            system::signal(pid, libc::SIGHUP);
        }
        if signals.stop.is_pending() {
            // It was meant for whoever serves.
            system::signal(pid, libc::SIGTERM);
        }
        let untold = self.running.untold.clone();
        let finishing =
            finish(self.server, self.grace, self.predecessor, self.recorder_commands, self.recorder, &untold);
        tokio::pin!(finishing);
        let mut is_told_to_stop = false;
        loop {
            tokio::select! {
                () = &mut finishing => break,
                _ = signals.upgrade.recv() => output::warn(&format!(
                    "process {pid} has taken over and can be upgraded; this one only finishes what is in flight"
                )),
                // A terminal tells all its processes: this one is stopping already.
                () = signals.stop.recv() => match is_told_to_stop {
                    false => is_told_to_stop = true,
                    true => super::stop_at_once(),
                },
            }
        }
        output::info(&format!("stopped; process {pid} has taken over"));
        ExitCode::SUCCESS
    }
}
