//! Watches a target that could not be reached, and tells when it accepts connections again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use model::gateway::Endpoint;
use tokio::net::UnixStream;
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

use crate::dial::connect_any;
use crate::health::Condition;
use crate::resolve::{Resolution, ResolvedName};
use crate::target::{Target, TargetState};
use crate::waiting::WaitingRoom;

/// How often a target is tried while somebody may wait for it ...
const SOON: Duration = Duration::from_millis(50);
/// ... for so long ...
const SOON_FOR: Duration = Duration::from_secs(6);
/// ... and after that.
const LATER: Duration = Duration::from_secs(1);
/// One try.
const CONNECT_MAX: Duration = Duration::from_secs(1);

/// Whether a target is being watched.
#[derive(Debug, Default)]
pub(crate) struct Probe {
    runs: Mutex<bool>,
}

/// Where the target is: the same in each configuration, because states are found by it.
struct Door {
    endpoint: Endpoint,
    name: Option<ResolvedName>,
}

impl Probe {
    fn lock(&self) -> MutexGuard<'_, bool> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the watch, unless the target has become unreachable again.
    fn is_over(&self, state: &TargetState) -> bool {
        // Whoever finds the target unreachable after this look begins the next watch: it waits for the lock.
        let mut runs = self.lock();
        *runs = is_unreachable(state);
        !*runs
    }
}

/// Watches a target that cannot be reached, unless that is done already.
pub(crate) fn watch(runtime: &Handle, target: &Target, room: &Arc<WaitingRoom>) {
    if !std::mem::replace(&mut *target.state.probe.lock(), true) {
        let door = Door { endpoint: target.settings.endpoint.clone(), name: target.name.clone() };
        runtime.spawn(until_accepting(Arc::downgrade(&target.state), door, room.clone()));
    }
}

/// Until the target accepts, or nobody uses it any more. A reload does not end it: the state is the process's.
async fn until_accepting(state: Weak<TargetState>, door: Door, room: Arc<WaitingRoom>) {
    let mut begun = Instant::now();
    loop {
        sleep(if begun.elapsed() < SOON_FOR { SOON } else { LATER }).await;
        let Some(state) = state.upgrade() else { return };
        if is_unreachable(&state) && accepts(&door).await {
            let now = Instant::now();
            if state.reached(now) {
                room.grant(now);
            }
            begun = now;
        }
        if state.probe.is_over(&state) {
            return;
        }
    }
}

fn is_unreachable(state: &TargetState) -> bool {
    matches!(state.condition(), Condition::Unreachable { .. })
}

/// Whether a connection can be made. It is closed at once: no request goes over it.
async fn accepts(door: &Door) -> bool {
    match &door.endpoint {
        Endpoint::Unix(path) => {
            timeout(CONNECT_MAX, UnixStream::connect(path)).await.is_ok_and(|made| made.is_ok())
        }
        Endpoint::Host { port, .. } => match door.name.as_ref().map(ResolvedName::now) {
            Some(Resolution::Known(addresses)) => {
                timeout(CONNECT_MAX, connect_any(&addresses, *port)).await.is_ok_and(|made| made.is_ok())
            }
            Some(Resolution::Pending | Resolution::Failed(_)) | None => false,
        },
    }
}
